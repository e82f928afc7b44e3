//go:build linux

package chaos

import (
	"syscall"
	"testing"
	"time"
)

// after is how long a run goes on behind its last fault.
const after = 1500 * time.Millisecond

func TestFault_none(t *testing.T) {
	s := newSystem(t, "")
	s.usual()
	s.baseline(time.Second)
	s.calm(after)
	s.rules.MayFail = []string{}
	s.settle()
}

func TestFault_workerKilled(t *testing.T) {
	s := newSystem(t, "")
	s.usual()
	s.baseline(2 * time.Second)
	var killed []time.Time
	for _, name := range []string{"w1", "w2", "w3"} {
		s.fault("SIGKILL of "+name, callers, 300*time.Millisecond, func() {
			killed = append(killed, time.Now())
			s.workers[name].Signal(syscall.SIGKILL)
		})
		s.worker(name, concurrency)
		s.eventually("it is back", func() bool { v, err := s.status(); return err == nil && v.Workers == workers })
		s.calm(500 * time.Millisecond)
	}
	s.calm(after)
	s.rules.MayFail = []string{"worker_lost"}
	a, e := s.settle()
	for _, at := range killed {
		s.redispatched(e, at)
	}
	if a.Redispatched == 0 {
		t.Error("no call was re-dispatched: the fault did not hit")
	}
}
