package env_test

import (
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/servicetools/servicetools/integration/env"
)

// A child outlives the threads that come and go while it runs.
func TestStartChild_threadsEnd(t *testing.T) {
	type child struct {
		cmd    *exec.Cmd
		input  io.WriteCloser
		output io.Reader
	}
	var children []child
	for range 8 {
		cmd := exec.Command("/bin/cat")
		input, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		output, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		// Whoever starts it is locked to its thread, and takes that along.
		tid := make(chan int)
		go func() {
			runtime.LockOSThread()
			if err := env.StartChild(cmd); err != nil {
				t.Error(err)
			}
			tid <- syscall.Gettid()
		}()
		awaitThreadEnd(<-tid)
		children = append(children, child{cmd, input, output})
	}
	for i, c := range children {
		if _, err := c.input.Write([]byte("alive")); err != nil {
			t.Errorf("child %d: %v", i, err)
		}
		c.input.Close()
		if b, err := io.ReadAll(c.output); string(b) != "alive" || err != nil {
			t.Errorf("child %d says %q, %v", i, b, err)
		}
		if err := c.cmd.Wait(); err != nil {
			t.Errorf("child %d: %v", i, err)
		}
	}
}

// awaitThreadEnd returns when a thread of this process is gone; a test that waits
// in vain is ended by the limit of go test. The first thread stays, unused.
func awaitThreadEnd(tid int) {
	for tid != os.Getpid() {
		if _, err := os.Stat("/proc/self/task/" + strconv.Itoa(tid)); err != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
