package clientsdk_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/workersdk"
)

// calc is what the examples' worker serves.
type calc struct{}

func (calc) Add(a, b int) int { return a + b }

func (calc) Square(n int) (int, error) {
	if n > 1000 {
		return 0, fmt.Errorf("%d is too large", n)
	}
	return n * n, nil
}

func (calc) Picture(width, height int) []byte { return make([]byte, width*height) }

func (calc) Count(ctx context.Context) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := 1; ctx.Err() == nil && yield(i); i++ {
		}
	}
}

func (calc) Render(ctx context.Context, in struct{ Width int }) string {
	workersdk.Progress(ctx, in.Width/2, in.Width, "half way")
	time.Sleep(50 * time.Millisecond)
	return "picture"
}

// startBroker runs a broker without keys and one worker in this process. addr
// is the broker's frontend.
func startBroker() (addr string, stop func()) {
	var cfg broker.Config
	cfg.Main.IP = "127.0.0.1"
	cfg.Security.Insecure = true
	cfg.Dispatch.DrainTimeout = time.Second
	quiet := slog.New(slog.DiscardHandler)
	b, err := broker.New(&cfg, broker.WithLogger(quiet))
	if err != nil {
		log.Fatal(err)
	}
	w, err := workersdk.New(calc{}, workersdk.Config{Addr: "tcp://" + b.Backend().String(), Insecure: true, Log: quiet, Concurrency: 4})
	if err != nil {
		log.Fatal(err)
	}
	var serving, working sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	serving.Go(func() { _ = b.Run(ctx) }) // both end by cancel
	leave, cancelWorker := context.WithCancel(context.Background())
	working.Go(func() { _ = w.Run(leave) })
	return "tcp://" + b.Frontend().String(), func() {
		cancelWorker()
		working.Wait()
		cancel()
		serving.Wait()
	}
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

// One Buffer takes the results of many calls.
func ExampleBuffer() {
	addr, stop := startBroker()
	defer stop()
	ctx := context.Background()
	c := dial(ctx, addr)
	defer c.Close(ctx)

	var futures []*clientsdk.Future
	for width := range 3 {
		futures = append(futures, c.Go(ctx, "picture", width*100, 200))
	}
	var picture clientsdk.Buffer
	defer picture.Release()
	for _, f := range futures {
		if err := f.Result(&picture); err != nil {
			log.Fatal(err)
		}
		fmt.Println(len(picture.Bytes())) // until the next one
	}
	// Output:
	// 0
	// 20000
	// 40000
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
	// 320 of 640 half way
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

	if _, err := clientsdk.Call[int](ctx, c, "add", 1, 2); err != nil { // it waits for the worker
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
	fmt.Println(m.Signature, err)
	// Output:
	// add 1
	// count 1
	// picture 1
	// render 1
	// square 1
	// Add(int, int) int <nil>
}
