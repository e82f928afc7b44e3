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
//
// The goroutine that reads the link runs such calls itself, in runHere, if no other does:
// to wake one costs as much as some twenty calls. What it does not read meanwhile waits
// no longer than the calls behind.
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
	readOn   func()         // relieves the goroutine that is in runHere; nil = none is, or it was relieved
	patience *time.Timer    // nil until it is needed
	waiting  time.Duration  // what patience is set to; 0 = it is not
	calm     bool           // for a moment since then, nothing was under way

	ended sync.WaitGroup // one for each goroutine
}

// briefWait is how long brief calls may keep others waiting, and their own results
// back; within it fewBrief calls at least are to begin. In runHere a clock is looked at
// for that, and the timer is for a call that does not return: to set it wakes another
// processor, which with briefWait would be an eighth of what a small call costs.
const (
	briefWait = 500 * time.Microsecond
	hereWait  = 5 * time.Millisecond
	fewBrief  = 16
)

func newPool(limit int, run func(*call), flush func()) *pool {
	p := &pool{run: run, flush: flush, limit: limit}
	p.work.L = &p.mu
	return p
}

// submit queues calls, and sees to it that they run.
func (p *pool) submit(calls ...*call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queueLocked(calls)
	if p.brief > 0 {
		p.setPatienceLocked(briefWait)
	} else {
		p.callLocked()
	}
}

// submitHere queues calls for runHere, which the caller must call soon. Only if it would
// not take them somebody else is called.
func (p *pool) submitHere(calls ...*call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queueLocked(calls)
	switch {
	case p.brief > 0:
		p.setPatienceLocked(briefWait)
	case !p.briefNextLocked():
		p.callLocked()
	}
}

func (p *pool) queueLocked(calls []*call) {
	if p.head > len(p.queue)/2 { // of a worker that is never idle it would grow without end
		n := copy(p.queue, p.queue[p.head:])
		clear(p.queue[n:])
		p.queue, p.head = p.queue[:n], 0
	}
	p.queue = append(p.queue, calls...)
}

// briefNextLocked reports whether there is a next call, and it is likely to be brief. A
// stream waits for its caller.
func (p *pool) briefNextLocked() bool {
	if p.head == len(p.queue) {
		return false
	}
	c := p.queue[p.head]
	return c.method != nil && !c.stream && c.method.Pace.Brief()
}

// runHere runs calls of the queue in the caller's goroutine while the next one is likely to
// be brief, unless another goroutine does. If one takes long after all, readOn is called.
func (p *pool) runHere(readOn func()) {
	p.mu.Lock()
	if p.brief > 0 || !p.briefNextLocked() {
		if p.brief == 0 {
			p.callLocked()
		}
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
	s.loop()
}

// setPatienceLocked begins the time that brief calls have, unless it has begun.
func (p *pool) setPatienceLocked(d time.Duration) {
	switch {
	case p.waiting > 0 && p.waiting <= d:
		return
	case p.patience == nil:
		p.patience = time.AfterFunc(d, p.losePatience)
	default:
		p.patience.Reset(d)
	}
	p.waiting, p.calm, p.seen = d, false, p.taken
}

// losePatience is what the timer runs. If the pool was not calm meanwhile, help is
// called, and if few calls have begun, one that is not brief is in the way. What is
// held back is sent in any case.
func (p *pool) losePatience() {
	readOn := p.impatient()
	if readOn != nil {
		readOn()
	}
	p.flush()
}

// impatient returns how to relieve the goroutine that is in runHere, if it is in the way.
func (p *pool) impatient() (readOn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = 0
	if !p.calm {
		if p.brief > 0 && p.taken-p.seen < fewBrief {
			p.last.Pace.Overran()
			p.brief = 0
			p.lost++
			readOn, p.readOn = p.readOn, nil
		}
		p.callLocked()
	}
	switch {
	case p.readOn != nil:
		p.setPatienceLocked(hereWait)
	case p.head < len(p.queue):
		p.setPatienceLocked(briefWait)
	}
	return readOn
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
