package bench

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// CrowdResult is what many idle connections cost a broker.
type CrowdResult struct {
	System      string  `json:"system"`
	Connections int     `json:"connections"`
	Seconds     float64 `json:"seconds"` // to open them, client and broker sharing the machine
	// BrokerCPU is the processor time of the broker for one connection, in
	// microseconds: what bounds its handshakes.
	BrokerCPU float64 `json:"broker_cpu_us"`
	// Bytes is by how much the broker's resident memory grew for each.
	Bytes float64 `json:"bytes"`
}

// BackResult is how long clients were away after a restart of their broker.
type BackResult struct {
	System  string  `json:"system"`
	Clients int     `json:"clients"`
	Seconds float64 `json:"seconds"` // from the broker's start to the last client's answer
}

// What a crowd is measured with.
const (
	firstGuests = 200              // open before the memory is read for the first time
	settleTime  = 12 * time.Second // before it is read for the second time: two beats of ours, and more
	outage      = 3 * time.Second  // of a broker, long enough for clients to have slowed down
	spareFiles  = 500              // what a process has open beside the connections

	crowdPatience = 5 * time.Minute // for 10,000 handshakes on a busy machine
)

// Crowd opens many connections to a system's broker and holds them.
func (r *Runner) Crowd(ctx context.Context, name string, connections int) (*CrowdResult, error) {
	if err := raiseFiles(connections + firstGuests + spareFiles); err != nil {
		return nil, err
	}
	run, crowd, err := r.host(ctx, name)
	defer run.Stop()
	if err != nil {
		return nil, err
	}
	if _, err := crowd.open(ctx, firstGuests); err != nil {
		return nil, err
	}
	pid := run.Broker.PID()
	memory, err := resident(pid)
	if err != nil {
		return nil, err
	}
	cpu, err := cpuTime(pid)
	if err != nil {
		return nil, err
	}
	report, err := crowd.open(ctx, connections)
	if err != nil {
		return nil, err
	}
	used, err := cpuTime(pid)
	if err != nil {
		return nil, err
	}
	if err := sleep(ctx, settleTime); err != nil {
		return nil, err
	}
	after, err := resident(pid)
	if err != nil {
		return nil, err
	}
	n := float64(connections)
	return &CrowdResult{
		System: name, Connections: connections, Seconds: report.Seconds,
		BrokerCPU: (used - cpu).Seconds() / n * 1e6, Bytes: float64(after-memory) / n,
	}, nil
}

// Back restarts a system's broker and waits until all clients of a crowd have
// had a call answered.
func (r *Runner) Back(ctx context.Context, name string, clients int) (*BackResult, error) {
	run, crowd, err := r.host(ctx, name)
	defer run.Stop()
	if err != nil {
		return nil, err
	}
	if _, err := crowd.open(ctx, clients); err != nil {
		return nil, err
	}
	run.Broker.stop()
	if err := crowd.tell("call"); err != nil {
		return nil, err
	}
	if err := sleep(ctx, outage); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := run.serve(ctx); err != nil {
		return nil, err
	}
	if _, err := crowd.done(ctx); err != nil {
		return nil, err
	}
	return &BackResult{System: name, Clients: clients, Seconds: time.Since(began).Seconds()}, nil
}

// host starts a system alone, and a crowd process for it. The Running is for the
// caller to stop, also after an error.
func (r *Runner) host(ctx context.Context, name string) (*Running, *Process, error) {
	systems := r.present([]string{name})
	if len(systems) == 0 {
		return &Running{}, nil, fmt.Errorf("%s: %s", name, r.NotRun[name])
	}
	run, err := systems[0].Start(ctx, r.Site, Layout{Workers: usualWorkers, Slots: usualSlots})
	if err != nil {
		return run, nil, err
	}
	if run.crowd == nil {
		return run, nil, fmt.Errorf("%s has no crowd", name)
	}
	crowd, err := run.add(r.Site.start(name+"-crowd", run.crowd...))
	if err != nil {
		return run, nil, err
	}
	_, err = crowd.ready(ctx)
	return run, crowd, err
}

// open has a crowd open connections.
func (p *Process) open(ctx context.Context, n int) (*Report, error) {
	if err := p.tell("open %d", n); err != nil {
		return nil, err
	}
	return p.done(ctx)
}

// done waits for the report of a crowd.
func (p *Process) done(ctx context.Context) (*Report, error) {
	a, err := p.nextWithin(ctx, crowdPatience)
	if err == nil && a.Done == nil {
		err = p.failed(fmt.Errorf("it said %+v, not what it did", a))
	}
	return a.Done, err
}

// sleep waits, unless ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// raiseFiles lets this process and those that it starts have n files open.
func raiseFiles(n int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	need := uint64(n)
	// Set it even if it suffices: Go gives its children the limit that it was
	// started with, unless the program has set one.
	wanted := syscall.Rlimit{Cur: max(limit.Cur, need), Max: max(limit.Max, need)}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &wanted); err != nil {
		return fmt.Errorf("%d connections need %d open files, and the limit is %d (ulimit -n): %w", n-spareFiles, n, limit.Max, err)
	}
	return nil
}
