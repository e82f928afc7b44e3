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
		name: "client's key cannot serve",
		do: func(s *site, _ *container) int {
			w := s.startWorker(s.backend[0], "SERVICETOOLS_WORKER_CERT="+secrets+"client.key_secret")
			w.awaitLog("authorisation")
			s.awaitWorkers(len(s.workers))
			w.stop()
			w.remove()
			return 0
		},
	},
	{
		name: "worker without a key",
		do: func(s *site, _ *container) int {
			w := s.startWorker(s.backend[0], "SERVICETOOLS_WORKER_CERT="+secrets+"nobody.key_secret")
			if code := w.wait(); code != 78 {
				s.t.Errorf("exit code %d, not 78: %s", code, w.logs())
			}
			w.awaitLog("nobody.key_secret")
			w.remove()
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
			w.awaitLog("authorisation")
			w.stop()
			w.remove()
			return concurrency // it ran calls when its connection was closed
		},
	},
	{
		name: "zcall by environment, and with a worker's key",
		do: func(s *site, _ *container) int {
			call := func(env ...string) (code int, out string) {
				c := s.start(spec{name: s.next("zcall"), image: "servicetools/zcall:dev", on: s.frontend, keys: s.keys, env: env,
					args: []string{"add", "40", "2"}})
				defer c.remove()
				code = c.wait()
				return code, c.logs()
			}
			if code, out := call(); code != 0 || out != "42\n" {
				s.t.Errorf("exit code %d: %s", code, out)
			}
			if code, out := call("SERVICETOOLS_CERT=" + secrets + "worker.key_secret"); code != 77 {
				s.t.Errorf("exit code %d with a worker's key, not 77: %s", code, out)
			}
			return 0
		},
	},
}
