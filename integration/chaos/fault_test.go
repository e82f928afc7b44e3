//go:build linux

package chaos

import (
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker"
)

// impatient is a crowd of callers some of whom do not wait for their outcome.
func impatient(crowd, hurry int) Load {
	return Load{Name: "v", Cert: "other", Callers: crowd, HoldMost: 20, Payload: 500, Hurry: hurry,
		Methods: "once,again,once,again,trail,retrail"}
}

// Queues are long, messages hold many calls, callers have no patience, and
// workers die again and again: every outcome must still be exact.
func TestFault_workersDieUnderPressure(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	s.Usual()
	s.Rules.RateOf = "c"
	const crowd, rounds = 400, 3
	s.Under(func() {
		s.Fault("a crowd, and 9 workers killed", crowd*rounds*Workers, 0, func() {
			s.AddClient(impatient(crowd, 30))
			for range rounds {
				each(func(id string) {
					s.Calm(100 * time.Millisecond)
					s.workers[id].Kill()
					s.AddWorker(id)
					s.All(Workers)
				})
			}
			s.inOrder(s.clients["v"])
		})
	}, "worker_lost", "quarantined", "deadline_in_queue", "deadline_in_handler", "cancelled")
}

// A worker that was stopped for less than the bound has lost nothing.
func TestFault_workerStoppedShortly(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	s.Usual()
	a, _ := s.Under(func() {
		s.Fault("SIGSTOP of w1 for half the bound", 0, Beat, func() { s.paused(s.workers["w1"], Silence/2) })
	})
	if a.Redispatched > 0 {
		t.Errorf("%d calls were taken from a worker that lives", a.Redispatched)
	}
}

// paused pauses a peer, or freezes a proxy's connections.
func (s *system) paused(p Peer, d time.Duration) {
	p.Pause()
	s.Calm(d)
	p.Resume()
}

func (s *system) frozen(p *Proxy, d time.Duration) {
	p.Freeze()
	s.Calm(d)
	p.Thaw()
}

func TestFault_workersConnection(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	p := s.proxied("w1", s.backend)
	s.Rules.Held = true
	s.Usual()
	harm := func(name string, inFlight int, settle time.Duration, harm func()) {
		s.Fault(name, inFlight, settle, harm)
		s.All(Workers)
	}
	s.Under(func() {
		harm("cut", Callers, Beat, func() { p.Cut() })
		harm("freeze for half the bound", 0, Beat, func() { s.frozen(p, Silence/2) })
		harm("freeze for twice the bound", Callers, 2*Beat, func() { s.frozen(p, 2*Silence) })
		harm("half-open, the broker sees the end", Callers, Silence+2*Beat, func() { p.HalfOpen(true) })
		harm("half-open, the worker sees the end", Callers, Silence+2*Beat, func() { p.HalfOpen(false) })
	}, "worker_lost")
}

// A client whose connection breaks comes back and misses nothing.
func TestFault_clientsConnection(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	p := s.proxied("c", s.frontend)
	s.Usual()
	s.Under(func() {
		s.Fault("cut", 0, Beat, func() { p.Cut() })
		s.Fault("cut twice", 0, Beat, func() { p.Cut(); s.Calm(20 * time.Millisecond); p.Cut() })
		s.Fault("freeze for half the bound", 0, Beat, func() { s.frozen(p, Silence/2) })
		s.Fault("freeze for more than the bound, less than client_grace", 0, 2*Beat, func() { s.frozen(p, Silence+ClientGrace/2) })
		s.Fault("half-open, the broker sees the end", 0, Silence+2*Beat, func() { p.HalfOpen(true) })
		s.Fault("half-open, the client sees the end", 0, 2*Beat, func() { p.HalfOpen(false) })
	})
}

// A client process that was stopped comes back and misses nothing.
func TestFault_clientStopped(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	s.Usual()
	s.Under(func() {
		for _, d := range []time.Duration{Silence / 2, Silence + ClientGrace/2} {
			s.Fault("SIGSTOP of the client for "+d.String(), 0, 2*Beat, func() { s.paused(s.clients["c"], d) })
		}
	})
}

