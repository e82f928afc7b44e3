package dispatch

import (
	"math/bits"

	"github.com/servicetools/servicetools/wire/buffer"
)

// keepLocked takes b over: a small one into a buffer of the dispatcher, a large
// one with memory, what it lies in, if that can be shared.
func (d *Dispatcher) keepLocked(b []byte, memory *buffer.Buffer) buffer.Content {
	if len(b) < buffer.Large {
		return buffer.Content{Bytes: d.buffers.copy(b)}
	}
	return buffer.Keep(b, memory)
}

// releaseLocked gives up what keepLocked took.
func (d *Dispatcher) releaseLocked(c *buffer.Content) {
	if c.Memory == nil {
		d.buffers.release(c.Bytes)
	}
	c.Release()
}

const (
	minBuffer = 6  // the smallest buffer is 1<<6 bytes
	maxBuffer = 21 // larger ones than 1<<21 bytes are left to the garbage collector
)

// buffers recycles bodies by powers of two. What it holds follows what is used:
// trim gives back what lay idle since the last one. Guarded by Dispatcher.mu.
type buffers struct {
	classes [maxBuffer - minBuffer + 1]struct {
		free [][]byte
		idle int // the fewest that were free since the last trim
	}
}

// copy returns a buffer with the content of b; nil for an empty one.
func (p *buffers) copy(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	size := max(bits.Len(uint(len(b)-1)), minBuffer)
	if size > maxBuffer {
		return append([]byte(nil), b...)
	}
	class := &p.classes[size-minBuffer]
	n := len(class.free)
	if n == 0 {
		return append(make([]byte, 0, 1<<size), b...)
	}
	buf := class.free[n-1]
	class.free = class.free[:n-1]
	class.idle = min(class.idle, n-1)
	return append(buf, b...)
}

// release takes back a buffer that copy returned.
func (p *buffers) release(b []byte) {
	size := bits.Len(uint(cap(b))) - 1
	if size < minBuffer || size > maxBuffer || cap(b) != 1<<size {
		return
	}
	class := &p.classes[size-minBuffer]
	class.free = append(class.free, b[:0])
}

// trim drops a part of the buffers that nobody needed since the last trim, so
// that the memory of a burst is given back within seconds after it.
func (p *buffers) trim() {
	for i := range p.classes {
		class := &p.classes[i]
		keep := len(class.free) - (class.idle+3)/4
		clear(class.free[keep:])
		class.free = class.free[:keep]
		class.idle = keep
	}
}
