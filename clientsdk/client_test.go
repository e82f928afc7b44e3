package clientsdk

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/servicetools/servicetools/clientsdk/internal/brokertest"
	"github.com/servicetools/servicetools/wire/message"
)

func TestCall_carriesValues(t *testing.T) {
	c := dialBroker(t, startBroker(t, &brokertest.Broker{}))
	mustCall(t, c, 3, "add", 1, 2)
	mustCall(t, c, "text", "echo", "text")
	mustCall(t, c, -1, "echo", int64(-1))
	mustCall(t, c, uint64(1<<63), "echo", uint64(1<<63))
	mustCall(t, c, 2.5, "echo", 2.5)
	mustCall(t, c, true, "echo", true)
	mustCall(t, c, struct{}{}, "echo", "any result will do")
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	if got, err := Call[time.Time](t.Context(), c, "echo", at); err != nil || !got.Equal(at) {
		t.Errorf("a time came back as %v, %v", got, err)
	}
	type point struct {
		X int `json:"x"`
		Y int `msgpack:"y"`
	}
	mustCall(t, c, point{1, 2}, "echo", point{1, 2})
	for _, size := range []int{0, 100, 60_000, 3 << 20} {
		want := bytes.Repeat([]byte{7}, size)
		if got, err := Call[[]byte](t.Context(), c, "echo", want); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes came back changed: %v", size, err)
		}
	}
	raw, err := Call[Raw](t.Context(), c, "echo", Raw{0x93, 1, 2, 3})
	if err != nil || !bytes.Equal(raw, []byte{0x93, 1, 2, 3}) {
		t.Errorf("a raw value came back as %x, %v", raw, err)
	}
	v, err := Call[any](t.Context(), c, "echo", map[string]any{"a": []int{1}, "b": nil})
	if m, ok := v.(map[string]any); !ok || err != nil || m["a"].([]any)[0] != int64(1) {
		t.Errorf("a map came back as %#v, %v", v, err)
	}
	v, err = Call[any](t.Context(), c, "echo", map[int]string{1: "one"})
	if m, ok := v.(map[any]any); !ok || err != nil || m[int64(1)] != "one" {
		t.Errorf("a map with numbers as keys came back as %#v, %v", v, err)
	}
}

func TestCall_encodesKwargsAndOptions(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	c := dialBroker(t, b)
	mustCall(t, c.With(Idempotent(), IdempotencyKey("k1"), WithPriority(PriorityHigh), Timeout(time.Minute)),
		"x", "echo", "x", Kwargs{"b": 2, "a": 1})
	e := b.Seen(message.KindCall)[0]
	args, kwargs, _ := message.SplitBody(e.Body)
	if !bytes.Equal(args, []byte{0x91, 0xa1, 'x'}) || !bytes.Equal(kwargs, []byte{0x82, 0xa1, 'a', 1, 0xa1, 'b', 2}) {
		t.Errorf("args %x, kwargs %x", args, kwargs)
	}
	if e.Flags != message.FlagIdempotent || string(e.Key) != "k1" || e.Priority != PriorityHigh ||
		e.Timeout > time.Minute || e.Timeout < 50*time.Second || e.ID != 1 {
		t.Errorf("the options came as %+v", e)
	}
}

