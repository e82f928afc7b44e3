package clientsdk

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/servicetools/servicetools/clientsdk/internal/brokertest"
	"github.com/servicetools/servicetools/wire/message"
)

// readsItself makes calls, one at a time, until their caller reads the outcome itself: wait is
// in the stack.
func readsItself(t *testing.T, c *Client) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; {
		by := make(chan string, 1)
		f := &Future{ctx: t.Context(), ended: func() { by <- string(debug.Stack()) }}
		c.start(f, "echo", []any{1}, false)
		if err := f.Result(nil); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(<-by, "(*Future).wait") {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the link is never lent")
		}
	}
}

// muteBroker starts a broker that has the method mute, which ends with the test.
func muteBroker(t *testing.T) *brokertest.Broker {
	t.Helper()
	b, over := &brokertest.Broker{}, make(chan struct{})
	b.Handle("mute", func(k *brokertest.Call) {
		<-over
		k.Result(nil)
	})
	startBroker(t, b)
	t.Cleanup(func() { close(over) })
	return b
}

// hasMute returns once the broker has seen n calls of mute.
func hasMute(b *brokertest.Broker, n int) {
	b.Wait(func(seen []message.Envelope) bool {
		came := 0
		for i := range seen {
			if seen[i].Kind == message.KindCall && string(seen[i].Method) == "mute" {
				came++
			}
		}
		return came >= n
	})
}

// Every wait ends as it does without lending, whatever ends it, on a link that nobody reads
// until then.
func TestWaits_everyOneEnds(t *testing.T) {
	for _, x := range []struct {
		name string
		do   func(t *testing.T, c *Client, b *brokertest.Broker)
	}{
		{"a call", func(t *testing.T, c *Client, _ *brokertest.Broker) { mustCall(t, c, 3, "add", 1, 2) }},
		{"a call whose context never ends", func(t *testing.T, c *Client, _ *brokertest.Broker) {
			if sum, err := Call[int](context.Background(), c, "add", 1, 2); err != nil || sum != 3 {
				t.Errorf("got %d, %v", sum, err)
			}
		}},
		{"a call is cancelled", func(t *testing.T, c *Client, b *brokertest.Broker) {
			ctx, cancel := context.WithCancel(t.Context())
			go func() { hasMute(b, 1); cancel() }()
			if _, err := Call[any](ctx, c, "mute"); !errors.Is(err, ErrCancelled) || !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		}},
		{"a future's context ends", func(t *testing.T, c *Client, b *brokertest.Broker) {
			ctx, cancel := context.WithCancel(t.Context())
			f := c.Go(ctx, "mute")
			go func() { hasMute(b, 1); cancel() }()
			if err := f.Result(nil); !errors.Is(err, ErrCancelled) {
				t.Errorf("got %v", err)
			}
		}},
		{"a deadline passes, of which the broker says nothing", func(t *testing.T, c *Client, _ *brokertest.Broker) {
			if _, err := Call[any](context.Background(), c.With(Timeout(20*time.Millisecond)), "mute"); !errors.Is(err, ErrDeadlineInHandler) {
				t.Errorf("got %v", err)
			}
			f := c.With(Timeout(20*time.Millisecond)).Go(context.Background(), "mute")
			if err := f.Result(nil); !errors.Is(err, ErrDeadlineInHandler) {
				t.Errorf("got %v", err)
			}
		}},
		{"the client is closed", func(t *testing.T, c *Client, b *brokertest.Broker) {
			go func() { hasMute(b, 1); closeNow(c) }()
			if _, err := Call[any](context.Background(), c, "mute"); !errors.Is(err, ErrCancelled) {
				t.Errorf("got %v", err)
			}
		}},
		{"the connection breaks", func(t *testing.T, c *Client, b *brokertest.Broker) {
			b.Handle("late", func(k *brokertest.Call) { b.Cut(); k.Result(3) })
			mustCall(t, c, 3, "late")
		}},
		{"the broker leaves, and is told again", func(t *testing.T, c *Client, b *brokertest.Broker) {
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				hasMute(b, 1)
				b.Leave(message.Errorf(message.ConnectionLost, "bye"))
				hasMute(b, 2)
				cancel()
			}()
			if _, err := Call[any](ctx, c, "mute"); !errors.Is(err, ErrCancelled) {
				t.Errorf("got %v", err)
			}
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := muteBroker(t)
			c := dialBroker(t, b)
			readsItself(t, c)
			x.do(t, c, b)
		})
	}
}

