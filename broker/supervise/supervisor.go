// Package supervise runs the worker processes of this host: it starts them as
// direct children, restarts them with growing delays, replaces those that grew
// too large or too old, and ends them with everything they started. No child
// outlives Run, nor a broker that is killed.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/servicetools/servicetools/broker/config"
	"github.com/servicetools/servicetools/workersdk/config/logging"
)

// Config says how a Supervisor runs its workers.
type Config struct {
	// Script is what a worker runs; see Spec.
	Script string

	// Policy is the life of a process. Zero fields have the defaults that
	// config.Supervise documents.
	Policy config.Supervise

	// LogDir is the folder of the workers' output, one file each, rotated as
	// LogFiles says. Without it, output goes to Output, each line behind the
	// name of its worker.
	LogDir   string
	LogFiles config.LogFiles

	// Output is used without LogDir. Default: os.Stderr.
	Output io.Writer

	// Log gets one record for each change of a worker's state. Default:
	// slog.Default.
	Log *slog.Logger

	// Drain is called before a worker is stopped or replaced while the
	// supervisor goes on. It returns when the worker has no calls any more, or
	// when it has waited long enough; ctx ends when waiting is of no use.
	// Default: workers are not drained.
	Drain func(ctx context.Context, id string)

	// Clone makes the spec of another worker like spec, unlike all of used.
	// Default: there are no copies, Add and Scale fail where they need one.
	Clone func(spec Spec, used []Spec) (Spec, error)
}

// Supervisor runs worker processes. Its methods are safe for concurrent use.
type Supervisor struct {
	// Static after New.
	config     Config
	checkEvery time.Duration // interval of the checks for max_memory, max_calls and max_age

	starts chan func() // run on the one thread that starts processes; closed by Run
	wg     sync.WaitGroup

	outputMu sync.Mutex // serialises the lines written to Output

	mu      sync.Mutex // guards all below, and the state of every worker
	policy  config.Supervise
	workers []*worker
	files   map[string]io.WriteCloser // output files by path; see logging.OpenFile
	ctx     context.Context           // of Run; nil before
	ended   bool                      // Run has seen the end of ctx
}

// ErrEnded is returned once Run has been told to end.
var ErrEnded = errors.New("supervise: the supervisor has ended")

// ErrUnknown is wrapped when no worker has the given id.
var ErrUnknown = errors.New("no such worker is supervised here")

// New returns a supervisor without workers.
func New(c Config) *Supervisor {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Output == nil {
		c.Output = os.Stderr
	}
	return &Supervisor{
		config:     c,
		checkEvery: time.Second,
		starts:     make(chan func()),
		policy:     filled(c.Policy),
		files:      map[string]io.WriteCloser{},
	}
}

func filled(p config.Supervise) config.Supervise {
	c := config.Config{Supervise: p}
	_ = config.Schema.Fill(&c) // ranges were checked where the policy came from
	return c.Supervise
}

// Run starts the workers that were added and keeps them running until ctx
// ends. Then it stops all, and returns when no child is left. It may be called
// once.
func (s *Supervisor) Run(ctx context.Context) {
	started := make(chan struct{})
	go func() {
		// Linux sends a child its parent-death signal when the *thread* that
		// started it ends, so all are started by one thread that lasts until none
		// is left. It is given back then: one that ended would take along what the
		// program around us has started from it in the same way.
		runtime.LockOSThread()
		defer close(started)
		defer runtime.UnlockOSThread()
		for start := range s.starts {
			start()
		}
	}()

	s.mu.Lock()
	s.ctx = ctx
	for _, w := range s.workers {
		if w.wanted {
			s.beginLocked(w)
		}
	}
	s.mu.Unlock()

	<-ctx.Done()
	s.mu.Lock() // whoever holds it next adds nothing to wg
	s.ended = true
	s.mu.Unlock()
	s.wg.Wait()
	close(s.starts)
	<-started
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files {
		_ = f.Close()
	}
}

// Add supervises count workers: the given one, or a copy of it if its id is
// taken, and copies for the rest. It returns their ids; they start at once, or
// with Run.
func (s *Supervisor) Add(spec Spec, count int) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.endedLocked() {
		return nil, ErrEnded
	}
	var ids []string
	for range count {
		next, err := spec, error(nil)
		if s.findLocked(spec.ID) != nil {
			next, err = s.cloneLocked(spec)
		}
		if err == nil {
			err = s.addLocked(next)
		}
		if err != nil {
			return ids, err
		}
		ids = append(ids, next.ID)
	}
	return ids, nil
}

