//go:build unix

package workersdk

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/servicetools/servicetools/wire/message"
)

// asWorker makes the test binary a worker program: Main as users run it.
const asWorker = "WORKERSDK_TEST_AS_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(asWorker) != "" {
		Main(newLab())
	}
	os.Exit(m.Run())
}

// process starts a worker process. Its end is sent to the channel.
func process(t *testing.T, b *scripted) (*exec.Cmd, <-chan int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "--server", "tcp://"+b.addr, "--insecure", "--concurrency", "2")
	cmd.Env = append(os.Environ(), asWorker+"=1")
	cmd.Stderr = &syncBuffer{}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan int, 1)
	go func() {
		err := cmd.Wait()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Error(err)
		}
		ended <- cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // most have ended by now
		if t.Failed() {
			t.Logf("its log:\n%s", cmd.Stderr)
		}
	})
	return cmd, ended
}

func TestMain_signals(t *testing.T) {
	t.Run("the first one drains", func(t *testing.T) {
		b := newScripted(t, "127.0.0.1:0", 1, nil)
		cmd, ended := process(t, b)
		p := b.worker()
		p.call(1, "add", 1, 2)
		p.result(1)
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		p.want(message.KindCapacity, 0)
		p.want(message.KindBye, 0)
		if status := receive(t, ended, "the end of the process"); status != 0 {
			t.Errorf("got status %d", status)
		}
	})
	t.Run("the second one ends the process", func(t *testing.T) {
		b := newScripted(t, "127.0.0.1:0", 1, nil)
		cmd, ended := process(t, b)
		p := b.worker()
		p.call(1, "gate", "never opened")
		p.call(2, "add", 1, 1)
		p.result(2)
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		for e := p.next(); e.Kind != message.KindCapacity; e = p.next() {
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if status := receive(t, ended, "the end of the process"); status != exitInterrupted {
			t.Errorf("got status %d", status)
		}
		p.closed()
	})
	t.Run("a bad line ends it at once", func(t *testing.T) {
		cmd := exec.Command(os.Args[0], "--config_file", "/nonexistent/worker.ini")
		cmd.Env = append(os.Environ(), asWorker+"=1")
		out, err := cmd.CombinedOutput()
		if err == nil || cmd.ProcessState.ExitCode() != exitBadConfig || len(out) == 0 {
			t.Errorf("got %v\n%s", err, out)
		}
	})
}
