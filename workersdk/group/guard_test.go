//go:build unix

package group

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestGuard_killsWhatItHolds and nothing else, when its process is gone, of
// which the end of its input tells it.
func TestGuard_killsWhatItHolds(t *testing.T) {
	for name, before := range map[string]func(t *testing.T, g *guard){
		"at once": func(*testing.T, *guard) {},
		"after a signal to all": func(t *testing.T, g *guard) {
			shell := g.present()
			for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
				await(t, func() bool { return ignores(shell.process.Pid, s) })
				if err := shell.process.Signal(s); err != nil {
					t.Error(err)
				}
			}
		},
		"after the loss of its shell": func(t *testing.T, g *guard) {
			for range 2 {
				shell := g.present()
				if err := shell.process.Kill(); err != nil {
					t.Error(err)
				}
				await(t, func() bool { return g.present() != shell })
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := &guard{groups: make(map[int]struct{})}
			first, spared := g.startSleeper(t), g.startSleeper(t)
			g.remove(spared.Process.Pid)
			before(t, g)
			last := g.startSleeper(t)
			g.abandon()
			for _, c := range []*exec.Cmd{first, last} {
				if err := c.Wait(); err == nil || err.Error() != "signal: killed" {
					t.Errorf("a group that was held ended with %v", err)
				}
			}
			if !alive(spared.Process.Pid) {
				t.Error("a group that was spared is dead")
			}
		})
	}
}

// TestGuard_hasNoShellWithoutGroups, not even a stopped one, nor one that was
// lost a moment ago.
func TestGuard_hasNoShellWithoutGroups(t *testing.T) {
	for name, signal := range map[string]syscall.Signal{"running": syscall.SIGCONT, "stopped": syscall.SIGSTOP, "killed": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			g := &guard{groups: make(map[int]struct{})}
			for range 2 { // the second group gets a guard again
				c := g.startSleeper(t)
				shell := g.present()
				if err := shell.process.Signal(signal); err != nil {
					t.Fatal(err)
				}
				g.remove(c.Process.Pid)
				g.remove(c.Process.Pid) // which it does not hold any more
				if g.present() != nil || alive(shell.process.Pid) {
					t.Error("there is a shell left")
				}
			}
			if err := g.start(exec.Command("/no/such/program")); err == nil || g.present() != nil {
				t.Errorf("a program that does not start gives %v and leaves a shell", err)
			}
		})
	}
}

// TestExpect_keepsTheShell from one group to the next.
func TestExpect_keepsTheShell(t *testing.T) {
	run := func() *shellProcess {
		if err := mustStart(t, exec.Command("true")).Wait(); err != nil {
			t.Error(err)
		}
		return theGuard.present()
	}
	done := Expect()
	first := run()
	if second := run(); first == nil || second != first {
		t.Errorf("the shell was %p and then %p", first, second)
	}
	done()
	done()
	nothingIsLeft(t)
	if run() != nil {
		t.Error("a shell stays that nobody expects")
	}
}

// present returns the shell, or nil.
func (g *guard) present() *shellProcess {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shell
}

// abandon ends the input of the shell as the end of this process would.
func (g *guard) abandon() {
	g.mu.Lock()
	defer g.mu.Unlock()
	_ = g.shell.stdin.(io.Closer).Close()
	g.shell = nil
}

// startSleeper starts a process that leads a group, until the test ends.
func (g *guard) startSleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := g.start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// ignores reports whether a process ignores a signal, as far as the system tells.
func ignores(pid int, signal syscall.Signal) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return runtime.GOOS != "linux"
	}
	_, mask, _ := strings.Cut(string(b), "\nSigIgn:\t")
	ignored, _ := strconv.ParseUint(mask[:strings.IndexByte(mask, '\n')], 16, 64)
	return ignored&(1<<(signal-1)) != 0
}
