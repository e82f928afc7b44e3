package dispatch

import (
	"bytes"
	"time"

	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
)

// Request is a call as a client makes it. Submit copies what it keeps, but for
// what it can share.
type Request struct {
	Number     uint64 // ascending in a session; 0 in a plain one, which numbers its calls itself
	Tag        []byte // handed back with the outcome; may be nil
	Method     []byte
	Body       []byte         // msgpack args and kwargs
	Memory     *buffer.Buffer // what Body lies in, if it is constant from now on and may be shared; else nil
	Timeout    time.Duration  // 0 = none
	Priority   message.Priority
	Key        []byte // idempotency key; empty = none
	Idempotent bool
	Stream     bool
	Resubmit   bool  // the call may have been handed to another broker before
	Attempt    uint8 // of a resubmitted call, the last one that the client was told of; 0 = none
}

// Submit takes a call. Its outcome, also a refusal, goes to the session's sink.
// A refusal is returned too; it is not counted as accepted. An error with the
// code malformed alone has not been answered: the client breaks the protocol,
// and the caller closes the link.
func (s *Session) Submit(r *Request) *message.Error {
	s.d.mu.LockForClient()
	defer s.d.mu.Unlock()
	return s.submitLocked(r)
}

func (s *Session) submitLocked(r *Request) *message.Error {
	d := s.d
	if s.gone || s.sink == nil {
		return errNoSession
	}
	number := r.Number
	if !s.resumable {
		number = s.last + 1
	}
	if number <= s.last {
		if s.resumed {
			d.stats.Duplicates++ // came again because of a reconnect
			return nil
		}
		return message.Errorf(message.Malformed, "call number %d does not follow %d", number, s.last)
	}
	s.last = number
	if r.Resubmit && d.closedLocked(r) {
		// No answer: the next broker, which the client asks after our BYE, may know
		// more than that this one did not run it.
		d.refused[message.ShuttingDown]++
		d.stats.Refused++
		return nil
	}
	s.returning = s.returning || r.Resubmit
	now := d.clockLocked()
	m, known, e := d.doorLocked(s, r, now)
	if e != nil {
		d.refuseLocked(s, number, r, e)
		return e
	}
	c := d.acceptLocked(s, number, m, r, now)
	switch {
	case known != nil:
		d.joinLocked(c, known)
	case r.Resubmit:
		d.reclaimLocked(c, r.Attempt, now)
	default:
		d.admitLocked(c, now)
	}
	return nil
}

// doorLocked decides whether a call is accepted. It returns the method, and the
// record of the idempotency key if another call holds it.
func (d *Dispatcher) doorLocked(s *Session, r *Request, now instant) (*method, *record, *message.Error) {
	switch {
	case d.closedLocked(r):
		return nil, nil, errShuttingDown
	case len(r.Body) > d.limits.MaxMessage:
		return nil, nil, message.Errorf(message.TooLarge,
			"the request has %d bytes, the limit is %d; send less, or raise the limit", len(r.Body), d.limits.MaxMessage)
	}
	if e := d.roomLocked(s.client, int64(len(r.Body)+len(r.Tag))); e != nil {
		return nil, nil, e
	}
	m, e := d.findLocked(r.Method, &s.config, now)
	if e != nil || len(r.Key) == 0 {
		return m, nil, e
	}
	known, e := d.recordLocked(s.client.key, m, r)
	if e != nil {
		d.tidyLocked(m)
	}
	return m, known, e
}

// closedLocked reports whether the broker stops and takes no such call any more.
func (d *Dispatcher) closedLocked(r *Request) bool {
	return d.drained || d.draining && !bytes.HasPrefix(r.Method, []byte(message.ReservedPrefix))
}

// roomLocked refuses what would exceed a limit.
func (d *Dispatcher) roomLocked(c *client, bytes int64) *message.Error {
	l := &d.limits
	var what string
	switch {
	case c.calls >= l.CallsPerKey:
		what = "calls of this key"
	case c.bytes+bytes > l.BytesPerKey:
		what = "bytes of this key's calls"
	case d.held.calls >= int64(l.Calls):
		what = "calls of all clients"
	case d.held.bytes+bytes > l.Bytes:
		what = "bytes of all clients' calls"
	default:
		return nil
	}
	return message.Errorf(message.QueueFull, "the limit on %s is reached; take outcomes, and call again after retry_after_ms", what).
		With("retry_after_ms", d.rate.wait(d.stats.Queued/10+1).Milliseconds())
}

// acceptLocked makes the call of an accepted request, which is nowhere yet.
func (d *Dispatcher) acceptLocked(s *Session, number uint64, m *method, r *Request, now instant) *call {
	c := d.newCallLocked()
	d.ownLocked(c, s, number, r)
	c.method, c.priority = m, min(r.Priority, message.PriorityLow)
	c.idempotent, c.stream = r.Idempotent, r.Stream && s.resumable
	c.submitted = now
	d.sequence++
	c.rank.sequence = d.sequence
	if r.Timeout > 0 {
		c.deadline = now.add(r.Timeout)
	}
	c.window, c.follows = message.StreamWindow, true
	c.body = d.keepLocked(r.Body, r.Memory)
	d.chargeLocked(c, int64(len(r.Body)))
	m.calls++
	s.live.push(c)
	if s.resumable {
		s.numbers.Put(number, c)
	}
	d.stats.Accepted++
	if len(r.Key) > 0 {
		d.holdKeyLocked(c, r)
	}
	return c
}

// ownLocked makes c a call of s.
func (d *Dispatcher) ownLocked(c *call, s *Session, number uint64, r *Request) {
	c.session, c.client = s, s.client
	c.origin = message.Origin{Session: s.name.id, Number: number}
	c.tag = d.buffers.copy(r.Tag)
	d.chargeLocked(c, int64(len(c.tag)))
	c.client.calls++
	d.held.calls++
}

// refuseLocked answers a call that is not accepted. The answer is kept until it
// is acknowledged like any other: the client will not send the call again. A
// client that takes no answers and goes on calling is cut.
func (d *Dispatcher) refuseLocked(s *Session, number uint64, r *Request, e *message.Error) {
	d.refused[e.Code]++
	d.stats.Refused++
	if e.Execution() == message.NotExecuted && e.Code != message.IdempotencyClash && d.mayHaveRunLocked(s.client.key, r) {
		copied := *e
		e = copied.WithExecution(message.MaybeExecuted)
	}
	c := d.newCallLocked()
	d.ownLocked(c, s, number, r)
	d.scratch = e.Append(d.scratch[:0])
	d.deliverLocked(c, message.KindError, d.scratch, nil)
	if s.outbox.len > 2*d.limits.CallsPerKey {
		s.sink.Close(errTakesNothing)
		s.sink = nil
		d.wheel.set(&s.grace, d.clockLocked().add(d.limits.ClientGrace))
	}
}

var (
	errNoSession    = message.Errorf(message.Malformed, "the session has no connection")
	errTakesNothing = message.Errorf(message.QueueFull, "the client acknowledges no outcomes and goes on calling")
)
