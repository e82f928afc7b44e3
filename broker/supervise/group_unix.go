//go:build unix

package supervise

import (
	"os"
	"os/exec"
	"syscall"
)

var errGone = os.ErrProcessDone

// group is the process group that a child leads.
type group struct {
	id    int
	guard *guard // nil where the system ends children with their parent
}

// startGroup starts cmd as the leader of a new group that does not outlive us.
func startGroup(cmd *exec.Cmd) (*group, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	bindToParent(cmd.SysProcAttr)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	g := &group{id: cmd.Process.Pid}
	if !boundToParent {
		var err error
		if g.guard, err = startGuard(g.id); err != nil {
			g.kill()
			_ = cmd.Wait()
			return nil, err
		}
	}
	return g, nil
}

func (g *group) kill() { _ = syscall.Kill(-g.id, syscall.SIGKILL) }

func (g *group) close() {
	if g.guard != nil {
		g.guard.dismiss()
	}
}

func terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }

// executable reports whether the system runs the file itself.
func executable(_ string, info os.FileInfo) bool { return info.Mode()&0o111 != 0 }
