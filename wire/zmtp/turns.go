package zmtp

import "sync"

// Turns lets links that read in turns gather what their handlers send, to their own
// peer or to those of other links of the same Turns. A turn lasts from the first
// message that a link hands to its handler until all that had come with it is
// handled. What is appended meanwhile is written by the goroutine of the next turn
// that ends: to wake a write loop for it would be a fifth of all that a small call
// costs the broker.
//
// A handler must therefore not wait for anything outside the process.
type Turns struct {
	mu     sync.Mutex
	active int
	begun  uint64  // turns, ever
	ready  []*Link // ready[next:] have something to write of which no write loop knows
	next   int
}

// crowd is how many turns of others between two of a link's own make it one of a crowd.
const crowd = 64

// begin begins a turn and returns its number.
func (t *Turns) begin() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.active++
	t.begun++
	return t.begun
}

// gather reports whether l is written at the end of a turn. It needs l.mu.
func (t *Turns) gather(l *Link) bool {
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.active > 0 {
		t.ready = append(t.ready, l)
	}
	return t.active > 0
}

// end ends a turn of a link, crowded or not, and has what is ready written, beside
// other turns that end at the same time.
func (t *Turns) end(crowded bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.active--
	for t.next < len(t.ready) {
		l := t.ready[t.next]
		t.ready[t.next] = nil
		t.next++
		t.mu.Unlock()
		l.writeGathered(crowded)
		t.mu.Lock()
	}
	t.ready, t.next = keep(t.ready[:0]), 0
}

// beginTurn begins a turn of the read loop, unless one is under way.
func (l *Link) beginTurn() {
	rd := &l.reader
	if l.turns == nil || rd.turn {
		return
	}
	number := l.turns.begin()
	rd.turn = true
	l.crowded.Store(rd.last > 0 && number-rd.last > crowd)
	rd.last = number
}

// endTurn ends the turn of the read loop, if one is under way, and reports whether one was.
func (l *Link) endTurn() bool {
	if !l.reader.turn {
		return false
	}
	l.reader.turn = false
	l.turns.end(l.crowded.Load())
	return true
}

// writeGathered has what turns have gathered for l written. A link of a crowd, or one
// that such a link sends to, has little to write each time: its write loop, which has
// to wait for a processor, gathers more of it.
func (l *Link) writeGathered(crowded bool) {
	if !crowded && !l.crowded.Load() {
		l.Flush()
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gathered = false
	l.leaveRestLocked()
}
