//go:build unix

package workersdk

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/servicetools/servicetools/wire/message"
)

func mustProgram(t *testing.T, argv ...string) *Program {
	t.Helper()
	p, err := NewProgram(argv...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestProgram_results(t *testing.T) {
	for _, c := range []struct {
		name  string
		argv  []string
		input []string
		pass  bool
		want  any
	}{
		{"no argument is an empty input", []string{"cat"}, nil, false, ""},
		{"text", []string{"cat"}, []string{"été\n"}, false, "été\n"},
		{"bytes", []string{"cat"}, []string{"\xff\x00"}, false, []byte("\xff\x00")},
		{"own arguments", []string{"echo", "-n", "a b"}, nil, false, "a b"},
		{"input that is not read", []string{"true"}, []string{strings.Repeat("x", 1<<20)}, false, ""},
		{"further arguments", []string{"echo", "a"}, []string{"", "b", "$(c)"}, true, "a b $(c)\n"},
		{"stderr is not the result", []string{"sh", "-c", "echo noise >&2; echo signal"}, nil, false, "signal\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := mustProgram(t, c.argv...)
			p.PassArgs = c.pass
			got, err := p.Run(t.Context(), c.input...)
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
}

func TestProgram_failures(t *testing.T) {
	for _, c := range []struct {
		name    string
		script  string
		input   []string
		code    message.Code
		text    string
		details map[string]any
	}{
		{"status", "echo one >&2; echo two >&2; exit 3", nil, "exit_status", "exit status 3: two",
			map[string]any{"status": 3, "stderr": []string{"one", "two"}}},
		{"signal", "kill -9 $$", nil, "exit_status", "signal: killed", map[string]any{"signal": "signal: killed", "stderr": []string(nil)}},
		{"too many arguments", "true", []string{"", "-x"}, "usage", "takes one argument", nil},
		{"output without end", "yes", nil, "output_too_large", "more than", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := mustProgram(t, "sh", "-c", c.script).Run(t.Context(), c.input...)
			var e *Error
			if !errors.As(err, &e) || e.Code != c.code || !strings.Contains(e.Message, c.text) || !reflect.DeepEqual(e.Details, c.details) {
				t.Errorf("got %v %v", err, e.Details)
			}
		})
	}
	if _, err := NewProgram("no-such-program-anywhere"); err == nil {
		t.Error("a missing program is accepted")
	}
}

// The end of the context kills what the program started, too.
func TestProgram_cancelKillsTheGroup(t *testing.T) {
	leakCheck(t)
	ctx, cancel := context.WithCancel(t.Context())
	pidFile := filepath.Join(t.TempDir(), "pid")
	done := make(chan error, 1)
	p := mustProgram(t, "sh", "-c", `sleep 1000 & echo $! >"$0.tmp"; mv "$0.tmp" "$0"; wait`, pidFile)
	go func() {
		_, err := p.Run(ctx)
		done <- err
	}()
	var child int
	until(t, "the child runs", func() bool {
		b, err := os.ReadFile(pidFile)
		child, _ = strconv.Atoi(strings.TrimSpace(string(b)))
		return err == nil && child > 0
	})
	cancel()
	if err := receive(t, done, "the end of the program"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	until(t, "the child is gone", func() bool {
		// A killed orphan may stay as a zombie where nobody reaps it.
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(child) + "/stat")
		return syscall.Kill(child, 0) != nil || err == nil && strings.Contains(string(stat), ") Z ")
	})
}

func TestProgram_throughAWorker(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	run := mustProgram(t, "sh", "-c", `cat; echo " $SERVICETOOLS_CALL_ATTEMPT"`).Run
	start(t, b, nil, nil, WithFunc("Shell.cat", run, "Runs sh."), WithIdempotent("Shell.cat"))
	p := b.worker()
	if m := p.register.Methods; len(m) != 1 || m[0].Name != "Shell.cat" || !m[0].Idempotent || m[0].Doc != "Runs sh." {
		t.Errorf("got %+v", m)
	}
	p.call(1, "Shell.cat", []byte("in"))
	if got := p.result(1); got != "in 1\n" {
		t.Errorf("got %q", got)
	}
	p.call(2, "Shell.cat", 5)
	if e := p.failure(2); e.Code != message.BadArgs {
		t.Errorf("got %v", e)
	}
}
