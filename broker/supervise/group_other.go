//go:build unix && !linux

package supervise

import (
	"os/exec"
	"syscall"
)

const boundToParent = false

func bindToParent(*syscall.SysProcAttr) {}

// reap waits for the child and calls release. The group's id is free to be
// used again for the moment between the two; these systems have no portable
// wait that does not reap.
func reap(cmd *exec.Cmd, release func()) error {
	err := cmd.Wait()
	release()
	return err
}

// residentMemory is not known on this system.
func residentMemory(int) int64 { return 0 }
