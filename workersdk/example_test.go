package workersdk_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/workersdk"
)

// Calc is what the examples serve.
type Calc struct{}

// Add returns a+b.
func (Calc) Add(a, b int) int { return a + b }

// TextIn is filled from keyword arguments.
type TextIn struct {
	Text string
	Top  int
}

func (Calc) Length(_ context.Context, in TextIn) int { return len(in.Text) }

// Upto streams.
func (Calc) Upto(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := 1; i <= n && yield(i); i++ {
		}
	}
}

func (Calc) Withdraw(amount int) error {
	if amount > 100 {
		return workersdk.Errorf("limit_exceeded", "%d is above the limit", amount).With("limit", 100)
	}
	return nil
}

func (Calc) Who(ctx context.Context) (string, error) {
	call, ok := workersdk.CallFrom(ctx)
	if !ok {
		return "", errors.New("not within a call")
	}
	return fmt.Sprintf("%s, attempt %d, on %s", call.Method, call.Attempt, call.Worker), nil
}

func (Calc) Work(ctx context.Context, steps int) {
	for i := range steps {
		workersdk.Progress(ctx, i+1, steps, "working")
	}
}

// serve runs a broker, a worker of obj and a client in this process, without
// encryption, for the time of f.
func serve(obj any, f func(context.Context, *clientsdk.Client), opts ...workersdk.Option) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cfg := &broker.Config{}
	cfg.Main.IP, cfg.Security.Insecure = "127.0.0.1", true
	b, err := broker.New(cfg, broker.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		fmt.Println(err)
		return
	}
	var all sync.WaitGroup
	defer all.Wait()
	serving, stop := context.WithCancel(ctx)
	defer stop()
	all.Go(func() {
		if err := b.Run(serving); err != nil {
			fmt.Println(err)
		}
	})
	w, err := workersdk.New(obj, workersdk.Config{Addr: "tcp://" + b.Backend().String(), ID: "w1", Insecure: true}, opts...)
	if err != nil {
		fmt.Println(err)
		return
	}
	running, leave := context.WithCancel(ctx)
	left := make(chan error, 1)
	go func() { left <- w.Run(running) }()
	c, err := clientsdk.Dial(ctx, "tcp://"+b.Frontend().String(), clientsdk.WithInsecure())
	if err == nil {
		for !registered(ctx, c) {
			time.Sleep(time.Millisecond)
		}
		f(ctx, c)
		err = c.Close(ctx)
	}
	leave()
	if err := errors.Join(err, <-left); err != nil {
		fmt.Println(err)
	}
}

// registered reports whether the broker knows any method yet.
func registered(ctx context.Context, c *clientsdk.Client) bool {
	methods, err := clientsdk.Call[[]any](ctx, c, "broker.methods")
	return err != nil || len(methods) > 0
}

// A whole worker program: start it with --config_file=worker.ini.
func ExampleMain() {
	workersdk.Main(Calc{}, workersdk.WithIdempotent("add"))
}

// The same as Main, within a program of another purpose.
func ExampleLoadConfig() {
	cfg, err := workersdk.LoadConfig("worker.ini")
	if err != nil {
		fmt.Println("the file names what is missing:", err != nil)
		return
	}
	w, err := workersdk.New(Calc{}, cfg)
	if err == nil {
		err = w.Run(context.Background())
	}
	fmt.Println(err)
	// Output: the file names what is missing: true
}

// A worker without a configuration file: New and Run. A program with one needs
// but workersdk.Main(Calc{}).
func ExampleNew() {
	serve(Calc{}, func(ctx context.Context, c *clientsdk.Client) {
		sum, err := clientsdk.Call[int](ctx, c, "add", 1, 2)
		fmt.Println(sum, err)
		n, err := clientsdk.Call[int](ctx, c, "length", clientsdk.Kwargs{"text": "hello"})
		fmt.Println(n, err)
		for i, err := range clientsdk.Stream[int](ctx, c, "upto", 3) {
			fmt.Println(i, err)
		}
		_, err = clientsdk.Call[int](ctx, c, "add", 1, "x")
		fmt.Println(err)
	})
	// Output:
	// 3 <nil>
	// 5 <nil>
	// 1 <nil>
	// 2 <nil>
	// 3 <nil>
	// bad_args: add: argument 2: want int, got a string of 1 bytes; its signature is Add(int, int) int
}

