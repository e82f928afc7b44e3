package workersdk

import (
	"context"

	"github.com/servicetools/servicetools/wire/message"
)

// initialWindow is how many items a stream may send before the first GRANT,
// and how many the broker may ask for again (docs/protocol.md, 4.6).
const initialWindow = 16

// maxParts bounds the items that a stream keeps for a restarted broker, in
// bytes. A stream of larger ones ends with its broker.
const maxParts = 8 << 20

// flow is the state of a stream. Guarded by Worker.mu.
type flow struct {
	next    uint64        // sequence of the next item
	window  uint64        // items below it may be sent
	granted chan struct{} // of 1: window has moved
	parts   [][]byte      // the last ones before next, which the client may not have seen
	bytes   int           // of parts
	lossy   bool          // parts were given up
	paused  bool          // claimed: until the caller has asked the new broker for the call
}

func newFlow() *flow {
	return &flow{window: initialWindow, granted: make(chan struct{}, 1)}
}

// grant moves the window and forgets the items that the client has consumed.
func (f *flow) grant(window uint64) {
	f.paused = false
	f.window = max(f.window, window)
	for len(f.parts) > 0 && f.next-uint64(len(f.parts))+initialWindow < f.window {
		f.bytes -= len(f.parts[0])
		f.parts[0] = nil
		f.parts = f.parts[1:]
	}
	select {
	case f.granted <- struct{}{}:
	default:
	}
}

// keep remembers an item.
func (f *flow) keep(item []byte) {
	f.next++
	if f.lossy {
		return
	}
	f.parts = append(f.parts, append([]byte(nil), item...))
	if f.bytes += len(item); f.bytes > maxParts {
		f.parts, f.bytes, f.lossy = nil, 0, true
	}
}

// emit sends one item of c's stream, once the window admits it.
func (w *Worker) emit(ctx context.Context, c *call, item []byte) error {
	for {
		w.mu.Lock()
		if c.cause != nil {
			defer w.mu.Unlock()
			return c.cause
		}
		if f := c.flow; !f.paused && f.next < f.window {
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
		k.worker.tellLocked(c, *c.held)
	}
}
