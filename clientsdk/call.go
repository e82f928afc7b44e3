package clientsdk

import (
	"sync/atomic"
	"time"

	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
)

// state is where a call is. It moves down this list, never up, and changes
// only with session.mu held.
type state uint8

const (
	stateNew     state = iota
	stateWaiting       // in session.waiting, for a place in flight
	stateFlying        // in session.calls, for its outcome, or held for the next broker
	stateEnded         // reply or err is set, or about to be by the reader
)

// call is the record of one call. It is pooled by its session, or a part of a Future,
// which is the larger part of what a call of Go allocates: small fields lie together.
type call struct {
	session *session

	// Written by the caller before start, constant until the call has ended.
	buf       *buffer.Buffer // method, key and body, back to back; nil once the call has ended
	methodEnd uint32
	keyEnd    uint32
	deadline  time.Duration // since the session began; 0 = none
	inbox     *inbox        // for streams and progress, else nil
	future    *Future       // whose call it is; nil if a goroutine waits for done
	flags     message.Flags
	priority  Priority

	// Guarded by session.mu.
	state      state
	sent       bool  // appended to the present link, or held by its broker
	handed     bool  // a lost link had handed it to the kernel
	held       bool  // the broker stops and did not take it: the next one gets it
	attempt    uint8 // that a worker has it in, as a broker said last; 0 = none or the first
	overdue    bool  // the deadline is over; the broker has a last moment to say so
	number     uint64
	offset     uint64        // where in the present link's stream
	prev, next *call         // in session.waiting
	placed     chan struct{} // of a future that had to wait: closed when it flies

	// Its place in session.deadlines.
	due                 int64 // 0 = nowhere
	dueBefore, dueAfter *call

	over atomic.Bool // done has its token, or is about to get it

	// done gets one token when the outcome is there; capacity 1, nil for a future.
	// The fields below are written by whoever ends the call, and read after the token.
	done  chan struct{}
	reply buffer.Content // a RESULT's body
	err   *Error
}

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
	c.drop()
	if c.future != nil {
		return // it is part of that
	}
	c.reply.Release()
	*c = call{session: s, done: c.done}
	s.records.Put(c)
}

// size is what the call counts for against the bound on bytes.
func (c *call) size() int { return len(c.buf.Bytes) }

// drop gives up the request. The link may hold it a while longer.
func (c *call) drop() {
	c.buf.Release()
	c.buf = nil
}

// envelope returns the CALL of c; timeout is what is left.
func (c *call) envelope(timeout time.Duration) message.Envelope {
	return message.Envelope{
		Kind:     message.KindCall,
		Flags:    c.flags,
		ID:       c.number,
		Timeout:  timeout,
		Attempt:  c.attempt,
		Priority: c.priority,
		Method:   c.buf.Bytes[:c.methodEnd],
		Key:      c.buf.Bytes[c.methodEnd:c.keyEnd],
		Body:     c.buf.Bytes[c.keyEnd:],
	}
}

// reuse puts a small reply where the request lay, if that fits and no link still writes
// the request from there: it saves the pool of buffers a turn, and a future an
// allocation. Only for who has ended the call.
func (c *call) reuse(reply []byte) bool {
	b := c.buf
	if len(reply) > cap(b.Bytes) || len(reply) >= buffer.Large || b.Wasted(len(reply)) || b.Shared() {
		return false
	}
	b.Bytes = append(b.Bytes[:0], reply...)
	c.reply, c.buf = buffer.Content{Bytes: b.Bytes, Memory: b}, nil
	return true
}

// deliver wakes whoever waits for c. Called once, by whoever ended the call.
func (c *call) deliver() {
	c.drop()
	if c.future != nil {
		c.future.finish()
		return
	}
	c.over.Store(true)
	c.done <- struct{}{}
}

// deadlineMargin is how long after a deadline the broker's own error, which
// knows more, is waited for.
const deadlineMargin = 200 * time.Millisecond

// expireLocked ends c when its deadline is over, or gives the broker the margin.
// Needs session.mu.
func (c *call) expireLocked() {
	s := c.session
	switch {
	case c.state == stateWaiting:
		s.endLocked(c, message.Errorf(message.DeadlineInQueue,
			"the deadline passed while the call waited for one of this client's %d places in flight", s.maxCalls))
	case c.state != stateFlying:
	case c.held:
		s.endLocked(c, message.Errorf(message.ShuttingDown, "the broker that the call was sent to stops, and no other one took it before the deadline"))
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
		s.armLocked(c, s.age()+deadlineMargin)
	default:
		s.recallLocked(c)
		s.endLocked(c, message.Errorf(message.DeadlineInHandler, "the deadline passed and the broker has not answered"))
	}
}
