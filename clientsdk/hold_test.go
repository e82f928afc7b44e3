package clientsdk

import (
	"errors"
	"testing"
	"time"

	"github.com/servicetools/servicetools/clientsdk/internal/brokertest"
	"github.com/servicetools/servicetools/wire/message"
)

var errStopping = message.Errorf(message.ShuttingDown, "the broker was told to stop")

// refused waits until the client has read that its calls so far were not taken.
func refused(b *brokertest.Broker) { b.WaitAcked() }

// A broker is replaced in order: what it does not take any more waits for its
// successor, under its number, and no caller sees an error.
func TestHold_untilTheBrokerIsBack(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	b.Handle("count", countTo)
	c := dialBroker(t, b)
	b.Stop()
	sum, named := c.Go(t.Context(), "add", 1, 2), c.Go(t.Context(), "add", 3, 4)
	streamed := make(chan error, 1)
	go func() {
		n := 0
		for v, err := range Stream[int](t.Context(), c, "count", 20) {
			if err != nil || v != n {
				streamed <- errors.Join(err, errors.New("a wrong item"))
				return
			}
			n++
		}
		streamed <- nil
	}()
	b.WaitFor(message.KindCall, 3)
	refused(b)
	b.Cut() // a resume does not bring them back to the broker that stops
	b.WaitFor(message.KindAttach, 2)
	late := c.Go(t.Context(), "add", 5, 6)
	b.WaitFor(message.KindCall, 4)
	refused(b)
	b.Leave(errStopping)
	for i, f := range []*Future{sum, named, late} {
		var v int
		if err := f.Result(&v); err != nil || v != 4*i+3 {
			t.Errorf("got %d, %v", v, err)
		}
	}
	if err := <-streamed; err != nil {
		t.Error(err)
	}
	for i, e := range b.Seen(message.KindCall) {
		if e.ID != uint64(i%4)+1 || e.Flags&message.FlagResubmit != 0 {
			t.Errorf("CALL %d has number %d and flags %b", i, e.ID, e.Flags)
		}
	}
}

// As soon as the broker that stops has given what it had, another one is asked.
func TestHold_anotherBrokerTakesThem(t *testing.T) {
	a, b := startBroker(t, &brokertest.Broker{}), startBroker(t, &brokertest.Broker{})
	finish := make(chan struct{})
	a.Handle("slow", func(c *brokertest.Call) {
		<-finish
		c.Result(1)
	})
	c, err := Dial(t.Context(), a.Addr()+","+b.Addr(), WithInsecure())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(c) })
	slow := c.Go(t.Context(), "slow")
	a.WaitFor(message.KindCall, 1)
	a.Stop()
	sum := c.Go(t.Context(), "add", 1, 2)
	a.WaitFor(message.KindCall, 2)
	refused(a)
	if n := len(b.Seen(message.KindAttach)); n != 0 {
		t.Error("a broker that has a call was left")
	}
	close(finish)
	var v int
	if err := sum.Result(&v); err != nil || v != 3 {
		t.Errorf("got %d, %v", v, err)
	}
	if err := slow.Result(&v); err != nil || v != 1 {
		t.Errorf("got %d, %v", v, err)
	}
	if calls := b.Seen(message.KindCall); len(calls) != 1 || calls[0].ID != 2 || calls[0].Flags&message.FlagResubmit != 0 {
		t.Errorf("the other broker saw %+v", calls)
	}
	a.WaitFor(message.KindBye, 1)
}

// Held calls end with their deadlines, their contexts or the client, and then are
// known not to have run.
func TestHold_ends(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	c := dialBroker(t, b)
	b.Stop()
	if _, err := Call[int](t.Context(), c.With(Timeout(20*time.Millisecond)), "add", 1, 2); !errors.Is(err, ErrShuttingDown) || !NotExecuted(err) {
		t.Errorf("at its deadline it ended in %v", err)
	}
	left := c.Go(t.Context(), "add", 1, 2)
	b.WaitFor(message.KindCall, 2)
	refused(b)
	closeNow(c)
	if err := left.Result(nil); !errors.Is(err, ErrCancelled) || !NotExecuted(err) {
		t.Errorf("with its client it ended in %v", err)
	}
	if n := len(b.Seen(message.KindCancel)); n != 0 {
		t.Errorf("%d calls were cancelled at a broker that does not have them", n)
	}
}

// A worker that left in the middle of a call says that it may have run.
func TestHold_notWhatMayHaveRun(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	b.Handle("half", func(c *brokertest.Call) {
		c.Fail(message.Errorf(message.ShuttingDown, "half way").WithExecution(message.MaybeExecuted))
	})
	b.Handle("quotes", func(c *brokertest.Call) { c.Fail(message.Errorf(message.Application, "shutting_down")) })
	c := dialBroker(t, b)
	if _, err := Call[int](t.Context(), c, "half"); !errors.Is(err, ErrShuttingDown) || !MaybeExecuted(err) {
		t.Errorf("got %v", err)
	}
	if _, err := Call[int](t.Context(), c, "quotes"); !errors.Is(err, ErrApplication) {
		t.Errorf("got %v", err)
	}
}
