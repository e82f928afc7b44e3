package method

import (
	"sync/atomic"
	"time"
)

// Pace is whether the calls of a method are brief: so short that to have another
// goroutine look for the calls behind them would cost more than to run them one after
// the other. It is learned, and forgotten when one takes long. A method that takes long
// now and then surprises few: it has to prove itself twice as long each time, unless that
// is rare.
type Pace struct {
	quick  atomic.Int64 // calls in a row: those that were quick, and then those that were taken for it
	proofs atomic.Int32 // doublings of proven
}

const (
	briefTime = 20 * time.Microsecond // of one call
	proven    = 64                    // quick calls in a row that make a method brief the first time
	maxProofs = 7                     // most doublings
	rare      = 512                   // calls between two that take long; a machine stands still now and then, too
)

// Brief reports whether the next call is likely to be brief.
func (p *Pace) Brief() bool { return p.quick.Load() >= proven<<p.proofs.Load() }

// Ran learns from a call that took d. It need not be told of calls that were brief
// as expected: a clock is a cost, too.
func (p *Pace) Ran(d time.Duration) {
	if d <= briefTime {
		p.quick.Add(1)
	} else {
		p.quick.Store(0)
	}
}

// Overran tells that a call which should have been brief is not. To tell it again before
// the method has proved itself anew changes nothing.
func (p *Pace) Overran() {
	n := p.proofs.Load()
	since := p.quick.Swap(0) - int64(proven)<<n
	if since < 0 {
		return
	}
	if since < rare {
		p.proofs.CompareAndSwap(n, min(n+1, maxProofs))
	} else {
		p.proofs.CompareAndSwap(n, max(n-1, 0))
	}
}

// Began tells that a call which should be brief has begun.
func (p *Pace) Began() { p.quick.Add(1) }
