package dispatch_test

import (
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/wire/message"
)

func TestDeadline_inQueueAndInHandler(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "echo")
	c := w.client("k")
	c.call("echo", timeout(time.Second))
	c.call("echo", timeout(time.Second))
	if left := s.calls[0].Timeout; left != time.Second {
		t.Fatalf("the worker was told %v", left)
	}
	w.pass(990 * time.Millisecond)
	c.got()
	w.pass(20 * time.Millisecond)
	if len(c.outcomes) != 2 {
		t.Fatal(c.outcomes)
	}
	ends := map[string]bool{c.outcomes[0].String(): true, c.outcomes[1].String(): true}
	if !ends["1:deadline_in_handler/maybe"] || !ends["2:deadline_in_queue/no"] {
		t.Fatal(ends)
	}
	// The slot is busy until the worker has really answered.
	c.call("echo")
	s.has("1/1")
	s.answer(0, "late")
	s.has("1/1", "3/1")
	if st := w.d.Stats(); st.Late != 1 {
		t.Fatalf("late answers: %d", st.Late)
	}
}

func TestDeadline_workerAnswersInTheSameInstant(t *testing.T) {
	for _, answerFirst := range []bool{true, false} {
		w := settled(t, dispatch.Limits{})
		s := w.serve(1, "echo")
		c := w.client("k")
		c.call("echo", timeout(time.Second))
		w.now = w.now.Add(time.Second)
		if answerFirst {
			s.answer(0, "x")
			w.pass(time.Second)
			c.got("1=x")
		} else {
			w.d.Tick()
			s.answer(0, "x")
			c.got("1:deadline_in_handler/maybe")
		}
	}
}

func TestDeadline_expiredCallIsNeverDispatched(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "echo")
	c := w.client("k")
	c.call("echo")
	c.call("echo", timeout(time.Second))
	w.now = w.now.Add(time.Second) // no Tick has seen it
	s.answer(0, "x")
	s.has("1/1")
	c.got("1=x", "2:deadline_in_queue/no")
}

func TestDeadline_ofARetryThatWaitsSaysMaybe(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "safe*")
	c := w.client("k")
	c.call("safe", timeout(time.Second))
	s.lose()
	w.pass(2 * time.Second)
	c.got("1:deadline_in_handler/maybe")
}

func TestDeadline_plainWorkerThatHangsIsCut(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.servePlain()
	c := w.client("k")
	c.call("anything", timeout(time.Second))
	c.call("anything", timeout(10*time.Second))
	w.pass(1500 * time.Millisecond)
	c.got("1:deadline_in_handler/maybe")
	s.has("1/1") // no new call while the old one runs: its answer must not meet another call
	if len(s.sent) != 0 || s.closed != nil {
		t.Fatalf("a plain worker cannot be told to stop, and has time: %v %v", s.sent, s.closed)
	}
	w.pass(time.Second)
	if s.closed == nil {
		t.Fatal("the worker is not cut after twice the time")
	}
	s.lose()
	w.servePlain().has("2/1")
}

func TestDeadline_plainWorkerThatAnswersLateGoesOn(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.servePlain()
	c := w.client("k")
	c.call("anything", timeout(time.Second))
	c.call("anything")
	w.pass(1500 * time.Millisecond)
	s.answer(0, "late")
	s.has("1/1", "2/1")
	s.answer(1, "x")
	c.got("1:deadline_in_handler/maybe", "2=x")
	w.pass(10 * time.Second)
	if s.closed != nil {
		t.Fatal(s.closed)
	}
}

func TestCancel(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "safe*")
	c := w.client("k")
	c.call("safe")
	c.call("safe")
	c.cancel(2)
	c.got("2:cancelled/no")
	c.cancel(1)
	c.cancel(1)
	c.cancel(77)
	c.got("2:cancelled/no", "1:cancelled/maybe")
	if len(s.sent) != 1 || s.sent[0] != "cancel 1" {
		t.Fatal(s.sent)
	}
	c.call("safe")
	s.has("1/1") // the slot is truthful
	s.fail(0, message.Cancelled)
	s.has("1/1", "3/1")
	c.got("2:cancelled/no", "1:cancelled/maybe")
}

func TestCancel_racingHandOver(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "safe*")
	c := w.client("k")
	c.call("safe")
	c.cancel(1)
	s.loseAt(0) // it never reached the worker, but cancelled is final
	w.serve(1, "safe*").has()
	c.got("1:cancelled/maybe")
}
