package workersdk

import (
	"strings"
	"testing"
)

// wake makes the worker believe that it was stopped for longer than the bound.
func (r *running) wake() {
	r.t.Helper()
	until(r.t, "in service", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.conn == nil {
			return false
		}
		p := r.conn.pulse
		p.last.Store(-2 * int64(p.bound))
		return true
	})
}

// What a stopped worker finds on its link when it goes on is not its work any
// more: others have it, or its caller was told that the worker is lost.
func TestWorker_stoppedForTooLongBeginsNothing(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	l := newLab()
	w := start(t, b, l, nil)
	p := b.worker()
	p.call(1, "add", 1, 1)
	p.result(1)
	w.wake()
	p.call(2, "gate", "x")
	p.closed()
	p = b.worker()
	p.call(3, "add", 1, 1)
	p.result(3)
	if n := l.runs.Load(); n != 0 {
		t.Errorf("the stale call ran %d times", n)
	}
	if !strings.Contains(w.log.String(), errStopped.Error()) {
		t.Errorf("the log does not say why the link ended:\n%s", w.log)
	}
}

// A call that was taken from the link, but had not begun, is stale as well.
func TestWorker_stoppedBeforeACallBegins(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	l := newLab()
	w := start(t, b, l, nil)
	p := b.worker()
	w.wake()
	w.mu.Lock()
	c := &call{worker: w.Worker, method: w.table.Lookup([]byte("gate")), token: 7}
	w.calls.Put(c.token, c)
	w.mu.Unlock()
	w.pool.submit(c)
	p.closed()
	b.worker()
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := l.runs.Load(); n != 0 || w.strays != 0 || w.calls.Len() != 0 || len(w.kept.list) != 0 {
		t.Errorf("the stale call ran %d times; %d strays, %d calls, %d outcomes", n, w.strays, w.calls.Len(), len(w.kept.list))
	}
}

// A call that was fenced before it began leaves the one alone that has its token now.
func TestWorker_stoppedBeforeAFencedCallBegins(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	l := newLab()
	w := start(t, b, l, nil)
	p := b.worker()
	p.call(2, "gate", "new")
	receive(t, l.entered, "the method")
	old := &call{worker: w.Worker, method: w.table.Lookup([]byte("add")), token: 2}
	w.mu.Lock()
	w.strayLocked(old, errFenced)
	w.mu.Unlock()
	w.wake()
	if e := w.begin(old); e != errNotRun {
		t.Errorf("the fenced call began: %v", e)
	}
	w.mu.Lock()
	if w.calls.Get(2) == nil {
		t.Error("the call that has the token now is forgotten")
	}
	w.mu.Unlock()
	p.closed()
	b.worker()
	close(l.open)
}
