package clientsdk

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/servicetools/servicetools/clientsdk/internal/brokertest"
	"github.com/servicetools/servicetools/wire/message"
)

func TestMap_keepsOrderAndBound(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	var now, most atomic.Int64
	b.Handle("double", func(c *brokertest.Call) {
		for n := now.Add(1); ; {
			if old := most.Load(); n <= old || most.CompareAndSwap(old, n) {
				break
			}
		}
		v := c.Int(0)
		now.Add(-1)
		c.Result(2 * v)
	})
	c := dialBroker(t, b)
	inputs := make([]int, 500)
	for i := range inputs {
		inputs[i] = i
	}
	got, err := Map[int](t.Context(), c, "double", slices.Values(inputs), 7)
	if err != nil || len(got) != len(inputs) {
		t.Fatalf("%d results, %v", len(got), err)
	}
	for i, v := range got {
		if v != 2*i {
			t.Fatalf("result %d is %d", i, v)
		}
	}
	if most.Load() > 7 {
		t.Errorf("%d calls were under way at once, want at most 7", most.Load())
	}
	sums, err := Map[int](t.Context(), c, "add", slices.Values([]Args{{1, 2}, {3, 4, 5}}), 0)
	if err != nil || !slices.Equal(sums, []int{3, 12}) {
		t.Errorf("sums %v, %v", sums, err)
	}
	none, err := Map[int](t.Context(), c, "add", maps.Keys(map[int]int{}), 0)
	if err != nil || len(none) != 0 {
		t.Errorf("no inputs: %v, %v", none, err)
	}
}

func failOnThree(c *brokertest.Call) {
	if v := c.Int(0); v == 3 {
		c.Fail(message.Errorf(message.Application, "three"))
	} else {
		c.Result(v)
	}
}

func TestMap_firstErrorEndsIt(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	b.Handle("picky", failOnThree)
	c := dialBroker(t, b)
	endless := func(yield func(int) bool) {
		for i := 0; yield(i); i++ {
		}
	}
	got, err := Map[int](t.Context(), c, "picky", endless, 4)
	if !errors.Is(err, ErrApplication) || !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("got %v, %v", got, err)
	}
	n := 0
	for v, err := range MapEach[int](t.Context(), c, "picky", endless, 4) {
		if (err != nil) != (n == 3) || err == nil && v != n {
			t.Errorf("result %d is %d, %v", n, v, err)
		}
		if n++; n == 20 {
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n = 0
	var last error
	for _, err := range MapEach[int](ctx, c, "echo", endless, 4) {
		if last = err; n == 10 {
			cancel()
		}
		n++
	}
	if !errors.Is(last, context.Canceled) || n > 100 {
		t.Errorf("a cancelled map ends with %v after %d results", last, n)
	}
}

func TestInterceptors_surroundEveryKindOfCall(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	b.Handle("count", countTo)
	var log []string
	outer := func(ctx context.Context, i *Invocation, next Next) (Raw, error) {
		log = append(log, "outer "+i.Method)
		return next(ctx, i)
	}
	inner := func(ctx context.Context, i *Invocation, next Next) (Raw, error) {
		if i.Method == "cached" {
			return Raw{42}, nil
		}
		changed := *i
		if i.Method == "alias" {
			changed.Method = "add"
		}
		log = append(log, "inner "+changed.Method)
		return next(ctx, &changed)
	}
	c := dialBroker(t, b, WithInterceptors(outer, inner))
	mustCall(t, c, 42, "cached")
	mustCall(t, c, 3, "alias", 1, 2)
	var sum int
	if err := c.Go(t.Context(), "alias", 3, 4).Result(&sum); err != nil || sum != 7 {
		t.Errorf("a future: %d, %v", sum, err)
	}
	n := 0
	for _, err := range Stream[int](t.Context(), c, "count", 5) {
		if err != nil {
			t.Error(err)
		}
		n++
	}
	want := []string{"outer cached", "outer alias", "inner add", "outer alias", "inner add", "outer count", "inner count"}
	if n != 5 || !slices.Equal(log, want) {
		t.Errorf("%d items; log %q", n, log)
	}
}
