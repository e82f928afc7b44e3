package broker

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

func TestCompact_callsStreamsAndCancels(t *testing.T) {
	s := start(t, nil)
	w := s.register(message.Method{Name: "twice", Aliases: []string{"Twice"}}, message.Method{Name: "count", Stream: true})
	c, attached := s.attach(message.SessionID{1}, 0)
	if attached.Resumed || attached.Broker != s.broker.instance || attached.MaxMessage != 16<<20 || attached.BeatMillis != 5000 {
		t.Errorf("ATTACHED says %+v", attached)
	}

	c.send(call(t, 1, "Twice", 21))
	e := w.want(message.KindCall)
	if string(e.Method) != "twice" || e.Attempt != 1 || e.Origin != (message.Origin{Session: message.SessionID{1}, Number: 1}) {
		t.Errorf("the worker got %+v", e)
	}
	w.send(message.Envelope{Kind: message.KindProgress, ID: e.ID, Body: pack(t, []any{1, 2, "half"})}, answer(t, e, 42))
	if p := c.want(message.KindProgress); p.ID != 1 {
		t.Errorf("progress of call %d", p.ID)
	}
	if r := c.want(message.KindResult); r.ID != 1 || !bytes.Equal(r.Body, pack(t, 42)) {
		t.Errorf("result %+v", r)
	}
	c.send(message.Envelope{Kind: message.KindAck, ID: 1})

	stream := call(t, 2, "count", 3)
	stream.Flags = message.FlagStream
	c.send(stream)
	e = w.want(message.KindCall)
	if e.Flags&message.FlagStream == 0 {
		t.Error("the worker was not told that the caller takes items")
	}
	w.send(message.Envelope{Kind: message.KindPart, ID: e.ID, Body: pack(t, "item")})
	if p := c.want(message.KindPart); p.ID != 2 || p.Sequence != 0 {
		t.Errorf("item %+v", p)
	}
	c.send(message.Envelope{Kind: message.KindGrant, ID: 2, Sequence: 17})
	if g := w.want(message.KindGrant); g.ID != e.ID || g.Sequence != 17 {
		t.Errorf("grant %+v", g)
	}
	c.send(message.Envelope{Kind: message.KindCancel, ID: 2})
	c.wantError(message.KindError, message.Cancelled)
	if x := w.want(message.KindCancel); x.ID != e.ID {
		t.Errorf("cancel of token %d, want %d", x.ID, e.ID)
	}
	w.send(answer(t, e, nil)) // only now is the slot free
	until(t, "the slot of a cancelled call to be free", func() bool {
		i, _ := s.broker.dispatcher.Worker("w")
		return i.Busy == 0
	})
}

// A client that breaks the protocol loses its link, and only that.
func TestCompact_breachesEndTheLink(t *testing.T) {
	s := start(t, nil)
	bystander, _ := s.attach(message.SessionID{99}, 0)
	attach := message.Envelope{Kind: message.KindAttach}
	malformed := call(t, 1, "broker.ping", 0)
	malformed.Body = []byte{0x93, 0x01}
	for name, envelopes := range map[string][]message.Envelope{
		"CALL before ATTACH":          {call(t, 1, "broker.ping", 0)},
		"ATTACH twice":                {attach, attach},
		"ATTACH with another body":    {{Kind: message.KindAttach, Body: pack(t, "session")}},
		"a body that is no msgpack":   {attach, malformed},
		"a number that goes back":     {attach, call(t, 2, "broker.ping", 0), call(t, 2, "broker.ping", 0)},
		"an ACK of what was not sent": {attach, {Kind: message.KindAck, ID: 5}},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range envelopes { // each a session of its own
				if e := &envelopes[i]; e.Kind == message.KindAttach && e.Body == nil {
					e.Body = message.Marshal(&message.Attach{Session: message.SessionID([]byte(fmt.Sprintf("%-16.16s", name)))})
				}
			}
			c := s.compact(s.broker.Frontend(), "client")
			c.send(envelopes...)
			<-c.ended
		})
	}
	bystander.send(call(t, 1, "broker.ping", 0))
	bystander.want(message.KindResult)
}

