package workersdk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/numbers"
	"github.com/servicetools/servicetools/wire/version"
	"github.com/servicetools/servicetools/workersdk/method"
)

// Worker serves the methods of one value through a broker.
//
// Its life: New, then Run, once, until the context ends or the broker drains
// the worker. Meanwhile it holds at most one link; calls outlive links.
type Worker struct {
	// Static after New.
	cfg          Config
	table        *method.Table
	interceptors []Interceptor
	pool         *pool
	log          *slog.Logger
	drainAsked   chan struct{} // closed when the broker sends DRAIN
	began        time.Time     // see now
	changed      chan struct{} // of 1: a call or an outcome is gone; for leave

	mu      sync.Mutex
	ran     bool
	id      string                   // in force at the broker
	broker  message.SessionID        // the last one that registered us; zero = none yet
	conn    *connection              // registered and alive, else nil
	joining bool                     // REGISTER is sent and not yet answered
	calls   numbers.Table[call]      // by token: those of the present or the last link
	claimed map[message.Origin]*call // those taken over from an earlier broker
	ended   int                      // of claimed, those that only wait to be asked for their items
	parked  []*call                  // not started when the link was lost; also in calls or claimed
	strays  int                      // fenced calls whose method still runs

	resultLimit int // bytes of one result, since the last registration
	kept        kept
	spare       spare // left by calls that are over; connection.spare is filled from it
	draining    bool  // takes no new calls, for good
	leaving     bool  // has said good-bye

	failure string // the last one logged; owned by Run
}

// New makes a worker of obj's exported methods. Its error teaches: it lists
// every method that cannot be called from afar, and why (*method.RegistrationError).
func New(obj any, cfg Config, opts ...Option) (*Worker, error) {
	o := newOptions(opts)
	table, err := o.table(obj)
	if err != nil {
		return nil, err
	}
	if err := cfg.verify(o.concurrency); err != nil {
		return nil, err
	}
	w := &Worker{
		began: time.Now(), cfg: cfg, table: table, interceptors: o.interceptors, log: cfg.Log, id: cfg.ID,
		drainAsked: make(chan struct{}), changed: make(chan struct{}, 1),
		claimed: map[message.Origin]*call{},
	}
	w.kept.spare = &w.spare
	w.pool = newPool(cfg.Concurrency, w.execute, w.flush)
	if e := w.registration().Validate(); e != nil {
		return nil, fmt.Errorf("workersdk: %w", e)
	}
	return w, nil
}

// now is time.Now with the wall clock of the worker's beginning: it reads one clock
// instead of two, which each call does.
func (w *Worker) now() time.Time { return w.began.Add(time.Since(w.began)) }

// trim gives back what a burst of calls has left.
func (w *Worker) trim() {
	w.pool.trim()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spare.trim()
}

// ID returns the worker's id as the broker knows it; until it is registered,
// the configured one.
func (w *Worker) ID() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.id
}

// Methods describes the methods that the worker serves, sorted by name.
func (w *Worker) Methods() []message.Method { return w.table.Methods() }

// ErrRan is returned by a second Run.
var ErrRan = errors.New("workersdk: a Worker runs only once")

// Run serves until ctx ends or the broker drains the worker, and reconnects
// for as long as it takes. Then it takes no new calls, hands back those that
// it has not begun, lets the others finish within the drain timeout, and
// leaves. It returns nil, or an error that says how many methods ignored the
// end of their context and still run.
func (w *Worker) Run(ctx context.Context) error {
	w.mu.Lock()
	ran := w.ran
	w.ran = true
	w.mu.Unlock()
	if ran {
		return ErrRan
	}
	links, stop := context.WithCancel(context.Background())
	var leaving sync.WaitGroup
	leaving.Go(func() {
		select {
		case <-ctx.Done():
		case <-w.drainAsked:
		}
		w.leave(stop)
	})
	w.stayConnected(links)
	leaving.Wait()
	w.pool.close()
	w.mu.Lock()
	stuck := w.strays + w.calls.Len() + len(w.claimed)
	w.mu.Unlock()
	if stuck > 0 {
		return fmt.Errorf("workersdk: %d calls did not end when they were told to", stuck)
	}
	w.pool.ended.Wait()
	return nil
}

// registration is what the worker says of itself.
func (w *Worker) registration() *message.Register {
	host, _ := os.Hostname() // for people: none is no harm
	return &message.Register{
		Worker: w.cfg.ID, Name: w.cfg.Name, Host: host, PID: os.Getpid(), Version: version.String(),
		Concurrency: w.cfg.Concurrency, Methods: w.table.Methods(),
	}
}

// pokeLocked tells leave that something has changed.
func (w *Worker) pokeLocked() {
	if !w.draining {
		return
	}
	select {
	case w.changed <- struct{}{}:
	default:
	}
}
