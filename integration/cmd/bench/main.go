// Command bench measures the broker beside other systems that do the same work,
// all in one run, and prints one table. docs/performance.md says how to use it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/servicetools/servicetools/integration/bench"
)

// options are the flags.
type options struct {
	bin, base, systems, cells, json, version, show, page string

	full   bool
	timing bench.Timing
}

func main() {
	bench.Role(os.Args)
	var o options
	flag.StringVar(&o.bin, "bin", "bin", "folder of the binaries broker and bench")
	flag.StringVar(&o.base, "base", "", "folder of these binaries of another commit, which are measured beside this one's as base-null and base-curve")
	flag.BoolVar(&o.full, "full", false, "every system in every cell (about an hour) instead of what shows each goal (about six minutes)")
	flag.StringVar(&o.cells, "cells", "", "only these cells, SIZE/IN-FLIGHT[/cCONNECTIONS][/wWORKERS][/sSLOTS], such as 100B/1000,60kB/10/c10")
	flag.StringVar(&o.systems, "systems", "", "only these systems, such as ours-curve,libzmq-curve,base-curve")
	flag.IntVar(&o.timing.Repeats, "repeats", 3, "rounds; in each of them every system has its turn")
	flag.DurationVar(&o.timing.Warm, "warm", 200*time.Millisecond, "work before each measured window")
	flag.DurationVar(&o.timing.Measure, "measure", 700*time.Millisecond, "length of the window")
	flag.StringVar(&o.json, "json", "", "write all samples to this `FILE`")
	flag.StringVar(&o.version, "version", "unknown", "of this repository, for the results")
	flag.StringVar(&o.show, "show", "", "measure nothing, show the results in this `FILE` of an earlier -json")
	flag.StringVar(&o.page, "page", "", "put the results into this `PAGE`.md, their chart into PAGE.svg and all samples into PAGE.json beside it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, &o)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case interrupted:
		fmt.Fprintln(os.Stderr, "bench: interrupted; everything it started has been stopped")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o *options) error {
	d, err := o.results(ctx)
	if d == nil {
		return err
	}
	err = errors.Join(err, d.WriteTable(os.Stdout))
	if o.json != "" {
		err = errors.Join(err, d.Save(o.json))
	}
	if o.page != "" && err == nil { // a page shows whole runs only
		err = writePage(d, o.page)
	}
	return err
}

// results measures, or reads what was measured. After an interruption it
// returns what there is.
func (o *options) results(ctx context.Context) (d *bench.Document, err error) {
	if o.show != "" {
		return bench.Load(o.show)
	}
	site, err := bench.NewSite(o.bin)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, site.Close()) }()
	r := &bench.Runner{Site: site, All: bench.Systems(site, o.base), Timing: o.timing, Log: func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	}}
	plan, err := o.plan(r.All)
	if err != nil {
		return nil, err
	}
	d, err = r.Carry(ctx, plan)
	d.Version = o.version
	return d, err
}

// plan is the quick or the full one, cut down to the cells and systems asked for.
func (o *options) plan(all []*bench.System) (*bench.Plan, error) {
	plan := bench.Quick()
	if o.full {
		plan = bench.Full()
	}
	if o.cells == "" && o.systems == "" && o.base == "" {
		return plan, nil
	}
	group := plan.Groups[0]
	if o.base != "" {
		group.Systems = append(group.Systems, bench.BaseNull, bench.BaseCurve)
	}
	if o.systems != "" {
		group.Systems = strings.Split(o.systems, ",")
		if _, unknown := bench.Choose(all, group.Systems); len(unknown) > 0 {
			var names []string
			for _, s := range all {
				names = append(names, s.Name)
			}
			return nil, fmt.Errorf("-systems: there is no %s; there are %s", strings.Join(unknown, ", "), strings.Join(names, ", "))
		}
	}
	if o.cells != "" {
		var err error
		if group.Cells, err = bench.ParseCells(o.cells); err != nil {
			return nil, fmt.Errorf("-cells: %w", err)
		}
	}
	return &bench.Plan{Groups: []bench.Group{group}, Partial: true}, nil
}

// writePage puts results into a page, and their chart and samples beside it.
func writePage(d *bench.Document, page string) error {
	name := strings.TrimSuffix(page, ".md")
	if err := d.Save(name + ".json"); err != nil {
		return err
	}
	chart := name + ".svg"
	f, err := os.Create(chart)
	if err != nil {
		return err
	}
	if err := errors.Join(d.WriteChart(f), f.Close()); err != nil {
		return err
	}
	return d.UpdatePage(page, filepath.Base(chart))
}
