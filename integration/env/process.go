package env

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// Python is the interpreter that Debian's packages install for.
const Python = "/usr/bin/python3"

// remedies says how to install what the tests need, by the name that
// SERVICETOOLS_WITHOUT gives it.
var remedies = map[string]string{
	"pyzmq": "apt-get install python3-zmq python3-msgpack",
}

// Without reports whether the environment variable SERVICETOOLS_WITHOUT, a list
// with commas, says that a foreign peer is missing here on purpose.
func Without(peer string) bool {
	return slices.Contains(strings.Split(os.Getenv("SERVICETOOLS_WITHOUT"), ","), peer)
}

// RequirePyzmq reports whether pyzmq is there. If it is not, the test fails and
// names the remedy, unless SERVICETOOLS_WITHOUT names pyzmq.
func RequirePyzmq(t TB) bool {
	t.Helper()
	if exec.Command(Python, "-c", "import zmq, msgpack").Run() == nil {
		return true
	}
	if Without("pyzmq") {
		t.Logf("NOT RUN: %s needs pyzmq, and SERVICETOOLS_WITHOUT names it", t.Name())
	} else {
		t.Errorf("this test needs pyzmq: run '%s' as root, or set SERVICETOOLS_WITHOUT=pyzmq to go without", remedies["pyzmq"])
	}
	return false
}

// Process is a child process that is told what to do by one JSON value and
// answers in lines of JSON. It ends with its test, or when its input does.
type Process struct {
	t     TB
	cmd   *exec.Cmd
	input io.WriteCloser
	lines chan string
	once  sync.Once
}

// RunPython starts a script of the test's folder with spec as its argument.
func RunPython(t TB, script string, spec any) *Process {
	t.Helper()
	arg, err := json.Marshal(spec)
	if err != nil {
		t.Fatalf("the task of %s: %v", script, err)
	}
	p := &Process{t: t, cmd: exec.Command(Python, "-u", script, string(arg)), lines: make(chan string, 1000)}
	p.cmd.Stderr = os.Stderr
	if p.input, err = p.cmd.StdinPipe(); err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	output, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	go func() {
		defer close(p.lines)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			p.lines <- lines.Text()
		}
	}()
	t.Cleanup(p.Kill)
	return p
}

// patience is how long a process may take for one line.
const patience = 60 * time.Second

// Next reads the next line into v; the test fails when there is none.
func (p *Process) Next(v any) {
	p.t.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			p.t.Fatalf("the process %s ended without an answer", p.cmd.Args[2])
		}
		if err := json.Unmarshal([]byte(line), v); err != nil {
			p.t.Fatalf("the process %s says %q: %v", p.cmd.Args[2], line, err)
		}
	case <-time.After(patience):
		p.t.Fatalf("the process %s says nothing for %v", p.cmd.Args[2], patience)
	}
}

// Kill ends the process as SIGKILL does, and waits for it.
func (p *Process) Kill() {
	p.once.Do(func() {
		_ = p.cmd.Process.Kill()
		for range p.lines {
		}
		_ = p.cmd.Wait()
	})
}
