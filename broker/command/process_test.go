//go:build unix

package command

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker"
)

// process is the command broker as a process of its own.
type process struct {
	*exec.Cmd
	t      *testing.T
	lines  chan string   // of stderr
	output *bytes.Buffer // stdout; read it after wait
}

// spawn starts the command in the place, and kills it if the test leaves it.
func (p *place) spawn(args ...string) *process {
	p.Helper()
	self, err := os.Executable()
	if err != nil {
		p.Fatal(err)
	}
	s := &process{Cmd: exec.Command(self, args...), t: p.T, lines: make(chan string, 1000), output: &bytes.Buffer{}}
	s.Dir = p.dir
	s.Env = append(os.Environ(), asBroker+"=1")
	s.Stdout = s.output
	stderr, err := s.StderrPipe()
	if err != nil {
		p.Fatal(err)
	}
	if err := s.Start(); err != nil {
		p.Fatal(err)
	}
	go func() {
		defer close(s.lines)
		for r := bufio.NewScanner(stderr); r.Scan(); {
			s.lines <- r.Text()
		}
	}()
	p.Cleanup(func() { _ = s.Process.Kill() })
	return s
}

// sees waits for a line of stderr.
func (s *process) sees(text string) string {
	s.t.Helper()
	for line := range s.lines {
		if strings.Contains(line, text) {
			return line
		}
	}
	s.t.Fatalf("the broker ended before it logged %q", text)
	return ""
}

func (s *process) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// wait returns the exit code.
func (s *process) wait() int {
	s.t.Helper()
	for range s.lines { // stderr is read to its end before Wait closes it
	}
	var exit *exec.ExitError
	if err := s.Wait(); err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return s.ProcessState.ExitCode()
}

// served starts the place's broker as a process, on ports that the place's
// file names from then on.
func (p *place) served() *process {
	p.Helper()
	s := p.spawn("serve", "--config", p.config)
	line := s.sees(`"msg":"serving"`)
	field := func(name string) string {
		_, rest, _ := strings.Cut(line, `"`+name+`":"`)
		value, _, _ := strings.Cut(rest, `"`)
		return value
	}
	p.setPorts(field("frontend"), field("backend"))
	return s
}

func TestServe_endsInOrderOnASignal(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := newPlace(t)
		s := p.served()
		p.ok("health")
		s.signal(sig)
		if code := s.wait(); code != ExitOK {
			t.Errorf("after %v the broker exits with %d", sig, code)
		}
	}
}

func TestServe_endsAtOnceOnTheSecondSignal(t *testing.T) {
	p := newPlace(t)
	s := p.served()
	p.work("w1")
	p.call("hold")
	p.until("the call runs", func() bool { return strings.Contains(p.ok("calls").out, "hold") })
	s.signal(syscall.SIGTERM)
	s.signal(syscall.SIGINT) // an echo of the first, by which nothing ends
	s.sees(`"msg":"draining"`)
	p.ok("health")
	code := make(chan int)
	go func() { code <- s.wait() }()
	for {
		select {
		case got := <-code:
			if got != ExitInterrupted {
				t.Errorf("the broker exits with %d", got)
			}
			return
		case <-time.After(echo):
			_ = s.Process.Signal(syscall.SIGTERM) // it may have ended just now
		}
	}
}

func TestServe_reloadsOnHangUp(t *testing.T) {
	p := newPlace(t)
	s := p.served()
	if err := edit(p.config, [][3]string{{"logging", "logging_mode", "many"}}); err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGHUP)
	s.sees("unknown logging mode")
	if err := edit(p.config, [][3]string{{"logging", "logging_mode", "DEBUG"}}); err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGHUP)
	s.sees(`"configuration reloaded"`)
	s.signal(syscall.SIGTERM)
	if code := s.wait(); code != ExitOK {
		t.Errorf("the broker exits with %d", code)
	}
}

