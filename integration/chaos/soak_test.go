//go:build linux

package chaos

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
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
const inFlight = Callers + 60

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
	disk := smallDisk(t, "2m")
	if disk != "" {
		extra = "[logging]\nlog_dir = " + disk + "\n[log_files]\nmax_size = 1 MiB\nbackups = 1\n"
	}
	s := &soak{system: newSystem(t, extra), random: rand.New(rand.NewPCG(seed, seed)), disk: disk}
	s.Run.AddKey("guest", curve.RoleClient)
	s.clientP, s.workerP = s.proxied("c", s.frontend), s.proxied("w1", s.backend)
	s.Usual()
	// Long queues, streams, and callers without patience, beside the one that is judged.
	s.AddClient(Load{Name: "q", Cert: "other", Callers: 60, HoldLeast: 20, HoldMost: 60, Payload: 4000, Hurry: 20,
		Methods: "once,again,once,again,trail,retrail"})
	s.Rules.RateOf = "c"
	s.Rules.Held = true
	s.Calm(time.Second)
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
		s.Calm(500*time.Millisecond + s.upTo(time.Second))
	}
	if *soakTime < time.Minute {
		s.recover() // too short to be judged as a whole
	}
	s.Rules.MayFail = []string{"cancelled", "deadline_in_queue", "deadline_in_handler", "worker_lost", "connection_lost", "quarantined", "unauthorized", "queue_full"}
	s.Rules.MayHurry = []string{"shutting_down"} // the deadline was over before the next broker was there
	s.settle()
}

// upTo is a random time.
func (s *soak) upTo(d time.Duration) time.Duration { return time.Duration(s.random.Int64N(int64(d))) }

// complete waits until all workers are there, and starts those that have ended.
func (s *soak) complete() {
	s.Helper()
	s.Eventually("all workers are there", func() bool {
		each(func(id string) {
			if !s.workers[id].Alive() {
				s.AddWorker(id)
			}
		})
		v, err := s.status()
		return err == nil && v.Workers == Workers
	})
}

func (s *soak) anyWorker() string { return "w" + strconv.Itoa(1+s.random.IntN(Workers)) }

// guest starts a client of a key of its own.
func (s *soak) guest(load Load) (name string, p Peer) {
	s.serial++
	load.Name = "g" + strconv.Itoa(s.serial)
	if load.Cert == "" {
		load.Cert = "guest"
	}
	return load.Name, s.AddClient(load)
}

