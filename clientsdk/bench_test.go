package clientsdk

import (
	"fmt"
	"sync"
	"testing"

	"github.com/servicetools/servicetools/clientsdk/internal/brokertest"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// echoBroker answers each CALL at once with its first argument, and keeps nothing.
func echoBroker(mechanism zmtp.Mechanism) *brokertest.Broker {
	b := &brokertest.Broker{Mechanism: mechanism}
	b.Intercept = func(l *zmtp.Link, e *message.Envelope) bool {
		if e.Kind != message.KindCall {
			return e.Kind == message.KindAck
		}
		value, _, _ := message.SplitValue(e.Body[1:]) // behind the head of a short array
		answer := message.Envelope{Kind: message.KindResult, ID: e.ID, Body: value}
		_, _ = l.Append(func(dst []byte) []byte { return answer.Append(dst) })
		return true
	}
	return b
}

func BenchmarkCall(b *testing.B) {
	key, client := curve.GenerateKey(), curve.GenerateKey()
	secure := &curve.Server{Key: key, Admit: func(curve.PublicKey, zmtp.Metadata) (any, error) { return nil, nil }}
	for _, curved := range []bool{false, true} {
		for _, flying := range []int{1, 100, 1000} {
			for _, size := range []int{100, 60_000} {
				if size > 100 && flying != 100 {
					continue
				}
				name := fmt.Sprintf("curve=%v/inflight=%d/%dB", curved, flying, size)
				b.Run(name, func(b *testing.B) {
					var c *Client
					if curved {
						c = dialBroker(b, startBroker(b, echoBroker(secure)), WithKeys(client, key.Public()), secured)
					} else {
						c = dialBroker(b, startBroker(b, echoBroker(nil)))
					}
					benchmarkEcho(b, c, flying, size)
				})
			}
		}
	}
}

// secured undoes the WithInsecure of dialBroker.
func secured(cfg *config) error {
	cfg.insecure = false
	return nil
}

func benchmarkEcho(b *testing.B, c *Client, flying, size int) {
	arg := make([]byte, size)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	work := make(chan struct{}, flying)
	var callers sync.WaitGroup
	for range flying {
		callers.Go(func() {
			for range work {
				if got, err := Call[[]byte](b.Context(), c, "echo", arg); err != nil || len(got) != size {
					b.Error(err)
				}
			}
		})
	}
	for b.Loop() {
		work <- struct{}{}
	}
	close(work)
	callers.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

func BenchmarkGo(b *testing.B) {
	c := dialBroker(b, startBroker(b, echoBroker(nil)))
	b.ReportAllocs()
	futures := make(chan *Future, 1000)
	var reading sync.WaitGroup
	reading.Go(func() {
		for f := range futures {
			if err := f.Result(nil); err != nil {
				b.Error(err)
			}
		}
	})
	for b.Loop() {
		futures <- c.Go(b.Context(), "echo", 12345)
	}
	close(futures)
	reading.Wait()
}

// What a call may allocate: its argument list, its result, and a write loop at
// either end, the broker's in this process included. Nothing is our own.
func TestCall_allocationBudget(t *testing.T) {
	if raceEnabled {
		t.Log("not measured: the race detector allocates")
		return
	}
	c := dialBroker(t, startBroker(t, echoBroker(nil)))
	ctx := t.Context()
	perCall := testing.AllocsPerRun(2000, func() {
		if _, err := Call[int](ctx, c, "echo", 12345); err != nil {
			t.Error(err)
		}
	})
	if perCall > 5 {
		t.Errorf("a call allocates %.1f times, the budget is 5", perCall)
	}
}
