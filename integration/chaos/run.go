package chaos

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/wire/curve"
)

// The times of a system under test: short, so that a fault is over soon.
const (
	Beat        = 500 * time.Millisecond
	Silence     = 3 * Beat // of a dead peer
	ClientGrace = 3 * time.Second
	ClaimGrace  = 2 * time.Second
	MaxAttempts = 3
	Patience    = 30 * time.Second // for anything that must come
)

// Settings are the section [dispatch] of a broker under test.
var Settings = map[string]string{
	"beat":            Beat.String(),
	"client_grace":    ClientGrace.String(),
	"claim_grace":     ClaimGrace.String(),
	"no_worker_grace": Patience.String(), // workers of a busy machine take long to start
	"drain_timeout":   "5s",
	"max_attempts":    strconv.Itoa(MaxAttempts),
}

// The load of a run: less than the workers can do while one of them is gone,
// and bound by what calls wait for, not by the processor.
const (
	Workers     = 3
	Concurrency = 8
	Callers     = 12
)

// After is how long the rate is measured, before the faults and after them.
const After = 1500 * time.Millisecond

// Run is a cluster while harm is done to it, and what is known of it.
type Run struct {
	testing.TB
	Cluster
	Rules   Rules
	Account *Account // nil until the run is settled

	broker  Peer
	workers map[string]Peer // by the id that they asked for; the last one to do so
	clients map[string]Peer
	peers   []Peer // all that were started
	began   time.Time

	watching sync.WaitGroup
	stop     context.CancelFunc // of the watch
	mu       sync.Mutex
	scrapes  []Scrape // guarded by mu
}

// NewRun adds the keys of everybody to a cluster, and starts the broker. The
// run ends with its test, and looks then for what its peers complained of.
func NewRun(t testing.TB, c Cluster) *Run {
	t.Helper()
	r := &Run{
		TB: t, Cluster: c, workers: map[string]Peer{}, clients: map[string]Peer{}, began: time.Now(),
		Rules: Rules{
			MaxAttempts: MaxAttempts, Idempotent: map[string]bool{"again": true, "retrail": true, "poison": true},
			Killed: map[string]bool{}, FloorShare: 0.7,
		},
	}
	for name, role := range map[string]curve.Role{
		"server": curve.RoleServer, "worker": curve.RoleWorker, "admin": curve.RoleAdmin,
		"client": curve.RoleClient, "other": curve.RoleClient,
	} {
		c.AddKey(name, role)
	}
	t.Cleanup(r.end)
	r.startBroker()
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	r.watching.Go(func() { r.watch(ctx) })
	return r
}

