package clientsdk

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
)

// Future is a call under way. Once that has ended it holds the result, and what memory that
// came in, until it is asked for it, if only by Result(nil).
type Future struct {
	ctx   context.Context
	over  gate
	ended func() // called once, must not block; nil = nobody asks

	// unhook takes f off its context; nil until it is on it.
	unhook atomic.Pointer[func() bool]

	call  call       // if not taken, only its reply
	err   error      // set before over is closed, if not taken
	mu    sync.Mutex // for the reply, once over is closed
	taken bool       // call is under way or has ended
	moved bool       // a Buffer has the reply. Guarded by mu
}

var errMovedResult = errors.New("clientsdk: a Buffer has taken the result, which is there once")

// Go starts a call and returns while it is under way. It waits only for a place
// among the calls in flight (see WithMaxInFlight). Interceptors, retries and
// progress reports cost a goroutine for the call; without them there is none.
//
// A call that is started while others of this client are under way is sent when
// somebody waits for one of them (Done, Result), 32 KiB have gathered, or a
// millisecond has passed: calls that are started one after the other travel together.
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
		args := slices.Clone(args) // else those of any call would be on the heap
		go func() {
			defer f.finish()
			f.err = c.call(ctx, method, args, (*Raw)(&f.call.reply.Bytes))
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
	f.over.close(f.endWait)
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

// Done returns a channel that is closed when the call has ended. To ask for it counts as to
// wait until then, whoever receives from it; Result alone is cheaper.
func (f *Future) Done() <-chan struct{} {
	if f.taken && !f.over.isClosed() { // the caller is about to wait
		f.call.session.flush()
	}
	return f.done()
}

// done is Done without the flush.
func (f *Future) done() <-chan struct{} {
	s := f.call.session // nil if another goroutine makes the call, which counts itself
	if s == nil || f.over.asked() {
		c, _ := f.over.done()
		return c
	}
	s.beginWait()
	c, first := f.over.done()
	if !first {
		s.endWait()
	}
	return c
}

// endWait takes back what done counted: one, however many wait for f.
func (f *Future) endWait() {
	if s := f.call.session; s != nil {
		s.endWait()
	}
}

// wait returns when f has ended.
func (f *Future) wait() {
	if f.taken && !f.over.isClosed() {
		if link := f.call.session.flush(); link != nil {
			link.ReadUntil(nil, f.over.isClosed, f.done)
		}
	}
	<-f.done()
}

// Result waits for the end of the call and decodes its result into v, a
// pointer, or drops it if v is nil. It may be called more than once and from
// several goroutines; a []byte or Raw of 16 KiB or more is the same memory each
// time. A Buffer takes the result with it: whoever asks for it later gets an error.
func (f *Future) Result(v any) error {
	f.wait()
	err := f.err
	if f.taken && f.call.err != nil {
		err = withCause(f.ctx, f.call.err)
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case v == nil:
	case f.moved:
		return errMovedResult
	case f.taken:
		err = f.call.own(v)
	default:
		err = decode(f.call.reply.Bytes, v)
	}
	if _, moves := v.(*Buffer); moves && err == nil {
		f.call.reply.Release() // a copy was enough for the Buffer
		f.moved = true
	}
	f.call.settle()
	return err
}
