//go:build linux

package chaos

import (
	"slices"
	"time"
)

// redispatched prints how long after a worker's death the first result of a
// second attempt came.
func (s *system) redispatched(how string, e *Evidence, death time.Time) {
	s.t.Helper()
	var took time.Duration
	for _, records := range e.Clients {
		for _, r := range records {
			if r.Event == Answered && r.Code == ok && r.Attempt > 1 && r.At.After(death) {
				if d := r.At.Sub(death); took == 0 || d < took {
					took = d
				}
			}
		}
	}
	s.t.Logf("TIMING %s of a worker to the first re-dispatched result: %v", how, took.Round(time.Millisecond))
}

// fullRate prints how long after a broker's start 90 % of the rate before the
// faults were reached, over windows of 200 ms.
func (s *system) fullRate(e *Evidence, started time.Time, rate float64) {
	s.t.Helper()
	const window = 200 * time.Millisecond
	var times []time.Time
	for _, r := range answers(e, "") {
		if r.At.After(started) {
			times = append(times, r.At)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	need := max(int(0.9*rate*window.Seconds()), 1)
	for i := 0; i+need <= len(times); i++ {
		if times[i+need-1].Sub(times[i]) <= window {
			s.t.Logf("TIMING start of the broker to the first result: %v, to 90 %% of the rate: %v",
				times[0].Sub(started).Round(time.Millisecond), times[i].Sub(started).Round(time.Millisecond))
			return
		}
	}
	s.t.Log("TIMING start of the broker to full rate: not reached")
}

// answers returns the results that a client, or with "" all clients, got.
func answers(e *Evidence, client string) (results []Record) {
	for name, records := range e.Clients {
		if client != "" && client != name {
			continue
		}
		for _, r := range records {
			if r.Event == Answered && r.Code == ok {
				results = append(results, r)
			}
		}
	}
	return results
}

// innocent prints the p99 of client c alone and while another floods.
func (s *system) innocent(e *Evidence, alone, flooded Window) {
	s.t.Helper()
	p99 := func(w Window) time.Duration {
		sent := map[string]time.Time{}
		var times []time.Duration
		for _, r := range e.Clients["c"] {
			if r.Event == Sent {
				sent[r.ID] = r.At
			} else if r.Event == Answered && w.holds(r.At) {
				times = append(times, r.At.Sub(sent[r.ID]))
			}
		}
		slices.Sort(times)
		if len(times) == 0 {
			return 0
		}
		return times[len(times)*99/100]
	}
	a, f := p99(alone), p99(flooded)
	s.t.Logf("TIMING p99 of an innocent client: %v alone, %v while another floods, %.1f times",
		a.Round(100*time.Microsecond), f.Round(100*time.Microsecond), float64(f)/float64(max(a, 1)))
}
