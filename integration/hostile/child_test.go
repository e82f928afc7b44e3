package hostile

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// What makes a process of this test's binary the target or an attacker.
const (
	targetEnv = "SERVICETOOLS_HOSTILE_TARGET" // the target's key folder
	filesEnv  = "SERVICETOOLS_HOSTILE_FILES"  // the target's limit of open files
	crowdEnv  = "SERVICETOOLS_HOSTILE_CROWD"  // the target's limit of connections of a key
	attackEnv = "SERVICETOOLS_HOSTILE_ATTACK" // the name of an attack
)

// TestMain is also the main of the target's and the attackers' processes.
func TestMain(m *testing.M) {
	var err error
	if dir := os.Getenv(targetEnv); dir != "" {
		err = serve(dir)
	} else if name := os.Getenv(attackEnv); name != "" {
		err = strike(name)
	} else {
		code := m.Run()
		printTable()
		os.Exit(code)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child is another process of this test's binary. It is told what to do in
// lines, answers each with a line of JSON, and ends when its input does.
type child struct {
	cmd     *exec.Cmd
	input   io.WriteCloser
	answers *bufio.Scanner
}

// spawn starts a child, which ends with the test: a race or a panic in it fails
// the test. wrapper is a command in front of it, with its options.
func spawn(t *testing.T, wrapper []string, environ ...string) *child {
	t.Helper()
	line := append(wrapper[:len(wrapper):len(wrapper)], os.Args[0])
	c := &child{cmd: exec.Command(line[0], line[1:]...)}
	c.cmd.Env = append(os.Environ(), environ...)
	c.cmd.Stderr = os.Stderr
	var err error
	if c.input, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.answers = bufio.NewScanner(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.input.Close()
		late := time.AfterFunc(time.Minute, func() { _ = c.cmd.Process.Kill() })
		defer late.Stop()
		if err := c.cmd.Wait(); err != nil {
			t.Errorf("the process of %v ended with %v", environ, err)
		}
	})
	return c
}

// tell says a line to the child.
func (c *child) tell(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(c.input, line+"\n"); err != nil {
		t.Fatalf("a child process is gone: %v", err)
	}
}

// hear reads the child's next answer.
func (c *child) hear(t *testing.T, v any) {
	t.Helper()
	if !c.answers.Scan() {
		t.Fatal("a child process is gone")
	}
	if err := json.Unmarshal(c.answers.Bytes(), v); err != nil {
		t.Fatal(err)
	}
}
