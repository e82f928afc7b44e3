package story_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/integration/story"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/workersdk"
)

// gated waits inside its method until the test lets it go.
type gated struct {
	entered chan struct{}
	open    chan struct{}
	runs    atomic.Int64
}

func (g *gated) Gate() int64 {
	n := g.runs.Add(1)
	g.entered <- struct{}{}
	<-g.open
	return n
}

func (g *gated) Add(a, b int) int { return a + b }

// cutter is a TCP proxy whose connections a test cuts.
type cutter struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func newCutter(t *testing.T, to string) *cutter {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{Listener: ln}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			c.mu.Lock()
			c.conns = append(c.conns, in, out)
			c.mu.Unlock()
			pipe := func(dst, src net.Conn) { _, _ = io.Copy(dst, src); dst.Close(); src.Close() }
			all.Go(func() { pipe(in, out) })
			all.Go(func() { pipe(out, in) })
		}
	})
	t.Cleanup(func() { ln.Close(); c.cut(); all.Wait() })
	return c
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
}

// A worker that comes back to the same broker has lost its calls, and its slot
// stays taken until the method of a lost call has really returned.
func TestStory_workerWhoseLinkIsCut(t *testing.T) {
	for _, idempotent := range []bool{false, true} {
		s := story.Start(t, story.Insecure())
		proxy := newCutter(t, s.Broker.Backend().String())
		g := &gated{entered: make(chan struct{}, 9), open: make(chan struct{})}
		w, err := workersdk.New(g, workersdk.Config{Addr: "tcp://" + proxy.Addr().String(), Insecure: true, Concurrency: 1})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		c := s.Client()
		gate := c
		if idempotent {
			gate = c.With(clientsdk.Idempotent())
		}
		type outcome struct {
			n   int64
			err error
		}
		outcomes := make(chan outcome, 2)
		go func() {
			n, err := clientsdk.Call[int64](t.Context(), gate, "gate")
			outcomes <- outcome{n, err}
		}()
		<-g.entered
		proxy.cut()
		if !idempotent {
			if o := <-outcomes; !errors.Is(o.err, message.ErrWorkerLost) {
				t.Errorf("got %v", o.err)
			}
		}
		sums := make(chan error, 1)
		go func() {
			_, err := clientsdk.Call[int](t.Context(), c, "add", 1, 2)
			sums <- err
		}()
		select {
		case err := <-sums:
			t.Errorf("a call ran beside the one that still holds the slot, or failed: %v", err)
		case <-time.After(300 * time.Millisecond): // long enough to see it happen; it passes if slow
		}
		close(g.open)
		if idempotent {
			if o := <-outcomes; o.err != nil || o.n != 2 {
				t.Errorf("got %v, %v, want the second run's result", o.n, o.err)
			}
		}
		if err := <-sums; err != nil {
			t.Error(err)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
