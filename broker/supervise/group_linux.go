package supervise

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

const boundToParent = true

// bindToParent has the kernel kill the child when the thread that started it
// ends, and so when this process does, however that ends. What the child
// itself started is not reached by this; a worker that starts programs should
// do the same for them.
func bindToParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

// reap waits for the child and calls release when it has ended but still holds
// its ids, so that no stranger's group is killed.
func reap(cmd *exec.Cmd, release func()) error {
	for unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	release()
	return cmd.Wait()
}

// residentMemory returns the resident bytes of a process, or 0.
func residentMemory(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	fields := bytes.Fields(b)
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize())
}