// A client whose name cannot stand in a log learns why it is refused.
func TestCompact_refusedAttachSaysWhy(t *testing.T) {
	s := start(t, nil)
	for _, name := range []string{"bell\a", strings.Repeat("n", message.MaxClientName+1)} {
		c := s.compact(s.broker.Frontend(), "client")
		c.send(message.Envelope{Kind: message.KindAttach, Body: message.Marshal(&message.Attach{Name: name})}, call(t, 1, "broker.ping", 0))
		c.wantError(message.KindBye, message.Malformed)
		<-c.ended
	}
}

// After BYE the session is gone, and nothing that follows is heard.
func TestCompact_byeEndsTheSession(t *testing.T) {
	s := start(t, nil)
	w := s.register(message.Method{Name: "slow"})
	c, _ := s.attach(message.SessionID{1}, 0)
	c.send(call(t, 1, "slow", 0))
	w.want(message.KindCall)
	bye := message.Envelope{Kind: message.KindBye, Body: message.Errorf(message.Cancelled, "done").Append(nil)}
	c.send(bye, call(t, 2, "slow", 0))
	_ = c.link.Send([]byte("neither an envelope nor heard"))
	<-c.ended
	if n := len(s.broker.dispatcher.Sessions()); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
	if n := s.broker.dispatcher.Stats().Accepted; n != 1 {
		t.Errorf("%d calls were accepted, want the one before BYE", n)
	}
}

// A client that comes back gets what it has not acknowledged, and a second
// link takes the session over from the first.
func TestCompact_resumesAndTakesOver(t *testing.T) {
	s := start(t, nil)
	w := s.register(message.Method{Name: "echo"})
	id := message.SessionID{5}
	first, _ := s.attach(id, 0)
	first.send(call(t, 1, "echo", "a"), call(t, 2, "echo", "b"))
	w.send(answer(t, w.want(message.KindCall), "A"))
	first.want(message.KindResult)
	first.link.Close(nil)
	<-first.ended

	second, attached := s.attach(id, 0) // it says that it has got nothing
	if !attached.Resumed || attached.Broker != s.broker.instance {
		t.Errorf("ATTACHED says %+v", attached)
	}
	if r := second.want(message.KindResult); r.ID != 1 {
		t.Errorf("got the outcome of call %d again, want 1", r.ID)
	}
	second.send(message.Envelope{Kind: message.KindAck, ID: 1}, call(t, 1, "echo", "a"), call(t, 2, "echo", "b"))

	third, _ := s.attach(id, 1)
	second.wantError(message.KindBye, message.ConnectionLost)
	<-second.ended
	w.send(answer(t, w.want(message.KindCall), "B"))
	if r := third.want(message.KindResult); r.ID != 2 {
		t.Errorf("got the outcome of call %d, want 2", r.ID)
	}
	if n := s.broker.dispatcher.Stats().Accepted; n != 2 {
		t.Errorf("%d calls were accepted, want 2", n)
	}
}

// max_message bounds a body: the largest one passes both links, one byte more
// is refused, and nobody's link suffers.
func TestCompact_largestBody(t *testing.T) {
	const limit = 1 << 20
	s := start(t, func(cfg *Config) { cfg.Limits.MaxMessage = limit })
	w := s.register(message.Method{Name: strings.Repeat("m", message.MaxMethodName)})
	c, _ := s.attach(message.SessionID{1}, 0)
	large := func(number uint64, size int) message.Envelope {
		e := call(t, number, strings.Repeat("m", message.MaxMethodName), make([]byte, size))
		return e
	}
	overhead := len(large(1, limit/2).Body) - limit/2
	c.send(large(1, limit-overhead))
	e := w.want(message.KindCall)
	if len(e.Body) != limit {
		t.Fatalf("the worker got %d bytes, want %d", len(e.Body), limit)
	}
	result := answer(t, e, make([]byte, limit-5))
	if len(result.Body) != limit {
		t.Fatalf("the result has %d bytes", len(result.Body))
	}
	w.send(result)
	if r := c.want(message.KindResult); len(r.Body) != limit {
		t.Errorf("the client got %d bytes, want %d", len(r.Body), limit)
	}
	c.send(large(2, limit-overhead+1))
	c.wantError(message.KindError, message.TooLarge)
	c.send(large(3, 10))
	e = w.want(message.KindCall)
	w.send(answer(t, e, make([]byte, limit-4)))
	if x := c.wantError(message.KindError, message.TooLarge).Execution(); x == message.NotExecuted {
		t.Error("a call whose result was too large is said not to have run")
	}
}

