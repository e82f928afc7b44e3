package dispatch_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/wire/message"
)

// A poisonous call among innocent ones, on workers that are full and are started
// again when they die: the poison ends, after max_attempts workers at most; all
// innocent calls succeed, however often the poison killed a worker of theirs.
func TestSuspect_innocentsSurviveAPoison(t *testing.T) {
	const workers, concurrency, innocents = 3, 8, 60
	for poisons := 1; poisons <= 3; poisons++ {
		t.Run(fmt.Sprint(poisons, " poisons"), func(t *testing.T) {
			w := settled(t, dispatch.Limits{})
			c := w.client("k")
			var hosts []*worker
			for range workers {
				hosts = append(hosts, w.serve(concurrency, "safe*"))
			}
			deaths := map[uint64]int{} // by poison
			for i := range innocents + poisons {
				if n := c.call("safe"); i >= 5 && len(deaths) < poisons {
					deaths[n] = 0
				}
			}
			for step := 0; len(c.outcomes) < innocents+poisons; step++ {
				s := hosts[step%workers]
				open := s.open()
				deadly := slices.IndexFunc(open, func(i int) bool { return isIn(deaths, s.calls[i].Origin.Number) })
				switch {
				case step > 10_000:
					t.Fatalf("it does not end: %+v", w.d.Stats())
				case deadly >= 0:
					deaths[s.calls[open[deadly]].Origin.Number]++
					s.lose()
					hosts[step%workers] = w.serve(concurrency, "safe*")
				case len(open) > 0:
					s.answer(open[0], "x")
				}
			}
			for _, o := range c.outcomes {
				if !isIn(deaths, o.number) {
					if o.err != nil {
						t.Errorf("an innocent call ended in %v", o)
					}
				} else if n := deaths[o.number]; n > 3 || o.err == nil || o.err.Code != message.MethodQuarantined {
					t.Errorf("a poison ended in %v, after %d workers", o, n)
				}
			}
		})
	}
}

func isIn(m map[uint64]int, n uint64) bool { _, ok := m[n]; return ok }

// suspectOf makes one call a suspect, in a world with max_attempts = 2.
func (c *client) suspectOf(method string, options ...func(*dispatch.Request)) (number uint64) {
	c.w.t.Helper()
	s := c.w.serve(1, method+"*")
	number = c.call(method, append(options, priority(message.PriorityHigh))...)
	s.has(fmt.Sprintf("%d/1", number))
	s.lose()
	return number
}

// The one worker of a busy system gets no call until it is idle, then the
// suspect alone, then the others in their order.
func TestSuspect_vacatesABusyWorker(t *testing.T) {
	w := settled(t, dispatch.Limits{MaxAttempts: 2})
	c := w.client("k")
	c.suspectOf("safe") // call 1
	for range 5 {
		c.call("safe")
	}
	s := w.serve(2, "safe*")
	s.has("1/2") // idle, it takes the suspect first, and alone
	s.answer(0, "x")
	s.has("1/2", "2/1", "3/1")

	other := w.serve(1, "safe*") // has call 4
	other.has("4/1")
	other.lose() // 4 is a suspect, and the only worker has two calls
	c.call("safe")
	s.answer(1, "x")
	s.has("1/2", "2/1", "3/1") // is vacated, although 5, 6 and 7 wait
	if info, _ := w.d.Worker(s.id); !info.Alone {
		t.Fatalf("%+v", info)
	}
	s.answer(2, "x")
	s.has("1/2", "2/1", "3/1", "4/2")
	s.answer(3, "x")
	s.has("1/2", "2/1", "3/1", "4/2", "5/1", "6/1")
	if info, _ := w.d.Worker(s.id); info.Busy != 2 || info.Alone {
		t.Fatalf("%+v", info)
	}
}

