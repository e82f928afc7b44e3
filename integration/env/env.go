// Package env gives integration tests a running broker with keys for everybody,
// workers and clients beside it in one process, and foreign ZeroMQ peers as
// child processes.
package env

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// TB is what this package uses of a testing.TB.
type TB interface {
	Helper()
	Name() string
	TempDir() string
	Cleanup(func())
	Context() context.Context
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Site is a broker on free loopback ports and the keys of its peers: "server",
// "client", "worker" and "admin". It ends with its test.
type Site struct {
	Broker *broker.Broker
	Keys   curve.Keyset
	Config broker.Config // with the ports of the broker that runs
	Log    Log           // of the broker

	t       TB
	stop    context.CancelFunc
	ended   chan error   // gets the broker's end once
	workers atomic.Int64 // names them
}

// Start runs a broker. change, if not nil, edits its configuration before.
func Start(t TB, change func(*broker.Config)) *Site {
	t.Helper()
	s := &Site{t: t, Keys: curve.KeysetIn(t.TempDir())}
	for _, role := range []curve.Role{curve.RoleServer, curve.RoleClient, curve.RoleWorker, curve.RoleAdmin} {
		s.NewKey(role.String(), role)
	}
	s.Config.Main.IP = Loopback()
	s.Config.Main.PublicKeysDir, s.Config.Main.SecretKeysDir = s.Keys.PublicDir, s.Keys.SecretDir
	s.Config.Dispatch.DrainTimeout = time.Second
	if change != nil {
		change(&s.Config)
	}
	s.run()
	t.Cleanup(s.Stop)
	return s
}

// Insecure is a change for Start: peers speak NULL.
func Insecure(c *broker.Config) { c.Security.Insecure = true }

func (s *Site) run() {
	s.t.Helper()
	cfg := s.Config
	b, err := broker.New(&cfg, broker.WithLogger(slog.New(slog.NewTextHandler(&s.Log, nil))))
	if err != nil {
		s.t.Fatalf("starting a broker: %v", err)
	}
	s.Config.Main.Port, s.Config.Main.BackendPort = port(b.Frontend()), port(b.Backend())
	ctx, cancel := context.WithCancel(context.Background())
	s.Broker, s.stop, s.ended = b, cancel, make(chan error, 1)
	go func() { s.ended <- b.Run(ctx) }()
}

// Stop ends the broker and waits for it. A second Stop does nothing.
func (s *Site) Stop() {
	s.t.Helper()
	s.stop()
	if err, running := <-s.ended; running {
		close(s.ended)
		if err != nil {
			s.t.Errorf("the broker ended with %v", err)
		}
	}
}

// Restart ends the broker and starts another one on the same ports.
func (s *Site) Restart() {
	s.t.Helper()
	s.Stop()
	s.run()
}

func port(addr net.Addr) int { return addr.(*net.TCPAddr).Port }

// Frontend returns the endpoint of clients.
func (s *Site) Frontend() string { return "tcp://" + s.Broker.Frontend().String() }

// Backend returns the endpoint of workers.
func (s *Site) Backend() string { return "tcp://" + s.Broker.Backend().String() }

// NewKey makes a key, which the broker admits within a second.
func (s *Site) NewKey(name string, role curve.Role) *curve.Certificate {
	s.t.Helper()
	c, err := s.Keys.Generate(curve.Request{Name: name, Role: role})
	if err != nil {
		s.t.Fatalf("making the key %s: %v", name, err)
	}
	return c
}

// Secret returns the certificate of a key with its secret.
func (s *Site) Secret(name string) *curve.Certificate {
	s.t.Helper()
	c, err := curve.LoadCertificate(s.Keys.SecretPath(name))
	if err != nil {
		s.t.Fatalf("reading the key %s: %v", name, err)
	}
	return c
}

// Endpoint returns the configuration with which the owner of a key dials; a
// site without security needs no name.
func (s *Site) Endpoint(name, socketType string, properties ...zmtp.Property) *zmtp.Config {
	s.t.Helper()
	cfg := &zmtp.Config{SocketType: socketType, Mechanism: zmtp.Null{}, Metadata: properties}
	if !s.Config.Security.Insecure {
		cfg.Mechanism = &curve.Client{Key: s.Secret(name).Secret, ServerKey: s.Secret("server").Public}
	}
	return cfg
}

// Dial connects as the owner of a key.
func (s *Site) Dial(endpoint, name, socketType string, properties ...zmtp.Property) *zmtp.Link {
	s.t.Helper()
	l, err := zmtp.Dial(s.t.Context(), endpoint, s.Endpoint(name, socketType, properties...))
	if err != nil {
		s.t.Fatalf("dialling as %s: %v", name, err)
	}
	s.t.Cleanup(func() { l.Close(nil) })
	return l
}

// Mechanism returns with which keys the owner of a name dials, and whether the
// site has security at all.
func (s *Site) Mechanism(name string) (*curve.Client, bool) {
	s.t.Helper()
	c, secure := s.Endpoint(name, "DEALER").Mechanism.(*curve.Client)
	return c, secure
}
