package clientsdk

import (
	"context"
	"slices"
	"time"

	"github.com/servicetools/servicetools/wire/message"
)

// Client calls methods through one session with a broker. It is safe for
// concurrent use. A Client made by With shares the session.
type Client struct {
	session *session
	set     settings
	invalid *Error // of the options given to With; every call returns it
}

// Dial connects to a broker and returns when the connection is up. addrs is one
// or more "tcp://host:port", separated by commas, that are tried in turn, now
// and whenever the connection is lost or its broker stops; such brokers share no
// state.
//
// When none of them can be used Dial fails at once with a *StepError that says
// which step failed, and what to do; with several addresses, with all of
// theirs. ctx bounds Dial only, each address has 10 seconds at most.
func Dial(ctx context.Context, addrs string, opts ...Option) (*Client, error) {
	cfg, err := newConfig(addrs, opts)
	if err != nil {
		return nil, err
	}
	dial, err := cfg.dialer()
	if err != nil {
		return nil, err
	}
	s := newSession(cfg, dial)
	go s.run()
	if !cfg.lazy {
		if err := s.first(ctx); err != nil {
			s.stop(err)
			<-s.ended
			return nil, err
		}
	}
	return &Client{session: s, set: cfg.call}, nil
}

// With returns a Client whose calls have further options. It shares the
// connection, costs one small allocation, and needs no Close of its own.
//
//	sum, err := clientsdk.Call[int](ctx, c.With(clientsdk.Idempotent()), "add", 1, 2)
func (c *Client) With(opts ...CallOption) *Client {
	d := *c
	if err := d.set.apply(opts); err != nil {
		d.invalid = message.Errorf(message.BadArgs, "%v", err)
	}
	return &d
}

// Close waits until nothing is in flight or ctx ends, cancels what then is
// left, and takes leave of the broker, which takes at most a second more. No
// new calls are taken from the moment it is called. It returns ctx's error if
// calls had to be cancelled. Close may be called more than once.
func (c *Client) Close(ctx context.Context) error { return c.session.close(ctx) }

// BrokerInfo is what a broker told about itself.
type BrokerInfo struct {
	Addr       string        // the address in use, or last used
	Instance   string        // changes with each start of the broker; 32 hexadecimal digits
	Version    string        // of the broker; may be empty
	Beat       time.Duration // interval of heartbeats; the link ends after three silent ones
	MaxMessage int           // bytes of one message; 0 = not told
	MaxCalls   int           // calls in flight for this client's key; 0 = not told
}

// Broker returns what the broker told when the present or last connection was
// made. It is zero before the first one.
func (c *Client) Broker() BrokerInfo {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	return c.session.broker
}

// Call calls a method and decodes its result into a T. An argument of type
// Kwargs gives the named arguments; all others are positional and may be
// whatever msgpack carries: numbers, strings, []byte, time.Time, slices, maps,
// structs (fields named by their msgpack or json tags), or Raw. Use
// struct{} or any as T where the result does not matter.
//
// Call returns at the latest shortly after the deadline of ctx or the client's
// timeout. When ctx is cancelled it tells the broker and returns, within 10 ms, with
// ErrCancelled, which then is context.Canceled too. A lost connection does not
// end a call, nor does a broker that is stopped: within its deadline the call
// waits until that broker is back, or another address is. Errors of the call
// itself are *Error.
func Call[T any](ctx context.Context, c *Client, method string, args ...any) (T, error) {
	var v T
	err := c.call(ctx, method, args, &v)
	return v, err
}

func (c *Client) call(ctx context.Context, method string, args []any, into any) error {
	if c.session.plain() {
		return c.once(ctx, method, args, into)
	}
	raw, err := c.intercepted(ctx, &Invocation{Method: method, Args: slices.Clone(args)}) // else args of any call would be on the heap
	if err != nil {
		return err
	}
	return decode(raw, into)
}

