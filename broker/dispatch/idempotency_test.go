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

// The caller of a running call is gone, and another one asks for the same: the
// call is his from then on, and runs again for him if it must.
func TestIdempotency_orphanIsTakenOver(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "pay")
	first, second := w.client("k"), w.client("k")
	first.call("pay", key("a"))
	first.session.Close(first.sink)
	w.check()
	second.call("pay", key("a"))
	w.check()
	if st := w.d.Stats(); st.Orphaned != 1 || st.Running != 1 || st.Queued != 0 {
		t.Fatalf("%+v", st)
	}
	s.fail(0, message.ShuttingDown)
	s = w.serve(1, "pay")
	s.has("1/1")
	s.answer(0, "x")
	second.got("1=x")
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
