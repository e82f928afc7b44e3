package workersdk

import "time"

// shift is one goroutine of a pool. Its fields are the goroutine's own.
type shift struct {
	pool  *pool
	came  bool // it was woken or started, and has not looked yet
	brief bool // it runs a call that is likely to be brief
	lost  int  // pool.lost when that began: if it has grown, pool.brief does not count this one
	held  bool // such calls have held their results back
	row   row  // of runHere
}

// loop runs calls, from the first on, until there are no more for it. It ends by
// returning, or by a method that calls runtime.Goexit.
func (s *shift) loop(first *call) {
	defer s.end()
	for c := first; c != nil; c = s.next() {
		s.run(c)
	}
}

// run runs c, and learns how long its method takes, unless that is known.
func (s *shift) run(c *call) {
	if s.brief {
		s.held = true
		s.pool.run(c)
		return
	}
	m, began := c.method, time.Now()
	s.pool.run(c)
	if m != nil {
		m.Pace.Ran(time.Since(began))
	}
}

// next returns the next call. It waits for one, or returns nil to end the goroutine.
func (s *shift) next() *call {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	return s.nextLocked()
}

// nextLocked is next, which may let go of the lock meanwhile.
func (s *shift) nextLocked() *call {
	p := s.pool
	s.returnLocked()
	if s.isHereLocked() {
		s.lookLocked(!p.briefNextLocked())
	}
	for p.head == len(p.queue) {
		if s.held { // the last of a row
			s.flushLocked()
			continue
		}
		if s.isHereLocked() || p.closed {
			return nil
		}
		if p.retiring > 0 {
			p.retiring--
			return nil
		}
		if p.tooManyLocked() {
			return nil
		}
		p.idle++
		p.work.Wait()
		p.coming = false
	}
	if s.isHereLocked() && !p.briefNextLocked() {
		return nil
	}
	c := p.queue[p.head]
	p.queue[p.head] = nil
	if p.head++; p.head == len(p.queue) {
		p.queue, p.head = p.queue[:0], 0
	}
	p.taken++
	s.beginLocked(c)
	return c
}

// beginLocked decides what becomes of the calls behind c.
func (s *shift) beginLocked(c *call) {
	p := s.pool
	c.brief = s.isHereLocked() || c.likelyBrief() // which may have changed since it was asked for runHere
	if s.brief = c.brief; !s.brief {
		if p.callLocked(); s.held {
			s.flushLocked()
		}
		return
	}
	c.method.Pace.Began()
	p.brief++
	p.last, s.lost = c.method, p.lost
	switch {
	case s.isHereLocked():
		p.here.begun++
		p.here.last = c.method
		p.setPatienceLocked(hereWait)
	case s.held || p.head < len(p.queue):
		p.setPatienceLocked(briefWait)
	}
}

// flushLocked sends what the shift has held back.
func (s *shift) flushLocked() {
	s.held = false
	s.pool.mu.Unlock()
	s.pool.flush()
	s.pool.mu.Lock()
}

// returnLocked ends the call that was run.
func (s *shift) returnLocked() {
	p := s.pool
	if s.came {
		s.came, p.coming = false, false
	}
	if s.brief && s.lost == p.lost {
		p.brief--
	}
	s.brief = false
	if p.brief == 0 && p.head == len(p.queue) {
		p.calm = true
	}
}

// end ends the goroutine. A method may have ended it, with calls waiting.
func (s *shift) end() {
	p := s.pool
	defer p.ended.Done()
	p.mu.Lock()
	s.returnLocked()
	if s.isHereLocked() {
		p.here.readOn = nil
	}
	p.goroutines--
	p.callLocked()
	p.mu.Unlock()
	if s.held {
		p.flush()
	}
}
