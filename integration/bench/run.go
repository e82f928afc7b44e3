package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Result is what a cell came to: samples[system][round].
type Result struct {
	Cell    Cell                `json:"cell"`
	Samples map[string][]Sample `json:"samples"`
	Failed  map[string]string   `json:"failed,omitempty"` // why a system has no samples
}

// Runner measures cells with systems. Log gets one line a step.
type Runner struct {
	Site    *Site
	Systems []*System
	Timing  Timing
	Log     func(format string, args ...any)

	running map[string]*Running // the systems of the present layout
	broken  map[string]string   // why a system does not run
}

// Measure runs every cell. All systems of a layout run at the same time, and
// take turns at the work: one of them works while the others wait.
func (r *Runner) Measure(ctx context.Context, cells []Cell) ([]*Result, error) {
	var results []*Result
	r.broken = map[string]string{}
	defer r.stopAll()
	for i, c := range cells {
		if i == 0 || c.layout() != cells[i-1].layout() {
			r.stopAll()
			if err := r.startAll(ctx, c.layout()); err != nil {
				return results, err
			}
		}
		res, err := r.cell(ctx, c)
		if err != nil {
			return results, err
		}
		results = append(results, res)
		r.Log("%s", strings.TrimRight(res.line(r.Systems), " "))
	}
	return results, nil
}

func (r *Runner) startAll(ctx context.Context, l Layout) error {
	r.running = map[string]*Running{}
	for _, s := range r.Systems {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.broken[s.Name] != "" {
			continue
		}
		if s.Missing != nil {
			if err := s.Missing(r.Site); err != nil {
				r.broken[s.Name] = err.Error()
				r.Log("NOT RUN: %s: %v", s.Name, err)
				continue
			}
		}
		r.startOne(s, l)
	}
	return nil
}

// startOne starts a system; one that does not start is left out, loudly.
func (r *Runner) startOne(s *System, l Layout) {
	run, err := s.Start(r.Site, l)
	if err != nil {
		r.Log("NOT RUN: %s with %d workers: %v", s.Name, l.Workers, err)
		run.Stop()
		return
	}
	r.running[s.Name] = run
}

func (r *Runner) stopAll() {
	for _, run := range r.running {
		run.Stop()
	}
	r.running = nil
}

// cell measures a cell in rounds, each of which begins with another system.
func (r *Runner) cell(ctx context.Context, c Cell) (*Result, error) {
	res := &Result{Cell: c, Samples: map[string][]Sample{}, Failed: map[string]string{}}
	for round := range r.Timing.Repeats {
		turns := slices.Clone(r.Systems)
		slices.Reverse(turns[:round%len(turns)])
		slices.Reverse(turns[round%len(turns):])
		slices.Reverse(turns)
		for _, s := range turns {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			run := r.running[s.Name]
			if run == nil || res.Failed[s.Name] != "" || s.Fits != nil && !s.Fits(c) {
				continue
			}
			sample, err := run.Run(c, r.Timing)
			if err != nil {
				r.fail(res, s, err)
				continue
			}
			res.Samples[s.Name] = append(res.Samples[s.Name], *sample)
		}
	}
	return res, nil
}

// fail gives a cell up for a system and starts the system anew.
func (r *Runner) fail(res *Result, s *System, err error) {
	r.Log("FAILED: %s at %v: %v", s.Name, res.Cell, err)
	res.Failed[s.Name] = err.Error()
	delete(res.Samples, s.Name)
	r.running[s.Name].Stop()
	delete(r.running, s.Name)
	r.startOne(s, res.Cell.layout())
}

// line is a result in short, for who waits for the table.
func (res *Result) line(systems []*System) string {
	b := fmt.Sprintf("%-18v", res.Cell)
	for _, s := range systems {
		if samples := res.Samples[s.Name]; len(samples) > 0 {
			b += fmt.Sprintf("%s %s  ", s.Name, rateText(of(samples, rate).Median))
		}
	}
	return b
}
