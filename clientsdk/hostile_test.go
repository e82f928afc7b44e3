package clientsdk

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/servicetools/servicetools/clientsdk/internal/brokertest"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// A broker that breaks the protocol is left, and the call goes on at the next
// link as if the first had been lost.
func TestHostile_malformedAnswersEndTheLinkOnly(t *testing.T) {
	for name, answer := range map[string]func(number uint64) []byte{
		"bytes that are no envelope": func(uint64) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n\r\n") },
		"an envelope cut short": func(uint64) []byte {
			return []byte{0, 0, 1, 0, byte(message.KindResult), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}
		},
		"a second ATTACHED": func(uint64) []byte {
			e := message.Envelope{Kind: message.KindAttached, Body: message.Marshal(&message.Attached{})}
			return e.Append(nil)
		},
		"an outcome of a call never made": func(number uint64) []byte {
			e := message.Envelope{Kind: message.KindResult, ID: number + 1, Body: []byte{0xc0}}
			return e.Append(nil)
		},
		"BYE": func(uint64) []byte {
			e := message.Envelope{Kind: message.KindBye, Body: message.Errorf(message.ShuttingDown, "restarting").Append(nil)}
			return e.Append(nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := &brokertest.Broker{}
			b.Intercept = func(l *zmtp.Link, e *message.Envelope) bool {
				if e.Kind != message.KindCall || len(b.Seen(message.KindAttach)) > 1 {
					return false
				}
				bad := answer(e.ID)
				_, _ = l.Append(func(dst []byte) []byte { return append(dst, bad...) })
				return true
			}
			c := dialBroker(t, startBroker(t, b))
			mustCall(t, c, 3, "add", 1, 2)
			if n := len(b.Seen(message.KindAttach)); n != 2 {
				t.Errorf("%d links were made, want 2", n)
			}
		})
	}
}

func TestHostile_malformedOutcomesEndTheCallOnly(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	bodies := map[string]struct {
		kind message.Kind
		body []byte
	}{
		"no result":              {message.KindResult, nil},
		"a result cut short":     {message.KindResult, []byte{0x92, 1}},
		"two results":            {message.KindResult, []byte{1, 2}},
		"a reserved byte":        {message.KindResult, []byte{0xc1}},
		"a length that lies":     {message.KindResult, []byte{0xdd, 0xff, 0xff, 0xff, 0xff}},
		"a map as a map's key":   {message.KindResult, []byte{0x81, 0x80, 1}},
		"an error without a map": {message.KindError, []byte{1}},
		"an empty error":         {message.KindError, nil},
	}
	c := dialBroker(t, b)
	for name, bad := range bodies {
		t.Run(name, func(t *testing.T) {
			b.Inline("bad", func(c *brokertest.Call) { c.Raw(bad.kind, bad.body) })
			if _, err := Call[any](t.Context(), c, "bad"); !errors.Is(err, ErrMalformed) || NotExecuted(err) {
				t.Errorf("got %v", err)
			}
		})
	}
	mustCall(t, c, 3, "add", 1, 2)
	if n := len(b.Seen(message.KindAttach)); n != 1 {
		t.Errorf("%d links were made, want 1", n)
	}
}

func TestHostile_peersThatAreNoBroker(t *testing.T) {
	checkLeaks(t)
	for name, socket := range map[string]string{"the backend": "DEALER", "a REP": "REP"} {
		t.Run(name, func(t *testing.T) {
			ln, err := zmtp.Listen("tcp://127.0.0.1:0", &zmtp.Config{SocketType: socket, Mechanism: zmtp.Null{}}, zmtp.ListenLimits{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			served := make(chan struct{})
			go func() {
				defer close(served)
				_ = ln.Serve(ctx, func(l *zmtp.Link) { _ = l.Run(func(*zmtp.Message) error { return nil }) })
			}()
			defer func() { cancel(); <-served }()
			_, err = Dial(t.Context(), "tcp://"+ln.Addr().String(), WithInsecure())
			if err == nil || !strings.Contains(err.Error(), "frontend") && !strings.Contains(err.Error(), socket) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// No bytes of a broker, before or after ATTACHED, may panic, hang, or end a
// call twice.
func FuzzReceive(f *testing.F) {
	envelope := func(e message.Envelope) []byte { return e.Append(nil) }
	attached := envelope(message.Envelope{Kind: message.KindAttached, ID: 2, Body: message.Marshal(&message.Attached{Resumed: true, BeatMillis: 5000})})
	result := envelope(message.Envelope{Kind: message.KindResult, ID: 1, Body: []byte{0x01}})
	failed := envelope(message.Envelope{Kind: message.KindError, ID: 2, Body: message.Errorf(message.QueueFull, "full").Append(nil)})
	part := envelope(message.Envelope{Kind: message.KindPart, ID: 3, Body: []byte{0x02}})
	progress := envelope(message.Envelope{Kind: message.KindProgress, ID: 3, Body: []byte{0x93, 1, 2, 0xa0}})
	f.Add(attached, true)
	f.Add(append(append([]byte{}, attached...), result...), false)
	f.Add(append(append([]byte{}, result...), failed...), true)
	f.Add(append(append([]byte{}, part...), progress...), true)
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, b []byte, attach bool) {
		cfg, err := newConfig("tcp://in.memory:1", []Option{WithInsecure()})
		if err != nil {
			t.Fatal(err)
		}
		s := newSession(cfg, nil)
		ours, theirs := brokertest.Pipe()
		go func() {
			_, _ = zmtp.Handshake(context.Background(), theirs, &zmtp.Config{SocketType: "ROUTER", Mechanism: zmtp.Null{}})
		}()
		link, err := zmtp.Handshake(t.Context(), ours, &zmtp.Config{SocketType: "DEALER", Mechanism: zmtp.Null{}})
		if err != nil {
			t.Fatal(err)
		}
		k := &connection{session: s, link: link, over: make(chan struct{}), patient: time.NewTimer(time.Hour)}
		if attach {
			k.attached = true
			s.link = link
		}
		calls := make([]*call, 3)
		for i := range calls {
			calls[i] = s.newCall()
			calls[i].inbox = newInbox(true, true)
			if e := calls[i].prepare("method", &settings{}, nil); e != nil {
				t.Fatal(e)
			}
			if e := s.start(calls[i], 0); e != nil {
				t.Fatal(e)
			}
		}
		ended := k.take(b, nil)
		close(k.over)
		k.beats.Wait()
		link.Close(ended)
		_ = link.Run(func(*zmtp.Message) error { return nil })
		s.detach(k, errors.New("over"))
		for _, c := range calls {
			s.cancel(c, "over")
			<-c.done
			if c.err == nil {
				var v any
				_ = decode(c.reply.Bytes, &v) // any error will do
			}
			if len(c.inbox.parts) > window {
				t.Errorf("%d parts are held", len(c.inbox.parts))
			}
		}
		if s.calls.Len() != 0 || s.bytes != 0 {
			t.Errorf("%d calls and %d bytes are left", s.calls.Len(), s.bytes)
		}
		if s.acks.timer != nil {
			s.acks.timer.Stop()
		}
	})
}
