package clientsdk

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/clientsdk/internal/brokertest"
	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/workersdk"
)

var bufferSizes = []int{0, 1, 31, 32, 255, 256, 5000, buffer.Large - 4, buffer.Large - 3, buffer.Large, 65_535, 65_536, 300_000}

// content returns n bytes, text as well, that tell one call from another.
func content(seed, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(' ' + (seed*7+i+i>>8)%90)
	}
	return b
}

// One Buffer takes results of all sizes and kinds, by every way there is, each in
// place of the one before.
func TestBuffer_takesResults(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	b.Handle("items", func(c *brokertest.Call) {
		for i := range c.Args() {
			c.Part(uint64(i), c.Args()[i])
		}
		c.Result(nil)
	})
	pass := func(ctx context.Context, i *Invocation, next Next) (Raw, error) { return next(ctx, i) }
	for name, c := range map[string]*Client{"plain": dialBroker(t, b), "intercepted": dialBroker(t, b, WithInterceptors(pass))} {
		var one Buffer
		for i, size := range bufferSizes {
			want := content(i, size)
			for kind, arg := range map[string]any{"bin": want, "str": string(want), "nil": nil} {
				if kind == "nil" {
					want = nil
				} else {
					want = content(i, size)
				}
				if err := c.Go(t.Context(), "echo", arg).Result(&one); err != nil || !bytes.Equal(one.Bytes(), want) || (one.Bytes() == nil) != (want == nil) {
					t.Fatalf("%s: a %s of %d bytes comes as %d, %v", name, kind, size, len(one.Bytes()), err)
				}
				_ = append(one.Bytes(), "beyond its end"...)
				own, err := Call[Buffer](t.Context(), c, "echo", arg)
				if err != nil || !bytes.Equal(own.Bytes(), want) || !bytes.Equal(one.Bytes(), want) {
					t.Fatalf("%s: a %s of %d bytes is called as %d, %v", name, kind, size, len(own.Bytes()), err)
				}
				clear(own.Bytes())
				own.Release()
			}
		}
		inputs := [][]byte{content(1, 20), content(2, 100_000), content(3, 60_000)}
		got, err := Map[Buffer](t.Context(), c, "echo", slices.Values(inputs), 2)
		if err != nil || len(got) != len(inputs) {
			t.Fatalf("%s: %d results, %v", name, len(got), err)
		}
		n := 0
		for item, err := range Stream[Buffer](t.Context(), c, "items", inputs[0], inputs[1], inputs[2]) {
			if err != nil || !bytes.Equal(item.Bytes(), inputs[n]) || !bytes.Equal(got[n].Bytes(), inputs[n]) {
				t.Errorf("%s: item %d differs, %v", name, n, err)
			}
			item.Release()
			n++
		}
		if n != len(inputs) {
			t.Errorf("%s: %d items", name, n)
		}
	}
}

// What a Buffer does not take leaves it as it was, and the result to others.
func TestBuffer_refuses(t *testing.T) {
	c := dialBroker(t, startBroker(t, &brokertest.Broker{}))
	var b Buffer
	want := content(1, 50_000)
	if err := c.Go(t.Context(), "echo", want).Result(&b); err != nil {
		t.Fatal(err)
	}
	long := make([]int, 50_000)
	for name, arg := range map[string]any{"a number": 5, "a list": []int{1}, "a long list": long, "a map": map[string]int{"a": 1}, "a bool": true} {
		f := c.Go(t.Context(), "echo", arg)
		if err := f.Result(&b); !errors.Is(err, ErrMalformed) || NotExecuted(err) || MaybeExecuted(err) {
			t.Errorf("%s: got %v", name, err)
		}
		var v any
		if err := f.Result(&v); err != nil || v == nil {
			t.Errorf("%s: got %v, %v behind the Buffer", name, v, err)
		}
	}
	if err := c.Go(t.Context(), "no_such_method").Result(&b); err == nil {
		t.Error("an error is a result")
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Error("a failure took the result before it away")
	}
	for _, arg := range []any{b, &b} {
		if _, err := Call[any](t.Context(), c, "echo", arg); !errors.Is(err, ErrBadArgs) {
			t.Errorf("sent a Buffer: %v", err)
		}
	}
	b.Release()
	b.Release()
	if b.Bytes() != nil {
		t.Error("a released Buffer has bytes")
	}
	if err := c.Go(t.Context(), "echo", want).Result(&b); err != nil || !bytes.Equal(b.Bytes(), want) {
		t.Errorf("a released Buffer takes nothing: %v", err)
	}
}

