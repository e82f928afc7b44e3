//go:build unix

package broker

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/servicetools/servicetools/wire/message"
)

// host is a site whose broker has a configuration file and runs workers that
// do nothing but live.
type host struct {
	*site
	server, worker string // their files
	levels         []string
}

const serverText = `[main]
id = 7
ip = 127.0.0.1
port = 0
backend_port = 0
public_keys_dir = %s
secret_keys_dir = %s
[workers]
num_workers = 1
auto_start = True
worker_config_paths = [%q]
worker_script_path = %s
[logging]
log_dir = %s
logging_mode = INFO
[dispatch]
drain_timeout = 1s
`

func startHost(t *testing.T) *host {
	dir := t.TempDir()
	h := &host{server: filepath.Join(dir, "server.ini"), worker: filepath.Join(dir, "worker.ini")}
	script := filepath.Join(dir, "script.sh")
	write(t, script, "#!/bin/sh\necho 'the last words' >&2\nexec sleep 600\n")
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, h.worker, "[main]\nid = w\nname = tester\n")
	h.site = start(t, func(cfg *Config) {
		write(t, h.server, fmt.Sprintf(serverText, cfg.Main.PublicKeysDir, cfg.Main.SecretKeysDir, h.worker, script, dir))
		loaded, err := Load(h.server)
		if err != nil {
			t.Fatal(err)
		}
		*cfg = *loaded
	})
	return h
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// edit replaces a piece of the server's file.
func (h *host) edit(old, new string) {
	h.t.Helper()
	text, err := os.ReadFile(h.server)
	if err != nil || !strings.Contains(string(text), old) {
		h.t.Fatalf("no %q in the file, %v: %s", old, err, text)
	}
	write(h.t, h.server, strings.Replace(string(text), old, new, 1))
}

// running waits for n processes and returns what broker.workers says of them.
func (h *host) running(n int) (live []WorkerView) {
	h.t.Helper()
	until(h.t, fmt.Sprintf("%d processes", n), func() bool {
		var all []WorkerView
		h.ok(&all, "broker.workers")
		live = slices.DeleteFunc(all, func(v WorkerView) bool { return v.PID == 0 })
		return len(live) == n
	})
	return live
}

func TestLocal_addScaleAndRemove(t *testing.T) {
	h := startHost(t)
	if w := h.running(1)[0]; !w.Local || w.ID != "w" || w.Config != h.worker {
		t.Errorf("worker %+v", w)
	}
	var ids []string
	h.ok(&ids, "broker.add", h.worker, 2)
	if len(ids) != 2 || slices.Contains(ids, "w") {
		t.Errorf("added %v", ids)
	}
	h.running(3)
	var rest []WorkerView
	h.ok(&rest, "broker.scale", 2)
	h.running(2)
	var removed string
	h.ok(&removed, "broker.remove", ids[0][:8], true)
	if removed != ids[0] {
		t.Errorf("%.8s removes %q", ids[0], removed)
	}
	h.ok(&removed, "broker.remove", "w", true)
	h.running(0)
}

// A worker that dies is lost with all that its process has left.
func TestLocal_evidenceOfALostProcess(t *testing.T) {
	h := startHost(t)
	pid := h.running(1)[0].PID
	w := h.compact(h.broker.Backend(), "worker")
	w.send(message.Envelope{Kind: message.KindRegister, Body: message.Marshal(&message.Register{
		Worker: "w", PID: pid, Concurrency: 1, Methods: []message.Method{{Name: "job"}},
	})})
	w.want(message.KindRegistered)
	c, _ := h.attach(message.SessionID{1}, 0)
	c.send(call(t, 1, "job", 0))
	w.want(message.KindCall)
	until(t, "the worker's last words", func() bool { // which its shell writes before anything else
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		return strings.TrimSpace(string(comm)) != "script.sh"
	})
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.link.Close(nil)
	e := c.wantError(message.KindError, message.WorkerLost)
	if exit, _ := e.Details["exit"].(string); !strings.Contains(exit, "killed") {
		t.Errorf("the evidence is %v", e.Details)
	}
}

