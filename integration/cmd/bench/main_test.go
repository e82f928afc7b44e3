package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/servicetools/servicetools/integration/bench"
)

func TestPlan(t *testing.T) {
	all := bench.Systems(&bench.Site{}, "elsewhere/bin")
	for _, c := range []struct {
		name    string
		o       options
		partial bool
		systems string // of the first group; empty: not looked at
		cells   int
		wrong   string // in the error
	}{
		{name: "as it is", cells: 5},
		{name: "full", o: options{full: true}, cells: 26},
		{name: "one cell", o: options{cells: "0B/3"}, partial: true, cells: 1},
		{name: "two systems", o: options{systems: "nats,ours-curve"}, partial: true, systems: "nats ours-curve", cells: 5},
		{name: "another commit, too", o: options{base: "elsewhere/bin", systems: "ours-curve,base-curve", cells: "1B/1,1B/2"}, partial: true,
			systems: "ours-curve base-curve", cells: 2},
		{name: "a bad cell", o: options{cells: "1B"}, wrong: "-cells: the cell \"1B\""},
		{name: "a bad system", o: options{systems: "nats,rabbit"}, wrong: "there is no rabbit; there are ours-null, "},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan, err := c.o.plan(all)
			if c.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), c.wrong) {
					t.Errorf("the error is %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			g := plan.Groups[0]
			if plan.Partial != c.partial || len(g.Cells) != c.cells || c.systems != "" && strings.Join(g.Systems, " ") != c.systems {
				t.Errorf("the plan is %+v", plan)
			}
			if _, unknown := bench.Choose(all, g.Systems); len(unknown) > 0 {
				t.Errorf("there are no systems %v", unknown)
			}
		})
	}
}

// What an earlier run found is shown, and written into a page, without measuring.
func TestRun_show(t *testing.T) {
	dir := t.TempDir()
	file, page := filepath.Join(dir, "old.json"), filepath.Join(dir, "page.md")
	d := &bench.Document{Version: "v3", Began: time.Unix(0, 0).UTC(), Systems: []string{"nats"}, Results: []*bench.Result{
		{Cell: bench.Cell{Size: 100, InFlight: 1, Connections: 1, Workers: 2, Slots: 512}, Samples: map[string][]bench.Sample{"nats": {{Rate: 5}}}},
	}}
	if err := d.Save(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(page, []byte("<!-- begin results -->\n<!-- end results -->\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), &options{show: file, page: page}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{page: "Version `v3`", filepath.Join(dir, "page.svg"): "<svg", filepath.Join(dir, "page.json"): `"version": "v3"`} {
		if b, err := os.ReadFile(path); err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s lacks %q: %v", path, want, err)
		}
	}
}
