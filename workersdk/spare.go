package workersdk

import "github.com/servicetools/servicetools/wire/buffer"

// spare is what calls that are over leave to the next ones: their records, and the memory
// of small bodies. The read loop takes it and the goroutines of the pool leave it, so that
// a sync.Pool would look for it at another processor each time: a seventh of what a small
// call costs a worker.
type spare struct {
	calls  []*call
	bodies []*buffer.Buffer // of the smallest size, with one owner
}

// Bounds of either list.
const (
	maxSpare = 1024 // of a worker: half a megabyte
	stockUp  = 64   // of a connection, which fetches them for as many calls at once
)

// call returns an empty record.
func (s *spare) call() *call {
	n := len(s.calls)
	if n == 0 {
		return new(call)
	}
	c := s.calls[n-1]
	s.calls[n-1], s.calls = nil, s.calls[:n-1]
	*c = call{}
	return c
}

// leaveCall takes the record of a call whose outcome was told. One whose context was
// given out stays: who knows where the method has put it.
func (s *spare) leaveCall(c *call) {
	if c.context.call == nil && c.flow == nil && len(s.calls) < maxSpare {
		s.calls = append(s.calls, c)
	}
}

// keep is buffer.Keep.
func (s *spare) keep(b []byte, memory *buffer.Buffer) buffer.Content {
	n := len(s.bodies)
	if len(b) > buffer.Small || n == 0 {
		return buffer.Keep(b, memory)
	}
	own := s.bodies[n-1]
	s.bodies[n-1], s.bodies = nil, s.bodies[:n-1]
	own.Bytes = append(own.Bytes, b...)
	return buffer.Content{Bytes: own.Bytes, Memory: own}
}

// release is Content.Release.
func (s *spare) release(c *buffer.Content) {
	if m := c.Memory; m != nil && m.Small() && !m.Shared() && len(s.bodies) < maxSpare {
		m.Bytes = m.Bytes[:0]
		s.bodies = append(s.bodies, m)
		*c = buffer.Content{}
	}
	c.Release() // of nothing, if it was taken
}

// takeFrom fills the lists up to stockUp.
func (s *spare) takeFrom(from *spare) {
	s.calls, from.calls = move(s.calls, from.calls)
	s.bodies, from.bodies = move(s.bodies, from.bodies)
}

func move[T any](to, from []*T) (filled, left []*T) {
	n := max(0, len(from)-(stockUp-len(to)))
	filled = append(to, from[n:]...)
	clear(from[n:])
	return filled, from[:n]
}

// trim drops half of what lies here, so that nothing is left of a burst after a minute.
func (s *spare) trim() {
	s.calls = half(s.calls)
	s.bodies = half(s.bodies)
}

func half[T any](list []*T) []*T {
	n := len(list) / 2
	clear(list[n:])
	if n == 0 {
		return nil
	}
	return list[:n]
}
