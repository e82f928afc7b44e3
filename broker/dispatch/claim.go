package dispatch

import (
	"slices"

	"github.com/servicetools/servicetools/wire/message"
)

// claim is what a worker holds of a call that an earlier broker gave it, while
// its caller has not asked for it here: the running call, or its outcome.
type claim struct {
	running *assignment
	outcome *kept
}

// is reports whether the claim is the running call a.
func (c *claim) is(a *assignment) bool { return c != nil && c.running == a }

// Claim says that the worker still runs a call that an earlier broker gave it.
// It takes one of the slots that REGISTER announced as busy.
func (w *Worker) Claim(o message.Origin) {
	d := w.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if w.gone || w.plain || w.claimed[o] != nil {
		return
	}
	now := d.clock()
	if w.reserved > 0 {
		w.reserved--
		w.busy--
	}
	a := w.occupyLocked(now)
	a.claimed, a.origin = true, o
	if w.claimed == nil {
		w.claimed = make(map[message.Origin]*assignment)
	}
	w.claimed[o] = a
	w.pool.place(w)
	switch c := d.reclaiming[o]; {
	case c != nil && c.method.member(w.pool) != nil:
		d.bindLocked(c, a, now)
	case d.claims[o] == nil && now < d.claimEnd():
		d.claims[o] = &claim{running: a}
	default:
		w.sink.Cancel(a.ref()) // nobody will ask
	}
}

func (d *Dispatcher) claimEnd() instant { return d.started.add(d.limits.ClaimGrace) }

// bindLocked joins a resubmitted call to the slot that runs it.
func (d *Dispatcher) bindLocked(c *call, a *assignment, now instant) {
	d.leaveLocked(c)
	d.enterLocked(c, running)
	c.attempts, c.follows = 1, false
	c.assigned, a.call = a, c
	d.stats.Reclaimed++
	d.armLocked(c, now)
	if c.stream { // now the worker may send again what the client has not consumed
		a.worker.sink.Grant(a.ref(), c.window)
	}
}

// reclaimLocked looks for the worker that runs a resubmitted call, which is
// nowhere yet, or holds its outcome. If there is none, the call waits for one
// until the grace after the start is over.
func (d *Dispatcher) reclaimLocked(c *call, now instant) {
	d.enterLocked(c, reclaiming)
	c.resumed, c.follows = true, false
	if d.reclaiming[c.origin] != nil { // another key's call under the same session name: it has no claim
		d.lostClaimLocked(c, now)
		return
	}
	d.reclaiming[c.origin] = c
	k := d.claims[c.origin]
	switch {
	case k != nil && k.outcome != nil:
		d.kept.take(k.outcome)
		delete(d.claims, c.origin)
		d.stats.Reclaimed++
		d.endLocked(c, &k.outcome.answer)
	case k != nil && c.method.member(k.running.worker.pool) != nil:
		delete(d.claims, c.origin)
		d.bindLocked(c, k.running, now)
	case now >= d.claimEnd():
		d.lostClaimLocked(c, now)
	default:
		d.armLocked(c, now)
	}
}

// lostClaimLocked ends the wait of a resubmitted call that no worker knows. It
// may have run, so it runs only if that does no harm.
func (d *Dispatcher) lostClaimLocked(c *call, now instant) {
	if !c.repeat() {
		d.failLocked(c, errUnclaimed)
		return
	}
	d.leaveLocked(c)
	c.attempts = 1
	d.stats.Redispatched++
	d.admitLocked(c, now)
}

// unaskedLocked takes an outcome that a worker kept from an earlier broker.
func (d *Dispatcher) unaskedLocked(w *Worker, origin message.Origin, o *answer) {
	c := d.reclaiming[origin]
	switch {
	case c != nil && c.method.member(w.pool) != nil && o.back():
		d.leaveLocked(c)
		d.stats.Returned++
		d.admitLocked(c, d.clock())
	case c != nil && c.method.member(w.pool) != nil:
		d.stats.Reclaimed++
		d.endLocked(c, o)
	case d.claims[origin] == nil:
		d.keepClaimLocked(origin, o)
	default:
		d.stats.Late++
	}
}

// keepClaimLocked keeps an outcome until its caller asks.
func (d *Dispatcher) keepClaimLocked(origin message.Origin, o *answer) {
	now := d.clock()
	k := &kept{answer: *o, until: now.add(d.limits.KeepOutcome), forget: func() { delete(d.claims, origin) }}
	k.body, k.memory = slices.Clone(o.body), nil
	d.claims[origin] = &claim{outcome: k}
	d.kept.add(k)
	d.kept.trim(now, d.limits.KeepBytes)
}

// claimsEnd is the end of the grace after the start: workers stop what nobody
// has asked for.
type claimsEnd struct{}

func (claimsEnd) expireLocked(d *Dispatcher, _ instant) {
	for origin, k := range d.claims {
		if k.running != nil {
			delete(d.claims, origin)
			k.running.worker.sink.Cancel(k.running.ref())
		}
	}
}

var errUnclaimed = message.Errorf(message.ConnectionLost,
	"the broker was restarted while it held the call, and no worker knows the outcome; it may have run")