// Of many workers only one is vacated, and an idle one is better still.
func TestSuspect_leavesTheOtherWorkersAlone(t *testing.T) {
	w := settled(t, dispatch.Limits{MaxAttempts: 2})
	c := w.client("k")
	a, b := w.serve(2, "safe*"), w.serve(2, "safe*")
	c.call("safe")
	c.call("safe")
	c.call("safe") // 1 and 3 at a, 2 at b
	a.has("1/1", "3/1")
	suspect := w.serve(1, "safe*")
	c.call("safe")
	suspect.has("4/1")
	suspect.lose() // b has the least
	for range 3 {
		c.call("safe")
	}
	a.has("1/1", "3/1")
	b.has("2/1")
	a.answer(0, "x")
	a.has("1/1", "3/1", "5/1") // goes on as before
	idle := w.serve(2, "safe*")
	idle.has("4/2") // takes the suspect, and b is free again
	b.has("2/1", "6/1")
	idle.answer(0, "x")
	idle.has("4/2", "7/1")
}

// At most half of the workers run suspects at a time.
func TestSuspect_takesHalfOfTheWorkersAtMost(t *testing.T) {
	w := settled(t, dispatch.Limits{MaxAttempts: 2})
	c := w.client("k")
	s := w.serve(6, "safe*")
	for range 6 {
		c.call("safe")
	}
	s.lose()
	var workers []*worker
	for range 4 { // the first one takes one alone, the fourth makes room for another
		workers = append(workers, w.serve(2, "safe*"))
	}
	alone := func() (n int) {
		for _, s := range workers {
			n += len(s.calls)
		}
		return n
	}
	if alone() != 2 {
		t.Fatalf("%d suspects run on 4 workers", alone())
	}
	c.call("safe")
	c.call("safe")
	c.call("safe")
	c.call("safe")
	if alone() != 6 {
		t.Fatalf("%d calls run on two workers that run suspects and two that do not", alone())
	}
	for range 10 {
		for _, s := range workers {
			if open := s.open(); len(open) > 0 {
				s.answer(open[0], "x")
			}
		}
	}
	if st := w.d.Stats(); st.Succeeded != 10 || st.Failed != 0 {
		t.Fatalf("%+v", st)
	}
}

// A worker that was vacated for a suspect that has gone works on.
func TestSuspect_thatGoesFreesItsWorker(t *testing.T) {
	for name, goes := range map[string]func(*world, *client, uint64){
		"cancelled":        func(_ *world, c *client, n uint64) { c.cancel(n) },
		"too late":         func(w *world, _ *client, _ uint64) { w.pass(2 * time.Second) },
		"client is gone":   func(_ *world, c *client, _ uint64) { c.session.Close(c.sink) },
		"its key is taken": func(w *world, c *client, _ uint64) { w.d.Revoke("k", message.Errorf(message.Unauthorized, "")) },
	} {
		t.Run(name, func(t *testing.T) {
			w := settled(t, dispatch.Limits{MaxAttempts: 2})
			other := w.client("other")
			c := w.client("k")
			s := w.serve(2, "safe*")
			other.call("safe")
			n := func() uint64 {
				s2 := w.serve(1, "safe*")
				n := c.call("safe", timeout(time.Second))
				s2.has("1/1")
				s2.lose()
				return n
			}()
			other.call("safe") // waits: s is vacated
			s.has("1/1")
			goes(w, c, n)
			w.check()
			s.answer(0, "x")
			s.has("1/1", "2/1")
			s.answer(1, "x")
			other.got("1=x", "2=x")
		})
	}
}

// If the worker that is vacated is lost or drains, another one is vacated.
func TestSuspect_vacatedWorkerLeaves(t *testing.T) {
	for name, leave := range map[string]func(*worker){
		"lost":   (*worker).lose,
		"drains": func(s *worker) { s.worker.Drain(); s.w.check() },
	} {
		t.Run(name, func(t *testing.T) {
			w := settled(t, dispatch.Limits{MaxAttempts: 2})
			c := w.client("k")
			a, b := w.serve(4, "safe*", "risky"), w.serve(4, "safe*", "risky")
			for range 5 {
				c.call("risky")
			}
			third := w.serve(4, "safe*")
			c.call("safe") // 6
			third.lose()
			b.has("2/1", "4/1") // is vacated: a has three
			leave(b)
			c.call("safe") // waits: now a is vacated
			a.has("1/1", "3/1", "5/1")
			a.answer(0, "x")
			a.answer(1, "x")
			a.answer(2, "x")
			a.has("1/1", "3/1", "5/1", "6/2")
			a.answer(3, "x")
			a.has("1/1", "3/1", "5/1", "6/2", "7/1")
		})
	}
}

