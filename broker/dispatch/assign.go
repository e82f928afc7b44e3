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
// its rank.
func (d *Dispatcher) offerLocked(c *call, now instant) {
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

// feedLocked gives w calls while it has a free slot and its pool has any.
func (d *Dispatcher) feedLocked(w *Worker) {
	p := w.pool
	if w.free() && p.waiting.len() > 0 {
		now := d.clock()
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
	if c.stream && c.window > StreamWindow {
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
		d.stats.Redispatched++
	case repeat && int(c.attempts) >= d.limits.MaxAttempts:
		d.failLocked(c, w.evidenceLocked(evidence, now, message.Errorf(message.MethodQuarantined,
			"the call has taken %d workers with it, worker %q last, and is not tried again; look at the worker's log", c.attempts, w.id)))
		return
	default:
		d.failLocked(c, w.evidenceLocked(evidence, now, message.Errorf(message.WorkerLost,
			"worker %q was lost while it held the call, which may have run; repeat it only if that does no harm, or declare the method idempotent", w.id)))
		return
	}
	d.leaveLocked(c)
	d.requeueLocked(c, now)
}
