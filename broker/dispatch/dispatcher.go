package dispatch

import (
	crand "crypto/rand"
	"math/rand/v2"
	"time"

	"github.com/servicetools/servicetools/wire/message"
)

// Config is what a Dispatcher is made of. The zero value is ready to use.
type Config struct {
	// Now is the clock; it must be monotonic. Default: that of the system.
	Now func() time.Time

	// Seed makes tokens and session names repeatable in tests. The zero value
	// takes one from the operating system.
	Seed [32]byte

	Limits Limits
}

// Dispatcher holds all calls, workers and sessions of a broker. Its methods,
// and those of the Sessions and Workers it gives out, may be called from any
// goroutine; they lock it and call sinks while it is locked.
type Dispatcher struct {
	now     func() time.Time // static
	base    time.Time        // static
	started instant          // static

	// mu guards everything below, and all of every Session, Worker, call,
	// method, pool, domain and client. What a client's link calls takes it by
	// LockForClient.
	mu       mutex
	limits   Limits
	stopped  instant // what clockLocked tells; 0 = the clock runs
	draining bool    // takes no new call, except of the broker's own methods
	drained  bool    // takes no new call at all

	clients  map[string]*client
	sessions map[sessionName]*Session
	plain    map[*Session]struct{} // sessions of plain peers: they have no name
	methods  map[string]*method    // by each of its names
	pools    map[string]*pool
	unknown  int     // methods that no SDK worker has served
	reserve  instant // since when nobody serves unknown names: the start, or the last plain worker's end
	hints    int     // suggestions of near names made since the last Tick
	catchAll *pool   // plain workers, which serve what nobody else does
	workers  map[string]*Worker
	unacked  []*Worker // workers with outcomes to be acknowledged
	nextAck  instant   // when their next turn is

	assignments assignments
	wheel       wheel
	reclaiming  map[message.Origin]*call
	claims      map[message.Origin]*claim
	claimsEnd   timer
	kept        keeper // outcomes that were claimed and that no caller has asked for
	records     map[recordName]*record
	stored      keeper // outcomes for idempotency keys

	held     struct{ calls, bytes int64 } // of all clients
	sequence uint64                       // of the last call that was accepted
	stats    Stats
	failed   map[message.Code]uint64
	refused  map[message.Code]uint64
	rate     rate

	// Recycled, or reused by each call.
	calls      []*call
	lanes      []*lane
	buffers    buffers
	scratch    []byte
	outcome    Outcome
	assignment Assignment
}

// New returns a dispatcher without sessions and workers.
func New(cfg Config) *Dispatcher {
	if cfg.Now == nil {
		began := time.Now()
		cfg.Now = func() time.Time { return began.Add(time.Since(began)) } // time.Now reads two clocks
	}
	if cfg.Seed == [32]byte{} {
		crand.Read(cfg.Seed[:]) // never fails
	}
	d := &Dispatcher{
		now:        cfg.Now,
		base:       cfg.Now().Add(-granularity.duration()),
		limits:     cfg.Limits.withDefaults(),
		clients:    make(map[string]*client),
		sessions:   make(map[sessionName]*Session),
		plain:      make(map[*Session]struct{}),
		methods:    make(map[string]*method),
		pools:      make(map[string]*pool),
		workers:    make(map[string]*Worker),
		reclaiming: make(map[message.Origin]*call),
		claims:     make(map[message.Origin]*claim),
		records:    make(map[recordName]*record),
		failed:     make(map[message.Code]uint64),
		refused:    make(map[message.Code]uint64),
	}
	d.mu.init()
	d.assignments.random = rand.NewChaCha8(cfg.Seed)
	d.catchAll = &pool{}
	d.started = d.clockLocked()
	d.reserve = d.started
	d.wheel.cursor = d.started / granularity
	d.rate.since = d.started
	d.claimsEnd.owner = claimsEnd{}
	d.wheel.set(&d.claimsEnd, d.started.add(d.limits.ClaimGrace))
	return d
}

// clockLocked reads the injected clock, or tells the time at which stopClockLocked stopped it.
func (d *Dispatcher) clockLocked() instant {
	if d.stopped != 0 {
		return d.stopped
	}
	return instant(d.now().Sub(d.base))
}

func (t instant) duration() time.Duration { return time.Duration(t) }

// Tick makes time pass: deadlines, graces, acknowledgements that waited for
// more to come. Call it every 10 ms; a deadline is at most that late.
func (d *Dispatcher) Tick() {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clockLocked()
	d.hints = 0
	for t := d.wheel.turn(now); t != nil; t = d.wheel.turn(now) {
		t.owner.expireLocked(d, now)
	}
	d.ackTurnLocked(now)
	d.kept.trim(now, d.limits.KeepBytes)
	d.stored.trim(now, d.limits.KeepBytes)
	if d.rate.turn(now, d.stats.Succeeded+d.stats.Failed) {
		d.buffers.trim()
	}
}

// SetLimits replaces the limits; zero fields stand for the defaults. Calls that
// are held already stay.
func (d *Dispatcher) SetLimits(l Limits) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.limits = l.withDefaults()
}

// Limits returns the limits in force.
func (d *Dispatcher) Limits() Limits {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.limits
}

// BeginDrain refuses new calls with shutting_down from now on, except those of
// the broker's own methods: an operator wants to see what is left.
func (d *Dispatcher) BeginDrain() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.draining = true
}

// Idle reports whether no call is queued or running.
func (d *Dispatcher) Idle() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats.Queued+d.stats.Running == 0
}

// Settled reports whether, besides, all outcomes have been acknowledged. A client
// that is away does not acknowledge: wait for it no longer than for a reader.
func (d *Dispatcher) Settled() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held.calls == 0
}

// EndDrain ends what BeginDrain did not see finish: what was never handed over
// in shutting_down, the rest in connection_lost.
func (d *Dispatcher) EndDrain() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.draining, d.drained = true, true
	var rest []*call
	d.eachCallLocked(func(c *call) { rest = append(rest, c) })
	for _, c := range rest {
		if c.state == free || c.state == ended {
			continue // ended together with the call whose idempotency key it shares
		}
		a := c.assigned
		if c.ran() {
			d.failLocked(c, errBrokerStopped)
		} else {
			d.failLocked(c, errShuttingDown)
		}
		if a != nil {
			d.abandonLocked(a)
		}
	}
	d.eachSessionLocked((*Session).flushLocked)
	if d.held.calls == 0 { // all outcomes have arrived: no successor needs them
		for _, w := range d.workers {
			w.ackLocked(w.answered)
		}
	}
}

var (
	errShuttingDown = message.Errorf(message.ShuttingDown,
		"the broker is being stopped and takes no new call; call again when it is back")
	errBrokerStopped = message.Errorf(message.ConnectionLost,
		"the broker was stopped before the worker had answered; the call may have run")
)
