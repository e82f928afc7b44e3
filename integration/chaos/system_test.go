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

	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/integration/env"
	"github.com/servicetools/servicetools/wire/curve"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

// The times of the systems under test: short, so that a fault is over soon.
const (
	beat        = 500 * time.Millisecond
	silence     = 3 * beat // of a dead peer
	clientGrace = 3 * time.Second
	claimGrace  = 2 * time.Second
	maxAttempts = 3
	startWait   = 30 * time.Second // for anything that must come
)

// system is a broker, workers and clients, each a process, and what is known of them.
type system struct {
	t        *testing.T
	dir      string
	keys     curve.Keyset
	frontend string // host:port
	backend  string

	workerEnv []string // more environment of workers

	broker  *Process
	admin   *clientsdk.Client
	workers map[string]*Process
	clients map[string]*Process
	rules   Rules
	began   time.Time

	watching sync.WaitGroup
	stop     context.CancelFunc // of the scraper
	mu       sync.Mutex
	scrapes  []Scrape // guarded by mu
}

// newSystem writes keys and the broker's configuration, and starts the broker.
// extra are more sections of the configuration.
func newSystem(t *testing.T, extra string) *system {
	t.Helper()
	s := &system{
		t: t, dir: t.TempDir(), workers: map[string]*Process{}, clients: map[string]*Process{}, began: time.Now(),
		rules: Rules{
			MaxAttempts: maxAttempts, Idempotent: map[string]bool{"again": true, "retrail": true, "poison": true}, Killed: map[string]bool{},
			FloorShare: 0.7,
		},
	}
	s.keys = curve.KeysetIn(filepath.Join(s.dir, "keys"))
	for name, role := range map[string]curve.Role{
		"server": curve.RoleServer, "worker": curve.RoleWorker, "admin": curve.RoleAdmin,
		"client": curve.RoleClient, "other": curve.RoleClient,
	} {
		s.key(name, role)
	}
	for _, folder := range []string{"journals", "logs"} {
		s.must(os.Mkdir(filepath.Join(s.dir, folder), 0o700))
	}
	ip := env.Loopback()
	s.frontend, s.backend = net.JoinHostPort(ip, "8006"), net.JoinHostPort(ip, "9006")
	s.must(os.WriteFile(s.configFile(), []byte(fmt.Sprintf(`[main]
id = chaos
ip = %s
port = 8006
backend_port = 9006
public_keys_dir = %s
secret_keys_dir = %s
[dispatch]
beat = %v
client_grace = %v
claim_grace = %v
no_worker_grace = 5s
drain_timeout = 5s
max_attempts = %d
%s`, ip, s.keys.PublicDir, s.keys.SecretDir, beat, clientGrace, claimGrace, maxAttempts, extra)), 0o600))
	t.Cleanup(s.end)
	s.startBroker()
	s.dialAdmin()
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.watching.Go(func() { s.watch(ctx) })
	return s
}

func (s *system) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *system) configFile() string { return filepath.Join(s.dir, "server.ini") }

func (s *system) key(name string, role curve.Role) {
	_, err := s.keys.Generate(curve.Request{Name: name, Role: role})
	s.must(err)
}

