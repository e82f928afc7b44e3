package cluster

import "github.com/servicetools/servicetools/broker"

// networks are cases in which a cable is pulled: no packet says that anybody
// is gone.
var networks = []story{
	{
		name: "worker off the network",
		once: []string{"worker_lost"},
		do: func(s *site, _ *container) int {
			w := s.workers[0]
			w.disconnect(w.on)
			s.awaitWorkers(len(s.workers) - 1)
			s.awaitCalls()
			w.connect(w.on)
			s.awaitWorkers(len(s.workers))
			return concurrency
		},
	},
	{
		name: "frontend off the network",
		do: func(s *site, _ *container) int {
			s.broker.disconnect(s.frontend)
			s.awaitStatus("the clients' links are dead", func(v broker.StatusView) bool {
				return v.Connections <= len(s.workers)+1 // who asks is the one
			})
			s.broker.connect(s.frontend, "broker")
			return 0 // the clients resume
		},
	},
	{
		name: "backend off the network",
		once: []string{"worker_lost"},
		do: func(s *site, _ *container) int {
			for _, network := range s.backend {
				s.broker.disconnect(network)
			}
			s.awaitWorkers(0)
			for _, network := range s.backend {
				s.broker.connect(network, "broker")
			}
			s.awaitWorkers(len(s.workers))
			return 2 * callers
		},
	},
}
