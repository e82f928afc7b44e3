package bench

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParseCells(t *testing.T) {
	usual := Cell{Connections: 1, Workers: 2, Slots: 512}
	with := func(change func(*Cell)) Cell {
		c := usual
		change(&c)
		return c
	}
	for text, want := range map[string]Cell{
		"0B/1":            with(func(c *Cell) { c.InFlight = 1 }),
		"100/10":          with(func(c *Cell) { c.Size, c.InFlight = 100, 10 }),
		"60kB/10/c10":     with(func(c *Cell) { c.Size, c.InFlight, c.Connections = 60_000, 10, 10 }),
		"1MB/9/w1000/s8":  with(func(c *Cell) { c.Size, c.InFlight, c.Workers, c.Slots = 1_000_000, 9, 1000, 8 }),
		"100B/5/s1/c2/w4": with(func(c *Cell) { c.Size, c.InFlight, c.Slots, c.Connections, c.Workers = 100, 5, 1, 2, 4 }),
	} {
		got, err := ParseCells(text)
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%s is %+v, %v; want %+v", text, got, err, want)
			continue
		}
		if again, err := ParseCells(got[0].String()); err != nil || again[0] != want {
			t.Errorf("%s is written as %s, which is %+v, %v", text, got[0], again, err)
		}
	}
	for _, text := range []string{"", "100B", "100B/", "100B/0", "100B/-1", "B/1", "-1B/1", "1GB/1", "1MkB/1", "100B/1/x3", "100B/1/c", "100B/1/c2"} {
		if c, err := ParseCells("0B/1," + text); err == nil {
			t.Errorf("%q is taken for %v", text, c)
		}
	}
}

// The plans are made of cells and systems that there are, and the goals of
// cells that the quick plan measures.
func TestPlans_areWhole(t *testing.T) {
	all := Systems(&Site{}, "")
	measured := map[string]map[string]bool{}
	for name, plan := range map[string]*Plan{"quick": Quick(), "full": Full()} {
		for _, g := range plan.Groups {
			if _, unknown := Choose(all, g.Systems); len(unknown) > 0 {
				t.Errorf("%s: there are no systems %v", name, unknown)
			}
			for _, c := range g.Cells {
				if c.Size*c.InFlight > 100e6 {
					t.Errorf("%s: %v keeps %d MB in flight", name, c, c.Size*c.InFlight/1e6)
				}
				for _, s := range g.Systems {
					key := name + " " + c.String()
					if measured[key] == nil {
						measured[key] = map[string]bool{}
					}
					measured[key][s] = true
				}
			}
		}
	}
	for _, plan := range []string{"quick ", "full "} {
		for _, g := range ratioGoals {
			if !measured[plan+g.cell][g.ours] || !measured[plan+g.cell][g.theirs] {
				t.Errorf("%sdoes not measure %s of %s and %s", plan, g.cell, g.ours, g.theirs)
			}
		}
		for _, g := range scaleGoals {
			if !measured[plan+g.cell][OursCurve] || !measured[plan+g.few][OursCurve] {
				t.Errorf("%sdoes not measure %s and %s", plan, g.cell, g.few)
			}
		}
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Spread
	}{
		{nil, Spread{}},
		{[]float64{3}, Spread{3, 3, 3}},
		{[]float64{9, 1, 4}, Spread{4, 1, 9}},
		{[]float64{8, 2, 4, 6}, Spread{5, 2, 8}},
	} {
		if got := spreadOf(c.values); got != c.want {
			t.Errorf("%v: %+v, want %+v", c.values, got, c.want)
		}
	}
	// Round by round: 2x, 3x and 1x, although the medians are equal.
	ours, theirs := []Sample{{Rate: 20}, {Rate: 30}, {Rate: 10}}, []Sample{{Rate: 10}, {Rate: 10}, {Rate: 10}}
	if got := ratios(ours, theirs, rate); got != (Spread{2, 1, 3}) {
		t.Errorf("ratios are %+v", got)
	}
}