// say prints one line of the run's schedule.
func (s *system) say(format string, args ...any) {
	s.t.Helper()
	s.t.Logf("%7.3fs %s", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// start runs a role and sees to it that it does not outlive the test.
func (s *system) start(name, role string, environment []string, args ...string) *Process {
	s.t.Helper()
	p, err := startProcess(filepath.Join(s.dir, "logs"), name, role, environment, args...)
	s.must(err)
	s.t.Cleanup(p.Kill)
	return p
}

func (s *system) startBroker(args ...string) {
	s.t.Helper()
	s.broker = s.start("broker", roleBroker, []string{journalsVariable + "=" + s.journals()}, "serve", "--config", s.configFile())
	s.eventually("the broker listens", func() bool {
		if !s.broker.Alive() {
			s.t.Fatalf("the broker ended:\n%s", s.broker.Tail(40))
		}
		c, err := net.Dial("tcp", s.frontend)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

func (s *system) journals() string { return filepath.Join(s.dir, "journals") }

// eventually waits for a condition; what never comes true fails the test.
func (s *system) eventually(what string, met func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(startWait); !met(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("it did not happen that %s; the broker's log ends:\n%s", what, s.broker.Tail(30))
		}
	}
}

// worker starts a worker process at an address, the backend's by default.
func (s *system) worker(name string, concurrency int, addr ...string) *Process {
	s.t.Helper()
	return s.workerAs("worker", name, concurrency, append(addr, s.backend)[0])
}

// workerAs is worker with the named key.
func (s *system) workerAs(key, name string, concurrency int, addr string) *Process {
	s.t.Helper()
	file := filepath.Join(s.dir, name+".ini")
	s.must(os.WriteFile(file, []byte("[main]\nid = "+name+"\n"), 0o600))
	p := s.start(name, roleWorker, append([]string{journalsVariable + "=" + s.journals()}, s.workerEnv...), "--config_file", file,
		"--server", "tcp://"+addr, "--cert", s.keys.SecretPath(key), "--server-key", s.keys.PublicPath("server"),
		"--concurrency", strconv.Itoa(concurrency))
	s.workers[name] = p
	return p
}

// client starts a client process; what load leaves open has defaults.
func (s *system) client(load Load) *Process {
	s.t.Helper()
	if load.Addr == "" {
		load.Addr = s.frontend
	}
	load.Addr = "tcp://" + load.Addr
	if load.Cert == "" {
		load.Cert = "client"
	}
	load.Cert, load.ServerKey = s.keys.SecretPath(load.Cert), s.keys.PublicPath("server")
	load.Journal = filepath.Join(s.journals(), load.Name+".client")
	if load.Methods == "" {
		load.Methods = "once,again,once,again,once,again,trail,retrail"
	}
	if load.Timeout == 0 {
		load.Timeout = 20 * time.Second
	}
	p := s.start(load.Name, roleClient, nil, load.args()...)
	s.clients[load.Name] = p
	return p
}

// The load of a run: less than the workers can do while one of them is gone,
// and bound by what calls wait for, not by the processor.
const (
	workers     = 3
	concurrency = 8
	callers     = 12
)

// usual starts the workers and the one client that every run has.
func (s *system) usual() { s.through(s.frontend, s.backend) }

// through is usual with the client and the first worker behind other addresses.
func (s *system) through(frontend, backend string) {
	s.t.Helper()
	s.worker("w1", concurrency, backend)
	for i := 2; i <= workers; i++ {
		s.worker("w"+strconv.Itoa(i), concurrency)
	}
	s.client(Load{Name: "c", Addr: frontend, Callers: callers, HoldLeast: 25, HoldMost: 55, Payload: 2000})
	s.flowing(workers)
}

// proxy puts a proxy in front of an endpoint until the test ends.
func (s *system) proxy(target string) *Proxy {
	s.t.Helper()
	p, err := NewProxy(target)
	s.must(err)
	s.t.Cleanup(p.Close)
	return p
}

// all waits until as many workers are registered.
func (s *system) all(workers int) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("%d workers are there", workers), func() bool {
		v, err := s.status()
		return err == nil && v.Workers == workers
	})
}

// flowing waits until the workers are there and calls succeed.
func (s *system) flowing(workers int) {
	s.t.Helper()
	s.eventually("calls succeed", func() bool {
		v, err := s.status()
		return err == nil && v.Workers >= workers && v.Succeeded > 100
	})
}

// maxAdmin is how many calls of the operator the broker may hold: the one that
// asks, and outcomes that are not acknowledged yet.
const maxAdmin = 64

// dialAdmin connects the operator.
func (s *system) dialAdmin() {
	s.t.Helper()
	c, err := clientsdk.Dial(context.Background(), "tcp://"+s.frontend, clientsdk.WithCertificate(s.keys.SecretPath("admin")),
		clientsdk.WithServerKey(s.keys.PublicPath("server")))
	s.must(err)
	s.admin = c
	s.t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		c.Close(ctx)
	})
}

// ask calls a method of the broker itself.
func ask[T any](s *system, method string, args ...any) (T, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return clientsdk.Call[T](ctx, s.admin, method, args...)
}

func (s *system) status() (broker.StatusView, error) {
	return ask[broker.StatusView](s, "broker.status")
}

