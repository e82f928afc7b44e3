package workersdk

import "sync"

// pool runs calls in at most limit goroutines, in the order in which they
// came. Goroutines are used again, since their stacks have grown, and end when
// they were idle for a while.
type pool struct {
	run   func(*call)
	limit int

	mu         sync.Mutex
	work       sync.Cond // signalled for each idle goroutine that shall look; waits with mu
	queue      []*call   // not started; queue[head:] is in use
	head       int
	goroutines int
	idle       int // wait for work and were not signalled
	leastIdle  int // since the last trim
	retiring   int // signalled to end
	closed     bool

	ended sync.WaitGroup // one for each goroutine
}

func newPool(limit int, run func(*call)) *pool {
	p := &pool{run: run, limit: limit}
	p.work.L = &p.mu
	return p
}

// submit queues c.
func (p *pool) submit(c *call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, c)
	switch {
	case p.idle > 0:
		p.wakeLocked(1)
	case p.goroutines < p.limit:
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
	for {
		c := p.next()
		if c == nil {
			return
		}
		p.run(c)
	}
}

func (p *pool) exit() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.goroutines--
	if p.head < len(p.queue) {
		p.startLocked()
	}
	p.ended.Done()
}

// next waits for a call, or returns nil to end the goroutine.
func (p *pool) next() *call {
	p.mu.Lock()
	defer p.mu.Unlock()
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
	}
	c := p.queue[p.head]
	p.queue[p.head] = nil
	if p.head++; p.head == len(p.queue) {
		p.queue, p.head = p.queue[:0], 0
	}
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
