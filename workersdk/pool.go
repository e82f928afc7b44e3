package workersdk

import (
	"sync"
	"time"

	"github.com/servicetools/servicetools/workersdk/method"
)

// pool runs calls in at most limit goroutines, in the order in which they
// came. Goroutines are used again, since their stacks have grown, and end when
// they were idle for a while.
//
// One goroutine at a time is woken to look for work, and wakes the next once it
// has found some: as many run as there are calls that block or processors that
// have time, while short calls pass through few goroutines. To wake one for each
// call costs a third of the rate of small calls.
//
// A goroutine that has found a call which is likely to be brief (method.Pace) wakes
// none: it will be back before another could have come, and two that share
// a stream of short calls wait for each other's locks and caches. What the calls
// behind it have to fear, a call that takes long after all, ends with the patience
// of the pool. That is a sixth of what a small call costs a worker while many are under way.
type pool struct {
	run   func(*call)
	flush func() // sends what run has held back; called without mu
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

	brief    int            // goroutines that run a call which is likely to be brief, and have not lost our patience
	lost     int            // how often some have
	last     *method.Method // of the last such call
	taken    int            // calls that were begun, ever
	seen     int            // taken when patience was set
	patience *time.Timer    // ends briefWait after it was set; nil until it is needed
	waiting  bool           // patience is set
	calm     bool           // for a moment since then, nothing was under way

	ended sync.WaitGroup // one for each goroutine
}

// briefWait is how long brief calls may keep others waiting, and their own results
// back; within it fewBrief calls at least are to begin.
const (
	briefWait = 500 * time.Microsecond
	fewBrief  = 16
)

func newPool(limit int, run func(*call), flush func()) *pool {
	p := &pool{run: run, flush: flush, limit: limit}
	p.work.L = &p.mu
	return p
}

// submit queues calls.
func (p *pool) submit(calls ...*call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.head > len(p.queue)/2 { // of a worker that is never idle it would grow without end
		n := copy(p.queue, p.queue[p.head:])
		clear(p.queue[n:])
		p.queue, p.head = p.queue[:n], 0
	}
	p.queue = append(p.queue, calls...)
	if p.brief > 0 {
		p.setPatienceLocked()
	} else {
		p.callLocked()
	}
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
	s := shift{pool: p, came: true}
	defer s.end()
	for c := s.next(); c != nil; c = s.next() {
		s.run(c)
	}
}

// setPatienceLocked begins the time that brief calls have, unless it has begun.
func (p *pool) setPatienceLocked() {
	switch {
	case p.waiting:
		return
	case p.patience == nil:
		p.patience = time.AfterFunc(briefWait, p.losePatience)
	default:
		p.patience.Reset(briefWait)
	}
	p.waiting, p.calm, p.seen = true, false, p.taken
}

// losePatience is what the timer runs. If the pool was not calm meanwhile, help is
// called, and if few calls have begun, one that is not brief is in the way. What is
// held back is sent in any case.
func (p *pool) losePatience() {
	p.mu.Lock()
	p.waiting = false
	if !p.calm {
		if p.brief > 0 && p.taken-p.seen < fewBrief {
			p.last.Pace.Overran()
			p.brief = 0
			p.lost++
		}
		p.callLocked()
	}
	if p.head < len(p.queue) {
		p.setPatienceLocked()
	}
	p.mu.Unlock()
	p.flush()
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
	if p.patience != nil {
		p.patience.Stop()
	}
}
