package workersdk

import "time"

// runHere runs calls of the queue in the caller's goroutine while the next one is likely to
// be brief, unless another goroutine does. If one takes long after all, readOn is called.
func (p *pool) runHere(readOn func()) {
	p.mu.Lock()
	if p.brief > 0 { // another goroutine does
		p.mu.Unlock()
		return
	}
	if !p.briefNextLocked() {
		p.callLocked()
		p.mu.Unlock()
		return
	}
	p.goroutines++
	p.ended.Add(1)
	p.readOn = readOn
	s := shift{pool: p, here: true, lost: p.lost, taken: p.taken, began: time.Now()}
	p.mu.Unlock()
	s.loop()
}

// briefNextLocked reports whether there is a next call, and it is likely to be brief. A
// stream waits for its caller.
func (p *pool) briefNextLocked() bool {
	if p.head == len(p.queue) {
		return false
	}
	c := p.queue[p.head]
	return !c.stream && c.likelyBrief()
}
