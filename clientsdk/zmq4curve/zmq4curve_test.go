package zmq4curve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zeromq/zmq4"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// scheme registers the keys under a scheme that no other test uses.
func scheme(t *testing.T, cfg Config) string {
	t.Helper()
	name := fmt.Sprintf("curve%d", schemes.Add(1))
	if err := Register(name, cfg); err != nil {
		t.Fatal(err)
	}
	return name + "://"
}

var schemes atomic.Int64

// router is a CURVE server of our own that sends every message back.
type router struct {
	addr string
	stop context.CancelFunc
	done chan struct{}

	mu    sync.Mutex
	links []*zmtp.Link // guarded by mu
}

func startRouter(t *testing.T, key curve.SecretKey, admit func(curve.PublicKey, zmtp.Metadata) (any, error)) *router {
	t.Helper()
	server := &curve.Server{Key: key, Admit: admit}
	listener, err := zmtp.Listen("tcp://127.0.0.1:0", &zmtp.Config{SocketType: "ROUTER", Mechanism: server}, zmtp.ListenLimits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &router{addr: listener.Addr().String(), stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		_ = listener.Serve(ctx, func(l *zmtp.Link) {
			r.mu.Lock()
			r.links = append(r.links, l)
			r.mu.Unlock()
			defer context.AfterFunc(ctx, func() { l.Close(nil) })()
			_ = l.Run(func(m *zmtp.Message) error {
				var frames [][]byte
				for i := range m.Len() {
					frames = append(frames, m.Frame(i))
				}
				return l.Send(frames...)
			})
		})
	}()
	t.Cleanup(r.close)
	return r
}

// hangUp ends every connection.
func (r *router) hangUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.links {
		l.Close(nil)
	}
	r.links = nil
}

func (r *router) close() {
	r.stop()
	<-r.done
}

func admitAll(curve.PublicKey, zmtp.Metadata) (any, error) { return nil, nil }

// Libzmq cuts a connection on which no frame came to its end within
// heartbeat_timeout of a PING, be one on its way or not: the timeout is longer
// than the longest message takes on a machine with too much to do. (hazards A3.20)
const pyServer = `
import sys, zmq
public, secret, kind = sys.argv[1:4]
s = zmq.Context().socket(getattr(zmq, kind))
s.curve_server = True
s.curve_publickey, s.curve_secretkey = public.encode(), secret.encode()
s.heartbeat_ivl, s.heartbeat_timeout = 100, 600_000
print(s.bind_to_random_port('tcp://127.0.0.1'), flush=True)
while True:
    s.send_multipart(s.recv_multipart())
`

