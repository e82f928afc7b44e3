package clientsdk_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"time"

	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/clientsdk/internal/brokertest"
	"github.com/servicetools/servicetools/wire/message"
)

// startBroker stands for a broker with workers; addr is its frontend.
func startBroker() (addr string, stop func()) {
	b := &brokertest.Broker{}
	b.Handle("add", func(c *brokertest.Call) { c.Result(c.Int(0) + c.Int(1)) })
	b.Handle("square", func(c *brokertest.Call) {
		if c.Int(0) > 1000 {
			c.Fail(message.Errorf(message.Application, "%d is too large", c.Int(0)))
			return
		}
		c.Result(c.Int(0) * c.Int(0))
	})
	b.Handle("count", func(c *brokertest.Call) {
		for i := uint64(1); c.Part(i-1, i); i++ {
		}
		c.Fail(message.Errorf(message.Cancelled, "cancelled"))
	})
	b.Handle("render", func(c *brokertest.Call) {
		c.Progress(1, 2, "half way")
		<-time.After(20 * time.Millisecond)
		c.Result("picture")
	})
	b.Handle("broker.ping", func(c *brokertest.Call) { c.Result(nil) })
	add := map[string]any{"name": "add", "signature": "add(a int, b int) int", "doc": "Add returns a+b.", "workers": 1}
	b.Handle("broker.methods", func(c *brokertest.Call) { c.Result([]any{add}) })
	b.Handle("broker.describe", func(c *brokertest.Call) { c.Result(add) })
	if err := b.Start(); err != nil {
		log.Fatal(err)
	}
	return b.Addr(), b.Close
}

// dial connects the examples' client.
func dial(ctx context.Context, addr string, opts ...clientsdk.Option) *clientsdk.Client {
	c, err := clientsdk.Dial(ctx, addr, append(opts, clientsdk.WithInsecure())...)
	if err != nil {
		log.Fatal(err)
	}
	return c
}

func ExampleDial() {
	addr, stop := startBroker()
	defer stop()
	ctx := context.Background()

	// With keys, give WithCertificate("alice.key_secret") and
	// WithServerKey("server.key") in place of WithInsecure.
	c, err := clientsdk.Dial(ctx, addr, clientsdk.WithInsecure(), clientsdk.WithName("example"))
	if err != nil {
		log.Fatal(err) // it says which step failed, and what to do
	}
	defer c.Close(ctx)

	sum, err := clientsdk.Call[int](ctx, c, "add", 1, 2)
	fmt.Println(sum, err)
	// Output: 3 <nil>
}

func ExampleCall() {
	addr, stop := startBroker()
	defer stop()
	c := dial(context.Background(), addr)
	defer c.Close(context.Background())

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	sum, err := clientsdk.Call[int](ctx, c, "add", 20, 22)
	fmt.Println(sum, err)
	// Output: 42 <nil>
}

func ExampleNotExecuted() {
	addr, stop := startBroker()
	defer stop()
	ctx := context.Background()
	c := dial(ctx, addr)
	defer c.Close(ctx)

	_, err := clientsdk.Call[int](ctx, c, "ad", 1, 2)
	switch {
	case errors.Is(err, clientsdk.ErrNoSuchMethod):
		fmt.Println("there is no such method")
	case clientsdk.NotExecuted(err):
		fmt.Println("it never ran: safe to repeat")
	case clientsdk.MaybeExecuted(err):
		fmt.Println("it may have run: look before you repeat")
	}
	// Output: there is no such method
}

func ExampleClient_With() {
	addr, stop := startBroker()
	defer stop()
	ctx := context.Background()
	c := dial(ctx, addr)
	defer c.Close(ctx)

	careful := c.With(clientsdk.Idempotent(), clientsdk.WithPriority(clientsdk.PriorityHigh), clientsdk.Timeout(time.Second))
	sum, err := clientsdk.Call[int](ctx, careful, "add", 1, 2)
	fmt.Println(sum, err)
	// Output: 3 <nil>
}