// A batch that is nearly full takes one more body of the largest size, however
// small that is.
func TestCompact_fullBatchOfSmallBodies(t *testing.T) {
	s := start(t, func(cfg *Config) { cfg.Limits.MaxMessage = 1 << 10 })
	c, _ := s.attach(message.SessionID{1}, 0)
	n := uint64(0)
	var batch []byte
	for next := []byte(nil); len(batch) < 64<<10; batch = append(batch, next...) {
		n++
		e := call(t, n, strings.Repeat("m", message.MaxMethodName), make([]byte, 1000))
		e.Key = make([]byte, message.MaxIdempotencyKey)
		next = e.Append(nil)
	}
	if err := c.link.Send(batch); err != nil {
		t.Fatal(err)
	}
	for range n {
		c.wantError(message.KindError, message.NoSuchMethod)
	}
}

func TestCompactWorker_breachesEndTheLink(t *testing.T) {
	s := start(t, nil)
	for name, envelopes := range map[string][]message.Envelope{
		"RESULT before REGISTER":  {{Kind: message.KindResult, ID: 1, Body: pack(t, 1)}},
		"REGISTER twice":          {registration(), registration()},
		"REGISTER without a body": {{Kind: message.KindRegister}},
	} {
		t.Run(name, func(t *testing.T) {
			w := s.compact(s.broker.Backend(), "worker")
			w.send(envelopes...)
			<-w.ended
			until(t, "the worker to be forgotten", func() bool { return len(s.broker.dispatcher.Workers()) == 1 })
		})
	}
}

// A worker that is refused learns why, and is not served whatever follows.
func TestCompactWorker_refusedRegisterSaysWhy(t *testing.T) {
	s := start(t, nil)
	many := message.Method{Name: "m"}
	for i := range message.MaxAliases + 1 {
		many.Aliases = append(many.Aliases, "alias"+string(rune('a'+i)))
	}
	for _, c := range []struct {
		method message.Method
		code   message.Code
	}{
		{message.Method{Name: "broker.mine"}, message.Unauthorized},
		{message.Method{Name: "add", Aliases: []string{"broker.status"}}, message.Unauthorized},
		{message.Method{Name: "two words"}, message.Malformed},
		{many, message.TooLarge},
	} {
		w := s.compact(s.broker.Backend(), "worker")
		w.send(registration(c.method), message.Envelope{Kind: message.KindCapacity, ID: 3})
		w.wantError(message.KindBye, c.code)
		<-w.ended
	}
}

// A worker that leaves in order hands back what it has not started, and is
// told to drain by an operator in the same way.
func TestCompactWorker_drains(t *testing.T) {
	s := start(t, nil)
	w := s.register(message.Method{Name: "job"})
	c, _ := s.attach(message.SessionID{1}, 0)
	c.send(call(t, 1, "job", 0), call(t, 2, "job", 0))
	one, two := w.want(message.KindCall), w.want(message.KindCall)
	var drained []string
	s.ok(&drained, "broker.drain", "host:here")
	if len(drained) != 1 {
		t.Errorf("drained %v", drained)
	}
	w.want(message.KindDrain)
	back := message.Errorf(message.ShuttingDown, "not started").WithExecution(message.NotExecuted)
	w.send(answer(t, one, "done"), message.Envelope{Kind: message.KindError, ID: two.ID, Body: back.Append(nil)})
	c.want(message.KindResult)
	for acked := uint64(0); acked < 2; {
		acked = w.want(message.KindAck).ID
	}
	w.send(message.Envelope{Kind: message.KindBye})
	<-w.ended

	next := s.register(message.Method{Name: "job"})
	next.send(answer(t, next.want(message.KindCall), "done by the next"))
	if r := c.want(message.KindResult); r.ID != 2 {
		t.Errorf("outcome of call %d, want 2", r.ID)
	}
}

// A worker that dies takes its call with it, and the caller learns all that is known.
func TestCompactWorker_lossIsEvidence(t *testing.T) {
	s := start(t, nil)
	w := s.register(message.Method{Name: "job"})
	c, _ := s.attach(message.SessionID{1}, 0)
	c.send(call(t, 1, "job", 0))
	w.want(message.KindCall)
	w.link.Close(nil)
	e := c.wantError(message.KindError, message.WorkerLost)
	if e.Details["worker"] != "w" || e.Details["host"] != "here" || e.Details["reason"] == nil || e.Execution() != message.MaybeExecuted {
		t.Errorf("the evidence is %+v", e)
	}
}