// startPython starts a libzmq server that sends every message back.
func startPython(t *testing.T, key curve.SecretKey, kind string) string {
	t.Helper()
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import zmq").Run(); err != nil {
		if slices.Contains(strings.Split(os.Getenv("SERVICETOOLS_WITHOUT"), ","), "pyzmq") {
			t.Skip("NOT RUN against libzmq: SERVICETOOLS_WITHOUT names pyzmq")
		}
		t.Fatalf("%s has no module zmq (%v): install python3-zmq, or set SERVICETOOLS_WITHOUT=pyzmq to go without", python, err)
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", pyServer, key.Public().String(), key.RevealZ85(), kind)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	var port int
	if _, err := fmt.Fscan(out, &port); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// newSocket returns a socket that ends with the test.
func newSocket(t *testing.T, kind zmq4.SocketType) zmq4.Socket {
	t.Helper()
	opts := []zmq4.Option{zmq4.WithDialerRetry(time.Millisecond), zmq4.WithDialerMaxRetries(3)}
	var s zmq4.Socket
	switch kind {
	case zmq4.Req:
		s = zmq4.NewReq(t.Context(), opts...)
	case zmq4.Rep:
		s = zmq4.NewRep(t.Context(), opts...)
	default:
		s = zmq4.NewDealer(t.Context(), opts...)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// ask sends body and checks that it comes back.
func ask(s zmq4.Socket, body []byte) error {
	frames := [][]byte{body}
	if s.Type() == zmq4.Dealer {
		frames = [][]byte{{}, body} // REP wants the delimiter that REQ adds itself
	}
	if err := s.SendMulti(zmq4.NewMsgFrom(frames...)); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	reply, err := s.Recv()
	if err != nil {
		return fmt.Errorf("recv: %w", err)
	}
	if got := reply.Frames[len(reply.Frames)-1]; !bytes.Equal(got, body) {
		return fmt.Errorf("%d bytes came back as %d", len(body), len(got))
	}
	return nil
}

func TestSockets(t *testing.T) {
	for _, server := range []string{"ours", "libzmq ROUTER", "libzmq REP"} {
		for _, kind := range []zmq4.SocketType{zmq4.Req, zmq4.Dealer} {
			t.Run(fmt.Sprintf("%s to %s", kind, server), func(t *testing.T) {
				key, serverKey := curve.GenerateKey(), curve.GenerateKey()
				var addr string
				if library, socket, foreign := strings.Cut(server, " "); foreign && library == "libzmq" {
					addr = startPython(t, serverKey, socket)
				} else {
					addr = startRouter(t, serverKey, admitAll).addr
				}
				s := newSocket(t, kind)
				if err := s.Dial(scheme(t, Config{Key: key, ServerKey: serverKey.Public()}) + addr); err != nil {
					t.Fatal(err)
				}
				for _, size := range []int{0, 1, 222, 223, 255, 256, 65_000, 8_000_000} {
					if err := ask(s, bytes.Repeat([]byte{7}, size)); err != nil {
						t.Fatalf("%d bytes: %v", size, err)
					}
				}
			})
		}
	}
}

// A message may be on its way for a while, and libzmq's PINGs come meanwhile.
func TestSockets_slowPath(t *testing.T) {
	key, serverKey := curve.GenerateKey(), curve.GenerateKey()
	addr := startSlowPath(t, startPython(t, serverKey, "ROUTER"))
	s := newSocket(t, zmq4.Dealer)
	if err := s.Dial(scheme(t, Config{Key: key, ServerKey: serverKey.Public()}) + addr); err != nil {
		t.Fatal(err)
	}
	if err := ask(s, make([]byte, 2*slowAfter)); err != nil {
		t.Error(err)
	}
}

const slowAfter = 1 << 20 // bytes that startSlowPath carries before it rests

// startSlowPath carries one connection to addr. What the dialler sends rests
// for a while in the middle.
func startSlowPath(t *testing.T, addr string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		near, err := listener.Accept()
		if err != nil {
			return
		}
		defer near.Close()
		far, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		defer far.Close()
		go func() {
			defer near.Close()
			_, _ = io.Copy(near, far)
		}()
		_, _ = io.CopyN(far, near, slowAfter)
		time.Sleep(1500 * time.Millisecond)
		_, _ = io.Copy(far, near)
	}()
	return listener.Addr().String()
}

// The bridge answers PINGs, and zmq4 does not see them.
func TestSockets_pings(t *testing.T) {
	serverKey := curve.GenerateKey()
	r := startRouter(t, serverKey, admitAll)
	s := newSocket(t, zmq4.Dealer)
	if err := s.Dial(scheme(t, Config{Key: curve.GenerateKey(), ServerKey: serverKey.Public()}) + r.addr); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := ask(s, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
		r.mu.Lock()
		link := r.links[0]
		r.mu.Unlock()
		asked := time.Now()
		link.Ping(time.Minute)
		for deadline := asked.Add(20 * time.Second); !link.LastRead().After(asked); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("a PING is not answered")
			}
		}
	}
}

