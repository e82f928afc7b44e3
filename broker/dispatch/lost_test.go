package dispatch_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/wire/message"
)

func TestLost_evidence(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(3, "echo", "safe*")
	c := w.client("k")
	c.call("echo")
	c.call("safe")
	c.call("echo")
	s.loseAt(200) // the third was not handed over
	c.got("1:worker_lost/maybe")
	d := c.lastError().Details
	if d["worker"] != "w" || d["exit"] != "signal: killed" || d["host"] != "h" || fmt.Sprint(d["stderr"]) != "[boom]" {
		t.Fatalf("evidence: %v", d)
	}
	s2 := w.serve(3, "echo", "safe*")
	s2.has("2/2", "3/1")
	s2.answer(0, "x")
	c.got("1:worker_lost/maybe", "2=x")
	if st := w.d.Stats(); st.Redispatched != 1 || st.Returned != 1 {
		t.Fatalf("%+v", st)
	}
}

// An answer ends a call only by the token that its worker was given, once.
func TestLost_answersAreFenced(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "safe*")
	c := w.client("k")
	c.call("safe")
	s.lose()
	s2 := w.serve(1, "safe*")
	s3 := w.serve(1, "safe*")
	late := []struct {
		by  *worker
		ref dispatch.Ref
	}{
		{s, s.ref(0)},   // the lost worker itself
		{s2, s.ref(0)},  // its token on another connection
		{s3, s2.ref(0)}, // another worker's token
		{s2, dispatch.Ref{Token: s2.calls[0].Token ^ 1}},   // a neighbour
		{s2, dispatch.Ref{Token: s2.calls[0].Token << 32}}, // no fence
		{s2, dispatch.Ref{Token: ^uint64(0)}},
	}
	for i, l := range late {
		l.by.worker.Outcome(l.ref, message.KindResult, []byte("late"))
		w.check()
		if st := w.d.Stats(); st.Late != uint64(i+1) {
			t.Fatalf("answer %d is not counted as late", i)
		}
	}
	c.got()
	s2.answer(0, "x")
	s2.answer(0, "twice")
	c.got("1=x")
}

func TestLost_workerDiesAfterItsAnswer(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "echo")
	c := w.client("k")
	c.call("echo")
	s.answer(0, "x")
	s.lose()
	c.got("1=x")
}

func TestLost_poisonTakesMaxAttemptsWorkers(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	c := w.client("k")
	healthy := w.serve(1, "echo")
	s := w.serve(2, "poison*")
	c.call("poison")
	for attempt := 1; ; attempt++ {
		s.has(fmt.Sprint("1/", attempt))
		s.lose()
		if attempt == 3 {
			break
		}
		s = w.serve(2, "poison*")
	}
	c.got("1:quarantined/maybe")
	w.serve(2, "poison*").has()
	c.call("echo")
	healthy.answer(0, "x")
	c.got("1:quarantined/maybe", "2=x")
}

func TestLost_notHandedOverDoesNotCount(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	c := w.client("k")
	c.call("echo")
	c.got("1:no_such_method/no")
	s := w.serve(1, "echo")
	c.call("echo")
	for range 5 {
		s.loseAt(0)
		s = w.serve(1, "echo")
		s.has("2/1")
	}
}

// All workers must declare a method idempotent, for it to be.
func TestLost_oneWorkerSaysNotIdempotent(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	c := w.client("k")
	a := w.serve(1, "safe*")
	b := w.serve(1, "safe")
	c.call("safe")
	c.call("safe")
	b.lose()
	a.lose()
	c.got("2:worker_lost/maybe")
	w.serve(2, "safe*").has("1/2")
}

func TestLost_serviceVanishesWithAQueue(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "echo")
	c := w.client("k")
	c.call("echo")
	c.call("echo")
	c.call("echo", timeout(10*time.Second))
	s.lose()
	c.got("1:worker_lost/maybe")
	c.call("echo")
	w.pass(4 * time.Second)
	c.got("1:worker_lost/maybe")
	w.pass(2 * time.Second)
	c.got("1:worker_lost/maybe", "2:no_worker/no", "4:no_worker/no")
	s = w.serve(1, "echo")
	s.has("3/1")
	s.answer(0, "x")
	c.got("1:worker_lost/maybe", "2:no_worker/no", "4:no_worker/no", "3=x")
}

func TestLost_workerThatRestartsLosesNothing(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	w.serve(1, "echo").lose()
	c := w.client("k")
	c.call("echo")
	w.pass(4 * time.Second)
	s := w.serve(1, "echo")
	w.pass(4 * time.Second)
	s.answer(0, "x")
	c.got("1=x")
}

func TestDrain_workerHandsBackAndLeaves(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(2, "echo")
	c := w.client("k")
	c.call("echo")
	c.call("echo")
	if !w.d.DrainWorker("w") || w.d.DrainWorker("nobody") {
		t.Fatal("the worker is not found by its id")
	}
	w.check()
	c.call("echo")
	s.fail(0, message.ShuttingDown)
	if s.drained != 0 {
		t.Fatal("drained too early")
	}
	s.answer(1, "x")
	if s.drained != 1 || s.sent[0] != "drain" {
		t.Fatal(s.drained, s.sent)
	}
	s2 := w.serve(2, "echo")
	s2.has("1/1", "3/1")
	s.lose()
	c.got("2=x")
}

// A worker that hands a call back gets no call again: it would hand it back for ever.
func TestDrain_handBackDrains(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(2, "echo")
	c := w.client("k")
	c.call("echo")
	s.fail(0, message.ShuttingDown)
	s.has("1/1")
	w.serve(1, "echo").has("1/1")
}

