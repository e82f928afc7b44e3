package demo

import (
	"context"
	"errors"
	"os"
	"time"
)

// Sleep waits so many seconds, and ends early with its context.
func (Methods) Sleep(ctx context.Context, seconds float64) error { return sleep(ctx, seconds) }

// Busy spins so many seconds without yielding and without heeding its context:
// a worker that does so is not dead.
func (Methods) Busy(seconds float64) {
	for end := time.Now().Add(duration(seconds)); time.Now().Before(end); {
	}
}

// Fail returns an error with the given text.
func (Methods) Fail(text string) error { return errors.New(text) }

// Panic panics with the given text.
func (Methods) Panic(text string) { panic(text) }

// Exit ends the worker's process with the given status.
func (Methods) Exit(status int) { os.Exit(status) }
