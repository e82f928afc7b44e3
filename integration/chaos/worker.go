package chaos

import (
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/servicetools/servicetools/workersdk"
)

// JournalsVariable names the environment variable with the folder of the
// workers' journals.
const JournalsVariable = "CHAOS_JOURNALS"

// Proof is the result of a call: which one it answers, and which attempt did it.
type Proof struct {
	ID      string `json:"id"`
	Hash    string `json:"hash"`
	Attempt int    `json:"attempt"`
}

// ledger is what the workers serve: methods that write down what they do.
type ledger struct{ journal *Journal }

// Once does a call that must not be done twice. hold is in milliseconds.
func (l *ledger) Once(ctx context.Context, id string, payload []byte, hold int) (Proof, error) {
	return l.do(ctx, id, payload, hold)
}

// Again does a call that may be done twice.
func (l *ledger) Again(ctx context.Context, id string, payload []byte, hold int) (Proof, error) {
	return l.do(ctx, id, payload, hold)
}

func (l *ledger) do(ctx context.Context, id string, payload []byte, hold int) (Proof, error) {
	call, _ := workersdk.CallFrom(ctx)
	l.journal.Write(Record{Event: Received, ID: id, Attempt: call.Attempt})
	effect := time.NewTimer(time.Duration(hold) * time.Millisecond)
	defer effect.Stop()
	select {
	case <-effect.C:
	case <-ctx.Done():
		return Proof{}, ctx.Err()
	}
	p := Proof{ID: id, Hash: hashOf(id, payload), Attempt: call.Attempt}
	l.journal.Write(Record{Event: Done, ID: id, Hash: p.Hash, Attempt: p.Attempt})
	return p, nil
}

// Trail streams items that must not be made twice, hold milliseconds in all.
func (l *ledger) Trail(ctx context.Context, id string, payload []byte, hold int) iter.Seq2[Proof, error] {
	return l.stream(ctx, id, payload, hold)
}

// Retrail streams items that may be made twice.
func (l *ledger) Retrail(ctx context.Context, id string, payload []byte, hold int) iter.Seq2[Proof, error] {
	return l.stream(ctx, id, payload, hold)
}

// trailItems is how many items a stream has: more than the window, so that
// grants are part of the story.
const trailItems = 40

func (l *ledger) stream(ctx context.Context, id string, payload []byte, hold int) iter.Seq2[Proof, error] {
	return func(yield func(Proof, error) bool) {
		call, _ := workersdk.CallFrom(ctx)
		l.journal.Write(Record{Event: Received, ID: id, Attempt: call.Attempt})
		for i := range trailItems {
			select {
			case <-time.After(time.Duration(hold) * time.Millisecond / trailItems):
			case <-ctx.Done():
				yield(Proof{}, ctx.Err())
				return
			}
			if !yield(Proof{ID: id, Hash: itemHash(id, i, payload), Attempt: call.Attempt}, nil) {
				return
			}
		}
		l.journal.Write(Record{Event: Done, ID: id, Hash: hashOf(id, payload), Attempt: call.Attempt})
	}
}

func itemHash(id string, item int, payload []byte) string {
	return hashOf(id+"/"+strconv.Itoa(item), payload)
}

// Poison ends the process that runs it.
func (l *ledger) Poison(ctx context.Context, id string) error {
	call, _ := workersdk.CallFrom(ctx)
	l.journal.Write(Record{Event: Received, ID: id, Attempt: call.Attempt})
	fmt.Fprintln(os.Stderr, "the poison works")
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		return err
	}
	select {} // the signal is on its way
}

// newLedger returns one with a journal of its own in a folder.
func newLedger(journals string) (*ledger, error) {
	journal, err := OpenJournal(filepath.Join(journals, rand.Text()+workerJournal))
	return &ledger{journal}, err
}

// mayRunTwice are ledger's idempotent methods.
var mayRunTwice = workersdk.WithIdempotent("Again", "Retrail", "Poison")

// runWorker is the worker program.
func runWorker() {
	l, err := newLedger(os.Getenv(JournalsVariable))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	workersdk.Main(l, mayRunTwice)
}
