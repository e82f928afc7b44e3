package workersdk

import "github.com/servicetools/servicetools/wire/buffer"

// spare is what calls that are over leave to the next ones: their records, and the memory
// of small bodies. Records are left by the goroutines of the pool and taken by the read
// loop. A sync.Pool looks at the other processors for them: 13 to 15 % of a worker with
// 1,000 calls in flight.
//
// Worker.spare is guarded by Worker.mu. connection.spare is the read loop's own stock,
// filled from there.
type spare struct {
	calls  stack[call]
	bodies stack[buffer.Buffer] // of the smallest size, with one owner
}

// Bounds of a stack.
const (
	maxSpare = 1024 // of Worker.spare, which holds 0.8 MB then
	stock    = 64   // of connection.spare: 50 kB. Fetched at once, for as many calls
)

// call returns an empty record.
func (s *spare) call() *call {
	c := s.calls.pop()
	if c == nil {
		return new(call)
	}
	*c = call{} // here, where it is filled, and not under Worker.mu
	return c
}

// leaveCall takes the record of a call whose outcome was told. One whose context was
// given out stays: who knows where the method has put it.
func (s *spare) leaveCall(c *call) {
	if c.context.call == nil && c.flow == nil {
		s.calls.push(c)
	}
}

// body is buffer.Keep, with memory from here for what fits into it.
func (s *spare) body(b []byte, memory *buffer.Buffer) buffer.Content {
	if len(b) <= buffer.MinRoom {
		if own := s.bodies.pop(); own != nil {
			own.Bytes = append(own.Bytes[:0], b...)
			return buffer.Content{Bytes: own.Bytes, Memory: own}
		}
	}
	return buffer.Keep(b, memory)
}

// leaveBody is c.Release, but keeps the memory if it is small and nobody else's.
func (s *spare) leaveBody(c *buffer.Content) {
	if m := c.Memory; m == nil || !m.Smallest() || m.Shared() || !s.bodies.push(m) {
		c.Release()
	}
	*c = buffer.Content{}
}

// low reports whether half of a connection's stock is gone.
func (s *spare) low() bool { return min(len(s.calls.list), len(s.bodies.list)) < stock/2 }

// fetch fills a connection's stock from its worker's spare.
func (s *spare) fetch(from *spare) {
	s.calls.fetch(&from.calls)
	s.bodies.fetch(&from.bodies)
}

// trim gives up a part of what nobody needed since the last trim. What a connection has
// fetched stays there until it ends.
func (s *spare) trim() {
	s.calls.trim()
	s.bodies.trim()
}

// stack is a list of things to be used again, the last one first: it is in the cache.
type stack[T any] struct {
	list []*T
	idle int // the fewest since the last trim
}

// pop returns nil if there is nothing.
func (s *stack[T]) pop() *T {
	n := len(s.list) - 1
	if n < 0 {
		return nil
	}
	x := s.list[n]
	s.list[n], s.list = nil, s.list[:n]
	s.idle = min(s.idle, n)
	return x
}

// push reports whether there was a place.
func (s *stack[T]) push(x *T) bool {
	if len(s.list) >= maxSpare {
		return false
	}
	s.list = append(s.list, x)
	return true
}

// fetch moves what s lacks of a stock.
func (s *stack[T]) fetch(from *stack[T]) {
	for len(s.list) < stock && len(from.list) > 0 {
		s.list = append(s.list, from.pop())
	}
}

func (s *stack[T]) trim() {
	keep := len(s.list) - (s.idle+1)/2
	clear(s.list[keep:])
	s.list, s.idle = s.list[:keep], keep
}
