package dispatch

import "sync/atomic"

// mutex is the dispatcher's lock: a sync.Mutex without starvation mode, and with a line of
// waiters for the links of clients beside the one for everybody else.
//
// With 1,000 busy workers some 300 goroutines wait for it at any time, since the system
// takes the processor from the one that holds it now and then. A sync.Mutex for which
// somebody has waited a millisecond is handed over in the order of arrival until the line
// is empty, which it never was: a client's link brought its next calls after some 300
// workers' turns, so no queue formed and workers got calls one by one (docs/adr/0014).
//
// Here a goroutine that runs takes the lock before those that wait. Unlock wakes one
// waiter, from each line in turn. One that finds the lock taken again goes to the end of
// its line, and has it before everybody else when that has happened maxInVain times.
type mutex struct {
	state  atomic.Int32 // locked, and how many insist, in units of insistent
	lines  [2]line
	urgent chan struct{} // a token for one of those that insist
	next   uint8         // the line that Unlock looks at first; owned by the holder
}

// line is waiters, and a token for one of them.
type line struct {
	waiting atomic.Int32
	token   chan struct{} // of capacity 1
}

const (
	locked    = 1
	insistent = 2

	clientLine = 0
	otherLine  = 1

	// spins is how often a goroutine looks at the lock before it waits: a few tenths of a
	// microsecond, in which most holders have finished.
	spins = 200
	// maxInVain is how many tokens may be in vain. More make the longest waits longer, and
	// gain nothing.
	maxInVain = 2
)

// init makes the channels. Without it a waiter would never be woken.
func (m *mutex) init() {
	m.urgent = make(chan struct{}, 1)
	for i := range m.lines {
		m.lines[i].token = make(chan struct{}, 1)
	}
}

// Lock waits in the line of the others: workers, Tick, operators.
func (m *mutex) Lock() { m.lock(otherLine) }

// LockForClient waits in the line of clients: the methods of Session, Attach and Open take it.
func (m *mutex) LockForClient() { m.lock(clientLine) }

func (m *mutex) lock(of int) {
	for range spins {
		if m.state.Load() == 0 && m.try() {
			return
		}
	}
	l := &m.lines[of]
	l.waiting.Add(1) // before try: if that fails, the holder's Unlock sees this waiter
	for inVain := 0; !m.try(); inVain++ {
		if inVain == maxInVain {
			l.waiting.Add(-1)
			m.insist()
			return
		}
		<-l.token
	}
	l.waiting.Add(-1)
}

// try takes the lock if it is free and nobody insists. Who fails may drop his token: the
// holder, or the one that insists, wakes the next.
func (m *mutex) try() bool { return m.state.CompareAndSwap(0, locked) }

// insist takes the lock before all who do not insist.
func (m *mutex) insist() {
	for s := m.state.Add(insistent); ; s = m.state.Load() {
		if s&locked != 0 {
			<-m.urgent
		} else if m.state.CompareAndSwap(s, s-insistent+locked) {
			return
		}
	}
}

// Unlock frees the lock and wakes one waiter, who may find it taken again.
func (m *mutex) Unlock() {
	first := m.next
	m.next = 1 - first
	switch s := m.state.Add(-locked); {
	case s < 0:
		panic("dispatch: Unlock of a mutex that is not locked")
	case s > 0:
		giveToken(m.urgent)
		return
	}
	for _, i := range [2]uint8{first, 1 - first} {
		if l := &m.lines[i]; l.waiting.Load() > 0 {
			giveToken(l.token)
			return
		}
	}
}

// giveToken puts a token there, if there is none yet.
func giveToken(token chan struct{}) {
	select {
	case token <- struct{}{}:
	default:
	}
}
