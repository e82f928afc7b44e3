// Package readme runs what README.md shows, so that a reader can paste it.
package readme

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/integration/python"
	"github.com/servicetools/servicetools/wire/curve"
)

const root = "../.."

// snippets returns the fenced blocks of a language, in order.
func snippets(t *testing.T, file, language string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	rest := string(text)
	for {
		_, after, ok := strings.Cut(rest, "\n```"+language+"\n")
		if !ok {
			return blocks
		}
		block, next, ok := strings.Cut(after, "\n```")
		if !ok {
			t.Fatalf("%s: a block does not end", file)
		}
		blocks = append(blocks, block+"\n")
		rest = next
	}
}

// build compiles a program as if it lay in this module, and returns its path.
func build(t *testing.T, dir, name, source string) string {
	t.Helper()
	file := filepath.Join(dir, name+".go")
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{
		"Replace": {filepath.Join(here, name, "main.go"): file},
	})
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, source)
	write(t, file+".json", string(overlay))
	binary := filepath.Join(dir, name)
	out, err := exec.Command("go", "build", "-overlay", file+".json", "-o", binary, "./"+name).CombinedOutput()
	if err != nil {
		t.Fatalf("building the %s of README.md: %v\n%s", name, err, out)
	}
	return binary
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// runIn runs a program in dir and returns what it prints on stdout.
func runIn(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, program, args...)
	c.Dir = dir
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// TestReadme_programsWorkAsShown builds and runs the worker, the Go client and
// the Python client, with the worker on "a second machine" that has only the
// two files that the text says.
func TestReadme_programsWorkAsShown(t *testing.T) {
	home := t.TempDir()
	keys := curve.KeysetIn(filepath.Join(home, "keys"))
	for name, role := range map[string]curve.Role{"server": curve.RoleServer, "me": curve.RoleClient, "gpu1": curve.RoleWorker} {
		if _, err := keys.Generate(curve.Request{Name: name, Role: role}); err != nil {
			t.Fatal(err)
		}
	}
	frontend, backend := runBroker(t, keys)

	goBlocks := snippets(t, "README.md", "go")
	if len(goBlocks) != 2 {
		t.Fatalf("README.md has %d Go programs, this test knows two", len(goBlocks))
	}
	second := t.TempDir()
	for _, file := range []string{keys.SecretPath("gpu1"), keys.PublicPath("server")} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(second, filepath.Base(file)), string(b))
	}
	ini := snippets(t, "README.md", "ini")[0]
	write(t, filepath.Join(second, "worker.ini"), strings.NewReplacer("broker.example.org", "127.0.0.1", "9006", backend).Replace(ini))
	worker := exec.Command(build(t, home, "calc", goBlocks[0]), "--config_file=worker.ini")
	worker.Dir, worker.Stderr = second, os.Stderr
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = worker.Process.Signal(os.Interrupt)
		if err := worker.Wait(); err != nil {
			t.Errorf("the worker ended with %v", err)
		}
	})

	client := strings.ReplaceAll(goBlocks[1], "8006", frontend)
	if got := runIn(t, home, build(t, home, "client", client)); got != "3 ababab" {
		t.Errorf("the Go client prints %q", got)
	}
	interpreter := python.Find(t)
	script := strings.ReplaceAll(snippets(t, "README.md", "python")[0], "8006", frontend)
	if got := runIn(t, home, interpreter, "-c", script); got != "3" {
		t.Errorf("the Python client prints %q", got)
	}
}

// runBroker runs a broker for the test and returns its ports.
func runBroker(t *testing.T, keys curve.Keyset) (frontend, backend string) {
	t.Helper()
	cfg := &broker.Config{}
	cfg.Main.IP = "localhost"
	cfg.Main.PublicKeysDir, cfg.Main.SecretKeysDir = keys.PublicDir, keys.SecretDir
	b, err := broker.New(cfg, broker.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	_, frontend, _ = net.SplitHostPort(b.Frontend().String())
	_, backend, _ = net.SplitHostPort(b.Backend().String())
	return frontend, backend
}
