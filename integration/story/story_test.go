package story_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/integration/story"
)

type calc struct{ calls atomic.Int64 }

func (c *calc) Add(a, b int) int { c.calls.Add(1); return a + b }

func (c *calc) Echo(b []byte) []byte { return b }

func TestStory_callsReachWorkers(t *testing.T) {
	s := story.Start(t)
	w := &calc{}
	s.Worker(w, 4)
	s.Worker(w, 4)
	c := s.Client()
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			for j := range 100 {
				sum, err := clientsdk.Call[int](context.Background(), c, "add", i, j)
				if err != nil || sum != i+j {
					t.Errorf("add(%d, %d) = %d, %v", i, j, sum, err)
					return
				}
			}
		})
	}
	callers.Wait()
	if n := w.calls.Load(); n != 800 {
		t.Errorf("%d executions of 800 calls", n)
	}
}

// BenchmarkCall is the whole way: client, broker and two workers in one
// process, with reflection and msgpack.
func BenchmarkCall(b *testing.B) {
	for _, mode := range []string{"CURVE", "NULL"} {
		for _, inFlight := range []int{1, 100, 1000} {
			b.Run(fmt.Sprintf("%s/inflight=%d", mode, inFlight), func(b *testing.B) {
				var opts []story.Option
				if mode == "NULL" {
					opts = append(opts, story.Insecure())
				}
				s := story.Start(b, opts...)
				s.Worker(&calc{}, 512)
				s.Worker(&calc{}, 512)
				c := s.Client()
				payload := make([]byte, 100)
				var next atomic.Int64
				b.ReportAllocs()
				b.ResetTimer()
				var callers sync.WaitGroup
				for range inFlight {
					callers.Go(func() {
						for next.Add(1) <= int64(b.N) {
							if _, err := clientsdk.Call[[]byte](context.Background(), c, "echo", payload); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				callers.Wait()
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
			})
		}
	}
}