// once makes one call without interceptors or retries.
func (c *Client) once(ctx context.Context, method string, args []any, into any) error {
	s := c.session
	k := s.newCall()
	if c.set.progress != nil {
		k.inbox = newInbox(false, true)
	}
	if err := c.begin(ctx, k, method, args); err != nil {
		s.release(k)
		return err
	}
	err := c.wait(ctx, k)
	if err == nil {
		err = k.own(into)
	}
	s.release(k)
	return err
}

// begin encodes a call and starts it.
func (c *Client) begin(ctx context.Context, k *call, method string, args []any) error {
	if c.invalid != nil {
		return c.invalid
	}
	if ctx.Err() != nil {
		return withCause(ctx, cancelledEarly(ctx))
	}
	stream := k.inbox != nil && k.inbox.stream
	if e := k.prepare(method, &c.set, args); e != nil {
		return e
	}
	if stream {
		k.flags |= message.FlagStream
	}
	timeout := c.deadline(ctx, k)
	if e := c.session.start(k, timeout); e != nil {
		return e
	}
	return nil
}

// cancelledEarly is the outcome of a call whose context ended before it began.
func cancelledEarly(ctx context.Context) *Error {
	if ctx.Err() == context.DeadlineExceeded {
		return message.Errorf(message.DeadlineInQueue, "the deadline had passed before the call was made")
	}
	return message.Errorf(message.Cancelled, "the call was cancelled before it was made").WithExecution(message.NotExecuted)
}

// deadline sets k.deadline to the nearer of ctx's and the timeout's, and
// returns what is left until then, 0 for none.
func (c *Client) deadline(ctx context.Context, k *call) (left time.Duration) {
	k.deadline = 0
	at, bounded := ctx.Deadline()
	if !bounded && c.set.timeout == 0 {
		return 0
	}
	now := c.session.age()
	left = at.Sub(c.session.began) - now
	if !bounded || c.set.timeout > 0 && c.set.timeout < left {
		left = c.set.timeout
	}
	k.deadline = max(now+left, 1)
	return left
}

// wait returns when k has ended, and its error.
func (c *Client) wait(ctx context.Context, k *call) error {
	var news <-chan struct{}
	if k.inbox != nil {
		news = k.inbox.news
	}
	if news == nil && k.readUntilDone(ctx) {
		return k.failure(ctx)
	}
	if !k.over.Load() {
		k.session.reclaim()
	}
	over := ctx.Done()
	if over == nil && news == nil { // half of what the select costs
		<-k.done
		return k.failure(ctx)
	}
	for {
		select {
		case <-k.done:
			c.reportProgress(k)
			return k.failure(ctx)
		case <-news:
			c.reportProgress(k)
		case <-over:
			c.session.contextOver(ctx, k)
			over, news = nil, nil
		}
	}
}

// failure returns the error of k, which has ended, or nil.
func (k *call) failure(ctx context.Context) error {
	if k.err == nil {
		return nil
	}
	return withCause(ctx, k.err)
}

// reportProgress gives the last progress to the caller, if that is new.
func (c *Client) reportProgress(k *call) {
	if k.inbox == nil {
		return
	}
	if p, fresh := c.session.report(k.inbox); fresh {
		c.set.progress(p)
	}
}

// contextOver ends k for the end of ctx.
func (s *session) contextOver(ctx context.Context, k *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.contextOverLocked(ctx, k)
	s.promoteLocked()
}

// contextsOver ends the calls of all futures of ctx, which has ended.
func (s *session) contextsOver(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for next := s.waiting.first; next != nil; {
		k := next
		next = k.next
		if k.future != nil && k.future.ctx == ctx {
			s.contextOverLocked(ctx, k)
		}
	}
	for _, k := range s.calls.All() {
		if k.future != nil && k.future.ctx == ctx {
			s.contextOverLocked(ctx, k)
		}
	}
	s.promoteLocked()
}

// contextOverLocked ends k for the end of ctx. A deadline is the alarm's part,
// which gives the broker a last moment to say what it knows.
func (s *session) contextOverLocked(ctx context.Context, k *call) {
	if ctx.Err() == context.DeadlineExceeded && k.deadline > 0 && s.age() >= k.deadline {
		return
	}
	s.cancelLocked(k, "the caller cancelled the call")
}
