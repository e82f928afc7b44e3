package bench

import (
	"fmt"
	"slices"
)

// Goal is one row of what the broker is to reach.
type Goal struct {
	Work   string // what is measured
	Wanted string
	// Found is what the run found, empty if it did not measure it; Spread is
	// its ends over the rounds, ByCPU the ratio by processor time, and ByBroker
	// that by the broker's alone.
	Found, Spread, ByCPU, ByBroker string
	Reached                        bool
}

// ratioGoal is a goal on a ratio of two systems in one cell.
type ratioGoal struct {
	work, cell   string
	ours, theirs string
	figure       func(Sample) float64
	least        bool // want is the least, else the most
	want         float64
}

var ratioGoals = []ratioGoal{
	{"CURVE, 100 B, 1000 in flight", cellThousand, OursCurve, LibzmqCurve, rate, true, 2},
	{"CURVE, 100 B, 1000 in flight", cellThousand, OursCurve, NATS, rate, true, 2},
	{"CURVE, 100 B, 1000 in flight", cellThousand, OursCurveCalls, NATSCalls, rate, true, 2},
	{"CURVE, 100 B, 100 in flight", cellHundred, OursCurve, LibzmqCurve, rate, true, 1.4},
	{"CURVE, 100 B, 100 in flight", cellHundred, OursCurve, NATS, rate, true, 1.4},
	{"CURVE, 100 B, 100 in flight", cellHundred, OursCurveCalls, NATSCalls, rate, true, 1.4},
	{"NULL, 100 B, 1000 in flight", cellThousand, OursNull, LibzmqNull, rate, true, 1},
	{"NULL, 100 B, 100 in flight", cellHundred, OursNull, LibzmqNull, rate, true, 0.8},
	{"CURVE, 100 B, latency of 1 in flight", cellOne, OursCurve, LibzmqCurve, latency, false, 0.9},
	{"CURVE, 60 kB, 10 in flight", cellMiddling, OursCurve, LibzmqCurve, rate, true, 0.75},
	{"CURVE, 1 MB, 10 in flight", cellLarge, OursCurve, LibzmqCurve, rate, true, 0.75},
	{"NULL, 60 kB, 10 in flight", cellMiddling, OursNull, LibzmqNull, rate, true, 1},
	{"NULL, 1 MB, 10 in flight", cellLarge, OursNull, LibzmqNull, rate, true, 1},
}

// scaleGoal is a goal on the rate of a cell with many workers or a deep queue,
// set beside one with few and none.
type scaleGoal struct{ work, cell, few, beside string }

const fewWorkers = "2 workers, none queued"

// Of 1,000 workers each has a connection, so that calls which travel together to
// two go alone, with a system call at either end. The last goal is without that:
// its few workers get their calls one by one, too.
var scaleGoals = []scaleGoal{
	{"CURVE, 2 workers, 100,000 queued", cellDeep, cellThousand, fewWorkers},
	{"CURVE, 1,000 workers, none queued", cellWorkers, cellThousand, fewWorkers},
	{"CURVE, 1,000 workers, 100,000 queued", cellDeepWorkers, cellThousand, fewWorkers},
	{"CURVE, 1,000 workers of one slot, 100,000 queued", cellDeepSingles, cellFewSingle, "16 workers of one slot"},
}

// The other goals.
const (
	mostIdleBytes   = 16 << 10
	leastHandshakes = 1000
	mostBackSeconds = 5
	leastOfUsual    = 0.8
)

// Goals returns every goal and what the document says of it. A partial document
// has only those of which it says something.
func (d *Document) Goals() []Goal {
	var goals []Goal
	for _, g := range ratioGoals {
		goals = append(goals, d.ratioGoal(g))
	}
	for _, g := range scaleGoals {
		goals = append(goals, d.scaleGoal(g))
	}
	goals = append(append(goals, d.crowdGoals()...), d.backGoal())
	if d.Partial {
		goals = slices.DeleteFunc(goals, func(g Goal) bool { return g.Found == "" })
	}
	return goals
}