// One that reads reads for those that wait for a channel, a stream, progress and a map.
func TestWaits_othersWhileOneReads(t *testing.T) {
	b := muteBroker(t)
	b.Handle("parts", func(k *brokertest.Call) {
		for i := range 100 {
			k.Part(uint64(i), i)
		}
		k.Result(nil)
	})
	c := dialBroker(t, b)
	readsItself(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	held := c.Go(ctx, "mute")
	var reading, others sync.WaitGroup
	reading.Go(func() { _ = held.Result(nil) })
	hasMute(b, 1)
	others.Go(func() { <-c.Go(t.Context(), "add", 1, 2).Done() })
	others.Go(func() {
		n := 0
		for _, err := range Stream[int](t.Context(), c, "parts") {
			if err != nil {
				t.Error(err)
			}
			n++
		}
		if n != 100 {
			t.Errorf("%d parts came", n)
		}
	})
	others.Go(func() {
		if sum, err := Call[int](t.Context(), c.With(OnProgress(func(Progress) {})), "add", 1, 2); err != nil || sum != 3 {
			t.Errorf("got %d, %v", sum, err)
		}
	})
	others.Go(func() {
		if sums, err := Map[int](t.Context(), c, "add", slices.Values([]Args{{1, 2}, {3, 4}}), 1); err != nil || len(sums) != 2 {
			t.Errorf("got %v, %v", sums, err)
		}
	})
	others.Wait()
	cancel()
	reading.Wait()
}

// Who waits without reading is counted until the wait is over, so that somebody reads.
func TestWaits_areCounted(t *testing.T) {
	b := muteBroker(t)
	release := make(chan struct{})
	b.Handle("slow", func(k *brokertest.Call) {
		k.Part(0, 1)
		<-release
		k.Result(2)
	})
	c := dialBroker(t, b)
	counted := func(who string, want int) {
		t.Helper()
		if n := c.session.waits.count(); n != want {
			t.Errorf("%s: %d are counted, want %d", who, n, want)
		}
	}
	f := c.Go(t.Context(), "slow")
	counted("nobody", 0)
	f.Done()
	f.Done()
	counted("who may wait for a future", 1)
	for range Stream[int](t.Context(), c, "slow") {
		counted("who reads a stream", 2)
		close(release)
	}
	<-f.Done()
	counted("nobody any more", 0)
	for range MapEach[int](t.Context(), c, "add", slices.Values([]Args{{1, 2}}), 1) {
		counted("who feeds a map", 1)
	}
	counted("nobody after it", 0)
	ctx, cancel := context.WithCancel(t.Context())
	f = c.Go(ctx, "mute")
	f.Done()
	cancel()
	_ = f.Result(nil)
	if _, err := Call[any](ctx, c, "mute"); err == nil {
		t.Error("a call with a context that is over succeeds")
	}
	if _, err := Call[any](t.Context(), c.With(Timeout(20*time.Millisecond)), "mute"); !errors.Is(err, ErrDeadlineInHandler) {
		t.Errorf("got %v", err)
	}
	counted("nobody waits for what has ended here", 0)
	closeNow(c)
	counted("who leaves", 1)
}

// The outcomes of one goroutine's calls are read by it, one after the other.
func TestWaits_callsAreReadByTheirCaller(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	c := dialBroker(t, b)
	inARow := 0
	for end := time.Now().Add(10 * time.Second); inARow < 10; {
		by := make(chan string, 1)
		f := &Future{ctx: t.Context(), ended: func() { by <- string(debug.Stack()) }}
		c.start(f, "echo", []any{1}, false) // its outcome comes before that of the call
		mustCall(t, c, 3, "add", 1, 2)
		if inARow++; !strings.Contains(<-by, "readUntilDone") {
			inARow = 0
		}
		if time.Now().After(end) {
			t.Fatal("calls are not read by who waits for them")
		}
	}
}

func TestWaits_muchAtOnce(t *testing.T) {
	var w waits
	for _, x := range []struct {
		came int
		want bool
	}{{much - 1, false}, {much, true}, {1, false}} {
		w.came(x.came)
		if got := w.told().Crowd; got != x.want {
			t.Errorf("after %d outcomes: a crowd = %v, want %v", x.came, got, x.want)
		}
	}
}

// A call that is made when the broker has died, and nobody has read that, is no call that the
// broker may have run, whoever is about to read: the next one gets it as a new one.
func TestWaits_brokerDiesBetweenCalls(t *testing.T) {
	for _, x := range []struct {
		name string
		call func(c *Client, old *Future) error
	}{
		{"a call", func(c *Client, _ *Future) error {
			_, err := Call[int](context.Background(), c, "add", 1, 2)
			return err
		}},
		{"a map", func(c *Client, _ *Future) error {
			_, err := Map[int](context.Background(), c, "add", slices.Values([]Args{{1, 2}, {3, 4}}), 1)
			return err
		}},
		{"a call beside a channel", func(c *Client, old *Future) error {
			old.Done()
			_, err := Call[int](context.Background(), c, "add", 1, 2)
			return err
		}},
	} {
		for range 10 { // the link's own goroutine may read again before the call
			t.Run(x.name, func(t *testing.T) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // a goroutine that is started runs only when this one waits
				b := muteBroker(t)
				c := dialBroker(t, b)
				readsItself(t, c)
				old := c.Go(t.Context(), "mute")
				hasMute(b, 1)
				readsItself(t, c)
				before := len(b.Seen(message.KindCall))
				b.Restart()
				if err := x.call(c, old); err != nil {
					t.Error(err)
				}
				for _, e := range b.Seen(message.KindCall)[before:] {
					if string(e.Method) == "add" && e.Flags&message.FlagResubmit != 0 {
						t.Error("the call counts as handed to a broker that was dead")
					}
				}
			})
		}
	}
}
