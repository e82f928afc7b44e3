package clientsdk_test

import (
	"context"
	"io"
	"iter"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/workersdk"
)

// cutter is a TCP proxy whose connections can be cut.
type cutter struct {
	listener net.Listener
	target   string
	copying  sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn // guarded by mu
}

func newCutter(t *testing.T, target string) *cutter {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &cutter{listener: ln, target: strings.TrimPrefix(target, "tcp://")}
	p.copying.Go(p.serve)
	t.Cleanup(func() {
		ln.Close()
		p.cut()
		p.copying.Wait()
	})
	return p
}

func (p *cutter) serve() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", p.target)
		if err != nil {
			near.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, near, far)
		p.mu.Unlock()
		p.copying.Go(func() { pipe(near, far) })
		p.copying.Go(func() { pipe(far, near) })
	}
}

func pipe(to, from net.Conn) {
	_, _ = io.Copy(to, from) // either end may go at any time
	to.Close()
	from.Close()
}

func (p *cutter) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		conn.Close()
	}
	p.conns = nil
}

// tally counts how often each number was counted.
type tally struct {
	mu    sync.Mutex
	times map[int]int // guarded by mu
}

// Count is not idempotent.
func (c *tally) Count(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.times[n]++
	return 2 * n
}

// site is a broker with one worker of obj.
func site(t *testing.T, obj any) (frontend string, end func()) {
	t.Helper()
	var cfg broker.Config
	cfg.Main.IP = "127.0.0.1"
	cfg.Security.Insecure = true
	quiet := slog.New(slog.DiscardHandler)
	b, err := broker.New(&cfg, broker.WithLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	w, err := workersdk.New(obj, workersdk.Config{Addr: "tcp://" + b.Backend().String(), Insecure: true, Log: quiet, Concurrency: 16})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	leave, cancelWorker := context.WithCancel(context.Background())
	var serving, working sync.WaitGroup
	serving.Go(func() { _ = b.Run(ctx) }) // both end by cancel
	working.Go(func() { _ = w.Run(leave) })
	return b.Frontend().String(), func() {
		cancelWorker()
		working.Wait()
		cancel()
		serving.Wait()
	}
}

// Through a connection that is cut again and again, every call gets its own
// answer, and none runs twice.
func TestResume_cutConnectionsLoseAndRepeatNothing(t *testing.T) {
	counted := &tally{times: make(map[int]int)}
	frontend, end := site(t, counted)
	defer end()
	proxy := newCutter(t, frontend)
	c, err := clientsdk.Dial(t.Context(), "tcp://"+proxy.listener.Addr().String(), clientsdk.WithInsecure())
	if err != nil {
		t.Fatal(err)
	}
	const callers, each, cutEvery = 20, 100, 250
	var done atomic.Int64
	var running sync.WaitGroup
	for i := range callers {
		running.Go(func() {
			for j := range each {
				n := i*each + j
				got, err := clientsdk.Call[int](t.Context(), c, "count", n)
				if err != nil || got != 2*n {
					t.Errorf("count(%d) = %d, %v", n, got, err)
				}
				if done.Add(1)%cutEvery == 0 {
					proxy.cut()
				}
			}
		})
	}
	running.Wait()
	closing, cancelClose := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancelClose()
	if err := c.Close(closing); err != nil {
		t.Error(err)
	}
	for n, times := range counted.times {
		if times != 1 {
			t.Errorf("call %d ran %d times", n, times)
		}
	}
	if len(counted.times) != callers*each {
		t.Errorf("%d of %d calls ran", len(counted.times), callers*each)
	}
}

// blobs streams large items.
type blobs struct{}

func (blobs) Blobs(n, size int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := 0; i < n && yield(append(make([]byte, size), byte(i))); i++ {
		}
	}
}

// Items of any size that a message may have pass, one after the other, whatever
// the bytes that may be on their way.
func TestStream_ofLargeItems(t *testing.T) {
	frontend, end := site(t, blobs{})
	defer end()
	c, err := clientsdk.Dial(t.Context(), "tcp://"+frontend, clientsdk.WithInsecure())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	c = c.With(clientsdk.Timeout(0)) // however slow the machine is
	for _, size := range []int{900 << 10, 3 << 20, 9 << 20} {
		n := 0
		for v, err := range clientsdk.Stream[[]byte](t.Context(), c, "blobs", 9, size) {
			if err != nil || len(v) != size+1 || v[size] != byte(n) {
				t.Fatalf("item %d of %d bytes has %d, %v", n, size+1, len(v), err)
			}
			n++
		}
		if n != 9 {
			t.Errorf("%d items of %d bytes came", n, size)
		}
	}
}
