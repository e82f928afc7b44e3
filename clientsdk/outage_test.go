package clientsdk

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
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
	// broker that does not read, 8 MiB above bytes: see TestSlowBroker_isLeft.
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

// A broker that reads nothing and makes the link's queue grow beyond its bound is
// left, and the session goes on over another link.
func TestSlowBroker_isLeft(t *testing.T) {
	stuck := make(chan struct{})
	var first atomic.Pointer[zmtp.Link]
	b := &brokertest.Broker{}
	b.Intercept = func(l *zmtp.Link, e *message.Envelope) bool {
		if e.Kind == message.KindCall && (first.CompareAndSwap(nil, l) || first.Load() == l) {
			<-stuck
		}
		return false
	}
	startBroker(t, b)
	t.Cleanup(func() { close(stuck) }) // before the broker waits for its readers
	var said bytes.Buffer
	c := dialBroker(t, b, WithMaxInFlight(0, 1<<20), WithLogger(slog.New(slog.NewTextHandler(&said, nil))))
	sum := c.Go(t.Context(), "add", 1, 2)
	for n := 0; len(b.Seen(message.KindAttach)) < 2; n++ {
		if n == 1000 { // 250 MiB
			t.Fatal("a broker that reads nothing is not left")
		}
		// A cancelled call gives its place to the next one; its bytes lie where they lie.
		ctx, cancel := context.WithCancel(t.Context())
		f := c.Go(ctx, "echo", make([]byte, 1<<18))
		cancel()
		if err := f.Result(nil); !errors.Is(err, ErrCancelled) {
			t.Fatalf("a cancelled call ended in %v", err)
		}
	}
	var v int
	if err := sum.Result(&v); err != nil || v != 3 {
		t.Errorf("a call of the first link gave %d, %v", v, err)
	}
	closeNow(c)
	if !strings.Contains(said.String(), zmtp.ErrSlowPeer.Error()) {
		t.Errorf("the log does not say why:\n%s", &said)
	}
}
