package dispatch

import (
	"time"

	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
)

// state is the one place a call is in; doc.go draws them.
type state uint8

const (
	free       state = iota // recycled
	queued                  // in its method's queue
	running                 // at a worker
	joined                  // waits for the outcome of the call that holds the same idempotency key
	reclaiming              // resubmitted; waits for the worker that ran it under an earlier broker
	ended                   // its outcome waits in the session's outbox to be acknowledged
)

var stateNames = [...]string{"free", "queued", "running", "joined", "reclaiming", "ended"}

func (s state) String() string { return stateNames[s] }

// call is one call from Submit until its outcome is acknowledged. It is
// recycled. Everything is guarded by Dispatcher.mu.
type call struct {
	state state

	// What was asked.
	session    *Session // nil once the session is forgotten: the call is an orphan
	client     *client  // who pays
	origin     message.Origin
	method     *method // nil for a refused call
	priority   message.Priority
	idempotent bool
	stream     bool
	deadline   instant // 0 = none
	submitted  instant
	tag        []byte
	body       buffer.Content
	held       int64 // bytes charged to the client

	// Where it is.
	prev, next *call // in the session's live list or outbox
	rank       rank  // its order in its method's queue, kept for a requeue
	fair       int64 // its fair tag
	suspect    bool  // its next attempt, or the present one, is its last after others: it runs alone
	index      int   // of a queued suspect, in its method's
	lane       *lane // queued, and no suspect: what it waits in
	before     *call // in the lane
	behind     *call
	attempts   uint8       // hand-overs that count
	crashed    bool        // a worker was lost with it
	assigned   *assignment // running
	record     *record     // of its idempotency key; nil = none
	timer      timer       // the deadline, or the end of the grace it waits for

	// What a stream has delivered so far.
	sequence uint64 // the next item to forward
	resumed  bool   // the client saw items under an earlier broker or session
	follows  bool   // sequence is known; false for a claimed stream before its first item
	window   uint64 // items below it may be sent
	parts    []part // forwarded, not known to be consumed
	progress []byte // the latest

	// How it ended.
	replay  bool         // this connection has not got the parts
	kind    message.Kind // KindResult or KindError
	outcome buffer.Content
}

// ran reports whether c may have run, wholly or in part.
func (c *call) ran() bool { return c.attempts > 0 || c.state == reclaiming || c.state == joined }

// repeat reports whether c may run twice.
func (c *call) repeat() bool { return c.idempotent || c.method.idempotent }

// tellAttemptLocked says to the client which attempt this is, unless it is the first:
// the client need not be told that one.
func (c *call) tellAttemptLocked() {
	if s := c.session; c.attempts > 1 && s != nil && s.resumable && s.sink != nil {
		s.sink.Attempt(c.origin.Number, c.attempts)
	}
}

// newCallLocked returns an empty call.
func (d *Dispatcher) newCallLocked() *call {
	if n := len(d.calls); n > 0 {
		c := d.calls[n-1]
		d.calls = d.calls[:n-1]
		return c
	}
	c := &call{}
	c.timer.owner = c
	return c
}

// recycleLocked forgets a call that is in no list any more.
func (d *Dispatcher) recycleLocked(c *call) {
	d.chargeLocked(c, -c.held)
	c.client.calls--
	d.held.calls--
	d.releaseClientLocked(c.client)
	d.releaseLocked(&c.body)
	d.buffers.release(c.tag)
	d.releaseLocked(&c.outcome)
	d.buffers.release(c.progress)
	*c = call{}
	c.timer.owner = c
	if len(d.calls) < maxFreeCalls {
		d.calls = append(d.calls, c)
	}
}

// maxFreeCalls bounds the recycled calls that are kept.
const maxFreeCalls = 16384

// chargeLocked adds bytes to what c's client and all clients hold.
func (d *Dispatcher) chargeLocked(c *call, bytes int64) {
	c.held += bytes
	c.client.bytes += bytes
	d.held.bytes += bytes
}

// dropBodyLocked forgets the request: nobody will be given it again.
func (d *Dispatcher) dropBodyLocked(c *call) {
	d.chargeLocked(c, -int64(len(c.body.Bytes)))
	d.releaseLocked(&c.body)
}

// enterLocked moves an accepted call that is nowhere to a place.
func (d *Dispatcher) enterLocked(c *call, s state) {
	c.state = s
	if s == running {
		d.stats.Running++
	} else {
		d.stats.Queued++
	}
}

// leaveLocked takes c out of where it is. A worker that still runs it keeps the
// slot and is told to stop by the caller.
func (d *Dispatcher) leaveLocked(c *call) {
	switch c.state {
	case queued:
		d.dequeueLocked(c)
	case running:
		c.assigned.call = nil
		c.assigned = nil
	case reclaiming:
		if d.reclaiming[c.origin] == c {
			delete(d.reclaiming, c.origin)
		}
	case joined:
		c.record.leave(c)
		c.record = nil
	}
	if c.state == running {
		d.stats.Running--
	} else {
		d.stats.Queued--
	}
	c.state = free
	d.wheel.stop(&c.timer)
}

// expireLocked is called when the deadline has passed, or a grace is over.
func (c *call) expireLocked(d *Dispatcher, now instant) {
	switch {
	case c.deadline.passed(now):
		d.expireCallLocked(c)
	case c.state == reclaiming:
		d.lostClaimLocked(c, now)
	case c.state == queued && !c.method.served():
		d.failLocked(c, d.noWorkerLocked(c))
	default:
		d.armLocked(c, now)
	}
}

// armLocked sets the timer to what c waits for in its place.
func (d *Dispatcher) armLocked(c *call, now instant) {
	when := c.deadline
	switch {
	case c.state == reclaiming:
		when = earliest(when, d.started.add(d.limits.ClaimGrace))
	case c.state == queued && !c.method.served() && (when == 0 || !c.method.known):
		when = earliest(when, now.add(d.patienceLocked(c)))
	}
	if when != c.timer.when {
		d.wheel.stop(&c.timer)
		if when != 0 {
			d.wheel.set(&c.timer, when)
		}
	}
}

// strangerWait is how long a name that nobody has served yet may wait, right
// after the start, for a client that does not come from an earlier broker: it is
// rather a wrong name than one whose workers are on their way back.
const strangerWait = 800 * time.Millisecond

// patienceLocked returns how long c, queued, waits for a worker of its method.
func (d *Dispatcher) patienceLocked(c *call) time.Duration {
	if !c.method.known && !d.catchAll.seen && !c.session.returning {
		return min(strangerWait, d.limits.NoWorkerGrace)
	}
	return d.limits.NoWorkerGrace
}

func earliest(a, b instant) instant {
	if a == 0 {
		return b
	}
	return min(a, b)
}

// expireCallLocked ends a call whose deadline has passed, by where it is.
func (d *Dispatcher) expireCallLocked(c *call) {
	d.passOnLocked(c)
	a := c.assigned
	if c.ran() {
		d.failLocked(c, errDeadlineInHandler)
	} else {
		d.failLocked(c, errDeadlineInQueue)
	}
	if a != nil {
		d.abandonLocked(a)
	}
}

var (
	errDeadlineInQueue = message.Errorf(message.DeadlineInQueue,
		"the deadline passed before a worker was free; allow more time, or add workers")
	errDeadlineInHandler = message.Errorf(message.DeadlineInHandler,
		"the deadline passed after the call was handed to a worker; it may have run")
)