// New says what is wrong with every method that cannot be called from afar.
func ExampleNew_unsuitable() {
	_, err := workersdk.New(Broken{}, workersdk.Config{})
	fmt.Println(err)
	// Output:
	// workersdk_test.Broken cannot be served:
	//   Notify: parameter 1 cannot be filled from a message: chan int is a chan, which a message cannot carry
	//   Pair: it has 2 results: return a value, an error, or a value and an error; several values go into a struct
	// (a method is func([ctx context.Context,] parameters or one struct) ([result] [, error]); leave one out by a lower case name or by naming it in Except)
}

// Broken has methods that cannot be served.
type Broken struct{}

func (Broken) Notify(chan int)  {}
func (Broken) Pair() (int, int) { return 0, 0 }

func ExampleErrorf() {
	serve(Calc{}, func(ctx context.Context, c *clientsdk.Client) {
		_, err := clientsdk.Call[any](ctx, c, "withdraw", 500)
		var e *workersdk.Error
		if errors.As(err, &e) {
			fmt.Println(e.Code, e.Details["limit"], e.Message)
		}
	})
	// Output: limit_exceeded 100 500 is above the limit
}

func ExampleCallFrom() {
	serve(Calc{}, func(ctx context.Context, c *clientsdk.Client) {
		fmt.Println(clientsdk.Call[string](ctx, c, "who"))
	})
	// Output: who, attempt 1, on w1 <nil>
}

func ExampleProgress() {
	serve(Calc{}, func(ctx context.Context, c *clientsdk.Client) {
		var last clientsdk.Progress
		c = c.With(clientsdk.OnProgress(func(p clientsdk.Progress) { last = p }))
		_, err := clientsdk.Call[any](ctx, c, "work", 10)
		fmt.Println(last.Done, "of", last.Total, last.Note, err)
	})
	// Output: 10 of 10 working <nil>
}

// Images is served with large arguments.
type Images struct{}

// Invert returns data with its bits turned, where it came.
func (Images) Invert(data workersdk.Borrowed) workersdk.Borrowed {
	for i := range data {
		data[i] ^= 0xff
	}
	return data
}

// Crop returns a part of data, which is not copied either.
func (Images) Crop(data workersdk.Borrowed, from, to int) (workersdk.Borrowed, error) {
	if from < 0 || from > to || to > len(data) {
		return nil, fmt.Errorf("there is no part %d to %d of %d bytes", from, to, len(data))
	}
	return data[from:to], nil
}

func ExampleBorrowed() {
	serve(Images{}, func(ctx context.Context, c *clientsdk.Client) {
		inverted, err := clientsdk.Call[[]byte](ctx, c, "invert", make([]byte, 100_000))
		fmt.Println(len(inverted), inverted[0], err)
		cropped, err := clientsdk.Call[[]byte](ctx, c, "crop", inverted, 1000, 99_000)
		fmt.Println(len(cropped), cropped[0], err)
	})
	// Output:
	// 100000 255 <nil>
	// 98000 255 <nil>
}

func ExampleWithInterceptor() {
	log := func(ctx context.Context, call workersdk.Call, next func(context.Context) error) error {
		err := next(ctx)
		fmt.Println(call.Method, "ended with", err)
		return err
	}
	serve(Calc{}, func(ctx context.Context, c *clientsdk.Client) {
		_, _ = clientsdk.Call[int](ctx, c, "add", 1, 2)
	}, workersdk.WithInterceptor(log))
	// Output: add ended with <nil>
}

func ExampleProgram() {
	cat, err := workersdk.NewProgram("cat")
	if err != nil {
		fmt.Println(err)
		return
	}
	serve(nil, func(ctx context.Context, c *clientsdk.Client) {
		fmt.Println(clientsdk.Call[string](ctx, c, "cat", "meow"))
	}, workersdk.WithFunc("cat", cat.Run, "Returns its input."))
	// Output: meow <nil>
}
