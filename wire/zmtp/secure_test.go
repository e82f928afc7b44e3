package zmtp_test

import (
	"context"
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
	b.ResetTimer()
	for range b.N {
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
	b.ResetTimer()
	for range b.N {
		l, err := zmtp.Dial(b.Context(), endpoint, client)
		if err != nil {
			b.Fatal(err)
		}
		l.Close(nil)
	}
}
