package zmtp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/servicetools/servicetools/wire/internal/leak"
)

// door is a Listener under test.
type door struct {
	*Listener
	t        testing.TB
	endpoint string
	failures chan error // of handshakes
	served   chan error // Serve's result
	stop     context.CancelFunc
}

// openDoor serves an echo until the test ends, and then looks for leaks.
func openDoor(t testing.TB, cfg *Config, limits ListenLimits) *door {
	t.Helper()
	leak.Check(t)
	d := &door{t: t, failures: make(chan error, 10000), served: make(chan error, 1)}
	ln, err := Listen("tcp://127.0.0.1:0", cfg, limits, func(_ net.Addr, err error) { d.failures <- err })
	if err != nil {
		t.Fatal(err)
	}
	d.Listener, d.endpoint = ln, "tcp://"+ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	d.stop = cancel
	go func() {
		d.served <- ln.Serve(ctx, func(l *Link) {
			stop := context.AfterFunc(ctx, func() { l.Close(nil) })
			defer stop()
			_ = l.Run(func(m *Message) error { return l.Send(m.Bytes()) })
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-d.served; err != nil {
			t.Errorf("Serve ended with %v", err)
		}
		d.served <- nil
	})
	return d
}

// silent opens n connections that say nothing.
func (d *door) silent(n int) []net.Conn {
	d.t.Helper()
	conns := make([]net.Conn, n)
	for i := range conns {
		conn, err := net.Dial("tcp", d.Addr().String())
		if err != nil {
			d.t.Fatal(err)
		}
		d.t.Cleanup(func() { conn.Close() })
		conns[i] = conn
	}
	return conns
}

// mustServe proves that a well-behaved peer is served.
func (d *door) mustServe() {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	l, err := Dial(ctx, d.endpoint, &Config{SocketType: "DEALER", Mechanism: Null{}})
	if err != nil {
		d.t.Fatalf("a well-behaved peer is not admitted: %v", err)
	}
	stop := context.AfterFunc(ctx, func() { l.Close(ctx.Err()) })
	defer stop()
	if err := l.Send([]byte("hello")); err != nil {
		d.t.Fatal(err)
	}
	var got string
	_ = l.Run(func(m *Message) error { got = string(m.Bytes()); return io.EOF })
	if got != "hello" {
		d.t.Fatalf("a well-behaved peer got %q: %v", got, l.Cause())
	}
}

var nullRouter = &Config{SocketType: "ROUTER", Mechanism: Null{}}

// One silent peer must not stop the others. (hazards A1a)
func TestListener_silentPeersDoNotStopOthers(t *testing.T) {
	d := openDoor(t, nullRouter, ListenLimits{})
	for _, conn := range d.silent(3) {
		_, _ = conn.Write(newGreeting("NULL", false)[:11])
	}
	d.mustServe()
}

func TestListener_silentPeersLoseTheirPlaceInTime(t *testing.T) {
	d := openDoor(t, &Config{SocketType: "ROUTER", Mechanism: Null{}, Limits: Limits{HandshakeWait: 50 * time.Millisecond}}, ListenLimits{})
	for _, conn := range d.silent(5) {
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("a silent connection ended with %v", err)
		}
		if err := <-d.failures; !errors.Is(err, ErrTimeout) {
			t.Errorf("reported as %v, want ErrTimeout", err)
		}
	}
	if n := d.Unauthenticated(); n != 0 {
		t.Errorf("%d connections are still in their handshake", n)
	}
}

// A byte now and then does not extend the time: it is bounded in all.
func TestListener_tricklingGreetingIsCut(t *testing.T) {
	d := openDoor(t, &Config{SocketType: "ROUTER", Mechanism: Null{}, Limits: Limits{HandshakeWait: 200 * time.Millisecond}}, ListenLimits{})
	conn := d.silent(1)[0]
	for _, c := range newGreeting("NULL", false) {
		if _, err := conn.Write([]byte{c}); err != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := <-d.failures; !errors.Is(err, ErrTimeout) {
		t.Errorf("reported as %v, want ErrTimeout", err)
	}
}

func TestListener_evictsTheOldestSilentPeer(t *testing.T) {
	for _, test := range []struct {
		name   string
		limits ListenLimits
	}{
		{"when the places of the handshake are taken", ListenLimits{MaxUnauthenticated: 10}},
		{"when all connections are taken", ListenLimits{MaxConnections: 10}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := &Config{SocketType: "ROUTER", Mechanism: Null{}, Limits: Limits{HandshakeWait: time.Hour}}
			test.limits.FailuresPerSecond = 1000
			d := openDoor(t, cfg, test.limits)
			conns := d.silent(12)
			for range 2 {
				if err := <-d.failures; err != errEvicted {
					t.Errorf("reported as %v, want errEvicted", err)
				}
			}
			for _, conn := range conns[:2] {
				_, _ = io.Copy(io.Discard, conn) // returns: it was closed
			}
			d.mustServe()
			if err := <-d.failures; err != errEvicted {
				t.Errorf("reported as %v, want errEvicted", err)
			}
		})
	}
}

