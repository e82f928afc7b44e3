//go:build unix

package supervise

import (
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"syscall"
)

// guard is a shell that kills a process group when this process ends without
// dismissing it: the end of its stdin tells it. It serves systems that do not
// end children with their parent.
type guard struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
}

func startGuard(group int) (*guard, error) {
	cmd := exec.Command("/bin/sh", "-c", `read dismissed || kill -KILL "-$1"`, "sh", strconv.Itoa(group))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a ^C at the terminal is not for it
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("starting the shell that ends a worker with the broker: %w", err)
	}
	return &guard{cmd, stdin}, nil
}

// dismiss ends the guard; it kills nothing.
func (g *guard) dismiss() {
	_, _ = io.WriteString(g.stdin, "\n")
	_ = g.cmd.Wait()
}
