package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"
)

// tally is the outcome of one way of counting.
type tally struct {
	files, bytes int
	words        map[string]int
	took         time.Duration
}

// add merges the counts of one file.
func (t *tally) add(size int, counts map[string]int) {
	t.files++
	t.bytes += size
	for word, n := range counts {
		t.words[word] += n
	}
}

// total returns the number of words.
func (t *tally) total() int {
	n := 0
	for _, c := range t.words {
		n += c
	}
	return n
}

// agrees reports whether both ways counted the same.
func (t *tally) agrees(o *tally) bool {
	return t.files == o.files && t.bytes == o.bytes && maps.Equal(t.words, o.words)
}

// top returns the n most frequent words, the most frequent first.
func (t *tally) top(n int) []string {
	words := slices.SortedFunc(maps.Keys(t.words), func(a, b string) int {
		return cmp.Or(t.words[b]-t.words[a], cmp.Compare(a, b))
	})
	return words[:min(n, len(words))]
}

// share is what one worker did.
type share struct {
	ID        string `msgpack:"id"`
	PID       int    `msgpack:"pid"`
	State     string `msgpack:"state"`
	Succeeded uint64 `msgpack:"succeeded"`
}

// print writes the result of the job for people.
func printReport(out io.Writer, remote, local *tally, shares []share) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "files\t%d\n", remote.files)
	fmt.Fprintf(w, "bytes\t%d\n", remote.bytes)
	fmt.Fprintf(w, "words\t%d (%d different)\n", remote.total(), len(remote.words))
	fmt.Fprintf(w, "through the broker\t%.2f s, %.0f calls/s, encrypted\n",
		remote.took.Seconds(), float64(remote.files)/remote.took.Seconds())
	fmt.Fprintf(w, "in this process\t%.2f s\n", local.took.Seconds())
	fmt.Fprintln(w, "most frequent\t")
	for _, word := range remote.top(10) {
		fmt.Fprintf(w, "  %s\t%d\n", word, remote.words[word])
	}
	if len(shares) > 0 {
		fmt.Fprintln(w, "worker\tcalls")
	}
	for _, s := range shares {
		fmt.Fprintf(w, "  %s (pid %d)\t%d\n", s.ID, s.PID, s.Succeeded)
	}
	verdict := "agree"
	if !remote.agrees(local) {
		verdict = "DIFFER"
	}
	fmt.Fprintf(w, "the two counts\t%s\n", verdict)
	w.Flush()
}
