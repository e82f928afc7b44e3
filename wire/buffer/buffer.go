// Package buffer holds the memory of messages while several parts of a program
// need it: the link that read one, the call made of it, the link that
// passes it on. The last owner to let go leaves the memory to the next message.
package buffer

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Large is the size, in bytes, from which to share a message is cheaper than to
// copy it.
const Large = 16 << 10

// MinRoom is the room, in bytes, that a buffer from Get has at least.
const MinRoom = 1 << minClass

// Buffers are pooled by powers of two, and a 64th more: what is that large has a
// header in front of it. Larger ones than the last are left to the garbage
// collector.
const (
	minClass = 9  // 512 B
	maxClass = 25 // 32 MiB: a message of the default limit and what is around it
)

func capacity(class int) int { return 1<<class + 1<<(class-6) }

var pools [maxClass - minClass + 1]sync.Pool // of *Buffer that hold the capacity of their class at least

// Buffer is memory with owners. What one of them has shown to another is constant
// from then on.
type Buffer struct {
	Bytes  []byte
	owners atomic.Int32
}

// Get returns an empty buffer with room for size bytes and one owner.
func Get(size int) *Buffer {
	class := max(bits.Len(uint(max(size, 1)))-1, minClass)
	if size > capacity(class) {
		class++
	}
	if class > maxClass {
		return Of(make([]byte, 0, size))
	}
	b, ok := pools[class-minClass].Get().(*Buffer)
	if !ok {
		b = &Buffer{Bytes: make([]byte, 0, capacity(class))}
	}
	b.owners.Store(1)
	return b
}

// Of returns a buffer of memory that nobody else will use, with one owner.
func Of(memory []byte) *Buffer {
	b := &Buffer{Bytes: memory}
	b.owners.Store(1)
	return b
}

// Hold adds an owner, who shall release b, and returns b.
func (b *Buffer) Hold() *Buffer {
	b.owners.Add(1)
	return b
}

// Shared reports whether b has more than one owner.
func (b *Buffer) Shared() bool { return b.owners.Load() > 1 }

// Release takes an owner away. The content is lost with the last one. A nil
// buffer has no owners to lose.
func (b *Buffer) Release() {
	if b == nil {
		return
	}
	switch n := b.owners.Add(-1); {
	case n > 0:
		return
	case n < 0:
		panic("buffer: released by more owners than it had")
	}
	class := bits.Len(uint(cap(b.Bytes))) - 1
	if class >= minClass && cap(b.Bytes) < capacity(class) {
		class--
	}
	if class < minClass || class > maxClass {
		return
	}
	b.Bytes = b.Bytes[:0]
	pools[class-minClass].Put(b)
}

// Smallest reports whether b has the capacity of the smallest that Get makes: MinRoom and a 64th.
func (b *Buffer) Smallest() bool { return cap(b.Bytes) == capacity(minClass) }

// Wasted reports whether n bytes are too few to hold all of b for, where a smaller
// buffer would do.
func (b *Buffer) Wasted(n int) bool { return n < cap(b.Bytes)/2 && cap(b.Bytes) > capacity(minClass) }
