package dispatch

import (
	"errors"
	"fmt"
)

// eachCallLocked calls fn for every accepted call that has not ended.
func (d *Dispatcher) eachCallLocked(fn func(*call)) {
	d.eachSessionLocked(func(s *Session) {
		for c := s.live.first; c != nil; c = c.next {
			fn(c)
		}
	})
	for _, a := range d.assignments.all {
		if a.call != nil && a.call.session == nil {
			fn(a.call) // an orphan
		}
	}
}

func (d *Dispatcher) eachSessionLocked(fn func(*Session)) {
	for _, s := range d.sessions {
		fn(s)
	}
	for s := range d.plain {
		fn(s)
	}
}

// Check walks everything and returns what contradicts the law or another rule
// of the structure. It costs as much as there is; it is for tests and for an
// operator in doubt.
func (d *Dispatcher) Check() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := &audit{d: d, calls: make(map[*call]bool), held: make(map[*client]heldSum), perPool: make(map[*pool]int)}
	if err := d.stats.Law(); err != nil {
		a.found = append(a.found, err)
	}
	d.eachSessionLocked(a.session)
	for _, slot := range d.assignments.all {
		a.assignment(slot)
	}
	for _, w := range d.workers {
		a.worker(w)
	}
	a.pool(d.catchAll)
	for _, p := range d.pools {
		a.pool(p)
	}
	seen := make(map[*method]bool)
	for _, m := range d.methods {
		if !seen[m] {
			seen[m] = true
			a.method(m)
		}
	}
	a.sums()
	return errors.Join(a.found...)
}

// audit is one walk of Check.
type audit struct {
	d               *Dispatcher
	found           []error
	calls           map[*call]bool
	queued, running int
	held            map[*client]heldSum
	inQueues        int // calls seen in methods' queues
	inQueueState    int // calls in the state queued
	perMethod       map[*method]int
	perPool         map[*pool]int // workers that run suspects
}

type heldSum struct {
	calls int
	bytes int64
}

func (a *audit) expect(ok bool, format string, args ...any) {
	if !ok {
		a.found = append(a.found, fmt.Errorf("dispatch: "+format, args...))
	}
}

func (a *audit) session(s *Session) {
	n := 0
	for c := s.live.first; c != nil; c = c.next {
		n++
		a.expect(c.session == s, "call %d is in the list of another session", c.origin.Number)
		a.expect(!s.resumable || s.numbers.Get(c.origin.Number) == c, "call %d is not known by its number", c.origin.Number)
		a.live(c)
	}
	a.expect(n == s.live.len, "a session has %d live calls, not %d", n, s.live.len)
	a.expect(!s.resumable || s.numbers.Len() == n, "a session knows %d numbers of %d calls", s.numbers.Len(), n)
	n = 0
	for c := s.outbox.first; c != nil; c = c.next {
		n++
		a.expect(c.state == ended && c.body.Bytes == nil && c.timer.when == 0, "call %d in the outbox is %v", c.origin.Number, c.state)
		a.hold(c)
	}
	a.expect(s.sent <= n && (s.unsent == nil) == (s.sent == n), "an outbox of %d has %d sent, the next is %v", n, s.sent, s.unsent)
	a.expect(n == s.outbox.len, "an outbox has %d outcomes, not %d", n, s.outbox.len)
}

// live checks an accepted call that has not ended.
func (a *audit) live(c *call) {
	a.expect(!a.calls[c], "call %d is in two places", c.origin.Number)
	a.hold(c)
	if a.perMethod == nil {
		a.perMethod = make(map[*method]int)
	}
	a.perMethod[c.method]++
	switch c.state {
	case queued:
		a.inQueueState++
		if !c.suspect { // suspects are looked at with their method
			a.expect(c.lane != nil && c.method.lanes[c.lane.name] == c.lane, "queued call %d is not in its queue", c.origin.Number)
		}
	case running:
		a.expect(c.assigned != nil && c.assigned.call == c, "running call %d has no worker", c.origin.Number)
	case joined:
		a.expect(c.record != nil && c.record.holder != nil && c.record.holder != c, "joined call %d waits for nothing", c.origin.Number)
	case reclaiming:
		a.expect(a.d.reclaiming[c.origin] == c, "call %d waits for a claim that cannot find it", c.origin.Number)
	default:
		a.expect(false, "live call %d is %v", c.origin.Number, c.state)
	}
	a.expect(c.deadline == 0 || c.timer.when != 0, "call %d has a deadline and no timer", c.origin.Number)
	a.expect(int(c.attempts) <= max(a.d.limits.MaxAttempts, 1), "call %d has %d attempts", c.origin.Number, c.attempts)
	if c.state == running {
		a.running++
	} else {
		a.queued++
	}
}

func (a *audit) hold(c *call) {
	a.calls[c] = true
	bytes := len(c.body.Bytes) + len(c.tag) + len(c.outcome.Bytes) + len(c.progress) + sizeOf(c.parts)
	a.expect(c.held == int64(bytes), "call %d holds %d bytes, charged %d", c.origin.Number, bytes, c.held)
	sum := a.held[c.client]
	sum.calls++
	sum.bytes += int64(bytes)
	a.held[c.client] = sum
}

