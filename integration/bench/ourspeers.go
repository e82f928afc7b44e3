package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/workersdk"
)

// echoer is the object that a worker of ours serves.
type echoer struct{}

// Echo sends back the very memory that it gets.
func (echoer) Echo(b workersdk.Borrowed) workersdk.Borrowed { return b }

// ourWorker is the worker program: as many workers, with a connection each, as
// the spec says. It is ready before they are registered; see awaitWorkers.
func ourWorker(spec string, in io.Reader) error {
	var p ourPeer
	if err := json.Unmarshal([]byte(spec), &p); err != nil {
		return err
	}
	cfg := workersdk.Config{Addr: p.Addr, Insecure: p.Keys == "", Concurrency: p.Slots, MaxMessage: 64 << 20, DrainTimeout: -1}
	if p.Keys != "" {
		own, server, err := p.certificates("worker")
		if err != nil {
			return err
		}
		cfg.Key, cfg.ServerKey = own.Secret, server.Public
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, p.Workers)
	var running sync.WaitGroup
	for i := range p.Workers {
		cfg.ID = fmt.Sprintf("bench-%d-%d", os.Getpid(), i)
		w, err := workersdk.New(echoer{}, cfg)
		if err != nil {
			return err
		}
		running.Go(func() { ended <- w.Run(ctx) })
	}
	if err := say(Answer{Ready: "worker"}); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, in) // a worker is told nothing but its end
	cancel()
	running.Wait()
	close(ended)
	var errs []error
	for err := range ended {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// certificates loads a peer's own certificate and the server's.
func (p *ourPeer) certificates(role string) (own, server *curve.Certificate, err error) {
	set := curve.KeysetIn(p.Keys)
	if p.Name != "" {
		role = p.Name
	}
	if own, err = curve.LoadCertificate(set.SecretPath(role)); err != nil {
		return nil, nil, err
	}
	server, err = curve.LoadCertificate(set.PublicPath("server"))
	return own, server, err
}

// dial connects a client.
func (p *ourPeer) dial(ctx context.Context) (*clientsdk.Client, error) {
	keys := clientsdk.WithInsecure()
	if p.Keys != "" {
		own, server, err := p.certificates("client")
		if err != nil {
			return nil, err
		}
		keys = clientsdk.WithKeys(own.Secret, server.Public)
	}
	return clientsdk.Dial(ctx, p.Addr, keys, clientsdk.WithMaxInFlight(400_000, 2<<30), clientsdk.WithTimeout(2*patience))
}

// ourClient is the driver of the client program.
type ourClient struct {
	peer    ourPeer
	clients []*clientsdk.Client
}

func runOurClient(spec string, in io.Reader) error {
	d := &ourClient{}
	if err := json.Unmarshal([]byte(spec), &d.peer); err != nil {
		return err
	}
	return runClient(d, in)
}

func (d *ourClient) open(n int) error {
	ctx := context.Background()
	for _, c := range d.clients {
		c.Close(ctx)
	}
	d.clients = nil
	for range n {
		c, err := d.peer.dial(ctx)
		if err != nil {
			return err
		}
		d.clients = append(d.clients, c)
	}
	return nil
}

func (d *ourClient) drive(l *load) error {
	ctx := context.Background()
	if d.peer.Style == blocking {
		return callers(l, func(conn int, payload []byte) ([]byte, error) {
			return clientsdk.Call[[]byte](ctx, d.clients[conn], "echo", payload)
		})
	}
	return pipelines(l, func(conn int, mine []*slot) error { return pipeline(ctx, l, mine, d.clients[conn]) })
}

// pipeline keeps the slots of one connection in calls, and takes the answers in
// the order of the calls: the shape of a program that works through a list.
func pipeline(ctx context.Context, l *load, mine []*slot, c *clientsdk.Client) error {
	futures := make([]*clientsdk.Future, len(mine))
	var answer clientsdk.Buffer
	defer answer.Release()
	for running := true; running; {
		running = false
		for i, s := range mine {
			if f := futures[i]; f != nil {
				if err := f.Result(&answer); err != nil {
					return err
				}
				l.ended(s, answer.Bytes())
				futures[i] = nil
			}
			if !l.done() {
				futures[i] = c.Go(ctx, "echo", s.next())
				running = true
			}
		}
	}
	return nil
}
