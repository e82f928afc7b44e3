package workersdk

import (
	"context"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/workersdk/method"
)

// Call describes the call that a method or an interceptor runs in.
type Call struct {
	ID       string // the same for every attempt, and in the client's log
	Method   string // the wire name
	Attempt  int    // 1 for the first; more after a worker was lost
	Worker   string // id of this worker, as the broker knows it
	Deadline time.Time
	Stream   bool // the caller takes the items of a stream one by one
}

// CallFrom returns the call whose context, or a child of it, ctx is.
func CallFrom(ctx context.Context) (Call, bool) {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return Call{}, false
	}
	return c.describe(), true
}

// call is a CALL from its arrival until its method has returned.
//
//	waiting ──> running ──> (gone)
//	   └── handed back, cancelled or expired: never ran
//
// fenced is beside that: the broker has given the call up, its outcome is
// discarded, and only the slot that its method holds still counts.
//
// Small fields lie together: a record of four cache lines goes from one processor to the
// other and back for each call.
type call struct {
	// Static.
	worker   *Worker
	method   *method.Method
	token    uint64
	origin   message.Origin
	deadline time.Time      // zero = none
	limit    int            // bytes of the result
	refusal  *message.Error // why it shall not run; nil if it may
	attempt  uint8
	known    bool // origin is set: another broker can be told of the call
	stream   bool

	// Owned by the goroutine that runs the call.
	body   buffer.Content
	result buffer.Content // the value, in memory of its own or in the body's; given away by finish
	brief  bool           // the result is held back: others follow, or flush is called

	// Guarded by Worker.mu.
	running bool
	fenced  bool
	claimed bool           // taken over by another broker: named by its origin only
	ended   bool           // its method has returned
	cause   *message.Error // why it shall stop; nil while it need not
	flow    *flow          // of a stream
	told    time.Duration  // since the worker's beginning, when the last PROGRESS was sent; 0 = none was
	held    *outcome       // of a claimed stream that has ended, until the new broker has its items; else nil

	// context is what the method is given, if it is given one.
	context callContext
}

func (c *call) describe() Call {
	return Call{
		ID: c.id(), Method: c.method.Info().Name, Attempt: int(c.attempt), Worker: c.worker.ID(),
		Deadline: c.deadline, Stream: c.stream,
	}
}

// id names the call for ever, or at least on this link.
func (c *call) id() string {
	if !c.known {
		return "token-" + strconv.FormatUint(c.token, 16)
	}
	return hex.EncodeToString(c.origin.Session[:]) + "-" + strconv.FormatUint(c.origin.Number, 10)
}

// head returns an envelope that names the call to the broker.
func (c *call) head(kind message.Kind) message.Envelope {
	if c.claimed {
		return message.Envelope{Kind: kind, Flags: message.FlagOrigin, Origin: c.origin, ID: uint64(c.attempt)}
	}
	return message.Envelope{Kind: kind, ID: c.token}
}

// stopLocked asks the method to stop; only the first cause counts. It needs Worker.mu.
func (c *call) stopLocked(cause *message.Error) {
	if c.cause != nil {
		return
	}
	c.cause = cause
	c.context.stopped.Store(true)
	if c.context.cancel != nil {
		c.context.cancel(cause)
	}
}

// likelyBrief reports whether c is of a method that is known to be brief.
func (c *call) likelyBrief() bool { return c.method != nil && c.method.Pace.Brief() }
