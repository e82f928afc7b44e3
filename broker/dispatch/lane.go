package dispatch

import "github.com/servicetools/servicetools/wire/message"

// lane is the calls of one client and one priority that wait for one method, in
// the order of their ranks. A method's queue is a heap of lanes: it is as deep
// as there are clients waiting, not calls, and queueing behind one's own
// backlog is O(1). It exists while it has calls. Guarded by Dispatcher.mu.
type lane struct {
	name        laneName
	first, last *call // linked by before and behind
	index       int   // in the method's queue
}

type laneName struct {
	client   *client
	priority message.Priority
}

func (l *lane) place(i int) { l.index = i }
func (l *lane) placed() int { return l.index }

// head returns the method's first call; there must be one.
func (m *method) head() *call { return m.queue.head().first }

// enqueueLocked puts c where its rank belongs: nearly always last, or, after
// its worker was lost, first. Suspects wait apart.
func (d *Dispatcher) enqueueLocked(c *call) {
	m := c.method
	m.waiting++
	if c.suspect {
		m.suspects.push(c.rank, c)
		m.suspectedLocked()
		return
	}
	name := laneName{c.client, c.priority}
	l := m.lanes[name]
	if l == nil {
		l = d.newLaneLocked(name)
		m.lanes[name] = l
		l.first, l.last = c, c
		m.queue.push(c.rank, l)
	} else {
		l.insert(c)
		if l.first == c {
			m.queue.rerank(c.rank, l)
		}
	}
	c.lane = l
	m.rankedLocked()
}

// insert links c before the first call of a later rank.
func (l *lane) insert(c *call) {
	var before, behind *call = l.last, nil
	if c.rank.before(l.last.rank) {
		for before, behind = nil, l.first; behind.rank.before(c.rank); behind = behind.behind {
			before = behind
		}
	}
	c.before, c.behind = before, behind
	if before != nil {
		before.behind = c
	} else {
		l.first = c
	}
	if behind != nil {
		behind.before = c
	} else {
		l.last = c
	}
}

// dequeueLocked takes c out, wherever it is.
func (d *Dispatcher) dequeueLocked(c *call) {
	m, l := c.method, c.lane
	m.waiting--
	if c.suspect {
		m.suspects.remove(c)
		m.suspectedLocked()
		return
	}
	wasFirst := l.first == c
	if c.before != nil {
		c.before.behind = c.behind
	} else {
		l.first = c.behind
	}
	if c.behind != nil {
		c.behind.before = c.before
	} else {
		l.last = c.before
	}
	c.lane, c.before, c.behind = nil, nil, nil
	switch {
	case l.first == nil:
		m.queue.remove(l)
		delete(m.lanes, l.name)
		d.recycleLaneLocked(l)
	case wasFirst:
		m.queue.rerank(l.first.rank, l)
	}
	m.rankedLocked()
}

// eachWaiting calls fn for all calls that wait for a worker of m.
func (m *method) eachWaiting(fn func(*call)) {
	for _, e := range m.suspects.entries {
		fn(e.item)
	}
	for _, e := range m.queue.entries {
		for c := e.item.first; c != nil; c = c.behind {
			fn(c)
		}
	}
}

// maxFreeLanes bounds the recycled lanes that are kept.
const maxFreeLanes = 1024

func (d *Dispatcher) newLaneLocked(name laneName) *lane {
	if n := len(d.lanes); n > 0 {
		l := d.lanes[n-1]
		d.lanes = d.lanes[:n-1]
		l.name = name
		return l
	}
	return &lane{name: name, index: -1}
}

func (d *Dispatcher) recycleLaneLocked(l *lane) {
	*l = lane{index: -1}
	if len(d.lanes) < maxFreeLanes {
		d.lanes = append(d.lanes, l)
	}
}
