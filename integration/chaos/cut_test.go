//go:build linux

package chaos

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/integration/env"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/workersdk"
)

// gated waits inside its method until the test lets it go.
type gated struct {
	entered chan struct{}
	open    chan struct{}
	runs    atomic.Int64
}

func (g *gated) Gate() int64 {
	n := g.runs.Add(1)
	g.entered <- struct{}{}
	<-g.open
	return n
}

func (g *gated) Add(a, b int) int { return a + b }

// A worker that comes back to the same broker has lost its calls, and its slot
// stays taken until the method of a lost call has really returned.
func TestFault_slotOfALostCall(t *testing.T) {
	t.Parallel()
	for _, idempotent := range []bool{false, true} {
		s := env.Start(t, env.Insecure)
		proxy := newProxy(t, s.Broker.Backend().String())
		g := &gated{entered: make(chan struct{}, 9), open: make(chan struct{})}
		w, err := workersdk.New(g, workersdk.Config{Addr: "tcp://" + proxy.Addr(), Insecure: true, Concurrency: 1})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		c := s.Client()
		gate := c
		if idempotent {
			gate = c.With(clientsdk.Idempotent())
		}
		first := gate.Go(t.Context(), "gate")
		<-g.entered
		proxy.Cut()
		if !idempotent {
			if err := first.Result(nil); !errors.Is(err, message.ErrWorkerLost) {
				t.Errorf("got %v", err)
			}
		}
		second := c.Go(t.Context(), "add", 1, 2)
		select {
		case <-second.Done():
			t.Errorf("a call ran beside the one that still holds the slot, or failed: %v", second.Result(nil))
		case <-time.After(300 * time.Millisecond): // long enough to see it happen; it passes if slow
		}
		close(g.open)
		if idempotent {
			var n int64
			if err := first.Result(&n); err != nil || n != 2 {
				t.Errorf("got %v, %v, want the second run's result", n, err)
			}
		}
		if err := second.Result(nil); err != nil {
			t.Error(err)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