// Scale makes n workers run: it starts those that were stopped and copies of
// the first, or stops the newest after draining them. Stopped ones stay listed.
func (s *Supervisor) Scale(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n < 0 {
		return fmt.Errorf("supervise: %d workers: name a number from 0", n)
	}
	if s.endedLocked() {
		return ErrEnded
	}
	wanted := 0
	for _, w := range s.workers {
		if w.wanted {
			wanted++
		}
	}
	for i := len(s.workers) - 1; i >= 0 && wanted > n; i-- {
		if w := s.workers[i]; w.wanted {
			w.wanted = false
			w.stop()
			wanted--
		}
	}
	for i := 0; i < len(s.workers) && wanted < n; i++ {
		if w := s.workers[i]; !w.wanted && !w.forget {
			w.wanted = true
			wanted++
			if w.state == Stopped { // else its goroutine begins anew when it ends
				s.beginLocked(w)
			}
		}
	}
	for ; wanted < n; wanted++ {
		if len(s.workers) == 0 {
			return errors.New("supervise: there is no worker to copy: start the first by broker add --worker-config FILE")
		}
		spec, err := s.cloneLocked(s.workers[0].spec)
		if err == nil {
			err = s.addLocked(spec)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Remove stops a worker and forgets it: after draining it, or with now at once,
// by killing its process group. It does not wait for the end.
func (s *Supervisor) Remove(id string, now bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.findLocked(id)
	if w == nil {
		return fmt.Errorf("removing worker %q: %w", id, ErrUnknown)
	}
	w.wanted, w.forget = false, true
	w.stop()
	if now {
		w.kill()
	}
	if w.state == Stopped {
		s.forgetLocked(w)
	}
	return nil
}

// CountCalls tells that a worker was given n more calls, for max_calls. An id
// that is not supervised here is ignored. Call it now and then, not for each
// call: it waits while Add or Scale copy configuration files.
func (s *Supervisor) CountCalls(id string, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.findLocked(id); w != nil {
		w.calls += n
	}
}

// Excuse tells that the present process of a worker was asked to end, by a
// drain, say: its end is no crash, and another is started at once. An id that is
// not supervised here is ignored.
func (s *Supervisor) Excuse(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.findLocked(id); w != nil {
		w.excused = true
	}
}

// SetPolicy changes the policy, from the next decision of each worker on.
func (s *Supervisor) SetPolicy(p config.Supervise) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policy = filled(p)
}

// List returns the state of every worker, in the order of their addition.
func (s *Supervisor) List() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Status, len(s.workers))
	for i, w := range s.workers {
		list[i] = w.statusLocked()
	}
	return list
}

// endedLocked reports that nothing is started any more. It is so from the end of
// ctx on, also before Run has seen it: a worker that cannot start would begin
// anew without a pause until then.
func (s *Supervisor) endedLocked() bool { return s.ended || s.ctx != nil && s.ctx.Err() != nil }

func (s *Supervisor) currentPolicy() config.Supervise {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.policy
}

func (s *Supervisor) findLocked(id string) *worker {
	if i := slices.IndexFunc(s.workers, func(w *worker) bool { return w.spec.ID == id }); i >= 0 {
		return s.workers[i]
	}
	return nil
}

func (s *Supervisor) cloneLocked(spec Spec) (Spec, error) {
	if s.config.Clone == nil {
		return Spec{}, fmt.Errorf("supervise: worker %q is here already, and no copies can be made of it", spec.ID)
	}
	used := make([]Spec, len(s.workers))
	for i, w := range s.workers {
		used[i] = w.spec
	}
	copied, err := s.config.Clone(spec, used)
	if err == nil && s.findLocked(copied.ID) != nil {
		err = fmt.Errorf("supervise: the copy of worker %q has an id that is taken", spec.ID)
	}
	return copied, err
}

func (s *Supervisor) addLocked(spec Spec) error {
	if spec.ID == "" {
		return fmt.Errorf("supervise: the worker of %s has no id", spec.Config)
	}
	w := &worker{s: s, spec: spec, wanted: true, stop: func() {}, kill: func() {}}
	s.workers = append(s.workers, w)
	s.beginLocked(w)
	return nil
}

// beginLocked starts the goroutine of a stopped worker, once Run is called.
func (s *Supervisor) beginLocked(w *worker) {
	if s.ctx == nil || s.endedLocked() {
		return
	}
	var life, force context.Context
	life, w.stop = context.WithCancel(s.ctx)
	force, w.kill = context.WithCancel(context.Background())
	w.enterLocked(Starting)
	s.wg.Go(func() { w.run(life, force) })
}

func (s *Supervisor) forgetLocked(w *worker) {
	s.workers = slices.DeleteFunc(s.workers, func(x *worker) bool { return x == w })
	if f := s.files[s.outputPath(w.spec)]; f != nil {
		_ = f.Close() // it opens itself again when another worker of that id writes
	}
}

func (s *Supervisor) outputPath(spec Spec) string {
	if s.config.LogDir == "" {
		return ""
	}
	return filepath.Join(s.config.LogDir, logging.FileName(spec.Name, spec.ID)+".out")
}
