package env_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/integration/env"
)

type echo struct{}

func (echo) Echo(b []byte) []byte { return b }

// BenchmarkCall is the whole way: client, broker and two workers in one
// process, with reflection and msgpack.
func BenchmarkCall(b *testing.B) {
	for mode, change := range map[string]func(*broker.Config){"CURVE": nil, "NULL": env.Insecure} {
		for _, inFlight := range []int{1, 100, 1000} {
			b.Run(fmt.Sprintf("%s/inflight=%d", mode, inFlight), func(b *testing.B) {
				s := env.Start(b, change)
				s.Worker(echo{}, 512)
				s.Worker(echo{}, 512)
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