func TestNewSample(t *testing.T) {
	got, err := newSample(&Report{Calls: 100_000, Seconds: 0.5, P50: 3, P99: 9, CPU: usage{0.5, 0.25, 1}})
	want := &Sample{Rate: 200_000, P50: 3, P99: 9, ClientCPU: 5, BrokerCPU: 2.5, WorkerCPU: 10}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if perCPU(*want) != 1e6/17.5 {
		t.Errorf("%v calls a second of processor time", perCPU(*want))
	}
	for _, r := range []*Report{{Calls: 10, Wrong: 1, Seconds: 1}, {Seconds: 1}} {
		if s, err := newSample(r); err == nil {
			t.Errorf("%+v became %+v", r, s)
		}
	}
}

// The processor time of a process agrees with what the system says of it.
func TestCPUTime(t *testing.T) {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	for end := used() + 50*time.Millisecond; used() < end; {
		runtime.Gosched()
	}
	before := used()
	got, err := cpuTime(os.Getpid())
	after := used()
	if err != nil || got < before-10*time.Millisecond || got > after+10*time.Millisecond {
		t.Errorf("%v, %v; getrusage says %v to %v", got, err, before, after)
	}
	if b, err := resident(os.Getpid()); err != nil || b < 1<<20 {
		t.Errorf("%d bytes resident, %v", b, err)
	}
	if _, err := cpuTime(1 << 22); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("of a process that is not there: %v", err)
	}
	if _, err := resident(1 << 22); err == nil {
		t.Error("a process that is not there has memory")
	}
}

// example is a document in which some goals are reached, some missed and some
// not measured.
func example() *Document {
	sample := func(rate float64) []Sample {
		return []Sample{
			{Rate: rate, P50: 1e6 / rate, P99: 2e6 / rate, ClientCPU: 1, BrokerCPU: 2, WorkerCPU: 1},
			{Rate: rate * 1.1, P50: 1e6 / rate, P99: 2e6 / rate, ClientCPU: 1, BrokerCPU: 2, WorkerCPU: 1},
		}
	}
	return &Document{
		Version: "v9", Began: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), Machine: Machine{CPU: "a CPU", Cores: 2, LoadBefore: "0 0 0"},
		Versions: map[string]string{"libzmq": "4.3"}, Timing: Timing{Warm: time.Second, Measure: 2 * time.Second, Repeats: 2},
		Systems: []string{OursCurve, LibzmqCurve, NATS},
		Results: []*Result{
			{Cell: cells(cellThousand)[0], Samples: map[string][]Sample{OursCurve: sample(120_000), LibzmqCurve: sample(50_000), NATS: sample(100_000)}},
			{Cell: cells(cellOne)[0], Samples: map[string][]Sample{OursCurve: sample(1000), LibzmqCurve: sample(2000)}, Failed: map[string]string{NATS: "it broke | here\nand there"}},
			{Cell: cells(cellDeep)[0], Samples: map[string][]Sample{OursCurve: sample(110_000)}},
			{Cell: cells(cellFewSingle)[0], Samples: map[string][]Sample{OursCurve: sample(50_000)}},
			{Cell: cells(cellDeepSingles)[0], Samples: map[string][]Sample{OursCurve: {{Rate: 36_750, ClientCPU: 1, BrokerCPU: 2.5, WorkerCPU: 1.5}}}},
		},
		Crowds: []*CrowdResult{{System: OursCurve, Connections: 5000, Seconds: 5, BrokerCPU: 500, Bytes: 15 << 10}},
		Back:   &BackResult{System: OursCurve, Clients: 1000, Seconds: 6},
		NotRun: map[string]string{PyzmqNull: "apt-get install it"},
	}
}

