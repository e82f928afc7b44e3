package buffer

import (
	"sync"
	"testing"
)

func TestBuffer_sizes(t *testing.T) {
	for _, size := range []int{0, 1, Large - 1, Large, Large + 1, 1 << 20, 1<<20 + 1,
		capacity(20), capacity(20) + 1, 1 << maxClass, capacity(maxClass), capacity(maxClass) + 1} {
		b := Get(size)
		if len(b.Bytes) != 0 || cap(b.Bytes) < size {
			t.Errorf("Get(%d) has %d bytes and room for %d", size, len(b.Bytes), cap(b.Bytes))
		}
		b.Release()
	}
	grown := Get(Large)
	grown.Bytes = append(grown.Bytes, make([]byte, 3*Large)...) // of a size between two classes
	grown.Release()
	if b := Get(2 * Large); cap(b.Bytes) < 2*Large {
		t.Errorf("a buffer that had grown gives room for %d bytes", cap(b.Bytes))
	}
}

func TestBuffer_smallest(t *testing.T) {
	for size, want := range map[int]bool{0: true, MinRoom: true, MinRoom + 100: false, Large: false} {
		b := Get(size)
		if got := b.Smallest(); got != want || cap(b.Bytes) < MinRoom {
			t.Errorf("Get(%d), with room for %d, is one of the smallest: %v", size, cap(b.Bytes), got)
		}
		if want {
			b.Bytes = append(b.Bytes, make([]byte, 10*MinRoom)...)
			if b.Smallest() {
				t.Errorf("one that has grown to %d is one of the smallest", cap(b.Bytes))
			}
		}
		b.Release()
	}
}

// TestBuffer_owners lets many owners read and let go; the race detector sees
// memory that is used again too early.
func TestBuffer_owners(t *testing.T) {
	var owners sync.WaitGroup
	for round := range 100 {
		b := Get(Large)
		for range Large {
			b.Bytes = append(b.Bytes, byte(round))
		}
		for range 4 {
			held := b.Hold()
			owners.Go(func() {
				defer held.Release()
				for _, c := range held.Bytes {
					if c != byte(round) {
						t.Errorf("round %d sees the bytes of another", round)
						return
					}
				}
			})
		}
		b.Release()
	}
	owners.Wait()
}

func TestBuffer_releasedTwice(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("an owner too many was not noticed")
		}
	}()
	b := Of(nil)
	b.Release()
	b.Release()
}
