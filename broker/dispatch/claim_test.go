package dispatch_test

import (
	"slices"
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/wire/message"
)

// restart is a new broker whose workers still run what the old one gave them.
func restart(t *testing.T, limits dispatch.Limits) (*world, *client, func(n uint64) message.Origin) {
	w := newWorld(t, limits)
	c := w.client("k")
	return w, c, func(n uint64) message.Origin { return message.Origin{Session: c.id, Number: n} }
}

func (s *worker) claim(o message.Origin) {
	s.w.t.Helper()
	s.worker.Claim(o, 1, false)
	s.w.check()
}

func (s *worker) answerOrigin(o message.Origin, result string) {
	s.w.t.Helper()
	s.worker.Outcome(dispatch.Ref{Origin: o}, message.KindResult, []byte(result))
	s.w.check()
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
	for _, h := range []struct {
		said, known uint8 // the attempt, as the worker and as the client know it
		want        string
	}{
		{1, 0, "1/1"}, // it did not run
		{1, 1, "1/1"},
		{2, 2, "1/2"}, // the first attempt did
		{2, 0, "1/2"}, // the client was away
		{0, 0, "1/2"}, // nobody knows
	} {
		for _, workerFirst := range []bool{true, false} {
			w, c, origin := restart(t, dispatch.Limits{})
			leaving, s := w.serve(1, "echo*"), w.serve(1, "echo*")
			back := func() {
				leaving.worker.Drain()
				leaving.worker.Outcome(dispatch.Ref{Origin: origin(1), Attempt: h.said}, message.KindError,
					message.Errorf(message.ShuttingDown, "").Append(nil))
				w.check()
			}
			if workerFirst {
				back()
			}
			c.call("echo", resubmit, func(r *dispatch.Request) { r.Attempt = h.known })
			if !workerFirst {
				back()
			}
			s.has(h.want)
		}
	}
}

// What is known of attempts before a restart counts after it: on the last one
// the call is given up, or runs alone.
func TestClaim_attemptsGoOn(t *testing.T) {
	knows := func(n uint8) func(*dispatch.Request) { return func(r *dispatch.Request) { r.Attempt = n } }
	t.Run("nobody claims", func(t *testing.T) {
		w, c, _ := restart(t, dispatch.Limits{})
		s := w.serve(4, "safe*")
		c.call("safe", resubmit)
		c.call("safe", resubmit, knows(2))
		c.call("safe", resubmit, knows(3))
		w.pass(6 * time.Second)
		c.got("3:connection_lost/maybe")
		s.has("1/2")
		s.answer(0, "x")
		s.has("1/2", "2/3")
		c.call("safe")
		s.has("1/2", "2/3")
		if c.sink.attempts[0] != "1/2" || c.sink.attempts[1] != "2/3" {
			t.Fatal(c.sink.attempts)
		}
		s.lose()
		c.got("3:connection_lost/maybe", "1=x", "2:quarantined/maybe")
	})
	t.Run("claimed", func(t *testing.T) {
		for _, workerFirst := range []bool{true, false} {
			w, c, origin := restart(t, dispatch.Limits{})
			s := w.serve(4, "safe*")
			if workerFirst {
				s.worker.Claim(origin(1), 2, false)
			}
			c.call("safe", resubmit) // was away when the second attempt was made
			if !workerFirst {
				s.worker.Claim(origin(1), 2, false)
			}
			w.check()
			if len(c.sink.attempts) != 1 || c.sink.attempts[0] != "1/2" {
				t.Fatal(c.sink.attempts)
			}
			s.lose()
			s = w.serve(4, "safe*")
			s.has("1/3")
			s.lose()
			c.got("1:quarantined/maybe")
		}
	})
}

// A client that comes back is told of the attempts that it has missed.
func TestSession_attemptsAreTold(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	c := w.client("k")
	plain := w.plain("p")
	s := w.serve(2, "safe*")
	c.call("safe")
	plain.call("safe")
	c.drop()
	s.lose()
	w.serve(2, "safe*")
	if sink := c.attach(0); len(sink.attempts) != 1 || sink.attempts[0] != "1/2" || len(plain.sink.attempts) != 0 {
		t.Fatal(sink.attempts, plain.sink.attempts)
	}
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

// A claimed stream that has ended takes no slot; one that ends while it is
// claimed gives its slot back.
func TestClaim_endedStreams(t *testing.T) {
	w, c, origin := restart(t, dispatch.Limits{})
	s := w.register(&message.Register{Worker: "w", Concurrency: 2, Busy: 1, Methods: []message.Method{{Name: "count"}}})
	for n := range uint64(20) {
		s.worker.Claim(origin(n+1), 1, true)
		w.check()
	}
	s.worker.Claim(origin(21), 1, false)
	c.call("count", number(3), stream, resubmit)
	c.call("count", number(30))
	c.call("count")
	c.call("count")
	s.has("30/1") // 21 runs
	s.worker.Claim(origin(21), 1, true)
	w.check()
	s.worker.Claim(origin(21), 1, true) // once is enough
	w.check()
	s.has("30/1", "31/1")

	if want := []string{"grant 3 16"}; !slices.Equal(s.sent, want) {
		t.Fatalf("sent %q, want %q", s.sent, want)
	}
	s.answerOrigin(origin(3), "end")
	s.answer(0, "x")
	s.has("30/1", "31/1", "32/1")
	s.sent = nil
	w.pass(6 * time.Second)
	cancels := slices.DeleteFunc(s.sent, func(m string) bool { return m == "ack 2" })
	if len(cancels) != 20 { // 3 was asked for
		t.Fatalf("of 20 claims that nobody asked for %d were cancelled: %q", len(cancels), s.sent)
	}
	s.lose()
}

// A worker that claims without end takes no memory without end.
func TestClaim_isBounded(t *testing.T) {
	w, _, origin := restart(t, dispatch.Limits{})
	s := w.register(&message.Register{Worker: "w", Concurrency: 1, Methods: []message.Method{{Name: "echo"}}})
	const most = 2 * message.MaxConcurrency
	for n := range most + 100 {
		s.worker.Claim(origin(uint64(n+1)), 0, false)
	}
	if busy := w.d.Workers()[0].Busy; busy != most {
		t.Errorf("it has %d claims, not %d", busy, most)
	}
}
