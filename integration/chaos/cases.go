package chaos

import (
	"slices"
	"strconv"
	"time"

	"github.com/servicetools/servicetools/wire/curve"
)

// Case is one story of a run: what is done to it while clients call, and what
// may come of that.
type Case struct {
	Name string
	Play func(r *Run)
}

// Cases are those that mean the same on each kind of Cluster. Each ends with
// the account of its calls.
var Cases = []Case{
	{"nothing happens", nothingHappens},
	{"workers killed", workersKilled},
	{"worker silent", workerSilent},
	{"rolling restart", rollingRestart},
	{"workers drained", workersDrained},
	{"scale 2 to 8 to 2", scaled},
	{"broker replaced", brokerReplaced},
	{"broker killed", brokerKilled},
	{"key of a worker revoked", workersKeyRevoked},
	{"key of a client revoked", clientsKeyRevoked},
}

// each calls do with the ids of the usual workers.
func each(do func(id string)) {
	for i := range Workers {
		do("w" + strconv.Itoa(i+1))
	}
}

// inOrder ends a peer as its operator would.
func (r *Run) inOrder(p Peer) {
	r.Helper()
	if err := p.Stop(); err != nil {
		r.Error(err)
	}
}

func nothingHappens(r *Run) {
	r.Usual()
	r.Under(func() {})
}

func workersKilled(r *Run) {
	r.Usual()
	var deaths []time.Time
	a, e := r.Under(func() {
		each(func(id string) {
			r.Fault("killing "+id, Callers, Beat, func() {
				deaths = append(deaths, time.Now())
				r.workers[id].Kill()
			})
			r.AddWorker(id)
			r.All(Workers)
			r.Calm(Beat)
		})
	}, "worker_lost")
	r.hit(a, e, deaths...)
}

// A worker that was silent for longer than the bound is dead; what it answers
// later is fenced.
func workerSilent(r *Run) {
	r.Usual()
	r.Rules.Held = true // a goroutine is silenced by freezing its link
	var silent time.Time
	a, e := r.Under(func() {
		r.Fault("w1 is silent for twice the bound", Callers, Beat, func() {
			silent = time.Now()
			r.workers["w1"].Pause()
			r.All(Workers - 1)
			r.Calm(Silence)
			r.workers["w1"].Resume()
		})
		r.All(Workers)
	}, "worker_lost")
	r.hit(a, e, silent)
}

// All workers are replaced one by one, the new one first; no call fails.
func rollingRestart(r *Run) {
	r.Usual()
	r.Under(func() {
		each(func(id string) {
			r.Fault("replacing "+id, 0, 100*time.Millisecond, func() {
				old := r.workers[id]
				r.AddWorker(id) // gets another id
				r.All(Workers + 1)
				r.inOrder(old)
				r.All(Workers)
			})
		})
	})
}

// The same by the broker's wish, one after the other has left.
func workersDrained(r *Run) {
	r.Usual()
	r.Under(func() {
		each(func(id string) {
			r.Fault("draining "+id, 0, 100*time.Millisecond, func() {
				_, err := Ask[[]string](r, "broker.drain", id)
				r.must(err)
				r.Eventually("the drained worker has left", func() bool { return !r.workers[id].Alive() })
				r.inOrder(r.workers[id]) // it has ended by itself: was that in order?
				r.AddWorker(id)
				r.All(Workers)
			})
		})
	})
}

func scaled(r *Run) {
	r.Usual()
	r.Under(func() {
		r.Fault("3 workers, 2, 8 and 2", 0, Beat, func() {
			r.inOrder(r.workers["w3"])
			r.All(2)
			for i := range 6 {
				r.AddWorker("more" + strconv.Itoa(i))
			}
			r.All(8)
			r.Calm(Beat)
			for i := range 6 {
				r.inOrder(r.workers["more"+strconv.Itoa(i)])
			}
			r.All(2)
			r.Calm(Beat)
			r.AddWorker("w3")
			r.All(Workers)
		})
	})
}

// A broker that is told to stop lets calls finish; those that come meanwhile wait
// for the next one. No call fails.
func brokerReplaced(r *Run) {
	r.restarted("replacing the broker", func() { r.inOrder(r.broker) }, 0)
}

func brokerKilled(r *Run) {
	r.restarted("killing the broker, and starting another 200 ms later", func() {
		r.broker.Kill()
		r.Calm(200 * time.Millisecond)
	}, Callers, "connection_lost")
}

// restarted ends the broker and starts another one, twice.
func (r *Run) restarted(name string, end func(), inFlight int, mayFail ...string) {
	r.Usual()
	var starts []time.Time
	a, e := r.Under(func() {
		for range 2 {
			r.Fault(name, inFlight, 2*time.Second, func() {
				end()
				starts = append(starts, time.Now())
				r.startBroker()
			})
			r.Rules.Restarts++
			r.All(Workers)
			r.Calm(Beat)
		}
	}, mayFail...)
	for _, at := range starts {
		r.fullRate(e, at, a.BaseRate)
	}
}

// A worker whose key is revoked is gone, and its calls with it.
func workersKeyRevoked(r *Run) {
	r.AddKey("rogue", curve.RoleWorker)
	r.Usual()
	r.workerAs("rogue", "w4")
	r.All(Workers + 1)
	r.Under(func() {
		r.Fault("revoking a worker's key", Callers, Beat, func() {
			r.RevokeKey("rogue")
			from := time.Now()
			r.All(Workers)
			r.Logf("TIMING revoking a worker's key to its end: %v", time.Since(from).Round(time.Millisecond))
		})
	}, "worker_lost")
}

// A client whose key is revoked is told so, ends with an outcome for every
// call, and nobody else is hurt.
func clientsKeyRevoked(r *Run) {
	r.Usual()
	const patient = 8 * time.Second // longer than a busy host stands still, well within Patience
	r.AddClient(Load{Name: "r", Cert: "other", Callers: 4, HoldLeast: 10, HoldMost: 20, Timeout: patient})
	r.sessions(3)
	r.Rules.RateOf = "c"
	refused := func(rec Record) bool { return rec.Code == "unauthorized" }
	_, e := r.Under(func() {
		r.Fault("revoking a client's key", 4, Beat, func() {
			r.RevokeKey("other")
			// Callers are told at their next call: before that they wait, to the deadline, for one
			// whose outcome cannot reach them.
			r.Eventually("the client was told why", func() bool { return slices.ContainsFunc(r.Evidence().Clients["r"], refused) })
		})
	}, "unauthorized", "connection_lost")
	told := slices.IndexFunc(e.Clients["r"], refused)
	late := make(map[string]bool)
	for _, rec := range e.Clients["r"][told:] {
		if rec.Event == Sent {
			late[rec.ID] = true
		} else if late[rec.ID] && rec.Code == ok {
			r.Errorf("call %s was served, and made after the key was refused", rec.ID)
		}
	}
	for _, rec := range e.Clients["c"] {
		if rec.Event == Answered && rec.Code != ok {
			r.Errorf("call %s of another client ended in %s", rec.ID, rec.Code)
		}
	}
}