// A REP worker cannot hand back, and nobody but the broker tells a client to call
// elsewhere.
func TestDrain_plainWorkerSaysSo(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.servePlain()
	c := w.client("k")
	c.call("echo")
	s.fail(0, message.ShuttingDown)
	c.got("1:shutting_down/maybe")
	c.call("echo")
	s.has("1/1", "2/1")
}

// What a worker stopped half way at the end of its drain may have had effects.
func TestDrain_unfinishedCallsRunAgainOnlyIfTheyMay(t *testing.T) {
	w := settled(t, dispatch.Limits{MaxAttempts: 2})
	s := w.serve(2, "echo", "safe*")
	c := w.client("k")
	c.call("echo")
	c.call("safe")
	unfinished := message.Errorf(message.ShuttingDown, "").WithExecution(message.MaybeExecuted).Append(nil)
	s.worker.Outcome(s.ref(0), message.KindError, unfinished)
	s.worker.Outcome(s.ref(1), message.KindError, unfinished)
	w.check()
	c.got("1:shutting_down/maybe")
	s2 := w.serve(1, "echo", "safe*")
	s2.has("2/2")
	s2.worker.Outcome(s2.ref(0), message.KindError, unfinished)
	w.check()
	c.got("1:shutting_down/maybe", "2:shutting_down/maybe") // attempts are counted
}

func TestDrain_capacityZero(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "echo")
	c := w.client("k")
	c.call("echo")
	c.call("echo")
	s.worker.SetCapacity(3)
	w.check()
	s.has("1/1", "2/1")
	s.worker.SetCapacity(0)
	w.check()
	c.call("echo")
	s.has("1/1", "2/1")
	s.answer(0, "a")
	s.answer(1, "b")
	if s.drained != 1 {
		t.Fatal("not drained")
	}
}

func TestDrain_broker(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "echo", "safe*")
	c := w.client("k")
	c.call("echo")
	c.call("echo")
	w.d.BeginDrain()
	c.call("echo")
	c.got("3:shutting_down/no")
	if w.d.Idle() {
		t.Fatal("idle with two calls")
	}
	s.answer(0, "x")
	c.call("echo", resubmit) // has no answer: its worker may come to the next broker
	c.got("3:shutting_down/no", "1=x")
	w.d.EndDrain()
	w.check()
	c.got("3:shutting_down/no", "1=x", "2:connection_lost/maybe")
	if n := w.d.Stats().RefusedBy[message.ShuttingDown]; n != 2 {
		t.Fatalf("%d calls were refused", n)
	}
	if !w.d.Idle() || s.sent[len(s.sent)-1] != "cancel 2" {
		t.Fatal(w.d.Stats(), s.sent)
	}
}

// A broker that leaves with nothing undelivered leaves no outcome with its
// workers: else they would offer them to its successor.
func TestDrain_brokerAcknowledgesAtTheEnd(t *testing.T) {
	for _, delivered := range []bool{true, false} {
		w := settled(t, dispatch.Limits{})
		s := w.serve(2, "echo")
		c := w.client("k")
		c.call("echo")
		s.answer(0, "x")
		if delivered {
			c.session.Ack(1)
		}
		w.d.EndDrain()
		if acked := slices.Contains(s.sent, "ack 1"); acked != delivered {
			t.Errorf("delivered: %v, acknowledged: %v", delivered, acked)
		}
	}
}

// A client that reads slowly has outcomes waiting for it in the broker. They go
// out before the good-bye: it would take their calls for not executed.
func TestDrain_brokerSendsAllBeforeItLeaves(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(3, "echo")
	c := w.client("k")
	for i := range 3 {
		c.call("echo")
		s.answer(i, strings.Repeat("x", 3<<20))
	}
	if len(c.outcomes) != 1 {
		t.Fatalf("%d outcomes of 3 MiB are on their way to a client that acknowledges none", len(c.outcomes))
	}
	w.d.EndDrain()
	w.check()
	if len(c.outcomes) != 3 {
		t.Fatalf("%d of 3 outcomes were sent", len(c.outcomes))
	}
}

func TestDrain_brokerEndsQueuedCallsAsNotExecuted(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	w.serve(1, "echo")
	c := w.client("k")
	c.call("echo", key("a"))
	c.call("echo", key("a"))
	c.call("echo")
	w.d.EndDrain()
	w.check()
	if len(c.outcomes) != 3 || c.outcomes[2].String() != "3:shutting_down/no" {
		t.Fatal(c.outcomes)
	}
}

func TestLost_notHandedOverButTooLate(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "echo")
	c := w.client("k")
	c.call("echo", timeout(time.Second))
	w.serve(1, "echo")
	w.now = w.now.Add(2 * time.Second)
	s.loseAt(0)
	c.got("1:deadline_in_queue/no")
}

// Calls of a lost worker go ahead of those that came after them, in their order.
func TestLost_requeuedInOrder(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(4, "echo")
	c := w.client("k")
	for range 8 {
		c.call("echo")
	}
	s.loseAt(0)
	next := w.serve(8, "echo")
	next.has("1/1", "2/1", "3/1", "4/1", "5/1", "6/1", "7/1", "8/1")
}

func TestDrain_brokerStillAnswersOperators(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "broker.status")
	c := w.client("k")
	w.d.BeginDrain()
	c.call("broker.status")
	s.answer(0, "x")
	c.got("1=x")
	w.d.EndDrain()
	c.call("broker.status")
	w.check()
	c.got("1=x", "2:shutting_down/no")
}
