package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/term"

	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/workersdk/demo"
)

// work is what the demo does on a cluster.
type work struct {
	source   string // folder of the files
	files    []string
	inFlight int
}

// do counts on the workers and in this process, reports, and fails if the
// counts differ. shares tells what each worker has done; nil: nobody may know.
func (w *work) do(ctx context.Context, client *clientsdk.Client, shares func() ([]share, error)) error {
	fmt.Printf("counting the words of %d files through the broker\n", len(w.files))
	remote, err := w.countRemotely(ctx, client)
	if err != nil {
		return err
	}
	fmt.Println("counting them again in this process")
	local, err := w.countLocally(ctx)
	if err != nil {
		return err
	}
	var by []share
	if shares != nil {
		if by, err = shares(); err != nil {
			return err
		}
	}
	printReport(os.Stdout, remote, local, by)
	if !remote.agrees(local) {
		return errors.New("the two counts differ")
	}
	return nil
}

// countRemotely has a worker count each file.
func (w *work) countRemotely(ctx context.Context, client *clientsdk.Client) (*tally, error) {
	started := time.Now()
	t := &tally{words: make(map[string]int)}
	p := newProgress(os.Stderr, term.IsTerminal(int(os.Stderr.Fd())), len(w.files))
	sizes := make(chan int, len(w.files)) // in the order of files, as the results are
	var readError error
	texts := func(yield func(string) bool) {
		for text, err := range read(w.files) {
			if err != nil {
				readError = err
				return
			}
			sizes <- len(text)
			if !yield(text) {
				return
			}
		}
	}
	for counts, err := range clientsdk.MapEach[map[string]int](ctx, client, "word_count", texts, w.inFlight) {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.files[t.files], err)
		}
		t.add(<-sizes, counts)
		p.show(t.files)
	}
	t.took = time.Since(started)
	return t, readError
}

// countLocally counts each file without a broker.
func (w *work) countLocally(ctx context.Context) (*tally, error) {
	started := time.Now()
	t := &tally{words: make(map[string]int)}
	for text, err := range read(w.files) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		t.add(len(text), demo.CountWords(text))
	}
	t.took = time.Since(started)
	return t, nil
}

// read yields the text of each file; it ends with the first error.
func read(files []string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, path := range files {
			b, err := os.ReadFile(filepath.Clean(path))
			if !yield(string(b), err) || err != nil {
				return
			}
		}
	}
}
