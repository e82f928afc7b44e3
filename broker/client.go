package broker

import (
	"fmt"

	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/version"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// client is the link of one SDK client: it turns envelopes into calls of the
// dispatcher, and the dispatcher's outcomes into envelopes. It is the
// dispatcher's ClientSink for the session that the link attached.
type client struct {
	broker *Broker
	link   *zmtp.Link
	who    identity

	// session is set by ATTACH. Owned by the link's read loop.
	session *dispatch.Session
	refusal *message.Error // why ATTACH was refused
}

// serve reads the link to its end.
func (c *client) serve() error {
	err := c.link.Run(c.receive)
	if c.refusal != nil {
		return c.refusal
	}
	if c.session != nil {
		c.session.Detach(c)
	}
	return err
}

// receive handles one message: whole envelopes, one after the other. Calls that follow
// each other are submitted together.
func (c *client) receive(m *zmtp.Message) error {
	var e message.Envelope
	memory := m.Share()
	defer memory.Release()
	calls := requests.get()
	defer requests.put(calls)
	for rest := m.Bytes(); len(rest) > 0; {
		var err error
		if rest, err = e.Next(rest); err != nil {
			return c.submit(calls, err)
		}
		if c.session == nil && e.Kind != message.KindAttach {
			return fmt.Errorf("%w: %v came before ATTACH", zmtp.ErrProtocol, e.Kind)
		}
		if e.Kind == message.KindCall {
			if _, _, malformed := message.SplitBody(e.Body); malformed != nil {
				return c.submit(calls, malformed) // here and not at a worker that did no wrong
			}
			if c.broker.audit.concerns(&c.who, e.Method) { // what is on record is carried out: nothing before it ends the link
				if err := c.submit(calls, nil); err != nil {
					return err
				}
				c.broker.audit.command(&c.who, e.Method, e.Body)
			}
			*calls.next() = dispatch.Request{
				Number:     e.ID,
				Method:     e.Method,
				Body:       e.Body,
				Memory:     memory,
				Timeout:    e.Timeout,
				Priority:   e.Priority,
				Idempotent: e.Flags&message.FlagIdempotent != 0,
				Stream:     e.Flags&message.FlagStream != 0,
				Resubmit:   e.Flags&message.FlagResubmit != 0,
				Attempt:    e.Attempt,
				Key:        e.Key,
			}
			if calls.full() {
				if err := c.submit(calls, nil); err != nil {
					return err
				}
			}
			continue
		}
		if err := c.submit(calls, nil); err != nil {
			return err
		}
		if over, err := c.take(&e); over || err != nil {
			return err
		}
	}
	return c.submit(calls, nil)
}

// submit gives the gathered calls to the dispatcher. It returns their breach of the
// protocol, or else the one that came behind them.
func (c *client) submit(calls *batch[dispatch.Request], behind error) error {
	if len(calls.list) > 0 {
		e := c.session.SubmitAll(calls.list)
		calls.clear()
		if e != nil {
			return e
		}
	}
	return behind
}

// take obeys one envelope other than a CALL. over says that the link takes no more.
func (c *client) take(e *message.Envelope) (over bool, err error) {
	switch e.Kind {
	case message.KindAck:
		return false, breach(c.session.Ack(e.ID))
	case message.KindCancel:
		c.session.Cancel(e.ID)
	case message.KindGrant:
		c.session.Grant(e.ID, e.Sequence)
	case message.KindAttach:
		err := c.attach(e)
		if c.refusal != nil {
			c.Close(c.refusal)
			return true, nil // an error would end the link before the peer has read why
		}
		return false, err
	case message.KindBye:
		c.session.Close(c)
		c.session = nil
		c.link.Finish()
		return true, nil
	}
	return false, nil
}

// attach opens or resumes the session that the client names, or sets refusal.
func (c *client) attach(e *message.Envelope) error {
	if c.session != nil {
		return fmt.Errorf("%w: a second ATTACH on one link", zmtp.ErrProtocol)
	}
	var body message.Attach
	if err := message.Unmarshal(e.Body, &body); err != nil {
		return err
	}
	if c.refusal = body.Validate(); c.refusal != nil {
		return nil
	}
	c.session = c.broker.dispatcher.Attach(c.who.client(body.Name, c), body.Session, e.ID)
	return nil
}

// breach returns the dispatcher's verdict on an envelope if it ends the link:
// only malformed does. Any other refusal has been answered as the call's outcome.
func breach(e *message.Error) error {
	if e == nil || e.Code != message.Malformed {
		return nil
	}
	return e
}

// Attached implements dispatch.ClientSink.
func (c *client) Attached(resumed bool, last uint64) {
	limits := &c.broker.applied.Load().Limits
	body := message.Marshal(&message.Attached{
		Broker:     c.broker.instance,
		Resumed:    resumed,
		BeatMillis: c.broker.beat.Milliseconds(),
		MaxMessage: limits.MaxMessage,
		MaxCalls:   int64(limits.CallsPerKey),
		Version:    version.String(),
	})
	c.send(&message.Envelope{Kind: message.KindAttached, ID: last, Body: body})
}

// Outcome implements dispatch.ClientSink.
func (c *client) Outcome(o *dispatch.Outcome) {
	_, _ = sendShared(c.link, &message.Envelope{Kind: o.Kind, ID: o.Number, Body: o.Body}, o.Memory) // as send
}

// Part implements dispatch.ClientSink.
func (c *client) Part(number uint64, _ []byte, sequence uint64, body []byte) {
	c.send(&message.Envelope{Kind: message.KindPart, ID: number, Sequence: sequence, Body: body})
}

// Attempt implements dispatch.ClientSink.
func (c *client) Attempt(number uint64, attempt uint8) {
	c.send(&message.Envelope{Kind: message.KindAttempt, ID: number, Sequence: uint64(attempt)})
}

// Progress implements dispatch.ClientSink.
func (c *client) Progress(number uint64, _ []byte, body []byte) {
	c.send(&message.Envelope{Kind: message.KindProgress, ID: number, Body: body})
}

// Close implements dispatch.ClientSink.
func (c *client) Close(reason *message.Error) {
	c.send(&message.Envelope{Kind: message.KindBye, Body: reason.Append(nil)})
	c.link.Finish()
}

// send queues an envelope. A link that takes nothing has ended or is about to:
// its read loop returns and detaches the session, which keeps the outcomes.
func (c *client) send(e *message.Envelope) { _, _ = appendEnvelope(c.link, e) }

// sendShared is appendEnvelope for a body that lies in memory, unless that is nil.
func sendShared(link *zmtp.Link, e *message.Envelope, memory *buffer.Buffer) (uint64, error) {
	if memory == nil {
		return appendEnvelope(link, e)
	}
	return link.AppendShared(func(dst []byte) []byte { return e.AppendHead(dst) }, e.Body, memory)
}

// appendEnvelope queues e and returns the stream offset of its first byte.
func appendEnvelope(link *zmtp.Link, e *message.Envelope) (uint64, error) {
	return link.Append(func(dst []byte) []byte { return e.Append(dst) })
}
