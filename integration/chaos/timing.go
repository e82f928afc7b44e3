package chaos

import (
	"slices"
	"time"
)

// hit wants the ends of workers to have hit calls, and prints how long after
// each the first result of a second attempt came.
func (r *Run) hit(a *Account, e *Evidence, ends ...time.Time) {
	r.Helper()
	if a.Redispatched == 0 && a.Unknown == 0 {
		r.Error("no call was lost or run again: the fault did not hit")
	}
	for _, end := range ends {
		if took := e.secondAttempt(end); took > 0 {
			r.Logf("TIMING end of a worker to the first re-dispatched result: %v", took.Round(time.Millisecond))
		}
	}
}

// secondAttempt returns how long after a death that was; 0 = there was none.
func (e *Evidence) secondAttempt(death time.Time) (took time.Duration) {
	for _, records := range e.Clients {
		for _, rec := range records {
			if rec.Event == Answered && rec.Code == ok && rec.Attempt > 1 && rec.At.After(death) {
				if d := rec.At.Sub(death); took == 0 || d < took {
					took = d
				}
			}
		}
	}
	return took
}

// fullRate prints how long after a broker's start 90 % of the rate before the
// faults were reached, over windows of 200 ms.
func (r *Run) fullRate(e *Evidence, started time.Time, rate float64) {
	r.Helper()
	const window = 200 * time.Millisecond
	var times []time.Time
	for _, rec := range answers(e, "") {
		if rec.At.After(started) {
			times = append(times, rec.At)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	need := max(int(0.9*rate*window.Seconds()), 1)
	for i := 0; i+need <= len(times); i++ {
		if times[i+need-1].Sub(times[i]) <= window {
			r.Logf("TIMING start of the broker to the first result: %v, to 90 %% of the rate: %v",
				times[0].Sub(started).Round(time.Millisecond), times[i].Sub(started).Round(time.Millisecond))
			return
		}
	}
	r.Log("TIMING start of the broker to full rate: not reached")
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
func (r *Run) innocent(e *Evidence, alone, flooded Window) {
	r.Helper()
	p99 := func(w Window) time.Duration {
		sent := map[string]time.Time{}
		var times []time.Duration
		for _, rec := range e.Clients["c"] {
			if rec.Event == Sent {
				sent[rec.ID] = rec.At
			} else if rec.Event == Answered && w.holds(rec.At) {
				times = append(times, rec.At.Sub(sent[rec.ID]))
			}
		}
		slices.Sort(times)
		if len(times) == 0 {
			return 0
		}
		return times[len(times)*99/100]
	}
	a, f := p99(alone), p99(flooded)
	r.Logf("TIMING p99 of an innocent client: %v alone, %v while another floods, %.1f times",
		a.Round(100*time.Microsecond), f.Round(100*time.Microsecond), float64(f)/float64(max(a, 1)))
}
