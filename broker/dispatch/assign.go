package dispatch

import "github.com/servicetools/servicetools/wire/message"

// admitLocked places a call that may run now: at a worker, or in the queue.
func (d *Dispatcher) admitLocked(c *call, now instant) {
	m := c.method
	c.fair = c.client.tag(m.domain, c.priority)
	c.rank.order = order(c.fair, c.priority)
	d.offerLocked(c, now)
}

// offerLocked hands c to the least loaded worker of its method, or queues it by
// its rank. A suspect is tried apart from the others.
func (d *Dispatcher) offerLocked(c *call, now instant) {
	if c.suspect = d.suspectedLocked(c); c.suspect {
		d.confineLocked(c, now)
		return
	}
	if w, mb := c.method.least(); w != nil {
		d.assignLocked(c, w, mb, now)
		return
	}
	d.enterLocked(c, queued)
	d.enqueueLocked(c)
	d.armLocked(c, now)
}

// least returns the least loaded worker with a free slot, or nil.
func (m *method) least() (best *Worker, of *member) {
	lowest := loads
	for _, mb := range m.members {
		if w, load := mb.pool.least(); load < lowest {
			best, of, lowest = w, mb, load
		}
	}
	return best, of
}

// requeueLocked puts a call that a worker did not get or keep back to where it
// was in the queue: it has waited for its turn already.
func (d *Dispatcher) requeueLocked(c *call, now instant) {
	c.rank.order = min(c.rank.order, c.method.domain.virtual)
	if c.deadline.passed(now) {
		d.enterLocked(c, queued)
		d.enqueueLocked(c)
		d.expireCallLocked(c)
		return
	}
	d.offerLocked(c, now)
}

// feedLocked is called when w may have got a free slot: w gets calls while it
// has one and its pool has any.
func (d *Dispatcher) feedLocked(w *Worker) {
	if p := w.pool; p.suspected.len() > 0 || p.vacated != nil {
		p.place(w)
		d.trialsLocked(p)
	}
	d.fillLocked(w)
}

// fillLocked gives w calls that are no suspects.
func (d *Dispatcher) fillLocked(w *Worker) {
	p := w.pool
	if w.free() && p.waiting.len() > 0 {
		now := d.clockLocked()
		for c, mb := d.nextLocked(p, now); c != nil; c, mb = d.nextLocked(p, now) {
			d.assignLocked(c, w, mb, now)
			if !w.free() {
				break
			}
		}
	}
	p.place(w)
}

// feedPoolLocked lets the workers of p take what its methods have queued.
func (d *Dispatcher) feedPoolLocked(p *pool) {
	d.trialsLocked(p)
	for w, _ := p.least(); w != nil && p.waiting.len() > 0; w, _ = p.least() {
		d.feedLocked(w)
	}
}

// nextLocked takes the call whose turn it is out of the queues of p's methods,
// or returns nil when they are empty. Those that are too late end on the way.
func (d *Dispatcher) nextLocked(p *pool, now instant) (*call, *member) {
	for p.waiting.len() > 0 {
		mb := p.waiting.head()
		c := mb.method.head()
		if !c.deadline.passed(now) {
			d.leaveLocked(c)
			return c, mb
		}
		d.expireCallLocked(c)
	}
	return nil, nil
}

// assignLocked hands c, which is nowhere, to a worker with a free slot.
func (d *Dispatcher) assignLocked(c *call, w *Worker, mb *member, now instant) {
	c.method.domain.virtual = max(c.method.domain.virtual, c.fair)
	d.enterLocked(c, running)
	c.attempts++
	a := w.occupyLocked(now)
	a.call, a.origin, c.assigned = c, c.origin, a
	if c.suspect {
		a.alone, w.alone = true, true
		w.pool.alone++
	}
	w.pool.place(w)
	d.armLocked(c, now)

	out := &d.assignment
	*out = Assignment{
		Token: a.ref().Token, Origin: c.origin, Method: mb.name, Body: c.body.Bytes, Memory: c.body.Memory,
		Attempt: c.attempts, Priority: c.priority, Idempotent: c.idempotent, Stream: c.stream,
	}
	if c.deadline != 0 {
		out.Timeout = (c.deadline - now).duration()
		a.cut = now + 2*(c.deadline-now)
	}
	a.offset = w.sink.Assign(out)
	*out = Assignment{}
	c.tellAttemptLocked()
	if c.stream && c.window > message.StreamWindow {
		w.sink.Grant(a.ref(), c.window)
	}
}

// lostLocked decides what becomes of a running call whose worker is gone. handed
// says whether the worker may have got it.
func (d *Dispatcher) lostLocked(c *call, w *Worker, handed bool, evidence *Evidence, now instant) {
	repeat := c.session != nil && c.repeat()
	switch {
	case !handed && c.session != nil:
		c.attempts--
		d.stats.Returned++
	case repeat && int(c.attempts) < d.limits.MaxAttempts && !c.deadline.passed(now):
		c.crashed = true
		d.stats.Redispatched++
	case repeat && c.suspect && int(c.attempts) >= d.limits.MaxAttempts:
		d.failLocked(c, w.evidenceLocked(evidence, now, message.Errorf(message.MethodQuarantined,
			"the call was handed out %d times, and worker %q, which had nothing else to do, was lost with it too; it is not tried again: look at the worker's log", c.attempts, w.id)))
		return
	case repeat && int(c.attempts) >= d.limits.MaxAttempts:
		d.failLocked(c, w.evidenceLocked(evidence, now, message.Errorf(message.WorkerLost,
			"worker %q was lost while it held the call, which has no attempt left of max_attempts = %d", w.id, d.limits.MaxAttempts)))
		return
	default:
		d.failLocked(c, w.evidenceLocked(evidence, now, message.Errorf(message.WorkerLost,
			"worker %q was lost while it held the call, which may have run; repeat it only if that does no harm, or declare the method idempotent", w.id)))
		return
	}
	d.leaveLocked(c)
	d.requeueLocked(c, now)
}
