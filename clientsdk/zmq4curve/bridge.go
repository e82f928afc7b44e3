package zmq4curve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// conn is what zmq4 takes for a connection to a NULL peer: its end of a pipe.
// A bridge at the other end carries the messages to the CURVE server and back.
type conn struct {
	net.Conn          // zmq4's end of the pipe
	server   net.Conn // for the addresses only

	left  <-chan struct{} // closed when zmq4 has closed its end
	leave func()          // closes left

	ended chan struct{} // closed when cause is known
	once  sync.Once     // guards cause
	cause error         // why the bridge ended, for zmq4 to see; static once ended is closed
}

// Read reports the end of the bridge by its cause.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, c.explain(err)
}

// Write reports the end of the bridge by its cause.
func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.explain(err)
}

// Close ends the bridge once the server has been sent what zmq4 wrote.
func (c *conn) Close() error {
	c.leave()
	return c.Conn.Close()
}

func (c *conn) LocalAddr() net.Addr  { return c.server.LocalAddr() }
func (c *conn) RemoteAddr() net.Addr { return c.server.RemoteAddr() }

// end keeps the first cause.
func (c *conn) end(cause error) {
	c.once.Do(func() {
		c.cause = cause
		close(c.ended)
	})
}

// explain waits for the cause: a link closes the pipe an instant before it returns why.
func (c *conn) explain(err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	select {
	case <-c.ended:
	case <-c.left:
	}
	select {
	case <-c.ended:
		return &endError{c.cause}
	default:
		return err
	}
}

// endError is the end of a bridge. It matches io.EOF too: by that alone zmq4
// knows that a connection is no more.
type endError struct{ cause error }

func (e *endError) Error() string   { return e.cause.Error() }
func (e *endError) Unwrap() []error { return []error{e.cause, io.EOF} }

// bridge returns zmq4's connection to the server. The goroutine behind it ends
// when either side or ctx does; it closes both connections.
func (t *curveTransport) bridge(ctx context.Context, server net.Conn) net.Conn {
	outer, inner := net.Pipe()
	open, leave := context.WithCancel(ctx)
	c := &conn{Conn: outer, server: server, left: open.Done(), leave: leave, ended: make(chan struct{})}
	context.AfterFunc(open, func() { outer.Close() })
	go func() {
		defer server.Close()
		defer inner.Close()
		c.end(t.serve(ctx, c, inner))
	}()
	return c
}

// serve greets zmq4 as a NULL peer, the server by CURVE in the same role, and
// relays until one of them is gone. It returns why.
func (t *curveTransport) serve(ctx context.Context, c *conn, inner net.Conn) error {
	near, err := zmtp.Handshake(ctx, &greeter{Conn: inner}, &zmtp.Config{
		SocketType: "ROUTER",
		Mechanism: zmtp.Null{Admit: func(local zmtp.Metadata) (any, error) {
			far, err := t.connect(ctx, c.server, local)
			if err != nil {
				c.end(err) // before zmq4 can see the pipe's end
				return nil, &zmtp.Refusal{Status: "500", Silent: true}
			}
			return far, nil
		}},
		Limits: t.limits(),
	})
	if err != nil {
		return fmt.Errorf("zmq4curve: %w", err)
	}
	far := near.Subject().(*zmtp.Link)

	lost := func(cause error) { c.end(fmt.Errorf("zmq4curve: the connection to the server ended: %w", cause)) }
	ended := make(chan error, 1)
	go func() {
		err := relay(far, near)
		lost(err)
		near.Finish()
		ended <- err
	}()
	err = relay(near, far)
	if cause := far.Cause(); cause != nil { // near could not pass on a message
		lost(cause)
	}
	c.end(fmt.Errorf("zmq4curve: %w", err))
	far.Finish()
	return <-ended
}

// greeter is the bridge's end of the pipe. It writes its greeting, the first
// write, in a goroutine: both sides greet before they read, and a pipe does not
// buffer. Later writes follow zmq4's READY, which follows our greeting.
type greeter struct {
	net.Conn
	greeted bool // owned by the handshake, then by the link's write loop
}

func (g *greeter) Write(b []byte) (int, error) {
	if g.greeted {
		return g.Conn.Write(b)
	}
	g.greeted = true
	b = bytes.Clone(b)
	go func() { _, _ = g.Conn.Write(b) }() // ends when zmq4 has read it, or with the pipe
	return len(b), nil
}

// connect shakes hands with the server in the role of zmq4's socket.
func (t *curveTransport) connect(ctx context.Context, server net.Conn, local zmtp.Metadata) (*zmtp.Link, error) {
	kind, _ := local.Get(zmtp.PropertySocketType)
	if kind != "REQ" && kind != "DEALER" && kind != "ROUTER" {
		return nil, fmt.Errorf("zmq4curve: a %s socket is not carried: use REQ, DEALER or ROUTER", kind)
	}
	identity, _ := local.Get(zmtp.PropertyIdentity)
	far, err := zmtp.Handshake(ctx, server, &zmtp.Config{
		SocketType: kind,
		Mechanism:  &curve.Client{Key: t.Key, ServerKey: t.ServerKey},
		Metadata:   zmtp.Metadata{{Name: zmtp.PropertyIdentity, Value: identity}},
		Limits:     t.limits(),
	})
	if err != nil {
		return nil, fmt.Errorf("zmq4curve: %s: %w", server.RemoteAddr(), err)
	}
	return far, nil
}

// window is how many bytes may wait for a side before the other is not read.
const window = 1 << 20

// relay passes on each message until from ends, and returns why it did.
func relay(from, to *zmtp.Link) error {
	var frames [][]byte
	return from.Run(func(m *zmtp.Message) error {
		frames = frames[:0]
		for i := range m.Len() {
			frames = append(frames, m.Frame(i))
		}
		if err := to.Send(frames...); err != nil {
			return err
		}
		for to.Pending() > window && to.Cause() == nil {
			time.Sleep(time.Millisecond) // a slow side slows the other; there is nothing to wait on
		}
		return nil
	})
}
