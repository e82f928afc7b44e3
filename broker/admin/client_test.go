package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// peer is the far side of a link: it is called for each envelope, and says
// what to answer. Nil answers nothing.
type peer func(link *zmtp.Link, e *message.Envelope) *message.Envelope

// listen runs a peer that answers ATTACH, until the test ends.
func listen(t *testing.T, answer peer) Target {
	t.Helper()
	l, err := zmtp.Listen("tcp://127.0.0.1:0", &zmtp.Config{
		SocketType: "ROUTER",
		Mechanism:  zmtp.Null{Admit: func(zmtp.Metadata) (any, error) { return nil, nil }},
	}, zmtp.ListenLimits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- l.Serve(ctx, func(link *zmtp.Link) {
			stop := context.AfterFunc(ctx, func() { link.Close(nil) })
			defer stop()
			_ = link.Run(func(m *zmtp.Message) error {
				var e message.Envelope
				for rest := m.Bytes(); len(rest) > 0; {
					var err error
					if rest, err = e.Next(rest); err != nil {
						return err
					}
					reply := answer(link, &e)
					if e.Kind == message.KindAttach && reply == nil {
						reply = &message.Envelope{Kind: message.KindAttached, Body: message.Marshal(&message.Attached{Version: "v9"})}
					}
					if reply != nil {
						_, _ = link.Append(func(dst []byte) []byte { return reply.Append(dst) })
					}
				}
				return nil
			})
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return Target{Endpoint: "tcp://" + l.Addr().String()}
}

func dial(t *testing.T, target Target) *Client {
	t.Helper()
	c, err := Dial(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestClient_givesEachCallItsOwnOutcome(t *testing.T) {
	const calls = 50
	acknowledged := make(chan uint64, 2*calls)
	c := dial(t, listen(t, func(_ *zmtp.Link, e *message.Envelope) *message.Envelope {
		switch e.Kind {
		case message.KindAck:
			acknowledged <- e.ID
		case message.KindCall:
			if bytes.HasPrefix(e.Method, []byte("bad")) {
				return &message.Envelope{Kind: message.KindError, ID: e.ID, Body: message.Errorf(message.BadArgs, "%s", e.Method).Append(nil)}
			}
			body, _ := msgpack.Marshal(string(e.Method))
			return &message.Envelope{Kind: message.KindResult, ID: e.ID, Body: body}
		}
		return nil
	}))
	if c.Version() != "v9" {
		t.Errorf("the broker's version is %q", c.Version())
	}
	var running sync.WaitGroup
	for i := range calls {
		running.Go(func() {
			name := fmt.Sprintf("good%d", i)
			if i%2 == 0 {
				name = fmt.Sprintf("bad%d", i)
			}
			result, err := c.Call(t.Context(), name, map[string]any{"n": i})
			var told *message.Error
			var got string
			switch {
			case errors.As(err, &told):
				got = told.Message
			case err == nil:
				err = Decode(result, &got)
			}
			if got != name {
				t.Errorf("call %s gets %q, %v", name, got, err)
			}
		})
	}
	running.Wait()
	for n := range acknowledged {
		if n == calls {
			break
		}
	}
}

func TestClient_givesUpInTime(t *testing.T) {
	c := dial(t, listen(t, func(*zmtp.Link, *message.Envelope) *message.Envelope { return nil }))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := c.Call(ctx, "silent", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call without answer ends in %v", err)
	}
}

func TestClient_tellsWhyTheConnectionEnded(t *testing.T) {
	for _, test := range []struct {
		name string
		want error
		end  peer
	}{
		{"the broker leaves", message.ErrShuttingDown, func(link *zmtp.Link, e *message.Envelope) *message.Envelope {
			return &message.Envelope{Kind: message.KindBye, Body: message.Errorf(message.ShuttingDown, "bye").Append(nil)}
		}},
		{"the connection breaks", message.ErrConnectionLost, func(link *zmtp.Link, e *message.Envelope) *message.Envelope {
			link.Close(nil)
			return nil
		}},
		{"the broker attaches twice", message.ErrConnectionLost, func(link *zmtp.Link, e *message.Envelope) *message.Envelope {
			return &message.Envelope{Kind: message.KindAttached, Body: message.Marshal(&message.Attached{})}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			target := listen(t, func(link *zmtp.Link, e *message.Envelope) *message.Envelope {
				if e.Kind == message.KindCall {
					return test.end(link, e)
				}
				return nil
			})
			c := dial(t, target)
			for range 2 { // the second finds the link dead
				if _, err := c.Call(t.Context(), "any", nil); !errors.Is(err, test.want) {
					t.Errorf("a call ends in %v, want %v", err, test.want)
				}
				c.link.Close(nil)
			}
		})
	}
}

func TestDial_isTold(t *testing.T) {
	target := listen(t, func(_ *zmtp.Link, e *message.Envelope) *message.Envelope {
		return &message.Envelope{Kind: message.KindBye, Body: message.Errorf(message.QueueFull, "too many").Append(nil)}
	})
	if _, err := Dial(t.Context(), target); !errors.Is(err, message.ErrQueueFull) {
		t.Errorf("Dial ends in %v", err)
	}
	var step *zmtp.StepError
	if _, err := Dial(t.Context(), Target{Endpoint: "tcp://127.0.0.1:1"}); !errors.As(err, &step) || step.Step != zmtp.StepConnect {
		t.Errorf("Dial to nobody ends in %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(ctx, target); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled Dial ends in %v", err)
	}
}
