package workersdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
)

// lender serves methods that borrow.
type lender struct {
	entered chan string
	open    chan struct{} // lets Gate return
	whole   chan bool     // Gate found its argument as it was
}

func newLender() *lender {
	return &lender{entered: make(chan string, 64), open: make(chan struct{}), whole: make(chan bool, 64)}
}

func (l *lender) Invert(b Borrowed) Borrowed {
	for i := range b {
		b[i] ^= 0xff
	}
	return b
}

func (l *lender) Part(b Borrowed, i, j int) Borrowed { return b[i:j] }
func (l *lender) Fail(b Borrowed) (Borrowed, error)  { return b, &lazy{b} }
func (l *lender) Panic(b Borrowed)                   { panic(&lazy{b}) }
func (l *lender) Goexit(Borrowed)                    { runtime.Goexit() }
func (l *lender) Larger(b Borrowed) Borrowed         { return append(b, b...) }
func (l *lender) Count(b Borrowed) map[string]int    { return map[string]int{"n": len(b)} }

// Gate waits for the test and then compares its argument, which is all of one byte.
func (l *lender) Gate(b Borrowed) Borrowed {
	l.entered <- "gate"
	<-l.open
	l.whole <- bytes.Equal(b, bytes.Repeat(b[:1], len(b)))
	return b
}

// lazy is an error that looks at what was borrowed only when it is asked.
type lazy struct{ about Borrowed }

func (e *lazy) Error() string { return fmt.Sprintf("%x", e.about[:10]) }

// pattern returns n bytes that tell one call from another.
func pattern(seed uint64, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(seed*31 + uint64(i)*(seed%7+1))
	}
	return b
}

func inverted(b []byte) []byte {
	c := make([]byte, len(b))
	for i := range b {
		c[i] = b[i] ^ 0xff
	}
	return c
}

var lentSizes = []int{10, 1000, smallRequest + 1, 15_000, buffer.Large, 20_000, 60_000, 65_536, 200_000}

// Many calls in flight through one link, some of which fail in every way: each
// result is what its own argument makes it.
func TestBorrowed_manyInFlight(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	const slots, calls = 48, 600
	start(t, b, newLender(), func(c *Config) { c.Concurrency = slots })
	p := b.worker()
	size := func(token uint64) int { return lentSizes[token%uint64(len(lentSizes))] }
	next := uint64(0)
	send := func() {
		next++
		arg := pattern(next, size(next))
		switch next % 16 {
		case 3:
			p.call(next, "fail", arg)
		case 5:
			p.call(next, "panic", arg)
		case 7:
			p.call(next, "goexit", arg)
		case 9:
			p.call(next, "larger", arg)
		case 11:
			p.call(next, "part", arg, 2, 5)
		default:
			p.call(next, "invert", arg)
		}
	}
	for range slots {
		send()
	}
	for range calls {
		e := p.next()
		if next < calls {
			send()
		}
		arg := pattern(e.ID, size(e.ID))
		switch e.ID % 16 {
		case 3:
			if f := message.ParseError(e.Body); f.Code != message.Application || f.Message != fmt.Sprintf("%x", arg[:10]) {
				t.Errorf("call %d ended in %v", e.ID, f)
			}
			continue
		case 5, 7:
			if f := message.ParseError(e.Body); f.Code != message.HandlerPanic {
				t.Errorf("call %d ended in %v", e.ID, f)
			}
			continue
		case 9:
			arg = append(arg, arg...)
		case 11:
			arg = arg[2:5]
		default:
			arg = inverted(arg)
		}
		var got []byte
		if err := msgpack.Unmarshal(e.Body, &got); err != nil || !bytes.Equal(got, arg) {
			t.Fatalf("call %d: %v of %d bytes is not its result, %v", e.ID, e.Kind, len(e.Body), err)
		}
	}
}

// A method that runs on after its call was given up still has its argument, whatever
// comes over the next link.
func TestBorrowed_fenced(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	l := newLender()
	start(t, b, l, func(c *Config) { c.Concurrency = 8 })
	p := b.worker()
	for i := range uint64(3) {
		p.call(1+i, "gate", bytes.Repeat([]byte{byte(1 + i)}, lentSizes[6-i]))
		receive(t, l.entered, "a method")
	}
	p.link.Close(nil)
	p = b.worker()
	p.want(message.KindCapacity, 5)
	invert := func(token uint64) {
		t.Helper()
		arg := pattern(token, lentSizes[token%uint64(len(lentSizes))])
		p.call(token, "invert", arg)
		if got := p.result(token); got != string(inverted(arg)) {
			t.Fatalf("call %d got another result", token)
		}
	}
	for token := range uint64(100) {
		invert(token + 1)
	}
	close(l.open)
	for range 3 {
		if !receive(t, l.whole, "the end of a method") {
			t.Error("the argument of a method that runs was changed")
		}
	}
	for range 3 {
		if e := p.next(); e.Kind != message.KindCapacity {
			t.Fatalf("got %v", e.Kind)
		}
	}
	for token := range uint64(20) {
		invert(token + 1)
	}
}

