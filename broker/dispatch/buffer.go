package dispatch

import (
	"math/bits"

	"github.com/servicetools/servicetools/wire/buffer"
)

// content is the bytes of a request or an outcome for as long as its call needs
// them: small ones in a buffer of the dispatcher, large ones in memory that
// links own, too.
type content struct {
	bytes  []byte
	memory *buffer.Buffer // nil for small ones
}

// contentLocked takes b over. memory is what b lies in, if that can be shared: it
// is, unless b is only a small part of it.
func (d *Dispatcher) contentLocked(b []byte, memory *buffer.Buffer) content {
	switch {
	case len(b) < buffer.Large:
		return content{bytes: d.buffers.copy(b)}
	case memory != nil && !memory.Wasted(len(b)):
		return content{b, memory.Hold()}
	}
	memory = buffer.Get(len(b))
	memory.Bytes = append(memory.Bytes, b...)
	return content{memory.Bytes, memory}
}

// dropContentLocked gives the memory of c up.
func (d *Dispatcher) dropContentLocked(c *content) {
	if c.memory != nil {
		c.memory.Release()
	} else {
		d.buffers.release(c.bytes)
	}
	*c = content{}
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