// faults are all the kinds of harm.
func (s *soak) faults() []func() {
	const settle = 2 * Beat
	return []func(){
		func() {
			name := s.anyWorker()
			s.Fault("SIGKILL of "+name, inFlight, settle, s.workers[name].Kill)
		},
		func() {
			name := s.anyWorker()
			s.Fault("SIGSTOP of "+name+" for less than the bound", 0, settle, func() { s.paused(s.workers[name], Silence/2) })
		},
		func() {
			name := s.anyWorker()
			s.Fault("SIGSTOP of "+name+" for more than the bound", inFlight, settle, func() { s.paused(s.workers[name], Silence+Beat+s.upTo(2*Silence)) })
		},
		func() { s.Fault("cut of w1's connection", inFlight, settle, func() { s.workerP.Cut() }) },
		func() { s.Fault("cut of the client's connection", 0, settle, func() { s.clientP.Cut() }) },
		func() {
			s.Fault("freeze of w1's connection", inFlight, settle, func() { s.frozen(s.workerP, s.upTo(2*Silence)) })
		},
		func() {
			s.Fault("freeze of the client's connection", inFlight, 2*settle, func() { s.frozen(s.clientP, s.upTo(2*Silence)) })
		},
		func() {
			forTarget := s.random.IntN(2) == 0
			s.Fault(fmt.Sprintf("half-open connection of w1, the broker sees the end: %v", forTarget), inFlight, Silence+settle,
				func() { s.workerP.HalfOpen(forTarget) })
		},
		func() {
			forTarget := s.random.IntN(2) == 0
			s.Fault(fmt.Sprintf("half-open connection of the client, the broker sees the end: %v", forTarget), 0, Silence+settle,
				func() { s.clientP.HalfOpen(forTarget) })
		},
		func() {
			s.Fault("SIGSTOP of the broker", inFlight, 4*settle, func() { s.paused(s.broker, s.upTo(2*Silence)) })
		},
		func() {
			s.Fault("SIGSTOP of the client", 0, 2*settle, func() { s.paused(s.clients["c"], s.upTo(Silence+ClientGrace/2)) })
		},
		s.brokerKilled,
		s.brokerKilled, // the hardest one, twice as often
		func() {
			s.Rules.Restarts++
			s.Fault("SIGTERM of the broker, started again", inFlight, 4*settle, func() {
				s.inOrder(s.broker)
				s.startBroker()
			})
		},
		func() {
			name, p := s.guest(Load{Callers: 20, HoldLeast: 5, HoldMost: 10})
			s.Calm(s.upTo(time.Second))
			s.Rules.Killed[name] = true
			s.Fault("SIGKILL of a client", 0, settle, p.Kill)
		},
		func() {
			s.Fault("flood", 0, settle, func() {
				_, p := s.guest(Load{Callers: 1000, HoldLeast: 1, HoldMost: 10})
				s.Calm(2 * time.Second)
				s.inOrder(p)
			})
		},
		func() {
			name := s.anyWorker()
			s.Fault("replacing "+name, 0, settle, func() {
				old := s.workers[name]
				s.AddWorker(name)
				s.All(Workers + 1)
				s.inOrder(old)
			})
		},
		func() {
			name := "key" + strconv.Itoa(s.serial)
			s.Run.AddKey(name, curve.RoleClient)
			s.Calm(Beat)
			s.guest(Load{Cert: name, Callers: 4, HoldLeast: 10, HoldMost: 20, Timeout: time.Second, Calls: 100})
			s.Fault("revoking a client's key", 4, settle, func() { s.Run.RevokeKey(name) })
		},
		func() {
			s.Fault("a poisonous call", MaxAttempts*inFlight, settle, func() {
				_, p := s.guest(Load{Callers: 1, Methods: "poison", Calls: 1})
				s.Eventually("the poisoner has its outcome", func() bool { s.complete(); return !p.Alive() })
			})
		},
		s.diskFull,
		s.descriptorsExhausted,
	}
}

// brokerKilled also does another harm meanwhile, half of the time.
func (s *soak) brokerKilled() {
	s.Rules.Restarts++
	name, with := s.anyWorker(), s.random.IntN(4)
	s.Fault(fmt.Sprintf("SIGKILL of the broker, started again, with harm number %d to %s", with, name), 2*inFlight, 4*Beat, func() {
		s.broker.Kill()
		switch with {
		case 0:
			s.workers[name].Kill()
		case 1:
			s.clientP.HalfOpen(true)
		}
		s.Calm(s.upTo(time.Second))
		s.startBroker()
	})
}

func (s *soak) diskFull() {
	if s.disk == "" {
		return
	}
	s.Fault("filling the log's disk", 0, Beat, func() {
		defer s.fill(s.disk)()
		s.Calm(s.upTo(2 * time.Second))
	})
}

func (s *soak) descriptorsExhausted() {
	s.Fault("200 silent peers and no descriptors", 0, 2*Beat, func() {
		defer s.starve()()
		s.Calm(s.upTo(2 * time.Second))
	})
}

// starve leaves the broker a few descriptors and takes them, until the function
// that it returns is called.
func (s *system) starve() (heal func()) {
	s.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.process().PID()))
	s.must(err)
	var old unix.Rlimit
	s.must(unix.Prlimit(s.process().PID(), unix.RLIMIT_NOFILE, nil, &old))
	s.must(unix.Prlimit(s.process().PID(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(len(open)) + 8, Max: old.Max}, nil))
	var silent []net.Conn
	for range 200 {
		c, err := net.Dial("tcp", s.frontend)
		s.must(err)
		silent = append(silent, c)
	}
	return func() {
		s.Helper()
		for _, c := range silent {
			c.Close()
		}
		s.must(unix.Prlimit(s.process().PID(), unix.RLIMIT_NOFILE, &old, nil))
	}
}
