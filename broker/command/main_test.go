package command

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/broker/config"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
	workerconfig "github.com/servicetools/servicetools/workersdk/config"
)

var update = flag.Bool("update", false, "write the golden files")

// asBroker makes the test's binary the command broker.
const asBroker = "TEST_AS_BROKER"

// TestMain lets the test's binary be a broker, and a worker that a broker
// starts, so that both are real processes.
func TestMain(m *testing.M) {
	for _, arg := range os.Args[1:] {
		if path, ok := strings.CutPrefix(arg, "--config_file="); ok {
			workerMain(path)
		}
	}
	if os.Getenv(asBroker) != "" {
		os.Exit(Main(os.Args, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// workerMain is a worker with one method, until its broker leaves.
func workerMain(path string) {
	cfg, err := workerconfig.Load(path)
	if err == nil {
		err = serveWorker(context.Background(), cfg)
	}
	fmt.Fprintln(os.Stderr, "worker ended:", err)
	os.Exit(0)
}

func serveWorker(ctx context.Context, cfg *workerconfig.Config) error {
	addr, err := cfg.Addr()
	if err != nil {
		return err
	}
	own, err := curve.LoadCertificate(cfg.CertFile())
	if err != nil {
		return err
	}
	server, err := curve.LoadCertificate(cfg.ServerKeyFile())
	if err != nil {
		return err
	}
	w := worker{id: cfg.Main.ID, pid: os.Getpid()}
	return w.serve(ctx, addr, own.Secret, server.Public)
}

// worker serves "double", which answers true, and "hold", which never answers.
type worker struct {
	id  string
	pid int
}

func (w *worker) serve(ctx context.Context, addr string, key curve.SecretKey, server curve.PublicKey) error {
	link, err := zmtp.Dial(ctx, addr, &zmtp.Config{
		SocketType: "DEALER",
		Mechanism:  &curve.Client{Key: key, ServerKey: server},
		Metadata:   zmtp.Metadata{{Name: message.PropertySDK, Value: message.ProtocolVersion}},
	})
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { link.Close(nil) })
	defer stop()
	send := func(e *message.Envelope) { _, _ = link.Append(func(dst []byte) []byte { return e.Append(dst) }) }
	send(&message.Envelope{Kind: message.KindRegister, Body: message.Marshal(&message.Register{
		Worker: w.id, Name: "test", Host: "here", PID: w.pid, Concurrency: 2,
		Methods: []message.Method{
			{Name: "double", Aliases: []string{"Double"}, Signature: "Double(n int) int", Doc: "Double returns 2n. It is quick.", Idempotent: true},
			{Name: "hold", Signature: "Hold()"},
		},
	})})
	return link.Run(func(m *zmtp.Message) error {
		var e message.Envelope
		for rest := m.Bytes(); len(rest) > 0; {
			var err error
			if rest, err = e.Next(rest); err != nil {
				return err
			}
			switch {
			case e.Kind == message.KindCall && string(e.Method) == "double":
				send(&message.Envelope{Kind: message.KindResult, ID: e.ID, Body: []byte{0xc3}})
			case e.Kind == message.KindDrain:
				send(&message.Envelope{Kind: message.KindCapacity})
				link.Finish()
			}
		}
		return nil
	})
}

// place is a folder with keys for everybody and the files of a broker.
type place struct {
	*testing.T
	dir, config string
	keys        curve.Keyset
}

// newPlace makes a place. rows are further lines of the broker's file.
func newPlace(t *testing.T, rows ...string) *place {
	t.Helper()
	dir := t.TempDir()
	p := &place{T: t, dir: dir, config: filepath.Join(dir, "server.ini"), keys: curve.KeysetIn(dir)}
	for name, role := range map[string]curve.Role{
		"server": curve.RoleServer, "worker": curve.RoleWorker, "client": curve.RoleClient, "admin": curve.RoleAdmin,
	} {
		p.generate(name, role)
	}
	p.write("server.ini", "[main]\nid = 71c4810e-d0f7-4f06-aa50-2fa8b8cc4be2\nname = test\nip = 127.0.0.1\nport = 0\nbackend_port = 0\n"+
		"public_keys_dir = "+p.keys.PublicDir+"\nsecret_keys_dir = "+p.keys.SecretDir+"\n"+strings.Join(rows, "\n")+"\n")
	return p
}

func (p *place) generate(name string, role curve.Role) {
	p.Helper()
	if _, err := p.keys.Generate(curve.Request{Name: name, Role: role, Overwrite: true}); err != nil {
		p.Fatal(err)
	}
}

func (p *place) write(name, text string) {
	p.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
		p.Fatal(err)
	}
}

// serve runs the place's broker in this process until the test ends, and
// writes the ports that the system picked into its file.
func (p *place) serve() *broker.Broker {
	p.Helper()
	cfg, err := broker.Load(p.config)
	if err != nil {
		p.Fatal(err)
	}
	b, err := broker.New(cfg, broker.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
	if err != nil {
		p.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	p.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			p.Errorf("the broker ended with %v", err)
		}
	})
	p.setPorts(b.Frontend().String(), b.Backend().String())
	return b
}

func (p *place) setPorts(frontend, backend string) {
	p.Helper()
	port := func(addr string) string { return addr[strings.LastIndex(addr, ":")+1:] }
	if err := edit(p.config, [][3]string{{"main", "port", port(frontend)}, {"main", "backend_port", port(backend)}}); err != nil {
		p.Fatal(err)
	}
}

// work runs a worker in this process until the test ends.
func (p *place) work(id string) {
	p.Helper()
	cfg, err := config.Read(p.config)
	if err != nil {
		p.Fatal(err)
	}
	key, server := p.load(p.keys.SecretPath("worker")), p.load(p.keys.PublicPath("server"))
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		_ = (&worker{id: id, pid: 4242}).serve(ctx, dialAddr(cfg, cfg.Main.BackendPort), key.Secret, server.Public)
	})
	p.Cleanup(func() {
		stop()
		running.Wait()
	})
	p.until("the worker is there", func() bool { return strings.Contains(p.ok("workers").out, id) })
}

