package clientsdk

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/numbers"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// session is what the broker knows of a Client: calls and outcomes counted
// over all its connections. Its own goroutine is run; callers' goroutines add
// calls and wait for them.
//
// Lock order: session.mu, then the link's own.
type session struct {
	// Static after newSession.
	cfg     *config
	id      message.SessionID
	dial    func(ctx context.Context, addr string) (*zmtp.Link, error)
	context context.Context // ends when the session is to end at once
	stop    context.CancelCauseFunc
	ready   chan struct{} // closed at the first ATTACHED
	ended   chan struct{} // closed when run has returned

	// link again, for readers without mu; changed with mu held. It lies beside what is hardly
	// written: every call reads it.
	present atomic.Pointer[zmtp.Link]

	began   time.Time
	records sync.Pool // of *call

	waits waits // for what comes by link

	mu        sync.Mutex
	link      *zmtp.Link          // nil during an outage
	broker    BrokerInfo          // as the last ATTACHED told
	outage    error               // why there is no link
	refused   *Error              // the brokers do not want this client; calls fail at once
	refusals  int                 // rounds in which every address refused us, in a row
	closing   bool                // no new calls
	leaving   bool                // nothing is in flight any more; run is to end
	number    uint64              // of the last call
	calls     numbers.Table[call] // in flight
	held      int                 // of calls, those that wait for another broker
	stopping  string              // the instance of the broker that did not take them
	cancelled map[uint64]struct{} // given up here, outcome not seen yet
	bytes     int                 // size of calls
	maxCalls  int                 // the smaller of ours and the broker's bound
	waiting   queue
	deadlines deadlines
	empty     chan struct{} // made by close, closed when nothing is in flight or waiting
	acks      acks
}

func newSession(cfg *config, dial func(context.Context, string) (*zmtp.Link, error)) *session {
	s := &session{
		cfg:       cfg,
		dial:      dial,
		began:     time.Now(),
		ready:     make(chan struct{}),
		ended:     make(chan struct{}),
		outage:    errors.New("not connected yet"),
		cancelled: make(map[uint64]struct{}),
		maxCalls:  cfg.maxCalls,
	}
	_, _ = rand.Read(s.id[:]) // never fails
	s.context, s.stop = context.WithCancelCause(context.Background())
	return s
}

var errClosed = message.Errorf(message.ShuttingDown, "the client is closed").WithExecution(message.NotExecuted)

// start takes in a call: it is sent, or waits for a place or a connection. An
// error means that the call was not taken and was not executed.
func (s *session) start(c *call, timeout time.Duration) *Error {
	large, more := c.size() >= buffer.Large, c.future != nil // before it can end
	link, alone, e := s.admit(c, timeout)
	switch {
	case link == nil:
	case alone, large: // nothing to wait for, or in the cache of this processor
		link.Flush()
	case more: // may follow
		link.FlushSoon()
	default: // callers that are ready to run may add theirs
		link.Wake()
	}
	return e
}

// admit is start that leaves the call held on link, nil if it waits, and says whether
// no other is in flight.
func (s *session) admit(c *call, timeout time.Duration) (link *zmtp.Link, alone bool, e *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing:
		return nil, false, errClosed
	case s.refused != nil:
		return nil, false, s.refused
	}
	if e := s.fitsMessageLocked(c); e != nil {
		return nil, false, e
	}
	if c.deadline > 0 {
		s.armLocked(c, c.deadline)
	}
	s.waits.beginLocked(c)
	if s.waiting.first != nil || !s.fitsLocked(c) {
		c.state = stateWaiting
		if c.future != nil {
			c.placed = make(chan struct{})
		}
		s.waiting.push(c)
		return nil, false, nil
	}
	s.flyLocked(c, timeout)
	return s.link, s.calls.Len() == 1, nil
}

func (s *session) fitsMessageLocked(c *call) *Error {
	limit := s.broker.MaxMessage
	if limit == 0 || c.size() <= limit {
		return nil
	}
	return message.Errorf(message.TooLarge, "the call has %d bytes, the broker takes %d; send less, or a reference to the data", c.size(), limit)
}

// fitsLocked reports whether c has a place in flight. A call larger than the
// bound on bytes goes alone.
func (s *session) fitsLocked(c *call) bool {
	return s.calls.Len() < s.maxCalls && (s.bytes+c.size() <= s.cfg.maxBytes || s.calls.Len() == 0)
}

// flyLocked gives c a number and a place, and holds it on the link, if there is one.
func (s *session) flyLocked(c *call, timeout time.Duration) {
	s.number++
	c.number, c.state = s.number, stateFlying
	s.calls.Put(c.number, c)
	s.bytes += c.size()
	s.sendLocked(c, timeout)
}

