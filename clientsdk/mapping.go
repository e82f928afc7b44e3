package clientsdk

import (
	"context"
	"iter"
	"sync"
)

// DefaultMapInFlight is how many calls a Map has in flight if it is not told.
const DefaultMapInFlight = 64

// mapAhead is how many results, as a multiple of the calls in flight, may wait
// for an earlier one that takes long.
const mapAhead = 4

// Map calls method once for each input and returns the results in the order of
// the inputs. An input is the call's only argument, unless it is Args, its
// positional arguments, or Kwargs, its named ones. At most inFlight calls are
// under way at once; 0 means DefaultMapInFlight.
//
// At the first error, in order, Map cancels what is under way and returns it
// with the results before it. A timeout holds for each call.
func Map[T, A any](ctx context.Context, c *Client, method string, inputs iter.Seq[A], inFlight int) ([]T, error) {
	var results []T
	for v, err := range MapEach[T](ctx, c, method, inputs, inFlight) {
		if err != nil {
			return results, err
		}
		results = append(results, v)
	}
	return results, nil
}

// MapEach is Map that yields each result with its own error, in the order of
// the inputs, as soon as it and those before it are there. Errors do not end
// it; breaking the loop, or ctx, cancels what is under way.
//
// inputs is ranged over in another goroutine, only as fast as the calls go. A
// broken loop ends when inputs has produced its next value or has ended.
func MapEach[T, A any](ctx context.Context, c *Client, method string, inputs iter.Seq[A], inFlight int) iter.Seq2[T, error] {
	if inFlight <= 0 {
		inFlight = DefaultMapInFlight
	}
	return func(yield func(T, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		c.session.beginWait() // the feeding goroutine waits for places, which outcomes free
		defer c.session.endWait()
		var feeding sync.WaitGroup
		defer feeding.Wait()
		over := func() { c.session.contextsOver(ctx) }
		defer over()
		defer cancel()
		defer context.AfterFunc(ctx, over)() // one for all: each costs as much as a call
		places := make(chan struct{}, inFlight)
		futures := make(chan *Future, inFlight*mapAhead)
		cut := false // inputs were left unused; written before futures is closed
		feeding.Go(func() {
			defer close(futures)
			for input := range inputs {
				select {
				case places <- struct{}{}:
				case <-ctx.Done():
					cut = true
					return
				}
				f := &Future{ctx: ctx, ended: func() { <-places }}
				c.start(f, method, argsOf(input), false)
				select {
				case futures <- f:
				case <-ctx.Done():
					cut = true
					return
				}
			}
		})
		for f := range futures {
			var v T
			if err := f.Result(&v); !yield(v, err) {
				return
			}
		}
		if cut {
			var zero T
			yield(zero, withCause(ctx, cancelledEarly(ctx)))
		}
	}
}

// argsOf returns the arguments of the call for one input.
func argsOf[A any](input A) []any {
	if args, ok := any(input).(Args); ok {
		return args
	}
	return []any{input}
}
