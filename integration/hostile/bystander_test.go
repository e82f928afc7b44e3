package hostile

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// bystander is a well-behaved client with one call in flight.
type bystander struct {
	link    *zmtp.Link
	replies chan string
	ended   chan error
}

func (tg *target) dial(ctx context.Context, name, address, socketType string, properties ...zmtp.Property) (*zmtp.Link, error) {
	return zmtp.Dial(ctx, "tcp://"+address, &zmtp.Config{
		SocketType: socketType,
		Mechanism:  &curve.Client{Key: tg.secret(name), ServerKey: tg.secret("server").Public()},
		Metadata:   properties,
	})
}

// work serves the method "echo" until the test ends, as an SDK worker does: what
// such a worker claims goes to no attacker that calls itself a REP worker.
func (tg *target) work(t *testing.T) {
	t.Helper()
	l, err := tg.dial(t.Context(), "worker", tg.Backend, "DEALER", zmtp.Property{Name: message.PropertySDK, Value: message.ProtocolVersion})
	if err != nil {
		t.Fatal(err)
	}
	send := func(e *message.Envelope) error {
		_, err := l.Append(e.Append)
		return err
	}
	err = send(&message.Envelope{Kind: message.KindRegister,
		Body: message.Marshal(&message.Register{Worker: "good", Concurrency: 8, Methods: []message.Method{{Name: "echo"}}})})
	if err != nil {
		t.Fatal(err)
	}
	registered, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- l.Run(func(m *zmtp.Message) error {
			for rest := m.Bytes(); len(rest) > 0; {
				var e message.Envelope
				var err error
				if rest, err = e.Next(rest); err != nil {
					return err
				}
				switch e.Kind {
				case message.KindRegistered:
					close(registered)
				case message.KindCall:
					args, _, malformed := message.SplitBody(e.Body)
					if malformed != nil {
						return malformed
					}
					if err := send(&message.Envelope{Kind: message.KindResult, ID: e.ID, Body: args}); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}()
	go keepAlive(l)
	t.Cleanup(func() {
		l.Close(nil)
		if err := <-ended; err != zmtp.ErrClosed {
			t.Errorf("the well-behaved worker's link ended with %v", err)
		}
	})
	<-registered
}

// keepAlive beats until the link ends.
func keepAlive(l *zmtp.Link) {
	for l.Cause() == nil {
		time.Sleep(time.Second)
		l.Beat(time.Now(), 5*time.Second, time.Minute)
	}
}

// join connects a bystander.
func (tg *target) join(ctx context.Context) (*bystander, error) {
	l, err := tg.dial(ctx, "client", tg.Frontend, "DEALER")
	if err != nil {
		return nil, err
	}
	b := &bystander{link: l, replies: make(chan string, 1), ended: make(chan error, 1)}
	go func() {
		b.ended <- l.Run(func(m *zmtp.Message) error {
			b.replies <- string(m.Frame(m.Len() - 1))
			return nil
		})
	}()
	return b, nil
}

func (b *bystander) leave() {
	b.link.Close(nil)
	<-b.ended
}

// call makes one call and returns how long it took.
func (b *bystander) call(n int) (time.Duration, error) {
	request, err := msgpack.Marshal(map[string]any{"method": "echo", "args": []any{n}, "timeout": 30.0})
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := b.link.Send(nil, request); err != nil {
		return 0, err
	}
	select {
	case reply := <-b.replies:
		var r map[string]any
		if err := msgpack.Unmarshal([]byte(reply), &r); err != nil || fmt.Sprint(r["result"]) != fmt.Sprint([]int{n}) {
			return 0, fmt.Errorf("the call of %d is answered with %v, %v", n, r, err)
		}
		return time.Since(began), nil
	case err := <-b.ended:
		b.ended <- err
		return 0, fmt.Errorf("the link ended: %w", err)
	case <-time.After(30 * time.Second):
		return 0, fmt.Errorf("no answer for 30 s")
	}
}

// callPause is the bystander's rest between two calls: it asks about a thousand
// times a second, and leaves the attackers a processor to attack with.
const callPause = 500 * time.Microsecond

// callUntil makes calls until ctx ends and returns how long each took.
func (b *bystander) callUntil(ctx context.Context) (took []time.Duration, err error) {
	for n := 0; ctx.Err() == nil; n++ {
		time.Sleep(callPause)
		d, err := b.call(n)
		if err != nil {
			return took, err
		}
		took = append(took, d)
	}
	return took, nil
}

// p99 returns the latency that one call in a hundred exceeds.
func p99(took []time.Duration) time.Duration {
	if len(took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(took))
	return sorted[len(sorted)*99/100]
}
