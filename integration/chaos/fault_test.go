//go:build linux

package chaos

import (
	"strconv"
	"syscall"
	"testing"
	"time"
)

// after is how long the rate is measured, before the faults and after them.
const after = 1500 * time.Millisecond

func TestFault_none(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	s.usual()
	s.baseline(time.Second)
	s.recover()
	s.rules.MayFail = []string{}
	s.settle()
}

func TestFault_workerKilled(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	s.usual()
	s.baseline(after)
	var deaths []time.Time
	for i := range workers {
		name := "w" + strconv.Itoa(i+1)
		s.fault("SIGKILL of "+name, callers, 300*time.Millisecond, func() {
			deaths = append(deaths, time.Now())
			s.workers[name].Signal(syscall.SIGKILL)
		})
		s.worker(name, concurrency)
		s.all(workers)
		s.calm(500 * time.Millisecond)
	}
	s.recover()
	s.rules.MayFail = []string{"worker_lost"}
	a, e := s.settle()
	for _, at := range deaths {
		s.redispatched("SIGKILL", e, at)
	}
	if a.Redispatched == 0 {
		t.Error("no call was re-dispatched: the fault did not hit")
	}
}

// Queues are long, messages hold many calls, callers have no patience, and
// workers die again and again: every outcome must still be exact.
func TestFault_workersDieUnderPressure(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	s.usual()
	s.baseline(after)
	s.rules.RateOf = "c"
	const crowd = 400
	s.fault("a crowd, and 9 workers killed", crowd*3*workers, 0, func() {
		s.client(Load{Name: "v", Cert: "other", Callers: crowd, HoldMost: 20, Payload: 500, Hurry: 30, Methods: "once,again,once,again,trail,retrail"})
		for i := range 3 * workers {
			name := "w" + strconv.Itoa(i%workers+1)
			s.calm(100 * time.Millisecond)
			s.workers[name].Kill()
			s.worker(name, concurrency)
			s.all(workers)
		}
		if err := s.clients["v"].Stop(startWait); err != nil {
			t.Error(err)
		}
	})
	s.recover()
	s.rules.MayFail = []string{"worker_lost", "quarantined", "deadline_in_queue", "deadline_in_handler", "cancelled"}
	s.settle()
}

// A worker that was stopped for less than the bound has lost nothing.
func TestFault_workerStoppedShortly(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	s.usual()
	s.baseline(after)
	s.fault("SIGSTOP of w1 for half the bound", 0, beat, func() {
		s.workers["w1"].Signal(syscall.SIGSTOP)
		s.calm(silence / 2)
		s.workers["w1"].Signal(syscall.SIGCONT)
	})
	s.recover()
	s.rules.MayFail = []string{}
	if a, _ := s.settle(); a.Redispatched > 0 {
		t.Errorf("%d calls were taken from a worker that lives", a.Redispatched)
	}
}

// One that was stopped for longer is dead; what it answers later is fenced.
func TestFault_workerStoppedLong(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	s.usual()
	s.baseline(after)
	var stopped time.Time
	s.fault("SIGSTOP of w1 for twice the bound", callers, beat, func() {
		stopped = time.Now()
		s.workers["w1"].Signal(syscall.SIGSTOP)
		s.calm(2 * silence)
		s.workers["w1"].Signal(syscall.SIGCONT)
	})
	s.all(workers)
	s.recover()
	s.rules.MayFail = []string{"worker_lost"}
	a, e := s.settle()
	s.redispatched("SIGSTOP", e, stopped)
	if a.Redispatched == 0 {
		t.Error("no call was re-dispatched: the fault did not hit")
	}
}

func TestFault_workersConnection(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	p := s.proxy(s.backend)
	s.through(s.frontend, p.Addr())
	s.baseline(after)
	s.fault("cut", callers, beat, p.Cut)
	s.all(workers)
	s.fault("freeze for half the bound", 0, beat, func() {
		p.Freeze()
		s.calm(silence / 2)
		p.Thaw()
	})
	s.fault("freeze for twice the bound", callers, 2*beat, func() {
		p.Freeze()
		s.calm(2 * silence)
		p.Thaw()
	})
	s.all(workers)
	s.fault("half-open, the broker sees the end", callers, silence+2*beat, func() { p.HalfOpen(true) })
	s.all(workers)
	s.fault("half-open, the worker sees the end", callers, silence+2*beat, func() { p.HalfOpen(false) })
	s.all(workers)
	s.recover()
	s.rules.MayFail = []string{"worker_lost"}
	s.settle()
}

