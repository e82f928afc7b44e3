package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/clientsdk"
)

// ours is this repository's system: the command broker, and a client and
// workers made with the two SDKs.
type ours struct {
	name   string
	bin    string // the folder of the binaries broker and bench
	secure bool
	style  string // of the client
}

// The styles of a client that has several calls in flight.
const (
	// pipelined is one goroutine a connection that starts calls and takes their
	// answers later: the style of the C and Python clients.
	pipelined = "pipelined"
	// blocking is one goroutine for each call in flight, which waits for it: what
	// programs mostly do.
	blocking = "blocking"
)

func (o ours) system() *System {
	return &System{
		Name: o.name,
		Missing: func(*Site) error {
			for _, name := range []string{"broker", "bench"} {
				if _, err := os.Stat(filepath.Join(o.bin, name)); err != nil {
					return fmt.Errorf("%w: make bin/bench puts it there", err)
				}
			}
			return nil
		},
		Start: func(ctx context.Context, s *Site, l Layout) (*Running, error) {
			r := &Running{}
			return r, o.start(ctx, s, r, l)
		},
	}
}

// ourPeer says to a client or worker of ours where its broker is.
type ourPeer struct {
	Addr    string `json:"addr"`
	Keys    string `json:"keys,omitempty"` // the folder; empty without security
	Name    string `json:"name,omitempty"` // of the own key; default: the role
	Workers int    `json:"workers,omitempty"`
	Slots   int    `json:"slots,omitempty"`
	Style   string `json:"style,omitempty"`
}

func (o ours) start(ctx context.Context, s *Site, r *Running, l Layout) error {
	b, err := newOurBroker(filepath.Join(s.Dir, o.name), o.secure)
	if err != nil {
		return err
	}
	r.serve = func(ctx context.Context) error {
		if r.Broker, err = r.add(s.start(o.name+"-broker", filepath.Join(o.bin, "broker"), "serve", "--config", b.file)); err != nil {
			return err
		}
		return r.Broker.listens(ctx, b.backend)
	}
	if err := r.serve(ctx); err != nil {
		return err
	}
	role := func(role string, p ourPeer) []string {
		p.Keys = b.keys
		spec, _ := json.Marshal(p) // a struct of strings and numbers
		return []string{filepath.Join(o.bin, "bench"), RolePrefix + role, string(spec)}
	}
	frontend := "tcp://" + b.frontend
	if _, err := r.startWorkers(ctx, s, o.name, role("worker", ourPeer{Addr: "tcp://" + b.backend, Workers: l.perProcess(), Slots: l.Slots})); err != nil {
		return err
	}
	if err := awaitWorkers(ctx, ourPeer{Addr: frontend, Keys: b.keys, Name: "admin"}, l.perProcess()*workerProcesses); err != nil {
		return r.Broker.failed(err)
	}
	r.crowd = role("crowd", ourPeer{Addr: frontend})
	return r.startClient(ctx, s, o.name, role("client", ourPeer{Addr: frontend, Style: o.style}))
}

// awaitWorkers waits until the broker has as many workers.
func awaitWorkers(ctx context.Context, admin ourPeer, workers int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("they do not come"))
	defer cancel()
	c, err := admin.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	for {
		v, err := clientsdk.Call[broker.StatusView](ctx, c, "broker.status")
		if err != nil {
			return fmt.Errorf("waiting for %d workers: %w", workers, err)
		}
		if v.Workers >= workers {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
}
