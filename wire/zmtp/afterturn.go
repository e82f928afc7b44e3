package zmtp

import (
	"errors"
	"runtime/debug"
	"sync"
)

// afterTurn lets the goroutine that reads a link do the work that came by it: to wake
// another one for it costs two futex calls and two switches of threads, a quarter of
// what a worker of small calls does with 100 in flight. If the work takes long
// after all, another goroutine reads on; the one that is relieved does not read again.
type afterTurn struct {
	run    func()               // Config.AfterTurn; static after the handshake; nil = nothing is done
	handle func(*Message) error // static from Run on
	ended  chan error           // gets what the last reader returns, once; static from Run on

	mu      sync.Mutex
	current int  // number of the goroutine that is in the read loop; guarded by mu
	working bool // that goroutine is in run; guarded by mu
}

// errRelieved ends a goroutine that another one reads on for.
var errRelieved = errors.New("another goroutine reads on")

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

// readByMany is contain for a link with an AfterTurn: one goroutine after the other reads.
func (l *Link) readByMany(handle func(*Message) error) error {
	a := &l.after
	a.handle, a.ended = handle, make(chan error, 1)
	go l.readAs(0)
	return <-a.ended
}

// readAs is one goroutine that reads, and ends with the link, when it is relieved, or when
// AfterTurn ends it.
func (l *Link) readAs(number int) {
	var err error
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
			l.Close(err)
		}
		if l.after.reads(number) {
			l.endTurn()
			l.reader.release()
			l.after.ended <- err
		}
	}()
	err = l.readLoop(l.after.handle)
}

func (a *afterTurn) reads(number int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current == number
}

// runAfterTurn calls AfterTurn, and reports whether the caller is still the one who reads.
func (l *Link) runAfterTurn() (reads bool) {
	a := &l.after
	a.mu.Lock()
	a.working = true
	number := a.current
	a.mu.Unlock()
	returned := false
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		switch {
		case a.current != number:
		case returned:
			a.working, reads = false, true
		default: // the goroutine ends, which is no end of the link
			l.readOnLocked()
		}
	}()
	a.run()
	returned = true
	return false // unless the defer says otherwise
}
