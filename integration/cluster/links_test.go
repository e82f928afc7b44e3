package cluster

import "github.com/servicetools/servicetools/broker"

// heard is what a capture reports.
type heard struct {
	Bytes map[int]int `json:"bytes"` // of TCP, by port
	Clear int         `json:"clear"` // packets with a payload in clear
}

// capture listens to all that the broker sends and receives during f.
func (s *site) capture(f func()) (h heard) {
	s.t.Helper()
	ear := s.start(spec{name: s.next("capture"), image: s.probe, on: "container:" + s.broker.id, args: []string{"capture"}, root: true})
	ear.awaitLog("ready")
	f()
	ear.report(&h)
	return h
}

// spoiled is what a proxy reports.
type spoiled struct{ Bytes, Cuts int }

// cuts is how often a bad link breaks at least.
const cuts = 3

// links are cases about what is on the wire, and about bad ones.
var links = []story{
	{
		name: "nothing in clear on the wire",
		do: func(s *site, _ *container) int {
			h := s.capture(s.awaitCalls)
			least := enough / 4 * len(Marker) // every fourth call carries markers, both ways
			if h.Clear > 0 || h.Bytes[8006] < least || h.Bytes[9006] < least {
				s.t.Errorf("%d packets have a payload in clear, of so many bytes by port: %v", h.Clear, h.Bytes)
			}
			deaf := s.capture(func() {
				shout := s.start(spec{name: s.next("shout"), image: s.probe, on: s.frontend, args: []string{"shout"}})
				if code := shout.wait(); code != 0 {
					s.t.Errorf("shouting: %s", shout.logs())
				}
				shout.remove()
			})
			if deaf.Clear == 0 {
				s.t.Error("the capture is deaf: it missed what was sent in clear")
			}
			return 0
		},
	},
	{
		name: "worker behind a bad link",
		once: []string{"worker_lost"},
		do: func(s *site, _ *container) int {
			proxy := s.start(spec{name: s.next("proxy"), image: s.probe, on: s.backend[0], aliases: []string{"far"}, args: []string{"proxy"}})
			proxy.awaitLog("ready")
			w := s.startWorker(s.backend[0], "SERVICETOOLS_MAIN_IP=far")
			await(s.t, "the worker has lost its connection often", func() (bool, string) {
				log := w.logs()
				return countLines(log, "lost the connection") >= cuts, log
			})
			s.awaitWorker(w.name, "serves again", func(v broker.WorkerView) bool { return v.Succeeded > 0 })
			w.stop()
			w.remove()
			var p spoiled
			proxy.report(&p)
			if p.Cuts < cuts || p.Bytes == 0 {
				s.t.Errorf("the proxy spoiled nothing: %+v", p)
			}
			return p.Cuts * concurrency
		},
	},
	{
		name: "client behind a bad link",
		before: func(s *site) *container {
			proxy := s.start(spec{name: s.next("proxy"), image: s.probe, on: s.frontend, aliases: []string{"far"},
				args: []string{"proxy", "-listen", ":8006", "-to", "broker:8006"}})
			proxy.awaitLog("ready")
			return proxy
		},
		args: []string{"-server", "tcp://far:8006"},
		do: func(s *site, c *container) int {
			await(s.t, "the client has lost its connection often", func() (bool, string) {
				log := c.logs()
				return countLines(log, "lost the connection") >= cuts, log
			})
			return 0
		},
	},
}
