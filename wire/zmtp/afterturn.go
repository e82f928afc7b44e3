package zmtp

import "sync"

// afterTurn lets the goroutine that reads a link do the work that came by it: to wake
// another one for it costs two futex calls and two switches of threads, a quarter of
// what a worker of small calls does with 100 in flight. If the work takes long
// after all, another goroutine reads on; the one that is relieved does not read again.
type afterTurn struct {
	run func() // Config.AfterTurn; static after the handshake; nil = nothing is done

	mu      sync.Mutex
	current int  // number of the goroutine that is in the read loop; guarded by mu
	working bool // that goroutine is in run; guarded by mu
}

// ReadOn has another goroutine read on while AfterTurn runs. It does nothing when that
// does not run. It is called from any goroutine.
func (l *Link) ReadOn() {
	l.after.mu.Lock()
	defer l.after.mu.Unlock()
	l.readOnLocked()
}

// readOnLocked needs l.after.mu.
func (l *Link) readOnLocked() {
	if a := &l.after; a.working {
		a.working = false
		a.current++
		go l.readAs(a.current)
	}
}

// readAs is one goroutine that reads, and ends with the link, when it is relieved, or when
// AfterTurn ends it.
func (l *Link) readAs(number int) {
	l.readInPlace(l.runAfterTurn, func() bool { return l.after.relieved(number) })
}

func (a *afterTurn) relieved(number int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current != number
}

// runAfterTurn calls AfterTurn, and reports whether another goroutine reads now.
func (l *Link) runAfterTurn() (relieved bool) {
	a := &l.after
	a.mu.Lock()
	a.working = true
	number := a.current
	a.mu.Unlock()
	returned := false
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		relieved = a.current != number
		switch {
		case relieved:
		case returned:
			a.working = false
		default: // the goroutine ends, which is no end of the link
			l.readOnLocked()
		}
	}()
	a.run()
	returned = true
	return false // the defer says
}
