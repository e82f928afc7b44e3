package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/servicetools/servicetools/integration/env"
)

// How long a process may take for its next line, and to end in order.
const (
	patience    = 90 * time.Second
	stopTimeout = 10 * time.Second
)

// Process is one program of a system under test. It reads commands, one a line,
// and answers in lines of JSON; it ends when its input does, so also with the
// harness, and dies with it whatever else happens.
type Process struct {
	Name string

	cmd    *exec.Cmd
	input  io.WriteCloser
	lines  chan string   // closed at the end of its output
	log    string        // file of what it wrote to stderr
	exited chan struct{} // closed when it was reaped; cmd.ProcessState is set then
	once   sync.Once
}

// start runs a program of the site. What it writes to stderr goes to a log file.
func (s *Site) start(name string, argv ...string) (*Process, error) {
	log := filepath.Join(s.Dir, name+".log")
	file, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	p := &Process{Name: name, cmd: exec.Command(argv[0], argv[1:]...), log: log}
	p.lines, p.exited = make(chan string, 16), make(chan struct{})
	p.cmd.Stderr = file
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "SERVICETOOLS_") }) // they override configurations
	// A group of its own: Ctrl-C at the terminal is for the harness, which ends
	// its processes in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if p.input, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := env.StartChild(p.cmd); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		for lines := bufio.NewScanner(output); lines.Scan(); {
			p.lines <- lines.Text()
		}
		close(p.lines)
		_ = p.cmd.Wait() // how it ended is in ProcessState
		close(p.exited)
	}()
	return p, nil
}

// tell sends a command.
func (p *Process) tell(format string, args ...any) error {
	if _, err := fmt.Fprintf(p.input, format+"\n", args...); err != nil {
		return p.failed(err)
	}
	return nil
}

// next reads the next answer; one that reports a failure is an error.
func (p *Process) next(ctx context.Context) (Answer, error) { return p.nextWithin(ctx, patience) }

// nextWithin is next with another patience.
func (p *Process) nextWithin(ctx context.Context, patience time.Duration) (Answer, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case line, ok := <-p.lines:
		var a Answer
		if !ok {
			return a, p.failed(errors.New("it ended"))
		}
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			return a, p.failed(fmt.Errorf("it said %q", line))
		}
		if a.Error != "" {
			return a, p.failed(errors.New(a.Error))
		}
		return a, nil
	case <-ctx.Done():
		return Answer{}, context.Cause(ctx)
	case <-timer.C:
		return Answer{}, p.failed(fmt.Errorf("it said nothing for %v", patience))
	}
}

// ready waits for the address at which the process serves.
func (p *Process) ready(ctx context.Context) (string, error) {
	a, err := p.next(ctx)
	return a.Ready, err
}

// PID returns its process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// stop ends the process in order, by force if it takes too long, and waits for
// its end. A second stop does nothing.
func (p *Process) stop() {
	p.once.Do(func() {
		p.input.Close()
		go func() { // its reader must not wait for us
			for range p.lines {
			}
		}()
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.exited:
		case <-time.After(stopTimeout):
			_ = p.cmd.Process.Kill()
			<-p.exited
		}
	})
}

// failed names the process and adds the end of its log to an error.
func (p *Process) failed(err error) error {
	b, readErr := os.ReadFile(p.log)
	if readErr != nil {
		b = []byte(readErr.Error())
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return fmt.Errorf("%s: %w\n%s", p.Name, err, strings.Join(lines[max(0, len(lines)-20):], "\n"))
}