// What no broker has acknowledged is told to the next one, from where it lies.
func TestBorrowed_resultsSurviveARestart(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	b.mute = true
	w := start(t, b, newLender(), nil)
	p := b.worker()
	const calls = 60
	for token := uint64(1); token <= calls; token++ {
		p.call(token, "invert", pattern(token, lentSizes[token%uint64(len(lentSizes))]))
		p.want(message.KindResult, token)
	}
	b.kill()
	b = newScripted(t, b.addr, 2, nil)
	p = b.worker()
	for token := uint64(1); token <= calls; token++ {
		e := p.next()
		want := inverted(pattern(token, lentSizes[token%uint64(len(lentSizes))]))
		var got []byte
		if err := msgpack.Unmarshal(e.Body, &got); err != nil || e.Origin != origin(token) || !bytes.Equal(got, want) {
			t.Fatalf("got %v of %v, %v: not the result of %d", e.Kind, e.Origin, err, token)
		}
	}
	until(t, "all is acknowledged", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.kept.list) == 0 && w.kept.bytes == 0
	})
}

// Kept results count for all of the memory that they hold, and a small one does not
// hold that of a large call.
func TestBorrowed_keptIsBounded(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	b.mute = true
	w := start(t, b, newLender(), nil)
	p := b.worker()
	held := func() (total, large int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, o := range w.kept.list {
			if o.body.Memory == nil {
				continue
			}
			n := cap(o.body.Memory.Bytes)
			if total += n; n > 2*buffer.Large {
				large++
			}
			if n > 3*max(len(o.body.Bytes), smallRequest) {
				t.Errorf("a result of %d bytes holds %d", len(o.body.Bytes), n)
			}
		}
		if total != w.kept.bytes || total > maxKeptBytes {
			t.Errorf("%d bytes are held, %d counted, %d allowed", total, w.kept.bytes, maxKeptBytes)
		}
		return total, large
	}
	token := uint64(0)
	call := func(method string, args ...any) {
		token++
		p.call(token, method, args...)
		p.want(message.KindResult, token)
	}
	for range 8 {
		call("part", make([]byte, 200_000), 100, 120)
		call("part", make([]byte, 200_000), 100, 20_000)
		call("count", make([]byte, 200_000))
	}
	if total, large := held(); large > 0 {
		t.Errorf("small results of large calls hold %d bytes", total)
	}
	for range maxKeptBytes/200_000 + 20 {
		call("invert", make([]byte, 200_000))
	}
	if _, large := held(); large < maxKeptBytes/300_000 {
		t.Errorf("only %d results are kept", large)
	}
}

// Interceptors may do anything to a call whose result lies in its argument.
func TestBorrowed_interceptors(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	var around atomic.Pointer[Interceptor]
	start(t, b, newLender(), nil, WithInterceptor(func(ctx context.Context, call Call, next func(context.Context) error) error {
		return (*around.Load())(ctx, call, next)
	}))
	p := b.worker()
	arg := pattern(1, 60_000)
	token := uint64(0)
	for name, c := range map[string]struct {
		method string
		around Interceptor
		want   any // a result, or the code of an error
	}{
		"plain": {"invert", func(ctx context.Context, _ Call, next func(context.Context) error) error { return next(ctx) }, inverted(arg)},
		"fails after it": {"invert", func(ctx context.Context, _ Call, next func(context.Context) error) error {
			return errors.Join(next(ctx), Errorf("denied", "no"))
		}, message.Code("denied")},
		"panics after it": {"invert", func(ctx context.Context, _ Call, next func(context.Context) error) error { _ = next(ctx); panic("no") }, message.HandlerPanic},
		"ends after it": {"invert", func(ctx context.Context, _ Call, next func(context.Context) error) error {
			_ = next(ctx)
			runtime.Goexit()
			return nil
		}, message.HandlerPanic},
		"drops its error": {"fail", func(ctx context.Context, _ Call, next func(context.Context) error) error { _ = next(ctx); return nil }, nil},
		"drops its panic": {"panic", func(ctx context.Context, _ Call, next func(context.Context) error) error { _ = next(ctx); return nil }, nil},
		"runs it not":     {"invert", func(context.Context, Call, func(context.Context) error) error { return nil }, nil},
		"runs it twice": {"invert", func(ctx context.Context, _ Call, next func(context.Context) error) error {
			return errors.Join(next(ctx), next(ctx))
		}, message.Application},
		"runs it twice and drops the error": {"invert", func(ctx context.Context, _ Call, next func(context.Context) error) error {
			_, _ = next(ctx), next(ctx)
			return nil
		}, nil},
	} {
		for range 3 { // memory that was released twice would show in what follows
			token++
			around.Store(&c.around)
			p.call(token, c.method, arg)
			e := p.next()
			var got any
			if code, failed := c.want.(message.Code); failed {
				if f := message.ParseError(e.Body); e.Kind != message.KindError || f.Code != code {
					t.Errorf("%s: got %v %v", name, e.Kind, f)
				}
			} else if err := msgpack.Unmarshal(e.Body, &got); err != nil || e.Kind != message.KindResult || !equalBytes(got, c.want) {
				t.Errorf("%s: got %v %v", name, e.Kind, err)
			}
		}
	}
}

func equalBytes(got, want any) bool {
	a, _ := got.([]byte)
	b, _ := want.([]byte)
	return (got == nil) == (want == nil) && bytes.Equal(a, b)
}
