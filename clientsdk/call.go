package clientsdk

import (
	"time"

	"github.com/servicetools/servicetools/wire/message"
)

// state is where a call is. It moves down this list, never up, and changes
// only with session.mu held.
type state uint8

const (
	stateNew     state = iota
	stateWaiting       // in session.waiting, for a place in flight
	stateFlying        // in session.calls, for its outcome
	stateEnded         // reply or err is set, or about to be by the reader
)

// call is the record of one call. It is pooled by its session.
type call struct {
	session *session

	// Written by the caller before start, constant until the call has ended.
	buf       []byte // method, key and body, back to back
	methodEnd int
	keyEnd    int
	flags     message.Flags
	priority  Priority
	deadline  time.Time // zero = none
	inbox     *inbox    // for streams and progress, else nil
	future    *Future   // whose call it is; nil if a goroutine waits for done

	// Guarded by session.mu.
	state      state
	number     uint64
	sent       bool          // appended to the present link, or held by its broker
	offset     uint64        // where in the present link's stream
	handed     bool          // a lost link had handed it to the kernel
	overdue    bool          // the deadline is over; the broker has a last moment to say so
	prev, next *call         // in session.waiting
	placed     chan struct{} // of a future that had to wait: closed when it flies
	alarm      *alarm        // of the deadline; nil = none

	// done gets one token when the outcome is there; capacity 1, nil for a future.
	// The fields below are written by whoever ends the call, and read after the token.
	done   chan struct{}
	reply  []byte // a RESULT's body
	err    *Error
	pooled bool // the alarm is at rest, so that the record may be used again
}

// maxKept is the largest buffer that a pooled record keeps, in bytes.
const maxKept = 128 << 10

// newCall returns an empty record.
func (s *session) newCall() *call {
	if c, ok := s.records.Get().(*call); ok {
		return c
	}
	return &call{session: s, done: make(chan struct{}, 1)}
}

// release gives back the record of a call that has ended, after its done token
// was taken. reply is lost.
func (s *session) release(c *call) {
	if !c.pooled || c.future != nil {
		return // its alarm may be about to go off, or it is part of a future
	}
	fresh := call{session: s, done: c.done, buf: c.buf[:0], reply: c.reply[:0]}
	if cap(fresh.buf) > maxKept {
		fresh.buf = nil
	}
	if cap(fresh.reply) > maxKept {
		fresh.reply = nil
	}
	*c = fresh
	s.records.Put(c)
}

// size is what the call counts for against the bound on bytes.
func (c *call) size() int { return len(c.buf) }

// envelope returns the CALL of c; timeout is what is left.
func (c *call) envelope(timeout time.Duration) message.Envelope {
	return message.Envelope{
		Kind:     message.KindCall,
		Flags:    c.flags,
		ID:       c.number,
		Timeout:  timeout,
		Priority: c.priority,
		Method:   c.buf[:c.methodEnd],
		Key:      c.buf[c.methodEnd:c.keyEnd],
		Body:     c.buf[c.keyEnd:],
	}
}

// deliver wakes whoever waits for c. Called once, by whoever ended the call.
func (c *call) deliver() {
	c.pooled = c.disarm()
	if c.future != nil {
		c.future.finish()
		return
	}
	c.done <- struct{}{}
}

// deadlineMargin is how long after a deadline the broker's own error, which
// knows more, is waited for.
const deadlineMargin = 200 * time.Millisecond

// expire runs when the deadline of c is over, and once more after the margin.
func (c *call) expire() {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.promoteLocked()
	switch {
	case c.state == stateWaiting:
		s.endLocked(c, message.Errorf(message.DeadlineInQueue,
			"the deadline passed while the call waited for one of this client's %d places in flight", s.maxCalls))
	case c.state != stateFlying:
	case !c.sent && !c.handed && s.link != nil:
		s.endLocked(c, message.Errorf(message.DeadlineInQueue, "the deadline passed before the call could be sent"))
	case !c.sent && !c.handed:
		s.endLocked(c, message.Errorf(message.DeadlineInQueue, "the deadline passed without a broker to send the call to: %v", s.outageLocked()))
	case !c.sent:
		s.recallLocked(c)
		s.endLocked(c, message.Errorf(message.ConnectionLost,
			"the connection was lost while the broker held the call and did not come back before the deadline: %v", s.outageLocked()))
	case !c.overdue:
		c.overdue = true
		c.armLocked(deadlineMargin)
	default:
		s.recallLocked(c)
		s.endLocked(c, message.Errorf(message.DeadlineInHandler, "the deadline passed and the broker has not answered"))
	}
}
