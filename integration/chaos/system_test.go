//go:build linux

package chaos

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/integration/env"
	"github.com/servicetools/servicetools/wire/curve"
)

func TestMain(m *testing.M) {
	Main()
	env.SetParallel()
	os.Exit(m.Run())
}

// local is what the clusters on this host have: a folder with keys, journals and
// the broker's configuration, and an operator.
type local struct {
	t        testing.TB
	dir      string
	keys     curve.Keyset
	operator func() (*clientsdk.Client, error) // connects, once
}

// newLocal makes the folder of a cluster whose frontend is host:port.
func newLocal(t testing.TB, frontend string) *local {
	t.Helper()
	l := &local{t: t, dir: t.TempDir()}
	l.keys = curve.KeysetIn(filepath.Join(l.dir, "keys"))
	must(t, os.Mkdir(l.Journals(), 0o700))
	l.operator = sync.OnceValues(func() (*clientsdk.Client, error) {
		c, err := clientsdk.Dial(context.Background(), "tcp://"+frontend, clientsdk.WithCertificate(l.keys.SecretPath("admin")),
			clientsdk.WithServerKey(l.keys.PublicPath("server")), clientsdk.WithLazyDial())
		if err == nil {
			t.Cleanup(func() {
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				c.Close(ctx)
			})
		}
		return c, err
	})
	return l
}

// Journals implements Cluster.
func (l *local) Journals() string { return filepath.Join(l.dir, "journals") }

// AddKey implements Cluster.
func (l *local) AddKey(name string, role curve.Role) {
	_, err := l.keys.Generate(curve.Request{Name: name, Role: role})
	must(l.t, err)
}

// RevokeKey implements Cluster.
func (l *local) RevokeKey(name string) { must(l.t, os.Remove(l.keys.PublicPath(name))) }

// Ask implements Cluster.
func (l *local) Ask(result any, method string, args ...string) error {
	c, err := l.operator()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	all := make([]any, len(args))
	for i := range args {
		all[i] = args[i]
	}
	return c.Go(ctx, method, all...).Result(result)
}

// writeConfig writes a broker's configuration and returns its path. extra are
// more sections.
func (l *local) writeConfig(ip, extra string) string {
	l.t.Helper()
	var dispatch strings.Builder
	for key, value := range Settings {
		fmt.Fprintf(&dispatch, "%s = %s\n", key, value)
	}
	path := filepath.Join(l.dir, "server.ini")
	must(l.t, os.WriteFile(path, []byte(fmt.Sprintf(`[main]
id = chaos
ip = %s
port = 8006
backend_port = 9006
public_keys_dir = %s
secret_keys_dir = %s
[dispatch]
%s%s`, ip, l.keys.PublicDir, l.keys.SecretDir, &dispatch, extra)), 0o600))
	return path
}

// processes is a Cluster whose peers are processes: this binary in other roles.
type processes struct {
	*local
	config   string // of the broker
	frontend string // host:port
	backend  string

	all       []*Process
	workerEnv []string          // more environment of workers
	via       map[string]string // by worker or client: host:port that it dials instead of the broker's
}

// newProcesses returns one without any; extra are more sections of the broker's
// configuration.
func newProcesses(t testing.TB, extra string) *processes {
	t.Helper()
	ip := env.Loopback()
	p := &processes{frontend: net.JoinHostPort(ip, "8006"), backend: net.JoinHostPort(ip, "9006"), via: map[string]string{}}
	p.local = newLocal(t, p.frontend)
	must(t, os.Mkdir(p.logs(), 0o700))
	p.config = p.writeConfig(ip, extra)
	t.Cleanup(p.keep)
	t.Cleanup(p.end)
	return p
}

func (p *processes) logs() string { return filepath.Join(p.dir, "logs") }

// end lets no process outlive the test.
func (p *processes) end() {
	for _, started := range p.all {
		started.Kill()
	}
}

// start runs a role.
func (p *processes) start(name, role string, environment []string, args ...string) *Process {
	p.t.Helper()
	started, err := startProcess(p.logs(), name, role, append(environment, JournalsVariable+"="+p.Journals()), args...)
	must(p.t, err)
	p.all = append(p.all, started)
	return started
}

// StartBroker implements Cluster.
func (p *processes) StartBroker() Peer {
	p.t.Helper()
	b := p.start("broker", RoleBroker, nil, "serve", "--config", p.config)
	Await(p.t, "the broker listens", func() bool {
		if !b.Alive() {
			p.t.Fatalf("the broker ended:\n%s", tail(b, 40))
		}
		c, err := net.Dial("tcp", p.frontend)
		if err == nil {
			c.Close()
		}
		return err == nil
	}, b.Log)
	return b
}

// address returns what a peer dials.
func (p *processes) address(peer, usual string) string {
	if other := p.via[peer]; other != "" {
		usual = other
	}
	return "tcp://" + usual
}

// StartWorker implements Cluster.
func (p *processes) StartWorker(key, id string) Peer {
	p.t.Helper()
	file := filepath.Join(p.dir, id+".ini")
	must(p.t, os.WriteFile(file, []byte("[main]\nid = "+id+"\n"), 0o600))
	return p.start(id, RoleWorker, p.workerEnv, "--config_file", file, "--server", p.address(id, p.backend),
		"--cert", p.keys.SecretPath(key), "--server-key", p.keys.PublicPath("server"), "--concurrency", strconv.Itoa(Concurrency))
}

// StartClient implements Cluster.
func (p *processes) StartClient(load Load) Peer {
	p.t.Helper()
	load = load.At(p.address(load.Name, p.frontend), p.keys, p.Journals())
	return p.start(load.Name, RoleClient, nil, load.Args()...)
}

// keep saves all files of a run that failed in the folder CHAOS_KEEP.
func (p *processes) keep() {
	if folder := os.Getenv("CHAOS_KEEP"); folder != "" && p.t.Failed() {
		p.t.Logf("kept: %v", os.CopyFS(filepath.Join(folder, strings.ReplaceAll(p.t.Name(), "/", "_")+"-"+
			strconv.FormatInt(time.Now().Unix(), 10)), os.DirFS(p.dir)))
	}
}

// system is a run of processes, for what only those can suffer.
type system struct {
	*Run
	*processes
}

// newSystem starts a broker; extra are more sections of its configuration.
func newSystem(t *testing.T, extra string) *system {
	t.Helper()
	p := newProcesses(t, extra)
	return &system{NewRun(t, p), p}
}

// proxied puts a proxy between a worker or a client, which is still to be
// started, and an end of the broker, until the test ends.
func (s *system) proxied(peer, target string) *Proxy {
	s.Helper()
	x := newProxy(s, target)
	s.via[peer] = x.Addr()
	return x
}

// process is the broker as a process.
func (s *system) process() *Process { return s.broker.(*Process) }