// A suspect whose worker never got it is as suspect as before, no more.
func TestSuspect_notHandedOver(t *testing.T) {
	w := settled(t, dispatch.Limits{MaxAttempts: 2})
	c := w.client("k")
	c.suspectOf("safe")
	for range 3 {
		s := w.serve(4, "safe*")
		s.has("1/2")
		c.call("safe")
		s.has("1/2")
		s.loseAt(0)
	}
	s := w.serve(4, "safe*")
	s.has("1/2")
	s.lose()
	if e := c.lastError(); e.Code != message.MethodQuarantined {
		t.Fatal(e)
	}
}

// Calls that run at most once are never suspects.
func TestSuspect_isIdempotent(t *testing.T) {
	w := settled(t, dispatch.Limits{MaxAttempts: 2})
	c := w.client("k")
	s := w.serve(4, "echo")
	c.call("echo")
	s.loseAt(0)
	s = w.serve(4, "echo")
	c.call("echo")
	s.has("1/1", "2/1")
	s.lose()
	c.got("2:worker_lost/maybe", "1:worker_lost/maybe")
}

// Who joins a suspect by its key and takes its place is one, too.
func TestSuspect_placeIsTakenByAnotherCall(t *testing.T) {
	for _, waits := range []bool{true, false} {
		t.Run(fmt.Sprint("waits: ", waits), func(t *testing.T) {
			w := settled(t, dispatch.Limits{MaxAttempts: 2})
			c := w.client("k")
			first := c.suspectOf("safe", key("key"))
			c.call("safe", key("key"), priority(message.PriorityLow))
			c.call("safe")
			var s *worker
			if !waits {
				s = w.serve(2, "safe*")
				s.has("1/2")
			}
			c.cancel(first)
			if waits {
				s = w.serve(2, "safe*")
				s.has("2/2")
			}
			s.answer(0, "x")
			c.got("1:cancelled/maybe", "2=x")
			if len(s.calls) != 2 {
				t.Fatal(s.calls)
			}
		})
	}
}

// Suspects of two methods that share workers wait in one order, also when it
// turns out late that they do.
func TestSuspect_ofManyMethods(t *testing.T) {
	w := settled(t, dispatch.Limits{MaxAttempts: 2})
	c := w.client("k")
	a, b := w.serve(1, "a*"), w.serve(2, "b*")
	c.call("b")
	c.call("a")
	c.call("b")
	a.lose()
	b.lose()
	both := w.serve(2, "a*", "b*")
	if len(both.calls) != 1 {
		t.Fatal(both.calls)
	}
	for i := range 3 {
		both.answer(i, "x")
	}
	if st := w.d.Stats(); st.Succeeded != 3 {
		t.Fatalf("%+v", st)
	}
}

// max_attempts = 1 means no repetition, and nobody is a suspect.
func TestSuspect_oneAttempt(t *testing.T) {
	w := settled(t, dispatch.Limits{MaxAttempts: 1})
	c := w.client("k")
	s := w.serve(2, "safe*")
	c.call("safe")
	c.call("safe")
	s.has("1/1", "2/1")
	s.lose()
	w.serve(2, "safe*").has()
	if st := w.d.Stats(); st.Failed != 2 {
		t.Fatalf("%+v", st)
	}
}

// Calls under a name that turns out to be a method's go to its idle workers.
func TestMethod_aliasFeedsTheOthers(t *testing.T) {
	w := newWorld(t, dispatch.Limits{})
	c := w.client("k")
	a := w.serve(1, "Foo")
	c.call("foo")
	c.call("foo")
	b := w.register(&message.Register{Worker: "w", Concurrency: 1, Methods: []message.Method{{Name: "Foo", Aliases: []string{"foo"}}}})
	a.has("1/1")
	b.has("2/1")
}
