package workersdk

import (
	"context"
	"sync/atomic"
	"time"
)

// callContext is the context of one call. Most methods never wait for its end:
// what can be waited for is made when somebody does, which halves what a call
// with a deadline costs this SDK.
type callContext struct {
	call    *call       // nil: the method is given no context
	stopped atomic.Bool // it has a cause to end, or has ended

	// Guarded by Worker.mu.
	whole  context.Context         // nil until somebody needs more than the deadline
	cancel context.CancelCauseFunc // of whole
	end    context.CancelFunc      // of whole's deadline; nil if there is none
}

// callKey is the key of a *call in its context.
type callKey struct{}

// open returns the context of a call that begins to run.
func (c *call) open() context.Context {
	c.context.call = c
	return &c.context
}

// close ends the context: the method has returned.
func (x *callContext) close() {
	x.call.worker.mu.Lock()
	x.call.ended = true
	x.stopped.Store(true)
	cancel, end := x.cancel, x.end
	x.call.worker.mu.Unlock()
	if end != nil {
		end()
	}
	if cancel != nil {
		cancel(nil)
	}
}

// Deadline implements context.Context.
func (x *callContext) Deadline() (time.Time, bool) {
	return x.call.deadline, !x.call.deadline.IsZero()
}

// Done implements context.Context.
func (x *callContext) Done() <-chan struct{} { return x.wholly().Done() }

// Err implements context.Context. A loop may ask it often: it costs no lock while
// there is no error.
func (x *callContext) Err() error {
	if at := x.call.deadline; !x.stopped.Load() && (at.IsZero() || time.Now().Before(at)) {
		return nil
	}
	return x.wholly().Err()
}

// Value implements context.Context. Package context looks for its own keys here,
// so as to tell the cause and to hang children on what ends.
func (x *callContext) Value(key any) any {
	if key == (callKey{}) {
		return x.call
	}
	return x.wholly().Value(key)
}

// wholly returns the context that can be waited for, and makes it the first time.
func (x *callContext) wholly() context.Context {
	c := x.call
	c.worker.mu.Lock()
	defer c.worker.mu.Unlock()
	if x.whole != nil {
		return x.whole
	}
	x.whole, x.cancel = context.WithCancelCause(context.Background())
	if c.cause != nil {
		x.cancel(c.cause)
	}
	if c.ended {
		x.cancel(nil)
	}
	if !c.deadline.IsZero() {
		x.whole, x.end = context.WithDeadlineCause(x.whole, c.deadline, errDeadline)
	}
	return x.whole
}