func (p *place) load(path string) *curve.Certificate {
	p.Helper()
	c, err := curve.LoadCertificate(path)
	if err != nil {
		p.Fatal(err)
	}
	return c
}

// call sends a plain request as the client, without waiting for the reply.
func (p *place) call(method string) {
	p.Helper()
	cfg, err := config.Read(p.config)
	if err != nil {
		p.Fatal(err)
	}
	link, err := zmtp.Dial(p.Context(), dialAddr(cfg, cfg.Main.Port), &zmtp.Config{
		SocketType: "DEALER",
		Mechanism:  &curve.Client{Key: p.load(p.keys.SecretPath("client")).Secret, ServerKey: p.load(p.keys.PublicPath("server")).Public},
	})
	if err != nil {
		p.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = link.Run(func(*zmtp.Message) error { return nil })
		close(ended)
	}()
	p.Cleanup(func() {
		link.Close(nil)
		<-ended
	})
	request, refusal := message.AppendRequest(nil, method, message.AppendBody(nil, nil, nil), 0)
	if refusal != nil {
		p.Fatal(refusal)
	}
	if err := link.Send(request); err != nil {
		p.Fatal(err)
	}
}

// until waits for a condition.
func (p *place) until(what string, holds func() bool) {
	p.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			p.Fatalf("it never came that %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// result is what a command printed, and its exit code.
type result struct {
	out, errOut string
	code        int
}

// run runs a command line in which DIR is the place's folder.
func (p *place) run(args ...string) result {
	p.Helper()
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "DIR", p.dir)
	}
	var stdout, stderr bytes.Buffer
	code := run(p.Context(), append([]string{"broker"}, args...), &stdout, &stderr)
	r := result{stdout.String(), stderr.String(), code}
	p.holdsNoSecret(r)
	return r
}

// holdsNoSecret checks that nothing secret was printed.
func (p *place) holdsNoSecret(r result) {
	p.Helper()
	names, _ := p.keys.Names()
	for _, name := range names {
		c, _ := curve.LoadCertificate(p.keys.SecretPath(name))
		if c != nil && !c.Secret.IsZero() && strings.Contains(r.out+r.errOut, c.Secret.RevealZ85()) {
			p.Errorf("the secret of %s was printed", name)
		}
	}
}

// ok runs a command about the place's broker, which must succeed.
func (p *place) ok(command string, args ...string) result {
	p.Helper()
	r := p.run(slices.Concat(strings.Fields(command), args, []string{"--config", p.config})...)
	if r.code != ExitOK {
		p.Fatalf("broker %s %s exits with %d: %s%s", command, strings.Join(args, " "), r.code, r.out, r.errOut)
	}
	return r
}

// json runs a command with -o json and decodes what it prints.
func (p *place) json(v any, command string, args ...string) {
	p.Helper()
	r := p.ok(command, append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(r.out), v); err != nil {
		p.Fatalf("%s is not JSON: %v", r.out, err)
	}
}
