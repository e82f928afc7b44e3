package supervise

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"time"

	"github.com/servicetools/servicetools/workersdk/group"
)

// outputGrace is how long output is read on when a process has ended and
// something that left its group holds the pipe open.
const outputGrace = time.Second

// process is a started child with everything it starts.
type process struct {
	pid      int
	evidence *evidence
	ended    context.Context // done when the child is reaped and its group killed
	status   string          // valid when ended

	cmd   *exec.Cmd
	group *group.Group
}

// launch starts a process on the thread that lasts as long as Run.
func (s *Supervisor) launch(spec Spec) (*process, error) {
	cmd, err := spec.command(s.config.Script)
	if err != nil {
		return nil, err
	}
	emit, err := s.destination(spec)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, evidence: &evidence{}}
	stdout := &lines{emit: emit}
	stderr := &lines{emit: func(line []byte) { p.evidence.add(line); emit(line) }}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = stdout, stderr, outputGrace
	cmd.SysProcAttr = bindToParent()

	result := make(chan error)
	s.starts <- func() { p.group, err = group.Start(cmd); result <- err }
	if err := <-result; err != nil {
		return nil, err
	}
	p.pid = cmd.Process.Pid
	ended, end := context.WithCancel(context.Background())
	p.ended = ended
	go func() {
		defer end()
		err := p.group.Wait()
		stdout.flush()
		stderr.flush()
		switch {
		case cmd.ProcessState != nil:
			p.status = cmd.ProcessState.String()
		case err != nil:
			p.status = err.Error()
		}
	}()
	return p, nil
}

// terminate asks the child, and it alone, to end: what it started is its own to
// end in good order.
func (p *process) terminate() {
	if err := terminate(p.cmd.Process); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.group.Kill() // it cannot be asked
	}
}
