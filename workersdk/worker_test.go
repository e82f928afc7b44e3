package workersdk

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// lab is what the tests serve. Its gate methods wait until the test opens them.
type lab struct {
	entered chan string   // a gate method has begun
	open    chan struct{} // lets gate methods return
	causes  chan error    // why a context ended
	runs    atomic.Int64
	enough  atomic.Bool // ends Spin
}

func newLab() *lab {
	return &lab{entered: make(chan string, 64), open: make(chan struct{}), causes: make(chan error, 64)}
}

func (l *lab) Add(_ context.Context, a, b int) (int, error) { return a + b, nil }
func (l *lab) Echo(v any) any                               { return v }
func (l *lab) Idempotent() []string                         { return []string{"add"} }

// Gate waits for the test and heeds nothing.
func (l *lab) Gate(name string) string {
	l.runs.Add(1)
	l.entered <- name
	<-l.open
	return name
}

// Wait waits for the end of its context.
func (l *lab) Wait(ctx context.Context) error {
	l.entered <- "wait"
	<-ctx.Done()
	l.causes <- context.Cause(ctx)
	return ctx.Err()
}

func (l *lab) Who(ctx context.Context) (Call, error) {
	c, ok := CallFrom(ctx)
	if !ok {
		return c, errors.New("no call")
	}
	return c, nil
}

func (l *lab) Fail(kind string) error {
	switch kind {
	case "own":
		return fmt.Errorf("locked: %w", Errorf("account_locked", "account %d", 7).With("id", 7).With("bad", make(chan int)))
	case "plain own":
		return Errorf("account_locked", "account %d", 7)
	case "forged":
		return message.Errorf(message.WorkerLost, "not true")
	case "bad code":
		return Errorf("Not A Code", "x")
	case "long":
		return errors.New(strings.Repeat("x", 1<<20))
	}
	return errors.New(kind)
}

func (l *lab) Panic(v string)     { panic(v) }
func (l *lab) Goexit()            { runtime.Goexit() }
func (l *lab) Large(n int) []byte { return make([]byte, n) }

// Spin never yields until the test says so.
func (l *lab) Spin() {
	l.entered <- "spin"
	for !l.enough.Load() {
	}
}
func (l *lab) Blobs(n, size int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := 0; i < n && yield(make([]byte, size)); i++ {
		}
	}
}
func (l *lab) Count(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := 0; i < n && yield(i); i++ {
		}
	}
}

func (l *lab) Report(ctx context.Context, n int) {
	for i := range n {
		Progress(ctx, i+1, n, "working")
	}
}

func TestWorker_registersAndAnswers(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	start(t, b, newLab(), nil)
	p := b.worker()
	if r := p.register; r.Worker != "w1" || r.Concurrency != 4 || r.Busy != 0 || r.PID == 0 || len(r.Methods) != 13 {
		t.Errorf("got %+v", r)
	}
	if m := p.register.Methods[0]; m.Name != "add" || !m.Idempotent || m.Aliases[0] != "Add" {
		t.Errorf("got %+v", m)
	}
	p.call(1, "add", 1, 2)
	if got := p.result(1); got != int64(3) {
		t.Errorf("got %v", got)
	}
	p.call(2, "Add", 1, 2)
	p.result(2)
	p.call(3, "no_add")
	if e := p.failure(3); e.Code != message.NoSuchMethod || !strings.Contains(e.Message, "add") {
		t.Errorf("got %v", e)
	}
	p.call(4, "add", 1)
	if e := p.failure(4); e.Code != message.BadArgs {
		t.Errorf("got %v", e)
	}
}

