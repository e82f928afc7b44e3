package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/ory/dockertest/v3/docker"

	"github.com/servicetools/servicetools/broker"
)

// hosts stand for machines: each is a network of its own, on which its workers
// reach the broker and nobody else.
var hosts = []string{"a", "b", "c"}

const (
	perHost     = 2 // workers at the start
	concurrency = 4 // of a worker
	callers     = 8 // of a load
	config      = "/etc/servicetools/server.ini"
	beat        = "1s" // a silent peer is dead after three
	enough      = 150  // calls that show that all is well again
)

// site is a broker, workers on three hosts, and what they need.
type site struct {
	*engine
	keys     string // volume
	frontend string // network
	backend  []string
	broker   *container
	workers  []*container
	made     int // containers, for their names
	table    []row
}

// row is the account of a case.
type row struct {
	name string
	Account
	redispatched uint64
	took         time.Duration
}

// newSite builds the images and starts everything.
func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{engine: theEngine}
	s.t = t
	t.Cleanup(func() {
		if t.Failed() {
			s.printLogs(os.Stderr)
		}
		s.sweepSites(s.own)
	})
	s.buildProduct(t)
	s.buildProbe(t)
	s.keys = s.prefix + "keys"
	if _, err := s.CreateVolume(docker.CreateVolumeOptions{Name: s.keys}); err != nil {
		t.Fatal(err)
	}
	s.frontend = s.network("front")
	for _, h := range hosts {
		s.backend = append(s.backend, s.network("host-"+h))
	}
	s.certtool("generate", "--users", "all", "--name", "client")
	s.certtool("generate", "--users", "client", "--name", "second")
	s.startBroker()
	for range perHost {
		for _, network := range s.backend {
			s.workers = append(s.workers, s.startWorker(network))
		}
	}
	s.awaitWorkers(len(s.workers))
	return s
}

func (s *site) network(name string) string {
	s.t.Helper()
	n, err := s.CreateNetwork(docker.CreateNetworkOptions{Name: s.prefix + name, Driver: "bridge"})
	if err != nil {
		s.t.Fatal(err)
	}
	return n.Name
}

// next returns a name for a container.
func (s *site) next(kind string) string {
	s.made++
	return fmt.Sprintf("%s-%d", kind, s.made)
}

// certtool runs one of its commands on the keys of the site.
func (s *site) certtool(command string, args ...string) {
	s.t.Helper()
	c := s.start(spec{
		name: s.next("certtool"), image: s.image("certtool"), on: s.frontend, keys: s.keys, mayWrite: true,
		args: append([]string{command, "--path", "/keys"}, args...),
	})
	if code := c.wait(); code != 0 {
		s.t.Fatalf("certtool %s: exit code %d\n%s", command, code, c.logs())
	}
	c.remove()
}

// startBroker starts a broker that everybody reaches as "broker".
func (s *site) startBroker() {
	s.t.Helper()
	s.broker = s.start(spec{
		name: s.next("broker"), image: s.image("broker"), on: s.frontend, also: s.backend, aliases: []string{"broker"},
		keys: s.keys, health: true,
		env: []string{"SERVICETOOLS_DISPATCH_BEAT=" + beat},
	})
}

// startWorker starts a worker on a host.
func (s *site) startWorker(network string, env ...string) *container {
	s.t.Helper()
	return s.start(spec{
		name: s.next("worker"), image: s.image("demoworker"), on: network, keys: s.keys,
		env: append(env, fmt.Sprintf("SERVICETOOLS_WORKER_CONCURRENCY=%d", concurrency)),
	})
}

// ask runs a command of the broker and decodes its answer.
func ask[T any](s *site, command string) (answer T, err error) {
	out, err := s.broker.execute("/broker", command, "--config", config, "-o", "json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &answer)
	}
	return answer, err
}

// status is the broker's own account.
func (s *site) status() broker.StatusView {
	s.t.Helper()
	var status broker.StatusView
	await(s.t, "the broker tells its status", func() (bool, string) {
		var err error
		status, err = ask[broker.StatusView](s, "status")
		return err == nil, fmt.Sprint(err)
	})
	return status
}

