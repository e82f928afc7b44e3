package dispatch

import (
	"bytes"
	"slices"

	"github.com/servicetools/servicetools/wire/message"
)

// method is what can be called by one or more names. Guarded by Dispatcher.mu.
type method struct {
	info       message.Method // as the last worker described it
	known      bool           // an SDK worker has served it; false: a name that a caller used
	idempotent bool           // every worker that serves it says so
	domain     *domain
	queue      queue[*lane]
	lanes      map[laneName]*lane
	suspects   queue[*call] // that wait; they are in no lane
	waiting    int          // calls in the queue, and suspects
	members    []*member    // the pools that serve it; the catch-all is one at most
	calls      int          // accepted and not ended; keeps an unknown name alive
	grace      timer        // after its last worker left: the plain workers may have it then

	succeeded, failed uint64
}

// member is a method in a pool. In the pool's queue it stands for the method's
// first call.
type member struct {
	method     *method
	pool       *pool
	name       string // as the workers of the pool spell it
	idempotent bool
	index      int  // in the pool's queue
	ward       ward // stands for the method's first suspect
}

func (m *member) place(i int) { m.index = i }
func (m *member) placed() int { return m.index }

// served reports whether a worker that does not drain serves m.
func (m *method) served() bool {
	for _, mb := range m.members {
		if mb.pool.open > 0 {
			return true
		}
	}
	return false
}

// rankedLocked tells the pools that the head of m's queue may have changed.
func (m *method) rankedLocked() {
	for _, mb := range m.members {
		mb.rankedLocked()
	}
}

func (mb *member) rankedLocked() {
	follow(&mb.pool.waiting, mb, &mb.method.queue)
}

// suspectedLocked tells the pools that m's first suspect may have changed.
func (m *method) suspectedLocked() {
	for _, mb := range m.members {
		follow(&mb.pool.suspected, &mb.ward, &m.suspects)
	}
}

// leaveLocked takes mb out of its pool's queues.
func (mb *member) leaveLocked() {
	if mb.index >= 0 {
		mb.pool.waiting.remove(mb)
	}
	if mb.ward.index >= 0 {
		mb.pool.suspected.remove(&mb.ward)
	}
}

// joinLocked makes pool p serve m.
func (m *method) joinLocked(p *pool, name string, idempotent bool) {
	mb := &member{method: m, pool: p, name: name, idempotent: idempotent, index: -1}
	mb.ward = ward{mb, -1}
	m.members = append(m.members, mb)
	if p.members = append(p.members, mb); len(p.members) > 1 {
		p.members[0].method.domain.merge(m.domain)
	}
	m.declareLocked()
	mb.rankedLocked()
	m.suspectedLocked()
}

// partLocked undoes joinLocked. The declaration of the last pool stays: calls
// that it ran may still be to be judged by it.
func (m *method) partLocked(p *pool) {
	for i, mb := range m.members {
		if mb.pool == p {
			mb.leaveLocked()
			m.members = append(m.members[:i], m.members[i+1:]...)
			break
		}
	}
	m.declareLocked()
}

// declareLocked settles whether m is idempotent: all must say so.
func (m *method) declareLocked() {
	for i, mb := range m.members {
		m.idempotent = mb.idempotent && (i == 0 || m.idempotent)
	}
}

// maxUnknown is how many idle names that only plain workers serve are remembered.
const maxUnknown = 1024

// tidyLocked forgets m if it was only a name that a caller used.
func (d *Dispatcher) tidyLocked(m *method) {
	if m.calls == 0 && !m.known && (d.catchAll.open == 0 || d.unknown > maxUnknown) {
		d.forgetMethodLocked(m)
	}
}

// forgetUnknownLocked drops the idle names that only plain workers served.
func (d *Dispatcher) forgetUnknownLocked() {
	for _, m := range d.methods {
		if m.calls == 0 && !m.known {
			d.forgetMethodLocked(m)
		}
	}
}

// forgetMethodLocked drops a method that nobody serves and nobody waits for.
func (d *Dispatcher) forgetMethodLocked(m *method) {
	for _, mb := range m.members {
		mb.pool.drop(mb)
	}
	m.members = nil
	if !m.known {
		d.unknown--
	}
	d.wheel.stop(&m.grace)
	m.domain.drop(m)
	for _, name := range append(m.info.Aliases, m.info.Name) {
		if d.methods[name] == m {
			delete(d.methods, name)
		}
	}
}

// findLocked returns the method of that name if the client may call it. A name
// that nobody ever served is a method while plain workers are there, which serve
// anything, and in the grace after the start or after the last plain worker has
// left, when its workers may be on their way back.
func (d *Dispatcher) findLocked(name []byte, by *ClientConfig, now instant) (*method, *message.Error) {
	m := d.methods[string(name)]
	switch {
	case m != nil && !by.may(m), m == nil && by.May != nil && !by.May(string(name)):
		if bytes.HasPrefix(name, []byte(message.ReservedPrefix)) {
			return nil, message.Errorf(message.Unauthorized, "only a key of role admin may call %q", name)
		}
		return nil, message.Errorf(message.Unauthorized,
			"the key may not call method %q; add it to the methods of the key's file", name)
	case m == nil && d.catchAll.open == 0 && now >= d.reserve.add(d.limits.NoWorkerGrace),
		m == nil && message.CheckMethodName(string(name)) != nil:
		return nil, d.noSuchMethodLocked(string(name), by.May)
	case m == nil:
		m = d.newMethodLocked(string(name))
	}
	if len(m.members) == 0 {
		d.routeLocked(m)
	}
	return m, nil
}

