package zcall

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/clientsdk"
)

// benchResult is what a bench found. Its JSON form is part of the contract.
type benchResult struct {
	Method      string  `json:"method"`
	Requests    int     `json:"requests"`
	Concurrency int     `json:"concurrency"`
	Size        int     `json:"size"`
	Errors      int     `json:"errors"`
	Seconds     float64 `json:"seconds"`
	Rate        float64 `json:"rate"`
	P50         float64 `json:"p50_ms"`
	P90         float64 `json:"p90_ms"`
	P99         float64 `json:"p99_ms"`
	Max         float64 `json:"max_ms"`
}

// bench is one run.
type bench struct {
	method   string
	args     []any // nil: one argument of size bytes, distinct in each call
	size     int
	requests int
	clients  []*clientsdk.Client

	next      atomic.Int64 // requests handed out
	failed    atomic.Int64
	firstFail atomic.Pointer[error]
}

func benchCommand(streams Streams) *cli.Command {
	return &cli.Command{
		Name:        "bench",
		Description: "Example:\n   zcall bench echo --requests 10000 --concurrency 100 --size 100 -o json",
		Usage:       "call METHOD many times and print rate and latencies",
		ArgsUsage:   "METHOD [JSON-ARG ...]",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "requests", Aliases: []string{"n"}, Value: 10000, Usage: "`N` calls in all"},
			&cli.IntFlag{Name: "concurrency", Aliases: []string{"c"}, Value: 100, Usage: "`N` calls in flight, over all connections"},
			&cli.IntFlag{Name: "size", Value: 100, Usage: "an argument of `N` bytes, if no JSON-ARG is given"},
			&cli.IntFlag{Name: "connections", Value: 1, Usage: "`N` connections that share the calls"},
			formatFlag(),
		},
		Action: func(c *cli.Context) error {
			json, err := format(c)
			if err != nil {
				return err
			}
			b, err := newBench(c)
			if err != nil {
				return err
			}
			defer b.leave()
			r, err := b.run(c.Context, c.Int("concurrency"))
			if err != nil {
				return err
			}
			if json {
				err = newPrinter(streams.Out, false).print(r)
			} else {
				err = r.table(streams.Out)
			}
			if fail := b.firstFail.Load(); fail != nil && err == nil {
				return fmt.Errorf("%d of %d calls failed, the first: %w", r.Errors, r.Requests, *fail)
			}
			return err
		},
	}
}

func newBench(c *cli.Context) (*bench, error) {
	name, texts, err := method(c)
	if err != nil {
		return nil, err
	}
	b := &bench{method: name, requests: c.Int("requests"), size: c.Int("size")}
	if b.requests < 1 || c.Int("concurrency") < 1 || b.size < 0 || c.Int("connections") < 1 {
		return nil, &usageMistake{message: "--requests, --concurrency and --connections must be positive, --size not negative"}
	}
	if len(texts) > 0 {
		if b.args, err = parseArgs(texts); err != nil {
			return nil, err
		}
	}
	for range c.Int("connections") {
		client, err := connect(c)
		if err != nil {
			b.leave()
			return nil, err
		}
		b.clients = append(b.clients, client)
	}
	return b, nil
}

func (b *bench) leave() {
	for _, client := range b.clients {
		leave(client)
	}
}

// run makes the calls with so many callers, spread over the clients.
func (b *bench) run(ctx context.Context, callers int) (*benchResult, error) {
	latencies := make([][]time.Duration, callers)
	began := time.Now()
	var running sync.WaitGroup
	for i := range callers {
		running.Go(func() { latencies[i] = b.call(ctx, b.clients[i%len(b.clients)]) })
	}
	running.Wait()
	took := time.Since(began)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	all := slices.Concat(latencies...)
	slices.Sort(all)
	r := &benchResult{
		Method: b.method, Requests: b.requests, Concurrency: callers, Size: b.size,
		Errors: int(b.failed.Load()), Seconds: round(took.Seconds()), Rate: round(float64(len(all)) / took.Seconds()),
		P50: percentile(all, 50), P90: percentile(all, 90), P99: percentile(all, 99), Max: percentile(all, 100),
	}
	if b.args != nil {
		r.Size = 0
	}
	return r, nil
}

// call is one caller: it makes calls until none is left, and returns the
// latencies of those that succeeded. The answer of echo must be what was sent.
func (b *bench) call(ctx context.Context, client *clientsdk.Client) (latencies []time.Duration) {
	payload := bytes.Repeat([]byte("servicetools"), b.size/12+1)[:b.size]
	echo := strings.EqualFold(b.method, "echo") && b.args == nil
	args := b.args
	for {
		n := b.next.Add(1)
		if n > int64(b.requests) || ctx.Err() != nil {
			return latencies
		}
		if b.args == nil {
			if len(payload) >= 8 {
				binary.BigEndian.PutUint64(payload, uint64(n)) // a swapped answer shows
			}
			args = []any{payload}
		}
		began := time.Now()
		var err error
		if echo {
			var got []byte
			if got, err = clientsdk.Call[[]byte](ctx, client, b.method, args...); err == nil && !bytes.Equal(got, payload) {
				err = fmt.Errorf("call %d came back with other bytes than were sent", n)
			}
		} else {
			_, err = clientsdk.Call[clientsdk.Raw](ctx, client, b.method, args...)
		}
		if err != nil {
			b.failed.Add(1)
			b.firstFail.CompareAndSwap(nil, &err)
			continue
		}
		latencies = append(latencies, time.Since(began))
	}
}

// percentile returns the p-th percentile of sorted in milliseconds.
func percentile(sorted []time.Duration, p int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := (len(sorted)*p + 99) / 100
	return round(sorted[max(at, 1)-1].Seconds() * 1000)
}

// round keeps three decimals.
func round(f float64) float64 { return float64(int64(f*1000+0.5)) / 1000 }

func (r *benchResult) table(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%s: %d calls of %d bytes, %d in flight, %d errors\n%.3f s, %.0f calls/s\nlatency ms: p50 %.3f  p90 %.3f  p99 %.3f  max %.3f\n",
		r.Method, r.Requests, r.Size, r.Concurrency, r.Errors, r.Seconds, r.Rate, r.P50, r.P90, r.P99, r.Max)
	return err
}
