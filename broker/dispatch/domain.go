package dispatch

import (
	"slices"

	"github.com/servicetools/servicetools/wire/message"
)

// prioritySpan is how many rounds of fair turns a high call is moved ahead of
// normal ones, and a low call behind them. Rounds pass as calls are taken, so
// a low call waits for at most that many turns of each other client: it ages.
const prioritySpan = 256

// domain is a set of methods that compete for the same workers, because some
// pool serves several of them. Fairness between clients holds in a domain
// (start-time fair queueing): each queued call gets a tag one above its
// client's last one, or above the virtual time when the client was idle, and
// the smallest tag goes first. Backlog for slow workers of one domain says
// nothing about a client's turn in another.
type domain struct {
	virtual int64 // the largest tag that was dispatched
	methods []*method
	merged  *domain // what this domain has become a part of; nil = itself
	shift   int64   // what was added to the tags of this domain then
}

// flow is the last tag of one client in one domain, for each priority: a
// client's urgent call does not wait behind its own backlog.
type flow struct {
	domain *domain
	last   [message.PriorityLow + 1]int64
}

// maxFlows is how many domains a client may have met before the idle ones are forgotten.
const maxFlows = 16

// idle reports whether forgetting f changes nothing.
func (f flow) idle() bool {
	return f.domain.merged != nil || slices.Max(f.last[:]) <= f.domain.virtual
}

// tag returns the client's next tag.
func (c *client) tag(d *domain, p message.Priority) int64 {
	f := c.flow(d)
	f.last[p] = max(d.virtual, f.last[p]) + 1
	return f.last[p]
}

// flow finds or makes the client's flow in d. A client meets few domains.
func (c *client) flow(d *domain) *flow {
	for i := range c.flows {
		f := &c.flows[i]
		for f.domain.merged != nil {
			for p := range f.last {
				f.last[p] += f.domain.shift
			}
			f.domain = f.domain.merged
		}
		if f.domain == d {
			return f
		}
	}
	if len(c.flows) >= maxFlows {
		c.flows = slices.DeleteFunc(c.flows, flow.idle)
	}
	c.flows = append(c.flows, flow{domain: d})
	return &c.flows[len(c.flows)-1]
}

// order is the place of a call with the given tag.
func order(tag int64, p message.Priority) int64 {
	switch p {
	case message.PriorityHigh:
		return tag - prioritySpan
	case message.PriorityLow:
		return tag + prioritySpan
	}
	return tag
}

// merge makes the methods of both compete. The tags of the smaller one are moved
// so that both virtual times are now.
func (d *domain) merge(o *domain) {
	if o == d {
		return
	}
	if len(o.methods) > len(d.methods) {
		d, o = o, d
	}
	o.merged, o.shift = d, d.virtual-o.virtual
	for _, m := range o.methods {
		m.domain = d
		for i := range m.queue.entries {
			m.queue.entries[i].rank.order += o.shift
		}
		for i := range m.suspects.entries {
			m.suspects.entries[i].rank.order += o.shift
		}
		m.eachWaiting(func(c *call) {
			c.rank.order += o.shift
			c.fair += o.shift
		})
		m.rankedLocked()
		m.suspectedLocked()
	}
	d.methods = append(d.methods, o.methods...)
	o.methods = nil
}

// drop forgets a method.
func (d *domain) drop(m *method) {
	if i := slices.Index(d.methods, m); i >= 0 {
		d.methods = slices.Delete(d.methods, i, i+1)
	}
}
