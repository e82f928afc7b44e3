package method

import (
	"sync/atomic"
	"time"
)

// Pace is whether the calls of a method are brief: so short that to have another
// goroutine look for the calls behind them would cost more than to run them one after
// the other. It is learned, and forgotten when one takes long.
type Pace struct{ quick atomic.Int32 }

const (
	briefTime = 20 * time.Microsecond // of one call
	proven    = 64                    // quick calls in a row that make a method brief
)

// Brief reports whether the next call is likely to be brief.
func (p *Pace) Brief() bool { return p.quick.Load() >= proven }

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
func (p *Pace) Overran() { p.quick.Store(0) }
