package clientsdk

import (
	"context"
	"errors"
	"time"

	"github.com/servicetools/servicetools/wire/message"
)

// Invocation is a call as interceptors see it.
type Invocation struct {
	Method string
	Args   []any // as the caller gave them, Kwargs among them
	Stream bool  // the call was made with Stream
}

// Next goes on with a call: to the next interceptor, and at last to the
// broker. Its result is one msgpack value; that of a stream is nil, and Next
// returns when the stream has ended.
type Next func(ctx context.Context, i *Invocation) (Raw, error)

// Interceptor surrounds calls, to log, measure, trace, or answer them itself.
// It may change a copy of the Invocation, and call next several times, but not
// for streams.
type Interceptor func(ctx context.Context, i *Invocation, next Next) (Raw, error)

// Retry says how calls are repeated whose method was not executed for a passing
// reason: queue_full, no_worker. Between two attempts passes what the broker asked for, or a jittered, doubling pause. The deadline of the
// context and the client's timeout hold for all attempts together. Streams are
// not repeated.
type Retry struct {
	Attempts int           // in all; 0 or 1 means no repetition
	First    time.Duration // pause before the second attempt, default 50 ms
	Most     time.Duration // longest pause, default 2 s; a broker's wish may exceed it
}

// plain reports whether calls go straight to the session.
func (s *session) plain() bool { return len(s.cfg.interceptors) == 0 && s.cfg.retry.Attempts < 2 }

// intercepted runs a call through the interceptors, with retries innermost.
func (c *Client) intercepted(ctx context.Context, i *Invocation) (Raw, error) {
	return c.chain(ctx, i, func(ctx context.Context, i *Invocation) (Raw, error) { return c.repeated(ctx, i) })
}

func (c *Client) chain(ctx context.Context, i *Invocation, last Next) (Raw, error) {
	next := last
	for at := len(c.session.cfg.interceptors) - 1; at >= 0; at-- {
		interceptor, inner := c.session.cfg.interceptors[at], next
		next = func(ctx context.Context, i *Invocation) (Raw, error) { return interceptor(ctx, i, inner) }
	}
	return next(ctx, i)
}

// repeated makes the attempts of one call.
func (c *Client) repeated(ctx context.Context, i *Invocation) (raw Raw, err error) {
	retry := c.session.cfg.retry
	if c.set.timeout > 0 && retry.Attempts > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.set.timeout)
		defer cancel()
	}
	for attempt := 1; ; attempt++ {
		err = c.once(ctx, i.Method, i.Args, &raw)
		if attempt >= retry.Attempts || !passing(err) || !retry.pause(ctx, attempt, err) {
			return raw, err
		}
	}
}

// passing reports whether err may be another one, or none, a moment later.
func passing(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Execution() == message.NotExecuted && (e.Code == message.QueueFull || e.Code == message.NoWorker)
}

// pause waits before the next attempt; false if ctx would end before that.
func (r Retry) pause(ctx context.Context, attempt int, err error) bool {
	first, most := r.First, r.Most
	if first <= 0 {
		first = 50 * time.Millisecond
	}
	if most <= 0 {
		most = 2 * time.Second
	}
	d := jitter(min(first<<min(attempt-1, 16), most))
	if asked, ok := RetryAfter(err); ok {
		d = max(d, asked)
	}
	if at, bounded := ctx.Deadline(); bounded && time.Until(at) <= d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
