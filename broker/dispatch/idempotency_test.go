package dispatch_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/wire/message"
)

func TestIdempotency_sameKeyTwice(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(9, "pay", "other")
	c, again, stranger := w.client("k"), w.client("k"), w.client("stranger")
	c.call("pay", key("a"))
	again.call("pay", key("a"))
	again.call("pay", key("a"), body("another"))
	again.got("2:idempotency_conflict/no")
	stranger.call("pay", key("a")) // keys of another client are another's
	c.call("other", key("a"))      // and so are those of another method
	s.has("1/1", "1/1", "2/1")
	s.answer(0, "paid")
	c.got("1=paid")
	again.got("2:idempotency_conflict/no", "1=paid")
	w.pass(119 * time.Second)
	again.call("pay", key("a"))
	again.got("2:idempotency_conflict/no", "1=paid", "3=paid")
	w.pass(2 * time.Second)
	again.call("pay", key("a")) // forgotten: runs
	s.has("1/1", "1/1", "2/1", "4/1")
	if st := w.d.Stats(); st.Joined != 2 {
		t.Fatalf("%+v", st)
	}
}

func TestIdempotency_failureThatDidNotRunIsNotStored(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	w.serve(1, "pay").lose()
	c := w.client("k")
	c.call("pay", key("a"))
	c.call("pay", key("a"))
	w.pass(6 * time.Second)
	c.got("2:no_worker/no", "1:no_worker/no")
	s := w.serve(1, "pay")
	c.call("pay", key("a"))
	s.has("3/1")
	s.lose() // it may have run: nobody else runs it
	c.call("pay", key("a"))
	w.serve(1, "pay").has()
	if o := c.outcomes[len(c.outcomes)-1].String(); o != "4:worker_lost/maybe" {
		t.Fatal(o)
	}
}

// The caller who happens to be first gives up: the others still wait.
func TestIdempotency_theFirstGivesUp(t *testing.T) {
	for name, give := range map[string]func(*world, *client){
		"cancels":      func(w *world, c *client) { c.cancel(1) },
		"leaves":       func(w *world, c *client) { c.session.Close(c.sink) },
		"has no time":  func(w *world, c *client) { w.pass(2 * time.Second) },
		"stays behind": func(w *world, c *client) {},
	} {
		for _, waiting := range []bool{true, false} {
			w := settled(t, dispatch.Limits{})
			s := w.serve(1, "pay")
			blocker := w.client("blocker")
			if waiting {
				blocker.call("pay")
			}
			first, second, third := w.client("k"), w.client("k"), w.client("k")
			first.call("pay", key("a"), timeout(time.Second))
			second.call("pay", key("a"))
			third.call("pay", key("a"))
			if name == "stays behind" {
				third.cancel(1)
				third.got("1:cancelled/maybe")
			}
			give(w, first)
			w.check()
			if waiting {
				s.answer(0, "x")
			}
			if len(s.sent) > 0 && strings.HasPrefix(s.sent[0], "cancel") {
				t.Fatalf("%s: the worker is told to stop, but others wait", name)
			}
			s.answer(len(s.calls)-1, "paid")
			second.got("1=paid")
			if name != "stays behind" {
				third.got("1=paid")
			}
		}
	}
}

func TestIdempotency_storedOutcomesAreBounded(t *testing.T) {
	w := settled(t, dispatch.Limits{KeepBytes: 10_000})
	s := w.serve(9, "pay")
	c := w.client("k")
	c.call("pay", key("a"))
	c.call("pay", key("b"))
	s.answer(0, strings.Repeat("a", 6000))
	s.answer(1, strings.Repeat("b", 6000))
	c.call("pay", key("b"))
	c.call("pay", key("a")) // pushed out: runs again
	s.has("1/1", "2/1", "4/1")
}

// An outcome of no bytes takes memory all the same: a new key with every call
// does not keep as many as there are bytes.
func TestIdempotency_smallOutcomesAreBounded(t *testing.T) {
	w := settled(t, dispatch.Limits{KeepBytes: 10_000})
	s := w.serve(99, "pay")
	c := w.client("k")
	const n = 50
	for i := range n {
		c.call("pay", key(fmt.Sprint("a key of some length, as they are ", i)))
		s.answer(i, "")
	}
	c.call("pay", key(fmt.Sprint("a key of some length, as they are ", n-1)))
	c.call("pay", key(fmt.Sprint("a key of some length, as they are ", 0))) // pushed out: runs again
	if got := len(s.calls); got != n+1 {
		t.Errorf("%d calls have run", got)
	}
}

// restart is a new broker whose workers still run what the old one gave them.
func restart(t *testing.T, limits dispatch.Limits) (*world, *client, func(n uint64) message.Origin) {
	w := newWorld(t, limits)
	c := w.client("k")
	return w, c, func(n uint64) message.Origin { return message.Origin{Session: c.id, Number: n} }
}

func (s *worker) claim(o message.Origin) {
	s.w.t.Helper()
	s.worker.Claim(o)
	s.w.check()
}

func (s *worker) answerOrigin(o message.Origin, result string) {
	s.w.t.Helper()
	s.worker.Outcome(dispatch.Ref{Origin: o}, message.KindResult, []byte(result))
	s.w.check()
}

// A worker that claims without end takes no memory without end.
func TestClaim_isBounded(t *testing.T) {
	w, _, origin := restart(t, dispatch.Limits{})
	s := w.register(&message.Register{Worker: "w", Concurrency: 1, Methods: []message.Method{{Name: "echo"}}})
	const most = 2 * message.MaxConcurrency
	for n := range most + 100 {
		s.worker.Claim(origin(uint64(n + 1)))
	}
	if busy := w.d.Workers()[0].Busy; busy != most {
		t.Errorf("it has %d claims, not %d", busy, most)
	}
}

