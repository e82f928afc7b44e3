package zmtp

import "runtime"

// Slots is a semaphore for the work of handshakes: parsing, scalar
// multiplications, admission. A handshake holds one except while it waits for
// its peer, so any number of arriving peers keeps no more than that many cores
// busy, and those who are in are served by the others.
type Slots chan struct{}

// NewSlots returns n slots; 0 stands for all cores but one, and at least one.
func NewSlots(n int) Slots {
	if n == 0 {
		n = max(1, runtime.GOMAXPROCS(0)-1)
	}
	return make(Slots, n)
}

var processSlots = NewSlots(0)

// take waits for a slot; a nil Slots has always one. Who has waited lets what
// has gathered meanwhile go first, goroutines and threads: it may be calls.
func (s Slots) take() {
	if s == nil {
		return
	}
	select {
	case s <- struct{}{}:
	default:
		s <- struct{}{}
		runtime.Gosched()
		yieldCore()
	}
}

func (s Slots) give() {
	if s != nil {
		<-s
	}
}