// A future gives its result to one Buffer, and memory that somebody else has is never
// used again.
func TestBuffer_futures(t *testing.T) {
	pass := func(ctx context.Context, i *Invocation, next Next) (Raw, error) { return next(ctx, i) }
	b := startBroker(t, &brokertest.Broker{})
	for _, c := range []*Client{dialBroker(t, b), dialBroker(t, b, WithInterceptors(pass))} {
		for i, size := range bufferSizes {
			want := content(i, size)
			f := c.Go(t.Context(), "echo", want)
			var before, after []byte
			var first, second Buffer
			if err := f.Result(&before); err != nil {
				t.Fatal(err)
			}
			if err := f.Result(&first); err != nil || !bytes.Equal(first.Bytes(), want) {
				t.Fatalf("%d bytes behind a []byte: got %d, %v", size, len(first.Bytes()), err)
			}
			if err := f.Result(&second); !errors.Is(err, errMovedResult) || second.Bytes() != nil {
				t.Errorf("a second Buffer of %d bytes: got %d, %v", size, len(second.Bytes()), err)
			}
			if err := f.Result(&after); !errors.Is(err, errMovedResult) || after != nil {
				t.Errorf("a []byte behind a Buffer of %d bytes: got %d, %v", size, len(after), err)
			}
			if err := f.Result(nil); err != nil {
				t.Errorf("nothing behind a Buffer: got %v", err)
			}
			first.Release()
			for range 3 { // these would take the memory
				if err := c.Go(t.Context(), "echo", make([]byte, size)).Result(&second); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(before, want) {
				t.Errorf("a []byte of %d bytes was changed", size)
			}
		}
	}
}

// A result that an interceptor gives, and may give again, is not the caller's to change.
func TestBuffer_ofAnInterceptor(t *testing.T) {
	cached := Raw(message.Marshal(content(1, 100_000)))
	answer := func(context.Context, *Invocation, Next) (Raw, error) { return cached, nil }
	c := dialBroker(t, startBroker(t, &brokertest.Broker{}), WithInterceptors(answer))
	for range 2 {
		got, err := Call[Buffer](t.Context(), c, "echo")
		if err != nil || !bytes.Equal(got.Bytes(), content(1, 100_000)) {
			t.Fatalf("got %d bytes, %v", len(got.Bytes()), err)
		}
		clear(got.Bytes())
		got.Release()
	}
}

// Many calls in flight through one link, their results in few Buffers and in some
// []byte that are kept: each is that of its call.
func TestBuffer_manyInFlight(t *testing.T) {
	c := dialBroker(t, startBroker(t, &brokertest.Broker{}))
	var callers sync.WaitGroup
	for caller := range 8 {
		callers.Go(func() {
			var answer Buffer
			defer answer.Release()
			var futures []*Future
			var kept, wanted [][]byte
			arg := func(i int) []byte { return content(caller*1000+i, bufferSizes[(caller+i)%len(bufferSizes)]) }
			for i := range 60 {
				futures = append(futures, c.Go(t.Context(), "echo", arg(i)))
				if i < 5 {
					continue
				}
				done := i - 5
				if want := arg(done); done%10 == 0 {
					var b []byte
					if err := futures[done].Result(&b); err != nil {
						t.Error(err)
					}
					kept, wanted = append(kept, b), append(wanted, want)
				} else if err := futures[done].Result(&answer); err != nil || !bytes.Equal(answer.Bytes(), want) {
					t.Errorf("call %d of caller %d has another's result of %d bytes, %v", done, caller, len(answer.Bytes()), err)
				}
			}
			for i := range kept {
				if !bytes.Equal(kept[i], wanted[i]) {
					t.Errorf("a kept result of %d bytes was changed", len(kept[i]))
				}
			}
		})
	}
	callers.Wait()
}

// echoing borrows.
type echoing struct{}

func (echoing) Echo(b workersdk.Borrowed) workersdk.Borrowed { return b }

// A call through broker and worker, from the caller's bytes to his Buffer, allocates a
// small part of what it carries, and a small one little more than its future.
func TestBuffer_allocationBudget(t *testing.T) {
	if raceEnabled {
		t.Log("not measured: the race detector makes pools forget what they hold")
		return
	}
	c := dialSystem(t, echoing{})
	ctx := context.Background() // one that ends would cost an allocation
	var answer Buffer
	defer answer.Release()
	for _, row := range []struct {
		size   int
		budget uint64 // bytes a call
	}{{100, 480}, {500, 480}, {60_000, 6000}} {
		arg := content(1, row.size)
		calls := func(n int) (perCall uint64) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range n {
				if err := c.Go(ctx, "echo", arg).Result(&answer); err != nil || !bytes.Equal(answer.Bytes(), arg) {
					t.Fatalf("got %d bytes, %v", len(answer.Bytes()), err)
				}
			}
			runtime.ReadMemStats(&after)
			return (after.TotalAlloc - before.TotalAlloc) / uint64(n)
		}
		calls(2000) // until the outcomes that wait for their ACK have memory
		if perCall := calls(2000); perCall > row.budget {
			t.Errorf("a call of %d bytes allocates %d, the budget is %d", row.size, perCall, row.budget)
		} else {
			t.Logf("a call of %d bytes allocates %d", row.size, perCall)
		}
	}
}