func TestWorker_errorsOfMethods(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	r := start(t, b, newLab(), nil)
	p := b.worker()
	for i, c := range []struct {
		method  string
		arg     any
		code    message.Code
		text    string
		details map[string]any
		ran     message.Execution
	}{
		{"fail", "boom", message.Application, "boom", nil, message.Executed},
		{"fail", "own", "account_locked", "locked: account_locked: account 7", map[string]any{"id": int8(7)}, message.Executed},
		{"fail", "plain own", "account_locked", "account 7", nil, message.Executed},
		{"fail", "forged", message.Application, "not true", map[string]any{"cause": "worker_lost"}, message.Executed},
		{"fail", "bad code", message.Application, "x", map[string]any{"cause": "Not A Code"}, message.Executed},
		{"fail", "long", message.Application, strings.Repeat("x", 100), nil, message.Executed},
		{"panic", "secret", message.HandlerPanic, "panic: panic: secret; the stack is in the log of worker w1", nil, message.Executed},
		{"large", 1 << 20, message.TooLarge, "exceeds the message limit", nil, message.MaybeExecuted},
	} {
		p.call(uint64(i+1), c.method, c.arg)
		e := p.failure(uint64(i + 1))
		if e.Code != c.code || !strings.Contains(e.Message, c.text) || e.Execution() != c.ran || len(e.Message) > 10000 {
			t.Errorf("%s %v: got %v (%v)", c.method, c.arg, e, e.Execution())
		}
		if fmt.Sprint(e.Details) != fmt.Sprint(c.details) {
			t.Errorf("%s %v: got details %v", c.method, c.arg, e.Details)
		}
	}
	// Every slot may be lost to Goexit, and the worker goes on.
	for i := range uint64(8) {
		p.call(100+i, "goexit")
		if e := p.failure(100 + i); e.Code != message.HandlerPanic || !strings.Contains(e.Message, "Goexit") {
			t.Errorf("got %v", e)
		}
	}
	if log := r.log.String(); !strings.Contains(log, "(*lab).Panic") || strings.Contains(log, strings.Repeat("x", 100)) {
		t.Errorf("the log lacks the stack, or has a payload:\n%s", log)
	}
}

func TestWorker_concurrencyIsANumber(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	l := newLab()
	start(t, b, l, nil)
	p := b.worker()
	for i := range uint64(4) {
		p.call(i+1, "gate", fmt.Sprint(i))
		receive(t, l.entered, "the method")
	}
	p.call(5, "gate", "too many") // the broker breaks the protocol
	p.closed()
	close(l.open)
	b.worker()
}

func TestWorker_callContext(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	start(t, b, newLab(), nil)
	p := b.worker()
	p.callWith(message.Envelope{ID: 77, Attempt: 2, Timeout: time.Hour}, "who")
	var c Call
	if err := msgpack.Unmarshal(p.want(message.KindResult, 77).Body, &c); err != nil {
		t.Fatal(err)
	}
	if c.Method != "who" || c.Attempt != 2 || c.Worker != "w1" || c.ID != "09000000000000000000000000000000-77" ||
		time.Until(c.Deadline) < 50*time.Minute {
		t.Errorf("got %+v", c)
	}
}

func TestWorker_cancelAndDeadline(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	l := newLab()
	start(t, b, l, nil)
	p := b.worker()

	p.call(1, "wait")
	receive(t, l.entered, "the method")
	p.send(message.Envelope{Kind: message.KindCancel, ID: 1})
	if e := p.failure(1); e.Code != message.Cancelled {
		t.Errorf("got %v", e)
	}
	if cause := <-l.causes; !errors.Is(cause, message.ErrCancelled) {
		t.Errorf("got cause %v", cause)
	}

	p.callWith(message.Envelope{ID: 2, Timeout: time.Millisecond}, "wait")
	if e := p.failure(2); e.Code == message.DeadlineInHandler {
		if cause := <-l.causes; !errors.Is(cause, message.ErrDeadlineInHandler) {
			t.Errorf("got cause %v", cause)
		}
	} else if e.Code != message.DeadlineInQueue { // it may pass before the method begins
		t.Errorf("got %v", e)
	}
}

