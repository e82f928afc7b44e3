//go:build linux

package chaos

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/integration/env"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/workersdk"
)

// tasks is a Cluster in one process: its peers are goroutines. What a signal is
// to a process is done to the connections of a task, which all go through
// proxies.
type tasks struct {
	*local
	front, back *Proxy // before the broker, whichever it is
	all         []*task
}

// task is one peer.
type task struct {
	stop  context.CancelFunc
	ended chan struct{} // closed when err is set
	err   error
	dead  atomic.Bool // killed
	log   env.Log
	links []*Proxy
	cut   func(*Proxy) // what killing the task is to its links
}

func newTasks(t testing.TB) *tasks {
	t.Helper()
	c := &tasks{front: newProxy(t, ""), back: newProxy(t, "")}
	c.local = newLocal(t, c.front.Addr())
	t.Cleanup(c.end)
	return c
}

// newProxy returns a proxy that ends with the test.
func newProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	p, err := NewProxy("127.0.0.1:0", target)
	must(t, err)
	t.Cleanup(p.Close)
	return p
}

// begin runs a task until it is stopped.
func (c *tasks) begin(p *task, run func(context.Context) error) *task {
	ctx, stop := context.WithCancel(context.Background())
	p.stop, p.ended = stop, make(chan struct{})
	go func() {
		defer close(p.ended)
		p.err = run(ctx)
	}()
	c.all = append(c.all, p)
	return p
}

// end waits for all tasks, those that were killed, too.
func (c *tasks) end() {
	for _, p := range c.all {
		p.stop()
	}
	for _, p := range c.all {
		<-p.ended
	}
}

// StartBroker implements Cluster.
func (c *tasks) StartBroker() Peer {
	c.t.Helper()
	cfg, err := broker.Load(c.writeConfig("127.0.0.1", ""))
	must(c.t, err)
	cfg.Main.Port, cfg.Main.BackendPort = 0, 0
	p := &task{links: []*Proxy{c.front, c.back}, cut: func(x *Proxy) { x.Lead("") }}
	b, err := broker.New(cfg, broker.WithLogger(slog.New(slog.NewTextHandler(&p.log, nil))))
	must(c.t, err)
	c.begin(p, b.Run)
	c.front.Lead(b.Frontend().String())
	c.back.Lead(b.Backend().String())
	return p
}

// StartWorker implements Cluster.
func (c *tasks) StartWorker(key, id string) Peer {
	c.t.Helper()
	own, err := curve.LoadCertificate(c.keys.SecretPath(key))
	must(c.t, err)
	server, err := curve.LoadCertificate(c.keys.PublicPath("server"))
	must(c.t, err)
	l, err := newLedger(c.Journals())
	must(c.t, err)
	p := c.behindProxy(c.back)
	w, err := workersdk.New(l, workersdk.Config{
		Addr: "tcp://" + p.links[0].Addr(), ID: id, Concurrency: Concurrency, Key: own.Secret, ServerKey: server.Public,
		Log: slog.New(slog.NewTextHandler(&p.log, nil)),
	}, mayRunTwice)
	must(c.t, err)
	return c.begin(p, w.Run)
}

// StartClient implements Cluster.
func (c *tasks) StartClient(load Load) Peer {
	c.t.Helper()
	p := c.behindProxy(c.front)
	load = load.At("tcp://"+p.links[0].Addr(), c.keys, c.Journals())
	return c.begin(p, func(ctx context.Context) error { return load.run(ctx, &p.log) })
}

func (c *tasks) behindProxy(end *Proxy) *task {
	c.t.Helper()
	return &task{links: []*Proxy{newProxy(c.t, end.Addr())}, cut: (*Proxy).Close}
}

// Stop implements Peer.
func (p *task) Stop() error {
	p.stop()
	<-p.ended
	if errors.Is(p.err, context.Canceled) {
		return nil
	}
	return p.err
}

// Kill implements Peer. The goroutines end in their own time, unheard.
func (p *task) Kill() {
	p.dead.Store(true)
	for _, x := range p.links {
		p.cut(x)
	}
	p.stop()
}

// Pause implements Peer.
func (p *task) Pause() {
	for _, x := range p.links {
		x.Freeze()
	}
}

// Resume implements Peer.
func (p *task) Resume() {
	for _, x := range p.links {
		x.Thaw()
	}
}

// Alive implements Peer.
func (p *task) Alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return !p.dead.Load()
	}
}

// Log implements Peer.
func (p *task) Log() string { return p.log.String() }
