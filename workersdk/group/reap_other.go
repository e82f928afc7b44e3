//go:build !linux

package group

import "os/exec"

// reap waits for the program and calls release. On Unix the group's id is free
// to be used again for the moment between the two: these systems have no
// portable wait that does not reap.
func reap(cmd *exec.Cmd, release func()) error {
	err := cmd.Wait()
	release()
	return err
}
