// Package story runs whole systems for tests: a broker, workers and clients in
// one process, over real TCP on loopback, under CURVE with keys of their own.
// A test reads as a story: start a site, add workers, call.
package story

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/integration/env"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/workersdk"
)

// Test is what a story needs of its test or benchmark.
type Test interface {
	Helper()
	Fatal(args ...any)
	Errorf(format string, args ...any)
	TempDir() string
	Cleanup(func())
}

// Site is a running broker with the keys of everybody who belongs to it.
type Site struct {
	t      Test
	Keys   curve.Keyset
	Config broker.Config // of the broker that runs, ports filled in
	Broker *broker.Broker

	// Log holds what the broker has logged.
	Log Log

	insecure bool
	stop     context.CancelFunc
	ended    chan error

	mu      sync.Mutex
	workers int // names workers
}

// Option changes a site before it starts.
type Option func(*Site)

// Insecure runs the site without encryption.
func Insecure() Option { return func(s *Site) { s.insecure = true } }

// With changes the broker's configuration.
func With(change func(*broker.Config)) Option { return func(s *Site) { change(&s.Config) } }

// Start runs a broker on free ports until the test ends.
func Start(t Test, opts ...Option) *Site {
	t.Helper()
	s := &Site{t: t, Keys: curve.KeysetIn(t.TempDir())}
	for name, role := range map[string]curve.Role{
		"server": curve.RoleServer, "worker": curve.RoleWorker, "client": curve.RoleClient, "admin": curve.RoleAdmin,
	} {
		if _, err := s.Keys.Generate(curve.Request{Name: name, Role: role}); err != nil {
			t.Fatal(err)
		}
	}
	s.Config.Main.IP = env.Loopback()
	s.Config.Main.PublicKeysDir, s.Config.Main.SecretKeysDir = s.Keys.PublicDir, s.Keys.SecretDir
	s.Config.Dispatch.DrainTimeout = 5 * time.Second
	for _, o := range opts {
		o(s)
	}
	s.Config.Security.Insecure = s.insecure
	s.StartBroker()
	t.Cleanup(s.StopBroker)
	return s
}

// StartBroker runs the broker again after StopBroker, on the same ports.
func (s *Site) StartBroker() {
	s.t.Helper()
	cfg := s.Config
	b, err := broker.New(&cfg, broker.WithLogger(slog.New(slog.NewTextHandler(&s.Log, nil))))
	if err != nil {
		s.t.Fatal(err)
	}
	s.Config.Main.Port, s.Config.Main.BackendPort = port(b.Frontend().String()), port(b.Backend().String())
	ctx, cancel := context.WithCancel(context.Background())
	s.Broker, s.stop, s.ended = b, cancel, make(chan error, 1)
	go func(ended chan<- error) { ended <- b.Run(ctx) }(s.ended)
}

// StopBroker drains the broker and waits for its end.
func (s *Site) StopBroker() {
	if s.stop == nil {
		return
	}
	s.stop()
	s.stop = nil
	if err := <-s.ended; err != nil {
		s.t.Errorf("the broker ended with %v", err)
	}
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

// Contains reports whether the log has the text.
func (l *Log) Contains(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

func port(address string) int {
	for i := len(address) - 1; i >= 0; i-- {
		if address[i] == ':' {
			n, _ := strconv.Atoi(address[i+1:])
			return n
		}
	}
	return 0
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func (s *Site) certificate(name string) (curve.SecretKey, curve.PublicKey) {
	s.t.Helper()
	own, err := curve.LoadCertificate(s.Keys.SecretPath(name))
	if err != nil {
		s.t.Fatal(err)
	}
	server, err := curve.LoadCertificate(s.Keys.PublicPath("server"))
	if err != nil {
		s.t.Fatal(err)
	}
	return own.Secret, server.Public
}

// Worker serves obj on a worker of its own until the test ends. It returns a
// function that stops the worker in order and waits for it.
func (s *Site) Worker(obj any, concurrency int, opts ...workersdk.Option) (stop func()) {
	s.t.Helper()
	s.mu.Lock()
	s.workers++
	id := "worker-" + strconv.Itoa(s.workers)
	s.mu.Unlock()
	cfg := workersdk.Config{
		Addr: "tcp://" + s.Broker.Backend().String(), ID: id, Concurrency: concurrency, Insecure: s.insecure, Log: quiet(),
		DrainTimeout: 5 * time.Second,
	}
	if !s.insecure {
		cfg.Key, cfg.ServerKey = s.certificate("worker")
	}
	w, err := workersdk.New(obj, cfg, opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Errorf("worker %s ended with %v", id, err)
		}
	})
	s.t.Cleanup(stop)
	return stop
}

// Client connects with the client's key until the test ends.
func (s *Site) Client(opts ...clientsdk.Option) *clientsdk.Client {
	return s.ClientAs("client", opts...)
}

// ClientAs connects with the named key until the test ends.
func (s *Site) ClientAs(name string, opts ...clientsdk.Option) *clientsdk.Client {
	s.t.Helper()
	if s.insecure {
		opts = append(opts, clientsdk.WithInsecure())
	} else {
		opts = append(opts, clientsdk.WithKeys(s.certificate(name)))
	}
	c, err := clientsdk.Dial(context.Background(), "tcp://"+s.Broker.Frontend().String(), opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close(context.Background()) })
	return c
}
