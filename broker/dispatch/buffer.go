package dispatch

import "math/bits"

const (
	minBuffer   = 6       // the smallest buffer is 1<<6 bytes
	maxBuffer   = 16      // larger ones than 1<<16 bytes are left to the garbage collector
	keepBuffers = 4 << 20 // bytes of free buffers kept for each size
)

// buffers recycles bodies by powers of two. Guarded by Dispatcher.mu.
type buffers struct {
	free [maxBuffer - minBuffer + 1][][]byte
}

// copy returns a buffer with the content of b; nil for an empty one.
func (p *buffers) copy(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	class := max(bits.Len(uint(len(b)-1)), minBuffer)
	if class > maxBuffer {
		return append([]byte(nil), b...)
	}
	free := &p.free[class-minBuffer]
	if n := len(*free); n > 0 {
		buf := (*free)[n-1]
		*free = (*free)[:n-1]
		return append(buf, b...)
	}
	return append(make([]byte, 0, 1<<class), b...)
}

// release takes back a buffer that copy returned.
func (p *buffers) release(b []byte) {
	class := bits.Len(uint(cap(b))) - 1
	if class < minBuffer || class > maxBuffer || cap(b) != 1<<class {
		return
	}
	free := &p.free[class-minBuffer]
	if len(*free) < max(keepBuffers>>class, 64) {
		*free = append(*free, b[:0])
	}
}
