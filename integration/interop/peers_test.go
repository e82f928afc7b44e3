package interop

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/servicetools/servicetools/integration/env"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// task is what a foreign peer is asked to do.
type task map[string]any

// pyzmq starts a pyzmq peer.
func pyzmq(t *testing.T, do string, spec task) *env.Process {
	t.Helper()
	spec["do"] = do
	return env.RunPython(t, "testdata/peer.py", spec)
}

// verdict is the answer of a peer that judges for itself.
type verdict struct {
	OK      bool
	Why     string
	Results []any
}

// mustSucceed runs a pyzmq peer to its verdict.
func mustSucceed(t *testing.T, do string, spec task) verdict {
	t.Helper()
	var v verdict
	if pyzmq(t, do, spec).Next(&v); !v.OK {
		t.Fatalf("pyzmq %s: %s", do, v.Why)
	}
	return v
}

// sizes are those at which frames and buffers change form.
var sizes = []int{0, 1, 255, 256, 65536, 8 << 20}

// security is one of the two mechanisms on both sides of a connection: keys for
// a server and a client.
type security struct {
	name           string
	server, client curve.SecretKey
}

// eachSecurity runs a test under NULL and under CURVE.
func eachSecurity(t *testing.T, peer, name string, test func(t *testing.T, s security)) {
	for _, s := range []security{{name: "NULL"}, {"CURVE", curve.GenerateKey(), curve.GenerateKey()}} {
		t.Run(s.name, func(t *testing.T) {
			record(t, peer+" "+s.name, name)
			test(t, s)
		})
	}
}

func (s security) null() bool { return s.server.IsZero() }

// ourServer and ourClient are the two sides in our own terms.
func (s security) ourServer() zmtp.Mechanism {
	if s.null() {
		return zmtp.Null{}
	}
	return &curve.Server{Key: s.server, Admit: func(curve.PublicKey, zmtp.Metadata) (any, error) { return nil, nil }}
}

func (s security) ourClient() zmtp.Mechanism {
	if s.null() {
		return zmtp.Null{}
	}
	return &curve.Client{Key: s.client, ServerKey: s.server.Public()}
}

// theirClient and theirServer are the same in pyzmq's.
func (s security) theirClient() any {
	if s.null() {
		return nil
	}
	return task{"public": s.client.Public().String(), "secret": s.client.RevealZ85(), "server": s.server.Public().String()}
}

func (s security) theirServer() any {
	if s.null() {
		return nil
	}
	return task{"public": s.server.Public().String(), "secret": s.server.RevealZ85()}
}

// echo serves mechanism as a socket of the given type that answers each message
// with itself, and returns its endpoint and a function that ends it. Any number
// of handshakes may fail.
func echo(t *testing.T, endpoint, socketType string, mechanism zmtp.Mechanism, failed func(error)) (string, func()) {
	t.Helper()
	ln, err := zmtp.Listen(endpoint, &zmtp.Config{SocketType: socketType, Mechanism: mechanism}, zmtp.ListenLimits{FailuresPerSecond: 1 << 20},
		func(_ net.Addr, err error) {
			if failed != nil {
				failed(err)
			}
		})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- ln.Serve(ctx, func(l *zmtp.Link) {
			stop := context.AfterFunc(ctx, func() { l.Close(nil) })
			defer stop()
			_ = l.Run(func(m *zmtp.Message) error { return l.Send(frames(m)...) })
		})
	}()
	end := func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		served <- nil
	}
	t.Cleanup(end)
	return "tcp://" + ln.Addr().String(), end
}

func frames(m *zmtp.Message) [][]byte {
	all := make([][]byte, m.Len())
	for i := range all {
		all[i] = m.Frame(i)
	}
	return all
}

// dial connects to a foreign server.
func dial(t *testing.T, endpoint, socketType string, mechanism zmtp.Mechanism) *zmtp.Link {
	t.Helper()
	l, err := zmtp.Dial(t.Context(), endpoint, &zmtp.Config{SocketType: socketType, Mechanism: mechanism})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(nil) })
	return l
}

// exchange sends messages over a link to an echo and compares what comes back.
func exchange(t *testing.T, l *zmtp.Link, messages ...[][]byte) {
	t.Helper()
	next, ended := make(chan error), make(chan error, 1)
	var want [][]byte
	go func() {
		ended <- l.Run(func(m *zmtp.Message) error {
			got := frames(m)
			if len(got) != len(want) {
				next <- fmt.Errorf("%d frames came back of %d", len(got), len(want))
				return nil
			}
			for i := range got {
				if !bytes.Equal(got[i], want[i]) {
					next <- fmt.Errorf("frame %d of %d bytes came back changed", i, len(want[i]))
					return nil
				}
			}
			next <- nil
			return nil
		})
	}()
	for _, want = range messages {
		if err := l.Send(want...); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-next:
			if err != nil {
				t.Fatal(err)
			}
		case err := <-ended:
			t.Fatalf("the link ended with %v", err)
		case <-time.After(60 * time.Second):
			t.Fatal("no answer for a minute")
		}
	}
	l.Close(nil)
	<-ended
}

// everySize returns messages of all sizes, alone and among other frames.
func everySize(prefix ...[]byte) (messages [][][]byte) {
	for _, n := range sizes {
		b := make([]byte, n)
		_, _ = rand.Read(b)
		messages = append(messages, append(prefix[:len(prefix):len(prefix)], b),
			append(prefix[:len(prefix):len(prefix)], b, nil, []byte("tail")))
	}
	return messages
}
