package zmtp

import "sync"

// Buffers of active links come from here and go back when a link falls idle,
// so that a silent peer costs no buffer at all.
const (
	bufferSize = 64 << 10  // what a pooled buffer holds at least
	bufferRoom = 65 << 10  // what a new one holds: a whole record and its overhead
	maxPooled  = 256 << 10 // larger ones are left to the garbage collector
)

// A pool holds pointers. The slices that they point to are passed on without
// them, so the pointers have a pool of their own: neither way allocates.
var (
	buffers = sync.Pool{New: func() any {
		b := make([]byte, 0, bufferRoom)
		return &b
	}}
	pointers = sync.Pool{New: func() any { return new([]byte) }}
)

// getBuffer returns an empty buffer of at least bufferSize.
func getBuffer() []byte {
	p := buffers.Get().(*[]byte)
	b := *p
	*p = nil
	pointers.Put(p)
	return b
}

// putBuffer takes back a buffer that nobody refers to any more.
func putBuffer(b []byte) {
	if cap(b) < bufferSize || cap(b) > maxPooled {
		return
	}
	p := pointers.Get().(*[]byte)
	*p = b[:0]
	buffers.Put(p)
}

// fit returns an empty buffer for n bytes: b, unless it is too small or keeps
// much more memory than n needs.
func fit(b []byte, n int) []byte {
	if n <= cap(b) && !wasteful(cap(b), n) {
		return b[:0]
	}
	putBuffer(b)
	if n <= bufferSize {
		return getBuffer()
	}
	return make([]byte, 0, n+n/4)
}

// wasteful reports whether a buffer of that size is too large to be kept by a
// link that used only n bytes of it.
func wasteful(size, n int) bool { return size > maxPooled && n < size/4 }
