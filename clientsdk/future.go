package clientsdk

import (
	"context"
	"sync/atomic"
)

// Future is a call under way.
type Future struct {
	ctx   context.Context
	over  gate
	ended func() // called once, must not block; nil = nobody asks

	// unhook takes f off its context; nil until it is on it.
	unhook atomic.Pointer[func() bool]

	taken bool  // call is under way or has ended
	call  call  // if taken
	raw   Raw   // the result, if not taken
	err   error // set before over is closed, if not taken
}

// Go starts a call and returns while it is under way. It waits only for a place
// among the calls in flight (see WithMaxInFlight). Interceptors, retries and
// progress reports cost a goroutine for the call; without them there is none.
func (c *Client) Go(ctx context.Context, method string, args ...any) *Future {
	f := &Future{ctx: ctx}
	c.start(f, method, args, ctx.Done() != nil)
	return f
}

// start makes the call of a new future. Without hook, the caller sees to it that
// the end of the context, if it comes later, ends the call.
func (c *Client) start(f *Future, method string, args []any, hook bool) {
	ctx := f.ctx
	if !c.session.plain() || c.set.progress != nil {
		go func() {
			defer f.finish()
			f.err = c.call(ctx, method, args, &f.raw)
		}()
		return
	}
	k := &f.call
	k.session, k.future = c.session, f
	if err := c.begin(ctx, k, method, args); err != nil {
		f.err = err
		f.finish()
		return
	}
	f.taken = true
	if hook {
		f.hook()
	} else if ctx.Err() != nil { // before the call was there to be ended
		k.session.contextOver(ctx, k)
	}
	if k.placed != nil {
		select {
		case <-k.placed:
		case <-f.Done():
		}
	}
}

// hook lets the context of f end the call.
func (f *Future) hook() {
	unhook := context.AfterFunc(f.ctx, func() { f.call.session.contextOver(f.ctx, &f.call) })
	f.unhook.Store(&unhook)
	if f.over.isClosed() { // it may have ended before it could see unhook
		f.leaveContext()
	}
}

// finish tells everybody that f has ended.
func (f *Future) finish() {
	f.over.close()
	if f.ended != nil {
		f.ended()
	}
	f.leaveContext()
}

func (f *Future) leaveContext() {
	if unhook := f.unhook.Load(); unhook != nil {
		(*unhook)()
	}
}

// Done is closed when the call has ended.
func (f *Future) Done() <-chan struct{} { return f.over.done() }

// Result waits for the end of the call and decodes its result into v, a
// pointer, or drops it if v is nil. It may be called more than once and from
// several goroutines; a []byte or Raw of 16 KiB or more is the same memory each
// time.
func (f *Future) Result(v any) error {
	<-f.Done()
	err := f.err
	if f.taken && f.call.err != nil {
		err = withCause(f.ctx, f.call.err)
	}
	switch {
	case err != nil || v == nil:
		return err
	case f.taken:
		reply := call{reply: f.call.reply}
		return reply.own(v)
	}
	return decode(f.raw, v)
}
