package bench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker/command"
	"github.com/servicetools/servicetools/integration/env"
)

// This binary is all the programs of a system, too: the command broker if it is
// called so, and what Role plays.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "broker" {
		os.Exit(command.Main(os.Args, os.Stdout, os.Stderr))
	}
	Role(os.Args)
	os.Exit(m.Run())
}

// newSite returns a site whose binaries are this one.
func newSite(t *testing.T) *Site {
	t.Helper()
	bin := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"broker", "bench"} {
		if err := os.Symlink(self, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := NewSite(bin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(s.Dir); err == nil {
			t.Errorf("%s is still there", s.Dir)
		}
	})
	return s
}

// foreign is what some systems need that may be missing here on purpose, by the
// name that SERVICETOOLS_WITHOUT gives it.
var foreign = map[string]string{
	LibzmqNull: "czmq", LibzmqCurve: "czmq", PyzmqNull: "pyzmq", PyzmqCurve: "pyzmq",
}

// here returns which of the systems can run here. One that cannot fails the
// test, unless it is missing on purpose.
func here(t *testing.T, s *Site, names ...string) []string {
	t.Helper()
	systems, unknown := Choose(Systems(s, ""), names)
	if len(unknown) > 0 {
		t.Fatalf("there are no systems %v", unknown)
	}
	var present []string
	for _, system := range systems {
		if system.Missing == nil {
			present = append(present, system.Name)
			continue
		}
		err := system.Missing(s)
		switch {
		case err == nil:
			present = append(present, system.Name)
		case env.Without(foreign[system.Name]):
			t.Logf("NOT RUN: %s, and SERVICETOOLS_WITHOUT names %s: %v", system.Name, foreign[system.Name], err)
		default:
			t.Errorf("%s: %v; or set SERVICETOOLS_WITHOUT=%s to go without", system.Name, err, foreign[system.Name])
		}
	}
	return present
}

// newRunner returns a runner of short measurements.
func newRunner(t *testing.T, s *Site) *Runner {
	return &Runner{Site: s, All: Systems(s, ""), Log: t.Logf, Timing: Timing{Warm: time.Millisecond, Measure: 20 * time.Millisecond, Repeats: 2}}
}

// Every system does the work, in every round, and what it cost is known.
func TestMeasure_everySystem(t *testing.T) {
	s := newSite(t)
	names := here(t, s, everybody...)
	r := newRunner(t, s)
	work := cells("0B/1,0B/9/c2,100B/100/c3,60kB/3")
	results, err := r.Measure(t.Context(), names, work)
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != len(work) {
		t.Fatalf("%d results of %d cells", len(results), len(work))
	}
	for _, res := range results {
		for name, why := range res.Failed {
			t.Errorf("%v: %s failed: %s", res.Cell, name, why)
		}
		for _, name := range names {
			if n := len(res.Samples[name]); n != r.Timing.Repeats {
				t.Errorf("%v: %d samples of %s", res.Cell, n, name)
			}
			for _, sample := range res.Samples[name] {
				broker := sample.BrokerCPU > 0
				if noBroker := name == GRPC || name == GRPCTLS; sample.Rate <= 0 || sample.P50 <= 0 || sample.P99 < sample.P50 || sample.ClientCPU <= 0 ||
					sample.WorkerCPU <= 0 || broker == noBroker {
					t.Errorf("%v: %s measured %+v", res.Cell, name, sample)
				}
			}
		}
	}
}

// The layouts of many workers, and a queue behind them.
func TestMeasure_manyWorkers(t *testing.T) {
	s := newSite(t)
	names := here(t, s, OursNull, OursCurve, LibzmqCurve, NATS)
	results, err := newRunner(t, s).Measure(t.Context(), names, cells("100B/50/w20/s1,100B/500/w20/s1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, res := range results {
		for _, name := range names {
			if len(res.Samples[name]) == 0 {
				t.Errorf("%v: %s has no samples: %s", res.Cell, name, res.Failed[name])
			}
		}
	}
}

// A crowd is counted connection by connection, and comes back after a restart.
func TestCrowd_opensAndComesBack(t *testing.T) {
	s := newSite(t)
	r := newRunner(t, s)
	for _, name := range here(t, s, OursCurve, LibzmqCurve, NATSTLS) {
		c, err := r.Crowd(t.Context(), name, 50)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.Connections != 50 || c.BrokerCPU <= 0 || c.Seconds <= 0 {
			t.Errorf("%s: %+v", name, c)
		}
	}
	b, err := r.Back(t.Context(), OursCurve, 20)
	if err != nil {
		t.Fatal(err)
	}
	if b.Clients != 20 || b.Seconds <= 0 {
		t.Errorf("%+v", b)
	}
}

// An interruption, at any time, leaves no process behind.
func TestCarry_interrupted(t *testing.T) {
	s := newSite(t)
	r := newRunner(t, s)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var mu sync.Mutex
	var started []*Running
	r.All = slices.Clone(r.All)
	for i, system := range r.All {
		watched := *system
		watched.Start = func(ctx context.Context, s *Site, l Layout) (*Running, error) {
			run, err := system.Start(ctx, s, l)
			mu.Lock()
			defer mu.Unlock()
			if started = append(started, run); len(started) == 2 {
				interrupt()
			}
			return run, err
		}
		r.All[i] = &watched
	}
	d, err := r.Carry(ctx, &Plan{Groups: []Group{{[]string{OursNull, NATS, GRPC}, cells("100B/1,100B/10")}}, Back: 10, Restarted: OursCurve})
	if !errors.Is(err, context.Canceled) || d == nil {
		t.Errorf("interrupted: %v, %v", d, err)
	}
	processes := 0
	for _, run := range started {
		for _, p := range run.all {
			processes++
			if err := syscall.Kill(p.PID(), 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("%s is still there: %v", p.Name, err)
			}
		}
	}
	if processes < 4 {
		t.Errorf("only %d processes were started", processes)
	}
}

// What is missing is said aloud and in the results, and stops nothing else.
func TestCarry_missingSystem(t *testing.T) {
	s := newSite(t)
	r := newRunner(t, s)
	r.All = []*System{
		{Name: "absent", Missing: func(*Site) error { return errors.New("apt-get install absent") }},
		{Name: "broken", Start: func(context.Context, *Site, Layout) (*Running, error) {
			run := &Running{}
			_, err := run.add(s.start("broken-broker", "/bin/sh", "-c", "echo it will not start >&2; exit 1"))
			if err == nil {
				_, err = run.all[0].ready(t.Context())
			}
			return run, err
		}},
	}
	for _, system := range Systems(s, "") {
		if system.Name == GRPC {
			r.All = append(r.All, system)
		}
	}
	d, err := r.Carry(t.Context(), &Plan{Groups: []Group{{[]string{"absent", "broken", GRPC}, cells("100B/2")}}, CrowdSystems: []string{"absent"}, Crowd: 1})
	if err != nil {
		t.Fatal(err)
	}
	if d.NotRun["absent"] != "apt-get install absent" || len(d.Crowds) != 0 {
		t.Errorf("the document says %+v", d)
	}
	res := d.Results[0]
	if res.Failed["broken"] == "" || len(res.Samples[GRPC]) != r.Timing.Repeats {
		t.Errorf("the result is %+v", res)
	}
}
