package dispatch

// A call that a worker was lost with, perhaps by its doing, perhaps by that of a
// call beside it, is a suspect when its next attempt is its last one: it runs alone on a worker. If that is lost too, the suspect is guilty;
// the innocent ones survive. See docs/adr/0008-suspects-run-alone.md.
//
// Suspects wait apart from the other calls of their method, in the order of
// their ranks. An idle worker takes one at once. If there is none, the least
// loaded worker of a pool is vacated: it gets no call until it is idle. At most
// half of the workers of a pool, and at least one, run suspects at a time.

// cells is how many workers of p may run suspects at a time.
func (p *pool) cells() int { return max(p.open/2, 1) }

// ward is a method in the queue of a pool's methods that have suspects.
type ward struct {
	of    *member
	index int
}

func (w *ward) place(i int) { w.index = i }
func (w *ward) placed() int { return w.index }

func (c *call) place(i int) { c.index = i }
func (c *call) placed() int { return c.index }

// suspectedLocked reports whether c is a suspect from now on.
func (d *Dispatcher) suspectedLocked(c *call) bool {
	return c.crashed && int(c.attempts) == d.limits.MaxAttempts-1
}

// confineLocked queues a suspect, and looks for a worker to run it.
func (d *Dispatcher) confineLocked(c *call, now instant) {
	d.enterLocked(c, queued)
	d.enqueueLocked(c)
	d.armLocked(c, now)
	m := c.method
	for _, mb := range m.members { // a pool with an idle worker first
		if w, load := mb.pool.least(); w != nil && load == 0 {
			d.trialsLocked(mb.pool)
		}
	}
	var best *pool
	lowest := loads
	for _, mb := range m.members {
		if mb.pool.vacated != nil || m.suspects.len() == 0 {
			return
		}
		if _, load := mb.pool.least(); load < lowest {
			best, lowest = mb.pool, load
		}
	}
	if best != nil {
		d.trialsLocked(best)
	}
}

// trialsLocked lets suspects run on the idle workers of p, or has one vacated.
// It is called whenever p may have become able to: a suspect came, a worker of p
// has a free slot, or one of p is gone.
func (d *Dispatcher) trialsLocked(p *pool) {
	if p.suspected.len() == 0 && p.vacated == nil {
		return
	}
	now := d.clockLocked()
	for p.alone < p.cells() {
		c, mb := d.nextSuspectLocked(p, now)
		if c == nil {
			break
		}
		w := p.vacated
		if w == nil || w.busy > 0 {
			if w, _ = p.least(); w == nil {
				return // the next one with a free slot is vacated
			}
			if w.busy > 0 {
				if p.vacated == nil {
					p.vacated = w
					p.place(w)
				}
				return
			}
		}
		if w == p.vacated {
			p.vacated = nil
		}
		d.leaveLocked(c)
		d.assignLocked(c, w, mb, now)
	}
	if w := p.vacated; w != nil { // nobody needs it any more
		p.vacated = nil
		d.fillLocked(w)
	}
}

// nextSuspectLocked returns the first suspect of p's methods, or nil. Those that
// are too late end on the way.
func (d *Dispatcher) nextSuspectLocked(p *pool, now instant) (*call, *member) {
	for p.suspected.len() > 0 {
		mb := p.suspected.head().of
		c := mb.method.suspects.head()
		if !c.deadline.passed(now) {
			return c, mb
		}
		d.expireCallLocked(c)
	}
	return nil, nil
}
