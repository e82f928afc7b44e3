// Package readme runs what README.md shows, so that a reader can paste it.
package readme

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/integration/env"
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

// scene is the folder in which a reader works: the commands and the worker in
// bin, what `broker dev` made in .servicetools.
type scene struct {
	t   *testing.T
	dir string
	env []string // with PATH, and the line that broker dev prints
}

// run runs a command in the folder and returns what it prints on stdout.
func (s *scene) run(name string, args ...string) string {
	s.t.Helper()
	return s.runIn(s.dir, name, args...)
}

func (s *scene) runIn(dir, name string, args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, name, args...)
	if !strings.Contains(name, "/") {
		c = exec.CommandContext(ctx, filepath.Join(s.dir, "bin", name), args...)
	}
	c.Dir, c.Env = dir, s.env
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		s.t.Fatalf("%s %q: %v\n%s", name, args, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// background runs a program until the test ends and returns the lines it prints on stdout.
func (s *scene) background(dir, program string, args ...string) <-chan string {
	s.t.Helper()
	c := exec.Command(program, args...)
	c.Dir, c.Env = dir, s.env
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	lines := make(chan string, 16)
	ended := make(chan error, 1)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			lines <- scanner.Text()
		}
		ended <- c.Wait()
	}()
	s.t.Cleanup(func() {
		_ = c.Process.Signal(os.Interrupt)
		if err := <-ended; err != nil {
			s.t.Errorf("%s ended with %v\n%s", program, err, stderr.String())
		}
	})
	return lines
}

// TestReadme_worksAsShown goes the way of a reader: builds the worker, runs it
// with broker dev, calls it with zcall, in Go and in Python, and puts another
// one on "a second machine" that has only the files that the text says.
func TestReadme_worksAsShown(t *testing.T) {
	programs := snippets(t, "README.md", "go")
	if len(programs) != 2 {
		t.Fatalf("README.md has %d Go programs, this test knows two", len(programs))
	}
	s := &scene{t: t, dir: t.TempDir(), env: os.Environ()}
	bin := filepath.Join(s.dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	calc := build(t, bin, "calc", programs[0])
	for _, command := range []string{"broker/cmd/broker", "clientsdk/cmd/zcall", "certtool/cmd/certtool"} {
		if out, err := exec.Command("go", "build", "-o", bin, root+"/"+command).CombinedOutput(); err != nil {
			t.Fatalf("building %s: %v\n%s", command, err, out)
		}
	}

	lines := s.background(s.dir, filepath.Join(bin, "broker"), "dev", "--worker", "bin/calc")
	export, ok := strings.CutPrefix(<-lines, "export ")
	if !ok {
		t.Fatal("broker dev does not print an export line first")
	}
	s.env = append(s.env, strings.Fields(export)...)
	if call := <-lines; !strings.HasPrefix(call, "zcall add ") {
		t.Errorf("broker dev proposes %q", call)
	}
	if got := s.run("zcall", "add", "1", "2"); got != "3" {
		t.Errorf("zcall add 1 2 prints %q", got)
	}
	if got := s.run("zcall", "repeat", "--kwargs", `{"text": "ab", "count": 3}`); got != `"ababab"` {
		t.Errorf("zcall repeat prints %q", got)
	}
	if got := s.run("zcall", "describe"); !strings.Contains(got, "repeat") {
		t.Errorf("zcall describe prints %q", got)
	}

	// The port is 8006 unless something else has it on this machine.
	cfg, err := broker.Load(filepath.Join(s.dir, ".servicetools", "server.ini"))
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(cfg.Main.Port)
	client := build(t, bin, "client", strings.ReplaceAll(programs[1], "8006", port))
	if got := s.run(client); got != "3 ababab" {
		t.Errorf("the Go client prints %q", got)
	}
	script := strings.ReplaceAll(snippets(t, "README.md", "python")[0], "8006", port)
	if env.RequirePyzmq(t) {
		if got := s.run(env.Python, "-c", script); got != "3" {
			t.Errorf("the Python client prints %q", got)
		}
	}

	s.run("certtool", "generate", "--path", ".servicetools", "--users", "worker", "--name", "gpu1")
	second := t.TempDir()
	for _, file := range []string{"private_keys/gpu1.key_secret", "public_keys/server.key"} {
		b, err := os.ReadFile(filepath.Join(s.dir, ".servicetools", file))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(second, filepath.Base(file)), string(b))
	}
	write(t, filepath.Join(second, "worker.ini"), strings.NewReplacer(
		"broker.example.org", "127.0.0.1", "9006", strconv.Itoa(cfg.Main.BackendPort),
	).Replace(snippets(t, "README.md", "ini")[0]))
	s.background(second, calc, "--config_file=worker.ini")
	for {
		if workers := s.run("broker", "workers", "--config", ".servicetools/server.ini"); strings.Contains(workers, "gpu1") {
			break
		}
		if t.Context().Err() != nil {
			t.Fatal("the worker of the second machine does not connect")
		}
	}
	s.runIn(second, calc, "check", "--config_file=worker.ini")
}
