//go:build linux

package chaos

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/servicetools/servicetools/wire/curve"
)

var (
	soakTime = flag.Duration("soak", 12*time.Second, "how long TestSoak does harm")
	soakSeed = flag.Uint64("seed", 0, "repeat the schedule of an earlier TestSoak; 0 = a new one")
)

// inFlight is how many calls the two lasting clients have.
const inFlight = callers + 60

// soak is one run of all faults mixed.
type soak struct {
	*system
	random  *rand.Rand
	clientP *Proxy // in front of the client's connection
	workerP *Proxy // in front of the first worker's
	disk    string // of the broker's log; "" = cannot be filled
	serial  int    // names guests
}

// TestSoak does every kind of harm, in an order and with times that the seed
// decides, for as long as -soak says.
func TestSoak(t *testing.T) {
	seed := *soakSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("the schedule is that of -seed %d", seed)
	extra := ""
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=2m"); err != nil {
		t.Logf("NOT RUN: filling the log's disk: a file system cannot be mounted here: %v; run this test as root", err)
		disk = ""
	} else {
		t.Cleanup(func() {
			if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		extra = "[logging]\nlog_dir = " + disk + "\n[log_files]\nmax_size = 1 MiB\nbackups = 1\n"
	}
	s := &soak{system: newSystem(t, extra), random: rand.New(rand.NewPCG(seed, seed)), disk: disk}
	s.key("guest", curve.RoleClient)
	s.clientP, s.workerP = s.proxy(s.frontend), s.proxy(s.backend)
	s.through(s.clientP.Addr(), s.workerP.Addr())
	s.rules.RateOf = "c"
	// Long queues, streams, and callers without patience, beside the one that is judged.
	s.client(Load{Name: "q", Cert: "other", Callers: 60, HoldLeast: 20, HoldMost: 60, Payload: 4000, Hurry: 20,
		Methods: "once,again,once,again,trail,retrail"})
	s.rules.RateOf = "c"
	s.calm(time.Second)
	s.baseline(3 * time.Second)
	faults := s.faults()
	var order []int
	for end := time.Now().Add(*soakTime); time.Now().Before(end); {
		if len(order) == 0 {
			order = s.random.Perm(len(faults)) // each kind once, before any comes again
		}
		faults[order[0]]()
		order = order[1:]
		s.complete()
		s.calm(500*time.Millisecond + s.upTo(time.Second))
	}
	if *soakTime < time.Minute {
		s.recover() // too short to be judged as a whole
	}
	s.rules.MayFail = []string{"cancelled", "deadline_in_queue", "deadline_in_handler", "worker_lost", "connection_lost", "shutting_down", "quarantined", "unauthorized", "queue_full"}
	s.settle()
}

// upTo is a random time.
func (s *soak) upTo(d time.Duration) time.Duration { return time.Duration(s.random.Int64N(int64(d))) }

// complete waits until all workers are there, and starts those that have ended.
func (s *soak) complete() {
	s.t.Helper()
	s.eventually("all workers are there", func() bool {
		for i := range workers {
			if name := "w" + strconv.Itoa(i+1); !s.workers[name].Alive() {
				s.begin(name)
			}
		}
		v, err := s.status()
		return err == nil && v.Workers == workers
	})
}

func (s *soak) begin(name string) {
	addr := s.backend
	if name == "w1" {
		addr = s.workerP.Addr()
	}
	s.worker(name, concurrency, addr)
}

func (s *soak) anyWorker() string { return "w" + strconv.Itoa(1+s.random.IntN(workers)) }

// guest starts a client of a key of its own.
func (s *soak) guest(load Load) *Process {
	s.serial++
	load.Name = "g" + strconv.Itoa(s.serial)
	if load.Cert == "" {
		load.Cert = "guest"
	}
	return s.client(load)
}

// faults are all the kinds of harm.
func (s *soak) faults() []func() {
	const settle = 2 * beat
	return []func(){
		func() {
			name := s.anyWorker()
			s.fault("SIGKILL of "+name, inFlight, settle, s.workers[name].Kill)
		},
		func() {
			name := s.anyWorker()
			s.fault("SIGSTOP of "+name+" for less than the bound", 0, settle, func() { s.pause(name, silence/2) })
		},
		func() {
			name := s.anyWorker()
			s.fault("SIGSTOP of "+name+" for more than the bound", inFlight, settle, func() { s.pause(name, silence+beat+s.upTo(2*silence)) })
		},
		func() { s.fault("cut of w1's connection", inFlight, settle, s.workerP.Cut) },
		func() { s.fault("cut of the client's connection", 0, settle, s.clientP.Cut) },
		func() {
			s.fault("freeze of w1's connection", inFlight, settle, func() { s.frozen(s.workerP, s.upTo(2*silence)) })
		},
		func() {
			s.fault("freeze of the client's connection", inFlight, 2*settle, func() { s.frozen(s.clientP, s.upTo(2*silence)) })
		},
		func() {
			forTarget := s.random.IntN(2) == 0
			s.fault(fmt.Sprintf("half-open connection of w1, the broker sees the end: %v", forTarget), inFlight, silence+settle,
				func() { s.workerP.HalfOpen(forTarget) })
		},
		func() {
			forTarget := s.random.IntN(2) == 0
			s.fault(fmt.Sprintf("half-open connection of the client, the broker sees the end: %v", forTarget), 0, silence+settle,
				func() { s.clientP.HalfOpen(forTarget) })
		},
		func() {
			s.fault("SIGSTOP of the broker", inFlight, 4*settle, func() {
				s.broker.Signal(syscall.SIGSTOP)
				s.calm(s.upTo(2 * silence))
				s.broker.Signal(syscall.SIGCONT)
			})
		},
		func() {
			s.fault("SIGSTOP of the client", 0, 2*settle, func() {
				s.clients["c"].Signal(syscall.SIGSTOP)
				s.calm(s.upTo(silence + clientGrace/2))
				s.clients["c"].Signal(syscall.SIGCONT)
			})
		},
		s.brokerKilled,
		s.brokerKilled, // the hardest one, twice as often
		func() {
			s.rules.Restarts++
			s.fault("SIGTERM of the broker, started again", inFlight, 4*settle, func() {
				if err := s.broker.Stop(startWait); err != nil {
					s.t.Error(err)
				}
				s.startBroker()
			})
		},
		func() {
			p := s.guest(Load{Callers: 20, HoldLeast: 5, HoldMost: 10})
			s.calm(s.upTo(time.Second))
			s.rules.Killed[p.Name] = true
			s.fault("SIGKILL of a client", 0, settle, p.Kill)
		},
		func() {
			s.fault("flood", 0, settle, func() {
				p := s.guest(Load{Callers: 1000, HoldLeast: 1, HoldMost: 10})
				s.calm(2 * time.Second)
				if err := p.Stop(startWait); err != nil {
					s.t.Error(err)
				}
			})
		},
		func() {
			name := s.anyWorker()
			s.fault("replacing "+name, 0, settle, func() {
				old := s.workers[name]
				s.begin(name)
				s.all(workers + 1)
				if err := old.Stop(startWait); err != nil {
					s.t.Error(err)
				}
			})
		},
		func() {
			name := "key" + strconv.Itoa(s.serial)
			s.key(name, curve.RoleClient)
			s.calm(beat)
			s.guest(Load{Cert: name, Callers: 4, HoldLeast: 10, HoldMost: 20, Timeout: time.Second, Calls: 100})
			s.fault("revoking a client's key", 4, settle, func() { s.must(os.Remove(s.keys.PublicPath(name))) })
		},
		func() {
			s.fault("a poisonous call", maxAttempts*inFlight, settle, func() {
				p := s.guest(Load{Callers: 1, Methods: "poison", Calls: 1})
				s.eventually("the poisoner has its outcome", func() bool { s.complete(); return !p.Alive() })
			})
		},
		s.diskFull,
		s.descriptorsExhausted,
	}
}

// brokerKilled also does another harm meanwhile, half of the time.
func (s *soak) brokerKilled() {
	s.rules.Restarts++
	name, with := s.anyWorker(), s.random.IntN(4)
	s.fault(fmt.Sprintf("SIGKILL of the broker, started again, with harm number %d to %s", with, name), 2*inFlight, 4*beat, func() {
		s.broker.Kill()
		switch with {
		case 0:
			s.workers[name].Kill()
		case 1:
			s.clientP.HalfOpen(true)
		}
		s.calm(s.upTo(time.Second))
		s.startBroker()
	})
}

func (s *soak) pause(name string, d time.Duration) {
	s.workers[name].Signal(syscall.SIGSTOP)
	s.calm(d)
	s.workers[name].Signal(syscall.SIGCONT)
}

func (s *soak) frozen(p *Proxy, d time.Duration) {
	p.Freeze()
	s.calm(d)
	p.Thaw()
}

func (s *soak) diskFull() {
	if s.disk == "" {
		return
	}
	s.fault("filling the log's disk", 0, beat, func() {
		ballast := filepath.Join(s.disk, "ballast")
		f, err := os.Create(ballast)
		s.must(err)
		if _, err = io.Copy(f, &zeros{}); !errors.Is(err, unix.ENOSPC) {
			s.t.Errorf("the disk is not full: %v", err)
		}
		s.must(f.Close())
		s.calm(s.upTo(2 * time.Second))
		s.must(os.Remove(ballast))
	})
}

func (s *soak) descriptorsExhausted() {
	s.fault("200 silent peers and no descriptors", 0, 2*beat, func() {
		defer s.starve()()
		s.calm(s.upTo(2 * time.Second))
	})
}

// starve leaves the broker a few descriptors and takes them, until the function
// that it returns is called.
func (s *system) starve() (heal func()) {
	s.t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.broker.PID()))
	s.must(err)
	var old unix.Rlimit
	s.must(unix.Prlimit(s.broker.PID(), unix.RLIMIT_NOFILE, nil, &old))
	s.must(unix.Prlimit(s.broker.PID(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(len(open)) + 8, Max: old.Max}, nil))
	var silent []net.Conn
	for range 200 {
		c, err := net.Dial("tcp", s.frontend)
		s.must(err)
		silent = append(silent, c)
	}
	return func() {
		s.t.Helper()
		for _, c := range silent {
			c.Close()
		}
		s.must(unix.Prlimit(s.broker.PID(), unix.RLIMIT_NOFILE, &old, nil))
	}
}
