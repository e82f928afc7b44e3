package demo

import (
	"context"
	"iter"
	"os"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/servicetools/servicetools/workersdk"
)

// Methods is what a demoworker serves.
type Methods struct{}

// Idempotent names the methods that may run twice: those that only compute.
func (Methods) Idempotent() []string {
	return []string{"echo", "add", "return_non_sense", "word_count", "primes", "mandelbrot", "who", "attempt", "count"}
}

// Echo returns its argument, whatever it is.
func (Methods) Echo(value msgpack.RawMessage) msgpack.RawMessage { return value }

// Add returns a+b.
func (Methods) Add(a, b int) int { return a + b }

// ReturnNonSense returns "non sense".
func (Methods) ReturnNonSense() string { return "non sense" }

// Identity is who ran a call.
type Identity struct {
	Worker string `msgpack:"worker"`
	PID    int    `msgpack:"pid"`
	Host   string `msgpack:"host"`
}

// Who returns the worker that runs the call, its process and its host.
func (Methods) Who(ctx context.Context) (Identity, error) {
	host, err := os.Hostname()
	call, _ := workersdk.CallFrom(ctx)
	return Identity{Worker: call.Worker, PID: os.Getpid(), Host: host}, err
}

// Attempt returns which attempt of the call this is, from 1.
func (Methods) Attempt(ctx context.Context) int {
	call, _ := workersdk.CallFrom(ctx)
	return call.Attempt
}

// Progress takes the given number of steps, each of so many seconds, and
// reports each one. It returns the number of steps.
func (Methods) Progress(ctx context.Context, steps int, seconds float64) (int, error) {
	for i := range steps {
		if err := sleep(ctx, seconds); err != nil {
			return i, err
		}
		workersdk.Progress(ctx, i+1, steps, "step by step")
	}
	return steps, nil
}

// Count streams the numbers below n, with a pause of so many seconds before each.
func (Methods) Count(ctx context.Context, n int, seconds float64) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range n {
			if err := sleep(ctx, seconds); err != nil {
				yield(0, err)
				return
			}
			if !yield(i, nil) {
				return
			}
		}
	}
}

// sleep waits so many seconds, or until ctx ends.
func sleep(ctx context.Context, seconds float64) error {
	if seconds <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(duration(seconds))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// duration converts seconds, at most a day of them.
func duration(seconds float64) time.Duration {
	const day = 24 * time.Hour
	if seconds >= day.Seconds() {
		return day
	}
	return time.Duration(max(seconds, 0) * float64(time.Second))
}
