package dispatch_test

import (
	"strings"
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/wire/message"
)

func TestSession_reconnectGetsTheOutcomesInOrder(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(4, "echo")
	c := w.client("k")
	for range 4 {
		c.call("echo")
	}
	s.answer(0, "a")
	s.answer(1, "b")
	c.drop()
	s.answer(2, "c")
	w.pass(29 * time.Second)
	sink := c.attach(1) // the first arrived, the second was lost on the way
	c.got("1=a", "2=b", "2=b", "3=c")
	if sink.attached != "resumed=true last=4" {
		t.Fatal(sink.attached)
	}
	s.answer(3, "d")
	c.got("1=a", "2=b", "2=b", "3=c", "4=d")
	c.call("echo", number(3)) // known: it came again because of the reconnect
	if st := w.d.Stats(); st.Duplicates != 1 || st.Accepted != 4 {
		t.Fatalf("%+v", st)
	}
}

func TestSession_clientThatDoesNotReturn(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "echo")
	c := w.client("k")
	c.call("echo")
	c.call("echo")
	c.drop()
	w.pass(31 * time.Second)
	if st := w.d.Stats(); st.Sessions != 0 || st.Queued != 0 || st.Running != 1 || st.FailedBy[message.Cancelled] != 1 {
		t.Fatalf("%+v", st)
	}
	s.answer(0, "x")
	if st := w.d.Stats(); st.Orphaned != 2 || st.HeldCalls != 0 {
		t.Fatalf("%+v", st)
	}
	sink := c.attach(0)
	if sink.attached != "resumed=false last=0" {
		t.Fatal(sink.attached)
	}
	// It ran already: it must not run again.
	c.call("echo", number(1), resubmit)
	s.has("1/1")
	c.got("1:connection_lost/maybe")
}

func TestSession_secondConnectionTakesOver(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "echo")
	c := w.client("k")
	c.call("echo")
	old, session := c.sink, c.session
	c.attach(0)
	if old.closed == nil {
		t.Fatal("the old connection is not closed")
	}
	session.Detach(old) // its end comes late and must not detach the new one
	s.answer(0, "x")
	c.got("1=x")
}

// The same session name under another key is another session.
func TestSession_nameIsBoundToTheKey(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "echo")
	c := w.client("k")
	c.call("echo")
	c.drop()
	thief := &client{w: w, id: c.id, config: dispatch.ClientConfig{Key: "thief"}}
	if sink := thief.attach(0); sink.attached != "resumed=false last=0" {
		t.Fatal(sink.attached)
	}
	s.answer(0, "x")
	thief.got()
	c.attach(0)
	c.got("1=x")
}

func TestSession_countThatDoesNotFitStartsAnew(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(2, "echo")
	c := w.client("k")
	c.call("echo")
	s.answer(0, "a")
	c.session.Ack(1)
	c.call("echo")
	c.drop()
	if sink := c.attach(0); sink.attached != "resumed=false last=0" { // it says it never got the first
		t.Fatal(sink.attached)
	}
	w.check()
}

func TestSession_numbersMustAscend(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	w.serve(1, "echo")
	c := w.client("k")
	c.call("echo", number(5))
	for _, n := range []uint64{5, 4, 0} {
		if e := c.session.Submit(&dispatch.Request{Number: n, Method: []byte("echo")}); e == nil || e.Code != message.Malformed {
			t.Fatalf("call %d after 5 gave %v", n, e)
		}
	}
	c.got()
}

func TestSession_plainPeer(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "echo")
	c := w.plain("k")
	tag := func(r *dispatch.Request) { r.Tag = []byte("envelope") }
	c.call("echo", tag)
	c.call("echo", tag)
	s.answer(0, "x")
	c.got("1=x")
	if c.outcomes[0].tag != "envelope" {
		t.Fatalf("tag %q", c.outcomes[0].tag)
	}
	if st := w.d.Stats(); st.HeldCalls != 1 {
		t.Fatalf("a plain peer's outcome is held: %+v", st)
	}
	c.call("echo", tag)
	c.drop()
	if st := w.d.Stats(); st.Queued != 0 || st.Running != 1 || st.Sessions != 0 {
		t.Fatalf("%+v", st)
	}
	s.answer(1, "y")
	c.got("1=x")
}

// A refusal is an outcome like any other: it survives a reconnect.
func TestSession_refusalIsKeptUntilAcknowledged(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	c := w.client("k")
	c.call("nobody")
	c.drop()
	sink := c.attach(0)
	c.got("1:no_such_method/no", "1:no_such_method/no")
	if sink.attached != "resumed=true last=1" {
		t.Fatal(sink.attached)
	}
	if st := w.d.Stats(); st.Accepted != 0 || st.Refused != 1 || st.RefusedBy[message.NoSuchMethod] != 1 {
		t.Fatalf("%+v", st)
	}
}

func TestSession_clientThatTakesNoRefusalsIsCut(t *testing.T) {
	w := settled(t, dispatch.Limits{CallsPerKey: 10})
	c := w.client("k")
	for range 100 {
		c.call("nobody")
	}
	if c.sink.closed == nil || len(c.outcomes) > 22 {
		t.Fatalf("closed: %v, outcomes: %d", c.sink.closed, len(c.outcomes))
	}
	w.pass(time.Minute)
	if st := w.d.Stats(); st.HeldCalls != 0 || st.Sessions != 0 {
		t.Fatalf("%+v", st)
	}
}

func TestSession_closeForgetsAtOnce(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "echo")
	c := w.client("k")
	c.call("echo")
	c.call("echo")
	c.session.Close(c.sink)
	w.check()
	c.session.Submit(&dispatch.Request{Number: 3, Method: []byte("echo")})
	c.session.Cancel(1)
	c.session.Ack(1)
	s.answer(0, "x")
	c.got()
	if st := w.d.Stats(); st.HeldCalls != 0 || st.Accepted != 2 {
		t.Fatalf("%+v", st)
	}
}

// A client that reads slowly gets as much as it acknowledges; the rest waits.
func TestSession_outcomesFollowTheAcks(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(5, "echo")
	c := w.client("k")
	big := strings.Repeat("x", 3<<20)
	for i := range 5 {
		c.call("echo")
		s.answer(i, big)
	}
	if len(c.outcomes) != 1 {
		t.Fatalf("%d outcomes of 3 MiB are on their way at once", len(c.outcomes))
	}
	if e := c.session.Ack(2); e == nil {
		t.Fatal("an ACK of what was not sent")
	}
	c.session.Ack(1)
	c.drop()
	c.attach(1)
	for n := uint64(2); n <= 5; n++ {
		if last := c.outcomes[len(c.outcomes)-1].number; last != n {
			t.Fatalf("the last outcome is %d, want %d", last, n)
		}
		c.session.Ack(n)
		w.check()
	}
}

func TestSession_revokedKey(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "echo")
	c, away, other := w.client("k"), w.client("k"), w.client("other")
	c.call("echo")
	away.call("echo")
	other.call("echo")
	away.drop()
	w.d.Revoke("k", message.Errorf(message.Unauthorized, "the key was revoked"))
	w.check()
	if c.sink.closed == nil || other.sink.closed != nil {
		t.Fatal("the wrong connection is closed")
	}
	s.answer(0, "x")
	s.has("1/1", "1/1")
	if s.calls[1].Origin.Session != other.id {
		t.Fatal("a call of a revoked key ran")
	}
}
