package supervise

import (
	"context"
	"fmt"
	"time"
)

// worker is one worker and its present process. Its goroutine, run, lives from
// starting to stopped.
//
//	             ┌───────────── recycled ─────────────┐
//	             v                                    │
//	stopped ─> starting ─ has a pid ─> running ─ asked to end ─> stopping
//	             ^  │ fails               │ ends
//	        wait │  v                     v
//	           backing off  or  crash loop
//
// From every state but stopped itself the next may be stopped, when the worker
// is no longer to run and has no process.
type worker struct {
	// Static.
	s    *Supervisor
	spec Spec

	// Guarded by s.mu.
	state    State
	wanted   bool               // it is to run
	forget   bool               // it leaves the list when it has stopped
	stop     context.CancelFunc // ends the present run, in good order
	kill     context.CancelFunc // with stop: at once
	pid      int
	started  time.Time
	next     time.Time // of the restart, when backing off
	restarts int
	calls    int64
	memory   int64
	excused  bool // its process was asked to end, see Supervisor.Excuse
	last     *Exit
}

// run keeps a process running until life ends. force ends the waiting for a
// process that was asked to end.
func (w *worker) run(life, force context.Context) {
	var h history
	for w.again(life, &h, w.live(life, force)) {
	}
}

// live starts a process and returns how it ended.
func (w *worker) live(life, force context.Context) Exit {
	w.s.mu.Lock()
	w.calls, w.memory, w.excused = 0, 0, false // before it can have any
	w.s.mu.Unlock()
	p, err := w.s.launch(w.spec)
	if err != nil {
		return Exit{At: time.Now(), Status: "did not start: " + err.Error()}
	}
	started := time.Now()
	w.s.mu.Lock()
	w.pid, w.started = p.pid, started
	w.enterLocked(Running, "pid", p.pid)
	w.s.mu.Unlock()

	reason := w.watch(life, p)
	if reason != "" {
		w.end(p, force, reason)
	}
	<-p.ended.Done()
	now := time.Now()
	return Exit{At: now, Ran: now.Sub(started), Status: p.status, Reason: reason, Stderr: p.evidence.tail()}
}

// watch returns why p is to end, or "" when it ended by itself.
func (w *worker) watch(life context.Context, p *process) string {
	tick := time.NewTicker(w.s.checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.ended.Done():
			return w.excuse()
		case <-life.Done():
			return "stopped"
		case <-tick.C:
			if reason := w.outgrown(); reason != "" {
				return reason
			}
		}
	}
}

// excuse says why a process that has ended was to end, if it was.
func (w *worker) excuse() string {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if w.excused {
		return "drained"
	}
	return ""
}

// outgrown says which limit the process exceeds, if any.
func (w *worker) outgrown() string {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	w.memory = residentMemory(w.pid)
	age := time.Since(w.started)
	switch p := s.policy; {
	case p.MaxMemory > 0 && w.memory > p.MaxMemory:
		return fmt.Sprintf("recycled: %d bytes of memory exceed max_memory", w.memory)
	case p.MaxCalls > 0 && w.calls >= p.MaxCalls:
		return fmt.Sprintf("recycled: %d calls reach max_calls", w.calls)
	case p.MaxAge > 0 && age >= p.MaxAge:
		return fmt.Sprintf("recycled: its age of %v reaches max_age", age.Round(time.Millisecond))
	}
	return ""
}

// end drains p, asks it to end, and kills its group if it takes too long.
func (w *worker) end(p *process, force context.Context, reason string) {
	s := w.s
	s.mu.Lock()
	w.enterLocked(Stopping, "pid", p.pid, "reason", reason)
	s.mu.Unlock()
	if s.config.Drain != nil {
		// When Run ends, the broker does: it has drained all by itself.
		ctx, cancel := context.WithCancel(s.ctx)
		unforce, unwatch := context.AfterFunc(force, cancel), context.AfterFunc(p.ended, cancel)
		if force.Err() == nil && ctx.Err() == nil {
			s.config.Drain(ctx, w.spec.ID)
		}
		unforce()
		unwatch()
		cancel()
	}
	if force.Err() == nil {
		p.terminate()
	}
	timer := time.NewTimer(s.currentPolicy().StopTimeout)
	defer timer.Stop()
	select {
	case <-p.ended.Done():
	case <-timer.C:
		s.config.Log.Warn("worker did not end in time and is killed", "worker", w.spec.ID, "name", w.spec.Name, "pid", p.pid)
		p.group.Kill()
	case <-force.Done():
		p.group.Kill()
	}
}

// again records how a process ended, waits as long as it deserves, and reports
// whether to start another.
func (w *worker) again(life context.Context, h *history, exit Exit) bool {
	s := w.s
	var delay time.Duration
	s.mu.Lock()
	w.pid, w.last = 0, &exit
	if exit.Reason == "" && life.Err() == nil {
		state := BackingOff
		var looping bool
		if delay, looping = h.exited(exit.At, exit.Ran, s.policy); looping {
			state = CrashLoop
		}
		w.next = time.Now().Add(delay)
		w.enterLocked(state, "exit", exit.Status, "ran", exit.Ran.String(), "restart_in", delay.String(), "output", s.outputPath(w.spec))
	}
	s.mu.Unlock()

	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-life.Done():
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if life.Err() == nil {
		w.restarts++
		w.enterLocked(Starting)
		return true
	}
	w.stop()
	w.kill()
	w.enterLocked(Stopped, "exit", exit.Status)
	switch {
	case w.forget:
		s.forgetLocked(w)
	case w.wanted:
		s.beginLocked(w)
	}
	return false
}

func (w *worker) statusLocked() Status {
	status := Status{
		ID: w.spec.ID, Name: w.spec.Name, Config: w.spec.Config, State: w.state, PID: w.pid, Next: w.next,
		Restarts: w.restarts, Calls: w.calls, Output: w.s.outputPath(w.spec), LastExit: w.last,
	}
	if w.pid != 0 {
		status.Started, status.Memory = w.started, w.memory
	}
	return status
}
