package clientsdk

import (
	"context"
	"sync/atomic"

	"github.com/servicetools/servicetools/wire/zmtp"
)

// waits counts who waits for what comes by a session's link: for an outcome, for a stream, for
// places of a map, or to leave. It decides who reads: see zmtp.Link.RunLent.
type waits struct {
	calls  atomic.Int64 // that are no futures: somebody waits for each. Changed with session.mu held
	others atomic.Int64 // who wait
	crowd  atomic.Bool  // there was more than one, or much came, since told was last called
	ended  atomic.Bool  // one has ended since then
}

// beginWait counts one more who waits, not for a call of its own. The caller looks afterwards
// whether its wait is over.
func (s *session) beginWait() {
	w := &s.waits
	if w.others.Add(1)+w.calls.Load() > 1 {
		w.setCrowd()
	}
	s.reclaim()
}

// reclaim has somebody read, for one who waits, is counted, and does not read.
func (s *session) reclaim() {
	if link := s.present.Load(); link != nil {
		link.Reclaim()
	}
}

// much is how many outcomes of a message are so much work that another goroutine does better
// to read, while the one that waits makes calls: to wake that is nothing beside it.
const much = 128

// came notes how many outcomes came with a message.
func (w *waits) came(outcomes int) {
	if outcomes >= much {
		w.setCrowd()
	}
}

func (w *waits) setCrowd() {
	if !w.crowd.Load() { // in a crowd all would write it
		w.crowd.Store(true)
	}
}

// endWait is called once for each beginWait.
func (s *session) endWait() {
	s.waits.others.Add(-1)
	s.waits.setEnded()
}

// beginLocked counts the one who waits for c, if c is no future. Needs session.mu.
func (w *waits) beginLocked(c *call) {
	if c.future != nil {
		return
	}
	calls := w.calls.Load() + 1
	w.calls.Store(calls)
	if calls+w.others.Load() > 1 {
		w.setCrowd()
	}
}

// endLocked takes back what beginLocked did. Needs session.mu.
func (w *waits) endLocked(c *call) {
	if c.future == nil {
		w.calls.Store(w.calls.Load() - 1)
		w.setEnded()
	}
}

func (w *waits) setEnded() {
	if !w.ended.Load() {
		w.ended.Store(true)
	}
}

func (w *waits) count() int { return int(w.calls.Load() + w.others.Load()) }

// told returns the count, and what has happened since it was told last.
func (w *waits) told() zmtp.Waits {
	now := w.count()
	return zmtp.Waits{
		Now:   now,
		Crowd: w.crowd.Load() && w.crowd.Swap(now > 1) || w.count() > 1, // who came meanwhile may not have set it
		Ended: w.ended.Load() && w.ended.Swap(false),
	}
}

// readUntilDone has the caller read the link for a while, until c ends, if the link lets it, and
// reports whether it took the token of c.done. That ctx ends meanwhile is noticed later.
func (c *call) readUntilDone(ctx context.Context) bool {
	link := c.session.present.Load()
	return link != nil && link.ReadUntil(ctx.Done(), c.over.Load, func() <-chan struct{} { return c.done })
}