func TestDealer_manyInFlight(t *testing.T) {
	serverKey := curve.GenerateKey()
	addr := startRouter(t, serverKey, admitAll).addr
	s := newSocket(t, zmq4.Dealer)
	if err := s.Dial(scheme(t, Config{Key: curve.GenerateKey(), ServerKey: serverKey.Public()}) + addr); err != nil {
		t.Fatal(err)
	}
	const messages = 200
	body := make([]byte, 64<<10) // more than the window in all
	sent := make(chan error, 1)
	go func() {
		for i := range messages {
			if err := s.SendMulti(zmq4.NewMsgFrom(fmt.Append(nil, i), body)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range messages {
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if got := string(m.Frames[0]); got != fmt.Sprint(i) || len(m.Frames[1]) != len(body) {
			t.Fatalf("message %d came back as %s", i, got)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestDial_errors(t *testing.T) {
	key, serverKey := curve.GenerateKey(), curve.GenerateKey()
	addr := startRouter(t, serverKey, func(k curve.PublicKey, _ zmtp.Metadata) (any, error) {
		if k != key.Public() {
			return nil, &zmtp.Refusal{Status: "400"}
		}
		return nil, nil
	}).addr
	refused := func(err error) bool {
		var r *zmtp.Refusal
		return errors.As(err, &r) && r.ByPeer && r.Status == "400"
	}
	for _, test := range []struct {
		name string
		kind zmq4.SocketType
		cfg  Config
		addr string
		want func(error) bool
	}{
		{"wrong server key", zmq4.Dealer, Config{Key: key, ServerKey: key.Public()}, addr,
			func(err error) bool { return errors.Is(err, zmtp.ErrServerKey) }},
		{"key that is not admitted", zmq4.Dealer, Config{Key: serverKey, ServerKey: serverKey.Public()}, addr, refused},
		{"socket type that is not carried", zmq4.Rep, Config{Key: key, ServerKey: serverKey.Public()}, addr,
			func(err error) bool { return strings.Contains(err.Error(), "use REQ, DEALER or ROUTER") }},
		{"nobody there", zmq4.Req, Config{Key: key, ServerKey: serverKey.Public()}, "127.0.0.1:1",
			func(err error) bool { var op *net.OpError; return errors.As(err, &op) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := newSocket(t, test.kind).Dial(scheme(t, test.cfg) + test.addr)
			if err == nil || !test.want(err) {
				t.Errorf("error %v", err)
			}
		})
	}
	if err := Register("curvex", Config{Key: key}); err == nil {
		t.Error("a transport without a server key is registered")
	}
	if err := newSocket(t, zmq4.Dealer).Listen(scheme(t, Config{Key: key, ServerKey: key.Public()}) + "127.0.0.1:0"); err == nil {
		t.Error("Listen succeeds")
	}
}

func TestRedial(t *testing.T) {
	for _, kind := range []zmq4.SocketType{zmq4.Req, zmq4.Dealer} {
		t.Run(string(kind), func(t *testing.T) {
			serverKey := curve.GenerateKey()
			r := startRouter(t, serverKey, admitAll)
			s := newSocket(t, kind)
			endpoint := scheme(t, Config{Key: curve.GenerateKey(), ServerKey: serverKey.Public()}) + r.addr
			for round := range 3 {
				if err := s.Dial(endpoint); err != nil {
					t.Fatalf("round %d: %v", round, err)
				}
				for range 3 {
					if err := ask(s, []byte("hello")); err != nil {
						t.Fatalf("round %d: %v", round, err)
					}
				}
				r.hangUp()
				if _, err := s.Recv(); err == nil || !strings.Contains(err.Error(), "the connection to the server ended") {
					t.Fatalf("the end of the server is reported as %v", err)
				}
			}
		})
	}
}

// What ended a connection is told, whichever side of the bridge saw it first.
func TestRecv_tellsWhyTheConnectionEnded(t *testing.T) {
	serverKey := curve.GenerateKey()
	r := startRouter(t, serverKey, admitAll)
	endpoint := scheme(t, Config{Key: curve.GenerateKey(), ServerKey: serverKey.Public(), MaxMessage: 100_000}) + r.addr
	for _, test := range []struct {
		name string
		end  func(s zmq4.Socket)
		want func(error) bool
	}{
		{"a message is too large", func(s zmq4.Socket) { _ = s.Send(zmq4.NewMsg(make([]byte, 100_001))) },
			func(err error) bool { return errors.Is(err, zmtp.ErrTooLarge) }},
		{"the server goes while its answers are not read and others are sent", func(s zmq4.Socket) {
			for range 64 { // more than the window in all
				_ = s.Send(zmq4.NewMsg(make([]byte, 64<<10)))
			}
			r.hangUp()
			for range 10 {
				_ = s.Send(zmq4.NewMsgString("x"))
				time.Sleep(time.Millisecond)
			}
		}, func(err error) bool { return strings.Contains(err.Error(), "the connection to the server ended") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			for range 20 {
				s := newSocket(t, zmq4.Dealer)
				if err := s.Dial(endpoint); err != nil {
					t.Fatal(err)
				}
				test.end(s)
				var err error
				for err == nil {
					_, err = s.Recv()
				}
				if !test.want(err) {
					t.Fatalf("error %v", err)
				}
				s.Close()
			}
		})
	}
}

func TestClose_leavesNoGoroutine(t *testing.T) {
	serverKey := curve.GenerateKey()
	r := startRouter(t, serverKey, admitAll)
	endpoint := scheme(t, Config{Key: curve.GenerateKey(), ServerKey: serverKey.Public()}) + r.addr
	before := runtime.NumGoroutine()
	for range 5 {
		s := newSocket(t, zmq4.Dealer)
		if err := s.Dial(endpoint); err != nil {
			t.Fatal(err)
		}
		if err := ask(s, []byte("x")); err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	for deadline := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines before, %d after\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
		}
	}
}