// TestWorkers_comeAndGo: processes that the broker starts, by every command
// that changes them.
func TestWorkers_comeAndGo(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := newPlace(t, "[workers]", "auto_start = True", "num_workers = 1", "worker_config_paths = [\"first.ini\"]",
		"worker_script_path = "+self, "[supervise]", "restart_backoff = 10ms")
	p.write("first.ini", "[main]\nid = w1\n")
	p.write("second.ini", "[main]\nid = w2\n")
	p.Chdir(p.dir)
	s := p.served()
	state := func(id string) (w broker.WorkerView, there bool) {
		var all []broker.WorkerView
		p.json(&all, "workers")
		i := slices.IndexFunc(all, func(w broker.WorkerView) bool { return w.ID == id })
		if i < 0 {
			return w, false
		}
		return all[i], true
	}
	connected := func(id string) func() bool {
		return func() bool { w, there := state(id); return there && w.State == "connected" && w.Local }
	}
	gone := func(id string) func() bool {
		return func() bool { w, there := state(id); return !there || w.Address == "" && w.PID == 0 }
	}
	p.until("the first worker is there", connected("w1"))
	if r := p.ok("add", "--worker-config", "second.ini"); r.out != "w2\n" {
		t.Errorf("add prints %q", r.out)
	}
	p.until("the second worker is there", connected("w2"))
	p.ok("scale", "3")
	p.until("a third is there", func() bool { return strings.Count(p.ok("workers").out, "connected") == 3 })

	p.ok("add", "--worker-config", "first.ini") // a further copy, though the broker knows the file by a relative path
	p.until("a fourth is there", func() bool { return strings.Count(p.ok("workers").out, "connected") == 4 })

	before, _ := state("w1")
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.until("the first is back", func() bool { w, _ := state("w1"); return w.State == "connected" && w.PID != before.PID })
	if w, _ := state("w1"); w.Restarts != 1 || w.LastExit != "signal: killed" {
		t.Errorf("after the restart it is %+v", w)
	}
	if r := p.ok("drain", "w1"); r.out != "w1\n" {
		t.Errorf("drain prints %q", r.out)
	}
	p.until("the drained one is back", func() bool { w, _ := state("w1"); return w.State == "connected" && w.Restarts == 2 })
	p.ok("remove", "w2", "--now")
	p.until("the second is gone", gone("w2"))
	s.signal(syscall.SIGTERM)
	if code := s.wait(); code != ExitOK {
		t.Errorf("the broker exits with %d", code)
	}
}

// TestDoctor_showsWhyAWorkerEnds: the last words of its process are in the line.
func TestDoctor_showsWhyAWorkerEnds(t *testing.T) {
	p := newPlace(t)
	p.write("worker.ini", "[main]\nid = w1\n")
	p.write("script", "#!/bin/sh\necho no licence >&2\nexit 3\n")
	if err := os.Chmod(p.dir+"/script", 0o755); err != nil {
		t.Fatal(err)
	}
	err := edit(p.config, [][3]string{
		{"workers", "auto_start", "True"}, {"workers", "worker_config_paths", `["` + p.dir + `/worker.ini"]`},
		{"workers", "worker_script_path", p.dir + "/script"}, {"logging", "log_dir", p.dir + "/logs"},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.serve()
	want := "after exit status 3, its last line: no licence"
	p.until("the worker has ended", func() bool { return strings.Contains(p.run("doctor", "--config", p.config).out, want) })
	r := p.ok("add", "--worker-config", p.dir+"/worker.ini", "--count", "2")
	if strings.Count(r.out, "\n") != 2 {
		t.Errorf("add prints %q", r.out)
	}
	cfg, err := broker.Load(p.config)
	if err != nil {
		t.Fatal(err)
	}
	r = p.run("add", "--server", cfg.FrontendAddr(), "--cert", p.keys.SecretPath("admin"), "--server-key", p.keys.PublicPath("server"),
		"--config", p.dir+"/worker.ini", "-o", "json")
	if r.code != ExitOK || !strings.HasPrefix(r.out, "[") {
		t.Errorf("add from elsewhere gives %+v", r)
	}
}

// TestDev_isReadyToUse: the two lines name files that are there, a second run
// uses the same keys, and a worker is started when one is given.
func TestDev_isReadyToUse(t *testing.T) {
	p := &place{T: t, dir: t.TempDir()}
	p.config = p.dir + "/dev/server.ini"
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out := newLines(2)
	key := ""
	code := runWhile(t, out, func() {
		p.ok("status")
		p.ok("config check")
		b, err := os.ReadFile(p.dir + "/dev/public_keys/server.key")
		if err != nil {
			t.Fatal(err)
		}
		key = string(b)
	}, "dev", "--dir", p.dir+"/dev")
	if code != ExitOK {
		t.Errorf("dev exits with %d", code)
	}
	first, second, _ := strings.Cut(strings.TrimSpace(out.String()), "\n")
	if first != "demoworker --config_file="+p.dir+"/dev/worker.ini" || !strings.HasPrefix(second, "zcall --server tcp://localhost:") {
		t.Errorf("dev prints\n%s", out)
	}
	for _, word := range strings.Fields(out.String()) {
		if strings.HasPrefix(word, p.dir) && !exists(word) {
			t.Errorf("there is no %s", word)
		}
	}

	t.Setenv(asBroker, "1")
	out = newLines(2)
	code = runWhile(t, out, func() {
		p.until("two workers are there", func() bool { return strings.Count(p.ok("workers").out, "connected") == 2 })
	}, "dev", "--dir", p.dir+"/dev", "--worker", self, "--num-workers", "2")
	if code != ExitOK {
		t.Errorf("dev exits with %d", code)
	}
	first, second, _ = strings.Cut(strings.TrimSpace(out.String()), "\n")
	if !strings.HasPrefix(first, "export SERVICETOOLS_SERVER=tcp://localhost:") || second != "zcall double 1" {
		t.Errorf("dev with a worker prints\n%s", out)
	}
	if b, err := os.ReadFile(p.dir + "/dev/public_keys/server.key"); err != nil || string(b) != key {
		t.Errorf("the second run has another key: %v", err)
	}
}
