// Package group runs programs so that they end with everything they have
// started: when they end, when they are told to, and when this process ends,
// however it does. A program leads a process group, on Windows a job; what leaves
// its group on purpose (setsid, a double fork of a daemon) is not reached.
package group

import (
	"os/exec"
	"sync"
)

// Group is a started program with everything it has started.
type Group struct {
	cmd *exec.Cmd // static

	mu sync.Mutex
	// held is nil before the program has started and once it may be reaped: from
	// then on its ids may belong to others. Guarded by mu.
	held *held
}

// Start starts cmd. If cmd has a context, its end kills the group. Whoever
// starts a program calls Wait.
func Start(cmd *exec.Cmd) (*Group, error) {
	g := &Group{cmd: cmd}
	if cmd.Cancel != nil {
		cmd.Cancel = func() error {
			g.Kill()
			return nil
		}
	}
	g.mu.Lock()
	h, err := start(cmd)
	g.held = h
	g.mu.Unlock() // before cmd.Wait, which may wait for cmd.Cancel
	if err != nil {
		if cmd.Process != nil { // it lives, but could not be held
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		return nil, err
	}
	return g, nil
}

// Kill kills the whole group. It may be called at any time.
func (g *Group) Kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held != nil {
		g.held.kill()
	}
}

// Wait waits for the program, kills what it leaves of its group, and returns
// what cmd.Wait does.
func (g *Group) Wait() error { return reap(g.cmd, g.release) }

func (g *Group) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held.kill()
	g.held.release()
	g.held = nil
}

// Expect tells that this process will start one program after another, until
// done is called: what watches over them, on Unix a shell, then stays in between.
func Expect() (done func()) {
	expect(1)
	return sync.OnceFunc(func() { expect(-1) })
}
