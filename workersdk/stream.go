package workersdk

import (
	"context"

	"github.com/servicetools/servicetools/wire/message"
)

// flow is the state of a stream. Guarded by Worker.mu.
type flow struct {
	next    uint64        // sequence of the next item
	window  uint64        // items below it may be sent
	granted chan struct{} // of 1: window has moved
	parts   [][]byte      // the last ones before next, which the client has not consumed as far as we know
	bytes   int           // of parts
	paused  bool          // claimed: until the caller has asked the new broker for the call
}

func newFlow() *flow {
	return &flow{window: message.StreamWindow, granted: make(chan struct{}, 1)}
}

// open reports whether another item may be sent.
func (f *flow) open() bool { return !f.paused && f.next < f.window && f.bytes < message.StreamBytes }

// grant moves the window and forgets the items that the client has consumed.
func (f *flow) grant(window uint64) {
	f.paused = false
	f.window = max(f.window, window)
	f.trim()
	select {
	case f.granted <- struct{}{}:
	default:
	}
}

// trim forgets the items that the client has consumed.
func (f *flow) trim() {
	for len(f.parts) > 0 && f.next-uint64(len(f.parts))+message.StreamWindow < f.window {
		f.bytes -= len(f.parts[0])
		f.parts[0] = nil
		f.parts = f.parts[1:]
	}
}

// keep remembers an item. A stream that runs again begins with items that the
// client has consumed already.
func (f *flow) keep(item []byte) {
	f.next++
	f.parts = append(f.parts, append([]byte(nil), item...))
	f.bytes += len(item)
	f.trim()
}

// emit sends one item of c's stream, once the window admits it.
func (w *Worker) emit(ctx context.Context, c *call, item []byte) error {
	for {
		w.mu.Lock()
		if c.cause != nil {
			defer w.mu.Unlock()
			return c.cause
		}
		if f := c.flow; f.open() {
			defer w.mu.Unlock()
			if w.conn != nil {
				e := c.head(message.KindPart)
				e.Sequence, e.Body = f.next, item
				w.conn.append(&e)
			}
			f.keep(item)
			return nil
		}
		w.mu.Unlock()
		select {
		case <-c.flow.granted:
		case <-ctx.Done():
			if cause, ok := context.Cause(ctx).(*message.Error); ok {
				return cause
			}
			return errCancel
		}
	}
}

// grantLocked moves the window of a stream. The first GRANT for a claimed one
// says that the new broker waits for its items: those that the client may not
// have seen are sent again, and behind them the outcome if there is one.
func (k *connection) grantLocked(c *call, window uint64) {
	again := c.flow.paused
	c.flow.grant(window)
	if !again {
		return
	}
	for i, item := range c.flow.parts {
		e := c.head(message.KindPart)
		e.Sequence, e.Body = c.flow.next-uint64(len(c.flow.parts)-i), item
		k.append(&e)
	}
	if c.held != nil {
		k.worker.tellLocked(c, *c.held, false)
	}
}