// watch asks the broker for its counters, until ctx ends.
func (s *system) watch(ctx context.Context) {
	for {
		s.scrape()
		select {
		case <-ctx.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// scrape notes the broker's counters, unless the broker is away.
func (s *system) scrape() (broker.StatusView, error) {
	at := time.Now()
	v, err := s.status()
	if err != nil {
		return v, err
	}
	scrape := Scrape{
		At: at, Instance: s.admin.Broker().Instance, Accepted: v.Accepted, Succeeded: v.Succeeded, Failed: v.Failed,
		Queued: v.Queued, Running: v.Running, Returned: v.Returned, Redispatched: v.Dispatched, Reclaimed: v.Reclaimed, Late: v.Late,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scrapes = append(s.scrapes, scrape)
	return v, nil
}

// calm lets the system work undisturbed.
func (s *system) calm(d time.Duration) { time.Sleep(d) }

// baseline measures the rate before the faults.
func (s *system) baseline(d time.Duration) {
	from := time.Now()
	s.calm(d)
	s.rules.Baseline = Window{"baseline", from, time.Now()}
}

// fault does harm, and lets the system recover for settle before its rate
// counts again. inFlight is how many calls may end with an unknown fate.
func (s *system) fault(name string, inFlight int, settle time.Duration, harm func()) {
	s.t.Helper()
	s.say("%s", name)
	from := time.Now()
	harm()
	s.calm(settle)
	s.rules.Faults = append(s.rules.Faults, Window{name, from, time.Now()})
	s.rules.MaxUnknown += inFlight
}

// recover lets the system work undisturbed after the last fault until it does
// as much as before, and has that time judged: a machine that others use may be
// slow for a while, a dead system stays so. A soak is judged as a whole instead.
func (s *system) recover() {
	s.t.Helper()
	for end := time.Now().Add(startWait); ; {
		from := time.Now()
		s.calm(after)
		s.rules.Judged = Window{"judged", from, time.Now()}
		s.rules.Until = s.rules.Judged.To
		e := s.evidence()
		a := Settle(e, &s.rules)
		if a.FreeRate >= s.rules.FloorShare*a.BaseRate {
			return
		}
		if time.Now().After(end) {
			s.t.Errorf("the system does not recover: %.0f calls a second of %.0f", a.FreeRate, a.BaseRate)
			return
		}
		s.say("%.0f calls a second of %.0f; waiting on", a.FreeRate, a.BaseRate)
	}
}

// evidence reads the journals as they are.
func (s *system) evidence() *Evidence {
	s.t.Helper()
	e := &Evidence{}
	var err error
	e.Clients, err = ReadJournals(filepath.Join(s.journals(), "*.client"))
	s.must(err)
	e.Workers, err = ReadJournals(filepath.Join(s.journals(), "*.journal"))
	s.must(err)
	return e
}

// settle ends the load in order and returns the account, which it prints.
func (s *system) settle() (*Account, *Evidence) {
	s.t.Helper()
	s.rules.Until = time.Now()
	s.say("the load ends")
	for name, p := range s.clients {
		if s.rules.Killed[name] {
			continue
		}
		if err := p.Stop(startWait + hangs); err != nil {
			s.t.Error(err)
		}
	}
	s.stop()
	s.watching.Wait()
	s.eventually("the broker holds nothing", func() bool {
		v, err := s.status()
		if err != nil || v.Queued != 0 || v.Running != 1 || v.Sessions != 1 || v.HeldCalls > maxAdmin {
			return false
		}
		views, err := ask[[]broker.WorkerView](s, "broker.workers")
		for _, w := range views {
			if w.Busy > 0 || w.Stopping > 0 {
				return false // a slot that nobody uses, and that never becomes free
			}
		}
		return err == nil
	})
	_, err := s.scrape()
	s.must(err)
	methods, err := ask[[]broker.MethodView](s, "broker.methods")
	s.must(err)
	last := &s.scrapes[len(s.scrapes)-1]
	for _, m := range methods {
		last.Served += m.Succeeded
	}
	e := s.evidence()
	e.Scrapes = s.scrapes
	a := Settle(e, &s.rules)
	s.t.Logf("the account:\n%v", a)
	for _, v := range a.Violations {
		s.t.Errorf("contradiction %s", v)
	}
	return a, e
}

// end stops what still runs, in order, and looks for what it complained of.
func (s *system) end() {
	if s.stop != nil {
		s.stop()
		s.watching.Wait()
	}
	processes := []*Process{}
	for _, all := range []map[string]*Process{s.clients, s.workers} {
		for _, p := range all {
			processes = append(processes, p)
		}
	}
	for _, p := range append(processes, s.broker) {
		if p != nil && p.Alive() && !s.t.Failed() {
			if err := p.Stop(startWait); err != nil {
				s.t.Error(err)
			}
		}
	}
	logs, _ := filepath.Glob(filepath.Join(s.dir, "logs", "*.log"))
	for _, path := range logs {
		b, _ := os.ReadFile(path)
		text := string(b)
		for _, bad := range []string{"WARNING: DATA RACE", "panic:", "fatal error:", "a defect of the broker"} {
			if i := strings.Index(text, bad); i >= 0 {
				s.t.Errorf("%s says:\n%s", filepath.Base(path), text[i:min(len(text), i+4000)])
			}
		}
	}
	if keep := os.Getenv("CHAOS_KEEP"); keep != "" && s.t.Failed() {
		s.t.Logf("kept: %v", os.CopyFS(filepath.Join(keep, strings.ReplaceAll(s.t.Name(), "/", "_")+"-"+
			strconv.FormatInt(s.began.Unix(), 10)), os.DirFS(s.dir)))
	}
}

// drain asks the broker to send a worker away, and waits for its end.
func (s *system) drain(p *Process) {
	s.t.Helper()
	views, err := ask[[]broker.WorkerView](s, "broker.workers")
	s.must(err)
	for _, v := range views {
		if v.PID == p.PID() {
			_, err := ask[[]string](s, "broker.drain", v.ID)
			s.must(err)
		}
	}
	s.eventually("the drained worker has left", func() bool { return !p.Alive() })
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		s.t.Errorf("%s ended with %v:\n%s", p.Name, p.cmd.ProcessState, p.Tail(20))
	}
}
