package cluster

import "strings"

func countLines(text, with string) (n int) {
	for line := range strings.Lines(text) {
		if strings.Contains(line, with) {
			n++
		}
	}
	return n
}

const secrets = "/keys/private_keys/"

// keys are cases about who may do what. Everybody else is served meanwhile.
var keys = []story{
	{
		name: "workers and clients with wrong keys",
		do: func(s *site, _ *container) int {
			intruder := s.startWorker(s.backend[0], "SERVICETOOLS_WORKER_CERT="+secrets+"client.key_secret")
			keyless := s.startWorker(s.backend[1], "SERVICETOOLS_WORKER_CERT="+secrets+"nobody.key_secret")
			if code := keyless.wait(); code != 78 {
				s.t.Errorf("a worker without a key: exit code %d, not 78: %s", code, keyless.logs())
			}
			keyless.awaitLog("nobody.key_secret")
			keyless.remove()
			for name, want := range map[string]int{"client": 0, "worker": 77} {
				c := s.start(spec{name: s.next("zcall"), image: s.image("zcall"), on: s.frontend, keys: s.keys,
					args: []string{"add", "40", "2"}, env: []string{"SERVICETOOLS_CERT=" + secrets + name + ".key_secret"}})
				if code, out := c.wait(), c.logs(); code != want || code == 0 && out != "42\n" {
					s.t.Errorf("zcall with the key of a %s: exit code %d, not %d: %s", name, code, want, out)
				}
				c.remove()
			}
			intruder.awaitLog("authorisation") // refused, and by a reason
			s.awaitWorkers(len(s.workers))
			intruder.stop()
			intruder.remove()
			return 0
		},
	},
	{
		name: "worker with a revoked key",
		once: []string{"worker_lost"},
		do: func(s *site, _ *container) int {
			s.certtool("generate", "--users", "worker", "--name", "leaver")
			w := s.startWorker(s.backend[0], "SERVICETOOLS_WORKER_CERT="+secrets+"leaver.key_secret")
			s.awaitWorkers(len(s.workers) + 1)
			s.certtool("revoke", "leaver")
			s.awaitWorkers(len(s.workers))
			w.awaitLog("was revoked")
			w.stop()
			w.remove()
			return concurrency // it ran calls when its connection was closed
		},
	},
}
