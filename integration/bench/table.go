package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
)

func rate(s Sample) float64      { return s.Rate }
func latency(s Sample) float64   { return s.P50 }
func tail(s Sample) float64      { return s.P99 }
func brokerCPU(s Sample) float64 { return s.BrokerCPU }
func clientCPU(s Sample) float64 { return s.ClientCPU }
func workerCPU(s Sample) float64 { return s.WorkerCPU }

// perCPU is the calls for each second of processor time of all processes
// together: a rate that other work on the machine does not lower.
func perCPU(s Sample) float64 { return 1e6 / (s.ClientCPU + s.BrokerCPU + s.WorkerCPU) }

// perBrokerCPU is the calls for each second of the broker's processor time.
func perBrokerCPU(s Sample) float64 { return 1e6 / s.BrokerCPU }

// number is a figure with about three digits.
func number(v float64) string {
	switch {
	case v >= 99_950:
		return fmt.Sprintf("%.0fk", v/1e3)
	case v >= 9_995:
		return fmt.Sprintf("%.1fk", v/1e3)
	case v >= 1e3:
		return fmt.Sprintf("%.2fk", v/1e3)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// comparisons lists, for a system of ours, whom it is set beside.
var comparisons = map[string][]string{
	OursNull:       {LibzmqNull, NATS, BaseNull},
	OursCurve:      {LibzmqCurve, NATS, NATSTLS, BaseCurve},
	OursNullCalls:  {NATSCalls},
	OursCurveCalls: {NATSCalls, NATSTLSCalls},
}

// WriteTable writes one line for each cell and system: what it did, what that
// cost, and how ours stands to the others; then what the crowds came to and
// which goals are reached.
func (d *Document) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SIZE/IN FLIGHT\tSYSTEM\tCALLS/S\tMIN..MAX\tP50 us\tP99 us\tBROKER us\tCLIENT us\tWORKERS us\tCALLS/CPU-S\tOURS TO THEIRS: RATE [MIN..MAX], CALLS/CPU-S, BROKER us")
	for _, res := range d.Results {
		title := res.Cell.String()
		for _, name := range d.Systems {
			samples := res.Samples[name]
			if why := res.Failed[name]; why != "" {
				fmt.Fprintf(t, "%s\t%s\tFAILED\n", title, name)
				title = ""
			}
			if len(samples) == 0 {
				continue
			}
			r := of(samples, rate)
			fmt.Fprintf(t, "%s\t%s\t%s\t%s..%s", title, name, number(r.Median), number(r.Min), number(r.Max))
			for _, figure := range []func(Sample) float64{latency, tail, brokerCPU, clientCPU, workerCPU, perCPU} {
				fmt.Fprintf(t, "\t%s", number(of(samples, figure).Median))
			}
			fmt.Fprintf(t, "\t%s\n", res.compared(name))
			title = ""
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(d.NotRun)) {
		fmt.Fprintf(w, "NOT RUN: %s: %s\n", name, d.NotRun[name])
	}
	if busy := d.Machine.busy(); busy != "" {
		fmt.Fprintf(w, "\n%s\n", busy)
	}
	return d.writeGoals(w)
}

func (d *Document) writeGoals(w io.Writer) error {
	fmt.Fprintln(w)
	for _, c := range d.Crowds {
		fmt.Fprintln(w, c)
	}
	goals := d.Goals()
	if len(goals) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nGOAL\tWANTED\tFOUND\tMIN..MAX\tBY CPU TIME\tTHE BROKER'S\t")
	for _, g := range goals {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", g.Work, g.Wanted, g.Found, g.Spread, g.ByCPU, g.ByBroker, g.verdict())
	}
	return t.Flush()
}

// compared says how a system of ours stands to the others in a cell.
func (res *Result) compared(name string) string {
	text, comma := "", ""
	for _, other := range comparisons[name] {
		ours, theirs := res.Samples[name], res.Samples[other]
		if len(ours) == 0 || len(theirs) == 0 {
			continue
		}
		r := ratios(ours, theirs, rate)
		text += fmt.Sprintf("%s%s %.2f [%.2f..%.2f] %.2f %.2f", comma, other, r.Median, r.Min, r.Max,
			ratios(ours, theirs, perCPU).Median, ratios(ours, theirs, brokerCPU).Median)
		comma = ", "
	}
	return text
}

// String is the result in one line.
func (c *CrowdResult) String() string {
	return fmt.Sprintf("%s holds %d idle connections: %.1f KiB of the broker's memory each; opened in %.1f s, %.0f us of the broker's processor time each",
		c.System, c.Connections, c.Bytes/1024, c.Seconds, c.BrokerCPU)
}

// String is the result in one line.
func (b *BackResult) String() string {
	return fmt.Sprintf("%s: %d clients have had an answer %.1f s after the start of a new broker", b.System, b.Clients, b.Seconds)
}
