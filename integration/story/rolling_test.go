package story_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/integration/story"
)

// Workers that are replaced one after the other under load fail no call, and
// run none twice, although none is idempotent.
func TestStory_rollingRestartFailsNoCall(t *testing.T) {
	s := story.Start(t)
	w := &calc{}
	const workers, rounds = 3, 8
	var stops [workers]func()
	for i := range stops {
		stops[i] = s.Worker(w, 8)
	}
	c := s.Client()
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	var calls atomic.Int64
	for i := range 32 {
		callers.Go(func() {
			for ctx.Err() == nil {
				sum, err := clientsdk.Call[int](context.Background(), c, "add", i, 1)
				if err != nil || sum != i+1 {
					t.Errorf("add(%d, 1) = %d, %v", i, sum, err)
					return
				}
				calls.Add(1)
			}
		})
	}
	for range rounds {
		for i := range stops {
			before := calls.Load()
			stops[i]()
			stops[i] = s.Worker(w, 8)
			for calls.Load() < before+100 && !t.Failed() {
				_, _ = clientsdk.Call[int](ctx, c, "add", 0, 0)
				calls.Add(1)
			}
		}
	}
	cancel()
	callers.Wait()
	if n := w.calls.Load(); n != calls.Load() {
		t.Errorf("%d executions of %d calls", n, calls.Load())
	}
}
