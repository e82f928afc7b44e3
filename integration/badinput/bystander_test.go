package badinput

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/servicetools/servicetools/clientsdk"
)

// patience bounds what is to come at once: a mistake is answered, not left to a
// time-out. It is long for the sake of slow machines.
const patience = 10 * time.Second

// promptly returns the error that provoke brings about.
func promptly(t *testing.T, provoke func(*testing.T) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	answer := make(chan error, 1)
	go func() {
		defer close(answer) // also if provoke ends the test
		answer <- provoke(t)
	}()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		t.Fatal("the mistake is not answered")
		return nil
	}
}

// bystander makes one right call after the other while others make mistakes.
type bystander struct {
	t       *testing.T
	mu      sync.Mutex
	changed sync.Cond // waits with mu
	calls   int       // that succeeded; guarded by mu
	err     error     // of the first that did not; guarded by mu
}

func newBystander(t *testing.T, c *clientsdk.Client) *bystander {
	b := &bystander{t: t}
	b.changed.L = &b.mu
	ctx, stop := context.WithCancel(context.Background())
	var calling sync.WaitGroup
	calling.Go(func() {
		for ctx.Err() == nil {
			_, err := clientsdk.Call[int](context.Background(), c.With(clientsdk.Timeout(patience)), "add", 1, 2)
			b.note(err)
		}
	})
	t.Cleanup(func() {
		stop()
		calling.Wait()
		if b.err != nil {
			t.Errorf("a bystander was disturbed: %v", b.err)
		}
	})
	return b
}

func (b *bystander) note(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil && b.err == nil {
		b.err = err
	} else if err == nil {
		b.calls++
	}
	b.changed.Broadcast()
}

// served counts the bystander's calls.
func (b *bystander) served() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls
}

// await waits until so many calls have succeeded.
func (b *bystander) await(calls int) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.calls < calls && b.err == nil {
		b.changed.Wait()
	}
}
