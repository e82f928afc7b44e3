package dispatch

import (
	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
)

// Together is how many of the calls or replies that came in one message should be given to
// SubmitAll or Replies at once. With fewer, a client's link waits for the lock more often,
// behind one of the others each time (see mutex); with more, all others wait longer.
const Together = 64

// SubmitAll is Submit for calls that came together. It stops at the first error with
// the code malformed, and returns that alone.
func (s *Session) SubmitAll(list []Request) *message.Error {
	d := s.d
	d.mu.LockForClient()
	defer d.mu.Unlock()
	d.stopClockLocked()
	defer d.startClockLocked()
	for i := range list {
		if e := s.submitLocked(&list[i]); e != nil && e.Code == message.Malformed {
			return e
		}
	}
	return nil
}

// Reply is a worker's answer to a call.
type Reply struct {
	Ref    Ref
	Kind   message.Kind // KindResult or KindError
	Body   []byte
	Memory *buffer.Buffer // what Body lies in, if it is constant from now on and may be shared; else nil
}

// Replies is Outcome for replies that came together.
func (w *Worker) Replies(list []Reply) {
	d := w.d
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopClockLocked()
	defer d.startClockLocked()
	for i := range list {
		w.replyLocked(&list[i])
	}
}

// stopClockLocked has clockLocked tell one time until startClockLocked: reading the clock
// is a part of what a call costs, and what is done under one lock may count as done at
// one time.
func (d *Dispatcher) stopClockLocked() { d.stopped = d.clockLocked() }

func (d *Dispatcher) startClockLocked() { d.stopped = 0 }
