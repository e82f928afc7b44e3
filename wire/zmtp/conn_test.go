package zmtp

import (
	"net"
	"os"
	"sync"
	"time"
)

// deadConn is a connection on which nothing happens.
type deadConn struct{}

func (deadConn) Read([]byte) (int, error)         { return 0, os.ErrClosed }
func (deadConn) Write(b []byte) (int, error)      { return len(b), nil }
func (deadConn) Close() error                     { return nil }
func (deadConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (deadConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (deadConn) SetDeadline(time.Time) error      { return nil }
func (deadConn) SetReadDeadline(time.Time) error  { return nil }
func (deadConn) SetWriteDeadline(time.Time) error { return nil }

// narrowConn takes so many bytes and then fails, as the connection to a peer
// that dies while it is written to.
type narrowConn struct {
	deadConn
	room   int
	closed chan struct{} // closed by Close
	once   sync.Once
}

func newNarrowConn(room int) *narrowConn {
	return &narrowConn{room: room, closed: make(chan struct{})}
}

func (c *narrowConn) Read([]byte) (int, error) {
	<-c.closed
	return 0, net.ErrClosed
}

func (c *narrowConn) Write(b []byte) (int, error) {
	n := min(c.room, len(b))
	c.room -= n
	if n < len(b) {
		return n, os.ErrDeadlineExceeded
	}
	return n, nil
}

func (c *narrowConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

// stuckConn takes nothing and reports nothing until it is closed.
type stuckConn struct{ *narrowConn }

func (c stuckConn) Write([]byte) (int, error) {
	<-c.closed
	return 0, net.ErrClosed
}