// Claims and outcomes of an earlier broker's calls find their callers.
func TestCompactWorker_claims(t *testing.T) {
	s := start(t, nil)
	id := message.SessionID{8}
	c, _ := s.attach(id, 0)
	again := call(t, 1, "job", 0)
	again.Flags = message.FlagResubmit
	second := call(t, 2, "job", 0)
	second.Flags = message.FlagResubmit
	w := s.compact(s.broker.Backend(), "worker")
	w.send(registration(message.Method{Name: "job"}))
	w.want(message.KindRegistered)
	c.send(again, second)
	claim := func(number uint64, kind message.Kind, flags message.Flags, body []byte) message.Envelope {
		return message.Envelope{Kind: kind, Flags: message.FlagOrigin | flags, Origin: message.Origin{Session: id, Number: number}, Body: body}
	}
	w.send(claim(1, message.KindResult, 0, pack(t, "kept")), claim(2, message.KindProgress, message.FlagClaim, nil),
		message.Envelope{Kind: message.KindCapacity, ID: 2})
	if r := c.want(message.KindResult); r.ID != 1 {
		t.Errorf("outcome of call %d, want 1", r.ID)
	}
	c.send(message.Envelope{Kind: message.KindCancel, ID: 2})
	c.wantError(message.KindError, message.Cancelled)
	for { // ACKs may come before it
		if e := <-w.got; e.Kind == message.KindCancel {
			if e.Flags&message.FlagOrigin == 0 || e.Origin.Number != 2 {
				t.Errorf("CANCEL names %+v", e)
			}
			return
		} else if e.Kind == 0 {
			t.Fatal("the worker's link ended")
		}
	}
}

// A peer that announces another version, or stands at the wrong door, is
// refused with the reason.
func TestAdmission_refusals(t *testing.T) {
	s := start(t, nil)
	sdk := zmtp.Property{Name: message.PropertySDK, Value: message.ProtocolVersion}
	for _, c := range []struct {
		name, key, socket string
		backend           bool
		properties        []zmtp.Property
		want              string
	}{
		{"another version", "client", "DEALER", false, []zmtp.Property{{Name: message.PropertySDK, Value: "2"}}, "version 1 is"},
		{"a worker at the frontend", "worker", "DEALER", false, []zmtp.Property{sdk}, "role worker may not enter the frontend"},
		{"a client at the backend", "client", "DEALER", true, []zmtp.Property{sdk}, "role client may not enter the backend"},
		{"an admin at the backend", "admin", "DEALER", true, []zmtp.Property{sdk}, "role admin may not enter the backend"},
		{"an unfit socket", "client", "REP", false, []zmtp.Property{sdk}, `"REP" socket cannot talk`},
		{"an unknown key", "stranger", "DEALER", false, []zmtp.Property{sdk}, "is unknown"},
		{"a revoked key", "former", "DEALER", false, []zmtp.Property{sdk}, "was revoked"},
		{"a REP worker with a list", "limited", "REP", true, nil, "400"},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr := s.broker.Frontend()
			if c.backend {
				addr = s.broker.Backend()
			}
			_, err := s.try(addr, c.key, c.socket, c.properties...)
			var refusal *zmtp.Refusal
			if !errors.As(err, &refusal) || refusal.Status != "400" || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want a refusal with %q", err, c.want)
			}
		})
	}
	until(t, "the refusals to be counted", func() bool { return s.broker.audit.refusals() >= 8 })
}

// A worker key with a list of methods serves those, by any spelling, and
// nothing else under another name.
func TestAdmission_workerKeyWithAList(t *testing.T) {
	s := start(t, nil)
	for _, c := range []struct {
		method  message.Method
		allowed bool
	}{
		{message.Method{Name: "add", Aliases: []string{"Add", "ADD"}}, true},
		{message.Method{Name: "transfer"}, false},
		{message.Method{Name: "add", Aliases: []string{"transfer"}}, false},
	} {
		w := s.compact(s.broker.Backend(), "limited")
		w.send(registration(c.method))
		if c.allowed {
			w.want(message.KindRegistered)
		} else {
			w.wantError(message.KindBye, message.Unauthorized)
		}
	}
}
