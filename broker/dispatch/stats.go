package dispatch

import (
	"fmt"
	"maps"
	"time"

	"github.com/servicetools/servicetools/wire/message"
)

// Stats counts since the start of the dispatcher. Fields in the present tense
// are of the moment.
type Stats struct {
	Accepted  uint64 // calls taken by Submit
	Succeeded uint64 // of them, ended in a result
	Failed    uint64 // of them, ended in an error
	Queued    int    // of them, waiting: for a worker, for a claim, or for the call they joined
	Running   int    // of them, at a worker

	Refused      uint64 // calls that Submit did not take
	Duplicates   uint64 // calls that came again because of a reconnect, ignored
	Joined       uint64 // accepted calls that took part in another one by an idempotency key
	Returned     uint64 // times that a call which never reached its worker, or was handed back, went to the queue again
	Redispatched uint64 // times that an idempotent call went to the queue after its worker was lost
	Reclaimed    uint64 // resubmitted calls that a worker knew
	Late         uint64 // answers dropped: too late, twice, or forged
	Orphaned     uint64 // ended calls whose client was gone

	FailedBy  map[message.Code]uint64
	RefusedBy map[message.Code]uint64

	Workers, Sessions, Methods int
	HeldCalls, HeldBytes       int64 // not ended, or not acknowledged
	Rate                       float64
	Draining                   bool
}

// Law returns an error unless accepted = succeeded + failed + queued + running.
func (s *Stats) Law() error {
	if have := s.Succeeded + s.Failed + uint64(s.Queued) + uint64(s.Running); have != s.Accepted {
		return fmt.Errorf("dispatch: %d calls accepted, but %d succeeded + %d failed + %d queued + %d running",
			s.Accepted, s.Succeeded, s.Failed, s.Queued, s.Running)
	}
	return nil
}

// Stats returns the counters.
func (d *Dispatcher) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.stats
	s.FailedBy, s.RefusedBy = maps.Clone(d.failed), maps.Clone(d.refused)
	s.Workers, s.Sessions, s.Methods = len(d.workers), len(d.sessions)+len(d.plain), len(d.methods)
	s.HeldCalls, s.HeldBytes = d.held.calls, d.held.bytes
	s.Rate, s.Draining = d.rate.perSecond, d.draining
	return s
}

// rate is how many calls end in a second, smoothed over a few seconds.
type rate struct {
	since     instant
	ended     uint64
	perSecond float64
}

// turn takes a sample about ten times a second. It reports whether it did.
func (r *rate) turn(now instant, ended uint64) bool {
	span := now - r.since
	if span < instant(100*time.Millisecond) {
		return false
	}
	sample := float64(ended-r.ended) / span.duration().Seconds()
	weight := min(span.duration().Seconds(), 1)
	r.perSecond += (sample - r.perSecond) * weight
	r.since, r.ended = now, ended
	return true
}

// wait is about how long n calls take to end.
func (r *rate) wait(n int) time.Duration {
	if r.perSecond < 1 {
		return time.Second
	}
	wait := time.Duration(float64(n) / r.perSecond * float64(time.Second))
	return min(max(wait, 10*time.Millisecond), 10*time.Second)
}
