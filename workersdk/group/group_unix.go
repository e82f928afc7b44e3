//go:build unix

package group

import (
	"os/exec"
	"syscall"
)

// held is a process group, by the id of its leader.
type held struct{ id int }

func start(cmd *exec.Cmd) (*held, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if err := theGuard.start(cmd); err != nil {
		return nil, err
	}
	return &held{cmd.Process.Pid}, nil
}

func (h *held) kill()    { _ = syscall.Kill(-h.id, syscall.SIGKILL) }
func (h *held) release() { theGuard.remove(h.id) }

func expect(change int) { theGuard.expect(change) }
