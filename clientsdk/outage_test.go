package clientsdk

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/servicetools/servicetools/clientsdk/internal/brokertest"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// latecomer is a broker that admits nobody until open is set.
func latecomer(t *testing.T) (b *brokertest.Broker, open *atomic.Bool) {
	open = new(atomic.Bool)
	b = &brokertest.Broker{Mechanism: zmtp.Null{Admit: func(zmtp.Metadata) (any, error) {
		if !open.Load() {
			return nil, errors.New("not yet")
		}
		return nil, nil
	}}}
	return startBroker(t, b), open
}

func TestLazyDial_callsWaitForTheBroker(t *testing.T) {
	b, open := latecomer(t)
	c := dialBroker(t, b, WithLazyDial())
	if c.Broker() != (BrokerInfo{}) {
		t.Error("a broker is known before there is one")
	}
	_, err := Call[any](t.Context(), c.With(Timeout(20*time.Millisecond)), "add", 1, 2)
	if !errors.Is(err, ErrDeadlineInQueue) || !NotExecuted(err) {
		t.Errorf("without a broker: %v", err)
	}
	f := c.Go(t.Context(), "add", 1, 2)
	open.Store(true)
	var sum int
	if err := f.Result(&sum); err != nil || sum != 3 {
		t.Errorf("got %d, %v", sum, err)
	}
	if c.Broker().Addr != b.Addr() {
		t.Errorf("connected to %+v", c.Broker())
	}
}

func TestClose_withoutABroker(t *testing.T) {
	b, _ := latecomer(t)
	c := dialBroker(t, b, WithLazyDial())
	f := c.Go(t.Context(), "add", 1, 2)
	closeNow(c)
	if err := f.Result(nil); !errors.Is(err, ErrCancelled) || !NotExecuted(err) {
		t.Errorf("a call that was never sent ended with %v", err)
	}
	closeNow(c) // once more does no harm
}

func TestDial_contextBoundsASilentPeer(t *testing.T) {
	checkLeaks(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, nobody greets
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err = Dial(ctx, "tcp://"+ln.Addr().String(), WithInsecure())
	var step *StepError
	if !errors.As(err, &step) || step.Step != zmtp.StepGreeting || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// A broker that reads nothing holds back nobody beyond the deadline, costs no
// more memory than the bounds say, and is used again when it reads on.
func TestSlowBroker_callsKeepTheirDeadlines(t *testing.T) {
	var once sync.Once
	resume := make(chan struct{})
	b := &brokertest.Broker{}
	b.Intercept = func(_ *zmtp.Link, e *message.Envelope) bool {
		if e.Kind == message.KindCall {
			once.Do(func() { <-resume })
		}
		return false
	}
	startBroker(t, b)
	// All calls together stay below what the link takes before it gives up a
	// broker that does not read, 8 MiB above bytes: that is another story.
	const calls, size, bytes = 11, 1 << 20, 4 << 20
	c := dialBroker(t, b, WithMaxInFlight(0, bytes))
	var callers sync.WaitGroup
	var sent, waited atomic.Int64
	for range calls {
		callers.Go(func() {
			_, err := Call[[]byte](t.Context(), c.With(Timeout(time.Second)), "echo", make([]byte, size))
			switch {
			case errors.Is(err, ErrDeadlineInHandler) && MaybeExecuted(err):
				sent.Add(1)
			case errors.Is(err, ErrDeadlineInQueue) && NotExecuted(err):
				waited.Add(1)
			default:
				t.Errorf("a call ended with %v", err)
			}
		})
	}
	callers.Wait()
	if sent.Load() >= calls || waited.Load() < calls-2*bytes/size {
		t.Errorf("%d calls were sent, %d waited for a place", sent.Load(), waited.Load())
	}
	close(resume)
	mustCall(t, c, 3, "add", 1, 2)
	if n := len(b.Seen(message.KindAttach)); n != 1 {
		t.Errorf("%d links were made, want 1", n)
	}
}
