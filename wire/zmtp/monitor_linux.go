//go:build !386 && !s390x

package zmtp

import (
	"sync/atomic"
	"time"
)

// A system call of which Go's runtime knows wakes its monitor thread (sysmon), if
// that sleeps because every processor was idle. The monitor then looks around every
// 20 us until all are idle again: an eighth to a quarter of a process that gets
// something to do every 100 us. What does not block is over before there could be
// anything to look after, so the runtime of a busy process is not told of it: 1.2x
// the calls with 1 or 100 in flight. See ADR 12.
//
// But the monitor must not sleep on beside a goroutine that keeps its processor:
// after 10 ms and more it takes that away, and it polls the network meanwhile. It
// sleeps until the next timer, or for a minute. So, while there are such calls, a
// timer is always set to monitorPeriod, which is as long as the monitor lets pass
// between two looks when it is awake and finds nothing to do: it comes no later than
// it could come anyhow.
const monitorPeriod = 10 * time.Millisecond

// theMonitor is that of this process.
var theMonitor = newMonitor(monitorPeriod)

// monitor has the runtime's monitor wake in time.
type monitor struct {
	period time.Duration // static
	began  time.Time     // by the wall clock; static
	timer  *time.Timer   // static
	state  atomic.Int32
}

// States of a monitor's timer. Only tick leaves used, so that no call goes unseen
// without a tick behind it.
const (
	unset = iota
	set   // and no call has gone unseen since
	used
)

func newMonitor(period time.Duration) *monitor {
	m := &monitor{period: period, began: time.Now().Round(0)}
	m.timer = time.AfterFunc(time.Hour, m.tick) // no timer is made without a time
	m.timer.Stop()
	return m
}

// unseen reports whether the runtime need not be told of a call now. It is told of
// the first one after a pause.
func (m *monitor) unseen() bool {
	switch m.state.Load() {
	case unset:
		m.arm()
		return false
	case set:
		m.state.CompareAndSwap(set, used)
		return m.state.Load() == used // a tick may have come first
	}
	return true
}

func (m *monitor) arm() {
	if time.Now().Round(0).Before(m.began) {
		return // in a bubble of synctest, by whose clock the timer would be set to a time in decades
	}
	if m.state.CompareAndSwap(unset, set) {
		m.timer.Reset(m.period)
	}
}

// tick is what the timer runs. It sets the timer again if calls have gone unseen.
func (m *monitor) tick() {
	if !m.state.CompareAndSwap(set, unset) {
		m.state.Store(set)
		m.timer.Reset(m.period)
	}
}
