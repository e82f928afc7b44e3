package workersdk

import "sync"

// pool runs calls in at most limit goroutines, in the order in which they
// came. Goroutines are used again, since their stacks have grown, and end when
// they were idle for a while.
//
// One goroutine at a time is woken to look for work, and wakes the next once it
// has found some: as many run as there are calls that block or processors that
// have time, while short calls pass through few goroutines. To wake one for each
// call costs a third of the rate of small calls.
type pool struct {
	run   func(*call)
	limit int

	mu         sync.Mutex
	work       sync.Cond // signalled for each idle goroutine that shall look; waits with mu
	queue      []*call   // not started; queue[head:] is in use
	head       int
	goroutines int
	idle       int  // wait for work and were not signalled
	leastIdle  int  // since the last trim
	coming     bool // a goroutine was woken or started and has not looked yet
	retiring   int  // signalled to end
	closed     bool

	ended sync.WaitGroup // one for each goroutine
}

func newPool(limit int, run func(*call)) *pool {
	p := &pool{run: run, limit: limit}
	p.work.L = &p.mu
	return p
}

// submit queues calls.
func (p *pool) submit(calls ...*call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, calls...)
	p.callLocked()
}

// callLocked sees to it that a goroutine looks for work, if there is some and
// none is coming.
func (p *pool) callLocked() {
	switch {
	case p.coming || p.head == len(p.queue):
	case p.idle > 0:
		p.coming = true
		p.wakeLocked(1)
	case p.goroutines < p.limit:
		p.coming = true
		p.startLocked()
	}
}

func (p *pool) wakeLocked(n int) {
	p.idle -= n
	p.leastIdle = min(p.leastIdle, p.idle)
	for range n {
		p.work.Signal()
	}
}

func (p *pool) startLocked() {
	p.goroutines++
	p.ended.Add(1)
	go p.loop()
}

// loop ends by returning, or by a method that calls runtime.Goexit.
func (p *pool) loop() {
	defer p.exit()
	for c := p.next(true); c != nil; c = p.next(false) {
		p.run(c)
	}
}

func (p *pool) exit() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.goroutines--
	p.callLocked() // a method may have ended the goroutine with calls waiting
	p.ended.Done()
}

// next waits for a call, or returns nil to end the goroutine, which came to look
// or has run a call.
func (p *pool) next(came bool) *call {
	p.mu.Lock()
	defer p.mu.Unlock()
	if came {
		p.coming = false
	}
	for p.head == len(p.queue) {
		if p.closed {
			return nil
		}
		if p.retiring > 0 {
			p.retiring--
			return nil
		}
		p.idle++
		p.work.Wait()
		p.coming = false
	}
	c := p.queue[p.head]
	p.queue[p.head] = nil
	if p.head++; p.head == len(p.queue) {
		p.queue, p.head = p.queue[:0], 0
	}
	p.callLocked()
	return c
}

// withdraw takes out and returns the calls that were not started.
func (p *pool) withdraw() []*call {
	p.mu.Lock()
	defer p.mu.Unlock()
	calls := append([]*call(nil), p.queue[p.head:]...)
	clear(p.queue)
	p.queue, p.head = p.queue[:0], 0
	return calls
}

// trim ends the goroutines that were idle since the last trim.
func (p *pool) trim() {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := min(p.leastIdle, p.idle)
	p.retiring += n
	p.wakeLocked(n)
	p.leastIdle = p.idle
}

// close ends the idle goroutines now, and the others when their call returns.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.wakeLocked(p.idle)
}