// slowMechanism computes until it is told to stop.
type slowMechanism struct {
	Null
	computing chan struct{} // a token for each handshake that computes
	proceed   chan struct{}
}

func (m slowMechanism) Handshake(c Commands, local Metadata) (Security, error) {
	m.computing <- struct{}{}
	<-m.proceed
	return m.Null.Handshake(c, local)
}

// Whoever waits for our crypto is spared: in a crowd that reconnects the oldest is next.
func TestListener_doesNotEvictWhomItKeepsWaiting(t *testing.T) {
	m := slowMechanism{computing: make(chan struct{}, 100), proceed: make(chan struct{})}
	d := openDoor(t, &Config{SocketType: "ROUTER", Mechanism: m}, ListenLimits{MaxUnauthenticated: 4, Slots: NewSlots(4)})
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(d.mustServe)
	}
	for range 4 {
		<-m.computing
	}
	time.Sleep(2 * time.Duration(patience)) // in which nobody may be evicted
	close(m.proceed)
	wg.Wait()
	if n := len(d.failures); n > 0 {
		t.Errorf("%d handshakes failed, the first with %v", n, <-d.failures)
	}
}

func TestListener_countsFailuresByAddress(t *testing.T) {
	d := openDoor(t, nullRouter, ListenLimits{FailuresPerSecond: 3})
	// Until the clock lets three failures and the fourth connection fall into one second.
	for {
		for range 3 {
			conn := d.silent(1)[0]
			_, _ = io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
			<-d.failures
		}
		conn := d.silent(1)[0]
		if n, _ := io.Copy(io.Discard, conn); n == 0 { // closed before its greeting
			break
		}
		<-d.failures
	}
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		l, err := Dial(ctx, d.endpoint, &Config{SocketType: "DEALER", Mechanism: Null{}})
		cancel()
		if err == nil {
			l.Close(nil)
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestFailures(t *testing.T) {
	ip := func(s string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(s)} }
	at := time.Unix(100, 0)
	f := failures{perSecond: 2}
	f.add(ip("192.0.2.1"), at)
	f.add(ip("2001:db8::1"), at)
	if f.exceeded(ip("192.0.2.1"), at) {
		t.Error("one failure is too many")
	}
	f.add(ip("::ffff:192.0.2.1"), at)
	f.add(ip("2001:db8::2"), at)
	for _, test := range []struct {
		addr net.Addr
		at   time.Time
		want bool
	}{
		{ip("192.0.2.1"), at, true},
		{ip("::ffff:192.0.2.1"), at, true},
		{ip("192.0.2.2"), at, false},
		{ip("2001:db8::3"), at, true}, // the same /64
		{ip("2001:db8:0:1::1"), at, false},
		{ip("192.0.2.1"), at.Add(time.Second), false},
		{&net.UnixAddr{}, at, false},
	} {
		if got := f.exceeded(test.addr, test.at); got != test.want {
			t.Errorf("%v at %v: %v", test.addr, test.at.Unix(), got)
		}
	}
	for i := range 2 * maxFailing {
		f.add(&net.TCPAddr{IP: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).AsSlice()}, at)
	}
	if len(f.count) > maxFailing {
		t.Errorf("%d addresses are remembered", len(f.count))
	}
}

// The end of Serve is the end of everything: the endpoint, handshakes, links.
func TestListener_endsWithItsContext(t *testing.T) {
	d := openDoor(t, nullRouter, ListenLimits{})
	conns := d.silent(3)
	l, err := Dial(t.Context(), d.endpoint, &Config{SocketType: "DEALER", Mechanism: Null{}})
	if err != nil {
		t.Fatal(err)
	}
	ended := run(l, ignore)
	d.stop()
	if err := <-d.served; err != nil {
		t.Errorf("Serve ended with %v", err)
	}
	d.served <- nil
	<-ended
	for _, conn := range conns {
		_, _ = io.Copy(io.Discard, conn)
	}
	again, err := net.Listen("tcp", d.Addr().String())
	if err != nil {
		t.Fatalf("the endpoint is still open: %v", err)
	}
	again.Close()
	if n := len(d.failures); n > 0 {
		t.Errorf("the end was reported as %d failures: %v", n, <-d.failures)
	}
}

// panicMechanism stands for a defect of ours in parsing.
type panicMechanism struct{ Null }

func (panicMechanism) Handshake(Commands, Metadata) (Security, error) { panic("boom") }

