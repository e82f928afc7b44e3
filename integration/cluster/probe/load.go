//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/integration/cluster"
)

const (
	timeout = time.Minute      // of each call
	hangs   = 10 * time.Second // after that a call without an outcome is lost
	shown   = 10               // failures that are told in full
	held    = 0.05             // seconds that every second call takes: what a fault hits
)

// load makes calls and counts what becomes of them.
type load struct {
	client  *clientsdk.Client
	again   *clientsdk.Client // the same, for calls that may run more than once
	payload []byte

	mu      sync.Mutex
	account cluster.Account // guarded by mu
}

// runLoad calls without a pause, with so many callers, until ctx ends.
func runLoad(ctx context.Context, args []string) (any, error) {
	f := flag.NewFlagSet("load", flag.ContinueOnError)
	callers := f.Int("callers", 8, "calls in flight")
	server := f.String("server", "tcp://broker:8006", "address of the broker")
	cert := f.String("cert", "/keys/private_keys/client.key_secret", "this client's secret certificate")
	retry := f.Bool("retry", false, "repeat calls that were refused for a passing reason")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	options := []clientsdk.Option{
		clientsdk.WithLazyDial(), clientsdk.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, nil))),
		clientsdk.WithCertificate(*cert), clientsdk.WithServerKey("/keys/public_keys/server.key"),
	}
	if *retry {
		options = append(options, clientsdk.WithRetry(clientsdk.Retry{Attempts: 1000}))
	}
	c, err := clientsdk.Dial(context.Background(), *server, options...)
	if err != nil {
		return nil, err
	}
	l := &load{client: c, again: c.With(clientsdk.Idempotent()), payload: []byte(strings.Repeat(cluster.Marker, 64))}
	l.account.Add(cluster.Account{})
	var calling sync.WaitGroup
	ready()
	for caller := range *callers {
		calling.Go(func() {
			for n := caller; ctx.Err() == nil; n++ {
				l.next(n)
			}
		})
	}
	calling.Wait()
	leave, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return &l.account, c.Close(leave)
}

// next makes one call, of each kind in turn.
func (l *load) next(n int) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var f *clientsdk.Future
	var right func() bool
	failures := l.account.Again
	switch n % 4 {
	case 0:
		var got []byte
		f = l.client.Go(ctx, "echo", l.payload)
		right = func() bool { return f.Result(&got) == nil && bytes.Equal(got, l.payload) }
	case 1:
		var got int
		f = l.client.Go(ctx, "add", n, 1)
		right = func() bool { return f.Result(&got) == nil && got == n+1 }
	case 2:
		f = l.again.Go(ctx, "sleep", held)
		right = func() bool { return true }
	default:
		f = l.client.Go(ctx, "sleep", held)
		right = func() bool { return true }
		failures = l.account.Once
	}
	patience := time.NewTimer(timeout + hangs)
	defer patience.Stop()
	var err error
	ended := true
	select {
	case <-f.Done():
		err = f.Result(nil)
	case <-patience.C:
		ended = false
	}
	l.mu.Lock()
	l.account.Submitted++
	switch {
	case !ended:
		l.account.Lost++
	case err != nil:
		failures[codeOf(err)]++
		if len(l.account.Errors) < shown {
			l.account.Errors = append(l.account.Errors, time.Now().Format(time.StampMilli)+" "+err.Error())
		}
	case right():
		l.account.Succeeded++
	default:
		l.account.Wrong++
	}
	l.mu.Unlock()
	if err != nil {
		time.Sleep(20 * time.Millisecond) // a broker that refuses all is not to be flooded
	}
}

func codeOf(err error) string {
	var coded *clientsdk.Error
	if errors.As(err, &coded) {
		return string(coded.Code)
	}
	return "no_code"
}
