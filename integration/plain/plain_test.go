// Package plain tests peers that know nothing of servicetools but its plain
// protocol: pyzmq and msgpack, under CURVE.
package plain

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker"
	brokeradmin "github.com/servicetools/servicetools/broker/admin"
	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/integration/env"
	"github.com/servicetools/servicetools/workersdk/demo"
)

// start runs a script with arguments; it is ended with the test.
func start(t *testing.T, script string, args ...string) (output *bytes.Buffer, wait func() error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), env.Python, append([]string{filepath.Join("testdata", script)}, args...)...)
	output = new(bytes.Buffer)
	c.Stdout, c.Stderr = output, output
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	t.Cleanup(func() { _ = c.Process.Kill() })
	return output, func() error { return <-ended }
}

// workerFile writes the configuration of a worker, in the form of the Python library.
func workerFile(t *testing.T, main ...string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "worker.ini")
	text := "[main]\nid = ee8ac862-ac8d-45eb-a056-effa21c00889\nname = test worker\n" + strings.Join(main, "\n") + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// workersOf returns a function that waits for a row of broker.workers. A REP socket
// has no id by which its row could be that of its process.
func workersOf(t *testing.T, ctx context.Context, s *env.Site) (await func(what string, is func(broker.WorkerView) bool)) {
	t.Helper()
	keys, _ := s.Mechanism("admin")
	admin, err := clientsdk.Dial(ctx, s.Frontend(), clientsdk.WithKeys(keys.Key, keys.ServerKey))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Close(context.Background()) })
	return func(what string, is func(broker.WorkerView) bool) {
		t.Helper()
		for {
			var workers []broker.WorkerView
			raw, err := clientsdk.Call[clientsdk.Raw](ctx, admin, "broker.workers")
			if err == nil {
				err = brokeradmin.Decode(raw, &workers)
			}
			if err != nil {
				t.Fatalf("waiting for %s: %v", what, err)
			}
			if slices.ContainsFunc(workers, is) {
				return
			}
		}
	}
}

// connected says that a REP worker is there.
func connected(w broker.WorkerView) bool { return w.Plain && w.State == "connected" }

// TestSeedClient runs the client of the Python library's documentation,
// unchanged but for msgpack, against a Go worker.
func TestSeedClient(t *testing.T) {
	if !env.RequirePyzmq(t) {
		return
	}
	s := env.Start(t, nil)
	s.Worker(demo.Methods{}, 1)
	output, wait := start(t, "seed_client.py", filepath.Dir(s.Keys.PublicDir), s.Frontend())
	if err := wait(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	if got := strings.TrimSpace(output.String()); got != "non sense" {
		t.Errorf("the client prints %q", got)
	}
}

// TestREPWorker has zcall, and the SDK, call a Python worker that only has a
// REP socket.
func TestREPWorker(t *testing.T) {
	if !env.RequirePyzmq(t) {
		return
	}
	s := env.Start(t, nil)
	host, port, _ := strings.Cut(s.Broker.Backend().String(), ":")
	start(t, "rep_worker.py", "--config_file="+workerFile(t, "ip = "+host, "port = "+port,
		"public_keys_dir = "+s.Keys.PublicDir, "secret_keys_dir = "+s.Keys.SecretDir))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	workersOf(t, ctx, s)("the worker", connected)
	c := s.Client()
	sum, err := clientsdk.Call[int](ctx, c, "py_sum", 1, 2, 3)
	if err != nil || sum != 6 {
		t.Errorf("py_sum(1, 2, 3) = %d, %v", sum, err)
	}
	text, err := clientsdk.Call[string](ctx, c, "py_greet", clientsdk.Kwargs{"name": "go"})
	if err != nil || text != "hello go" {
		t.Errorf("py_greet(name=go) = %q, %v", text, err)
	}
	if _, err := clientsdk.Call[any](ctx, c, "py_missing"); !errors.Is(err, clientsdk.ErrApplication) {
		t.Errorf("an exception of the worker comes as %v", err)
	}

	zcall := exec.CommandContext(ctx, "go", "run", "../../clientsdk/cmd/zcall",
		"--server", s.Frontend(),
		"--cert", s.Keys.SecretPath("client"), "--server-key", s.Keys.PublicPath("server"), "py_sum", "20", "22")
	out, err := zcall.Output()
	if err != nil || strings.TrimSpace(string(out)) != "42" {
		t.Errorf("zcall py_sum 20 22 prints %q, %v", out, err)
	}
}

// TestREPWorker_startedByTheBroker: the file is one of the Python library, with
// neither a port nor keys. A call that ends the worker finds out what ended it,
// and the next call another one.
func TestREPWorker_startedByTheBroker(t *testing.T) {
	if !env.RequirePyzmq(t) {
		return
	}
	worker := workerFile(t, "ip = None", "port = None", "public_keys_dir = None", "secret_keys_dir = None", "python_path = "+env.Python)
	s := env.Start(t, func(c *broker.Config) {
		c.Workers.AutoStart, c.Workers.NumWorkers, c.Workers.WorkerConfigPaths = true, 1, []string{worker}
		c.Workers.WorkerScriptPath = filepath.Join("testdata", "rep_worker.py")
		c.Logging.LogDir = t.TempDir()
		c.Supervise.RestartBackoff = 10 * time.Millisecond
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	await := workersOf(t, ctx, s)
	c := s.Client()
	for ended := range 2 {
		await("the worker", connected)
		if sum, err := clientsdk.Call[int](ctx, c, "py_sum", 1, 2); err != nil || sum != 3 {
			t.Errorf("py_sum(1, 2) = %d, %v", sum, err)
		}
		if _, err := clientsdk.Call[any](ctx, c, "py_exit", 7); !errors.Is(err, clientsdk.ErrWorkerLost) {
			t.Errorf("the worker's end comes as %v", err)
		}
		await("its restart", func(w broker.WorkerView) bool {
			return w.Name == "test worker" && w.Local && w.Restarts > ended && w.LastExit == "exit status 7"
		})
	}
}
