package clientsdk

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/servicetools/servicetools/clientsdk/internal/brokertest"
	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// inBubble runs story with a broker and a client on one fake clock.
func inBubble(t *testing.T, b *brokertest.Broker, story func(t *testing.T, c *Client), opts ...Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		usualMethods(b)
		c := pipeClient(t, b, opts...)
		defer b.Close()
		defer closeNow(c)
		story(t, c)
	})
}

func TestDeadline_goesToTheBrokerAndIsKeptHere(t *testing.T) {
	b := &brokertest.Broker{}
	b.Handle("deaf", func(c *brokertest.Call) { <-c.Context.Done() })
	inBubble(t, b, func(t *testing.T, c *Client) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		_, err := Call[any](ctx, c, "deaf")
		if !errors.Is(err, ErrDeadlineInHandler) || !errors.Is(err, context.DeadlineExceeded) || !MaybeExecuted(err) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != 3*time.Second+deadlineMargin {
			t.Errorf("the call took %v", took)
		}
		if e := b.Seen(message.KindCall)[0]; e.Timeout != 3*time.Second {
			t.Errorf("the broker was told %v", e.Timeout)
		}
		b.WaitFor(message.KindCancel, 1)

		_, err = Call[any](t.Context(), c.With(Timeout(time.Second)), "deaf")
		if !errors.Is(err, ErrDeadlineInHandler) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without a deadline of the context: %v", err)
		}
	})
}

