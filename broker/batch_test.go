package broker

import (
	"testing"

	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/wire/message"
)

// Calls and outcomes that come in one message are handled together and in their order,
// with what stands between them.
func TestCompact_orderWithinAMessage(t *testing.T) {
	const n = 2*dispatch.Together + 10
	s := start(t, nil)
	w := s.compact(s.broker.Backend(), "worker")
	w.send(message.Envelope{Kind: message.KindRegister, Body: message.Marshal(&message.Register{
		Worker: "w", Concurrency: 2 * n, Methods: []message.Method{{Name: "echo"}},
	})})
	w.want(message.KindRegistered)
	c, _ := s.attach(message.SessionID{1}, 0)

	var sent []message.Envelope
	for i := range uint64(n) {
		sent = append(sent, call(t, i+1, "echo", i))
	}
	sent = append(sent, message.Envelope{Kind: message.KindCancel, ID: 3}, call(t, n+1, "echo", "behind"))
	c.send(sent...)
	var got []message.Envelope
	for i := range uint64(n) {
		e := w.want(message.KindCall)
		if e.Origin.Number != i+1 {
			t.Fatalf("call %d comes in place of %d", e.Origin.Number, i+1)
		}
		got = append(got, e)
	}
	if e := w.want(message.KindCancel); e.ID != got[2].ID {
		t.Errorf("cancel of token %d, want %d", e.ID, got[2].ID)
	}
	behind := w.want(message.KindCall)
	c.wantError(message.KindError, message.Cancelled)

	var answers []message.Envelope
	for i, e := range got {
		answers = append(answers, answer(t, e, i))
		if i == dispatch.Together+5 {
			answers = append(answers, message.Envelope{Kind: message.KindProgress, ID: behind.ID, Body: pack(t, []any{1, 2, ""})})
		}
	}
	w.send(append(answers, answer(t, behind, "last"))...)
	for i := range uint64(n) {
		if i == 2 {
			continue // cancelled
		}
		if e := c.want(message.KindResult); e.ID != i+1 {
			t.Fatalf("the outcome of call %d comes in place of %d", e.ID, i+1)
		}
		if i == dispatch.Together+5 {
			c.want(message.KindProgress)
		}
	}
	if e := c.want(message.KindResult); e.ID != n+1 {
		t.Errorf("the last outcome is that of call %d", e.ID)
	}
}

// What comes before a breach of the protocol counts, also if it came with it.
func TestCompact_beforeABreach(t *testing.T) {
	malformed := call(t, 9, "echo", 0)
	malformed.Body = []byte{0x93, 0x01}
	for name, last := range map[string]message.Envelope{
		"a body that is no msgpack": malformed,
		"a number that goes back":   call(t, 2, "echo", 0),
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, nil)
			w := s.register(message.Method{Name: "echo"})
			c, _ := s.attach(message.SessionID{1}, 0)
			c.send(call(t, 1, "echo", 1), call(t, 2, "echo", 2), call(t, 3, "echo", 3), last, call(t, 10, "echo", 4))
			<-c.ended
			w.want(message.KindCall)
			if n := s.broker.dispatcher.Stats().Accepted; n != 3 {
				t.Errorf("%d calls were accepted, want the 3 before it", n)
			}
		})
	}
}

// A command behind a breach is not carried out, and not on record.
func TestCompact_commandBehindABreach(t *testing.T) {
	log := new(lines)
	s := startLogged(t, log, nil)
	c := s.compact(s.broker.Frontend(), "admin")
	c.send(message.Envelope{Kind: message.KindAttach, Body: message.Marshal(&message.Attach{})},
		call(t, 5, "broker.drain", "nobody"), call(t, 2, "echo", 1), call(t, 6, "broker.drain", "somebody"))
	<-c.ended
	if n := log.with("command", "broker.drain", "nobody"); n != 1 {
		t.Errorf("what was carried out is on record %d times", n)
	}
	if n := log.with("command", "broker.drain", "somebody"); n != 0 {
		t.Errorf("what was not carried out is on record %d times", n)
	}
}

// What a worker says before a breach counts, too.
func TestCompactWorker_beforeABreach(t *testing.T) {
	s := start(t, nil)
	w := s.register(message.Method{Name: "echo"})
	c, _ := s.attach(message.SessionID{1}, 0)
	c.send(call(t, 1, "echo", "a"))
	done := answer(t, w.want(message.KindCall), "a")
	cut := message.Envelope{Kind: message.KindPart, ID: done.ID, Body: pack(t, "item")}
	_, err := w.link.Append(func(dst []byte) []byte { b := cut.Append(done.Append(dst)); return b[:len(b)-20] })
	if err != nil {
		t.Fatal(err)
	}
	if e := c.want(message.KindResult); e.ID != 1 {
		t.Errorf("the outcome is that of call %d", e.ID)
	}
	<-w.ended
}

// A batch holds Together, and nothing once it is cleared.
func TestBatch_clear(t *testing.T) {
	var p batches[dispatch.Reply]
	b := p.get()
	for !b.full() {
		*b.next() = dispatch.Reply{Body: []byte("x")}
	}
	if len(b.list) != dispatch.Together {
		t.Errorf("a batch holds %d, want %d", len(b.list), dispatch.Together)
	}
	b.clear()
	if all := b.list[:cap(b.list)]; len(b.list) != 0 || all[0].Body != nil || all[len(all)-1].Body != nil {
		t.Error("a cleared batch holds something")
	}
}

// A batch that still holds something is not used again.
func TestBatches_dropWhatAPanicLeft(t *testing.T) {
	var p batches[dispatch.Reply]
	b := p.get()
	b.next()
	p.put(b)
	if p.get() == b {
		t.Error("it came back")
	}
}