// A slot is busy until its method has really returned, also after CANCEL.
func TestWorker_cancelIsAnsweredWhenTheMethodReturns(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	l := newLab()
	start(t, b, l, nil)
	p := b.worker()
	p.call(1, "gate", "x")
	receive(t, l.entered, "the method")
	p.send(message.Envelope{Kind: message.KindCancel, ID: 1})
	p.call(2, "add", 1, 1)
	p.result(2) // and nothing of 1 before it
	close(l.open)
	p.want(message.KindResult, 1)
}

// A call that waits for a goroutine is not run any more once it is cancelled or expired.
func TestPool_waitingCalls(t *testing.T) {
	leakCheck(t)
	l := newLab()
	w, err := New(l, Config{Addr: "tcp://127.0.0.1:1", Insecure: true, Concurrency: 1})
	if err != nil {
		t.Fatal(err)
	}
	m := w.table.Lookup([]byte("gate"))
	for name, c := range map[string]*call{
		"deadline_in_queue": {deadline: time.Now().Add(-time.Second)},
		"cancelled":         {cause: errCancel},
	} {
		c.worker, c.method, c.token = w, m, 5
		w.calls.Put(5, c)
		w.execute(c)
		o := w.kept.list[len(w.kept.list)-1]
		if e := message.ParseError(o.body.Bytes); string(e.Code) != name || e.Execution() != message.NotExecuted {
			t.Errorf("%s: got %v, %v", name, e, e.Execution())
		}
	}
	if n := l.runs.Load(); n != 0 {
		t.Errorf("the method ran %d times", n)
	}
}

func TestWorker_stream(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	start(t, b, newLab(), nil)
	p := b.worker()

	p.callWith(message.Envelope{ID: 1, Flags: message.FlagStream}, "count", 20)
	for i := range uint64(16) {
		if e := p.want(message.KindPart, 1); e.Sequence != i || e.Body[0] != byte(i) {
			t.Fatalf("got part %d %x, want %d", e.Sequence, e.Body, i)
		}
	}
	p.call(2, "add", 1, 1)
	p.result(2) // part 16 is not sent before it is granted
	p.send(message.Envelope{Kind: message.KindGrant, ID: 1, Sequence: 18})
	for i := uint64(16); i < 18; i++ {
		p.want(message.KindPart, 1)
	}
	p.send(message.Envelope{Kind: message.KindGrant, ID: 1, Sequence: 30})
	p.want(message.KindPart, 1)
	p.want(message.KindPart, 1)
	if e := p.want(message.KindResult, 1); len(e.Body) != 1 || e.Body[0] != 0xc0 {
		t.Errorf("a stream ends with %x, want nil", e.Body)
	}

	p.call(3, "count", 20) // a caller that takes no parts gets a list
	if list, ok := p.result(3).([]any); !ok || len(list) != 20 {
		t.Errorf("got %v", list)
	}

	p.callWith(message.Envelope{ID: 4, Flags: message.FlagStream}, "count", 1000)
	for range 16 {
		p.want(message.KindPart, 4)
	}
	p.send(message.Envelope{Kind: message.KindCancel, ID: 4})
	if e := p.failure(4); e.Code != message.Cancelled {
		t.Errorf("got %v", e)
	}
}

func TestWorker_progressIsLossy(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	start(t, b, newLab(), nil)
	p := b.worker()
	p.call(1, "report", 10000)
	var last []any
	reports := 0
	e := p.next()
	for ; e.Kind == message.KindProgress; e = p.next() {
		reports++
		last = nil
		if err := msgpack.Unmarshal(e.Body, &last); err != nil {
			t.Fatal(err)
		}
	}
	if e.Kind != message.KindResult || reports > 200 || len(last) != 3 || last[0] != 10000.0 || last[2] != "working" {
		t.Errorf("got %v after %d reports, the last %v", e.Kind, reports, last)
	}
	Progress(t.Context(), 1, 2, "outside of a call") // does nothing
}

