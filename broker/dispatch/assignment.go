package dispatch

import (
	"math/rand/v2"

	"github.com/servicetools/servicetools/wire/message"
)

// assignment is one busy slot of a worker: a call that was handed to it and not
// answered. It outlives the call's outcome when the caller gave up: the slot is
// busy until the worker has really answered. Guarded by Dispatcher.mu.
type assignment struct {
	index   uint32
	fence   uint32 // random; 0 = free
	claimed bool   // known by its origin, from before the start: never handed over by us
	attempt uint8  // of a claimed call, as its worker says; 0 = it does not
	ended   bool   // of a claimed call: it takes no slot
	alone   bool   // of a suspect: the worker gets no other call until it has answered
	worker  *Worker
	call    *call // nil: nobody waits for the answer any more
	origin  message.Origin
	offset  uint64 // on the link, of the call's first byte
	since   instant
	cut     instant // when a plain worker that has not answered is cut; 0 = never

	prev, next *assignment // of the same worker
	timer      timer       // a plain worker is cut when it fires
}

// ref returns how the worker knows a.
func (a *assignment) ref() Ref {
	if a.claimed {
		return Ref{Origin: a.origin}
	}
	return Ref{Token: uint64(a.fence)<<32 | uint64(a.index), Origin: a.origin}
}

// assignments is the table that tokens point into: the index is the low half of
// a token, the fence its high half.
type assignments struct {
	all    []*assignment
	free   []uint32
	random *rand.ChaCha8
}

// take returns a free assignment with a new fence.
func (t *assignments) take() *assignment {
	var a *assignment
	if n := len(t.free); n > 0 {
		a = t.all[t.free[n-1]]
		t.free = t.free[:n-1]
	} else {
		a = &assignment{index: uint32(len(t.all))}
		a.timer.owner = a
		t.all = append(t.all, a)
	}
	for a.fence == 0 {
		a.fence = uint32(t.random.Uint64())
	}
	return a
}

// find returns the assignment of a token that w was given and has not answered.
func (t *assignments) find(w *Worker, token uint64) *assignment {
	index, fence := uint32(token), uint32(token>>32)
	if uint64(index) >= uint64(len(t.all)) || fence == 0 {
		return nil
	}
	if a := t.all[index]; a.fence == fence && a.worker == w && !a.claimed {
		return a
	}
	return nil
}

// release makes the assignment's token invalid.
func (t *assignments) release(a *assignment) {
	*a = assignment{index: a.index, timer: timer{owner: a}}
	t.free = append(t.free, a.index)
}

// occupyLocked takes a slot of w.
func (w *Worker) occupyLocked(now instant) *assignment {
	a := w.d.assignments.take()
	a.worker, a.since = w, now
	if a.next = w.held; a.next != nil {
		a.next.prev = a
	}
	w.held = a
	w.busy++
	return a
}

// vacateLocked frees the slot: the worker has answered, or is gone.
func (w *Worker) vacateLocked(a *assignment) {
	if a.prev != nil {
		a.prev.next = a.next
	} else {
		w.held = a.next
	}
	if a.next != nil {
		a.next.prev = a.prev
	}
	if a.claimed {
		delete(w.claimed, a.origin)
	}
	if a.alone {
		w.alone = false
		w.pool.alone--
	}
	w.d.wheel.stop(&a.timer)
	if !a.ended {
		w.busy--
	}
	w.d.assignments.release(a)
}

// abandonLocked tells the worker that nobody waits for the answer any more.
// An SDK worker stops and answers; a plain one cannot be told, and is cut when
// it has had twice the time of the call.
func (d *Dispatcher) abandonLocked(a *assignment) {
	w := a.worker
	if !w.plain {
		w.sink.Cancel(a.ref())
		return
	}
	if a.cut != 0 {
		d.wheel.set(&a.timer, a.cut)
	}
}

// expireLocked cuts a plain worker that has not answered an abandoned call.
func (a *assignment) expireLocked(d *Dispatcher, _ instant) {
	if a.call == nil {
		a.worker.cutLocked(errSilentWorker)
	}
}

var errSilentWorker = message.Errorf(message.DeadlineInHandler,
	"the worker has not answered in twice the time of its call and is taken to hang")
