package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/broker/config"
	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/workersdk"
)

// peer says to a client or worker of ours where its broker is.
type peer struct {
	Addr    string `json:"addr"`
	Keys    string `json:"keys"` // the folder; empty without security
	Workers int    `json:"workers,omitempty"`
	Slots   int    `json:"slots,omitempty"`
	Style   string `json:"style,omitempty"`
}

// ours is this repository's system: the command broker and programs made with
// the two SDKs. bin is the folder of the binaries broker and bench.
func ours(name, bin string, secure bool, style string) *System {
	return &System{
		Name:    name,
		Missing: func(s *Site) error { return s.binaries(bin) },
		Start: func(s *Site, l Layout) (*Running, error) {
			r := &Running{}
			return r, startOurs(s, r, name, bin, secure, style, l)
		},
	}
}

// binaries reports whether a folder has what the system needs.
func (s *Site) binaries(bin string) error {
	for _, name := range []string{"broker", "bench"} {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			return fmt.Errorf("%w: run make bin/bench there", err)
		}
	}
	return nil
}

func startOurs(s *Site, r *Running, name, bin string, secure bool, style string, l Layout) error {
	dir := filepath.Join(s.Dir, name)
	frontend, backend, err := startBroker(s, r, name, bin, dir, secure)
	if err != nil {
		return err
	}
	role := func(role string, p peer) []string {
		if secure {
			p.Keys = dir
		}
		spec, _ := json.Marshal(p) // a struct of strings and numbers
		return []string{filepath.Join(bin, "bench"), RolePrefix + role, string(spec)}
	}
	if _, err := r.startWorkers(s, name, role("worker", peer{Addr: backend, Workers: l.perProcess(), Slots: l.Slots})); err != nil {
		return err
	}
	if err := awaitWorkers(dir, frontend, secure, l.perProcess()*workerProcesses); err != nil {
		return r.Broker.failed(err)
	}
	return r.startClient(s, name, role("client", peer{Addr: frontend, Style: style}))
}