// A client whose connection breaks comes back and misses nothing.
func TestFault_clientsConnection(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	p := s.proxy(s.frontend)
	s.through(p.Addr(), s.backend)
	s.baseline(after)
	s.fault("cut", 0, beat, p.Cut)
	s.fault("cut twice", 0, beat, func() { p.Cut(); s.calm(20 * time.Millisecond); p.Cut() })
	s.fault("freeze for half the bound", 0, beat, func() {
		p.Freeze()
		s.calm(silence / 2)
		p.Thaw()
	})
	s.fault("freeze for more than the bound, less than client_grace", 0, 2*beat, func() {
		p.Freeze()
		s.calm(silence + clientGrace/2)
		p.Thaw()
	})
	s.fault("half-open, the broker sees the end", 0, silence+2*beat, func() { p.HalfOpen(true) })
	s.fault("half-open, the client sees the end", 0, 2*beat, func() { p.HalfOpen(false) })
	s.recover()
	s.rules.MayFail = []string{}
	s.settle()
}

// A client process that was stopped comes back and misses nothing.
func TestFault_clientStopped(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	s.usual()
	s.baseline(after)
	for _, d := range []time.Duration{silence / 2, silence + clientGrace/2} {
		s.fault("SIGSTOP of the client for "+d.String(), 0, 2*beat, func() {
			s.clients["c"].Signal(syscall.SIGSTOP)
			s.calm(d)
			s.clients["c"].Signal(syscall.SIGCONT)
		})
	}
	s.recover()
	s.rules.MayFail = []string{}
	s.settle()
}

// Nobody gives up a broker that was stopped shortly; one that was stopped for
// long is given up by all, and finds that its workers have fenced its calls.
func TestFault_brokerStopped(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	s.usual()
	s.baseline(after)
	stop := func(d time.Duration) {
		s.broker.Signal(syscall.SIGSTOP)
		s.calm(d)
		s.broker.Signal(syscall.SIGCONT)
	}
	s.fault("SIGSTOP of the broker for half the bound", 0, beat, func() { stop(silence / 2) })
	s.fault("SIGSTOP of the broker for twice the bound", callers, 4*beat, func() { stop(2 * silence) })
	s.all(workers)
	s.recover()
	s.rules.MayFail = []string{"worker_lost"}
	s.settle()
}

// A client that stays away for longer than client_grace learns that nobody
// knows its outcomes; what may run twice runs again.
func TestFault_clientAwayForTooLong(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	p := s.proxy(s.frontend)
	s.through(p.Addr(), s.backend)
	s.baseline(after)
	s.fault("freeze for longer than client_grace", callers, 2*beat, func() {
		p.Freeze()
		s.calm(silence + clientGrace + 2*beat)
		p.Thaw()
	})
	s.recover()
	s.rules.MayFail = []string{"connection_lost"}
	s.rules.Restarts = 1 // the session starts anew: attempts are counted from there
	s.settle()
}

// The broker dies with a long queue, and calls in every state.
func TestFault_brokerKilledUnderPressure(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	s.usual()
	s.baseline(after)
	s.rules.RateOf = "c"
	const crowd = 400
	s.client(Load{Name: "v", Cert: "other", Callers: crowd, HoldMost: 20, Payload: 500, Hurry: 20, Methods: "once,again,once,again,trail,retrail"})
	for range 3 {
		s.calm(300 * time.Millisecond)
		s.fault("SIGKILL of the broker", crowd+callers, time.Second, func() {
			s.broker.Kill()
			s.startBroker()
			s.all(workers)
		})
		s.rules.Restarts++
	}
	if err := s.clients["v"].Stop(startWait); err != nil {
		t.Error(err)
	}
	s.recover()
	s.rules.MayFail = []string{"connection_lost", "deadline_in_queue", "deadline_in_handler", "cancelled"}
	s.settle()
}

