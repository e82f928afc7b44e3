//go:build linux

package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/clientsdk"
)

// supervised is a system whose broker starts the workers itself.
func supervised(t *testing.T) *system {
	t.Helper()
	dir := t.TempDir()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(dir, "worker.sh")
	text := fmt.Sprintf("#!/bin/sh\n%s=%s exec %q \"$@\"\n", RoleVariable, RoleWorker, binary)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	worker := filepath.Join(dir, "worker.ini")
	if err := os.WriteFile(worker, []byte(fmt.Sprintf("[main]\nid = w1\n[worker]\nconcurrency = %d\n", Concurrency)), 0o600); err != nil {
		t.Fatal(err)
	}
	return newSystem(t, fmt.Sprintf(`[workers]
num_workers = %d
auto_start = True
worker_config_paths = [%q]
worker_script_path = %s
[supervise]
restart_backoff = 50ms
`, Workers, worker, script))
}

// The caller of a lost call learns which worker it was, what killed it, and
// what it said last.
func TestFault_evidenceOfADeadWorker(t *testing.T) {
	t.Parallel()
	s := supervised(t)
	s.All(Workers)
	c, err := clientsdk.Dial(context.Background(), "tcp://"+s.frontend, clientsdk.WithCertificate(s.keys.SecretPath("client")),
		clientsdk.WithServerKey(s.keys.PublicPath("server")))
	s.must(err)
	defer c.Close(context.Background())
	f := c.Go(context.Background(), "once", "held-1", []byte{}, int(time.Hour/time.Millisecond))
	victim := broker.WorkerView{}
	s.Eventually("a worker runs the call", func() bool {
		views, err := Ask[[]broker.WorkerView](s.Run, "broker.workers")
		for _, v := range views {
			if v.Busy > 0 && v.Local {
				victim = v
			}
		}
		return err == nil && victim.PID != 0
	})
	killed := time.Now()
	s.must(syscall.Kill(victim.PID, syscall.SIGKILL))
	err = f.Result(nil)
	t.Logf("TIMING SIGKILL of a supervised worker to worker_lost with its evidence: %v", time.Since(killed).Round(time.Millisecond))
	t.Log(err)
	var lost *clientsdk.Error
	if !errors.As(err, &lost) || !errors.Is(err, clientsdk.ErrWorkerLost) || !clientsdk.MaybeExecuted(err) {
		t.Fatalf("got %v", err)
	}
	for key, want := range map[string]string{
		"worker": victim.ID, "pid": fmt.Sprint(victim.PID), "exit": "killed", "stderr": "registered with the broker",
	} {
		if got := fmt.Sprint(lost.Details[key]); !strings.Contains(got, want) {
			t.Errorf("details.%s is %q, want %q", key, got, want)
		}
	}
	s.All(Workers) // the supervisor has started another one
}

// A call that kills its worker takes max_attempts of them with it, and then is
// tried no more; every other call succeeds, however often it was beside it.
func TestFault_poison(t *testing.T) {
	t.Parallel()
	s := supervised(t)
	s.AddClient(Load{Name: "c", Callers: 2 * Concurrency, HoldLeast: 25, HoldMost: 55, Methods: "again,again,again,retrail"})
	s.flowing()
	s.Rules.RateOf = "c"
	a, e := s.Under(func() {
		s.Fault("a poisonous call", 1, time.Second, func() {
			p := s.AddClient(Load{Name: "p", Cert: "other", Callers: 1, Methods: "poison", Calls: 1})
			s.Eventually("the poisoner has its outcome", func() bool { return !p.Alive() })
		})
		s.All(Workers)
	}, "quarantined")
	if a.Failed["quarantined"] != 1 {
		t.Errorf("%d calls were quarantined, not the poisonous one alone", a.Failed["quarantined"])
	}
	if !slices.ContainsFunc(e.Clients["p"], func(r Record) bool { return r.Code == "quarantined" }) {
		t.Errorf("the poisonous call was not quarantined: %v", e.Clients["p"])
	}
	taken := 0
	for _, records := range e.Workers {
		for _, r := range records {
			if r.Event == Received && r.ID == "p-1" {
				taken++
			}
		}
	}
	if taken != MaxAttempts {
		t.Errorf("the poisonous call took %d workers with it, not %d", taken, MaxAttempts)
	}
}

// A broker that is killed leaves no worker behind; with the next one they are back.
func TestFault_brokerKilledWithItsWorkers(t *testing.T) {
	t.Parallel()
	s := supervised(t)
	s.AddClient(Load{Name: "c", Callers: Callers, HoldLeast: 25, HoldMost: 55})
	s.flowing()
	views, err := Ask[[]broker.WorkerView](s.Run, "broker.workers")
	s.must(err)
	s.Under(func() {
		s.Fault("SIGKILL of the broker", Callers, ClaimGrace+2*Beat, func() {
			s.broker.Kill()
			s.Eventually("its workers are gone", func() bool {
				return !slices.ContainsFunc(views, func(v broker.WorkerView) bool { return syscall.Kill(v.PID, 0) == nil })
			})
			s.startBroker()
		})
		s.Rules.Restarts++
		s.All(Workers)
	}, "connection_lost")
}
