package broker

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
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

// In its steady state the broker forwards calls and answers without garbage: what
// twice as many more calls allocate is next to nothing.
func TestForward_doesNotAllocate(t *testing.T) {
	if raceDetector {
		t.Log("not counted: the race detector makes pools allocate; make budgets counts")
		return
	}
	rate := runtime.MemProfileRate
	runtime.MemProfileRate = 1
	defer func() { runtime.MemProfileRate = rate }()
	for _, secure := range []bool{false, true} {
		for _, c := range []struct {
			size, inFlight, calls int
			budget                float64 // allocations a call
		}{
			{100, 100, 2000, 0.05},
			{60_000, 10, 1500, 0.1}, // so many that buffers and slices which grow at the beginning do not decide
		} {
			t.Run(fmt.Sprintf("curve=%v/size=%d", secure, c.size), func(t *testing.T) {
				some, _ := forwardAllocations(t, secure, c.size, c.calls, c.inFlight)
				more, where := forwardAllocations(t, secure, c.size, 3*c.calls, c.inFlight)
				n := float64(more-some) / float64(2*c.calls)
				t.Logf("%.3f allocations a call", n)
				if n > c.budget {
					t.Errorf("the budget is %v; most were made by %v", c.budget, where)
				}
			})
		}
	}
}

// forwardPaths are the loops that a call passes on its way. What else the
// process does meanwhile is nothing that a call costs.
var forwardPaths = []string{"broker.(*client).receive", "broker.(*worker).receive", "zmtp.(*Link).writeLoop", "zmtp.(*Link).readLoop"}

// forwardAllocations returns how often these loops allocated, from the start of
// a broker on, for a number of calls, and which function did so most.
func forwardAllocations(t *testing.T, secure bool, size, calls, inFlight int) (total int64, most string) {
	t.Helper()
	before := allocations()
	s := start(t, func(cfg *Config) { cfg.Security.Insecure = !secure })
	r := newRelay(s, size, inFlight)
	r.run(t, calls, inFlight)
	r.stop()
	largest := int64(0)
	for function, n := range allocations() {
		n -= before[function]
		total += n
		if n > largest {
			largest, most = n, function
		}
	}
	return total, most
}

// allocations returns how many objects were allocated on forwardPaths so far, by
// the function that did.
func allocations() map[string]int64 {
	runtime.GC() // the profile is that of the collection before the last one
	runtime.GC()
	n, _ := runtime.MemProfile(nil, true)
	records := make([]runtime.MemProfileRecord, n+1000)
	n, _ = runtime.MemProfile(records, true)
	found := map[string]int64{}
	for _, record := range records[:n] {
		frames, inner, passed := runtime.CallersFrames(record.Stack()), "", false
		for more := true; more; {
			var f runtime.Frame
			f, more = frames.Next()
			if inner == "" && !strings.HasPrefix(f.Function, "runtime.") {
				inner = f.Function
			}
			passed = passed || slices.ContainsFunc(forwardPaths, func(p string) bool { return strings.HasSuffix(f.Function, p) })
		}
		if passed {
			found[inner] += record.AllocObjects
		}
	}
	return found
}