func (a *audit) assignment(slot *assignment) {
	if slot.fence == 0 {
		return
	}
	w := slot.worker
	a.expect(w != nil && !w.gone, "slot %d is of a worker that is gone", slot.index)
	if c := slot.call; c != nil {
		a.expect(c.state == running && c.assigned == slot, "slot %d holds a call that is %v", slot.index, c.state)
		if c.session == nil {
			a.live(c)
		}
	}
}

func (a *audit) worker(w *Worker) {
	n, alone := 0, 0
	for slot := w.held; slot != nil; slot = slot.next {
		if !slot.ended {
			n++
		}
		if slot.alone {
			alone++
		}
		a.expect(slot.worker == w, "a slot is in the list of another worker")
	}
	a.expect(w.busy == n+w.reserved, "worker %q has %d busy slots, not %d", w.id, n+w.reserved, w.busy)
	a.expect(w.alone == (alone == 1) && alone <= 1 && (alone == 0 || n == 1 || len(w.claimed) > 0),
		"worker %q: alone is %v, and it has %d calls, %d of them suspects", w.id, w.alone, n, alone)
	a.perPool[w.pool] += alone
	a.expect((w.load >= 0) == w.free(), "worker %q: free is %v, its bucket %d", w.id, w.free(), w.load)
	a.expect(!w.free() || w.pool.waiting.len() == 0, "worker %q is idle while calls of its methods wait", w.id)
}

// pool checks that suspects do not wait for a worker that is idle.
func (a *audit) pool(p *pool) {
	a.expect(p.alone == a.perPool[p], "a pool has %d workers that run suspects, counted %d", a.perPool[p], p.alone)
	if w := p.vacated; w != nil {
		a.expect(w.pool == p && !w.gone && !w.draining && w.busy > 0, "worker %q is kept free for nothing", w.id)
	}
	w, load := p.least()
	a.expect(w == nil || load > 0 || p.suspected.len() == 0 || p.alone >= p.cells(), "a worker is idle while suspects wait")
}

func (a *audit) method(m *method) {
	n := 0
	for i, e := range m.suspects.entries {
		a.expect(e.item.suspect && e.item.index == i && e.item.rank == e.rank, "suspect %d of %q does not know its place", i, m.info.Name)
		a.expect(i == 0 || !e.rank.before(m.suspects.entries[(i-1)/4].rank), "suspects of %q: entry %d is out of order", m.info.Name, i)
	}
	m.eachWaiting(func(c *call) {
		n++
		a.expect(c.state == queued && c.method == m, "call %d waits for a wrong method", c.origin.Number)
		if c.suspect {
			return
		}
		a.expect(c.state == queued && c.lane.name == laneName{c.client, c.priority}, "call %d is in a wrong queue", c.origin.Number)
		a.expect(c.before == nil || c.before.rank.before(c.rank), "call %d is out of order", c.origin.Number)
	})
	a.expect(n == m.waiting, "method %q has %d calls waiting, counted %d", m.info.Name, n, m.waiting)
	a.inQueues += n
	a.expect(m.calls == a.perMethod[m], "method %q counts %d calls, has %d", m.info.Name, m.calls, a.perMethod[m])
	for i, e := range m.queue.entries {
		a.expect(e.item.index == i && e.item.first.rank == e.rank, "queue of %q: entry %d does not know its place", m.info.Name, i)
		a.expect(i == 0 || !e.rank.before(m.queue.entries[(i-1)/4].rank), "queue of %q: entry %d is out of order", m.info.Name, i)
	}
	for _, mb := range m.members {
		a.expect((mb.index >= 0) == (m.queue.len() > 0), "pool does not know the queue of %q", m.info.Name)
		if mb.index >= 0 {
			a.expect(mb.pool.waiting.entries[mb.index].rank == m.queue.first(), "pool ranks %q wrongly", m.info.Name)
		}
		a.expect((mb.ward.index >= 0) == (m.suspects.len() > 0), "pool does not know the suspects of %q", m.info.Name)
		if mb.ward.index >= 0 {
			a.expect(mb.pool.suspected.entries[mb.ward.index].rank == m.suspects.first(), "pool ranks the suspects of %q wrongly", m.info.Name)
		}
	}
}

// sums compares the counters with what the walk has found.
func (a *audit) sums() {
	d := a.d
	a.expect(a.queued == d.stats.Queued && a.running == d.stats.Running,
		"%d calls queued and %d running, counted %d and %d", a.queued, a.running, d.stats.Queued, d.stats.Running)
	a.expect(a.inQueues == a.inQueueState, "%d calls in queues, %d are queued", a.inQueues, a.inQueueState)
	var calls, bytes int64
	for _, c := range d.clients {
		sum := a.held[c]
		a.expect(sum.calls == c.calls && sum.bytes == c.bytes,
			"key %q holds %d calls and %d bytes, counted %d and %d", c.key, sum.calls, sum.bytes, c.calls, c.bytes)
		calls += int64(sum.calls)
		bytes += sum.bytes
	}
	a.expect(calls == d.held.calls && bytes == d.held.bytes,
		"all keys hold %d calls and %d bytes, counted %d and %d", calls, bytes, d.held.calls, d.held.bytes)
}
