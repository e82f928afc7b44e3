package dispatch

import "sync/atomic"

// mutex is the dispatcher's lock. With a thousand busy links, hundreds of goroutines wait
// for it at any time, since the system takes the processor away from its holder now and
// then. sync.Mutex is fair to each of them: it hands itself over in their order, a switch
// of goroutines each time, and never gets out of that state. A client's link then brings
// its next calls only when hundreds of workers have had their turn, so that no queue forms
// from which those could get several calls in one message (docs/adr/0014).
//
// This one is taken by who runs, before who waits. Those who wait do so in two lines, for
// the links of clients and for all others, which are woken in turn: neither a thousand
// workers nor a thousand clients keep the other side out. Who was woken in vain too often
// has it before everybody else.
type mutex struct {
	state    atomic.Int32 // locked, and how many insist, in units of insistent
	lines    [2]line
	insisted chan struct{} // a token for one of those who insist
	next     uint8         // the line to be woken; owned by the holder
}

// line is those who wait, and a token for one of them.
type line struct {
	waiting atomic.Int32
	token   chan struct{}
}

const (
	locked    = 1
	insistent = 2

	lineOfClients = 0
	lineOfOthers  = 1

	looks  = 200 // at the lock before waiting: a few tenths of a microsecond
	losses = 16  // tokens in vain before one insists
)

// init must be called before first use.
func (m *mutex) init() {
	m.insisted = make(chan struct{}, 1)
	for i := range m.lines {
		m.lines[i].token = make(chan struct{}, 1)
	}
}

// Lock is for all but the links of clients.
func (m *mutex) Lock() { m.lock(lineOfOthers) }

// LockForClient is for the links of clients.
func (m *mutex) LockForClient() { m.lock(lineOfClients) }

func (m *mutex) lock(from int) {
	for range looks {
		if m.state.Load() == 0 && m.try() {
			return
		}
	}
	l := &m.lines[from]
	l.waiting.Add(1) // before the next try: an Unlock behind that sees it
	for tokens := 0; !m.try(); tokens++ {
		if tokens == losses {
			l.waiting.Add(-1)
			m.insist()
			return
		}
		<-l.token
	}
	l.waiting.Add(-1)
}

// try takes the lock if it is free and nobody insists on it. Who fails with a token in his
// hand may drop it: the holder, or who insists, gives out the next.
func (m *mutex) try() bool { return m.state.CompareAndSwap(0, locked) }

// insist takes the lock before all who do not insist.
func (m *mutex) insist() {
	for s := m.state.Add(insistent); ; s = m.state.Load() {
		if s&locked != 0 {
			<-m.insisted
		} else if m.state.CompareAndSwap(s, s-insistent+locked) {
			return
		}
	}
}

// Unlock gives a token to one who waits. It does not wait for him to take the lock.
func (m *mutex) Unlock() {
	first := m.next
	m.next = 1 - first
	if m.state.Add(-locked) != 0 {
		give(m.insisted)
		return
	}
	for _, i := range [2]uint8{first, 1 - first} {
		if l := &m.lines[i]; l.waiting.Load() > 0 {
			give(l.token)
			return
		}
	}
}

// give puts a token there, if there is none yet.
func give(token chan struct{}) {
	select {
	case token <- struct{}{}:
	default:
	}
}
