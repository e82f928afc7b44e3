package dispatch

import (
	"hash/maphash"
	"slices"

	"github.com/servicetools/servicetools/wire/message"
)

// recordName is an idempotency key with what it is unique in.
type recordName struct{ client, method, key string }

// record is what is known under an idempotency key: the call that runs for it,
// or its outcome. Guarded by Dispatcher.mu.
type record struct {
	name    recordName
	payload uint64  // hash of the request
	holder  *call   // runs, or waits to run, for all; nil once it has ended
	joined  []*call // wait for the holder's outcome
	outcome *kept   // once it has ended
}

var payloadSeed = maphash.MakeSeed()

// recordLocked returns the record of the request's key, or nil when there is none.
func (d *Dispatcher) recordLocked(client string, m *method, r *Request) (*record, *message.Error) {
	known := d.records[recordName{client, m.info.Name, string(r.Key)}]
	if known == nil || r.Resubmit {
		return nil, nil
	}
	if known.payload != maphash.Bytes(payloadSeed, r.Body) {
		return nil, message.Errorf(message.IdempotencyClash,
			"the idempotency key %q was used with other arguments of method %q; use a new key for a new request", r.Key, m.info.Name)
	}
	return known, nil
}

// mayHaveRunLocked reports whether a request that is refused now may have run
// earlier: under its own number at another broker, or under its key here.
func (d *Dispatcher) mayHaveRunLocked(client string, r *Request) bool {
	if r.Resubmit || len(r.Key) == 0 {
		return r.Resubmit
	}
	method := string(r.Method)
	if m := d.methods[method]; m != nil {
		method = m.info.Name
	}
	return d.records[recordName{client, method, string(r.Key)}] != nil
}

// holdKeyLocked makes c the holder of its idempotency key if nobody is.
func (d *Dispatcher) holdKeyLocked(c *call, r *Request) {
	name := recordName{c.client.key, c.method.info.Name, string(r.Key)}
	if d.records[name] == nil {
		c.record = &record{name: name, payload: maphash.Bytes(payloadSeed, r.Body), holder: c}
		d.records[name] = c.record
	}
}

// joinLocked makes c, which is nowhere, wait for the record's outcome, or gives
// it the one that is stored.
func (d *Dispatcher) joinLocked(c *call, known *record) {
	d.stats.Joined++
	d.enterLocked(c, joined)
	c.record = known
	known.joined = append(known.joined, c)
	if known.outcome != nil {
		d.endLocked(c, &known.outcome.answer)
		return
	}
	d.armLocked(c, d.clockLocked())
	if orphan := known.holder; orphan.session == nil { // c takes its place, so that it can run again
		d.passOnLocked(orphan)
		d.failLocked(orphan, errCancelled)
	}
}

// leave takes a joined call out.
func (r *record) leave(c *call) {
	if i := slices.Index(r.joined, c); i >= 0 {
		r.joined = slices.Delete(r.joined, i, i+1)
	}
}

// passOnLocked is called before c ends for its own caller only. If others wait
// for the same key, the first of them takes c's place, and c waits instead.
func (d *Dispatcher) passOnLocked(c *call) {
	r := c.record
	if r == nil || r.holder != c || len(r.joined) == 0 || c.state == reclaiming {
		return
	}
	next := r.joined[0]
	r.joined[0] = c
	r.holder = next
	next.attempts, next.crashed, next.suspect = c.attempts, c.crashed, c.suspect
	next.rank, next.fair, next.follows = c.rank, c.fair, false
	next.state, c.state = c.state, joined
	if next.state == running {
		next.assigned, c.assigned = c.assigned, nil
		next.assigned.call = next
	} else {
		d.dequeueLocked(c)
		d.enqueueLocked(next)
	}
	d.armLocked(next, d.clockLocked())
}

// settleLocked stores the outcome of the key's holder and ends those who wait
// for it. An outcome that says the call never ran is not stored: the next
// request with the key runs.
func (d *Dispatcher) settleLocked(c *call, o *answer) {
	r := c.record
	c.record = nil
	if r.holder != c {
		return
	}
	r.holder = nil
	if o.ran == message.NotExecuted {
		delete(d.records, r.name)
	} else {
		r.outcome = &kept{answer: *o, until: d.clockLocked().add(d.limits.KeepOutcome), name: r.name.key, forget: func() { delete(d.records, r.name) }}
		r.outcome.body, r.outcome.memory = slices.Clone(o.body), nil
		d.stored.add(r.outcome)
		d.stored.trim(d.clockLocked(), d.limits.KeepBytes)
	}
	for len(r.joined) > 0 {
		d.endLocked(r.joined[0], o)
	}
}
