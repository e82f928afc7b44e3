package cluster

// changes are what operators do on a working day. No call fails.
var changes = []story{
	{
		name: "rolling restart of all workers",
		do: func(s *site, _ *container) int {
			for _, w := range s.workers {
				w.stop()
				w.run()
				s.awaitWorkers(len(s.workers))
			}
			return 0
		},
	},
	{
		// A broker that stops refuses what comes, and clients may repeat it.
		name: "broker stopped and replaced",
		args: []string{"-retry"},
		do: func(s *site, _ *container) int {
			s.broker.stop()
			s.broker.remove()
			s.startBroker()
			s.awaitWorkers(len(s.workers))
			return 0
		},
	},
	{
		name: "scale 2 to 8 to 2",
		do: func(s *site, _ *container) int {
			resting := s.workers[2:]
			s.stop(resting)
			s.awaitWorkers(2)
			var more []*container
			for i := range 6 {
				more = append(more, s.startWorker(s.backend[i%len(hosts)]))
			}
			s.awaitWorkers(8)
			s.awaitCalls()
			s.stop(more)
			for _, w := range more {
				w.remove()
			}
			s.awaitWorkers(2)
			for _, w := range resting {
				w.run()
			}
			s.awaitWorkers(len(s.workers))
			return 0
		},
	},
}
