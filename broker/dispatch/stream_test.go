package dispatch_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/wire/message"
)

func (s *worker) part(i int, sequence uint64) {
	s.w.t.Helper()
	s.worker.Part(s.ref(i), sequence, fmt.Append(nil, sequence))
	s.w.check()
}

func TestStream_slowReaderSlowsTheWorker(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "count")
	c := w.client("k")
	c.call("count", stream)
	for i := range uint64(message.StreamWindow) {
		s.part(0, i)
	}
	c.session.Grant(1, message.StreamWindow+10)
	c.session.Grant(1, message.StreamWindow+5) // an older one
	c.session.Grant(7, 1000)
	w.check()
	if want := []string{"grant 1 26"}; !slices.Equal(s.sent, want) {
		t.Fatal(s.sent)
	}
	for i := range uint64(10) {
		s.part(0, message.StreamWindow+i)
	}
	if s.closed != nil {
		t.Fatal(s.closed)
	}
	s.part(0, message.StreamWindow+10)
	if s.closed == nil || s.closed.Code != message.Malformed {
		t.Fatal("a worker that sends beyond the window is not cut")
	}
}

// Items are bounded by their bytes, too, except for one.
func TestStream_largeItems(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "count")
	c := w.client("k")
	c.call("count", stream)
	large := make([]byte, message.StreamBytes/2-1)
	for i := range uint64(3) {
		s.worker.Part(s.ref(0), i, large)
	}
	c.session.Grant(1, message.StreamWindow+2) // two are consumed
	s.worker.Part(s.ref(0), 3, make([]byte, message.StreamBytes))
	w.check()
	if s.closed != nil {
		t.Fatal(s.closed)
	}
	s.worker.Part(s.ref(0), 4, []byte("x"))
	if s.closed == nil || s.closed.Code != message.Malformed {
		t.Fatal("a worker that sends more bytes than are allowed is not cut")
	}
}

func TestStream_replayedOnResume(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(2, "count")
	c := w.client("k")
	c.call("count", stream)
	c.call("count", stream)
	s.part(0, 0)
	s.part(0, 1)
	s.part(1, 0)
	c.session.Grant(1, message.StreamWindow+1) // has consumed the first
	c.drop()
	s.part(0, 2)
	s.worker.Progress(s.ref(1), []byte("10%"))
	s.worker.Progress(s.ref(1), []byte("20%"))
	s.answer(0, "end")
	sink := c.attach(0)
	if want := []string{"1.1=1", "1.2=2", "2.0=0"}; !slices.Equal(sink.parts, want) {
		t.Fatal(sink.parts)
	}
	if want := []string{"2=20%"}; !slices.Equal(sink.progress, want) {
		t.Fatal(sink.progress)
	}
	c.got("1=end")
	s.part(0, 3) // after its end
	if len(sink.parts) != 3 {
		t.Fatal(sink.parts)
	}
	c.session.Ack(1)
	w.check()
}

func TestStream_secondAttemptRepeatsNothing(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "count*")
	c := w.client("k")
	c.call("count", stream)
	s.part(0, 0)
	s.part(0, 1)
	c.session.Grant(1, message.StreamWindow+2)
	s.lose()
	s = w.serve(1, "count*")
	if want := []string{"grant 1 18"}; !slices.Equal(s.sent, want) {
		t.Fatal(s.sent)
	}
	s.part(0, 0)
	s.part(0, 1)
	s.part(0, 2)
	if want := []string{"1.0=0", "1.1=1", "1.2=2"}; !slices.Equal(c.sink.parts, want) {
		t.Fatal(c.sink.parts)
	}
	s.part(0, 4)
	if s.closed == nil {
		t.Fatal("a gap is not refused")
	}
}

// Nobody can say that items were consumed which were never sent.
func TestStream_grantBeyondWhatWasSent(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "count")
	c := w.client("k")
	c.call("count", stream)
	c.session.Grant(1, 1<<60)
	s.part(0, 0)
	w.check()
	c.drop()
	if sink := c.attach(0); len(sink.parts) != 1 {
		t.Fatal(sink.parts)
	}
}