func TestCall_refusesWhatCannotBeSent(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{MaxMessage: 1 << 20})
	c := dialBroker(t, b)
	for _, test := range []struct {
		name   string
		c      *Client
		method string
		args   []any
		want   error
	}{
		{"no method", c, "", nil, ErrMalformed},
		{"a method with a space", c, "a b", nil, ErrMalformed},
		{"a method name of 256 bytes", c, strings.Repeat("m", 256), nil, ErrMalformed},
		{"a channel", c, "echo", []any{make(chan int)}, ErrBadArgs},
		{"two Kwargs", c, "echo", []any{Kwargs{}, Kwargs{}}, ErrBadArgs},
		{"raw bytes that are no value", c, "echo", []any{Raw{0x92, 1}}, ErrBadArgs},
		{"too many bytes", c, "echo", []any{make([]byte, 1<<20)}, ErrTooLarge},
		{"an idempotency key of 256 bytes", c.With(IdempotencyKey(strings.Repeat("k", 256))), "echo", nil, ErrBadArgs},
		{"an unknown method", c, "ecko", nil, ErrNoSuchMethod},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Call[any](t.Context(), test.c, test.method, test.args...)
			if !errors.Is(err, test.want) || !NotExecuted(err) {
				t.Errorf("got %v, want %v, not executed", err, test.want)
			}
		})
	}
	mustCall(t, c, 3, "add", 1, 2)
	_, err := Call[int](t.Context(), c, "echo", "text")
	if !errors.Is(err, ErrMalformed) || !Executed(err) || !strings.Contains(err.Error(), "int") {
		t.Errorf("a result of another type gives %v", err)
	}
}

func TestCall_errorsKeepTheirCodeAndDetails(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	b.Handle("full", func(c *brokertest.Call) {
		c.Fail(message.Errorf(message.QueueFull, "10000 calls are queued; retry later").With("retry_after_ms", 250))
	})
	c := dialBroker(t, b)
	_, err := Call[any](t.Context(), c, "full")
	if after, ok := RetryAfter(err); !errors.Is(err, ErrQueueFull) || !NotExecuted(err) || !ok || after != 250*time.Millisecond {
		t.Errorf("got %v, retry after %v", err, after)
	}
	if MaybeExecuted(nil) || NotExecuted(nil) || !MaybeExecuted(errors.New("x")) {
		t.Error("the classes of errors that are not ours are wrong")
	}
}

func TestCall_manyAtOnceKeepTheirAnswers(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	c := dialBroker(t, b)
	var callers sync.WaitGroup
	for i := range 64 {
		callers.Go(func() {
			for j := range 200 {
				want := i*1000 + j
				if got, err := Call[int](t.Context(), c, "echo", want); err != nil || got != want {
					t.Errorf("echo(%d) = %d, %v", want, got, err)
					return
				}
			}
		})
	}
	callers.Wait()
	b.WaitAcked()
	calls := b.Seen(message.KindCall)
	if !slices.IsSortedFunc(calls, func(a, b message.Envelope) int { return int(a.ID) - int(b.ID) }) || calls[0].ID != 1 {
		t.Error("the numbers of calls do not ascend in the stream")
	}
}

func TestCall_cancelReturnsAtOnceAndTellsTheBroker(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	c := dialBroker(t, b)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		b.WaitFor(message.KindCall, 1)
		cancel()
	}()
	_, err := Call[any](ctx, c, "hang")
	if !errors.Is(err, context.Canceled) || !errors.Is(err, ErrCancelled) || !MaybeExecuted(err) {
		t.Errorf("got %v", err)
	}
	b.WaitFor(message.KindCancel, 1)
	b.WaitAcked() // the outcome that nobody waits for counts too
	if _, err = Call[any](ctx, c, "hang"); !errors.Is(err, context.Canceled) || !NotExecuted(err) {
		t.Errorf("a call with a cancelled context gives %v", err)
	}
}

