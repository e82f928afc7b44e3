// Package numbers finds what is under way by its number.
package numbers

import "iter"

// Table is a map from numbers that ascend, or at least differ in their low bits, to
// values. Those bits make a slot and neighbours share a cache line: half the
// cost of a map. Only a value that is still there when its slot's turn comes again
// makes another one overflow. The zero Table is empty. It is not safe for concurrent use.
type Table[V any] struct {
	slots    []slot[V] // a power of two, or none
	overflow map[uint64]*V
	len      int
}

type slot[V any] struct {
	number uint64
	value  *V // nil = free
}

const (
	minSlots  = 16
	keepSlots = 1024 // that an empty table keeps
)

// Len returns how many values there are.
func (t *Table[V]) Len() int { return t.len }

// Get returns the value of number, nil if it has none.
func (t *Table[V]) Get(number uint64) *V {
	if t.len == 0 {
		return nil
	}
	if s := &t.slots[number&t.mask()]; s.number == number && s.value != nil {
		return s.value
	}
	return t.overflow[number]
}

// Put adds the value, not nil, of a number that has none.
func (t *Table[V]) Put(number uint64, v *V) {
	if 2*t.len >= len(t.slots) {
		t.grow()
	}
	t.len++
	t.set(number, v)
}

func (t *Table[V]) set(number uint64, v *V) {
	if s := &t.slots[number&t.mask()]; s.value == nil {
		*s = slot[V]{number, v}
		return
	}
	if t.overflow == nil {
		t.overflow = make(map[uint64]*V)
	}
	t.overflow[number] = v
}

// Delete takes out the value of number, if it has one.
func (t *Table[V]) Delete(number uint64) {
	if t.len == 0 {
		return
	}
	if s := &t.slots[number&t.mask()]; s.number == number && s.value != nil {
		*s = slot[V]{}
	} else if t.overflow[number] != nil {
		delete(t.overflow, number)
	} else {
		return
	}
	if t.len--; t.len == 0 && len(t.slots) > keepSlots {
		t.slots, t.overflow = nil, nil
	}
}

// All returns all numbers and values, in no order. While it runs, values may be
// deleted, and none put.
func (t *Table[V]) All() iter.Seq2[uint64, *V] {
	return func(yield func(uint64, *V) bool) {
		slots, overflow := t.slots, t.overflow
		for i := range slots {
			if s := slots[i]; s.value != nil && !yield(s.number, s.value) {
				return
			}
		}
		for number, v := range overflow {
			if !yield(number, v) {
				return
			}
		}
	}
}

func (t *Table[V]) mask() uint64 { return uint64(len(t.slots) - 1) }

func (t *Table[V]) grow() {
	slots, overflow := t.slots, t.overflow
	t.slots, t.overflow = make([]slot[V], max(2*len(slots), minSlots)), nil
	for _, s := range slots {
		if s.value != nil {
			t.set(s.number, s.value)
		}
	}
	for number, v := range overflow {
		t.set(number, v)
	}
}
