package dispatch

import (
	"slices"
	"time"

	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
)

// A worker is told how many outcomes have come a little later than it could be:
// what it was not told it keeps, and can give to the broker's successor if the
// broker dies before the client has got the outcome.
const (
	ackLag  = instant(250 * time.Millisecond) // this long at least, and twice that at most, unless
	ackKeep = 1024                            // twice as many wait: then all but so many are told, or
	ackSize = 1 << 20                         // so many bytes wait, or the worker drains: then all are
)

// Outcome takes a worker's answer: kind is KindResult or KindError. An answer to a
// token that is not the worker's, or to a call that has ended, is counted and
// dropped. shutting_down hands the call back, and drains the worker; a call that
// the worker has begun runs elsewhere only if it may run twice.
func (w *Worker) Outcome(ref Ref, kind message.Kind, body []byte) {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	w.replyLocked(&Reply{Ref: ref, Kind: kind, Body: body})
}

func (w *Worker) replyLocked(r *Reply) {
	d := w.d
	if w.gone {
		d.stats.Late++
		return
	}
	w.noteLocked(len(r.Body))
	o := d.readLocked(r.Kind, r.Body, r.Memory)
	a := w.findLocked(r.Ref)
	switch {
	case a != nil:
		d.answeredLocked(w, a, &o)
	case r.Ref.Token == 0 && r.Ref.Origin != (message.Origin{}):
		d.unaskedLocked(w, r.Ref, &o)
	default:
		d.stats.Late++
	}
}

// answer is an outcome as a worker sent it.
type answer struct {
	kind message.Kind
	code message.Code // of an error
	ran  message.Execution
	body []byte // aliases the link's message, or Dispatcher.scratch

	memory *buffer.Buffer // what body lies in, if that can be shared; else nil
}

// back reports whether the worker hands the call back, not run.
func (o *answer) back() bool {
	return o.kind == message.KindError && o.code == message.ShuttingDown && o.ran == message.NotExecuted
}

// readLocked classifies an answer. One that is too large to send on is replaced.
func (d *Dispatcher) readLocked(kind message.Kind, body []byte, memory *buffer.Buffer) answer {
	if len(body) > d.limits.MaxMessage {
		e := message.Errorf(message.TooLarge, "the method ran, but its result of %d bytes exceeds the limit of %d",
			len(body), d.limits.MaxMessage).WithExecution(message.MaybeExecuted)
		d.scratch = e.Append(d.scratch[:0])
		return answer{message.KindError, e.Code, e.Execution(), d.scratch, nil}
	}
	if kind == message.KindResult {
		return answer{kind: kind, ran: message.Executed, body: body, memory: memory}
	}
	e := message.ParseError(body)
	code := e.Code
	if !code.Known() {
		code = "other" // the counters must not grow by what workers make up
	}
	return answer{message.KindError, code, e.Execution(), body, nil}
}

// ofAllLocked returns the answer of a call's last attempt as that of all. One
// that says that it did not run speaks for itself only: an earlier one may have.
// shutting_down is here that of a worker that cannot hand back: only this broker
// may say to a client that another one may run the call.
func (d *Dispatcher) ofAllLocked(c *call, o *answer, attempts uint8) *answer {
	last := attempts == 1 && (o.code != message.ShuttingDown || c.session == nil) // 0 = the worker does not say
	if o.ran == message.NotExecuted && !last {
		d.scratch = message.ParseError(o.body).WithExecution(message.MaybeExecuted).Append(d.scratch[:0])
		o.body, o.ran = d.scratch, message.MaybeExecuted
	}
	return o
}

// findLocked returns the slot that ref names, or nil.
func (w *Worker) findLocked(ref Ref) *assignment {
	if ref.Token == 0 {
		return w.claimed[ref.Origin]
	}
	return w.d.assignments.find(w, ref.Token)
}