func TestListener_survivesADefectInTheHandshake(t *testing.T) {
	d := openDoor(t, &Config{SocketType: "ROUTER", Mechanism: panicMechanism{}}, ListenLimits{})
	conn := d.silent(1)[0]
	_, _ = conn.Write(newGreeting("NULL", false)[:])
	var p *PanicError
	if err := <-d.failures; !errors.As(err, &p) || !strings.Contains(string(p.Stack), "panicMechanism") {
		t.Errorf("reported as %v, want a PanicError with its stack", err)
	}
	_, _ = io.Copy(io.Discard, conn) // returns: it was closed
}

// brokeListener is out of file descriptors for the first calls. (hazards A1j)
type brokeListener struct {
	net.Listener
	left  atomic.Int32
	calls atomic.Int32
}

func (b *brokeListener) Accept() (net.Conn, error) {
	b.calls.Add(1)
	if b.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", errors.New("too many open files"))}
	}
	return b.Listener.Accept()
}

func TestListener_restsWhenOutOfDescriptors(t *testing.T) {
	ln, err := Listen("tcp://127.0.0.1:0", nullRouter, ListenLimits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	broke := &brokeListener{Listener: ln.listener}
	broke.left.Store(4)
	ln.listener = broke
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- ln.Serve(ctx, func(l *Link) { _ = l.Run(ignore) }) }()
	l, err := Dial(ctx, "tcp://"+ln.Addr().String(), &Config{SocketType: "DEALER", Mechanism: Null{}})
	if err != nil {
		t.Fatal(err)
	}
	l.Close(nil)
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if n := broke.calls.Load(); n > 7 {
		t.Errorf("accept was called %d times", n)
	}
}

func TestListen_refusesBadEndpoints(t *testing.T) {
	for _, endpoint := range []string{"", "127.0.0.1:1", "ipc:///tmp/x", "tcp://127.0.0.1", "tcp://127.0.0.1:", "tcp://127.0.0.1:x"} {
		if ln, err := Listen(endpoint, nullRouter, ListenLimits{}, nil); err == nil {
			ln.Close()
			t.Errorf("%q was taken", endpoint)
		}
	}
	ln, err := Listen("tcp://*:0", nullRouter, ListenLimits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
}

// Dial says which step failed.
func TestDial_namesTheStep(t *testing.T) {
	refusing := Null{Admit: func(Metadata) (any, error) { return nil, &Refusal{Status: "400"} }}
	plain := openDoor(t, &Config{SocketType: "ROUTER", Mechanism: refusing}, ListenLimits{})
	other := openDoor(t, &Config{SocketType: "ROUTER", Mechanism: named{Null{}, "PLAIN"}}, ListenLimits{})
	mute := openDoor(t, &Config{SocketType: "ROUTER", Mechanism: slowMechanism{computing: make(chan struct{}, 1), proceed: make(chan struct{})}}, ListenLimits{Slots: NewSlots(1)})
	t.Cleanup(func() { close(mute.config.Load().Mechanism.(slowMechanism).proceed) })
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer web.Close()
	go func() {
		if conn, err := web.Accept(); err == nil {
			fmt.Fprint(conn, "HTTP/1.0 400 Bad Request\r\n\r\n")
			conn.Close()
		}
	}()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, test := range []struct {
		name, endpoint string
		step           Step
		want           error
	}{
		{"no such form", "http://127.0.0.1", StepResolve, nil},
		{"no such host", "tcp://host.invalid:1", StepResolve, nil},
		{"nobody listens", "tcp://" + closed.Addr().String(), StepConnect, nil},
		{"not ZMTP", "tcp://" + web.Addr().String(), StepGreeting, ErrProtocol},
		{"another mechanism", other.endpoint, StepMechanism, nil},
		{"no answer", mute.endpoint, StepMechanism, ErrTimeout},
		{"refused", plain.endpoint, StepAuthorise, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := &Config{SocketType: "DEALER", Mechanism: Null{}, Limits: Limits{HandshakeWait: 500 * time.Millisecond}}
			_, err := Dial(t.Context(), test.endpoint, cfg)
			var step *StepError
			if !errors.As(err, &step) || step.Step != test.step || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("error %v, want step %q and %v", err, test.step, test.want)
			}
		})
	}
}

// named is a mechanism under another name.
type named struct {
	Mechanism
	name string
}

func (n named) Name() string { return n.name }

// A cancelled Dial ends at once, whatever the peer does.
func TestDial_endsWithItsContext(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("enough")
	time.AfterFunc(20*time.Millisecond, func() { cancel(why) })
	if _, err := Dial(ctx, "tcp://"+ln.Addr().String(), &Config{SocketType: "DEALER", Mechanism: Null{}}); !errors.Is(err, why) {
		t.Errorf("ended with %v", err)
	}
}
