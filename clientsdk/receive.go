package clientsdk

import (
	"fmt"

	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// landing is a call whose outcome lies in the message being read.
type landing struct {
	call *call
	kind message.Kind
	body []byte
}

// receive handles one message. An error ends the link.
func (k *connection) receive(m *zmtp.Message) error {
	memory := m.Share()
	defer memory.Release()
	return k.take(m.Bytes(), memory)
}

// take handles all envelopes of b, which lies in memory if that is not nil, under
// one lock, then copies outcomes and wakes their callers without it.
func (k *connection) take(b []byte, memory *buffer.Buffer) error {
	s := k.session
	s.mu.Lock()
	err := k.parseLocked(b)
	if err == nil {
		s.acknowledgeLocked()
		k.moveLocked()
	}
	s.promoteLocked()
	s.mu.Unlock()
	s.waits.came(len(k.landed))
	for i := range k.landed {
		k.landed[i].deliver(memory)
		k.landed[i] = landing{}
	}
	k.landed = k.landed[:0]
	if cap(k.landed) > 4096 {
		k.landed = nil
	}
	return err
}

func (l *landing) deliver(memory *buffer.Buffer) {
	c := l.call
	switch {
	case l.kind == message.KindError:
		c.err = message.ParseError(l.body)
	case !c.reuse(l.body):
		c.reply = buffer.Keep(l.body, memory)
	}
	c.deliver()
}

func (k *connection) parseLocked(b []byte) error {
	var e message.Envelope
	for len(b) > 0 {
		rest, err := e.Next(b)
		if err != nil {
			return err
		}
		b = rest
		if err := k.envelopeLocked(&e); err != nil {
			return err
		}
	}
	return nil
}

// envelopeLocked handles one envelope. Unknown kinds are ignored: a later
// broker may send some.
func (k *connection) envelopeLocked(e *message.Envelope) error {
	s := k.session
	switch {
	case e.Kind == message.KindBye:
		return &byeError{message.ParseError(e.Body)}
	case !k.attached && e.Kind == message.KindAttached:
		return k.attachedLocked(e)
	case !k.attached:
		return fmt.Errorf("%w: %v came before ATTACHED", zmtp.ErrProtocol, e.Kind)
	}
	switch e.Kind {
	case message.KindResult, message.KindError:
		if e.ID > s.number {
			return fmt.Errorf("%w: an outcome came for call %d, which was never made", zmtp.ErrProtocol, e.ID)
		}
		s.countLocked(message.HeaderSize + len(e.Body))
		if c := s.calls.Get(e.ID); c != nil {
			if e.Kind == message.KindError && s.holdLocked(c, e.Body) {
				return nil
			}
			s.takeLocked(c)
			k.landed = append(k.landed, landing{c, e.Kind, e.Body})
		} else {
			delete(s.cancelled, e.ID)
		}
	case message.KindPart, message.KindProgress:
		if c := s.calls.Get(e.ID); c != nil && c.inbox != nil {
			return c.inbox.add(e)
		}
	case message.KindAttempt:
		if c := s.calls.Get(e.ID); c != nil {
			c.attempt = uint8(min(e.Sequence, 255))
		}
	case message.KindAttached:
		return fmt.Errorf("%w: a second ATTACHED came", zmtp.ErrProtocol)
	}
	return nil
}

// byeError is the broker's reason to end the link.
type byeError struct{ reason *Error }

func (e *byeError) Error() string { return "the broker ended the connection: " + e.reason.Error() }
func (e *byeError) Unwrap() error { return e.reason }
