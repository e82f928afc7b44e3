package dispatch_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/wire/message"
)

// turns answers one call after the other and returns whose they were.
func turns(s *worker, n int) []byte {
	var keys []byte
	for range n {
		i := len(s.calls) - 1
		keys = append(keys, s.calls[i].Origin.Session[0])
		s.answer(i, "x")
	}
	return keys
}

func TestFair_floodDoesNotStarve(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "echo", "add")
	flood, other := w.client("flood"), w.client("other")
	for range 500 {
		flood.call("echo")
		flood.call("add")
	}
	turns(s, 100)
	for range 20 {
		other.call("echo")
	}
	if n := countOf(turns(s, 42), 2); n != 20 {
		t.Fatalf("the other client got %d of 42 turns, want 20", n)
	}
}

// Sessions of one key share its turns.
func TestFair_byKeyNotBySession(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "echo")
	flood := []*client{w.client("flood"), w.client("flood"), w.client("flood")}
	other := w.client("other")
	for range 50 {
		for _, c := range flood {
			c.call("echo")
		}
		other.call("echo")
	}
	if n := countOf(turns(s, 81), 4); n < 39 || n > 41 {
		t.Fatalf("the other key got %d of 81 turns, want half", n)
	}
}

// A backlog that waits for workers of one method says nothing about turns at another's.
func TestFair_domainsAreApart(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	w.serve(1, "slow")
	s := w.serve(1, "fast")
	a, b := w.client("a"), w.client("b")
	for range 100 {
		a.call("slow")
	}
	for range 10 {
		b.call("fast")
	}
	for range 10 {
		a.call("fast")
	}
	if n := countOf(turns(s, 12), 1); n < 5 {
		t.Fatalf("a got %d of 12 turns at fast, because it waits at slow", n)
	}
}

// Workers that serve both make one domain of two: nobody's backlog is lost or moved back.
func TestFair_domainsMerge(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	w.serve(1, "slow")
	fast := w.serve(1, "fast")
	a, b := w.client("a"), w.client("b")
	for range 300 {
		a.call("fast")
	}
	turns(fast, 200)
	for range 50 {
		a.call("slow")
		b.call("slow")
	}
	both := w.serve(1, "slow", "fast")
	if n := countOf(turns(both, 60), 2); n < 19 || n > 41 {
		t.Fatalf("b got %d of 60 turns", n)
	}
	turns(both, 130)
	w.check()
}

func TestPriority_highFirstLowLastAndAgeing(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "echo")
	c := w.client("k")
	c.call("echo")
	low := c.call("echo", priority(message.PriorityLow))
	for range 600 {
		c.call("echo")
	}
	high := c.call("echo", priority(message.PriorityHigh))
	turns(s, 603)
	var order []uint64
	for _, a := range s.calls {
		order = append(order, a.Origin.Number)
	}
	if i := slices.Index(order, high); i != 1 {
		t.Errorf("the urgent call had turn %d", i)
	}
	if i := slices.Index(order, low); i < 200 || i > 300 {
		t.Errorf("the low call had turn %d, want it behind the others, but aged", i)
	}
}

func TestAssign_leastLoaded(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	big, small := w.serve(8, "echo"), w.serve(2, "echo")
	upgraded := w.serve(4, "echo", "more")
	c := w.client("k")
	for range 7 {
		c.call("echo")
	}
	if len(big.calls) != 4 || len(small.calls) != 1 || len(upgraded.calls) != 2 {
		t.Fatalf("%d of 8, %d of 2, %d of 4 slots taken", len(big.calls), len(small.calls), len(upgraded.calls))
	}
	for range 8 {
		c.call("echo")
	}
	if len(big.calls) != 8 || len(small.calls) != 2 || len(upgraded.calls) != 4 {
		t.Fatalf("%d of 8, %d of 2, %d of 4 slots taken", len(big.calls), len(small.calls), len(upgraded.calls))
	}
}

// Equal workers take turns.
func TestAssign_rotates(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	var workers []*worker
	for range 4 {
		workers = append(workers, w.serve(1, "echo"))
	}
	c := w.client("k")
	for range 20 {
		c.call("echo")
		for _, s := range workers {
			if len(s.calls) > 0 {
				s.answer(len(s.calls)-1, "x")
			}
		}
	}
	for i, s := range workers {
		if len(s.calls) != 5 {
			t.Errorf("worker %d got %d calls of 20", i, len(s.calls))
		}
	}
}

func countOf(turns []byte, who byte) int {
	n := 0
	for _, k := range turns {
		if k == who {
			n++
		}
	}
	return n
}

func TestLimits(t *testing.T) {
	for _, l := range []struct {
		name   string
		limits dispatch.Limits
		room   int // calls of 100 bytes that fit
		others bool
	}{
		{"calls of a key", dispatch.Limits{CallsPerKey: 5}, 5, true},
		{"bytes of a key", dispatch.Limits{BytesPerKey: 350}, 3, true},
		{"calls in all", dispatch.Limits{Calls: 4}, 4, false},
		{"bytes in all", dispatch.Limits{Bytes: 250}, 2, false},
	} {
		t.Run(l.name, func(t *testing.T) {
			w := settled(t, l.limits)
			s := w.serve(100, "echo")
			c, second, other := w.client("k"), w.client("k"), w.client("other")
			hundred := body(fmt.Sprintf("%0100d", 0))
			for i := range l.room {
				[]*client{c, second}[i%2].call("echo", hundred)
			}
			c.call("echo", hundred)
			e := c.lastError()
			if e.Code != message.QueueFull || e.Execution() != message.NotExecuted || e.Details["retry_after_ms"] == nil {
				t.Fatal(e, e.Details)
			}
			other.call("echo", hundred)
			if (len(other.outcomes) == 0) != l.others {
				t.Fatalf("another key got %v", other.outcomes)
			}
			// An outcome counts until it is acknowledged.
			for i := range s.calls {
				s.answer(i, fmt.Sprintf("%0100d", 0))
			}
			second.call("echo", hundred)
			if second.lastError().Code != message.QueueFull {
				t.Fatal(second.outcomes)
			}
			c.session.Ack(uint64(len(c.outcomes)))
			second.session.Ack(uint64(len(second.outcomes)))
			other.session.Ack(uint64(len(other.outcomes)))
			n := len(second.outcomes)
			second.call("echo", hundred)
			if len(second.outcomes) != n {
				t.Fatal(second.lastError())
			}
			w.d.SetLimits(dispatch.Limits{})
			for range 20 {
				c.call("echo", hundred)
			}
			if len(s.calls) < 20 {
				t.Fatal("the new limits are not in force")
			}
		})
	}
}

func TestLimits_tooLarge(t *testing.T) {
	w := settled(t, dispatch.Limits{MaxMessage: 10})
	s := w.serve(1, "echo")
	c := w.client("k")
	c.call("echo", body("12345678901"))
	c.call("echo", body("1234567890"))
	s.answer(0, "12345678901")
	c.got("1:too_large/no", "2:too_large/maybe")
}
