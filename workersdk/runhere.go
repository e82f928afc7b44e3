package workersdk

import (
	"time"

	"github.com/servicetools/servicetools/workersdk/method"
)

// here is what a pool knows of the goroutine that reads a link, while that runs calls. All
// of it is guarded by the pool's mu.
type here struct {
	readOn func()         // relieves it; nil = it runs none, or was relieved
	number int            // of the row that it runs, or of the last one
	begun  int            // calls that have begun in all rows
	seen   int            // begun when patience was set
	last   *method.Method // of the last of them
	slow   bool           // at the last look, calls were slow on average
	came   time.Time      // when calls came last
	often  bool           // and they had come within hereWait of those before
}

// slowTime is what calls of a row may take on average: those that take longer twice in a row
// are not brief. Once may be the doing of a system that lets others run.
const slowTime = 40 * time.Microsecond

// row is what a shift of runHere knows of it. Its fields are the goroutine's own.
type row struct {
	number int // here.number; 0 = the shift is none of runHere
	seen   int // here.begun at the last look at the clock
	began  time.Time
	looked time.Time // at the clock
	helped time.Time // when the row got help last, or began
}

// runHere runs calls of the queue in the caller's goroutine while the next one is likely to
// be brief, unless another goroutine does, or calls come too seldom to be worth a timer. It
// calls readOn, with the lock held, if one of them takes long after all, or many do
// together: from then on the caller's goroutine is one of the pool's own.
func (p *pool) runHere(readOn func()) {
	p.mu.Lock()
	if !p.here.often || p.brief > 0 || p.goroutines-p.idle >= p.limit { // another goroutine does, or will
		p.mu.Unlock()
		return
	}
	if !p.briefNextLocked() {
		p.callLocked()
		p.mu.Unlock()
		return
	}
	p.goroutines++
	p.ended.Add(1)
	h, now := &p.here, time.Now()
	h.readOn = readOn
	h.number++
	s := shift{pool: p, row: row{number: h.number, seen: h.begun, began: now, looked: now, helped: now}}
	first := s.nextLocked() // with the lock still held, else patience might end between, and find it stuck
	if first == nil {
		h.readOn = nil
	}
	p.mu.Unlock()
	s.loop(first)
}

// briefNextLocked reports whether there is a next call, and it is likely to be brief. A
// stream waits for its caller.
func (p *pool) briefNextLocked() bool {
	if p.head == len(p.queue) {
		return false
	}
	c := p.queue[p.head]
	return !c.stream && c.likelyBrief()
}

// tooManyLocked reports whether those who were relieved have made the goroutines more than
// the limit.
func (p *pool) tooManyLocked() bool {
	own := p.goroutines
	if p.here.readOn != nil {
		own--
	}
	return own > p.limit
}

// relieveLocked has another goroutine read on for the one that is in runHere, if one is.
func (p *pool) relieveLocked() {
	if h := &p.here; h.readOn != nil {
		h.readOn()
		h.readOn = nil
	}
}

// isHereLocked reports whether the shift is in runHere and was not relieved.
func (s *shift) isHereLocked() bool {
	h := &s.pool.here
	return h.readOn != nil && h.number == s.row.number
}

// lookLocked looks at the clock when fewBrief calls have begun since the last look, or the
// row is over. Their method counts as brief no longer if they took as long as one call that
// does not return, or were slow again. A row that lasts gets help, and what it has held
// back is sent; one that goes on is no longer in the way of the link.
func (s *shift) lookLocked(over bool) {
	p := s.pool
	h, r := &p.here, &s.row
	n := h.begun - r.seen
	if n == 0 || n < fewBrief && !over {
		return
	}
	now := time.Now()
	took := now.Sub(r.looked)
	r.seen, r.looked = h.begun, now
	slow := took > time.Duration(n)*slowTime
	if took >= briefWait || slow && h.slow {
		h.last.Pace.Overran()
		slow = false
	}
	h.slow = slow
	if over {
		return
	}
	if now.Sub(r.began) >= hereWait {
		p.relieveLocked()
	}
	if now.Sub(r.helped) >= briefWait {
		r.helped = now
		p.callLocked()
		s.flushLocked()
	}
}
