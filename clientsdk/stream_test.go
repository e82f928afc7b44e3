package clientsdk

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/servicetools/servicetools/clientsdk/internal/brokertest"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// countTo streams 0 to n-1; n < 0 means without end.
func countTo(c *brokertest.Call) {
	n := c.Int(0)
	for i := int64(0); i != n; i++ {
		if !c.Part(uint64(i), i) {
			c.Fail(message.Errorf(message.Cancelled, "cancelled"))
			return
		}
	}
	c.Result(nil)
}

func TestStream_yieldsItemsInOrder(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	b.Handle("count", countTo)
	c := dialBroker(t, b)
	for _, n := range []int{0, 1, window, window + 1, 1000} {
		next := 0
		for v, err := range Stream[int](t.Context(), c, "count", n) {
			if err != nil || v != next {
				t.Fatalf("item %d is %d, %v", next, v, err)
			}
			next++
		}
		if next != n {
			t.Errorf("%d items came, want %d", next, n)
		}
	}
	items := 0
	for v, err := range Stream[int](t.Context(), c, "add", 1, 2) { // it does not stream
		if items++; v != 3 || err != nil {
			t.Errorf("got %d, %v", v, err)
		}
	}
	if items != 1 {
		t.Errorf("a plain result was yielded %d times", items)
	}
}

func TestStream_breakingTheLoopCancels(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	b.Handle("count", countTo)
	c := dialBroker(t, b)
	for v, err := range Stream[int](t.Context(), c, "count", -1) {
		if err != nil {
			t.Fatal(err)
		}
		if v == 100 {
			break
		}
	}
	b.WaitFor(message.KindCancel, 1)
	b.WaitAcked()
}

func TestStream_endsWithItsError(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	b.Handle("count", countTo)
	b.Handle("fail", func(c *brokertest.Call) {
		c.Part(0, 1)
		c.Part(1, "not a number")
		c.Fail(message.Errorf(message.Application, "no"))
	})
	c := dialBroker(t, b)
	last := func(ctx context.Context, method string, during func(n int)) (n int, last error) {
		for _, err := range Stream[int](ctx, c, method, -1) {
			if last != nil {
				t.Error("an error was not the last item")
			}
			if last = err; err == nil {
				n++
				during(n)
			}
		}
		return n, last
	}
	if n, err := last(t.Context(), "fail", func(int) {}); n != 1 || !errors.Is(err, ErrMalformed) {
		t.Errorf("an item of another type: %v after %d items", err, n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	n, err := last(ctx, "count", func(n int) {
		if n == 3 {
			cancel()
		}
	})
	if n != 3 || !errors.Is(err, ErrCancelled) || !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled stream: %v after %d items", err, n)
	}
	if _, err := last(t.Context(), "nothing", func(int) {}); !errors.Is(err, ErrNoSuchMethod) {
		t.Errorf("an unknown method: %v", err)
	}
}

// After a lost connection parts are neither lost nor given twice, and the
// window is told again.
func TestStream_goesOnAfterARestart(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	b.Handle("count", countTo)
	c := dialBroker(t, b)
	var got []int
	for v, err := range Stream[int](t.Context(), c.With(Idempotent()), "count", 200) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, v); v == 77 {
			b.Restart()
		}
	}
	if len(got) != 200 || !slices.IsSorted(got) {
		t.Errorf("%d items came: %v", len(got), got)
	}
}

// Large items are granted sooner than small ones: their bytes bound the window.
func TestStream_largeItemsAreGrantedOneByOne(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	const items = 10
	b.Handle("blobs", func(c *brokertest.Call) {
		for i := range uint64(items) {
			c.Part(i, make([]byte, grantBytes))
			b.Wait(func(seen []message.Envelope) bool { return brokertest.Count(seen, message.KindGrant) > int(i) })
		}
		c.Result(nil)
	})
	c := dialBroker(t, b)
	n := 0
	for _, err := range Stream[[]byte](t.Context(), c, "blobs") {
		if n++; err != nil {
			t.Fatal(err)
		}
	}
	if n != items {
		t.Errorf("%d items came, want %d", n, items)
	}
}

func TestStream_brokerThatBreaksTheWindowIsLeft(t *testing.T) {
	for name, sequence := range map[string]uint64{"beyond the window": window, "with a gap": 5} {
		t.Run(name, func(t *testing.T) {
			b := &brokertest.Broker{}
			b.Intercept = func(l *zmtp.Link, e *message.Envelope) bool {
				if e.Kind != message.KindCall || e.Flags&message.FlagStream == 0 || len(b.Seen(message.KindAttach)) > 1 {
					return false
				}
				number := e.ID
				_, _ = l.Append(func(dst []byte) []byte {
					for i := range uint64(window + 1) {
						if sequence == window || i == 0 || i >= sequence {
							part := message.Envelope{Kind: message.KindPart, ID: number, Sequence: i, Body: []byte{byte(i)}}
							dst = part.Append(dst)
						}
					}
					return dst
				})
				return true
			}
			startBroker(t, b)
			b.Handle("count", countTo)
			c := dialBroker(t, b)
			n := 0
			for v, err := range Stream[int](t.Context(), c, "count", 50) {
				if err != nil || v != n {
					t.Fatalf("item %d is %d, %v", n, v, err)
				}
				n++
			}
			if n != 50 || len(b.Seen(message.KindAttach)) != 2 {
				t.Errorf("%d items over %d links", n, len(b.Seen(message.KindAttach)))
			}
		})
	}
}

func TestStream_brokerThatSendsTooManyBytesIsLeft(t *testing.T) {
	b := &brokertest.Broker{}
	b.Intercept = func(l *zmtp.Link, e *message.Envelope) bool {
		if e.Kind != message.KindCall || len(b.Seen(message.KindAttach)) > 1 {
			return false
		}
		_, _ = l.Append(func(dst []byte) []byte {
			for i := range uint64(3) {
				part := message.Envelope{Kind: message.KindPart, ID: e.ID, Sequence: i}
				part.Body = message.Marshal(make([]byte, message.StreamBytes/2))
				dst = part.Append(dst)
			}
			return dst
		})
		return true
	}
	startBroker(t, b)
	b.Handle("blobs", func(c *brokertest.Call) {
		c.Part(0, []byte{})
		c.Part(1, []byte{})
		c.Part(2, []byte("behind"))
		c.Result(nil)
	})
	c := dialBroker(t, b)
	var sizes []int
	for v, err := range Stream[[]byte](t.Context(), c, "blobs") {
		if err != nil {
			t.Fatal(err)
		}
		b.WaitFor(message.KindAttach, 2)
		sizes = append(sizes, len(v))
	}
	if want := []int{message.StreamBytes / 2, message.StreamBytes / 2, len("behind")}; !slices.Equal(sizes, want) {
		t.Errorf("items of %d bytes, want %d", sizes, want)
	}
}

func TestProgress_isReportedToTheCaller(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	b.Handle("work", func(c *brokertest.Call) {
		for i := range 5 {
			c.Progress(float64(i), 4, "step")
		}
		c.Result("done")
	})
	c := dialBroker(t, b)
	var reports []Progress
	watched := c.With(OnProgress(func(p Progress) { reports = append(reports, p) }))
	mustCall(t, watched, "done", "work")
	if len(reports) == 0 || reports[len(reports)-1] != (Progress{4, 4, "step"}) {
		t.Errorf("reports %v", reports)
	}
	var v string
	if err := watched.Go(t.Context(), "work").Result(&v); err != nil || v != "done" {
		t.Errorf("a future with progress: %q, %v", v, err)
	}
}
