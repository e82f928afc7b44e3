//go:build linux

package chaos

import (
	"time"
)

// redispatched prints how long after a worker's death the first result of a
// second attempt came.
func (s *system) redispatched(e *Evidence, death time.Time) (took time.Duration) {
	s.t.Helper()
	for _, records := range e.Clients {
		for _, r := range records {
			if r.Event == Answered && r.Code == ok && r.Attempt > 1 && r.At.After(death) {
				if d := r.At.Sub(death); took == 0 || d < took {
					took = d
				}
			}
		}
	}
	if took == 0 {
		s.t.Log("TIMING worker death to first re-dispatched result: none was in flight")
		return 0
	}
	s.t.Logf("TIMING worker death to first re-dispatched result: %v", took.Round(time.Millisecond))
	return took
}
