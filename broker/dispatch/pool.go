package dispatch

import (
	"math/bits"
	"slices"

	"github.com/servicetools/servicetools/wire/message"
)

// loads is how finely the load of workers is told apart: one bit each in a mask.
// Load 0 is that of an idle worker.
const loads = 16

// pool is all workers that serve the same methods, spelled the same. Its free
// workers lie in buckets by their load, so that the least loaded one is found,
// and moved, in O(1) however many there are. Guarded by Dispatcher.mu.
type pool struct {
	id      string // describes the methods; "" is the catch-all
	members []*member
	waiting queue[*member] // methods that have a queue, by the head of it
	workers int
	open    int  // workers that do not drain
	seen    bool // it has had a worker

	suspected queue[*ward] // methods that have suspects, by the first one
	alone     int          // workers that run a suspect
	vacated   *Worker      // gets no call until it is idle, for a suspect; nil = none

	buckets [loads]struct{ first, last *Worker }
	mask    uint16 // bit n is set while bucket n has a worker
}

// poolID describes the methods of a registration, whatever their order.
func poolID(methods []message.Method) string {
	lines := make([]string, 0, len(methods))
	for _, m := range methods {
		line := m.Name
		for _, alias := range m.Aliases {
			line += " " + alias
		}
		if m.Idempotent {
			line += " *"
		}
		lines = append(lines, line+"\n")
	}
	slices.Sort(lines)
	var id []byte
	for _, line := range slices.Compact(lines) {
		id = append(id, line...)
	}
	return string(append(id, '.')) // never "", the catch-all's
}

// drop forgets a member.
func (p *pool) drop(mb *member) {
	mb.leaveLocked()
	if i := slices.Index(p.members, mb); i >= 0 {
		p.members = slices.Delete(p.members, i, i+1)
	}
}

// least returns the least loaded worker with a free slot and its load, or nil.
func (p *pool) least() (*Worker, int) {
	if p.mask == 0 {
		return nil, loads
	}
	load := bits.TrailingZeros16(p.mask)
	return p.buckets[load].first, load
}

// place puts w into the bucket of its load, last in its turn, or in none when
// it has no free slot.
func (p *pool) place(w *Worker) {
	load := -1
	if w.free() {
		load = (w.busy*(loads-1) + w.capacity - 1) / w.capacity
	}
	if load == w.load {
		return
	}
	p.displace(w)
	if w.load = load; load < 0 {
		return
	}
	b := &p.buckets[load]
	if w.prev = b.last; w.prev != nil {
		w.prev.next = w
	} else {
		b.first = w
	}
	b.last = w
	p.mask |= 1 << load
}

// displace takes w out of its bucket.
func (p *pool) displace(w *Worker) {
	if w.load < 0 {
		return
	}
	b := &p.buckets[w.load]
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		b.first = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		b.last = w.prev
	}
	if b.first == nil {
		p.mask &^= 1 << w.load
	}
	w.prev, w.next, w.load = nil, nil, -1
}
