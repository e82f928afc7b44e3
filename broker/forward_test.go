package broker

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// relay is a client and a worker who do nothing but send envelopes that were
// made before, so that what a call costs and allocates is the broker's share.
type relay struct {
	client, worker *zmtp.Link
	ended          chan error // gets the ends of both

	done chan struct{} // gets one value when left becomes 0

	// Guarded by mu.
	mu   sync.Mutex
	left int // answers that are still to come
	call message.Envelope
	send func(dst []byte) []byte // appends call
}

// The client acknowledges so many answers, or so many bytes, together, as the
// SDK does. The broker keeps back what exceeds 4 MiB without acknowledgement.
const (
	ackEvery      = 64
	ackEveryBytes = 1 << 20
)

func newRelay(s *site, size, slots int) *relay {
	s.t.Helper()
	r := &relay{ended: make(chan error, 2), done: make(chan struct{}, 1)}
	sdk := zmtp.Property{Name: message.PropertySDK, Value: message.ProtocolVersion}
	r.worker = s.dial(s.broker.Backend(), "worker", "DEALER", sdk)
	r.client = s.dial(s.broker.Frontend(), "client", "DEALER", sdk)
	r.call = message.Envelope{Kind: message.KindCall, Method: []byte("echo"), Body: message.AppendBody(nil, pack(s.t, []any{make([]byte, size)}), nil)}
	r.send = r.call.Append
	greeting := func(l *zmtp.Link, e message.Envelope) {
		if _, err := l.Append(e.Append); err != nil {
			s.t.Fatal(err)
		}
	}
	registered, attached := make(chan struct{}), make(chan struct{})
	answer := message.Envelope{Kind: message.KindResult, Body: pack(s.t, make([]byte, size))}
	answering := answer.Append
	go func() {
		r.ended <- r.worker.Run(each(func(e *message.Envelope) (err error) {
			switch e.Kind {
			case message.KindRegistered:
				close(registered)
			case message.KindCall:
				answer.ID = e.ID
				_, err = r.worker.Append(answering)
			}
			return err
		}))
	}()
	greeting(r.worker, message.Envelope{Kind: message.KindRegister, Body: message.Marshal(&message.Register{
		Worker: "w", Concurrency: slots, Methods: []message.Method{{Name: "echo"}},
	})})
	<-registered
	go func() {
		outcomes, bytes, ack := uint64(0), 0, message.Envelope{Kind: message.KindAck}
		acking := ack.Append
		r.ended <- r.client.Run(each(func(e *message.Envelope) error {
			switch e.Kind {
			case message.KindAttached:
				close(attached)
			case message.KindError:
				return message.ParseError(e.Body)
			case message.KindResult:
				outcomes++
				if bytes += len(e.Body); outcomes%ackEvery == 0 || bytes > ackEveryBytes {
					ack.ID, bytes = outcomes, 0
					if _, err := r.client.Append(acking); err != nil {
						return err
					}
				}
				return r.answered(slots)
			}
			return nil
		}))
	}()
	greeting(r.client, message.Envelope{Kind: message.KindAttach, Body: message.Marshal(&message.Attach{Session: message.SessionID{1}})})
	<-attached
	return r
}

// each makes a message handler of one for envelopes.
func each(handle func(*message.Envelope) error) func(*zmtp.Message) error {
	var e message.Envelope
	return func(m *zmtp.Message) error {
		for rest := m.Bytes(); len(rest) > 0; {
			var err error
			if rest, err = e.Next(rest); err != nil {
				return err
			}
			if err := handle(&e); err != nil {
				return err
			}
		}
		return nil
	}
}

// answered takes note of an answer and makes another call if there is one to make.
func (r *relay) answered(inFlight int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left--; r.left == 0 {
		r.done <- struct{}{}
	}
	if r.left >= inFlight {
		return r.nextLocked()
	}
	return nil
}

func (r *relay) nextLocked() error {
	r.call.ID++
	_, err := r.client.Append(r.send)
	return err
}

// begin makes the first of the calls.
func (r *relay) begin(calls, inFlight int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left = calls
	for range min(calls, inFlight) {
		if err := r.nextLocked(); err != nil {
			return err
		}
	}
	return nil
}

// run makes calls, up to inFlight at once, and waits for the last answer.
func (r *relay) run(t testing.TB, calls, inFlight int) {
	t.Helper()
	if err := r.begin(calls, inFlight); err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.done:
	case err := <-r.ended:
		t.Fatalf("a link ended with %v", err)
	}
}

// stop ends both links and waits for them.
func (r *relay) stop() {
	r.client.Close(nil)
	r.worker.Close(nil)
	<-r.ended
	<-r.ended
}

// BenchmarkForward is the way of a call through a broker, over loopback TCP,
// with peers that cost next to nothing.
func BenchmarkForward(b *testing.B) {
	for _, secure := range []bool{false, true} {
		for _, c := range []struct{ size, inFlight int }{{100, 1}, {100, 100}, {100, 1000}, {60_000, 10}, {1_000_000, 10}} {
			b.Run(fmt.Sprintf("curve=%v/size=%d/inflight=%d", secure, c.size, c.inFlight), func(b *testing.B) {
				s := start(b, func(cfg *Config) { cfg.Security.Insecure = !secure })
				r := newRelay(s, c.size, c.inFlight)
				b.SetBytes(int64(c.size))
				b.ReportAllocs()
				b.ResetTimer()
				r.run(b, b.N, c.inFlight)
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
				r.stop()
			})
		}
	}
}

// In its steady state the broker forwards calls and answers without garbage.
// What is counted is all of the process: both ends of each link, too.
func TestForward_doesNotAllocate(t *testing.T) {
	if raceDetector {
		t.Log("not counted: the race detector makes pools allocate; make budgets counts")
		return
	}
	for _, secure := range []bool{false, true} {
		for _, size := range []int{100, 60_000} {
			t.Run(fmt.Sprintf("curve=%v/size=%d", secure, size), func(t *testing.T) {
				const inFlight = 100
				calls := 5000
				if size > 100 {
					calls = 500
				}
				s := start(t, func(cfg *Config) { cfg.Security.Insecure = !secure })
				r := newRelay(s, size, inFlight)
				defer r.stop()
				r.run(t, calls, inFlight) // let buffers grow to their size
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				r.run(t, calls, inFlight)
				runtime.ReadMemStats(&after)
				if n := float64(after.Mallocs-before.Mallocs) / float64(calls); n > forwardBudget {
					t.Errorf("%.3f allocations a call, the budget is %v", n, forwardBudget)
				} else {
					t.Logf("%.3f allocations a call", n)
				}
			})
		}
	}
}

// forwardBudget is 0 for each call; a write loop that starts, a garbage
// collection that empties pools and the broker's beat cost some, now and then.
const forwardBudget = 0.1
