package workersdk

import (
	"sync"
	"time"

	"github.com/servicetools/servicetools/workersdk/method"
)

// pool runs calls in the order in which they came: in goroutines of its own, of which it
// starts none when there are limit already, and in those that call runHere. Its own
// are used again, since their stacks have grown, and end when they were idle for a
// while.
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
	goroutines int  // the pool's own, and those in runHere
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
	patience *time.Timer    // nil until it is needed
	waiting  time.Duration  // what patience was set to; 0 = it is not set
	due      time.Time      // when it ends
	calm     bool           // for a moment since then, nothing was under way

	here here

	ended sync.WaitGroup // one for each goroutine
}

const (
	// briefWait is how long brief calls may keep others waiting, and their own results
	// back. Within it fewBrief calls at least are to begin.
	briefWait = 500 * time.Microsecond
	fewBrief  = 16
	// hereWait takes its place in the timer while runHere runs calls: it is for a call that
	// does not return. For briefWait runHere looks at a clock. To set a timer wakes another
	// processor, which each briefWait would be an eighth of what a small call costs.
	hereWait = 5 * time.Millisecond
)

func newPool(limit int, run func(*call), flush func()) *pool {
	p := &pool{run: run, flush: flush, limit: limit}
	p.work.L = &p.mu
	return p
}

// submit queues calls, and sees to it that they run.
func (p *pool) submit(calls ...*call) { p.add(calls, false) }

// submitHere queues calls for runHere, which the caller calls when the turn ends. If the
// link ends first they wait until they are withdrawn. Help is called only if runHere would
// not take the first one.
func (p *pool) submitHere(calls ...*call) { p.add(calls, true) }

func (p *pool) add(calls []*call, here bool) {
	if len(calls) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.head > len(p.queue)/2 { // of a worker that is never idle it would grow without end
		n := copy(p.queue, p.queue[p.head:])
		clear(p.queue[n:])
		p.queue, p.head = p.queue[:n], 0
	}
	p.queue = append(p.queue, calls...)
	if here {
		now := time.Now()
		here = now.Sub(p.here.came) <= hereWait
		p.here.came, p.here.often = now, here
	}
	switch {
	case p.brief > 0:
		p.setPatienceLocked(briefWait)
	case !here || !p.briefNextLocked():
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
	s.loop(s.next())
}

// setPatienceLocked has the pool lose its patience after d, unless that happens no later
// than d from when it was set.
func (p *pool) setPatienceLocked(d time.Duration) {
	if p.waiting > 0 && p.waiting <= d {
		return
	}
	due := time.Now().Add(d) // no later than the timer ends
	if p.patience == nil {
		p.patience = time.AfterFunc(d, p.losePatience)
	} else {
		p.patience.Reset(d)
	}
	p.waiting, p.due, p.calm, p.seen, p.here.seen = d, due, false, p.taken, p.here.begun
}

// losePatience is what the timer runs.
func (p *pool) losePatience() {
	p.mu.Lock()
	p.judgeLocked()
	p.mu.Unlock()
	p.flush() // what is held back is sent in any case
}

// judgeLocked calls help if the pool was not calm since patience was set. If few calls have
// begun, one that is not brief is in the way, and if none has in runHere, the
// goroutine that reads is in one: it is relieved.
func (p *pool) judgeLocked() {
	if p.waiting == 0 || time.Now().Before(p.due) {
		return // the timer was set anew when it had just ended
	}
	p.waiting = 0
	switch h := &p.here; {
	case h.readOn != nil && h.begun == h.seen:
		p.loseLocked(h.last)
		p.relieveLocked()
		p.callLocked()
	case p.calm:
	case p.brief > 0 && p.taken-p.seen < fewBrief:
		p.loseLocked(p.last)
		p.callLocked()
	default:
		p.callLocked()
	}
	switch {
	case p.here.readOn != nil:
		p.setPatienceLocked(hereWait)
	case p.head < len(p.queue):
		p.setPatienceLocked(briefWait)
	}
}

// loseLocked is for a method whose call takes long after all.
func (p *pool) loseLocked(m *method.Method) {
	m.Pace.Overran()
	p.brief = 0
	p.lost++
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
