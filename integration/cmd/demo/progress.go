package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// progress shows how far the work is: a bar that is drawn again on a terminal,
// a line every few seconds elsewhere. It is used by one goroutine.
type progress struct {
	out      io.Writer
	terminal bool
	total    int
	started  time.Time
	shown    time.Time
}

const (
	barWidth     = 40
	barInterval  = 100 * time.Millisecond
	lineInterval = 3 * time.Second
)

func newProgress(out io.Writer, terminal bool, total int) *progress {
	now := time.Now()
	return &progress{out: out, terminal: terminal, total: total, started: now, shown: now}
}

// show tells that done of the files are counted.
func (p *progress) show(done int) {
	interval := lineInterval
	if p.terminal {
		interval = barInterval
	}
	if done < p.total && time.Since(p.shown) < interval {
		return
	}
	p.shown = time.Now()
	rate := float64(done) / time.Since(p.started).Seconds()
	if !p.terminal {
		fmt.Fprintf(p.out, "%d of %d files, %.0f calls/s\n", done, p.total, rate)
		return
	}
	filled := barWidth * done / max(p.total, 1)
	fmt.Fprintf(p.out, "\r[%s%s] %d/%d files  %.0f calls/s ",
		strings.Repeat("#", filled), strings.Repeat(".", barWidth-filled), done, p.total, rate)
	if done == p.total {
		fmt.Fprintln(p.out)
	}
}
