package command

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/servicetools/servicetools/broker/config"
)

func TestInit_writesWhatItWasTold(t *testing.T) {
	p := &place{T: t, dir: t.TempDir()}
	p.write("worker.ini", "[main]\n")
	r := p.run("init", "--config", "DIR/new.ini", "--id", "71c4810e-d0f7-4f06-aa50-2fa8b8cc4be2", "--name", "n", "--ip", "127.0.0.1",
		"--port", "8006", "--backend-port", "9006", "--keys", "DIR", "--num-workers", "4", "--auto-start",
		"--worker-config", "DIR/worker.ini", "--worker-config", "DIR/a,b.ini", "--worker-script", "DIR/w",
		"--log-dir", "DIR/logs", "--logging-mode", "DEBUG")
	path := filepath.Join(p.dir, "new.ini")
	if r.code != ExitOK || r.out != path+"\n" || !strings.Contains(r.errOut, "certtool generate") {
		t.Fatalf("init gives %+v", r)
	}
	c, err := config.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.Main.Port != 8006 || c.Main.BackendPort != 9006 || c.Workers.NumWorkers != 4 || !c.Workers.AutoStart ||
		len(c.Workers.WorkerConfigPaths) != 2 || c.Logging.LoggingMode != "DEBUG" || c.Main.PublicKeysDir != filepath.Join(p.dir, "public_keys") {
		t.Errorf("the file says %+v", c)
	}
	if r := p.run("init", "--config", "DIR/new.ini", "--insecure", "--overwrite"); r.code != ExitOK || strings.Contains(r.errOut, "certtool") {
		t.Errorf("an insecure one gives %+v", r)
	}
}

func TestConfigShow_namesTheOriginOfEachValue(t *testing.T) {
	p := newPlace(t)
	t.Setenv("SERVICETOOLS_DISPATCH_MAX_ATTEMPTS", "7")
	r := p.ok("config show", "--origin")
	for _, want := range [][]string{
		{"main", "name", "test", p.config + ":3", "restart"},
		{"dispatch", "max_attempts", "7", "environment SERVICETOOLS_DISPATCH_MAX_ATTEMPTS", "live"},
		{"dispatch", "beat", "5s", "default", "restart"},
		{"security", "crypto_slots", "-", "default", "restart"},
	} {
		found := false
		for line := range strings.Lines(r.out) {
			found = found || strings.Join(strings.Fields(line), " ") == strings.Join(want, " ")
		}
		if !found {
			t.Errorf("nothing says %v:\n%s", want, r.out)
		}
	}
	var settings []setting
	if p.json(&settings, "config show"); len(settings) != len(config.Schema.Keys()) {
		t.Errorf("there are %d settings", len(settings))
	}
}

// TestConfigShow_readsBack: what show prints is a file that means the same.
func TestConfigShow_readsBack(t *testing.T) {
	p := newPlace(t)
	before, err := config.Read(p.config)
	if err != nil {
		t.Fatal(err)
	}
	p.write("shown.ini", p.ok("config show").out)
	after, err := config.Read(filepath.Join(p.dir, "shown.ini"))
	if err != nil {
		t.Fatal(err)
	}
	if changes := config.Diff(before, after); len(changes) > 0 {
		t.Errorf("what is shown differs in %v", changes)
	}
}

func TestConfigCheck_writesNothing(t *testing.T) {
	p := newPlace(t)
	before, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	var findings []finding
	p.json(&findings, "config check")
	for _, f := range findings {
		if f.Status != statusOK {
			t.Errorf("a sound place has %+v", f)
		}
	}
	if after, _ := os.ReadFile(p.config); string(after) != string(before) {
		t.Error("the check has changed the file")
	}
	if err := os.Remove(p.keys.SecretPath("server")); err != nil {
		t.Fatal(err)
	}
	r := p.run("config", "check", "--config", p.config, "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &findings); err != nil || r.code != ExitConfig {
		t.Errorf("without the server's key it exits with %d: %s%v", r.code, r.out, err)
	}
}