func TestCall_waitsForAPlace(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{MaxCalls: 2})
	release := make(chan struct{})
	b.Handle("slow", func(c *brokertest.Call) {
		<-release
		c.Result("slow")
	})
	c := dialBroker(t, b, WithMaxInFlight(5, 0))
	var futures []*Future
	for range 2 {
		futures = append(futures, c.Go(t.Context(), "slow"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	refused := make(chan error, 1)
	go func() {
		_, err := Call[any](ctx, c, "slow")
		refused <- err
	}()
	cancel()
	if err := <-refused; !errors.Is(err, ErrCancelled) || !NotExecuted(err) {
		t.Errorf("a call that waited for a place ends with %v", err)
	}
	third := make(chan *Future)
	go func() { third <- c.Go(t.Context(), "slow") }()
	select {
	case <-third:
		t.Error("a third call was under way at once, the broker takes 2")
	case release <- struct{}{}:
	}
	close(release)
	futures = append(futures, <-third)
	for _, f := range futures {
		var v string
		if err := f.Result(&v); err != nil || v != "slow" {
			t.Errorf("got %q, %v", v, err)
		}
	}
}

func TestClient_closeWaitsThenCancels(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	release := make(chan struct{})
	b.Handle("slow", func(c *brokertest.Call) {
		<-release
		c.Result("done")
	})
	c := dialBroker(t, b)
	slow := c.Go(t.Context(), "slow")
	closed := make(chan error)
	go func() { closed <- c.Close(t.Context()) }()
	close(release)
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
	if err := slow.Result(nil); err != nil {
		t.Errorf("a call in flight ended with %v", err)
	}
	if _, err := Call[any](t.Context(), c, "echo", 1); !errors.Is(err, ErrShuttingDown) || !NotExecuted(err) {
		t.Errorf("a call after Close ends with %v", err)
	}
	b.WaitFor(message.KindBye, 1)

	d := dialBroker(t, b)
	hang := d.Go(t.Context(), "hang")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("close with an ended context: %v", err)
	}
	if err := hang.Result(nil); !errors.Is(err, ErrCancelled) || !MaybeExecuted(err) {
		t.Errorf("a call in flight ended with %v", err)
	}
}

func TestCall_anyHasWideNumbers(t *testing.T) {
	c := dialBroker(t, startBroker(t, &brokertest.Broker{}))
	for _, test := range []struct{ in, want any }{
		{nil, nil}, {true, true}, {1, int64(1)}, {-1, int64(-1)}, {200, int64(200)}, {-200, int64(-200)},
		{1 << 20, int64(1 << 20)}, {1 << 40, int64(1 << 40)}, {uint64(1 << 63), uint64(1 << 63)},
		{float32(1.5), 1.5}, {"s", "s"}, {[]byte{1}, []byte{1}}, {[]any{1, 300, nil}, []any{int64(1), int64(300), nil}},
		{map[string]any{"k": []any{7}}, map[string]any{"k": []any{int64(7)}}}, {map[int]int{300: 1}, map[any]any{int64(300): int64(1)}},
	} {
		got, err := Call[any](t.Context(), c, "echo", test.in)
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%#v came back as %#v, %v", test.in, got, err)
		}
	}
}

// TestCall_largeBytesAreTheCallers changes large results of every kind, and calls
// again and again: nobody sees what another has done with his.
func TestCall_largeBytesAreTheCallers(t *testing.T) {
	c := dialBroker(t, startBroker(t, &brokertest.Broker{}))
	for _, size := range []int{0, 1, 255, 256, 16<<10 - 10, 16 << 10, 65535, 65536, 1 << 20} {
		want := bytes.Repeat([]byte{byte(size >> 4), 7}, size/2+1)[:size]
		for range 4 {
			got, err := Call[[]byte](t.Context(), c, "echo", want)
			if err != nil || got == nil || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes come back as %d, %v", size, len(got), err)
			}
			clear(got)
			_ = append(got, "more"...)
			raw, err := Call[Raw](t.Context(), c, "echo", want)
			if err != nil || !bytes.HasSuffix(raw, want) {
				t.Fatalf("%d bytes come back as a Raw of %d, %v", size, len(raw), err)
			}
			clear(raw)
			f := c.Go(t.Context(), "echo", want)
			for range 2 {
				var v []byte
				if err := f.Result(&v); err != nil || !bytes.Equal(v, want) {
					t.Fatalf("a future of %d bytes has %d, %v", size, len(v), err)
				}
				var a any
				if err := f.Result(&a); err != nil || !bytes.Equal(a.([]byte), want) {
					t.Fatalf("a future of %d bytes has %T, %v", size, a, err)
				}
			}
		}
	}
}
