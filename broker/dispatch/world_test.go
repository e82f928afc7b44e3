package dispatch_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/wire/message"
)

// world is a dispatcher with a clock of its own, clients and workers that
// remember what they were sent. Every step is followed by a Check.
type world struct {
	t       testing.TB
	d       *dispatch.Dispatcher
	now     time.Time
	clients map[string]*client
}

func newWorld(t testing.TB, limits dispatch.Limits) *world {
	w := &world{t: t, now: time.Unix(1000, 0), clients: make(map[string]*client)}
	w.d = dispatch.New(dispatch.Config{Now: func() time.Time { return w.now }, Seed: [32]byte{1}, Limits: limits})
	return w
}

// settled is a world in which the graces after the start are over.
func settled(t testing.TB, limits dispatch.Limits) *world {
	w := newWorld(t, limits)
	w.pass(time.Minute)
	return w
}

func (w *world) check() {
	w.t.Helper()
	if err := w.d.Check(); err != nil {
		w.t.Fatal(err)
	}
}

// pass lets time go by in Ticks of 10 ms, longer ones when it is much.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	step := max(10*time.Millisecond, d/100)
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(min(step, end.Sub(w.now)))
		w.d.Tick()
	}
	w.check()
}

// outcome is an end as a client saw it.
type outcome struct {
	number uint64
	tag    string
	result string
	err    *message.Error
}

func (o outcome) String() string {
	if o.err != nil {
		return fmt.Sprintf("%d:%s/%v", o.number, o.err.Code, o.err.Execution())
	}
	return fmt.Sprintf("%d=%s", o.number, o.result)
}

// client is a session with what its connections got.
type client struct {
	w        *world
	session  *dispatch.Session
	id       message.SessionID
	config   dispatch.ClientConfig
	sink     *clientSink
	number   uint64
	outcomes []outcome // over all connections
}

type clientSink struct {
	c        *client
	attached string
	parts    []string
	attempts []string
	progress []string
	closed   *message.Error
}

func (s *clientSink) Attached(resumed bool, last uint64) {
	s.attached = fmt.Sprintf("resumed=%v last=%d", resumed, last)
}

func (s *clientSink) Outcome(o *dispatch.Outcome) {
	out := outcome{number: o.Number, tag: string(o.Tag)}
	if o.Kind == message.KindError {
		out.err = message.ParseError(o.Body)
	} else {
		out.result = string(o.Body)
	}
	s.c.outcomes = append(s.c.outcomes, out)
}

func (s *clientSink) Part(number uint64, _ []byte, sequence uint64, body []byte) {
	s.parts = append(s.parts, fmt.Sprintf("%d.%d=%s", number, sequence, body))
}

func (s *clientSink) Progress(number uint64, _ []byte, body []byte) {
	s.progress = append(s.progress, fmt.Sprintf("%d=%s", number, body))
}

func (s *clientSink) Attempt(number uint64, attempt uint8) {
	s.attempts = append(s.attempts, fmt.Sprintf("%d/%d", number, attempt))
}

func (s *clientSink) Close(reason *message.Error) { s.closed = reason }

// client attaches a new client under a key.
func (w *world) client(key string) *client {
	c := &client{w: w, config: dispatch.ClientConfig{Key: key}}
	c.id[0], c.id[1] = byte(len(w.clients)+1), byte((len(w.clients)+1)>>8)
	w.clients[fmt.Sprint(len(w.clients))] = c
	c.attach(0)
	return c
}

// plain opens a plain peer's session.
func (w *world) plain(key string) *client {
	c := &client{w: w}
	c.sink = &clientSink{c: c}
	c.session = w.d.Open(dispatch.ClientConfig{Key: key, Sink: c.sink})
	return c
}

// attach connects, again perhaps, saying how many outcomes have been received.
func (c *client) attach(received int) *clientSink {
	c.w.t.Helper()
	c.sink = &clientSink{c: c}
	c.config.Sink = c.sink
	c.session = c.w.d.Attach(c.config, c.id, uint64(received))
	c.w.check()
	return c.sink
}

func (c *client) drop() {
	c.session.Detach(c.sink)
	c.w.check()
}

// call submits a call and returns its number.
func (c *client) call(method string, options ...func(*dispatch.Request)) uint64 {
	c.w.t.Helper()
	c.number++
	r := dispatch.Request{Number: c.number, Method: []byte(method), Body: []byte("body")}
	for _, o := range options {
		o(&r)
	}
	c.number = r.Number
	c.session.Submit(&r)
	c.w.check()
	return r.Number
}

func timeout(d time.Duration) func(*dispatch.Request) {
	return func(r *dispatch.Request) { r.Timeout = d }
}
func key(k string) func(*dispatch.Request)  { return func(r *dispatch.Request) { r.Key = []byte(k) } }
func body(b string) func(*dispatch.Request) { return func(r *dispatch.Request) { r.Body = []byte(b) } }
func number(n uint64) func(*dispatch.Request) {
	return func(r *dispatch.Request) { r.Number = n }
}
func priority(p message.Priority) func(*dispatch.Request) {
	return func(r *dispatch.Request) { r.Priority = p }
}
func idempotent(r *dispatch.Request) { r.Idempotent = true }
func stream(r *dispatch.Request)     { r.Stream = true }
func resubmit(r *dispatch.Request)   { r.Resubmit = true }

