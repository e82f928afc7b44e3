package cluster

import (
	"strconv"

	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/integration/chaos"
)

func siteOf(r *chaos.Run) *site { return r.Cluster.(*site) }

// Six workers on three hosts and two clients: everybody has a share.
func threeHosts(r *chaos.Run) {
	r.Usual()
	for i := range chaos.Workers {
		r.AddWorker("w" + strconv.Itoa(chaos.Workers+i+1))
	}
	r.AddClient(chaos.Load{Name: "second", Cert: "other", Callers: chaos.Callers, HoldLeast: 25, HoldMost: 55, Payload: 2000})
	r.All(2 * chaos.Workers)
	r.Under(func() {
		r.Eventually("each worker has done its share", func() bool {
			all, err := chaos.Ask[[]broker.WorkerView](r, "broker.workers")
			for _, w := range all {
				if w.Succeeded < 10 {
					return false
				}
			}
			return err == nil
		})
	})
}

// In these, a cable is pulled: no packet says that anybody is gone.

func workerOff(r *chaos.Run) {
	r.Usual()
	r.Under(func() {
		r.Fault("pulling the cable of w1", chaos.Callers, chaos.Beat, func() {
			w := r.Worker("w1").(*container)
			w.disconnect(w.on)
			r.All(chaos.Workers - 1)
			w.connect(w.on)
			r.All(chaos.Workers)
		})
	}, "worker_lost")
}

// The clients resume: nothing fails.
func frontendOff(r *chaos.Run) {
	s := siteOf(r)
	r.Usual()
	r.Under(func() {
		r.Fault("pulling the cable of the frontend", 0, chaos.Beat, func() {
			b := r.Broker().(*container)
			b.disconnect(s.frontend)
			r.Await("the client's link is dead", func(v broker.StatusView) bool {
				return v.Connections <= chaos.Workers+1 // who asks is the one
			})
			b.connect(s.frontend, "broker")
		})
	})
}

func backendOff(r *chaos.Run) {
	s := siteOf(r)
	r.Usual()
	r.Under(func() {
		r.Fault("pulling the cables of the backend", chaos.Callers, chaos.Beat, func() {
			b := r.Broker().(*container)
			for _, network := range s.backend {
				b.disconnect(network)
			}
			r.All(0)
			for _, network := range s.backend {
				b.connect(network, "broker")
			}
			r.All(chaos.Workers)
		})
	}, "worker_lost", "quarantined") // a call may have met all three
}
