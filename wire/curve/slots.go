package curve

import "runtime"

// Slots is a semaphore for the scalar multiplications of handshakes, so that
// any number of arriving peers costs no more than that many cores.
type Slots chan struct{}

// NewSlots returns n slots.
func NewSlots(n int) Slots { return make(Slots, n) }

var processSlots = NewSlots(runtime.GOMAXPROCS(0))

// compute runs work in a slot. It never waits for a peer while it has one.
func (s *Server) compute(work func() error) error {
	slots := s.Slots
	if slots == nil {
		slots = processSlots
	}
	slots <- struct{}{}
	defer func() { <-slots }()
	return work()
}
