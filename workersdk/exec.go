package workersdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/workersdk/group"
)

func execCommand(opts []Option) *cli.Command {
	return &cli.Command{
		Name:      "exec",
		Usage:     "serve a command: each call runs it, the argument is its stdin, its stdout the result",
		UsageText: "exec --config_file worker.ini word_count -- wc -w",
		Description: "The first argument of a call, text or bytes, is the standard input; none is an empty one. The result is\n" +
			"text if the output is UTF-8, else bytes. A status other than 0 is an error with the last lines of stderr.\n" +
			"The command finds the call in SERVICETOOLS_CALL_ID and SERVICETOOLS_CALL_ATTEMPT.",
		Flags: append(runFlags(),
			&cli.BoolFlag{Name: "pass-args", Usage: "append a call's further arguments, texts, to the command's own"},
			&cli.BoolFlag{Name: "idempotent", Usage: "declare that the command may run twice without harm"},
		),
		Action: func(c *cli.Context) error {
			name, argv := c.Args().First(), c.Args().Tail()
			if len(argv) > 0 && argv[0] == "--" {
				argv = argv[1:]
			}
			if name == "" || len(argv) == 0 {
				return usageError{errors.New("exec needs a method name and a command: exec NAME -- COMMAND [ARG...]")}
			}
			if e := message.CheckMethodName(name); e != nil {
				return usageError{e}
			}
			program, err := NewProgram(argv...)
			if err != nil {
				return usageError{err}
			}
			program.PassArgs = c.Bool("pass-args")
			o := newOptions(opts)
			serve := []Option{WithFunc(name, program.Run, "Runs "+strings.Join(argv, " ")+"."), WithConcurrency(o.concurrency)}
			for _, i := range o.interceptors {
				serve = append(serve, WithInterceptor(i))
			}
			if c.Bool("idempotent") {
				serve = append(serve, WithIdempotent(name))
			}
			defer group.Expect()()
			return runWorker(c, nil, serve)
		},
	}
}

// Limits of a Program.
const (
	maxOutput   = 64 << 20        // bytes of stdout
	stderrLines = 20              // lines of stderr in an error
	stderrBytes = 4 << 10         // and their bytes
	exitWait    = 2 * time.Second // for the pipes of a program that has ended or was killed
)

// Program makes a method of any program: Run is one call. Serve it with
// WithFunc(name, program.Run, doc).
type Program struct {
	path string
	args []string

	// PassArgs appends a call's arguments behind the first to the program's
	// own. No shell is involved, but the program may take them for options.
	PassArgs bool
}

// NewProgram returns the program that argv names, with its first arguments.
func NewProgram(argv ...string) (*Program, error) {
	if len(argv) == 0 {
		return nil, errors.New("workersdk: a program needs a name")
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return nil, fmt.Errorf("workersdk: program %s: %w", argv[0], err)
	}
	return &Program{path: path, args: argv[1:]}, nil
}

// Run runs the program with input[0], if any, as its standard input, and
// returns its standard output: a string if that is UTF-8, else []byte. What the
// program has started and left in its process group is killed when it ends; it
// is killed with all of that when ctx ends or this process does. An exit status
// other than 0 is a *Error of code "exit_status" with the details status or
// signal, and stderr.
func (p *Program) Run(ctx context.Context, input ...string) (any, error) {
	argv := p.args
	if len(input) > 1 {
		if !p.PassArgs {
			return nil, Errorf("usage", "the program takes one argument, its standard input; got %d", len(input))
		}
		argv = append(argv[:len(argv):len(argv)], input[1:]...)
	}
	cmd := exec.CommandContext(ctx, p.path, argv...)
	if len(input) > 0 {
		cmd.Stdin = strings.NewReader(input[0])
	}
	var stdout output
	var stderr tail
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = os.Environ()
	if call, ok := CallFrom(ctx); ok {
		cmd.Env = append(cmd.Env, "SERVICETOOLS_CALL_ID="+call.ID, "SERVICETOOLS_CALL_ATTEMPT="+strconv.Itoa(call.Attempt))
	}
	cmd.WaitDelay = exitWait
	stdout.full = func() { _ = cmd.Cancel() }
	running, err := group.Start(cmd)
	if err == nil {
		err = running.Wait()
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case stdout.over:
		return nil, Errorf("output_too_large", "the program wrote more than %d bytes", maxOutput)
	case errors.As(err, &exit):
		return nil, failed(exit, stderr.lines())
	case err != nil && !errors.Is(err, exec.ErrWaitDelay): // it left a child behind that holds the pipes
		return nil, err
	}
	if b := stdout.b.Bytes(); !utf8.Valid(b) {
		return b, nil
	}
	return stdout.b.String(), nil
}

func failed(exit *exec.ExitError, lines []string) *Error {
	text := "the program ended with " + exit.String()
	if len(lines) > 0 {
		text += ": " + lines[len(lines)-1]
	}
	e := Errorf("exit_status", "%s", text).With("stderr", lines)
	if s := exit.ExitCode(); s >= 0 {
		return e.With("status", s)
	}
	return e.With("signal", exit.String())
}

// output keeps what is written up to maxOutput, then calls full.
type output struct {
	b    bytes.Buffer
	over bool
	full func()
}

func (o *output) Write(p []byte) (int, error) {
	if o.b.Len()+len(p) > maxOutput && !o.over {
		o.over = true
		o.full()
	}
	if !o.over {
		o.b.Write(p)
	}
	return len(p), nil
}

// tail keeps the end of what is written.
type tail struct {
	mu sync.Mutex // a program may leave a child behind that still writes
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if over := len(t.b) - stderrBytes; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

// lines returns the last lines, of valid UTF-8.
func (t *tail) lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.TrimSpace(strings.ToValidUTF8(string(t.b), "\ufffd"))
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	return lines[max(0, len(lines)-stderrLines):]
}