func (c *client) cancel(number uint64) {
	c.w.t.Helper()
	c.session.Cancel(number)
	c.w.check()
}

// got compares all outcomes so far, as "number=result" or "number:code/executed".
func (c *client) got(want ...string) {
	c.w.t.Helper()
	have := make([]string, len(c.outcomes))
	for i, o := range c.outcomes {
		have[i] = o.String()
	}
	if !slices.Equal(have, want) {
		c.w.t.Fatalf("outcomes %q, want %q", have, want)
	}
}

// last returns the latest error.
func (c *client) lastError() *message.Error {
	c.w.t.Helper()
	if len(c.outcomes) == 0 || c.outcomes[len(c.outcomes)-1].err == nil {
		c.w.t.Fatalf("the last of %v is not an error", c.outcomes)
	}
	return c.outcomes[len(c.outcomes)-1].err
}

// worker is a worker with what it was sent.
type worker struct {
	w       *world
	worker  *dispatch.Worker
	id      string
	calls   []dispatch.Assignment
	offset  uint64 // of the next call on the link
	sent    []string
	closed  *message.Error
	drained int
	ended   map[int]bool // of calls, those that were answered
}

func (s *worker) Registered(id string) { s.id = id }
func (s *worker) Assign(a *dispatch.Assignment) uint64 {
	s.calls = append(s.calls, *a)
	s.calls[len(s.calls)-1].Body = slices.Clone(a.Body)
	s.offset += 100
	return s.offset - 100
}
func (s *worker) Cancel(r dispatch.Ref) {
	s.sent = append(s.sent, fmt.Sprint("cancel ", r.Origin.Number))
}
func (s *worker) Grant(r dispatch.Ref, window uint64) {
	s.sent = append(s.sent, fmt.Sprintf("grant %d %d", r.Origin.Number, window))
}
func (s *worker) Ack(count uint64)            { s.sent = append(s.sent, fmt.Sprint("ack ", count)) }
func (s *worker) Drain()                      { s.sent = append(s.sent, "drain") }
func (s *worker) Drained()                    { s.drained++ }
func (s *worker) Close(reason *message.Error) { s.closed = reason }

// serve registers a worker; a method that ends in * is idempotent.
func (w *world) serve(concurrency int, methods ...string) *worker {
	w.t.Helper()
	r := &message.Register{Worker: "w", Host: "h", Concurrency: concurrency}
	for _, m := range methods {
		info := message.Method{Name: m}
		if m[len(m)-1] == '*' {
			info = message.Method{Name: m[:len(m)-1], Idempotent: true}
		}
		r.Methods = append(r.Methods, info)
	}
	return w.register(r)
}

func (w *world) register(r *message.Register) *worker {
	w.t.Helper()
	s := &worker{w: w, ended: make(map[int]bool)}
	var e *message.Error
	if s.worker, e = w.d.Register(dispatch.WorkerConfig{Register: r, Sink: s}); e != nil {
		w.t.Fatal(e)
	}
	w.check()
	return s
}

// has compares the calls that the worker was given, as "number/attempt".
func (s *worker) has(want ...string) {
	s.w.t.Helper()
	have := make([]string, len(s.calls))
	for i, a := range s.calls {
		have[i] = fmt.Sprintf("%d/%d", a.Origin.Number, a.Attempt)
	}
	if !slices.Equal(have, want) {
		s.w.t.Fatalf("calls %q, want %q", have, want)
	}
}

func (s *worker) ref(i int) dispatch.Ref { return dispatch.Ref{Token: s.calls[i].Token} }

// answer answers the i-th call that the worker was given.
func (s *worker) answer(i int, result string) {
	s.w.t.Helper()
	s.ended[i] = true
	s.worker.Outcome(s.ref(i), message.KindResult, []byte(result))
	s.w.check()
}

func (s *worker) fail(i int, code message.Code) {
	s.w.t.Helper()
	s.ended[i] = true
	s.worker.Outcome(s.ref(i), message.KindError, message.Errorf(code, "told so").Append(nil))
	s.w.check()
}

// open lists the calls that the worker has not answered.
func (s *worker) open() (indexes []int) {
	for i := range s.calls {
		if !s.ended[i] {
			indexes = append(indexes, i)
		}
	}
	return indexes
}

// lose ends the connection with all of it written, or up to an offset.
func (s *worker) lose() { s.loseAt(s.offset) }

func (s *worker) loseAt(handed uint64) {
	s.w.t.Helper()
	s.worker.Lost(handed, dispatch.Evidence{Reason: "EOF", LastSeen: s.w.now, Exit: "signal: killed", Stderr: []string{"boom"}})
	s.w.check()
}

// servePlain registers a plain worker.
func (w *world) servePlain() *worker {
	w.t.Helper()
	return w.register(nil)
}
