package zmtp

import "sync"

// Buffers of active links come from here and go back when a link falls idle,
// so that a silent peer costs no buffer at all.
const (
	bufferSize = 64 << 10  // what a pooled buffer holds at least
	maxPooled  = 256 << 10 // larger ones are left to the garbage collector
)

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, bufferSize+1<<10) // a whole record and its overhead
	return &b
}}

// getBuffer returns an empty buffer of at least bufferSize.
func getBuffer() []byte { return *buffers.Get().(*[]byte) }

// putBuffer takes back a buffer that nobody refers to any more.
func putBuffer(b []byte) {
	if cap(b) < bufferSize || cap(b) > maxPooled {
		return
	}
	b = b[:0]
	buffers.Put(&b)
}
