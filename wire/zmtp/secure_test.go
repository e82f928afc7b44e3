package zmtp_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/internal/leak"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// secure returns the two ends of an endpoint under CURVE.
func secure() (server, client *zmtp.Config) {
	s, c := curve.GenerateKey(), curve.GenerateKey()
	admit := func(curve.PublicKey, zmtp.Metadata) (any, error) { return nil, nil }
	return &zmtp.Config{SocketType: "ROUTER", Mechanism: &curve.Server{Key: s, Admit: admit}},
		&zmtp.Config{SocketType: "DEALER", Mechanism: &curve.Client{Key: c, ServerKey: s.Public()}}
}

// listen serves cfg until the test ends.
func listen(t testing.TB, cfg *zmtp.Config, serve func(*zmtp.Link)) string {
	leak.Check(t)
	ln, err := zmtp.Listen("tcp://127.0.0.1:0", cfg, zmtp.ListenLimits{}, func(_ net.Addr, err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- ln.Serve(ctx, serve) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return "tcp://" + ln.Addr().String()
}

// crowd is a set of idle links, both ends in this process.
type crowd struct {
	links  []*zmtp.Link
	ending sync.WaitGroup
}

// gather connects n peers, each of which sent and received a few kilobytes.
func gather(t testing.TB, endpoint string, cfg *zmtp.Config, n int) *crowd {
	c := &crowd{}
	answered := make(chan struct{})
	for range n {
		l, err := zmtp.Dial(t.Context(), endpoint, cfg)
		if err != nil {
			t.Fatal(err)
		}
		c.links = append(c.links, l)
		c.ending.Go(func() {
			_ = l.Run(func(*zmtp.Message) error { answered <- struct{}{}; return nil })
		})
		if err := l.Send(make([]byte, 5000)); err != nil {
			t.Fatal(err)
		}
		<-answered
		l.Ping(0) // what a heartbeat does within seconds
	}
	return c
}

func (c *crowd) disperse() {
	for _, l := range c.links {
		l.Close(nil)
	}
	c.ending.Wait()
}

// echo answers each message.
func echo(l *zmtp.Link) {
	_ = l.Run(func(m *zmtp.Message) error { return l.Send(m.Bytes()) })
}

// maxIdle is what an idle connection may cost in all, in bytes: heap, stacks
// and what the runtime keeps for them.
const maxIdle = 16 << 10

func TestIdleLink_memory(t *testing.T) {
	const n = 300
	server, client := secure()
	endpoint := listen(t, server, echo)
	gather(t, endpoint, client, 10).disperse() // fills what is made once
	before := settled()
	c := gather(t, endpoint, client, n)
	time.Sleep(50 * time.Millisecond) // the last PONGs
	after := settled()
	heap := int64(after.HeapAlloc-before.HeapAlloc) / (2 * n)
	stack := int64(after.StackInuse-before.StackInuse) / (2 * n)
	t.Logf("an idle CURVE link costs %d bytes of heap and %d of stack", heap, stack)
	if heap+stack > maxIdle {
		t.Errorf("an idle CURVE link costs %d bytes, more than %d", heap+stack, maxIdle)
	}
	c.disperse()
}

// maxStranger is what a peer may cost on the heap before it is authenticated.
const maxStranger = 4 << 10

// A stranger costs little memory and one goroutine, however far he goes before
// he stops. (hazards A4, B)
func TestB_strangersCostLittle(t *testing.T) {
	const n = 300
	server, client := secure()
	server.Limits.HandshakeWait = time.Hour
	greeting := append([]byte("\xff\x00\x00\x00\x00\x00\x00\x00\x00\x7f\x03\x01CURVE"), make([]byte, 47)...)
	for _, test := range []struct {
		name string
		stop func(conn net.Conn) error // goes so far and no further
	}{
		{"silent", func(net.Conn) error { return nil }},
		{"half a greeting", func(c net.Conn) error { _, err := c.Write(greeting[:32]); return err }},
		{"a greeting", func(c net.Conn) error { _, err := c.Write(greeting); return err }},
		{"half a HELLO", func(c net.Conn) error {
			_, err := c.Write(append(greeting[:64:64], "\x04\xc8\x05HELLO\x01"...))
			return err
		}},
		{"WELCOME", func(c net.Conn) error { return halfway(c, client) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			before, ran := settled(), runtime.NumGoroutine()
			leak.Check(t)
			ln, err := zmtp.Listen("tcp://127.0.0.1:0", server, zmtp.ListenLimits{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			served := make(chan error)
			go func() { served <- ln.Serve(ctx, echo) }()
			var conns []net.Conn
			for range n {
				conn, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				if err := test.stop(conn); err != nil {
					t.Fatal(err)
				}
				conns = append(conns, conn)
			}
			for ln.Unauthenticated() < n {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(20 * time.Millisecond) // what they said is being read
			after, run := settled(), runtime.NumGoroutine()
			heap := int64(after.HeapAlloc-before.HeapAlloc) / n
			t.Logf("a stranger costs %d bytes of heap, both ends, and %d of stack", heap, int64(after.StackInuse-before.StackInuse)/n)
			if heap > maxStranger {
				t.Errorf("a stranger costs %d bytes of heap, more than %d", heap, maxStranger)
			}
			if extra := run - ran - n; extra > 3 { // this one, Serve's and the one that waits for it
				t.Errorf("%d strangers have %d goroutines", n, n+extra)
			}
			cancel()
			if err := <-served; err != nil {
				t.Error(err)
			}
			for _, c := range conns {
				c.Close()
			}
		})
	}
}

// halfway performs a handshake up to WELCOME and leaves the connection open.
func halfway(conn net.Conn, client *zmtp.Config) error {
	cfg := *client
	cfg.Mechanism = halfClient{client.Mechanism}
	if _, err := zmtp.Handshake(context.Background(), openConn{conn}, &cfg); !errors.Is(err, errHalfway) {
		return err
	}
	return nil
}

// openConn is not closed by a handshake that fails.
type openConn struct{ net.Conn }

func (openConn) Close() error { return nil }

// halfClient sends HELLO and nothing more.
type halfClient struct{ zmtp.Mechanism }

func (m halfClient) Handshake(c zmtp.Commands, local zmtp.Metadata) (zmtp.Security, error) {
	return m.Mechanism.Handshake(&halfCommands{Commands: c}, local)
}

type halfCommands struct {
	zmtp.Commands
	sent int
}

var errHalfway = errors.New("halfway")

func (c *halfCommands) WriteCommand(body []byte) error {
	if c.sent++; c.sent > 1 {
		return errHalfway
	}
	return c.Commands.WriteCommand(body)
}

// settled returns the memory in use after garbage and pools are gone.
func settled() (m runtime.MemStats) {
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m
}

func BenchmarkCurveLink_there(b *testing.B) {
	for _, size := range []int{100, 60 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%d B", size), func(b *testing.B) {
			left, done := b.N, make(chan struct{})
			server, client := secure()
			endpoint := listen(b, server, func(l *zmtp.Link) {
				_ = l.Run(func(m *zmtp.Message) error {
					if left -= len(m.Bytes()) / size; left == 0 {
						close(done)
					}
					return nil
				})
			})
			l, err := zmtp.Dial(b.Context(), endpoint, client)
			if err != nil {
				b.Fatal(err)
			}
			body := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				for l.Pending() > 4<<20 {
					time.Sleep(10 * time.Microsecond)
				}
				if _, err := l.Append(func(dst []byte) []byte { return append(dst, body...) }); err != nil {
					b.Fatal(err)
				}
			}
			<-done
			l.Close(nil)
		})
	}
}

func BenchmarkCurveLink_thereAndBack(b *testing.B) {
	server, client := secure()
	l, err := zmtp.Dial(b.Context(), listen(b, server, echo), client)
	if err != nil {
		b.Fatal(err)
	}
	back, ended := make(chan struct{}, 1), make(chan error)
	go func() { ended <- l.Run(func(*zmtp.Message) error { back <- struct{}{}; return nil }) }()
	body := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Send(body); err != nil {
			b.Fatal(err)
		}
		<-back
	}
	l.Close(nil)
	<-ended
}

// Both ends of the handshakes run here.
func BenchmarkCurveHandshake(b *testing.B) {
	server, client := secure()
	endpoint := listen(b, server, echo)
	b.ReportAllocs()
	for b.Loop() {
		l, err := zmtp.Dial(b.Context(), endpoint, client)
		if err != nil {
			b.Fatal(err)
		}
		l.Close(nil)
	}
}
