//go:build linux

package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/servicetools/servicetools/integration/env"
)

// Process is a peer that is a process of its own. It dies with the test.
type Process struct {
	Name   string
	cmd    *exec.Cmd
	log    string        // file with what it wrote to stdout and stderr
	exited chan struct{} // closed when it was reaped; cmd.ProcessState is set then
}

// startProcess runs this binary in a role; what it writes goes to name.log in dir.
func startProcess(dir, name, role string, environment []string, args ...string) (*Process, error) {
	log := filepath.Join(dir, name+".log")
	out, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	binary, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), RoleVariable+"="+role, "GOTRACEBACK=all",
		"GORACE=atexit_sleep_ms=0") // the detector's goodbye takes a second each
	cmd.Env = append(cmd.Env, environment...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := env.StartChild(cmd); err != nil {
		return nil, err
	}
	p := &Process{Name: name, cmd: cmd, log: log, exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in ProcessState
		close(p.exited)
	}()
	return p, nil
}

// PID returns its process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends it a signal; one that has ended takes none.
func (p *Process) Signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

// Kill ends it by SIGKILL and returns when it is gone.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.exited
}

// Alive reports whether it has not been reaped.
func (p *Process) Alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Pause stops it until Resume.
func (p *Process) Pause() { p.Signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (p *Process) Resume() { p.Signal(syscall.SIGCONT) }

// Stop asks it to end in order and reports an exit with another status than 0.
func (p *Process) Stop() error {
	const patience = Patience + hangs
	p.Signal(syscall.SIGTERM)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		p.Signal(syscall.SIGQUIT) // its goroutines go to its log
		select {
		case <-p.exited:
		case <-time.After(5 * time.Second):
			p.Kill()
		}
		return fmt.Errorf("%s did not end within %v of SIGTERM; its log ends:\n%s", p.Name, patience, tail(p, 200))
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s ended with %v; its log ends:\n%s", p.Name, p.cmd.ProcessState, tail(p, 60))
	}
	return nil
}

// Log returns what it, and others of its name, wrote.
func (p *Process) Log() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