// A worker that is removed has the drain timeout for the calls that it runs.
func TestLocal_removeWaitsForTheCalls(t *testing.T) {
	h := startHost(t)
	pid := h.running(1)[0].PID
	w := h.compact(h.broker.Backend(), "worker")
	w.send(message.Envelope{Kind: message.KindRegister, Body: message.Marshal(&message.Register{
		Worker: "w", PID: pid, Concurrency: 1, Methods: []message.Method{{Name: "job"}},
	})})
	w.want(message.KindRegistered)
	c, _ := h.attach(message.SessionID{1}, 0)
	c.send(call(t, 1, "job", 0))
	e := w.want(message.KindCall)
	var removed string
	h.ok(&removed, "broker.remove", "w")
	w.want(message.KindDrain)
	if syscall.Kill(pid, 0) != nil {
		t.Error("the process was ended before its call")
	}
	w.send(answer(t, e, nil))
	c.want(message.KindResult)
	h.running(1) // the link that says it is the process
	w.link.Close(nil)
	h.running(0)
}

// A reload applies what is live, names the rest, and a bad file changes nothing.
func TestReload_appliesWhatIsLive(t *testing.T) {
	h := startHost(t)
	h.broker.setLevel = func(mode string) error { h.levels = append(h.levels, mode); return nil }
	h.running(1)

	h.edit("drain_timeout = 1s", "drain_timeout = 2s\n[limits]\nmax_message = 2 MiB")
	h.edit("logging_mode = INFO", "logging_mode = DEBUG")
	h.edit("num_workers = 1", "num_workers = 2")
	h.edit("id = 7", "id = 8")
	var v ReloadView
	h.ok(&v, "broker.reload")
	for _, want := range []string{"dispatch.drain_timeout", "limits.max_message", "logging.logging_mode", "workers.num_workers"} {
		if !slices.Contains(v.Applied, want) {
			t.Errorf("applied %v, want %s", v.Applied, want)
		}
	}
	if !slices.Contains(v.Restart, "main.id") {
		t.Errorf("to be restarted for %v, want main.id", v.Restart)
	}
	if got := h.broker.drainTimeout(); got != 2*time.Second {
		t.Errorf("the drain timeout in force is %v", got)
	}
	if _, attached := h.attach(message.SessionID{1}, 0); attached.MaxMessage != 2<<20 {
		t.Errorf("a client is told %d bytes", attached.MaxMessage)
	}
	if !slices.Equal(h.levels, []string{"DEBUG"}) {
		t.Errorf("the levels set are %v", h.levels)
	}
	h.running(2)

	h.edit("drain_timeout = 2s", "drain_timeout = soon")
	h.refused("admin", message.BadArgs, "broker.reload")
	h.edit("drain_timeout = soon", "drain_timeout = 3s")
	bad := filepath.Join(filepath.Dir(h.worker), "bad.ini")
	write(t, bad, "[main]\nnonsense = 1\n")
	h.edit(`worker-2.ini"`, `worker-2.ini", "`+bad+`"`)
	h.edit("num_workers = 2", "num_workers = 3")
	h.refused("admin", message.BadArgs, "broker.reload")
	if got := h.broker.drainTimeout(); got != 2*time.Second {
		t.Errorf("a bad file set the drain timeout to %v", got)
	}

	h.edit("num_workers = 3", "num_workers = 1")
	h.ok(&v, "broker.reload")
	h.running(1)
	if !slices.Equal(v.Restart, []string{"main.id"}) || slices.Contains(v.Applied, "main.id") {
		t.Errorf("a later reload says %+v: main.id still waits", v)
	}
	h.edit("id = 8", "id = 7")
	h.ok(&v, "broker.reload")
	if len(v.Applied)+len(v.Restart) != 0 {
		t.Errorf("what is as it was at the start needs %+v", v)
	}
}
