package clientsdk

import (
	"errors"
	"testing"
)

// A call that waits for a place and is too large for the broker that came meanwhile ends; those
// behind it stay in the queue.
func TestQueue_callThatBecomesTooLarge(t *testing.T) {
	s := newSession(&config{maxCalls: 1, maxBytes: 1 << 30}, nil)
	start := func(size int) *call {
		t.Helper()
		c := s.newCall()
		if e := c.prepare("method", &settings{}, []any{make([]byte, size)}); e != nil {
			t.Fatal(e)
		}
		if e := s.start(c, 0); e != nil {
			t.Fatal(e)
		}
		return c
	}
	flying, large, second, third := start(1), start(1000), start(1), start(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broker.MaxMessage = 500
	s.cancelLocked(flying, "test")
	s.promoteLocked()
	if <-large.done; !errors.Is(large.err, ErrTooLarge) {
		t.Errorf("the large call ended in %v", large.err)
	}
	if second.state != stateFlying || s.waiting.first != third || s.waiting.last != third {
		t.Errorf("the call behind it is in state %d, the queue %+v", second.state, s.waiting)
	}
	s.maxCalls = 2
	s.promoteLocked()
	if third.state != stateFlying || s.waiting != (queue{}) || s.waits.count() != 2 {
		t.Errorf("the last call is in state %d, the queue %+v; %d wait", third.state, s.waiting, s.waits.count())
	}
	s.stop(nil)
}
