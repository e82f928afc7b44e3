package cluster

import (
	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/integration/chaos"
)

// lost is what an SDK logs when its connection breaks.
const lost = "lost the connection"

// cuts is how often a bad link breaks at least.
const cuts = 3

// badLink starts a proxy that cuts and slows what goes through it to an
// address; on its network it is "far".
func (s *site) badLink(on, to, port string) *container {
	s.t.Helper()
	p := s.start(spec{
		name: s.next("proxy"), image: s.engine.probeImage(), host: "far", on: on, args: []string{"proxy", "-listen", port, "-to", to + port},
	})
	p.awaitLog("ready", 1)
	return p
}

func workerBehindBadLink(r *chaos.Run) {
	s := siteOf(r)
	r.Usual()
	r.Under(func() {
		r.Fault("a worker behind a bad link", 0, chaos.Beat, func() {
			s.workers = 0 // the next one is on the first host
			proxy := s.badLink(s.backend[1], "broker", ":9006")
			s.via["w4"] = "far:9006"
			w := r.AddWorker("w4").(*container)
			w.awaitLog(lost, cuts)
			r.Eventually("it has served", func() bool {
				all, err := chaos.Ask[[]broker.WorkerView](r, "broker.workers")
				for _, v := range all {
					if v.ID == "w4" && v.Succeeded > 0 {
						return err == nil
					}
				}
				return false
			})
			must(r, w.Stop())
			var spoiled struct{ Cuts int }
			proxy.report(&spoiled)
			if spoiled.Cuts < cuts {
				r.Errorf("the proxy cut %d connections", spoiled.Cuts)
			}
			r.Rules.MaxUnknown += spoiled.Cuts * chaos.Concurrency
		})
	}, "worker_lost")
}

func clientBehindBadLink(r *chaos.Run) {
	s := siteOf(r)
	proxy := s.badLink(s.frontend, "broker", ":8006")
	s.via["distant"] = "far:8006"
	r.Usual()
	r.AddClient(chaos.Load{Name: "distant", Cert: "other", Callers: 4, HoldLeast: 25, HoldMost: 55, Payload: 2000})
	r.Rules.RateOf = "c"
	r.Under(func() { r.Client("distant").(*container).awaitLog(lost, cuts) })
	var spoiled struct{ Cuts int }
	proxy.report(&spoiled)
	if spoiled.Cuts < cuts {
		r.Errorf("the proxy cut %d connections", spoiled.Cuts)
	}
}

// heard is what a capture reports.
type heard struct {
	Bytes map[int]int `json:"bytes"` // of TCP, by port
	Clear int         `json:"clear"` // packets with the text in clear
}

// capture listens for text in all that the broker sends and receives during f.
func (s *site) capture(text string, f func()) (h heard) {
	s.t.Helper()
	ear := s.start(spec{
		name: s.next("capture"), image: s.engine.probeImage(), on: "container:" + s.broker.Load().id,
		args: []string{"capture", text}, capability: "NET_RAW",
	})
	ear.awaitLog("ready", 1)
	f()
	ear.report(&h)
	return h
}

// Each call has the name of its client in its arguments and in its result.
func nothingInClear(r *chaos.Run) {
	const name = "the-payload-of-a-call-in-clear"
	const enough = 100 // calls
	s := siteOf(r)
	r.Usual()
	r.AddClient(chaos.Load{Name: name, Cert: "other", Callers: 4, HoldLeast: 5, HoldMost: 10, Payload: 500})
	r.Under(func() {
		h := s.capture(name, func() {
			var begin uint64
			r.Await("calls succeed", func(v broker.StatusView) bool {
				if begin == 0 {
					begin = v.Succeeded
				}
				return v.Succeeded >= begin+enough
			})
		})
		if least := enough * len(name); h.Clear > 0 || h.Bytes[8006] < least || h.Bytes[9006] < least {
			r.Errorf("%d packets have a payload in clear, of so many bytes by port: %v", h.Clear, h.Bytes)
		}
		deaf := s.capture(name, func() {
			shout := s.start(spec{name: s.next("shout"), image: s.engine.probeImage(), on: s.frontend, args: []string{"shout", name}})
			if code := shout.wait(); code != 0 {
				r.Errorf("shouting: %s", shout.Log())
			}
		})
		if deaf.Clear == 0 {
			r.Error("the capture is deaf: it missed what was sent in clear")
		}
	})
}