func ExampleClient_Go() {
	addr, stop := startBroker()
	defer stop()
	ctx := context.Background()
	c := dial(ctx, addr)
	defer c.Close(ctx)

	first, second := c.Go(ctx, "add", 1, 2), c.Go(ctx, "add", 3, 4)
	var a, b int
	if err := errors.Join(first.Result(&a), second.Result(&b)); err != nil {
		log.Fatal(err)
	}
	fmt.Println(a, b)
	// Output: 3 7
}

func ExampleMap() {
	addr, stop := startBroker()
	defer stop()
	ctx := context.Background()
	c := dial(ctx, addr)
	defer c.Close(ctx)

	squares, err := clientsdk.Map[int](ctx, c, "square", slices.Values([]int{1, 2, 3}), 16)
	fmt.Println(squares, err)

	sums, err := clientsdk.Map[int](ctx, c, "add", slices.Values([]clientsdk.Args{{1, 2}, {3, 4}}), 16)
	fmt.Println(sums, err)
	// Output:
	// [1 4 9] <nil>
	// [3 7] <nil>
}

func ExampleMapEach() {
	addr, stop := startBroker()
	defer stop()
	ctx := context.Background()
	c := dial(ctx, addr)
	defer c.Close(ctx)

	for square, err := range clientsdk.MapEach[int](ctx, c, "square", slices.Values([]int{2, 2000, 3}), 16) {
		fmt.Println(square, err)
	}
	// Output:
	// 4 <nil>
	// 0 application: 2000 is too large
	// 9 <nil>
}

func ExampleStream() {
	addr, stop := startBroker()
	defer stop()
	ctx := context.Background()
	c := dial(ctx, addr)
	defer c.Close(ctx)

	for n, err := range clientsdk.Stream[int](ctx, c, "count") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(n)
		if n == 3 {
			break // cancels the call
		}
	}
	// Output:
	// 1
	// 2
	// 3
}

func ExampleOnProgress() {
	addr, stop := startBroker()
	defer stop()
	ctx := context.Background()
	c := dial(ctx, addr)
	defer c.Close(ctx)

	watched := c.With(clientsdk.OnProgress(func(p clientsdk.Progress) { fmt.Println(p.Done, "of", p.Total, p.Note) }))
	picture, err := clientsdk.Call[string](ctx, watched, "render", clientsdk.Kwargs{"width": 640})
	fmt.Println(picture, err)
	// Output:
	// 1 of 2 half way
	// picture <nil>
}

func ExampleWithInterceptors() {
	addr, stop := startBroker()
	defer stop()
	ctx := context.Background()
	trace := func(ctx context.Context, i *clientsdk.Invocation, next clientsdk.Next) (clientsdk.Raw, error) {
		result, err := next(ctx, i)
		fmt.Println(i.Method, "ended with", err)
		return result, err
	}
	c := dial(ctx, addr, clientsdk.WithInterceptors(trace), clientsdk.WithRetry(clientsdk.Retry{Attempts: 3}))
	defer c.Close(ctx)

	sum, _ := clientsdk.Call[int](ctx, c, "add", 1, 2)
	fmt.Println(sum)
	// Output:
	// add ended with <nil>
	// 3
}

func ExampleClient_Describe() {
	addr, stop := startBroker()
	defer stop()
	ctx := context.Background()
	c := dial(ctx, addr)
	defer c.Close(ctx)

	if _, err := c.Ping(ctx); err != nil {
		log.Fatal(err)
	}
	methods, err := c.Methods(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range methods {
		fmt.Println(m.Name, m.Workers)
	}
	m, err := c.Describe(ctx, "add")
	fmt.Println(m.Signature, m.Doc, err)
	// Output:
	// add 1
	// add(a int, b int) int Add returns a+b. <nil>
}
