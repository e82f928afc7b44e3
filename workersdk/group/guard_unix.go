//go:build unix

package group

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// guardScript kills the process groups that it was told of when its stdin ends,
// which the end of this process brings about, however it ends. Lines are
// "+ GROUP" and "- GROUP". A signal to everything that this process has started,
// as systemd and shells send it, is not for the guard.
//
// The groups are killed at once and not asked to end: a broker that is started
// again runs workers of the same ids, and two of one id would take each other's
// calls.
const guardScript = `# servicetools: kills what a program has started when that program is gone
trap '' HUP INT TERM
groups=' '
while read -r change group; do
	case $change in
	+) groups="$groups$group " ;;
	-) groups="${groups%% $group *} ${groups#* $group }" ;;
	esac
done
for group in $groups; do kill -KILL "-$group"; done`

// shell runs the script. Not this program in another role: a package cannot
// make the programs that import it take one, and a shell costs a megabyte.
const shell = "/bin/sh"

// guard lets a shell outlive this process by the moment in which it kills the
// groups that are held. The shell lives as long as there are any, or some are
// expected.
type guard struct {
	mu       sync.Mutex
	groups   map[int]struct{} // guarded by mu
	expected int              // how often more are expected; guarded by mu
	shell    *shellProcess    // nil without one; guarded by mu
}

// shellProcess is one shell of a guard.
type shellProcess struct {
	stdin   io.Writer
	process *os.Process
	ended   chan struct{} // closed when it is reaped
}

// theGuard holds the groups of this process.
var theGuard = &guard{groups: make(map[int]struct{})}

// start starts cmd, as the leader of a group that is killed if this process ends
// before remove. The shell is there before, so that no more than the moment in
// which a program begins is left to chance.
func (g *guard) start(cmd *exec.Cmd) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shell == nil && guards() {
		if err := g.startShellLocked(); err != nil {
			return err
		}
	}
	if err := cmd.Start(); err != nil {
		g.dismissLocked()
		return err
	}
	g.groups[cmd.Process.Pid] = struct{}{}
	if g.shell != nil {
		g.shell.tell("+", cmd.Process.Pid)
	}
	return nil
}

// guards reports whether a guard is of use: not without a shell, nor in a
// container's first process, with which the system ends all others.
func guards() bool {
	_, err := os.Stat(shell)
	return err == nil && os.Getpid() != 1
}

// remove spares a group. Its id must not be free to be used again yet.
func (g *guard) remove(group int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.groups, group)
	if g.shell != nil {
		g.shell.tell("-", group)
	}
	g.dismissLocked()
}

// expect changes how often more groups are expected.
func (g *guard) expect(change int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expected += change
	g.dismissLocked()
}

// dismissLocked ends the shell if it is not needed, and waits for its end.
func (g *guard) dismissLocked() {
	s := g.shell
	if s == nil || len(g.groups) > 0 || g.expected > 0 {
		return
	}
	g.shell = nil
	_ = s.process.Kill() // it has nothing to do
	<-s.ended
}

// tell tells the shell of a change. If it is lost, the next one is told all.
func (s *shellProcess) tell(change string, group int) {
	_, _ = fmt.Fprintf(s.stdin, "%s %d\n", change, group)
}

func (g *guard) startShellLocked() error {
	cmd := exec.Command(shell, "-c", guardScript)
	cmd.Dir, cmd.Env = "/", []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // the end of our terminal is not its end
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("starting the shell that ends programs with this one: %w", err)
	}
	s := &shellProcess{stdin, cmd.Process, make(chan struct{})}
	g.shell = s
	for group := range g.groups {
		s.tell("+", group)
	}
	go func() {
		_ = cmd.Wait() // closes stdin
		close(s.ended)
		g.replace(s)
	}()
	return nil
}

// restartPause is the time before a shell that was lost is replaced.
const restartPause = 100 * time.Millisecond

// replace starts another shell in the place of one that has ended, unless it was
// to end.
func (g *guard) replace(s *shellProcess) {
	for again := g.lost(s); again; again = g.lost(s) {
		time.Sleep(restartPause)
		g.mu.Lock()
		if g.shell == s {
			_ = g.startShellLocked() // else once more
		}
		g.mu.Unlock()
	}
}

// lost reports that an ended shell is the present one.
func (g *guard) lost(s *shellProcess) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shell == s
}
