package bench

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// The lines of a page between which the results stand.
const (
	beginResults = "<!-- begin results -->"
	endResults   = "<!-- end results -->"
)

// UpdatePage puts the document's results into a page, in the place of those of
// an earlier run. chart is the chart's file, as the page refers to it.
func (d *Document) UpdatePage(path, chart string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(b), beginResults)
	_, tail, ok2 := strings.Cut(rest, endResults)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no lines %q and %q for the results", path, beginResults, endResults)
	}
	return os.WriteFile(path, []byte(head+beginResults+"\n\n"+d.markdown(chart)+"\n"+endResults+tail), 0o644)
}

func (d *Document) markdown(chart string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Version `%s`, %s, on %s. ", d.Version, d.Began.Format("2 January 2006"), d.Machine)
	fmt.Fprintf(&b, "Load average before %s, after %s. ", d.Machine.LoadBefore, d.Machine.LoadAfter)
	fmt.Fprintf(&b, "%d rounds of %v, each after %v of warm-up.\n\n", d.Timing.Repeats, d.Timing.Measure, d.Timing.Warm)
	if busy := d.Machine.busy(); busy != "" {
		fmt.Fprintf(&b, "**%s**\n\n", busy)
	}
	var others []string
	for _, name := range slices.Sorted(maps.Keys(d.Versions)) {
		others = append(others, name+" "+d.Versions[name])
	}
	fmt.Fprintf(&b, "The others: %s.\n\n", strings.Join(others, ", "))
	for _, name := range slices.Sorted(maps.Keys(d.NotRun)) {
		fmt.Fprintf(&b, "**Not run: %s**, %s.\n\n", name, d.NotRun[name])
	}
	fmt.Fprintf(&b, "![calls a second of each system](%s)\n\n", chart)
	d.markdownGoals(&b)
	for _, res := range d.Results {
		d.markdownCell(&b, res)
	}
	return b.String()
}

func (d *Document) markdownGoals(b *strings.Builder) {
	b.WriteString("### Goals\n\n| work | goal | found | min..max | by processor time | by the broker's | |\n|---|---|---|---|---|---|---|\n")
	for _, g := range d.Goals() {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s |\n", g.Work, g.Wanted, g.Found, g.Spread, g.ByCPU, g.ByBroker, g.verdict())
	}
	b.WriteString("\n")
	if len(d.Crowds) == 0 {
		return
	}
	b.WriteString("### Idle connections\n\n| system | connections | broker's memory each | broker's processor time each | opened in |\n|---|---|---|---|---|\n")
	for _, c := range d.Crowds {
		fmt.Fprintf(b, "| %s | %d | %.1f KiB | %.0f us | %.1f s |\n", c.System, c.Connections, c.Bytes/1024, c.BrokerCPU, c.Seconds)
	}
	b.WriteString("\n")
}

func (d *Document) markdownCell(b *strings.Builder, res *Result) {
	c := res.Cell
	fmt.Fprintf(b, "### %s, %d in flight", sizeText(c.Size), c.InFlight)
	if c.Connections != 1 {
		fmt.Fprintf(b, ", %d connections", c.Connections)
	}
	if c.Workers != usualWorkers || c.Slots != usualSlots {
		slots := "slots"
		if c.Slots == 1 {
			slots = "slot"
		}
		fmt.Fprintf(b, ", %d workers of %d %s", c.Workers, c.Slots, slots)
	}
	b.WriteString("\n\n| system | calls/s | min..max | p50 us | p99 us | broker us | client us | workers us | calls/CPU-s |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, name := range d.Systems {
		if why := res.Failed[name]; why != "" {
			first, _, _ := strings.Cut(why, "\n")
			fmt.Fprintf(b, "| %s | failed: %s | | | | | | | |\n", name, strings.ReplaceAll(first, "|", "/"))
		}
		samples := res.Samples[name]
		if len(samples) == 0 {
			continue
		}
		r := of(samples, rate)
		fmt.Fprintf(b, "| %s | %s | %s..%s", name, number(r.Median), number(r.Min), number(r.Max))
		for _, figure := range []func(Sample) float64{latency, tail, brokerCPU, clientCPU, workerCPU, perCPU} {
			fmt.Fprintf(b, " | %s", number(of(samples, figure).Median))
		}
		b.WriteString(" |\n")
	}
	b.WriteString("\n")
}
