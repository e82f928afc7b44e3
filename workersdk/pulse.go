package workersdk

import (
	"errors"
	"sync/atomic"
	"time"
)

// pulse notices that this process did not run for so long that the broker must
// have given its link up: it was stopped, or its machine was. What the link
// still holds is stale then. Other workers may have the calls, or their callers
// an error, and their deadlines count from before.
type pulse struct {
	began time.Time     // static
	bound time.Duration // static
	last  atomic.Int64  // the last sign of life, in nanoseconds since began; stays once the bound was missed
}

var errStopped = errors.New("this process did not run for longer than the broker waits for a sign of life")

func newPulse(bound time.Duration) *pulse { return &pulse{began: time.Now(), bound: bound} }

// missed reports whether this process was away for too long.
func (p *pulse) missed(now time.Time) bool {
	return now.Sub(p.began)-time.Duration(p.last.Load()) > p.bound
}

// beat gives a sign of life, unless it is too late. Only the heartbeat calls it.
func (p *pulse) beat(now time.Time) bool {
	if p.missed(now) {
		return false
	}
	p.last.Store(int64(now.Sub(p.began)))
	return true
}