// Methods that never yield must not make the worker look dead.
func TestWorker_busyIsNotSilent(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	b.beat = 200 * time.Millisecond
	l := newLab()
	start(t, b, l, func(c *Config) { c.Concurrency = 2 })
	p := b.worker()
	p.call(1, "spin")
	p.call(2, "spin")
	receive(t, l.entered, "a method")
	receive(t, l.entered, "a method")
	before := p.link.LastRead()
	until(t, "a sign of life while all methods spin", func() bool { return p.link.LastRead().After(before) })
	l.enough.Store(true)
	for range 2 {
		if e := p.next(); e.Kind != message.KindResult {
			t.Errorf("got %v", e.Kind)
		}
	}
}

func TestWorker_interceptors(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	var order []string
	trace := func(name string) Interceptor {
		return func(ctx context.Context, c Call, next func(context.Context) error) error {
			order = append(order, name)
			return next(ctx)
		}
	}
	guard := func(ctx context.Context, c Call, next func(context.Context) error) error {
		switch c.Method {
		case "gate":
			return message.Errorf(message.Unauthorized, "not today")
		case "large":
			return nil // without running it
		case "goexit":
			panic("in the interceptor")
		case "fail":
			if err := next(ctx); err == nil || err.Error() != "swallowed" {
				t.Errorf("the interceptor got %v", err)
			}
			return nil
		}
		return next(ctx)
	}
	start(t, b, newLab(), nil, WithInterceptor(trace("a")), WithInterceptor(trace("b")), WithInterceptor(guard))
	p := b.worker()
	p.call(1, "echo", "x")
	if got := p.result(1); got != "x" || strings.Join(order, "") != "ab" {
		t.Errorf("got %v in order %v", got, order)
	}
	p.call(2, "gate", "x")
	if e := p.failure(2); e.Code != message.Unauthorized {
		t.Errorf("got %v", e)
	}
	p.call(3, "large", 5)
	if got := p.result(3); got != nil {
		t.Errorf("got %v", got)
	}
	p.call(4, "goexit")
	if e := p.failure(4); e.Code != message.HandlerPanic {
		t.Errorf("got %v", e)
	}
	p.call(5, "fail", "swallowed")
	if got := p.result(5); got != nil {
		t.Errorf("got %v", got)
	}
}

func TestWorker_curve(t *testing.T) {
	leakCheck(t)
	server, own := curve.GenerateKey(), curve.GenerateKey()
	mechanism := &curve.Server{Key: server, Admit: func(key curve.PublicKey, _ zmtp.Metadata) (any, error) {
		if key != own.Public() {
			return nil, &zmtp.Refusal{Status: "400", Reason: "unknown key"}
		}
		return nil, nil
	}}
	b := newScripted(t, "127.0.0.1:0", 1, mechanism)
	start(t, b, newLab(), func(c *Config) { c.Insecure, c.Key, c.ServerKey = false, own, server.Public() })
	p := b.worker()
	p.call(1, "add", 20, 3)
	if got := p.result(1); got != int64(23) {
		t.Errorf("got %v", got)
	}
}

// The largest arguments and the largest result fit, whatever else is in the batch.
func TestWorker_largestBodies(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	start(t, b, newLab(), func(c *Config) { c.MaxMessage, c.Concurrency = 1<<20, 8 })
	p := b.worker()
	const most = 1<<20 - 5 // the bin's own head has 5 bytes
	p.call(1, "large", most)
	if e := p.want(message.KindResult, 1); len(e.Body) != 1<<20 {
		t.Errorf("got %d bytes", len(e.Body))
	}
	p.call(2, "large", most+1)
	if e := p.failure(2); e.Code != message.TooLarge {
		t.Errorf("got %v", e)
	}
	for i := range uint64(3) {
		p.call(3+i, "echo", strings.Repeat("x", 60<<10)) // several in one batch
	}
	p.call(6, "echo", make([]byte, 1<<20-100))
	for range 4 {
		if e := p.next(); e.Kind != message.KindResult {
			t.Errorf("got %v %q", e.Kind, e.Body)
		}
	}
}
