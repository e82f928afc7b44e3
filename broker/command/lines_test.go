package command

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"testing"
)

// outputLines keeps what is written to it, and says when enough lines are there.
type outputLines struct {
	mu   sync.Mutex
	buf  bytes.Buffer // guarded by mu
	want int          // guarded by mu
	full chan struct{}
}

func newLines(n int) *outputLines { return &outputLines{want: n, full: make(chan struct{})} }

func (l *outputLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.buf.Write(p)
	if l.want > 0 && bytes.Count(l.buf.Bytes(), []byte("\n")) >= l.want {
		l.want = 0
		close(l.full)
	}
	return n, err
}

func (l *outputLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *outputLines) first() string {
	first, _, _ := strings.Cut(l.String(), "\n")
	return first
}

// runUntil runs a command until it has printed enough lines, interrupts it as
// a signal would, and returns its exit code.
func runUntil(t *testing.T, out *outputLines, args ...string) int {
	t.Helper()
	return runWhile(t, out, func() {}, args...)
}

// runWhile is runUntil that calls do before it interrupts the command.
func runWhile(t *testing.T, out *outputLines, do func(), args ...string) int {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, append([]string{"broker"}, args...), out, io.Discard) }()
	select {
	case <-out.full:
		do()
		cancel()
		return <-ended
	case code := <-ended:
		t.Fatalf("the command ended with %d after %q", code, out.String())
		return code
	}
}
