package brokertest

import (
	"bytes"
	"context"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// session is what the broker holds of a client. Guarded by Broker.mu.
type session struct {
	link     *zmtp.Link // nil while the client is away
	held     uint64
	base     uint64             // outcomes acknowledged
	outcomes []message.Envelope // not acknowledged
	calls    map[uint64]*Call
	dead     bool
}

// Call is one call that came.
type Call struct {
	message.Envelope // of the CALL, with its slices copied
	// Context is cancelled by CANCEL.
	Context context.Context

	broker  *Broker
	session *session
	cancel  context.CancelFunc
	granted uint64
}

func (b *Broker) serve(link *zmtp.Link) {
	b.mu.Lock()
	if b.closed {
		link.Close(nil)
	}
	b.links = append(b.links, link)
	b.mu.Unlock()
	var s *session
	_ = link.Run(func(m *zmtp.Message) error { // why it ended does not matter here
		var e message.Envelope
		for rest := m.Bytes(); len(rest) > 0; {
			var err error
			if rest, err = e.Next(rest); err != nil {
				return err
			}
			if s, err = b.envelope(link, s, &e); err != nil {
				return err
			}
		}
		return nil
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	if s != nil && s.link == link {
		s.link = nil
	}
	b.changed.Broadcast()
}

func (b *Broker) envelope(link *zmtp.Link, s *session, e *message.Envelope) (*session, error) {
	if b.Intercept != nil && b.Intercept(link, e) {
		return s, nil
	}
	kept := *e
	kept.Body, kept.Method, kept.Key = bytes.Clone(e.Body), bytes.Clone(e.Method), bytes.Clone(e.Key)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen = append(b.seen, kept)
	b.changed.Broadcast()
	switch e.Kind {
	case message.KindAttach:
		return b.attachLocked(link, &kept)
	case message.KindCall:
		b.callLocked(s, &kept)
	case message.KindCancel:
		if c := s.calls[e.ID]; c != nil {
			c.cancel()
		}
	case message.KindGrant:
		if c := s.calls[e.ID]; c != nil {
			c.granted = e.Sequence
		}
	case message.KindAck:
		s.ackLocked(e.ID)
	case message.KindBye:
		for _, c := range s.calls {
			c.cancel()
		}
		link.Finish()
	}
	return s, nil
}

func (b *Broker) attachLocked(link *zmtp.Link, e *message.Envelope) (*session, error) {
	var a message.Attach
	if err := message.Unmarshal(e.Body, &a); err != nil {
		return nil, err
	}
	s, resumed := b.sessions[a.Session]
	if !resumed {
		s = &session{calls: make(map[uint64]*Call)}
		b.sessions[a.Session] = s
	}
	s.link = link
	s.ackLocked(e.ID)
	answer := message.Envelope{Kind: message.KindAttached, ID: s.held}
	answer.Body = message.Marshal(&message.Attached{Broker: b.instance, Resumed: resumed,
		BeatMillis: b.BeatMillis, MaxMessage: b.MaxMessage, MaxCalls: b.MaxCalls, Version: "test"})
	send(link, &answer)
	for i := range s.outcomes {
		send(link, &s.outcomes[i])
	}
	return s, nil
}

func (s *session) ackLocked(count uint64) {
	if n := count - s.base; count > s.base && n <= uint64(len(s.outcomes)) {
		s.outcomes = s.outcomes[n:]
		s.base = count
	}
}

func (b *Broker) callLocked(s *session, e *message.Envelope) {
	s.held = max(s.held, e.ID)
	c := &Call{Envelope: *e, broker: b, session: s, granted: 16}
	c.Context, c.cancel = context.WithCancel(context.Background())
	s.calls[e.ID] = c
	if b.stopping {
		c.endLocked(message.KindError, message.Errorf(message.ShuttingDown, "stopping").Append(nil))
		return
	}
	if m := b.inline[string(e.Method)]; m != nil {
		b.mu.Unlock()
		m(c)
		b.mu.Lock()
		return
	}
	m := b.methods[string(e.Method)]
	if m == nil {
		c.endLocked(message.KindError, message.Errorf(message.NoSuchMethod, "no worker serves method %q", e.Method).Append(nil))
		return
	}
	b.serving.Go(func() { m(c) })
}

// Args returns the positional arguments.
func (c *Call) Args() []any {
	args, _, e := message.SplitBody(c.Body)
	if e != nil {
		return nil
	}
	d := msgpack.NewDecoder(bytes.NewReader(args))
	d.UseLooseInterfaceDecoding(true)
	v, _ := d.DecodeInterface()
	list, _ := v.([]any)
	return list
}

// Int returns a positional argument that is a whole number, else 0.
func (c *Call) Int(i int) int64 {
	args := c.Args()
	if i >= len(args) {
		return 0
	}
	switch v := args[i].(type) {
	case int64:
		return v
	case uint64:
		return int64(v)
	}
	return 0
}

// Result ends the call with a value.
func (c *Call) Result(v any) { c.end(message.KindResult, message.Marshal(v)) }

// Echo ends the call with its first argument.
func (c *Call) Echo() {
	args, _, _ := message.SplitBody(c.Body)
	n := 1 // a fixarray
	if args[0] == 0xdc {
		n = 3
	}
	value, _, err := message.SplitValue(args[n:])
	if err != nil {
		c.Fail(message.Errorf(message.BadArgs, "echo takes one argument"))
		return
	}
	c.end(message.KindResult, value)
}

// Fail ends the call with an error.
func (c *Call) Fail(e *message.Error) { c.end(message.KindError, e.Append(nil)) }

// Raw ends the call with an outcome of any bytes.
func (c *Call) Raw(kind message.Kind, body []byte) { c.end(kind, body) }

// Part sends an item of a stream, once the client's window allows it; false if
// the call was cancelled.
func (c *Call) Part(sequence uint64, v any) bool {
	b := c.broker
	defer context.AfterFunc(c.Context, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.changed.Broadcast()
	})()
	b.mu.Lock()
	defer b.mu.Unlock()
	for sequence >= c.granted && c.Context.Err() == nil {
		b.changed.Wait()
	}
	if c.Context.Err() != nil {
		return false
	}
	c.sendLocked(&message.Envelope{Kind: message.KindPart, ID: c.ID, Sequence: sequence, Body: message.Marshal(v)})
	return true
}

// Progress reports progress.
func (c *Call) Progress(done, total float64, note string) {
	c.broker.mu.Lock()
	defer c.broker.mu.Unlock()
	c.sendLocked(&message.Envelope{Kind: message.KindProgress, ID: c.ID, Body: message.Marshal([]any{done, total, note})})
}

func (c *Call) sendLocked(e *message.Envelope) {
	if c.session.link != nil {
		send(c.session.link, e)
	}
}

func (c *Call) end(kind message.Kind, body []byte) {
	c.broker.mu.Lock()
	defer c.broker.mu.Unlock()
	c.endLocked(kind, body)
}

func (c *Call) endLocked(kind message.Kind, body []byte) {
	c.cancel()
	s := c.session
	if s.dead {
		return // the broker that had it is gone
	}
	delete(s.calls, c.ID)
	e := message.Envelope{Kind: kind, ID: c.ID, Body: body}
	s.outcomes = append(s.outcomes, e)
	c.sendLocked(&e)
}
