// Package admin calls the broker's own methods, broker.status and its like,
// over one connection to a broker's frontend, and explains in one line why that
// failed. It speaks the compact protocol of docs/protocol.md, section 4.2: a
// broker tells such a peer at once why it is not admitted, where it keeps a
// plain one with an unknown key waiting. A session ends with its connection;
// nothing is resumed.
package admin

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/version"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// Target says which endpoint to reach, and with which keys.
type Target struct {
	Endpoint  string          // tcp://host:port
	Key       curve.SecretKey // zero: without security
	ServerKey curve.PublicKey // of the broker; unused without security
}

// Connect performs the handshake with the target and returns the link, on which
// nobody has called Run yet. Its errors are *zmtp.StepError.
func (t Target) Connect(ctx context.Context) (*zmtp.Link, error) {
	var mechanism zmtp.Mechanism = zmtp.Null{}
	if !t.Key.IsZero() {
		mechanism = &curve.Client{Key: t.Key, ServerKey: t.ServerKey}
	}
	return zmtp.Dial(ctx, t.Endpoint, &zmtp.Config{
		SocketType: "DEALER",
		Mechanism:  mechanism,
		Metadata:   zmtp.Metadata{{Name: message.PropertySDK, Value: message.ProtocolVersion}},
	})
}

// Client calls methods over one link. Its methods are safe for concurrent use.
type Client struct {
	// Static after Dial.
	link     *zmtp.Link
	version  string        // of the broker
	attached chan string   // gets that version once
	ended    chan struct{} // closed when the read loop has ended

	// Owned by the read loop; cause is for all once ended is closed.
	greeted bool   // ATTACHED has come
	taken   uint64 // outcomes received
	cause   error  // why the link ended

	mu      sync.Mutex
	calls   uint64                   // number of the last call; guarded by mu
	waiting map[uint64]chan<- answer // by number, each with room for one; guarded by mu
}

// answer is the outcome of one call.
type answer struct {
	result []byte // one msgpack value
	err    *message.Error
}

// program names this client in the broker's list of sessions.
const program = "broker command"

// Dial connects to a broker's frontend. Its errors are *zmtp.StepError, or what
// ended the link before the broker had answered.
func Dial(ctx context.Context, t Target) (*Client, error) {
	link, err := t.Connect(ctx)
	if err != nil {
		return nil, err
	}
	c := &Client{
		link:     link,
		attached: make(chan string, 1),
		ended:    make(chan struct{}),
		waiting:  make(map[uint64]chan<- answer),
	}
	go func() {
		c.cause = link.Run(c.receive)
		close(c.ended)
	}()
	var session message.SessionID
	_, _ = rand.Read(session[:]) // never fails
	body := message.Marshal(&message.Attach{Session: session, Name: program, Version: version.String()})
	_ = c.send(&message.Envelope{Kind: message.KindAttach, Body: body}) // a dead link ends the read loop
	select {
	case c.version = <-c.attached:
		return c, nil
	case <-c.ended:
		return nil, c.lost()
	case <-ctx.Done():
		link.Close(context.Cause(ctx))
		<-c.ended
		return nil, &zmtp.StepError{Addr: t.Endpoint, Step: zmtp.StepAuthorise, Err: context.Cause(ctx)}
	}
}

// Version returns which build of servicetools the broker is.
func (c *Client) Version() string { return c.version }

// Close ends the session and returns when the connection has ended.
func (c *Client) Close() {
	_ = c.send(&message.Envelope{Kind: message.KindBye, Body: (&message.Error{Code: message.Cancelled, Message: "done"}).Append(nil)})
	c.link.Finish()
	<-c.ended
}

// Call runs a method with named parameters and returns its result, one msgpack
// value; see Decode. It waits until ctx ends, which the broker is told of. Its
// error is a *message.Error by the broker, or wraps context.DeadlineExceeded,
// context.Canceled or message.ErrConnectionLost.
func (c *Client) Call(ctx context.Context, method string, kwargs map[string]any) ([]byte, error) {
	named, err := msgpack.Marshal(kwargs)
	if err != nil {
		return nil, err
	}
	e := message.Envelope{Kind: message.KindCall, Method: []byte(method), Body: message.AppendBody(nil, nil, named)}
	if deadline, ok := ctx.Deadline(); ok {
		e.Timeout = max(time.Until(deadline), time.Millisecond)
	}
	outcome := make(chan answer, 1)
	c.mu.Lock()
	c.calls++
	e.ID = c.calls
	c.waiting[e.ID] = outcome
	err = c.send(&e) // within the lock: numbers ascend on the wire
	c.mu.Unlock()
	defer c.forget(e.ID)
	if err != nil {
		return nil, c.lost()
	}
	select {
	case a := <-outcome:
		if a.err != nil {
			return nil, a.err
		}
		return a.result, nil
	case <-c.ended:
		return nil, c.lost()
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: no answer: %w", method, ctx.Err())
	}
}

func (c *Client) forget(number uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, number)
}

// send queues one envelope.
func (c *Client) send(e *message.Envelope) error {
	_, err := c.link.Append(func(dst []byte) []byte { return e.Append(dst) })
	return err
}

// lost waits for the end of the link, which is near, and says why it ended.
// The reason that the broker gave wins over the end of the connection after it.
func (c *Client) lost() error {
	<-c.ended
	var told *message.Error
	if errors.As(c.cause, &told) {
		return told
	}
	return message.Errorf(message.ConnectionLost, "the broker closed the connection (%v): look into its log, and try again", c.cause)
}

// receive handles one message: whole envelopes, one after the other.
func (c *Client) receive(m *zmtp.Message) error {
	var e message.Envelope
	before := c.taken
	for rest := m.Bytes(); len(rest) > 0; {
		var err error
		if rest, err = e.Next(rest); err != nil {
			return err
		}
		switch e.Kind {
		case message.KindAttached:
			var body message.Attached
			if err := message.Unmarshal(e.Body, &body); err != nil {
				return err
			}
			if c.greeted {
				return fmt.Errorf("%w: a second ATTACHED on one link", zmtp.ErrProtocol)
			}
			c.greeted = true
			c.attached <- body.Version // has room for one
		case message.KindResult:
			c.settle(e.ID, answer{result: bytes.Clone(e.Body)})
		case message.KindError:
			c.settle(e.ID, answer{err: message.ParseError(e.Body)})
		case message.KindBye:
			return message.ParseError(e.Body)
		}
	}
	if c.taken > before {
		_ = c.send(&message.Envelope{Kind: message.KindAck, ID: c.taken}) // a dead link ends this loop
	}
	return nil
}

// settle hands an outcome to its caller, if that still waits.
func (c *Client) settle(number uint64, a answer) {
	c.taken++
	c.mu.Lock()
	defer c.mu.Unlock()
	if outcome := c.waiting[number]; outcome != nil {
		delete(c.waiting, number)
		outcome <- a
	}
}
