package workersdk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// attach puts a link into service that the broker has registered, and settles
// what becomes of the calls of earlier links (docs/protocol.md, 4.5).
func (k *connection) attach(e *message.Envelope) error {
	var r message.Registered
	if err := message.Unmarshal(e.Body, &r); err != nil {
		return fmt.Errorf("REGISTERED: %w", err)
	}
	if k.registered {
		return fmt.Errorf("%w: REGISTERED came twice", zmtp.ErrProtocol)
	}
	k.registered = true
	k.patient.Stop()
	interval := message.Beat(r.BeatMillis)
	k.pulse = newPulse(missedBeats * interval)
	k.beats.Go(func() { k.beat(interval) })
	w := k.worker
	fenced, claimed := w.serve(k, &r)
	if r.MaxMessage > int64(w.cfg.MaxMessage) {
		w.log.Warn("the broker sends larger calls than this worker takes: raise max_message in [limits]",
			"broker", r.MaxMessage, "worker", w.cfg.MaxMessage)
	}
	w.log.Info("registered with the broker", "addr", w.cfg.Addr, "worker", w.ID(), "methods", len(w.table.Methods()),
		"concurrency", w.cfg.Concurrency, "claimed", claimed, "fenced", fenced, "broker_version", r.Version)
	return nil
}

// serve begins to use a link, and returns what became of the open calls.
func (w *Worker) serve(k *connection, r *message.Registered) (fenced, claimed int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	strays := w.strays
	if r.Broker == w.broker {
		w.fenceLocked()
	} else {
		w.claimLocked(k)
	}
	w.broker, w.conn, w.joining = r.Broker, k, false
	w.resultLimit = w.cfg.MaxMessage
	if r.MaxMessage > 0 {
		w.resultLimit = int(min(int64(w.resultLimit), r.MaxMessage))
	}
	if r.Worker != "" {
		w.id = r.Worker
	}
	if w.draining || k.busy > 0 { // else the slots that REGISTER announced would stay taken
		w.capacityLocked()
	}
	for _, c := range w.parked {
		w.pool.submit(c)
	}
	w.parked = nil
	w.pokeLocked()
	return w.strays - strays, len(w.claimed)
}

// detach takes a link out of service. Calls that have not begun wait for the
// next one: if that is to the same broker, they have been given to others.
func (w *Worker) detach(k *connection) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.joining = false
	w.pokeLocked()
	if w.conn == k {
		w.conn = nil
		w.parked = w.pool.withdraw()
	}
}

// fenceLocked gives up all calls and outcomes: the same broker did so when the
// last link ended.
func (w *Worker) fenceLocked() {
	for _, c := range w.openLocked() {
		w.removeLocked(c)
		w.strayLocked(c, errFenced)
	}
	w.kept.clear()
}

// claimLocked tells another broker what this worker runs and what it holds.
func (w *Worker) claimLocked(k *connection) {
	told, streams := w.kept.move()
	for _, o := range told {
		k.appendBody(&message.Envelope{Kind: o.kind, Flags: message.FlagOrigin, Origin: o.origin, ID: uint64(o.attempt)}, o.body, false)
	}
	open := w.openLocked()
	for _, o := range streams {
		o.stream.held = &o
		open = append(open, o.stream)
	}
	clear(w.claimed)
	w.ended = 0
	for _, c := range open {
		// A cancelled call has nobody who asks for it.
		w.calls.Delete(c.token)
		twice := w.claimed[c.origin] != nil
		if !c.known || twice || c.cause != nil {
			w.strayLocked(c, errOrphaned)
			continue
		}
		c.claimed = true
		w.claimed[c.origin] = c
		if c.held != nil {
			w.ended++
		}
		k.claim(c)
		if c.flow != nil {
			c.flow.paused = true
		}
	}
}

// claim tells the broker of a call of an earlier one.
func (k *connection) claim(c *call) {
	e := c.head(message.KindProgress)
	e.Flags |= message.FlagClaim
	if c.held != nil {
		e.Flags |= message.FlagEnded
	}
	k.append(&e)
}

// openLocked lists the calls whose outcome somebody may want.
func (w *Worker) openLocked() []*call {
	open := make([]*call, 0, w.calls.Len()+len(w.claimed))
	for _, c := range w.calls.All() {
		open = append(open, c)
	}
	for _, c := range w.claimed {
		open = append(open, c)
	}
	return open
}

// strayLocked fences c, which is no longer open: from now on nobody wants its outcome.
func (w *Worker) strayLocked(c *call, cause *message.Error) {
	c.fenced = true
	c.stopLocked(cause)
	if c.running {
		w.strays++
	}
}

// capacityLocked tells the broker how many calls the worker takes at once. While
// strays hold every slot it says nothing: the slots that REGISTER announced as
// busy stay so, and 0 would drain the worker for good.
func (w *Worker) capacityLocked() {
	if w.conn == nil {
		return
	}
	n := 0
	if !w.draining {
		if n = w.cfg.Concurrency - w.strays; n <= 0 {
			return
		}
	}
	w.conn.append(&message.Envelope{Kind: message.KindCapacity, ID: uint64(n)})
}

// Pauses between two tries to connect.
const (
	backoffFirst = 50 * time.Millisecond
	backoffMost  = 2 * time.Second
	steadyAfter  = 2 * time.Second // a link that lived so long is no sign of trouble
)

// backoff returns the jittered pause before the next try after n failures.
func backoff(n int) time.Duration {
	d := min(backoffFirst<<min(n, 10), backoffMost)
	return d/2 + rand.N(d/2+1)
}

// stayConnected makes one link after the other until ctx ends or the worker
// has left. The first try after a link that lived is made at once.
func (w *Worker) stayConnected(ctx context.Context) {
	for troubles := 0; ; {
		began := time.Now()
		registered, err := w.connect(ctx)
		if w.isLeaving() || ctx.Err() != nil {
			return
		}
		w.report(registered, err)
		if registered && (time.Since(began) >= steadyAfter || errors.Is(err, message.ErrShuttingDown)) {
			troubles = 0 // a broker that was stopped in order is no sign of trouble either
			continue
		}
		pause := time.NewTimer(backoff(troubles))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return
		}
		troubles++
	}
}

func (w *Worker) isLeaving() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.leaving
}

// report logs why there is no link, once for each change of the reason.
func (w *Worker) report(registered bool, err error) {
	reason := rootText(err)
	switch {
	case registered:
		w.log.Warn("lost the connection to the broker", "addr", w.cfg.Addr, "error", err)
		w.failure = ""
		return
	case reason != w.failure:
		w.log.Warn("cannot connect to the broker; trying on", "addr", w.cfg.Addr, "error", err)
	default:
		w.log.Debug("cannot connect to the broker", "addr", w.cfg.Addr, "error", err)
	}
	w.failure = reason
}

// rootText describes err without what differs from try to try, such as ports.
func rootText(err error) string {
	text := ""
	var step *zmtp.StepError
	if errors.As(err, &step) {
		text, err = string(step.Step)+": ", step.Err
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return text + err.Error()
}
