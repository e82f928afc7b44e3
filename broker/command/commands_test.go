package command

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/servicetools/servicetools/broker"
)

func TestCommands_tellWhatABrokerDoes(t *testing.T) {
	p := newPlace(t)
	p.serve()
	p.work("w1")

	var status broker.StatusView
	p.json(&status, "status")
	if status.Name != "test" || status.Workers != 1 || !status.Secure || !status.LawHolds {
		t.Errorf("status is %+v", status)
	}
	var health healthView
	if p.json(&health, "health"); !health.Healthy || health.Workers != 1 {
		t.Errorf("health is %+v", health)
	}
	var workers []broker.WorkerView
	p.json(&workers, "workers")
	if len(workers) != 1 || workers[0].ID != "w1" || workers[0].PID != 4242 || workers[0].Capacity != 2 {
		t.Errorf("workers are %+v", workers)
	}
	var methods []broker.MethodView
	p.json(&methods, "methods")
	if len(methods) != 2 || methods[0].Name != "double" || methods[0].Signature != "Double(n int) int" {
		t.Errorf("methods are %+v", methods)
	}
	if r := p.ok("methods", "Double"); !strings.Contains(r.out, "Double returns 2n. It is quick.") {
		t.Errorf("a method is described as\n%s", r.out)
	}
	if r := p.ok("sessions"); !strings.Contains(r.out, "admin (broker command)") {
		t.Errorf("sessions are\n%s", r.out)
	}
}

func TestCancel_endsACall(t *testing.T) {
	p := newPlace(t)
	p.serve()
	p.work("w1")
	p.call("hold")
	var calls []broker.CallView
	p.until("the call runs", func() bool {
		p.json(&calls, "calls", "--method", "hold", "--state", "running")
		return len(calls) == 1
	})
	if r := p.ok("calls", "--method", "hold"); !strings.Contains(r.out, "hold    running  w1") {
		t.Errorf("calls are\n%s", r.out)
	}
	session, number, _ := strings.Cut(calls[0].Call, "/")
	if r := p.ok("cancel", session[:4]+"/"+number); r.out != calls[0].Call+"\n" {
		t.Errorf("cancel prints %q", r.out)
	}
	r := p.run("cancel", calls[0].Call, "--config", p.config)
	if r.code != ExitFailure || !strings.Contains(r.errOut, "it has ended") || r.out != "" {
		t.Errorf("a second cancel gives %+v", r)
	}
}

func TestReload_saysWhatApplies(t *testing.T) {
	p := newPlace(t)
	p.serve()
	err := edit(p.config, [][3]string{{"logging", "logging_mode", "DEBUG"}, {"main", "name", "other"}})
	if err != nil {
		t.Fatal(err)
	}
	r := p.ok("reload")
	for _, want := range []string{"logging.logging_mode  applied", "main.name             needs a restart"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("reload does not print %q but\n%s", want, r.out)
		}
	}
	if r := p.ok("reload"); strings.Contains(r.out, "applied") || !strings.Contains(r.out, "main.name          needs a restart") {
		t.Errorf("a reload of the same prints %q", r.out)
	}
	if err := edit(p.config, [][3]string{{"limits", "max_calls", "many"}}); err != nil {
		t.Fatal(err)
	}

	r = p.run("reload", "--config", p.config)
	if r.code != ExitConfig || !strings.Contains(r.errOut, `[limits] max_calls: "many" is not a whole number`) {
		t.Errorf("a bad file gives %+v", r)
	}
}

func TestWatch_printsALineForEachView(t *testing.T) {
	p := newPlace(t)
	p.serve()
	out := newLines(2)
	code := runUntil(t, out, "status", "--watch", "--interval", "5ms", "-o", "json", "--config", p.config)
	if code != ExitInterrupted {
		t.Errorf("watch exits with %d", code)
	}
	var first map[string]any
	if err := json.Unmarshal([]byte(out.first()), &first); err != nil || first["name"] != "test" {
		t.Errorf("a view is %q: %v", out.first(), err)
	}
}

func TestCommands_reachABrokerWithoutSecurity(t *testing.T) {
	p := newPlace(t, "[security]", "secure = False")
	b := p.serve()
	if r := p.ok("status"); !strings.Contains(r.out, "SECURE      no") {
		t.Errorf("status is\n%s", r.out)
	}
	if r := p.run("health", "--server", b.Frontend().String()); r.code != ExitOK {
		t.Errorf("health gives %+v", r)
	}
	if r := p.run("doctor", "--config", p.config); r.code != ExitUnavailable || !strings.Contains(r.out, "NULL: without security") {
		t.Errorf("doctor says\n%s", r.out)
	}
	r := p.run("health", "--server", b.Frontend().String(), "--cert", p.keys.SecretPath("admin"), "--server-key", p.keys.PublicPath("server"))
	if r.code != ExitConfig || !strings.Contains(r.errOut, "runs without security") {
		t.Errorf("keys for a broker without give %+v", r)
	}
}

// TestJSON_keepsItsNames holds the keys that scripts rely on.
func TestJSON_keepsItsNames(t *testing.T) {
	p := newPlace(t)
	p.serve()
	p.work("w1")
	p.call("hold")
	p.until("the call runs", func() bool { return strings.Contains(p.ok("calls").out, "hold") })
	for command, want := range map[string]string{
		"status": "accepted backend connections draining duplicates failed failed_by frontend handshakes handshakes_refused held_bytes " +
			"held_calls id instance joined late law_holds name orphaned queued rate reclaimed redispatched refused refused_by returned running " +
			"secure sessions succeeded uptime version workers",
		"health": "draining healthy workers",
		"workers": "address alone busy capacity config connected failed host id last_exit local methods name pid plain restarts state stderr " +
			"stopping succeeded version",
		"methods":  "aliases doc failed idempotent name queued running signature stream succeeded workers",
		"calls":    "age attempt call client deadline method name size state worker",
		"sessions": "address attached calls client name outcomes plain session",
		"reload":   "applied restart",
		"doctor":   "finding remedy status step",
	} {
		var answer any
		p.json(&answer, command)
		if list, ok := answer.([]any); ok {
			answer = list[0]
		}
		if got := strings.Join(slices.Sorted(maps.Keys(answer.(map[string]any))), " "); got != want {
			t.Errorf("%s -o json has the keys\n%s, not\n%s", command, got, want)
		}
	}
}