// answeredLocked frees the slot and ends the call.
func (d *Dispatcher) answeredLocked(w *Worker, a *assignment, o *answer) {
	c := a.call
	leaving := o.kind == message.KindError && o.code == message.ShuttingDown && !w.plain
	if leaving && !w.draining {
		w.draining = true
		d.shutLocked(w, d.clockLocked())
		w.ackLocked(w.answered)
	}
	back := leaving && c != nil && c.session != nil && (o.back() || c.repeat() && int(c.attempts) < d.limits.MaxAttempts)
	switch {
	case c == nil && d.claims[a.origin].is(a):
		d.keepClaimLocked(a.origin, a.attempt, o)
	case c == nil:
		d.stats.Late++
	case back && o.back():
		d.leaveLocked(c)
		if !a.claimed || a.attempt > 0 { // else nobody knows which attempt it was
			c.attempts--
		}
		d.stats.Returned++
	case back: // it was stopped half way
		d.leaveLocked(c)
		d.stats.Redispatched++
	case o.kind == message.KindResult:
		w.succeeded++
		d.endLocked(c, o)
	default:
		w.failed++
		d.endLocked(c, d.ofAllLocked(c, o, c.attempts))
	}
	w.vacateLocked(a)
	if back {
		d.requeueLocked(c, d.clockLocked())
	}
	d.feedLocked(w)
	w.drainedLocked()
}

// noteLocked counts an outcome that is to be acknowledged.
func (w *Worker) noteLocked(size int) {
	if w.plain {
		return
	}
	w.answered++
	w.ackBytes += size
	switch {
	case w.draining || w.ackBytes >= ackSize:
		w.ackLocked(w.answered)
	case w.answered-w.acked >= 2*ackKeep:
		w.ackLocked(w.answered - ackKeep)
	}
	if w.acked != w.answered && !w.ackPending {
		w.ackPending = true
		w.d.unacked = append(w.d.unacked, w)
	}
}

// ackLocked tells the worker that count outcomes have come.
func (w *Worker) ackLocked(count uint64) {
	if count > w.acked && !w.gone {
		w.acked, w.ackBytes = count, 0
		w.sink.Ack(count)
	}
}

// ackTurnLocked acknowledges what has come before the turn before, if it is
// time for the next one.
func (d *Dispatcher) ackTurnLocked(now instant) {
	if now < d.nextAck {
		return
	}
	d.nextAck = now + ackLag
	d.unacked = slices.DeleteFunc(d.unacked, func(w *Worker) bool {
		w.ackLocked(w.ripe)
		w.ripe = w.answered
		w.ackPending = w.acked != w.answered && !w.gone
		return !w.ackPending
	})
}

// Lost says that the worker's connection is gone. handed is the stream offset
// up to which the link was written: calls at or above it never reached the
// worker, and run elsewhere. Of the others, those that may be repeated are, and
// the rest end in worker_lost with the evidence.
func (w *Worker) Lost(handed uint64, evidence Evidence) {
	d := w.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if w.gone {
		return
	}
	now := d.clockLocked()
	w.gone = true
	delete(d.workers, w.id)
	if !w.draining {
		w.draining = true
		d.shutLocked(w, now)
	}
	for a := w.held; a != nil; a = w.held {
		c := a.call
		if c != nil {
			d.lostLocked(c, w, a.claimed || a.offset < handed, &evidence, now)
		} else if d.claims[a.origin].is(a) {
			delete(d.claims, a.origin)
		}
		w.vacateLocked(a)
	}
	d.trialsLocked(w.pool) // it may have run one
	d.leavePoolLocked(w.pool, now)
}

// leavePoolLocked takes one worker out of p, and p out of its methods when it
// was the last.
func (d *Dispatcher) leavePoolLocked(p *pool, now instant) {
	if p.workers--; p.workers > 0 {
		return
	}
	if p == d.catchAll {
		d.forgetUnknownLocked()
		return
	}
	delete(d.pools, p.id)
	for _, mb := range p.members {
		m := mb.method
		m.partLocked(p)
		if len(m.members) > 0 {
			continue
		}
		if m.calls == 0 && len(d.methods) > maxKnown {
			d.forgetMethodLocked(m)
		} else {
			d.wheel.set(&m.grace, now.add(d.limits.NoWorkerGrace))
		}
	}
}

// maxKnown bounds the names that are remembered although nobody serves them.
const maxKnown = 65536

// evidenceLocked adds what is known about the end of w.
func (w *Worker) evidenceLocked(v *Evidence, now instant, e *message.Error) *message.Error {
	e.With("worker", w.id)
	if w.host != "" {
		e.With("host", w.host)
	}
	if w.pid != 0 {
		e.With("pid", w.pid)
	}
	if v.Reason != "" {
		e.With("reason", v.Reason)
	}
	if !v.LastSeen.IsZero() {
		seen := instant(v.LastSeen.Sub(w.d.base))
		e.With("last_seen_ms_ago", max(now-seen, 0).duration().Milliseconds())
	}
	if v.Exit != "" {
		e.With("exit", v.Exit)
	}
	if len(v.Stderr) > 0 {
		e.With("stderr", v.Stderr)
	}
	return e
}