func TestFault_brokerKilled(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	s.usual()
	s.baseline(after)
	var starts []time.Time
	for range 2 {
		s.fault("SIGKILL of the broker, started again after 200 ms", callers, 2*time.Second, func() {
			s.broker.Kill()
			s.calm(200 * time.Millisecond)
			starts = append(starts, time.Now())
			s.startBroker()
		})
		s.rules.Restarts++
		s.all(workers)
		s.calm(500 * time.Millisecond)
	}
	s.recover()
	s.rules.MayFail = []string{"connection_lost"}
	a, e := s.settle()
	for _, at := range starts {
		s.fullRate(e, at, a.BaseRate)
	}
}

// A broker that is told to stop lets calls finish, and the next one takes over.
func TestFault_brokerReplaced(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	s.usual()
	s.baseline(after)
	var starts []time.Time
	for range 3 {
		s.fault("SIGTERM of the broker, started again", 0, time.Second, func() {
			if err := s.broker.Stop(startWait); err != nil {
				t.Error(err)
			}
			starts = append(starts, time.Now())
			s.startBroker()
		})
		s.rules.Restarts++
		s.all(workers)
		s.calm(200 * time.Millisecond)
	}
	s.recover()
	s.rules.MayFail = []string{} // what it does not take any more waits in the client
	a, e := s.settle()
	for _, at := range starts {
		s.fullRate(e, at, a.BaseRate)
	}
}

func TestFault_clientKilled(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	s.usual()
	victim := s.client(Load{Name: "v", Cert: "other", Callers: 100, HoldLeast: 5, HoldMost: 10, Timeout: 10 * time.Minute})
	s.eventually("both call", func() bool { v, err := s.status(); return err == nil && v.Sessions == 3 })
	s.rules.RateOf = "c"
	s.baseline(after)
	s.rules.Killed["v"] = true
	s.fault("SIGKILL of a client", 0, clientGrace+beat, victim.Kill)
	s.eventually("the broker has forgotten it", func() bool { v, err := s.status(); return err == nil && v.Sessions == 2 })
	s.recover()
	s.rules.MayFail = []string{}
	if a, _ := s.settle(); a.Abandoned == 0 {
		t.Error("the killed client had no call: the fault did not hit")
	}
}

// Workers leave before their calls have ended: what was begun runs elsewhere
// only if it may run twice.
func TestFault_workersLeaveInTheMiddle(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	s.workerEnv = []string{"SERVICETOOLS_WORKER_DRAIN_TIMEOUT=50ms"}
	s.usual()
	s.client(Load{Name: "l", Cert: "other", Callers: callers, HoldLeast: 200, HoldMost: 400, Methods: "once,again,trail,retrail"})
	s.rules.RateOf = "c"
	s.baseline(after)
	for i := range workers {
		name := "w" + strconv.Itoa(i+1)
		s.fault(name+" leaves", 2*callers, 300*time.Millisecond, func() {
			if err := s.workers[name].Stop(startWait); err != nil {
				t.Error(err)
			}
			s.worker(name, concurrency)
			s.all(workers)
		})
	}
	s.recover()
	s.rules.MayFail = []string{"shutting_down"}
	if a, _ := s.settle(); a.Redispatched == 0 {
		t.Error("no call was re-dispatched: the fault did not hit")
	}
}

// All workers are replaced one by one, by a signal or by the broker's wish; no call fails.
func TestFault_rollingRestart(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	s.usual()
	s.baseline(after)
	for i := range 2 * workers {
		name := "w" + strconv.Itoa(i%workers+1)
		s.fault("replacing "+name, 0, 100*time.Millisecond, func() {
			old := s.workers[name]
			s.worker(name, concurrency) // gets the id's number 2 until the old one has left
			s.all(workers + 1)
			if i < workers {
				if err := old.Stop(startWait); err != nil {
					t.Error(err)
				}
			} else {
				s.drain(old)
			}
			s.all(workers)
		})
	}
	s.recover()
	s.rules.MayFail = []string{}
	s.settle()
}
