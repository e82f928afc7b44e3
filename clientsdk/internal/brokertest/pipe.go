package brokertest

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Pipe returns the two ends of a connection in memory. Unlike net.Pipe's its
// writes are buffered, as the kernel's are.
func Pipe() (a, b net.Conn) {
	x, y := newHalf(), newHalf()
	return &end{in: x, out: y}, &end{in: y, out: x}
}

// half is one direction of a Pipe.
type half struct {
	mu       sync.Mutex
	changed  sync.Cond // waits with mu
	buf      []byte
	closed   bool // by the writer
	broken   bool // by the reader
	deadline time.Time
	timer    *time.Timer
}

func newHalf() *half {
	h := new(half)
	h.changed.L = &h.mu
	return h
}

// end is one end of a Pipe.
type end struct{ in, out *half }

func (e *end) Read(p []byte) (int, error) {
	h := e.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.broken:
			return 0, net.ErrClosed
		case len(h.buf) > 0:
			n := copy(p, h.buf)
			h.buf = h.buf[n:]
			return n, nil
		case h.closed:
			return 0, io.EOF
		case !h.deadline.IsZero() && !time.Now().Before(h.deadline):
			return 0, os.ErrDeadlineExceeded
		}
		h.changed.Wait()
	}
}

func (e *end) Write(p []byte) (int, error) {
	h := e.out
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.broken {
		return 0, net.ErrClosed
	}
	h.buf = append(h.buf, p...)
	h.changed.Broadcast()
	return len(p), nil
}

// CloseWrite ends the sending side.
func (e *end) CloseWrite() error {
	e.out.end(false)
	return nil
}

func (e *end) Close() error {
	e.out.end(false)
	e.in.end(true)
	return nil
}

func (h *half) end(broken bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed, h.broken = true, h.broken || broken
	if h.timer != nil {
		h.timer.Stop()
	}
	h.changed.Broadcast()
}

func (e *end) SetReadDeadline(t time.Time) error {
	h := e.in
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.timer != nil {
		h.timer.Stop()
	}
	h.deadline = t
	if !t.IsZero() {
		h.timer = time.AfterFunc(time.Until(t), func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.changed.Broadcast()
		})
	}
	return nil
}

func (e *end) SetWriteDeadline(time.Time) error { return nil } // writes never block

func (e *end) SetDeadline(t time.Time) error { return e.SetReadDeadline(t) }

func (e *end) LocalAddr() net.Addr  { return pipeAddr{} }
func (e *end) RemoteAddr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
