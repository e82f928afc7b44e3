package clientsdk

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/servicetools/servicetools/clientsdk/internal/brokertest"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// checkLeaks fails the test if goroutines outlive what is cleaned up after it.
func checkLeaks(t testing.TB) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				stacks := make([]byte, 1<<20)
				t.Errorf("goroutines outlive the test:\n%s", stacks[:runtime.Stack(stacks, true)])
				return
			}
		}
	})
}

// startBroker starts a scripted broker with the usual methods.
func startBroker(t testing.TB, b *brokertest.Broker) *brokertest.Broker {
	t.Helper()
	checkLeaks(t)
	usualMethods(b)
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func usualMethods(b *brokertest.Broker) {
	b.Inline("echo", (*brokertest.Call).Echo)
	b.Inline("broker.ping", func(c *brokertest.Call) { c.Result(nil) })
	b.Handle("add", func(c *brokertest.Call) {
		sum := int64(0)
		for i := range c.Args() {
			sum += c.Int(i)
		}
		c.Result(sum)
	})
	b.Handle("hang", func(c *brokertest.Call) { // until it is cancelled
		<-c.Context.Done()
		c.Fail(&Error{Code: "cancelled"})
	})
}

// dialBroker connects a client that is closed when the test ends.
func dialBroker(t testing.TB, b *brokertest.Broker, opts ...Option) *Client {
	t.Helper()
	c, err := Dial(t.Context(), b.Addr(), append([]Option{WithInsecure()}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(c) })
	return c
}

// closeNow closes c without waiting for calls.
func closeNow(c *Client) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = c.Close(ctx)
}

// pipeClient connects a client in memory; it reconnects likewise. For synctest.
func pipeClient(t testing.TB, b *brokertest.Broker, opts ...Option) *Client {
	t.Helper()
	cfg, err := newConfig("tcp://in.memory:1", append([]Option{WithInsecure()}, opts...))
	if err != nil {
		t.Fatal(err)
	}
	s := newSession(cfg, func(ctx context.Context, _ string) (*zmtp.Link, error) {
		ours, theirs := brokertest.Pipe()
		b.Accept(theirs)
		return zmtp.Handshake(ctx, ours, &zmtp.Config{SocketType: "DEALER", Mechanism: zmtp.Null{}})
	})
	go s.run()
	if err := s.first(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &Client{session: s, set: cfg.call}
}

// mustCall calls and expects a result.
func mustCall[T comparable](t testing.TB, c *Client, want T, method string, args ...any) {
	t.Helper()
	got, err := Call[T](t.Context(), c, method, args...)
	if err != nil || got != want {
		t.Fatalf("%s(%v) = %v, %v; want %v", method, args, got, err, want)
	}
}
