package cluster

import "github.com/servicetools/servicetools/integration/chaos"

// Who has no key, or one of another role, is refused, and told why; everybody
// else is served meanwhile.
func wrongKeys(r *chaos.Run) {
	s := siteOf(r)
	r.Usual()
	r.Under(func() {
		intruder := s.StartWorker("client", "intruder").(*container)
		keyless := s.StartWorker("nobody", "keyless").(*container)
		if code := keyless.wait(); code != 78 {
			r.Errorf("a worker without a key: exit code %d, not 78: %s", code, keyless.Log())
		}
		keyless.awaitLog("nobody.key_secret", 1)
		for name, want := range map[string]int{"client": 0, "worker": 77} {
			c := s.start(spec{
				name: s.next("zcall"), image: s.engine.image("zcall"), on: s.frontend, volumes: []string{s.mount(keysPath) + ":ro"},
				args: []string{"describe", "once"}, env: []string{"SERVICETOOLS_CERT=" + there.SecretPath(name)},
			})
			if code := c.wait(); code != want {
				r.Errorf("zcall with the key of a %s: exit code %d, not %d: %s", name, code, want, c.Log())
			}
		}
		intruder.awaitLog("authorisation", 1) // refused, and by a reason
		r.All(chaos.Workers)
		must(r, intruder.Stop())
	})
}