// Nobody gives up a broker that was stopped shortly; one that was stopped for
// long is given up by all, and finds that its workers have fenced its calls.
func TestFault_brokerStopped(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	s.Usual()
	s.Under(func() {
		s.Fault("SIGSTOP of the broker for half the bound", 0, Beat, func() { s.paused(s.broker, Silence/2) })
		s.Fault("SIGSTOP of the broker for twice the bound", Callers, 4*Beat, func() { s.paused(s.broker, 2*Silence) })
		s.All(Workers)
	}, "worker_lost")
}

// A client that stays away for longer than client_grace learns that nobody
// knows its outcomes; what may run twice runs again.
func TestFault_clientAwayForTooLong(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	p := s.proxied("c", s.frontend)
	s.Usual()
	s.Under(func() {
		s.Fault("freeze for longer than client_grace", Callers, 2*Beat, func() { s.frozen(p, Silence+ClientGrace+2*Beat) })
	}, "connection_lost")
}

// The broker dies with a long queue, and calls in every state.
func TestFault_brokerKilledUnderPressure(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	s.Usual()
	s.Rules.RateOf = "c"
	const crowd = 400
	s.Under(func() {
		s.AddClient(impatient(crowd, 20))
		for range 3 {
			s.Calm(300 * time.Millisecond)
			s.Fault("SIGKILL of the broker", crowd+Callers, time.Second, func() {
				s.broker.Kill()
				s.startBroker()
				s.All(Workers)
			})
			s.Rules.Restarts++
		}
		s.inOrder(s.clients["v"])
	}, "connection_lost", "deadline_in_queue", "deadline_in_handler", "cancelled")
}

// The broker has read answers and cannot deliver them, since the client's link is
// frozen, and dies: their workers still hold them, and the next broker gets them.
func TestFault_brokerDiesWithAnswers(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	p := s.proxied("c", s.frontend)
	each(func(id string) { s.AddWorker(id) })
	s.AddClient(Load{Name: "c", Callers: Callers, HoldLeast: 25, HoldMost: 55, Methods: "once,again"}) // a stream would wait for its reader
	s.flowing()
	a, _ := s.Under(func() {
		s.Fault("SIGKILL of a broker that has all answers", Callers, 2*Beat, func() {
			p.Freeze()
			s.Await("all calls are answered", func(v broker.StatusView) bool { return v.Running == 0 && v.Queued == 0 })
			s.broker.Kill()
			p.Cut() // what is on its way is lost
			p.Thaw()
			s.startBroker()
		})
		s.Rules.Restarts++
		s.All(Workers)
	}, "connection_lost") // if this machine was slow: workers hold what was answered for 250 ms
	if a.Reclaimed == 0 {
		t.Error("no answer was offered to the next broker: the fault did not hit")
	}
}

func TestFault_clientKilled(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	s.Usual()
	victim := s.AddClient(Load{Name: "v", Cert: "other", Callers: 100, HoldLeast: 5, HoldMost: 10, Timeout: 10 * time.Minute})
	s.sessions(3)
	s.Rules.RateOf = "c"
	s.Rules.Killed["v"] = true
	a, _ := s.Under(func() {
		s.Fault("SIGKILL of a client", 0, ClientGrace+Beat, victim.Kill)
		s.sessions(2)
	})
	if a.Abandoned == 0 {
		t.Error("the killed client had no call: the fault did not hit")
	}
}

// Workers leave before their calls have ended: what was begun runs elsewhere
// only if it may run twice.
func TestFault_workersLeaveInTheMiddle(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	s.workerEnv = []string{"SERVICETOOLS_WORKER_DRAIN_TIMEOUT=50ms"}
	s.Usual()
	s.AddClient(Load{Name: "l", Cert: "other", Callers: Callers, HoldLeast: 200, HoldMost: 400, Methods: "once,again,trail,retrail"})
	s.Rules.RateOf = "c"
	a, e := s.Under(func() {
		each(func(id string) {
			s.Fault(id+" leaves", 2*Callers, 300*time.Millisecond, func() {
				s.inOrder(s.workers[id])
				s.AddWorker(id)
				s.All(Workers)
			})
		})
	}, "shutting_down")
	s.hit(a, e)
}
