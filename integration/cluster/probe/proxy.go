//go:build linux

package main

import (
	"context"
	"flag"
	"time"

	"github.com/servicetools/servicetools/integration/chaos"
)

// runProxy passes connections on until ctx ends, slowly, and cuts them again and
// again. What is lost on a real link, TCP sends again: to those who use it, loss
// is delay, and in the end a connection that breaks.
func runProxy(ctx context.Context, args []string) (any, error) {
	f := flag.NewFlagSet("proxy", flag.ContinueOnError)
	listen := f.String("listen", ":9006", "address")
	to := f.String("to", "broker:9006", "address")
	delay := f.Duration("delay", 40*time.Millisecond, "before each piece is passed on")
	rate := f.Int("rate", 256<<10, "bytes a second, each way")
	life := f.Duration("life", 2*time.Second, "after which connections are cut")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	p, err := chaos.NewProxy(*listen, *to)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	p.Slow(*delay, time.Second/time.Duration(*rate))
	ready()
	cuts := 0
	for again := time.Tick(*life); ; {
		select {
		case <-again:
			cuts += p.Cut()
		case <-ctx.Done():
			return map[string]int{"cuts": cuts}, nil
		}
	}
}
