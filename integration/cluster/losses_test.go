package cluster

import "github.com/servicetools/servicetools/broker"

// losses are cases in which a worker is gone without a word. Of calls that may
// run only once, those that it held may fail.
var losses = []story{
	{
		name: "three hosts and two clients",
		do: func(s *site, _ *container) int {
			for _, w := range s.workers {
				s.awaitWorker(w.name, "has done its share", func(v broker.WorkerView) bool { return v.Succeeded > 10 })
			}
			return 0
		},
	},
	{
		name: "worker killed on each host",
		once: []string{"worker_lost"},
		do: func(s *site, _ *container) int {
			for _, w := range s.workers[:len(hosts)] {
				w.kill()
				s.awaitWorkers(len(s.workers) - 1)
				w.run()
				s.awaitWorkers(len(s.workers))
			}
			return len(hosts) * concurrency
		},
	},
	{
		name: "worker paused",
		once: []string{"worker_lost"},
		do: func(s *site, _ *container) int {
			w := s.workers[0]
			w.must(s.PauseContainer(w.id), "pausing")
			s.awaitWorkers(len(s.workers) - 1)
			s.awaitCalls()
			w.must(s.UnpauseContainer(w.id), "unpausing")
			s.awaitWorkers(len(s.workers))
			return concurrency
		},
	},
	{
		name: "broker killed and replaced",
		once: []string{"connection_lost"},
		do: func(s *site, _ *container) int {
			s.broker.remove()
			s.startBroker()
			s.awaitWorkers(len(s.workers))
			return 2 * callers
		},
	},
}
