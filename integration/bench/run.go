package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Result is what a cell came to with each system, by its name: one sample a
// round.
type Result struct {
	Cell    Cell                `json:"cell"`
	Samples map[string][]Sample `json:"samples"`
	Failed  map[string]string   `json:"failed,omitempty"` // why a system has no samples
}

// Runner measures systems. Log gets a line for each step and each system that
// is not run.
type Runner struct {
	Site   *Site
	All    []*System
	Timing Timing
	Log    func(format string, args ...any)

	NotRun map[string]string // why a system cannot run here; for who reads the results

	running map[string]*Running // the systems of the present layout
}

// Measure runs cells with the named systems. All systems of a layout run at the
// same time, and take turns at the work: one works while the others wait.
func (r *Runner) Measure(ctx context.Context, names []string, cells []Cell) ([]*Result, error) {
	systems := r.present(names)
	defer r.stopAll()
	var results []*Result
	for i, c := range cells {
		if i == 0 || c.layout() != cells[i-1].layout() {
			r.stopAll()
			r.running = map[string]*Running{}
			for _, s := range systems {
				if s.fits(c) {
					r.start(ctx, s, c.layout())
				}
			}
		}
		res, err := r.cell(ctx, systems, c)
		if err != nil {
			return results, err
		}
		results = append(results, res)
		r.Log("%s", res.line(systems))
	}
	return results, nil
}

// present returns the named systems that can run here; it says which cannot.
func (r *Runner) present(names []string) (present []*System) {
	systems, _ := Choose(r.All, names)
	for _, s := range systems {
		if s.Missing != nil && r.NotRun[s.Name] == "" {
			if err := s.Missing(r.Site); err != nil {
				if r.NotRun == nil {
					r.NotRun = map[string]string{}
				}
				r.NotRun[s.Name] = err.Error()
				r.Log("NOT RUN: %s: %v", s.Name, err)
			}
		}
		if r.NotRun[s.Name] == "" {
			present = append(present, s)
		}
	}
	return present
}

// start starts a system; one that does not start is left out, loudly.
func (r *Runner) start(ctx context.Context, s *System, l Layout) {
	run, err := s.Start(ctx, r.Site, l)
	if err != nil {
		run.Stop()
		if ctx.Err() == nil {
			r.Log("NOT RUN: %s with %d workers: %v", s.Name, l.Workers, err)
		}
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
func (r *Runner) cell(ctx context.Context, systems []*System, c Cell) (*Result, error) {
	res := &Result{Cell: c, Samples: map[string][]Sample{}, Failed: map[string]string{}}
	for round := range r.Timing.Repeats {
		for _, s := range rotated(systems, round) {
			if err := context.Cause(ctx); err != nil {
				return nil, err
			}
			if !s.fits(c) || res.Failed[s.Name] != "" {
				continue
			}
			run := r.running[s.Name]
			if run == nil {
				res.Failed[s.Name] = "it did not start"
				continue
			}
			sample, err := run.Run(ctx, c, r.Timing)
			if err != nil {
				r.fail(ctx, res, s, err)
				continue
			}
			res.Samples[s.Name] = append(res.Samples[s.Name], *sample)
		}
	}
	return res, nil
}

// rotated returns the systems beginning with another one in each round.
func rotated(systems []*System, round int) []*System {
	if len(systems) == 0 {
		return nil
	}
	first := round % len(systems)
	return slices.Concat(systems[first:], systems[:first])
}

// fail gives a cell up for a system and starts the system anew.
func (r *Runner) fail(ctx context.Context, res *Result, s *System, err error) {
	if ctx.Err() != nil {
		return // the loop sees it, too
	}
	r.Log("FAILED: %s at %v: %v", s.Name, res.Cell, err)
	res.Failed[s.Name] = err.Error()
	delete(res.Samples, s.Name)
	r.running[s.Name].Stop()
	delete(r.running, s.Name)
	r.start(ctx, s, res.Cell.layout())
}

// line is a result in short, for who waits for the table.
func (res *Result) line(systems []*System) string {
	b := fmt.Sprintf("%-18v ", res.Cell)
	for _, s := range systems {
		if samples := res.Samples[s.Name]; len(samples) > 0 {
			b += fmt.Sprintf("%s %s  ", s.Name, number(of(samples, rate).Median))
		}
	}
	return strings.TrimRight(b, " ")
}
