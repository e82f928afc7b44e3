//go:build linux

package completion

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a shell at a terminal of its own. It ends with its test.
type terminal struct {
	t      *testing.T
	master *os.File

	mu     sync.Mutex
	screen bytes.Buffer // all that was shown; guarded by mu
}

// prompt is what the shell shows when it waits for a line.
const prompt = "ready>"

// open starts a shell.
func open(t *testing.T, cmd *exec.Cmd) *terminal {
	t.Helper()
	master, slave := openPTY(t)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = slave.Close()
	s := &terminal{t: t, master: master}
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		_, _ = io.Copy(s, master) // ends with an error when the last process has left the terminal
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		<-shown
		_ = master.Close()
		if t.Failed() {
			t.Logf("the screen:\n%s", &s.screen)
		}
	})
	return s
}

// openPTY returns both ends of a new terminal.
func openPTY(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	var number int
	raw, err := master.SyscallConn()
	if err == nil {
		e := raw.Control(func(fd uintptr) {
			if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
				number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
			}
			if err == nil {
				err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 200})
			}
		})
		if err == nil {
			err = e
		}
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// Write implements io.Writer for what the shell shows.
func (s *terminal) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.screen.Write(p)
}

// prompts returns how often the shell has asked for a line.
func (s *terminal) prompts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.screen.String(), prompt)
}

// patience bounds everything that is waited for.
const patience = 30 * time.Second

// await returns when the condition holds.
func (s *terminal) await(what string, condition func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatal("waited in vain: " + what)
		}
	}
}

// enter types keys as a person does who waits for the shell.
func (s *terminal) enter(keys string) {
	s.t.Helper()
	s.await("the shell asks for a line", func() bool { return s.prompts() > 0 })
	s.mu.Lock()
	s.screen.Reset()
	s.mu.Unlock()
	if _, err := io.WriteString(s.master, keys); err != nil {
		s.t.Fatal(err)
	}
}
