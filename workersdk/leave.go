package workersdk

import (
	"time"

	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
)

// Times of leaving, behind the drain timeout.
const (
	cancelWait = time.Second     // for methods to heed the end of their context
	closeWait  = 2 * time.Second // for the broker's DRAIN and last ACK
	byeWait    = 2 * time.Second // for the link to end
)

// leave drains the worker and ends its link: no new calls, first of all; then
// what has not begun is handed back, what runs may finish, and the good-bye
// waits until the broker has the last outcome and gives out no call to us.
func (w *Worker) leave(stop func()) {
	w.mu.Lock()
	w.draining = true
	w.capacityLocked()
	parked := w.parked
	w.parked = nil
	running := w.calls.Len() + len(w.claimed)
	w.mu.Unlock()
	w.log.Info("leaving", "calls", running, "drain_timeout", w.cfg.DrainTimeout)
	for _, c := range append(w.pool.withdraw(), parked...) {
		c.body.Release()
		w.finish(c, buffer.Content{}, errDraining)
	}
	idle := func() bool { return w.calls.Len()+len(w.claimed) == 0 }
	if !w.await(w.cfg.DrainTimeout, idle) {
		w.mu.Lock()
		late := w.openLocked()
		for _, c := range late {
			w.stopLocked(c, errLeaving)
		}
		w.mu.Unlock()
		w.log.Warn("the drain timeout is over; the calls that still run are cancelled", "calls", len(late))
	}
	w.await(cancelWait, func() bool { return idle() && w.strays == 0 })
	// Calls may still be on their way to us, and are handed back as they come.
	// The broker's DRAIN says that there are none.
	w.await(closeWait, func() bool {
		return len(w.kept.list) == 0 && !w.joining && (w.conn == nil || w.conn.drained)
	})
	w.mu.Lock()
	w.leaving = true
	k := w.conn
	if k == nil {
		w.mu.Unlock()
		stop()
		return
	}
	bye := message.Errorf(message.ShuttingDown, "the worker was told to stop")
	k.append(&message.Envelope{Kind: message.KindBye, Body: bye.Append(nil)})
	k.link.Finish()
	w.mu.Unlock()
	timer := time.AfterFunc(byeWait, stop)
	<-k.over
	timer.Stop()
	stop()
}

// await waits until done, called with Worker.mu held, or for at most d.
func (w *Worker) await(d time.Duration, done func() bool) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		w.mu.Lock()
		ok := done()
		w.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-w.changed:
		case <-timer.C:
			return false
		}
	}
}
