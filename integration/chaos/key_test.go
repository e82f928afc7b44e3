//go:build linux

package chaos

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/servicetools/servicetools/wire/curve"
)

// A client whose key is revoked ends with an outcome for every call, and nobody else is hurt.
func TestFault_clientsKeyRevoked(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	s.usual()
	s.client(Load{Name: "r", Cert: "other", Callers: 4, HoldLeast: 10, HoldMost: 20, Timeout: time.Second})
	s.eventually("both call", func() bool { v, err := s.status(); return err == nil && v.Sessions == 3 })
	s.rules.RateOf = "c"
	s.baseline(after)
	var revoked time.Time
	s.fault("revoking a client's key", 4, 2*time.Second, func() {
		revoked = time.Now()
		s.must(os.Remove(s.keys.PublicPath("other")))
	})
	s.recover()
	s.rules.MayFail = []string{"unauthorized", "connection_lost"}
	_, e := s.settle()
	for _, r := range answers(e, "r") {
		if r.At.Sub(revoked) > time.Second {
			t.Errorf("call %s of the revoked key was served after %v", r.ID, r.At.Sub(revoked))
		}
	}
	if !slices.ContainsFunc(e.Clients["r"], func(r Record) bool { return r.Code == "unauthorized" }) {
		t.Error("the revoked client was never told why")
	}
	for _, r := range e.Clients["c"] {
		if r.Event == Answered && r.Code != ok {
			t.Errorf("call %s of another client ended in %s", r.ID, r.Code)
		}
	}
}

// A worker whose key is revoked is gone within a second.
func TestFault_workersKeyRevoked(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	s.key("rogue", curve.RoleWorker)
	s.usual()
	s.workerAs("rogue", "w4", concurrency, s.backend)
	s.all(workers + 1)
	s.baseline(after)
	s.fault("revoking a worker's key", callers, time.Second, func() {
		s.must(os.Remove(s.keys.PublicPath("rogue")))
		from := time.Now()
		s.all(workers)
		if took := time.Since(from); took > time.Second {
			t.Logf("TIMING the revoked worker was gone after %v", took)
		}
	})
	s.recover()
	s.rules.MayFail = []string{"worker_lost"}
	s.settle()
}
