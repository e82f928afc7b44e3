package dispatch

import (
	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
)

// failLocked ends c with an error of the broker's. It never claims that a call
// did not run that was handed over before.
func (d *Dispatcher) failLocked(c *call, e *message.Error) {
	if c.ran() && e.Execution() == message.NotExecuted {
		copied := *e
		e = copied.WithExecution(message.MaybeExecuted)
	}
	d.scratch = e.Append(d.scratch[:0])
	d.endLocked(c, &answer{message.KindError, e.Code, e.Execution(), d.scratch, nil})
}

// endLocked is the one place where an accepted call ends. The body is copied, or
// its memory shared.
func (d *Dispatcher) endLocked(c *call, o *answer) {
	d.leaveLocked(c)
	if o.kind == message.KindResult {
		d.stats.Succeeded++
		c.method.succeeded++
	} else {
		d.stats.Failed++
		d.failed[o.code]++
		c.method.failed++
	}
	d.dropBodyLocked(c)
	c.method.calls--
	d.tidyLocked(c.method)
	if c.record != nil {
		d.settleLocked(c, o)
	}
	if c.session == nil {
		d.stats.Orphaned++
		d.recycleLocked(c)
		return
	}
	c.session.live.remove(c)
	if c.session.resumable {
		c.session.numbers.Delete(c.origin.Number)
	}
	d.deliverLocked(c, o.kind, o.body, o.memory)
}

// deliverLocked sends the outcome of c, which is in no list, and keeps it until
// the client has acknowledged it. A plain peer cannot: sent is forgotten.
func (d *Dispatcher) deliverLocked(c *call, kind message.Kind, body []byte, memory *buffer.Buffer) {
	s := c.session
	c.state, c.kind = ended, kind
	if !s.resumable {
		if s.sink != nil {
			s.outcomeLocked(c, buffer.Content{Bytes: body, Memory: memory})
		}
		d.recycleLocked(c)
		return
	}
	c.outcome = d.keepLocked(body, memory)
	d.chargeLocked(c, int64(len(body)))
	s.outbox.push(c)
	if s.unsent == nil {
		s.unsent = c
	}
	s.sendLocked()
}

// outcomeWindow is how many bytes of outcomes may be on their way to a client
// that has not acknowledged them. More than that waits here, and not in the
// link, which would take a client that reads slowly for one that does not.
const outcomeWindow = 4 << 20

// sendLocked sends the outcomes that are due on this connection, in order.
func (s *Session) sendLocked() {
	for s.sink != nil && s.unsent != nil && (s.flight == 0 || s.flight+len(s.unsent.outcome.Bytes) <= outcomeWindow) {
		c := s.unsent
		if c.replay {
			s.replayPartsLocked(c)
			c.replay = false
		}
		s.outcomeLocked(c, c.outcome)
		s.unsent = c.next
		s.sent++
		s.flight += len(c.outcome.Bytes) + message.HeaderSize
	}
}

// flushLocked sends all outcomes, however many are on their way: the broker's
// good-bye comes next, and what has no outcome before it counts as not executed.
func (s *Session) flushLocked() {
	for s.sink != nil && s.unsent != nil {
		s.flight = 0
		s.sendLocked()
	}
}

// ackLocked forgets the outcomes up to the given count of the session.
func (s *Session) ackLocked(count uint64) {
	for s.acked < count {
		c := s.outbox.first
		if s.sent > 0 {
			s.sent--
			s.flight -= len(c.outcome.Bytes) + message.HeaderSize
		}
		if s.unsent == c {
			s.unsent = c.next
		}
		s.outbox.remove(c)
		s.acked++
		s.d.recycleLocked(c)
	}
}

// outcomeLocked hands the outcome of c to the session's sink.
func (s *Session) outcomeLocked(c *call, body buffer.Content) {
	o := &s.d.outcome
	*o = Outcome{Number: c.origin.Number, Tag: c.tag, Kind: c.kind, Body: body.Bytes, Memory: body.Memory}
	s.sink.Outcome(o)
	*o = Outcome{}
}

// callList is a list of calls of one session, linked through the calls.
type callList struct {
	first, last *call
	len         int
}

func (l *callList) push(c *call) {
	c.prev, c.next = l.last, nil
	if l.last != nil {
		l.last.next = c
	} else {
		l.first = c
	}
	l.last = c
	l.len++
}

func (l *callList) remove(c *call) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.last = c.prev
	}
	c.prev, c.next = nil, nil
	l.len--
}