func (d *Dispatcher) newMethodLocked(name string) *method {
	m := &method{info: message.Method{Name: name}, domain: &domain{}, lanes: make(map[laneName]*lane)}
	m.domain.methods = []*method{m}
	m.grace.owner = m
	d.methods[name] = m
	d.unknown++
	return m
}

// routeLocked gives a method that no SDK worker serves to the plain workers,
// unless its last SDK worker has only just left and may come back.
func (d *Dispatcher) routeLocked(m *method) {
	if len(m.members) == 0 && d.catchAll.open > 0 && m.grace.when == 0 {
		m.joinLocked(d.catchAll, m.info.Name, false)
	}
}

// expireLocked is called when the workers of m did not come back in time.
func (m *method) expireLocked(d *Dispatcher, _ instant) {
	d.routeLocked(m)
	d.feedPoolLocked(d.catchAll)
}

// describeLocked finds or makes the method that a worker registers, by any of
// its names, so that return_non_sense and ReturnNonSense are one.
func (d *Dispatcher) describeLocked(info *message.Method) *method {
	m := d.methods[info.Name]
	for i := 0; m == nil && i < len(info.Aliases); i++ {
		m = d.methods[info.Aliases[i]]
	}
	if m == nil {
		m = d.newMethodLocked(info.Name)
	}
	if m.known && m.info.Name != info.Name {
		d.aliasLocked(m, info.Name)
	} else {
		aliases := m.info.Aliases
		old := m.info.Name
		m.info = *info
		m.info.Aliases = aliases
		d.methods[info.Name] = m
		if old != info.Name {
			d.aliasLocked(m, old)
		}
	}
	for _, alias := range info.Aliases {
		d.aliasLocked(m, alias)
	}
	if !m.known {
		m.known = true
		d.unknown--
	}
	return m
}

// maxNames bounds the names of one method: they add up over registrations.
const maxNames = 4 * message.MaxAliases

// aliasLocked makes name another name of m, unless it names something already
// or m has too many.
func (d *Dispatcher) aliasLocked(m *method, name string) {
	if name == m.info.Name {
		return
	}
	if o := d.methods[name]; o != nil && o != m {
		if o.known {
			return
		}
		d.absorbLocked(m, o)
	}
	if slices.Contains(m.info.Aliases, name) || len(m.info.Aliases) >= maxNames {
		return
	}
	d.methods[name] = m
	m.info.Aliases = append(m.info.Aliases[:len(m.info.Aliases):len(m.info.Aliases)], name)
}

// absorbLocked gives m the calls of o, a name that turns out to be m's.
func (d *Dispatcher) absorbLocked(m, o *method) {
	var moved []*call
	d.eachCallLocked(func(c *call) {
		if c.method == o {
			moved = append(moved, c)
		}
	})
	for _, c := range moved {
		if c.state == queued {
			d.dequeueLocked(c)
			c.method = m
			d.enqueueLocked(c)
		}
		c.method = m
	}
	m.calls += len(moved)
	d.forgetMethodLocked(o)
	for _, mb := range m.members {
		d.feedPoolLocked(mb.pool)
	}
}

// noWorkerLocked is the error of a queued call that no worker can be found for.
func (d *Dispatcher) noWorkerLocked(c *call) *message.Error {
	m := c.method
	if !m.known && !d.catchAll.seen {
		return d.noSuchMethodLocked(m.info.Name, c.session.config.May)
	}
	return message.Errorf(message.NoWorker,
		"method %q is known, but no worker serves it now; start one and call again", m.info.Name)
}

// maxHints is how many suggestions of near names are worked out between two
// Ticks: a flood of wrong names must not cost the others.
const maxHints = 8

// noSuchMethodLocked names the methods that the caller may have meant, of those it may call.
func (d *Dispatcher) noSuchMethodLocked(name string, may func(string) bool) *message.Error {
	if d.hints++; d.hints > maxHints {
		return message.Errorf(message.NoSuchMethod, "no worker serves a method %q", name)
	}
	var known []string
	for candidate, m := range d.methods {
		if m.known && candidate == m.info.Name && (may == nil || may(candidate)) { // one spelling of each is enough
			known = append(known, candidate)
		}
	}
	e := message.Errorf(message.NoSuchMethod, "no worker serves a method %q%s", name, message.DidYouMean(name, known))
	if near := message.Nearest(name, known, 3); len(near) > 0 {
		e.With("nearest", near)
	}
	return e
}