func TestDeadline_theBrokersOwnErrorIsPreferred(t *testing.T) {
	b := &brokertest.Broker{}
	b.Handle("queued", func(c *brokertest.Call) {
		time.Sleep(c.Timeout + deadlineMargin/2) // the fake clock's
		c.Fail(message.Errorf(message.DeadlineInQueue, "no worker was free"))
	})
	inBubble(t, b, func(t *testing.T, c *Client) {
		_, err := Call[any](t.Context(), c.With(Timeout(time.Second)), "queued")
		if !errors.Is(err, ErrDeadlineInQueue) || !NotExecuted(err) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestDeadline_noTimeoutWaits(t *testing.T) {
	b := &brokertest.Broker{}
	b.Handle("long", func(c *brokertest.Call) {
		time.Sleep(time.Hour)
		c.Result("at last")
	})
	inBubble(t, b, func(t *testing.T, c *Client) {
		mustCall(t, c, "at last", "long")
	}, WithTimeout(0))
}

// During an outage a call waits; what it ends in says whether a broker had it.
func TestDeadline_duringAnOutage(t *testing.T) {
	b := &brokertest.Broker{}
	var away atomic.Bool
	b.Mechanism = zmtp.Null{Admit: func(zmtp.Metadata) (any, error) {
		if away.Load() {
			return nil, errors.New("away")
		}
		return nil, nil
	}}
	inBubble(t, b, func(t *testing.T, c *Client) {
		held := c.With(Timeout(10*time.Second)).Go(t.Context(), "hang")
		synctest.Wait()
		away.Store(true)
		b.Cut()
		began := time.Now()
		_, err := Call[int](t.Context(), c.With(Timeout(5*time.Second)), "add", 1, 2)
		if !errors.Is(err, ErrDeadlineInQueue) || !NotExecuted(err) || time.Since(began) != 5*time.Second {
			t.Errorf("a call that was never sent ends after %v with %v", time.Since(began), err)
		}
		if err := held.Result(nil); !errors.Is(err, ErrConnectionLost) || !MaybeExecuted(err) || time.Since(began) != 10*time.Second {
			t.Errorf("a call that the broker had ends after %v with %v", time.Since(began), err)
		}
		late := c.With(Timeout(time.Minute)).Go(t.Context(), "add", 3, 4)
		time.Sleep(20 * time.Second)
		away.Store(false)
		back := time.Now()
		var sum int
		if err := late.Result(&sum); err != nil || sum != 7 {
			t.Errorf("a call that waited for the broker: %v, %v", sum, err)
		}
		if took := time.Since(back); took > backoffMost {
			t.Errorf("the client came back after %v", took)
		}
		calls := b.Seen(message.KindCall)
		if left := calls[len(calls)-1].Timeout; left > 40*time.Second {
			t.Errorf("the broker was told %v, 40s were left", left)
		}
	})
}

func TestLiveness_silentBrokerIsLeft(t *testing.T) {
	var frozen chan struct{}
	var freeze atomic.Bool
	b := &brokertest.Broker{BeatMillis: 1000}
	b.Intercept = func(l *zmtp.Link, e *message.Envelope) bool {
		if e.Kind == message.KindCall && freeze.CompareAndSwap(true, false) {
			<-frozen // the reader reads no PING either
		}
		return false
	}
	inBubble(t, b, func(t *testing.T, c *Client) {
		frozen = make(chan struct{})
		time.Sleep(time.Minute) // pings keep an idle link
		if n := len(b.Seen(message.KindAttach)); n != 1 {
			t.Fatalf("an idle link was made %d times", n)
		}
		freeze.Store(true)
		began := time.Now()
		f := c.Go(t.Context(), "add", 1, 2)
		b.WaitFor(message.KindAttach, 2)
		if took := time.Since(began); took < 2*time.Second || took > 4*time.Second {
			t.Errorf("the silent broker was left after %v, want about 3s", took)
		}
		close(frozen)
		if err := f.Result(nil); err != nil {
			t.Errorf("the call ended with %v", err)
		}
	})
}

// Calls of Go wait a millisecond at most for others to go with them, and leave at once
// when somebody waits for one, or when there is none to go with.
func TestGo_callsTravelTogether(t *testing.T) {
	b := &brokertest.Broker{}
	inBubble(t, b, func(t *testing.T, c *Client) {
		want := func(n int, when string) {
			t.Helper()
			synctest.Wait()
			if seen := len(b.Seen(message.KindCall)); seen != n {
				t.Errorf("%s %d calls have come, want %d", when, seen, n)
			}
		}
		futures := make([]*Future, 0, 30)
		start := func(n int) {
			for range n {
				futures = append(futures, c.Go(t.Context(), "hang"))
			}
		}
		start(1)
		want(1, "alone in flight:")
		start(10)
		want(1, "behind others:")
		time.Sleep(time.Millisecond)
		want(11, "after a millisecond")
		start(10)
		futures[0].Done()
		want(21, "when somebody waits")
		start(5)
		c.Go(t.Context(), "hang", make([]byte, buffer.Large))
		want(27, "with a large one")
	})
}

func TestAck_isToldSoonOnAnIdleLink(t *testing.T) {
	b := &brokertest.Broker{}
	inBubble(t, b, func(t *testing.T, c *Client) {
		for range ackOutcomes - 1 {
			mustCall(t, c, 1, "echo", 1)
		}
		if n := len(b.Seen(message.KindAck)); n != 0 {
			t.Errorf("%d ACKs came before the delay", n)
		}
		time.Sleep(2 * ackDelay)
		synctest.Wait()
		if acks := b.Seen(message.KindAck); len(acks) != 1 || acks[0].ID != ackOutcomes-1 {
			t.Errorf("after the delay: %+v", acks)
		}
		for range 2 * ackOutcomes {
			mustCall(t, c, 1, "echo", 1)
		}
		time.Sleep(ackDelay / 2)
		synctest.Wait()
		if n := len(b.Seen(message.KindAck)); n != 2 {
			t.Errorf("%d ACKs came, want the second one with a call and the third one to wait for another", n)
		}
		time.Sleep(ackDelay)
		synctest.Wait()
		if n := len(b.Seen(message.KindAck)); n != 3 {
			t.Errorf("%d ACKs came, want one for every %d outcomes", n, ackOutcomes)
		}
	})
}

func TestRetry_onlyWhatWasNotExecuted(t *testing.T) {
	b := &brokertest.Broker{}
	full, failed := 0, 0
	b.Inline("full", func(c *brokertest.Call) {
		if full++; full < 3 {
			c.Fail(message.Errorf(message.QueueFull, "retry later").With("retry_after_ms", 700))
			return
		}
		c.Result(full)
	})
	b.Inline("fail", func(c *brokertest.Call) {
		failed++
		c.Fail(message.Errorf(message.WorkerLost, "the worker vanished"))
	})
	inBubble(t, b, func(t *testing.T, c *Client) {
		began := time.Now()
		mustCall(t, c, 3, "full")
		if took := time.Since(began); took != 1400*time.Millisecond {
			t.Errorf("two pauses took %v, the broker asked for 700ms each", took)
		}
		if _, err := Call[any](t.Context(), c, "fail"); !errors.Is(err, ErrWorkerLost) || failed != 1 {
			t.Errorf("%v after %d attempts", err, failed)
		}
		full = 0
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := Call[any](ctx, c, "full"); !errors.Is(err, ErrQueueFull) || full != 2 {
			t.Errorf("%v after %d attempts: a pause beyond the deadline is not begun", err, full)
		}
	}, WithRetry(Retry{Attempts: 5}))
}
