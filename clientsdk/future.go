package clientsdk

import (
	"context"
	"sync/atomic"
)

// Future is a call under way.
type Future struct {
	ctx  context.Context
	done chan struct{}

	// unhook takes f off its context; nil until it is on it.
	unhook atomic.Pointer[func() bool]

	call *call // nil if another goroutine makes the call or it was not taken
	raw  Raw   // the result, if call is nil
	err  error // set before done is closed, if call is nil
}

// Go starts a call and returns while it is under way. It waits only for a place
// among the calls in flight (see WithMaxInFlight). Interceptors, retries and
// progress reports cost a goroutine for the call; without them there is none.
func (c *Client) Go(ctx context.Context, method string, args ...any) *Future {
	return c.start(ctx, method, args, nil)
}

// start is Go with a function that is called once, when the call has ended; it
// must not block.
func (c *Client) start(ctx context.Context, method string, args []any, ended func()) *Future {
	f := &Future{ctx: ctx, done: make(chan struct{})}
	finish := func() {
		close(f.done)
		if ended != nil {
			ended()
		}
	}
	if !c.session.plain() || c.set.progress != nil {
		go func() {
			defer finish()
			f.err = c.call(ctx, method, args, &f.raw)
		}()
		return f
	}
	k := c.session.newCall()
	k.ended = func() {
		finish()
		f.leaveContext()
	}
	if err := c.begin(ctx, k, method, args); err != nil {
		f.err = err
		finish()
		return f
	}
	f.call = k
	if ctx.Done() != nil {
		unhook := context.AfterFunc(ctx, func() { c.session.contextOver(ctx, k) })
		f.unhook.Store(&unhook)
		select {
		case <-f.done: // it may have ended before it could see unhook
			f.leaveContext()
		default:
		}
	}
	if k.placed != nil {
		select {
		case <-k.placed:
		case <-f.done:
		}
	}
	return f
}

func (f *Future) leaveContext() {
	if unhook := f.unhook.Load(); unhook != nil {
		(*unhook)()
	}
}

// Done is closed when the call has ended.
func (f *Future) Done() <-chan struct{} { return f.done }

// Result waits for the end of the call and decodes its result into v, a
// pointer, or drops it if v is nil. It may be called more than once and from
// several goroutines.
func (f *Future) Result(v any) error {
	<-f.done
	raw, err := f.raw, f.err
	if f.call != nil {
		raw = f.call.reply
		if f.call.err != nil {
			err = withCause(f.ctx, f.call.err)
		}
	}
	if err != nil || v == nil {
		return err
	}
	return decode(raw, v)
}
