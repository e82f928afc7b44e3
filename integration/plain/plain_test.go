// Package plain tests peers that know nothing of servicetools but its plain
// protocol: pyzmq and msgpack, under CURVE.
package plain

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/integration/env"
	"github.com/servicetools/servicetools/workersdk/demo"
)

// start runs a script with the site's keys and an endpoint; it is ended with the test.
func start(t *testing.T, s *env.Site, script, endpoint string) (output *bytes.Buffer, wait func() error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), env.Python, filepath.Join("testdata", script),
		filepath.Dir(s.Keys.PublicDir), endpoint)
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

// TestSeedClient runs the client of the Python library's documentation,
// unchanged but for msgpack, against a Go worker.
func TestSeedClient(t *testing.T) {
	if !env.RequirePyzmq(t) {
		return
	}
	s := env.Start(t, nil)
	s.Worker(demo.Methods{}, 1)
	output, wait := start(t, s, "seed_client.py", s.Frontend())
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
	start(t, s, "rep_worker.py", s.Backend())
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
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
