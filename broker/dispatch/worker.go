package dispatch

import (
	"strconv"

	"github.com/servicetools/servicetools/wire/message"
)

// WorkerConfig is what the broker knows of a worker that registers.
type WorkerConfig struct {
	Register *message.Register // validated; of a plain worker nil
	Key      string            // who it is, for Workers
	Address  string            // for Workers
	Sink     WorkerSink

	// May says whether the key may serve a method; nil = all.
	May func(method string) bool
}

// forbids returns the first of m's names that the key may not serve, or "". An
// alias is allowed with the name of which it is only another spelling.
func (cfg *WorkerConfig) forbids(m *message.Method) string {
	if cfg.May == nil {
		return ""
	}
	if !cfg.May(m.Name) {
		return m.Name
	}
	for _, alias := range m.Aliases {
		if !message.SameSpelling(alias, m.Name) && !cfg.May(alias) {
			return alias
		}
	}
	return ""
}

// Worker is the connection of one worker. It ends by Lost.
type Worker struct {
	d *Dispatcher

	// Static after Register.
	id, name, host, version string
	pid                     int
	key, address            string
	sink                    WorkerSink
	pool                    *pool
	plain                   bool // a REP socket: one call at a time, no cancel, no drain
	since                   instant

	// Guarded by Dispatcher.mu.
	capacity int  // calls at once
	busy     int  // slots taken: held, and reserved
	reserved int  // slots that the worker said are busy, not yet claimed
	draining bool // gets no new call
	gone     bool
	alone    bool // runs a suspect, and gets nothing else
	held     *assignment
	claimed  map[message.Origin]*assignment // those of held that are known by origin

	load       int // bucket in the pool; -1 = none
	prev, next *Worker

	answered   uint64 // outcomes on this link
	ripe       uint64 // of them, before the last turn of acknowledgements
	acked      uint64 // of them, said so
	ackBytes   int    // bodies since then
	ackPending bool   // in Dispatcher.unacked

	succeeded, failed uint64
}

// Register admits a worker and gives it calls at once, through its sink. It
// refuses a method that the worker's key may not serve with unauthorized.
func (d *Dispatcher) Register(cfg WorkerConfig) (*Worker, *message.Error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clockLocked()
	w := &Worker{d: d, key: cfg.Key, address: cfg.Address, sink: cfg.Sink, since: now, load: -1, capacity: 1}
	if r := cfg.Register; r == nil {
		w.plain, w.pool = true, d.catchAll
		w.id = d.freeIDLocked("plain")
	} else {
		for i := range r.Methods {
			if name := cfg.forbids(&r.Methods[i]); name != "" {
				return nil, message.Errorf(message.Unauthorized,
					"the worker's key may not serve method %q; add it to the methods of the key's file", name)
			}
		}
		w.id = d.freeIDLocked(r.Worker)
		w.name, w.host, w.pid, w.version = r.Name, r.Host, r.PID, r.Version
		w.capacity, w.busy, w.reserved = r.Concurrency, r.Busy, r.Busy
		w.pool = d.poolLocked(r.Methods)
	}
	d.workers[w.id] = w
	p := w.pool
	p.workers++
	p.seen = true
	w.sink.Registered(w.id)
	d.openLocked(w)
	return w, nil
}

// freeIDLocked returns the id itself, or with a number when it is taken.
func (d *Dispatcher) freeIDLocked(id string) string {
	if id == "" {
		id = "worker"
	}
	if d.workers[id] == nil {
		return id
	}
	for n := 2; ; n++ {
		if numbered := id + "-" + strconv.Itoa(n); d.workers[numbered] == nil {
			return numbered
		}
	}
}

// poolLocked finds or makes the pool of the methods.
func (d *Dispatcher) poolLocked(methods []message.Method) *pool {
	id := poolID(methods)
	p := d.pools[id]
	if p == nil {
		p = &pool{id: id}
		d.pools[id] = p
	}
	for i := range methods {
		m := d.describeLocked(&methods[i])
		if m.member(p) != nil {
			continue
		}
		if mb := m.member(d.catchAll); mb != nil {
			m.partLocked(d.catchAll)
			d.catchAll.drop(mb)
			d.trialsLocked(d.catchAll)
		}
		d.wheel.stop(&m.grace)
		m.joinLocked(p, methods[i].Name, methods[i].Idempotent)
	}
	return p
}

// member returns m's membership in p, or nil.
func (m *method) member(p *pool) *member {
	for _, mb := range m.members {
		if mb.pool == p {
			return mb
		}
	}
	return nil
}

// openLocked makes w take calls.
func (d *Dispatcher) openLocked(w *Worker) {
	w.pool.open++
	if w.plain && w.pool.open == 1 {
		for _, m := range d.methods {
			d.routeLocked(m)
		}
	}
	d.feedLocked(w)
}

// shutLocked makes w take no more calls. When it was the last one of a method,
// the calls that are queued for the method begin to wait for another.
func (d *Dispatcher) shutLocked(w *Worker, now instant) {
	p := w.pool
	p.displace(w)
	p.open--
	if p.vacated == w {
		p.vacated = nil
	}
	d.trialsLocked(p)
	if p.open > 0 {
		return
	}
	if p == d.catchAll {
		d.reserve = now
	}
	for _, mb := range p.members {
		if mb.method.waiting > 0 && !mb.method.served() {
			mb.method.eachWaiting(func(c *call) { d.armLocked(c, now) })
		}
	}
}

// free reports whether w takes a call now.
func (w *Worker) free() bool {
	return !w.draining && w.busy < w.capacity && !w.alone && w.pool.vacated != w
}

// ID returns the worker's id in force.
func (w *Worker) ID() string { return w.id }

// SetCapacity states how many calls the worker runs at once from now on, and
// that what it runs is what it was given on this connection. 0 drains it.
func (w *Worker) SetCapacity(n int) {
	d := w.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if w.gone || w.plain {
		return
	}
	w.busy -= w.reserved
	w.reserved = 0
	if n <= 0 {
		d.drainLocked(w)
		return
	}
	w.capacity = min(n, message.MaxConcurrency)
	d.feedLocked(w)
}

// Drain gives the worker no new call and asks it to leave when it has finished.
func (w *Worker) Drain() {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	if !w.gone && !w.draining {
		w.sink.Drain()
		w.d.drainLocked(w)
	}
}

// DrainWorker drains the worker of that id. It reports whether there is one.
func (d *Dispatcher) DrainWorker(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.workers[id]
	if w != nil && !w.draining {
		w.sink.Drain()
		d.drainLocked(w)
	}
	return w != nil
}

// cutLocked closes the worker's connection; Lost will follow.
func (w *Worker) cutLocked(reason *message.Error) {
	w.sink.Close(reason)
	if !w.draining {
		w.draining = true
		w.d.shutLocked(w, w.d.clockLocked())
	}
}

func (d *Dispatcher) drainLocked(w *Worker) {
	if !w.draining {
		w.draining = true
		d.shutLocked(w, d.clockLocked())
		w.ackLocked(w.answered)
	}
	w.drainedLocked()
}

func (w *Worker) drainedLocked() {
	if w.draining && w.held == nil {
		w.sink.Drained()
	}
}