// A worker waits for the window of a stream: one that nobody reads any more
// would hold its slot until the deadline, or for ever.
func TestStream_isCancelledWithItsClient(t *testing.T) {
	w := settled(t, dispatch.Limits{ClientGrace: time.Second})
	s := w.serve(1, "count")
	c := w.client("k")
	c.call("count", stream)
	s.part(0, 0)
	c.drop()
	w.pass(900 * time.Millisecond)
	if len(s.sent) != 0 {
		t.Fatalf("the client may come back, but %v", s.sent)
	}
	w.pass(200 * time.Millisecond)
	if want := []string{"cancel 1"}; !slices.Equal(s.sent, want) {
		t.Fatal(s.sent)
	}
	s.fail(0, message.Cancelled)
	w.check()
	if st := w.d.Stats(); st.Orphaned != 1 || st.Running != 0 || st.Failed != 1 {
		t.Fatalf("%+v", st)
	}
	other := w.client("k2")
	other.call("count", stream)
	s.has("1/1", "1/1")
}

func TestStream_callerDidNotAskForOne(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "count")
	c := w.client("k")
	c.call("count")
	s.part(0, 0)
	if len(c.sink.parts) != 0 || s.calls[0].Stream {
		t.Fatal(c.sink.parts)
	}
}

// A claimed stream is asked for its items when its caller has come back, and
// the caller's window counts although no item was seen here yet.
func TestStream_claimedAfterARestart(t *testing.T) {
	for _, workerFirst := range []bool{true, false} {
		w, c, origin := restart(t, dispatch.Limits{})
		var s *worker
		come := func() {
			s = w.register(&message.Register{Worker: "w", Concurrency: 2, Busy: 1, Methods: []message.Method{{Name: "count"}}})
			s.claim(origin(1))
		}
		if workerFirst {
			come()
			if len(s.sent) != 0 {
				t.Fatal(s.sent)
			}
			c.call("count", stream, resubmit)
			c.session.Grant(1, 40)
		} else {
			c.call("count", stream, resubmit)
			c.session.Grant(1, 40)
			come()
		}
		if len(s.sent) == 0 || s.sent[len(s.sent)-1] != "grant 1 40" {
			t.Fatal(s.sent)
		}
		for i := uint64(20); i < 40; i++ {
			s.worker.Part(dispatch.Ref{Origin: origin(1)}, i, nil)
		}
		w.check()
		if s.closed != nil || len(c.sink.parts) != 16 { // 20 to 23 are consumed
			t.Fatal(s.closed, c.sink.parts)
		}
		s.answerOrigin(origin(1), "end")
		c.got("1=end")
	}
}

// A stream that nobody claims runs again from its first item: those that the
// client has consumed are dropped, and its window is the one that it granted,
// whenever it says so. The worker does nothing wrong and is not cut.
func TestStream_runsAgainAfterARestart(t *testing.T) {
	for _, grantFirst := range []bool{true, false} {
		w, c, _ := restart(t, dispatch.Limits{ClaimGrace: time.Second})
		s := w.serve(1, "count*")
		c.call("count", stream, resubmit)
		if grantFirst {
			c.session.Grant(1, 48)
		}
		w.pass(2 * time.Second)
		s.has("1/2")
		for i := range uint64(48) {
			if !grantFirst && i == 10 {
				c.session.Grant(1, 48)
			}
			s.part(0, i)
		}
		w.check()
		parts := c.sink.parts
		if s.closed != nil || len(parts) < 16 || !slices.Equal(parts[len(parts)-16:][:2], []string{"1.32=32", "1.33=33"}) {
			t.Fatal(s.closed, parts)
		}
		c.session.Grant(1, 52)
		s.part(0, 48)
		if s.closed != nil || len(c.sink.parts) != len(parts)+1 {
			t.Fatal(s.closed, c.sink.parts)
		}
	}
}
