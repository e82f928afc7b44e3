//go:build unix

package group

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// parentEnv makes the test binary start the program that its arguments name and
// wait for it.
const parentEnv = "GROUP_TEST_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(parentEnv) == "" {
		_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // of the children: the detector's goodbye takes a second each
		os.Exit(m.Run())
	}
	g, err := Start(exec.Command(os.Args[1], os.Args[2:]...))
	if err == nil {
		fmt.Println("started")
		err = g.Wait()
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(9)
}

// family is a program that has started another one, which ignores SIGTERM. It
// lives for ever; the line that follows may end it.
const family = `
	sh -c 'trap "" TERM; echo $$ >"$0.new"; mv "$0.new" "$0"; while :; do sleep 1000; done' "$0" &
	`

// childOf returns the id of the child that the family has noted in a file.
func childOf(t *testing.T, path string) (pid int) {
	t.Helper()
	await(t, func() bool {
		b, err := os.ReadFile(path)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
		return err == nil
	})
	return pid
}

// await returns when the condition holds; a test that waits in vain is ended by
// the limit of go test, which shows where.
func await(t *testing.T, condition func() bool) {
	t.Helper()
	for !condition() {
		if t.Failed() {
			t.FailNow()
		}
		time.Sleep(time.Millisecond)
	}
}

// alive reports whether a process runs. One that nobody reaped yet does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return runtime.GOOS != "linux" && syscall.Kill(pid, 0) == nil
	}
	_, rest, _ := bytes.Cut(b, []byte(") "))
	return rest[0] != 'Z' && rest[0] != 'X'
}

func mustStart(t *testing.T, cmd *exec.Cmd) *Group {
	t.Helper()
	g, err := Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// nothingIsLeft checks that no guard outlives the groups.
func nothingIsLeft(t *testing.T) {
	t.Helper()
	theGuard.mu.Lock()
	defer theGuard.mu.Unlock()
	if len(theGuard.groups) != 0 || theGuard.shell != nil {
		t.Errorf("the guard still holds %v", theGuard.groups)
	}
}

func TestGroup_endsWithItsProgram(t *testing.T) {
	for name, row := range map[string]struct {
		script string
		end    func(g *Group, cancel context.CancelFunc)
		want   string
	}{
		"that leaves":       {family + "while ! [ -e \"$0\" ]; do :; done; exit 3", func(*Group, context.CancelFunc) {}, "exit status 3"},
		"that is killed":    {family + "wait", func(g *Group, _ context.CancelFunc) { g.Kill() }, "signal: killed"},
		"that is cancelled": {family + "wait", func(_ *Group, cancel context.CancelFunc) { cancel() }, "signal: killed"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			file := filepath.Join(t.TempDir(), "child")
			cmd := exec.CommandContext(ctx, "sh", "-c", row.script, file)
			g := mustStart(t, cmd)
			child := childOf(t, file)
			row.end(g, cancel)
			if err := g.Wait(); err == nil || cmd.ProcessState.String() != row.want {
				t.Errorf("it ended with %v, %v", err, cmd.ProcessState)
			}
			await(t, func() bool { return !alive(child) })
			g.Kill() // nobody any more
			nothingIsLeft(t)
		})
	}
}

// TestGroup_endsWithThisProcess: a process that is killed takes along what it
// has started, and what that has started.
func TestGroup_endsWithThisProcess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "child")
	us := exec.Command(os.Args[0], "sh", "-c", "echo $$ >\"$0.leader\"; "+family+"wait", file)
	us.Env = append(os.Environ(), parentEnv+"=1")
	out, err := us.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := us.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	child, leader := childOf(t, file), childOf(t, file+".leader")
	if err := us.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = us.Wait() // it was killed
	await(t, func() bool { return !alive(leader) && !alive(child) })
}

func TestStart_failsAsCommandsDo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, row := range map[string]struct {
		cmd  *exec.Cmd
		want error
	}{
		"no such program": {exec.Command("/no/such/program"), os.ErrNotExist},
		"out of time":     {exec.CommandContext(ctx, "sleep", "1000"), context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Start(row.cmd); !errors.Is(err, row.want) {
				t.Errorf("got %v", err)
			}
			nothingIsLeft(t)
		})
	}
}

func TestGroup_passesInputAndOutput(t *testing.T) {
	cmd := exec.Command("cat")
	cmd.Stdin = strings.NewReader("text")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	g := mustStart(t, cmd)
	if b, err := io.ReadAll(out); string(b) != "text" {
		t.Errorf("read %q, %v", b, err)
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}