func (d *Document) ratioGoal(g ratioGoal) Goal {
	sign := ">="
	if !g.least {
		sign = "<="
	}
	row := Goal{Work: g.work, Wanted: fmt.Sprintf("%s %.2fx %s", sign, g.want, g.theirs)}
	res := d.result(g.cell)
	if res == nil || len(res.Samples[g.ours]) == 0 || len(res.Samples[g.theirs]) == 0 {
		return row
	}
	r := ratios(res.Samples[g.ours], res.Samples[g.theirs], g.figure)
	row.found(r, g.least, g.want)
	if g.least {
		row.ByCPU = times(ratios(res.Samples[g.ours], res.Samples[g.theirs], perCPU).Median)
		row.ByBroker = times(ratios(res.Samples[g.ours], res.Samples[g.theirs], perBrokerCPU).Median)
	}
	return row
}

// found fills in a ratio and the verdict on its median.
func (g *Goal) found(r Spread, least bool, want float64) {
	g.Found, g.Spread = times(r.Median), fmt.Sprintf("%.2f..%.2f", r.Min, r.Max)
	g.Reached = r.Median >= want
	if !least {
		g.Reached = r.Median <= want
	}
}

func times(v float64) string { return fmt.Sprintf("%.2fx", v) }

func (d *Document) scaleGoal(g scaleGoal) Goal {
	row := Goal{Work: g.work, Wanted: fmt.Sprintf(">= %.2fx of %s", leastOfUsual, g.beside)}
	few, many := d.result(g.few), d.result(g.cell)
	if few == nil || many == nil || len(few.Samples[OursCurve]) == 0 || len(many.Samples[OursCurve]) == 0 {
		return row
	}
	// Not of one round: the two were measured at different times.
	ratio := func(figure func(Sample) float64) Spread {
		base, s := of(few.Samples[OursCurve], figure).Median, of(many.Samples[OursCurve], figure)
		return Spread{s.Median / base, s.Min / base, s.Max / base}
	}
	row.found(ratio(rate), true, leastOfUsual)
	row.ByCPU, row.ByBroker = times(ratio(perCPU).Median), times(ratio(perBrokerCPU).Median)
	return row
}

// crowdGoals are those on idle connections and handshakes.
func (d *Document) crowdGoals() []Goal {
	idle := Goal{Work: "memory of an idle CURVE connection", Wanted: fmt.Sprintf("<= %d KiB", mostIdleBytes>>10)}
	shakes := Goal{Work: "CURVE handshakes, by the broker's processor time", Wanted: fmt.Sprintf(">= %d/s", leastHandshakes)}
	for _, c := range d.Crowds {
		if c.System != OursCurve {
			continue
		}
		idle.Work = fmt.Sprintf("memory of an idle CURVE connection, %d held", c.Connections)
		idle.Found, idle.Reached = fmt.Sprintf("%.1f KiB", c.Bytes/1024), c.Bytes <= mostIdleBytes
		perSecond := 1e6 / c.BrokerCPU * float64(d.Machine.Cores)
		shakes.Found, shakes.Reached = fmt.Sprintf("%.0f/s", perSecond), perSecond >= leastHandshakes
		shakes.Spread = fmt.Sprintf("%.0f/s beside the clients", float64(c.Connections)/c.Seconds)
	}
	return []Goal{idle, shakes}
}

func (d *Document) backGoal() Goal {
	row := Goal{Work: "clients back after a restart of the broker", Wanted: fmt.Sprintf("<= %d s", mostBackSeconds)}
	if b := d.Back; b != nil {
		row.Work = fmt.Sprintf("%d clients back after a restart of the broker", b.Clients)
		row.Found, row.Reached = fmt.Sprintf("%.1f s", b.Seconds), b.Seconds <= mostBackSeconds
	}
	return row
}

// verdict is a word for the table.
func (g *Goal) verdict() string {
	switch {
	case g.Found == "":
		return "NOT MEASURED"
	case g.Reached:
		return "reached"
	}
	return "missed"
}