func (r *Run) must(err error) { r.Helper(); must(r, err) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Say prints one line of the run's schedule.
func (r *Run) Say(format string, args ...any) {
	r.Helper()
	r.Logf("%7.3fs %s", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

func (r *Run) startBroker() {
	r.Helper()
	r.broker = r.StartBroker()
	r.peers = append(r.peers, r.broker)
}

// AddWorker starts a worker of that id.
func (r *Run) AddWorker(id string) Peer { return r.workerAs("worker", id) }

// workerAs is AddWorker with the named key.
func (r *Run) workerAs(key, id string) Peer {
	r.Helper()
	p := r.StartWorker(key, id)
	r.workers[id], r.peers = p, append(r.peers, p)
	return p
}

// AddClient starts a client; what load leaves open has defaults.
func (r *Run) AddClient(load Load) Peer {
	r.Helper()
	p := r.StartClient(load.withDefaults())
	r.clients[load.Name], r.peers = p, append(r.peers, p)
	return p
}

// Usual starts the workers and the one client that every run has.
func (r *Run) Usual() {
	r.Helper()
	for i := range Workers {
		r.AddWorker("w" + strconv.Itoa(i+1))
	}
	r.AddClient(Load{Name: "c", Callers: Callers, HoldLeast: 25, HoldMost: 55, Payload: 2000})
	r.flowing()
}

// Worker returns a worker by the id that it asked for.
func (r *Run) Worker(id string) Peer { return r.workers[id] }

// Client returns a client by its load's name.
func (r *Run) Client(name string) Peer { return r.clients[name] }

// Broker returns the broker that was started last.
func (r *Run) Broker() Peer { return r.broker }

// Eventually waits for a condition; what never comes true fails the test.
func (r *Run) Eventually(what string, met func() bool) {
	r.Helper()
	Await(r, what, met, func() string { return "the broker's log ends:\n" + tail(r.broker, 30) })
}

// Await waits until the broker's own account is as wanted.
func (r *Run) Await(what string, wanted func(broker.StatusView) bool) {
	r.Helper()
	r.Eventually(what, func() bool {
		v, err := r.status()
		return err == nil && wanted(v)
	})
}

// All waits until so many workers are registered.
func (r *Run) All(workers int) {
	r.Helper()
	r.Await(fmt.Sprintf("%d workers are there", workers), func(v broker.StatusView) bool { return v.Workers == workers })
}

// sessions waits until so many clients are known, the operator among them.
func (r *Run) sessions(n int) {
	r.Helper()
	r.Await(fmt.Sprintf("%d sessions are there", n), func(v broker.StatusView) bool { return v.Sessions == n })
}

// flowing waits until the usual workers are there and calls succeed.
func (r *Run) flowing() {
	r.Helper()
	r.Await("calls succeed", func(v broker.StatusView) bool { return v.Workers >= Workers && v.Succeeded > 100 })
}

func (r *Run) status() (broker.StatusView, error) { return Ask[broker.StatusView](r, "broker.status") }

// watch asks the broker for its counters, until ctx ends. Where asking is dear,
// it asks less often.
func (r *Run) watch(ctx context.Context) {
	for {
		asked := time.Now()
		_ = r.scrape() // a broker may be away
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(100*time.Millisecond, 10*time.Since(asked))):
		}
	}
}

// scrape notes the broker's counters.
func (r *Run) scrape() error {
	at := time.Now()
	v, err := r.status()
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.scrapes = append(r.scrapes, Scrape{
		At: at, Instance: v.Instance, Accepted: v.Accepted, Succeeded: v.Succeeded, Failed: v.Failed,
		Queued: v.Queued, Running: v.Running, Returned: v.Returned, Redispatched: v.Dispatched, Reclaimed: v.Reclaimed, Late: v.Late,
	})
	return nil
}

// Calm lets the system work undisturbed.
func (r *Run) Calm(d time.Duration) { time.Sleep(d) }

// baseline measures the rate before the faults.
func (r *Run) baseline(d time.Duration) {
	from := time.Now()
	r.Calm(d)
	r.Rules.Baseline = Window{"baseline", from, time.Now()}
}

// Fault does harm, and lets the system recover for settle before its rate
// counts again. inFlight is how many calls may end with an unknown fate.
func (r *Run) Fault(name string, inFlight int, settle time.Duration, harm func()) {
	r.Helper()
	r.Say("%s", name)
	from := time.Now()
	harm()
	r.Calm(settle)
	r.Rules.Faults = append(r.Rules.Faults, Window{name, from, time.Now()})
	r.Rules.MaxUnknown += inFlight
}

// recover lets the system work undisturbed after the last fault until it does
// as much as before, and has that time judged: a machine that others use may be
// slow for a while, a dead system stays so. A soak is judged as a whole instead.
func (r *Run) recover() {
	r.Helper()
	for end := time.Now().Add(2 * Patience); ; {
		from := time.Now()
		r.Calm(After)
		r.Rules.Judged = Window{"judged", from, time.Now()}
		r.Rules.Until = r.Rules.Judged.To
		a := Settle(r.Evidence(), &r.Rules)
		if a.FreeRate >= r.Rules.FloorShare*a.BaseRate {
			return
		}
		if time.Now().After(end) {
			r.Errorf("the system does not recover: %.0f calls a second of %.0f", a.FreeRate, a.BaseRate)
			return
		}
		r.Say("%.0f calls a second of %.0f; waiting on", a.FreeRate, a.BaseRate)
	}
}

// Under measures the rate, does harm, waits until the system is as before, and
// settles the account. mayFail lists the codes that calls may end in.
func (r *Run) Under(harm func(), mayFail ...string) (*Account, *Evidence) {
	r.Helper()
	r.baseline(After)
	harm()
	r.recover()
	r.Rules.MayFail = append([]string{}, mayFail...) // nil would mean any
	return r.settle()
}

// Evidence reads the journals as they are.
func (r *Run) Evidence() *Evidence {
	r.Helper()
	e := &Evidence{}
	var err error
	journals := r.Journals()
	e.Clients, err = ReadJournals(filepath.Join(journals, "*"+clientJournal))
	r.must(err)
	e.Workers, err = ReadJournals(filepath.Join(journals, "*"+workerJournal))
	r.must(err)
	return e
}

// maxAdmin is how many calls of the operator the broker may hold: the one that
// asks, and outcomes that are not acknowledged yet.
const maxAdmin = 64

// settle ends the load in order and returns the account, which it prints.
func (r *Run) settle() (*Account, *Evidence) {
	r.Helper()
	r.Rules.Until = time.Now()
	r.Say("the load ends")
	for name, p := range r.clients {
		if r.Rules.Killed[name] {
			continue
		}
		if err := p.Stop(); err != nil {
			r.Error(err)
		}
	}
	r.stop()
	r.watching.Wait()
	r.Eventually("the broker holds nothing", func() bool {
		v, err := r.status()
		if err != nil || v.Queued != 0 || v.Running != 0 || v.Sessions != 1 || v.HeldCalls > maxAdmin {
			return false
		}
		views, err := Ask[[]broker.WorkerView](r, "broker.workers")
		for _, w := range views {
			if w.Busy > 0 || w.Stopping > 0 {
				return false // a slot that nobody uses, and that never becomes free
			}
		}
		return err == nil
	})
	r.must(r.scrape())
	methods, err := Ask[[]broker.MethodView](r, "broker.methods")
	r.must(err)
	last := &r.scrapes[len(r.scrapes)-1]
	for _, m := range methods {
		last.Served += m.Succeeded
	}
	e := r.Evidence()
	e.Scrapes = r.scrapes
	r.Account = Settle(e, &r.Rules)
	r.Logf("the account:\n%v", r.Account)
	for _, v := range r.Account.Violations {
		r.Errorf("contradiction %s", v)
	}
	return r.Account, e
}

// end stops what still runs, in order, and looks for what it complained of.
func (r *Run) end() {
	if r.stop != nil {
		r.stop()
		r.watching.Wait()
	}
	for _, all := range []map[string]Peer{r.clients, r.workers, {"broker": r.broker}} {
		for _, p := range all {
			if p != nil && p.Alive() && !r.Failed() {
				if err := p.Stop(); err != nil {
					r.Error(err)
				}
			}
		}
	}
	for _, p := range r.peers {
		log := p.Log()
		for _, bad := range []string{"WARNING: DATA RACE", "panic:", "fatal error:", "a defect of the broker"} {
			if i := strings.Index(log, bad); i >= 0 {
				r.Errorf("a log says:\n%s", log[i:min(len(log), i+4000)])
			}
		}
	}
}
