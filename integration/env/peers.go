package env

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/workersdk"
)

// Worker serves obj on a worker of its own until the test ends. It returns a
// function that stops the worker in order and waits for it.
func (s *Site) Worker(obj any, concurrency int, opts ...workersdk.Option) (stop func()) {
	s.t.Helper()
	cfg := workersdk.Config{
		Addr: s.Backend(), ID: "worker-" + strconv.FormatInt(s.workers.Add(1), 10), Concurrency: concurrency,
		Insecure: s.Config.Security.Insecure, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), DrainTimeout: 5 * time.Second,
	}
	if keys, secure := s.Mechanism("worker"); secure {
		cfg.Key, cfg.ServerKey = keys.Key, keys.ServerKey
	}
	w, err := workersdk.New(obj, cfg, opts...)
	if err != nil {
		s.t.Fatalf("starting a worker: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Errorf("%s ended with %v", cfg.ID, err)
		}
	})
	s.t.Cleanup(stop)
	return stop
}

// Client connects with the client's key until the test ends.
func (s *Site) Client(opts ...clientsdk.Option) *clientsdk.Client {
	s.t.Helper()
	if keys, secure := s.Mechanism("client"); secure {
		opts = append(opts, clientsdk.WithKeys(keys.Key, keys.ServerKey))
	} else {
		opts = append(opts, clientsdk.WithInsecure())
	}
	c, err := clientsdk.Dial(context.Background(), s.Frontend(), opts...)
	if err != nil {
		s.t.Fatalf("connecting a client: %v", err)
	}
	s.t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// Log collects text from many goroutines.
type Log struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

// Write appends to the log.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String returns what the log has so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