// Only what fits, and what no link has to write any more, is written over.
func TestCall_reuse(t *testing.T) {
	for name, row := range map[string]struct {
		room, reply int
		held, want  bool
	}{
		"small":         {100, 100, false, true},
		"empty":         {100, 0, false, true},
		"too large":     {100, 2000, false, false},
		"wasteful":      {8000, 100, false, false},
		"on its way":    {100, 100, true, false},
		"worth sharing": {2 * buffer.Large, buffer.Large, false, false},
	} {
		c := &call{buf: buffer.Get(row.room)}
		request := c.buf
		request.Bytes = append(request.Bytes, "request"...)
		if row.held {
			request.Hold()
		}
		if got := c.reuse(content(1, row.reply)); got != row.want {
			t.Errorf("%s: reused: %v", name, got)
		}
		if row.want && (c.buf != nil || c.reply.Memory != request || !bytes.Equal(c.reply.Bytes, content(1, row.reply))) {
			t.Errorf("%s: the call holds %q", name, c.reply.Bytes)
		}
		if !row.want && (c.buf != request || string(request.Bytes) != "request") {
			t.Errorf("%s: the request is %q", name, request.Bytes)
		}
	}
}

// A future that was asked for its result, but not by a Buffer, keeps it in memory of its size.
func TestFuture_settles(t *testing.T) {
	c := dialBroker(t, startBroker(t, &brokertest.Broker{}))
	for _, into := range []any{nil, new([]byte), new(any), new(Raw)} {
		f := c.Go(t.Context(), "echo", content(1, 50))
		if err := f.Result(into); err != nil {
			t.Fatal(err)
		}
		var again []byte
		if f.call.reply.Memory != nil || cap(f.call.reply.Bytes) > 64 {
			t.Errorf("after a %T the future holds %d bytes", into, cap(f.call.reply.Bytes))
		} else if err := f.Result(&again); err != nil || !bytes.Equal(again, content(1, 50)) {
			t.Errorf("after a %T: got %q, %v", into, again, err)
		}
	}
}

// dialSystem connects a client to a whole system in this process: a broker and a
// worker that serves obj.
func dialSystem(t *testing.T, obj any) *Client {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	var cfg broker.Config
	cfg.Main.IP, cfg.Security.Insecure = "127.0.0.1", true
	b, err := broker.New(&cfg, broker.WithLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	w, err := workersdk.New(obj, workersdk.Config{Addr: "tcp://" + b.Backend().String(), Insecure: true, Log: quiet, Concurrency: 4})
	if err != nil {
		t.Fatal(err)
	}
	var serving, working sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	leave, left := context.WithCancel(ctx)
	serving.Go(func() { _ = b.Run(ctx) }) // both end by their contexts
	working.Go(func() { _ = w.Run(leave) })
	t.Cleanup(func() { left(); working.Wait(); stop(); serving.Wait() })
	c, err := Dial(t.Context(), "tcp://"+b.Frontend().String(), WithInsecure(), WithTimeout(20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(c) })
	return c
}
