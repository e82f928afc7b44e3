package zmtp

import "sync"

// Buffers of active links come from here and go back when a link falls idle,
// so that a silent peer costs no buffer at all.
const (
	pooledSize = batchSize + 1<<10 // a whole record and its overhead
	maxKept    = 256 << 10         // an active link gives up a buffer that grew beyond
)

// pooled is an array and not a slice: its pointer goes into the pool without
// an allocation.
type pooled [pooledSize]byte

var buffers = sync.Pool{New: func() any { return new(pooled) }}

// getBuffer returns an empty buffer of pooledSize.
func getBuffer() []byte { return buffers.Get().(*pooled)[:0] }

// putBuffer takes back a buffer that nobody refers to any more. One that has
// grown is left to the garbage collector.
func putBuffer(b []byte) {
	if cap(b) == pooledSize {
		buffers.Put((*pooled)(b[:pooledSize]))
	}
}
