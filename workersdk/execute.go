package workersdk

import (
	"context"
	"runtime/debug"

	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/workersdk/method"
)

// Interceptor runs around the method of every call: it may look at the call,
// measure it, give the method another context, refuse the call or change its
// error. next runs the method, and has returned before the interceptor does. If
// it is not called, or its error is dropped, the caller gets nil as the result. A
// *Error that an interceptor makes itself goes to the caller under its own code,
// also one of the protocol's.
type Interceptor func(ctx context.Context, call Call, next func(context.Context) error) error

// execute runs c to its end, in a goroutine of the pool.
func (w *Worker) execute(c *call) {
	var failure *message.Error
	c.result = c.resultBuffer()
	returned := false
	defer func() {
		if v := recover(); v != nil { // in what is the method's all the same, such as the text of its error
			failure, returned = w.panicked(c, &method.PanicError{Value: v, Stack: debug.Stack()}), true
		}
		if !returned { // the method ended its goroutine
			failure = message.Errorf(message.HandlerPanic, "%s ended its goroutine with runtime.Goexit", c.method.Info().Name)
			w.log.Error("a method called runtime.Goexit", "method", c.method.Info().Name, "call", c.id())
		}
		c.body.Release()
		large := c.brief && len(c.result.Bytes) >= buffer.Large
		w.finish(c, c.result, failure)
		if large { // it is written by the one whose cache it is in
			w.flush()
		}
	}()
	if failure = w.begin(c); failure == nil {
		failure = w.invoke(c)
	}
	returned = true
}

// smallRequest is the largest request whose memory its result takes over, in bytes.
// A result is kept until the broker has acknowledged it: a small one must not hold
// the memory of a large request for so long.
const smallRequest = 1 << 10

// resultBuffer returns where the result goes: where a small request lies, which is
// decoded by then, since the pool of buffers is a tenth of what a small call costs.
// What a method borrows it looks at until its result is there: that gets memory when it
// needs some.
func (c *call) resultBuffer() buffer.Content {
	b := &c.body
	if b.Memory == nil || len(b.Bytes) > smallRequest || b.Memory.Shared() || c.method.ResultSize() > 0 || c.method.Borrows() || len(c.worker.interceptors) > 0 {
		return buffer.Content{}
	}
	memory := b.Memory
	b.Memory = nil
	return buffer.Content{Bytes: memory.Bytes[:0], Memory: memory}
}

// begin marks c as running, or says why it shall not run any more.
func (w *Worker) begin(c *call) *message.Error {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	if w.conn != nil && w.conn.pulse.missed(now) {
		w.conn.link.Close(errStopped)
		if !c.fenced { // else its token may be another call's by now
			w.removeLocked(c)
			w.strayLocked(c, errFenced)
		}
	}
	switch {
	case c.cause != nil:
		return errNotRun
	case !c.deadline.IsZero() && now.After(c.deadline):
		return errExpired
	case w.draining:
		return errDraining
	}
	c.running = true
	return nil
}

// invoke runs the method behind the interceptors and puts its value in c.result.
func (w *Worker) invoke(c *call) *message.Error {
	var ctx context.Context // made only for those who look at it
	if c.method.TakesContext() || c.stream || len(w.interceptors) > 0 {
		ctx = c.open()
		defer c.context.close()
	}
	var err error
	if len(w.interceptors) == 0 {
		err = c.call(ctx)
	} else {
		err = w.intercepted(ctx, c, c.call)
		if err == nil && len(c.result.Bytes) == 0 { // it has dropped the method or its error
			c.null()
		}
	}
	if err != nil {
		return w.coded(ctx, c, err)
	}
	return nil
}

// null makes nil the result.
func (c *call) null() {
	c.result.Release()
	memory := buffer.Get(0)
	memory.Bytes = append(memory.Bytes, 0xc0)
	c.result = buffer.Content{Bytes: memory.Bytes, Memory: memory}
}

// call runs the method and puts its value in c.result: nothing, if it failed.
func (c *call) call(ctx context.Context) error {
	var emit method.Emit
	if c.stream {
		emit = func(item []byte) error { return c.worker.emit(ctx, c, item) }
	}
	value, err := c.method.Call(ctx, &c.body, emit, &c.result, c.limit)
	c.result.Bytes = value
	return err
}

// intercepted runs the method behind all interceptors. A panic of one of them
// is the call's.
func (w *Worker) intercepted(ctx context.Context, c *call, run func(context.Context) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &method.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	info, next := c.describe(), run
	for i := len(w.interceptors) - 1; i >= 0; i-- {
		inner, interceptor := next, w.interceptors[i]
		next = func(ctx context.Context) error { return interceptor(ctx, info, inner) }
	}
	return next(ctx)
}
