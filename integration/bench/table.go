package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

func rate(s Sample) float64      { return s.Rate }
func brokerCPU(s Sample) float64 { return s.BrokerCPU }

// perCPU is what the processor time of all processes would come to in calls a
// second and core: a rate that other load on the machine does not lower.
func perCPU(s Sample) float64 { return 1e6 / (s.ClientCPU + s.BrokerCPU + s.WorkerCPU) }

// rateText is a rate with three figures.
func rateText(v float64) string {
	switch {
	case v >= 100e3:
		return fmt.Sprintf("%.0fk", v/1e3)
	case v >= 10e3:
		return fmt.Sprintf("%.1fk", v/1e3)
	case v >= 1e3:
		return fmt.Sprintf("%.2fk", v/1e3)
	}
	return fmt.Sprintf("%.0f", v)
}

// comparisons lists, for a system of ours, whom its ratios are taken to.
var comparisons = map[string][]string{
	"ours-null":  {"libzmq-null", "nats", "base-null"},
	"ours-curve": {"libzmq-curve", "nats", "nats-tls", "base-curve"},
}

// WriteTable writes one line for each cell and system: what it did, what that
// cost, and how that compares.
func WriteTable(w io.Writer, results []*Result, systems []*System) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "cell\tsystem\tcalls/s\tmin..max\tp50 us\tp99 us\tbroker us\tclient us\tworkers us\tcalls/CPU-s\tratios: rate [min..max], calls/CPU-s, broker us")
	for _, res := range results {
		for i, s := range systems {
			name := ""
			if i == 0 {
				name = res.Cell.String()
			}
			samples := res.Samples[s.Name]
			if len(samples) == 0 {
				fmt.Fprintf(t, "%s\t%s\tNOT RUN\n", name, s.Name)
				continue
			}
			r := of(samples, rate)
			fmt.Fprintf(t, "%s\t%s\t%s\t%s..%s\t%.0f\t%.0f\t%.2f\t%.2f\t%.2f\t%s\t%s\n", name, s.Name, rateText(r.Median), rateText(r.Min), rateText(r.Max),
				of(samples, func(s Sample) float64 { return s.P50 }).Median, of(samples, func(s Sample) float64 { return s.P99 }).Median,
				of(samples, brokerCPU).Median, of(samples, func(s Sample) float64 { return s.ClientCPU }).Median,
				of(samples, func(s Sample) float64 { return s.WorkerCPU }).Median, rateText(of(samples, perCPU).Median), compared(res, s.Name))
		}
	}
	return t.Flush()
}

// compared says how a system of ours stands to the others in a cell.
func compared(res *Result, name string) string {
	var parts []string
	for _, other := range comparisons[name] {
		ours, theirs := res.Samples[name], res.Samples[other]
		if len(ours) == 0 || len(theirs) == 0 {
			continue
		}
		r := ratios(ours, theirs, rate)
		parts = append(parts, fmt.Sprintf("%s %.2f [%.2f..%.2f] %.2f %.2f", other, r.Median, r.Min, r.Max,
			ratios(ours, theirs, perCPU).Median, ratios(ours, theirs, brokerCPU).Median))
	}
	return strings.Join(parts, ", ")
}
