package supervise

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strconv"
	"syscall"
	"testing"
)

// A program that embeds a broker may have started children of its own from any
// thread, and a thread that ends takes them along.
func TestSupervisor_endsNoThread(t *testing.T) {
	var threads []int
	for range 20 {
		s := New(Config{Script: os.Args[0], Log: slog.New(slog.DiscardHandler), Output: io.Discard})
		ctx, end := context.WithCancel(context.Background())
		closed := make(chan struct{})
		go func() { defer close(closed); s.Run(ctx) }()
		s.starts <- func() { threads = append(threads, syscall.Gettid()) }
		end()
		<-closed
	}
	for i, tid := range threads {
		if _, err := os.Stat("/proc/self/task/" + strconv.Itoa(tid)); err != nil {
			t.Errorf("supervisor %d of %d took its thread along: %v", i, len(threads), err)
		}
	}
	noGoroutines(t)
}