// awaitWorkers waits until the broker has as many workers.
func awaitWorkers(dir, frontend string, secure bool, workers int) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	admin := &ourClient{peer: peer{Addr: frontend, Keys: dir}, name: "admin"}
	if !secure {
		admin.peer.Keys = ""
	}
	if err := admin.open(1); err != nil {
		return err
	}
	defer admin.close()
	for {
		v, err := clientsdk.Call[broker.StatusView](ctx, admin.clients[0], "broker.status")
		if err != nil {
			return fmt.Errorf("waiting for %d workers: %w", workers, err)
		}
		if v.Workers >= workers {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// startBroker writes a configuration and starts the command broker with it.
func startBroker(s *Site, r *Running, name, bin, dir string, secure bool) (frontend, backend string, err error) {
	ports, err := freePorts(2)
	if err != nil {
		return "", "", err
	}
	file := filepath.Join(dir, "server.ini")
	if err := writeConfig(dir, file, ports, secure); err != nil {
		return "", "", err
	}
	frontend, backend = fmt.Sprintf("tcp://127.0.0.1:%d", ports[0]), fmt.Sprintf("tcp://127.0.0.1:%d", ports[1])
	if r.Broker, err = r.add(s.start(name+"-broker", filepath.Join(bin, "broker"), "serve", "--config", file)); err != nil {
		return "", "", err
	}
	return frontend, backend, r.Broker.listens(ports[1])
}

// The limits that the work exceeds by intent: 1,000 calls of 60 kB or 100,000
// of 100 B from one key, 1,000 workers and 10,000 idle clients on one broker.
const limits = `
[limits]
max_connections = 20000
calls_per_key = 400000
bytes_per_key = 2 GiB
memory_budget = 4 GiB
max_message = 64 MiB
`

func writeConfig(dir, file string, ports []int, secure bool) error {
	keys := curve.KeysetIn(dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if secure {
		for _, role := range []curve.Role{curve.RoleServer, curve.RoleClient, curve.RoleWorker, curve.RoleAdmin} {
			if _, err := os.Stat(keys.SecretPath(role.String())); err == nil {
				continue
			}
			if _, err := keys.Generate(curve.Request{Name: role.String(), Role: role}); err != nil {
				return err
			}
		}
	}
	if _, err := config.CreateNew(config.ServerConfig{
		ConfigPath: file, IP: "127.0.0.1", Port: ports[0], BackendPort: ports[1], PublicKeysDir: keys.PublicDir,
		SecretKeysDir: keys.SecretDir, LoggingMode: "WARN", Insecure: !secure, Overwrite: true,
	}); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(limits)
	return errors.Join(err, f.Close())
}

// freePorts returns ports of 127.0.0.1 that nobody listens on.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // together, that no port is given twice
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// listens waits until the process takes connections at a port.
func (p *Process) listens(port int) error {
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		select {
		case <-p.exited:
			return p.failed(errors.New("it ended"))
		default:
		}
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return nil
		}
	}
	return p.failed(fmt.Errorf("it does not listen at %s", addr))
}

// echoer is the object that a worker of ours serves.
type echoer struct{}

// Echo returns what it gets.
func (echoer) Echo(b []byte) []byte { return b }

// ourWorker is the worker program: as many workers, with a connection each, as
// the spec says.
func ourWorker(spec string, in io.Reader) error {
	var p peer
	if err := json.Unmarshal([]byte(spec), &p); err != nil {
		return err
	}
	cfg := workersdk.Config{Addr: p.Addr, Insecure: p.Keys == "", Concurrency: p.Slots, MaxMessage: 64 << 20, DrainTimeout: -1}
	if p.Keys != "" {
		own, server, err := keys(p.Keys, "worker")
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
	go func() {
		_, _ = io.Copy(io.Discard, in) // the harness says nothing to a worker but its end
		cancel()
	}()
	// The broker is asked who is there by the client, who knows when to start.
	if err := say(Answer{Ready: "worker"}); err != nil {
		return err
	}
	running.Wait()
	close(ended)
	for err := range ended {
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// keys loads a peer's own certificate and the server's.
func keys(dir, name string) (own, server *curve.Certificate, err error) {
	set := curve.KeysetIn(dir)
	if own, err = curve.LoadCertificate(set.SecretPath(name)); err != nil {
		return nil, nil, err
	}
	server, err = curve.LoadCertificate(set.PublicPath("server"))
	return own, server, err
}

// ourClient is the client program's driver.
type ourClient struct {
	peer    peer
	name    string // of its key
	clients []*clientsdk.Client
}

func (d *ourClient) close() {
	for _, c := range d.clients {
		c.Close(context.Background())
	}
	d.clients = nil
}

func (d *ourClient) open(n int) error {
	ctx := context.Background()
	d.close()
	opts := []clientsdk.Option{clientsdk.WithMaxInFlight(400_000, 2<<30), clientsdk.WithTimeout(2 * patience)}
	if d.peer.Keys == "" {
		opts = append(opts, clientsdk.WithInsecure())
	} else {
		own, server, err := keys(d.peer.Keys, d.name)
		if err != nil {
			return err
		}
		opts = append(opts, clientsdk.WithKeys(own.Secret, server.Public))
	}
	for range n {
		c, err := clientsdk.Dial(ctx, d.peer.Addr, opts...)
		if err != nil {
			return err
		}
		d.clients = append(d.clients, c)
	}
	return nil
}

func (d *ourClient) drive(l *load) error {
	ctx := context.Background()
	if d.peer.Style == "calls" {
		return callers(l, func(conn int, payload []byte) ([]byte, error) {
			return clientsdk.Call[[]byte](ctx, d.clients[conn], "echo", payload)
		})
	}
	// One goroutine a connection, which takes the answers in the order of its
	// calls: the shape of a program that sends a list of work.
	var driving sync.WaitGroup
	errs := make([]error, len(d.clients))
	for conn, c := range d.clients {
		driving.Go(func() { errs[conn] = d.pipeline(ctx, l, conn, c) })
	}
	driving.Wait()
	return errors.Join(errs...)
}

func (d *ourClient) pipeline(ctx context.Context, l *load, conn int, c *clientsdk.Client) error {
	var mine []*slot
	for i := conn; i < len(l.slots); i += len(d.clients) {
		mine = append(mine, &l.slots[i])
	}
	futures := make([]*clientsdk.Future, len(mine))
	for running := true; running; {
		running = false
		for i, s := range mine {
			if f := futures[i]; f != nil {
				var answer []byte
				if err := f.Result(&answer); err != nil {
					return err
				}
				l.ended(s, answer)
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