func TestGoals(t *testing.T) {
	d := example()
	verdicts := map[string]string{}
	for _, g := range d.Goals() {
		verdicts[g.Work+" "+g.Wanted] = g.Found + " " + g.verdict()
		if g.Work == "CURVE, 1,000 workers of one slot, 100,000 queued" && (g.ByCPU != "0.80x" || g.ByBroker != "0.80x") {
			t.Errorf("%s: %s by processor time, %s by the broker's", g.Work, g.ByCPU, g.ByBroker)
		}
	}
	for goal, want := range map[string]string{
		"CURVE, 100 B, 1000 in flight >= 2.00x libzmq-curve":                                  "2.40x reached",
		"CURVE, 100 B, 1000 in flight >= 2.00x nats":                                          "1.20x missed",
		"CURVE, 100 B, latency of 1 in flight <= 0.90x libzmq-curve":                          "2.00x missed",
		"CURVE, 100 B, 100 in flight >= 1.40x libzmq-curve":                                   " NOT MEASURED",
		"CURVE, 2 workers, 100,000 queued >= 0.80x of 2 workers, none queued":                 "0.92x reached",
		"CURVE, 1,000 workers of one slot, 100,000 queued >= 0.80x of 16 workers of one slot": "0.70x missed",
		"memory of an idle CURVE connection, 5000 held <= 16 KiB":                             "15.0 KiB reached",
		"CURVE handshakes, by the broker's processor time >= 1000/s":                          "4000/s reached",
		"1000 clients back after a restart of the broker <= 5 s":                              "6.0 s missed",
	} {
		if verdicts[goal] != want {
			t.Errorf("%s: %q, want %q", goal, verdicts[goal], want)
		}
	}
	d.Partial = true
	for _, g := range d.Goals() {
		if g.Found == "" {
			t.Errorf("a partial document lists %+v", g)
		}
	}
}

func TestDocument_table(t *testing.T) {
	var b bytes.Buffer
	if err := example().WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"100B/1000             ours-curve    126k", "120k..132k", "libzmq-curve 2.40 [2.40..2.40] 1.00 1.00, nats 1.20",
		"nats          FAILED", "NOT RUN: pyzmq-null: apt-get install it", "holds 5000 idle connections: 15.0 KiB", "4000/s", "NOT MEASURED",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &b)
		}
	}
}

func TestMachine_busy(t *testing.T) {
	for load, busy := range map[string]bool{"": false, "0.00 9 9": false, "0.49 0 0": false, "0.50 0 0": true, "12.30 1 1": true} {
		d := example()
		d.Machine.LoadBefore = load
		var b bytes.Buffer
		if err := d.WriteTable(&b); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "busy") != busy || strings.Contains(d.markdown("x.svg"), "busy") != busy {
			t.Errorf("load %q: busy is not %v:\n%s", load, busy, &b)
		}
	}
}

func TestDocument_survivesItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	if err := example().Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil || !reflect.DeepEqual(got, example()) {
		t.Errorf("%+v, %v", got, err)
	}
	if err := os.WriteFile(path, []byte(`{"results": 3}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file of another kind: %v", err)
	}
}

// The chart is well-formed, has a panel for each of its cells that was measured
// and a bar for each system in it.
func TestDocument_chart(t *testing.T) {
	var b bytes.Buffer
	if err := example().WriteChart(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	count := map[string]int{}
	for d := xml.NewDecoder(&b); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if e, ok := token.(xml.StartElement); ok {
			count[e.Name.Local]++
		}
	}
	if count["line"] != 5 || count["rect"] != 6 || count["svg"] != 1 || !strings.Contains(text, "100B, 1000 in flight") {
		t.Errorf("%v in\n%s", count, text)
	}
}

func TestDocument_page(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(path, []byte("# A page\n"+beginResults+"\nold\n"+endResults+"\nThe end.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var before string
	for range 2 { // the second time changes nothing
		if err := example().UpdatePage(path, "page.svg"); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"# A page\n" + beginResults + "\n", endResults + "\nThe end.\n", "Version `v9`, 2 January 2030, on 2 cores (a CPU)", "](page.svg)",
			"| ours-curve | 126k | 120k..132k |", "| nats | failed: it broke / here |", "**Not run: pyzmq-null**", "| 2.40x | 2.40..2.40 | 1.00x | 1.00x | reached |", "16 workers of 1 slot\n",
		} {
			if !strings.Contains(string(b), want) {
				t.Errorf("the page lacks %q:\n%s", want, b)
			}
		}
		if strings.Contains(string(b), "old") || before != "" && before != string(b) {
			t.Errorf("the page is\n%s", b)
		}
		before = string(b)
	}
	if err := os.WriteFile(path, []byte("no lines"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := example().UpdatePage(path, "page.svg"); err == nil {
		t.Error("a page without lines for the results was changed")
	}
}