// sendLocked appends c to the link, for the caller to have it written. A call whose
// deadline is over is left to its timer: on the wire a timeout of 0 would mean none.
func (s *session) sendLocked(c *call, timeout time.Duration) {
	if s.link == nil || timeout <= 0 && c.deadline > 0 {
		return
	}
	e := c.envelope(timeout)
	var offset uint64
	var err error
	if len(e.Body) < buffer.Large {
		offset, err = s.link.AppendHeld(func(dst []byte) []byte { return e.Append(dst) })
	} else {
		offset, err = s.link.AppendSharedHeld(func(dst []byte) []byte { return e.AppendHead(dst) }, e.Body, c.buf)
	}
	if err == nil { // else the link is ending, and the next one gets the call
		c.sent, c.offset = true, offset
	}
}

// age is the clock that deadlines are told by: it reads one clock where time.Now
// reads two.
func (s *session) age() time.Duration { return time.Since(s.began) }

// flush sends what is held back, for one who is about to wait, and returns the link.
func (s *session) flush() *zmtp.Link {
	link := s.present.Load()
	if link != nil {
		link.Flush()
	}
	return link
}

// promoteLocked lets waiting calls fly while there is room.
func (s *session) promoteLocked() {
	flown := false
	for c := s.waiting.first; c != nil && s.fitsLocked(c); c = s.waiting.first {
		if e := s.fitsMessageLocked(c); e != nil { // of the present broker
			s.endLocked(c, e)
			continue
		}
		s.waiting.remove(c)
		s.flyLocked(c, c.left())
		flown = true
		if c.placed != nil {
			close(c.placed)
		}
	}
	if flown {
		s.wakeLocked()
	}
}

// wakeLocked has what is held on the link written.
func (s *session) wakeLocked() {
	if s.link != nil {
		s.link.Wake()
	}
}

// left returns what is left until the deadline; anything if there is none.
func (c *call) left() time.Duration {
	if c.deadline == 0 {
		return 0
	}
	return c.deadline - c.session.age()
}

// takeLocked removes c from wherever it is: from then on the taker alone ends it.
func (s *session) takeLocked(c *call) {
	s.waits.endLocked(c)
	switch c.state {
	case stateWaiting:
		s.waiting.remove(c)
	case stateFlying:
		s.calls.Delete(c.number)
		s.bytes -= c.size()
		if c.held {
			s.held--
		}
	}
	c.state = stateEnded
	s.disarmLocked(c)
	if s.empty != nil && s.calls.Len() == 0 && s.waiting.first == nil {
		close(s.empty)
		s.empty = nil
	}
}

// endLocked ends c with an error of this side.
func (s *session) endLocked(c *call, e *Error) {
	s.takeLocked(c)
	c.err = e
	c.deliver()
	if s.link != nil {
		s.link.Interrupt()
	}
}

// cancel ends c on the caller's wish, unless it has just ended by itself.
func (s *session) cancel(c *call, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancelLocked(c, why)
	s.promoteLocked()
}

func (s *session) cancelLocked(c *call, why string) {
	if c.state == stateEnded {
		return
	}
	e := message.Errorf(message.Cancelled, "%s", why)
	if c.state == stateFlying && (c.sent || c.handed) {
		s.recallLocked(c)
	} else {
		e = e.WithExecution(message.NotExecuted)
	}
	s.endLocked(c, e)
}

// recallLocked tells the broker, now or when it is back, that nobody waits for c.
func (s *session) recallLocked(c *call) {
	if len(s.cancelled) < maxCancelled {
		s.cancelled[c.number] = struct{}{}
	}
	if s.link != nil && c.sent {
		s.sendCancelLocked(c.number)
	}
}

// maxCancelled bounds session.cancelled against a broker that never answers a
// CANCEL; beyond it a CANCEL is not repeated after a reconnect.
const maxCancelled = 1 << 16

func (s *session) sendCancelLocked(number uint64) {
	e := message.Envelope{Kind: message.KindCancel, ID: number}
	_, _ = s.link.Append(func(dst []byte) []byte { return e.Append(dst) }) // a dead link's cancels follow on the next
}

// outageLocked says why there is no link.
func (s *session) outageLocked() error {
	if s.outage == nil {
		return errors.New("the connection is ending")
	}
	return s.outage
}

// queue is a list of waiting calls, first in first out, that any call can leave.
type queue struct{ first, last *call }

func (q *queue) push(c *call) {
	c.prev, c.next = q.last, nil
	if q.last == nil {
		q.first = c
	} else {
		q.last.next = c
	}
	q.last = c
}

func (q *queue) remove(c *call) {
	if c.prev == nil {
		q.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		q.last = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
}
