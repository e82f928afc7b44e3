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
	attempt uint8 // that the outcome is of; 0 = the worker did not say
}

// is reports whether the claim is the running call a.
func (c *claim) is(a *assignment) bool { return c != nil && c.running == a }

// maxClaims bounds the claims of one worker: it has no more calls and outcomes at once.
const maxClaims = 2 * message.MaxConcurrency

// Claim says that the worker still runs a call that an earlier broker gave it,
// in that attempt; 0 = it does not say. It takes one of the slots that REGISTER
// announced as busy, unless the call has ended: then the worker holds only what
// its caller has not got. A second Claim of a call can say that it has ended.
func (w *Worker) Claim(o message.Origin, attempt uint8, ended bool) {
	d := w.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if w.gone || w.plain {
		return
	}
	if a := w.claimed[o]; a != nil {
		if ended && !a.ended {
			a.ended = true
			w.busy--
			d.feedLocked(w)
		}
		return
	}
	if len(w.claimed) >= maxClaims {
		w.sink.Cancel(Ref{Origin: o})
		return
	}
	now := d.clockLocked()
	if w.reserved > 0 && !ended {
		w.reserved--
		w.busy--
	}
	a := w.occupyLocked(now)
	a.claimed, a.origin, a.attempt, a.ended = true, o, attempt, ended
	if ended {
		w.busy--
	}
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
	c.attempts, c.follows = max(c.attempts, a.attempt), false
	c.crashed = c.attempts > 1
	c.assigned, a.call = a, c
	c.tellAttemptLocked()
	d.stats.Reclaimed++
	d.armLocked(c, now)
	if c.stream { // now the worker may send again what the client has not consumed
		a.worker.sink.Grant(a.ref(), c.window)
	}
}

// reclaimLocked looks for the worker that runs a resubmitted call, which is
// nowhere yet, or holds its outcome. If there is none, the call waits for one
// until the grace after the start is over. known is the attempt that the client
// knows of: the call may have got no further than the first.
func (d *Dispatcher) reclaimLocked(c *call, known uint8, now instant) {
	d.enterLocked(c, reclaiming)
	c.resumed, c.follows = true, false
	c.attempts, c.crashed = max(known, 1), known > 1
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
		if k.outcome.back() {
			d.takeBackLocked(c, k.attempt, now)
			return
		}
		d.stats.Reclaimed++
		d.endLocked(c, d.ofAllLocked(c, &k.outcome.answer, k.attempt))
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
// may have run, so it runs only if that does no harm, and has an attempt left.
func (d *Dispatcher) lostClaimLocked(c *call, now instant) {
	if !c.repeat() || int(c.attempts) >= d.limits.MaxAttempts {
		d.failLocked(c, errUnclaimed)
		return
	}
	d.leaveLocked(c)
	d.stats.Redispatched++
	d.admitLocked(c, now)
}

// takeBackLocked gives a resubmitted call to others that its worker has handed
// back: that attempt never ran. If the worker did not say which it was, nobody
// knows whether an earlier one did.
func (d *Dispatcher) takeBackLocked(c *call, attempt uint8, now instant) {
	d.leaveLocked(c)
	d.stats.Returned++
	if attempt > 0 {
		c.attempts = max(c.attempts, attempt) - 1
	}
	d.admitLocked(c, now)
}

// unaskedLocked takes an outcome that a worker kept from an earlier broker.
func (d *Dispatcher) unaskedLocked(w *Worker, ref Ref, o *answer) {
	origin := ref.Origin
	c := d.reclaiming[origin]
	switch {
	case c != nil && c.method.member(w.pool) != nil && o.back():
		d.takeBackLocked(c, ref.Attempt, d.clockLocked())
	case c != nil && c.method.member(w.pool) != nil:
		d.stats.Reclaimed++
		d.endLocked(c, d.ofAllLocked(c, o, ref.Attempt))
	case d.claims[origin] == nil:
		d.keepClaimLocked(origin, ref.Attempt, o)
	default:
		d.stats.Late++
	}
}

// keepClaimLocked keeps an outcome until its caller asks.
func (d *Dispatcher) keepClaimLocked(origin message.Origin, attempt uint8, o *answer) {
	now := d.clockLocked()
	k := &kept{answer: *o, until: now.add(d.limits.KeepOutcome), forget: func() { delete(d.claims, origin) }}
	k.body, k.memory = slices.Clone(o.body), nil
	d.claims[origin] = &claim{outcome: k, attempt: attempt}
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
