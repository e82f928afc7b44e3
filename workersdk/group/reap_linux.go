package group

import (
	"os/exec"

	"golang.org/x/sys/unix"
)

// reap waits for the program and calls release when it has ended but still
// holds its ids, so that no stranger's group is killed.
func reap(cmd *exec.Cmd, release func()) error {
	for unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	release()
	return cmd.Wait()
}