func TestClaim_runningCall(t *testing.T) {
	for _, workerFirst := range []bool{true, false} {
		w, c, origin := restart(t, dispatch.Limits{})
		var s *worker
		come := func() {
			s = w.register(&message.Register{Worker: "w", Concurrency: 2, Busy: 1, Methods: []message.Method{{Name: "echo"}}})
			s.claim(origin(1))
		}
		if workerFirst {
			come()
		}
		c.call("echo", resubmit)
		if !workerFirst {
			come()
		}
		c.call("echo")
		c.call("echo")
		s.has("2/1") // one slot is taken by the claim
		w.pass(10 * time.Second)
		s.answerOrigin(origin(1), "x")
		c.got("1=x")
		s.has("2/1", "3/1")
		s.answerOrigin(origin(1), "twice")
		if st := w.d.Stats(); st.Reclaimed != 1 {
			t.Fatalf("%+v", st)
		}
	}
}

func TestClaim_heldOutcome(t *testing.T) {
	for _, workerFirst := range []bool{true, false} {
		w, c, origin := restart(t, dispatch.Limits{})
		s := w.serve(1, "echo")
		if workerFirst {
			s.answerOrigin(origin(1), "x")
			w.pass(100 * time.Second)
			c.attach(0) // it was long away
		}
		c.call("echo", resubmit)
		if !workerFirst {
			s.answerOrigin(origin(1), "x")
		}
		c.got("1=x")
		s.has()
		s.answerOrigin(origin(9), "nobody asks")
		w.pass(3 * time.Minute)
	}
}

func TestClaim_nobodyClaims(t *testing.T) {
	w, c, _ := restart(t, dispatch.Limits{})
	s := w.serve(3, "echo", "safe*")
	c.call("echo", resubmit)
	c.call("safe", resubmit)
	c.call("echo", resubmit, idempotent)
	c.call("echo", resubmit, timeout(time.Second))
	c.call("echo", resubmit)
	c.cancel(5)
	s.has()
	w.pass(4 * time.Second)
	c.got("5:cancelled/maybe", "4:deadline_in_handler/maybe")
	w.pass(2 * time.Second)
	if o := c.outcomes[2].String(); len(c.outcomes) != 3 || o != "1:connection_lost/maybe" {
		t.Fatal(c.outcomes)
	}
	if len(s.calls) != 2 || s.calls[0].Attempt != 2 {
		t.Fatal(s.calls)
	}
	c.call("echo", resubmit) // the grace is over
	if o := c.outcomes[3].String(); o != "6:connection_lost/maybe" {
		t.Fatal(o)
	}
}

func TestClaim_nobodyAsks(t *testing.T) {
	w, _, origin := restart(t, dispatch.Limits{})
	s := w.register(&message.Register{Worker: "w", Concurrency: 1, Busy: 1, Methods: []message.Method{{Name: "echo"}}})
	s.claim(origin(1))
	s.claim(origin(1))
	w.pass(4 * time.Second)
	if len(s.sent) != 0 {
		t.Fatal(s.sent)
	}
	w.pass(2 * time.Second)
	if len(s.sent) != 1 || s.sent[0] != "cancel 1" {
		t.Fatal(s.sent)
	}
	other := w.client("k2")
	other.call("echo")
	s.has() // busy until it answers
	s.answerOrigin(origin(1), "x")
	s.has("1/1")
	late := w.serve(1, "echo")
	late.claim(origin(2))
	if len(late.sent) != 1 {
		t.Fatal("a claim after the grace is not cancelled", late.sent)
	}
	late.lose()
}

func TestClaim_workerIsLost(t *testing.T) {
	w, c, origin := restart(t, dispatch.Limits{})
	s := w.serve(4, "echo", "safe*")
	s.claim(origin(1))
	s.claim(origin(2))
	s.claim(origin(3))
	c.call("echo", resubmit)
	c.call("safe", resubmit)
	s.lose()
	c.got("1:worker_lost/maybe")
	w.serve(1, "safe*").has("2/2")
}

func TestClaim_outcomeOfTheClaimComesBeforeItsCaller(t *testing.T) {
	w, c, origin := restart(t, dispatch.Limits{})
	s := w.serve(1, "echo")
	s.claim(origin(1))
	s.answerOrigin(origin(1), "x")
	c.call("echo", resubmit)
	c.got("1=x")
}

func TestClaim_handedBack(t *testing.T) {
	w, c, origin := restart(t, dispatch.Limits{})
	s := w.serve(1, "echo")
	c.call("echo", resubmit)
	s.worker.Outcome(dispatch.Ref{Origin: origin(1)}, message.KindError, message.Errorf(message.ShuttingDown, "").Append(nil))
	w.check()
	s.has("1/1") // it says it did not run
}

// A worker gets the outcome of no method that it does not serve, and another key none of this one's.
func TestClaim_byTheWrongPeer(t *testing.T) {
	w, c, origin := restart(t, dispatch.Limits{})
	c.call("echo", resubmit)
	s := w.serve(1, "add")
	s.claim(origin(1))
	s.answerOrigin(origin(1), "forged")
	c.got()
	thief := &client{w: w, id: c.id, config: dispatch.ClientConfig{Key: "thief"}}
	thief.attach(0)
	thief.call("echo", resubmit)
	thief.got("1:connection_lost/maybe")
	right := w.serve(1, "echo")
	right.claim(origin(1))
	right.answerOrigin(origin(1), "x")
	c.got("1=x")
	thief.got("1:connection_lost/maybe")
}
