package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// Document is all that a run found, as its JSON file has it.
type Document struct {
	Version  string            `json:"version"` // of this repository
	Began    time.Time         `json:"began"`
	Machine  Machine           `json:"machine"`
	Versions map[string]string `json:"versions"` // of the others
	Timing   Timing            `json:"timing"`
	Systems  []string          `json:"systems"` // in the order of the table
	Results  []*Result         `json:"results"`
	Crowds   []*CrowdResult    `json:"crowds,omitempty"`
	Back     *BackResult       `json:"back,omitempty"`
	NotRun   map[string]string `json:"not_run,omitempty"`
	Partial  bool              `json:"partial,omitempty"` // goals that it lacks were not to be measured
}

// Carry runs a plan. The document has what was measured before an error.
func (r *Runner) Carry(ctx context.Context, p *Plan) (*Document, error) {
	d := &Document{Began: time.Now().UTC(), Machine: thisMachine(), Versions: versions(), Timing: r.Timing, Partial: p.Partial}
	err := r.carry(ctx, p, d)
	d.NotRun = r.NotRun
	d.Machine.LoadAfter = loadAverage()
	for _, s := range r.All {
		if d.has(s.Name) {
			d.Systems = append(d.Systems, s.Name)
		}
	}
	return d, err
}

func (r *Runner) carry(ctx context.Context, p *Plan, d *Document) error {
	for _, g := range p.Groups {
		results, err := r.Measure(ctx, g.Systems, g.Cells)
		d.Results = append(d.Results, results...)
		if err != nil {
			return err
		}
	}
	for _, name := range p.CrowdSystems {
		c, err := r.Crowd(ctx, name, p.Crowd)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			r.Log("FAILED: a crowd of %d at %s: %v", p.Crowd, name, err)
			continue
		}
		r.Log("%s", c)
		d.Crowds = append(d.Crowds, c)
	}
	if p.Back == 0 {
		return nil
	}
	back, err := r.Back(ctx, p.Restarted, p.Back)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		r.Log("FAILED: %d clients of %s back after a restart: %v", p.Back, p.Restarted, err)
		return nil
	}
	r.Log("%s", back)
	d.Back = back
	return nil
}

// has reports whether a system was measured in any cell.
func (d *Document) has(name string) bool {
	for _, r := range d.Results {
		if len(r.Samples[name]) > 0 {
			return true
		}
	}
	return false
}

// result returns what a cell came to, nil if it was not measured.
func (d *Document) result(cell string) *Result {
	for _, r := range d.Results {
		if r.Cell.String() == cell {
			return r
		}
	}
	return nil
}

// Save writes the document to a file.
func (d *Document) Save(path string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", " ")
	if err := e.Encode(d); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// Load reads a document from a file that Save wrote.
func Load(path string) (*Document, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	d := &Document{}
	if err := json.Unmarshal(b, d); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}
