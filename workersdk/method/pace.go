package method

import (
	"sync/atomic"
	"time"
)

// Pace is whether the calls of a method are brief: so short that to have another
// goroutine look for the calls behind them would cost more than to run them one after
// the other. It is learned, and forgotten when one takes long. A method that takes long
// now and then surprises few: each time it has to prove itself twice as long.
type Pace struct {
	quick  atomic.Int32 // calls in a row
	proofs atomic.Int32 // how often it was brief and then took long, up to maxProofs
}

const (
	briefTime = 20 * time.Microsecond // of one call
	proven    = 64                    // quick calls in a row that make a method brief the first time
	maxProofs = 7                     // doublings of that: a machine that stands still now and then is no method's fault
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

// Overran tells that a call which should have been brief is not.
func (p *Pace) Overran() {
	p.quick.Store(0)
	if n := p.proofs.Load(); n < maxProofs {
		p.proofs.CompareAndSwap(n, n+1)
	}
}
