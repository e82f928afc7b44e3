package dispatch_test

import (
	"testing"

	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/wire/message"
)

func TestCall_fromSubmitToAck(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "echo")
	c := w.client("k")
	c.call("echo")
	c.call("echo")
	s.has("1/1")
	s.answer(0, "a")
	s.has("1/1", "2/1")
	s.answer(1, "b")
	c.got("1=a", "2=b")
	if e := c.session.Ack(2); e != nil {
		t.Fatal(e)
	}
	if st := w.d.Stats(); st.HeldCalls != 0 || st.HeldBytes != 0 {
		t.Fatalf("%d calls and %d bytes are held after the last ACK", st.HeldCalls, st.HeldBytes)
	}
	if e := c.session.Ack(3); e == nil || e.Code != message.Malformed {
		t.Fatalf("an ACK of more outcomes than were sent gave %v", e)
	}
}
