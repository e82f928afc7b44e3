package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// System is something that answers calls, to be measured.
type System struct {
	Name string // as in the table, without spaces
	// Missing returns why the system cannot run here and the remedy, nil if it can.
	Missing func(*Site) error
	// Start runs the processes of a system. What it started before an error is
	// in the Running that it returns with it.
	Start func(context.Context, *Site, Layout) (*Running, error)
	// Fits reports whether the system can do a cell at all; nil: each.
	Fits func(Cell) bool
}

// Layout is how many workers a system has and how they are spread.
type Layout struct {
	Workers int // worker connections in all
	// Slots is how many calls one worker runs at once, where a system lets a
	// worker say so.
	Slots int
}

// workerProcesses is the number of worker processes of every system.
const workerProcesses = 2

var _ [2]struct{} = [workerProcesses]struct{}{} // as many as the command of protocol.go names

// perProcess returns the workers of each worker process.
func (l Layout) perProcess() int { return max(1, l.Workers/workerProcesses) }

// Running is a system's processes. Broker is nil for one without a broker.
type Running struct {
	Broker, Client *Process
	Workers        []*Process

	// crowd is the argv of a process that opens many client connections and
	// holds them; nil if the system has none.
	crowd []string
	// serve starts the broker again, at the same addresses, after it was ended;
	// nil if the system cannot.
	serve func(context.Context) error

	all []*Process // in the order of their start
}

// add notes a process that was started; it returns its error.
func (r *Running) add(p *Process, err error) (*Process, error) {
	if p != nil {
		r.all = append(r.all, p)
	}
	return p, err
}

// startWorkers starts the worker processes and returns the addresses that they
// say, if their kind has any.
func (r *Running) startWorkers(ctx context.Context, s *Site, name string, argv []string) (addrs []string, err error) {
	for i := range workerProcesses {
		p, err := r.add(s.start(fmt.Sprintf("%s-worker%d", name, i), argv...))
		if err != nil {
			return nil, err
		}
		addr, err := p.ready(ctx)
		if err != nil {
			return nil, err
		}
		r.Workers, addrs = append(r.Workers, p), append(addrs, addr)
	}
	return addrs, nil
}

// startClient starts the client, last of all.
func (r *Running) startClient(ctx context.Context, s *Site, name string, argv []string) (err error) {
	if r.Client, err = r.add(s.start(name+"-client", argv...)); err != nil {
		return err
	}
	_, err = r.Client.ready(ctx)
	return err
}

// Stop ends the processes, the client first.
func (r *Running) Stop() {
	for _, p := range slices.Backward(r.all) {
		p.stop()
	}
}

// Run has the client do a cell for a while and returns what it measured.
func (r *Running) Run(ctx context.Context, c Cell, t Timing) (*Sample, error) {
	var pids [1 + workerProcesses]int
	for i, p := range append([]*Process{r.Broker}, r.Workers...) {
		if p != nil {
			pids[i] = p.PID()
		}
	}
	if err := r.Client.tell("measure %d %d %d %d %d %d %d %d %d", c.Size, c.InFlight, c.Connections, t.Warm.Milliseconds(), t.Measure.Milliseconds(),
		wanted(c), pids[0], pids[1], pids[2]); err != nil {
		return nil, err
	}
	a, err := r.Client.nextWithin(ctx, 3*patience+t.Warm+t.Measure) // to fill a queue, for the window, and to empty it
	if err != nil {
		return nil, err
	}
	if a.Done == nil {
		return nil, r.Client.failed(errors.New("an answer that is none"))
	}
	return newSample(a.Done)
}

func (s *System) fits(c Cell) bool { return s.Fits == nil || s.Fits(c) }
