package dispatch

import (
	"slices"

	"github.com/servicetools/servicetools/wire/message"
)

// part is an item of a stream that the client may not have consumed. Its GRANT
// names the number of items that it has consumed plus message.StreamWindow: what
// lies below the consumed count is forgotten.
type part struct {
	sequence uint64
	body     []byte
}

// Part takes one item of a stream, from sequence 0 on. Items that a second
// attempt repeats are dropped. A worker that leaves out items or sends beyond
// the window is cut.
func (w *Worker) Part(ref Ref, sequence uint64, body []byte) {
	d := w.d
	d.mu.Lock()
	defer d.mu.Unlock()
	c := w.waitedLocked(ref)
	if c == nil || !c.stream || c.session == nil {
		return
	}
	if !c.follows { // a claimed stream goes on where it was, another run begins at 0
		c.sequence, c.follows = max(c.sequence, sequence, c.window-message.StreamWindow), true
		c.window = max(c.window, c.sequence+message.StreamWindow)
	}
	if sequence < c.sequence {
		return
	}
	if sequence > c.sequence || sequence >= c.window || len(body) > d.limits.MaxMessage || sizeOf(c.parts) >= message.StreamBytes {
		w.cutLocked(message.Errorf(message.Malformed,
			"item %d of a stream is out of sequence, beyond the window or too large", sequence))
		return
	}
	c.sequence++
	p := part{sequence, d.buffers.copy(body)}
	c.parts = append(c.parts, p)
	d.chargeLocked(c, int64(len(p.body)))
	if s := c.session; s.sink != nil {
		s.sink.Part(c.origin.Number, c.tag, sequence, body)
	}
}

// sizeOf returns the bytes of the items.
func sizeOf(parts []part) (bytes int) {
	for _, p := range parts {
		bytes += len(p.body)
	}
	return bytes
}

// Progress takes the progress of a call; the latest is kept for a client that
// comes back.
func (w *Worker) Progress(ref Ref, body []byte) {
	d := w.d
	d.mu.Lock()
	defer d.mu.Unlock()
	c := w.waitedLocked(ref)
	if c == nil || c.session == nil || !c.session.resumable || len(body) > d.limits.MaxMessage {
		return
	}
	d.chargeLocked(c, int64(len(body)-len(c.progress)))
	d.buffers.release(c.progress)
	c.progress = d.buffers.copy(body)
	if s := c.session; s.sink != nil {
		s.sink.Progress(c.origin.Number, c.tag, body)
	}
}

// waitedLocked returns the call that ref names if its caller still waits.
func (w *Worker) waitedLocked(ref Ref) *call {
	if w.gone {
		return nil
	}
	a := w.findLocked(ref)
	if a == nil {
		return nil
	}
	return a.call
}

// Grant lets the worker of a stream send the items below window, and says that
// the client has consumed those below window-message.StreamWindow.
func (s *Session) Grant(number, window uint64) {
	d := s.d
	d.mu.LockForClient()
	defer d.mu.Unlock()
	c := s.numbers.Get(number)
	if c == nil || !c.stream || window <= c.window {
		return
	}
	c.window = window
	switch {
	case c.resumed: // items may be consumed that this run has yet to send
		c.sequence = max(c.sequence, window-message.StreamWindow)
	case c.follows: // nobody consumes what was not sent
		c.window = min(window, c.sequence+message.StreamWindow)
	}
	c.parts = d.dropPartsLocked(c, c.window-message.StreamWindow)
	if c.assigned != nil {
		c.assigned.worker.sink.Grant(c.assigned.ref(), c.window)
	}
}

// dropPartsLocked forgets the items below sequence and returns the others.
func (d *Dispatcher) dropPartsLocked(c *call, sequence uint64) []part {
	n := 0
	for n < len(c.parts) && c.parts[n].sequence < sequence {
		d.chargeLocked(c, -int64(len(c.parts[n].body)))
		d.buffers.release(c.parts[n].body)
		n++
	}
	return slices.Delete(c.parts, 0, n)
}

// replayPartsLocked sends the items again that the client may not have got.
func (s *Session) replayPartsLocked(c *call) {
	for _, p := range c.parts {
		s.sink.Part(c.origin.Number, c.tag, p.sequence, p.body)
	}
}