// awaitStatus waits until the broker's own account is as wanted.
func (s *site) awaitStatus(what string, wanted func(broker.StatusView) bool) {
	s.t.Helper()
	await(s.t, what, func() (bool, string) {
		status := s.status()
		return wanted(status), fmt.Sprintf("%+v", status)
	})
}

func (s *site) awaitWorkers(n int) {
	s.t.Helper()
	s.awaitStatus(fmt.Sprintf("%d workers are connected", n), func(v broker.StatusView) bool { return v.Workers == n })
}

// awaitCalls waits until enough calls more have succeeded.
func (s *site) awaitCalls() {
	s.t.Helper()
	before := s.status().Succeeded
	s.awaitStatus("calls succeed", func(v broker.StatusView) bool { return v.Succeeded >= before+enough })
}

// awaitWorker waits until the broker's list has a worker as wanted.
func (s *site) awaitWorker(id, what string, wanted func(broker.WorkerView) bool) {
	s.t.Helper()
	await(s.t, "worker "+id+" "+what, func() (bool, string) {
		all, err := ask[[]broker.WorkerView](s, "workers")
		i := slices.IndexFunc(all, func(w broker.WorkerView) bool { return w.ID == id })
		return i >= 0 && wanted(all[i]), fmt.Sprintf("%+v, %v", all, err)
	})
}

// startLoad starts a client that calls without a pause.
func (s *site) startLoad(name string, args ...string) *container {
	s.t.Helper()
	c := s.start(spec{
		name: s.next(name), image: s.probe, on: s.frontend, keys: s.keys,
		args: append([]string{"load", "-callers", fmt.Sprint(callers), "-cert", "/keys/private_keys/" + name + ".key_secret"}, args...),
	})
	c.awaitLog("ready")
	return c
}

// story is one case: what is done to the site while two clients call.
type story struct {
	name   string
	before func(s *site) *container                // what the load needs, until it has ended
	do     func(s *site, c *container) (limit int) // c is one of the clients; at most limit calls may fail
	once   []string                                // with these codes
	args   []string                                // of the clients
}

// run runs the case under load and settles its account.
func (s *site) run(c story) {
	s.t.Helper()
	began, before, broker := time.Now(), s.status(), s.broker
	if c.before != nil {
		defer c.before(s).remove()
	}
	first, second := s.startLoad("client", c.args...), s.startLoad("second", c.args...)
	s.awaitCalls()
	limit := c.do(s, first)
	s.awaitCalls()
	r := row{name: c.name}
	loads := []*container{first, second}
	s.stop(loads)
	for _, load := range loads {
		var a Account
		load.report(&a)
		r.Add(a)
	}
	after := s.status()
	if r.redispatched = after.Dispatched; s.broker == broker {
		r.redispatched -= before.Dispatched
	}
	r.took = time.Since(began)
	s.table = append(s.table, r)
	for _, fault := range r.Check(limit, c.once...) {
		s.t.Errorf("%s\n%s", fault, strings.Join(r.Errors, "\n"))
	}
	if !after.LawHolds {
		s.t.Errorf("the broker's law is broken: %+v", after)
	}
	s.t.Logf("%d calls, %d succeeded, %s, %d dispatched again", r.Submitted, r.Succeeded, r.Failures(), r.redispatched)
}

// printTable writes the accounts for people.
func (s *site) printTable() {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "case\tcalls\tsucceeded\tfailed\tre-dispatched\tlost\tseconds")
	for _, r := range s.table {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%d\t%d\t%.1f\n", r.name, r.Submitted, r.Succeeded, r.Failures(), r.redispatched, r.Lost, r.took.Seconds())
	}
	w.Flush()
}

func TestCluster(t *testing.T) {
	if theEngine == nil {
		t.Skip("NOT RUN: SERVICETOOLS_WITHOUT names docker")
	}
	s := newSite(t)
	defer s.printTable()
	for _, c := range slices.Concat(losses, networks, changes, links, keys) {
		ok := t.Run(strings.ReplaceAll(c.name, " ", "_"), func(sub *testing.T) {
			s.t = sub
			s.run(c)
		})
		s.t = t
		if !ok {
			break // what comes next would stand on what is broken
		}
	}
}
