package bench

import (
	"fmt"
	"slices"
)

// Sample is one measurement of a cell with one system. Times of the processor
// are in microseconds a call.
type Sample struct {
	Rate      float64 `json:"rate"` // calls a second
	P50       float64 `json:"p50_us"`
	P99       float64 `json:"p99_us"`
	ClientCPU float64 `json:"client_cpu_us"`
	BrokerCPU float64 `json:"broker_cpu_us"`
	WorkerCPU float64 `json:"worker_cpu_us"`
}

func newSample(r *Report) (*Sample, error) {
	if r.Wrong > 0 {
		return nil, fmt.Errorf("%d of %d answers are not what was sent", r.Wrong, r.Calls)
	}
	if r.Calls == 0 {
		return nil, fmt.Errorf("no call ended within the %.1f s that were measured", r.Seconds)
	}
	per := func(i int) float64 { return r.CPU[i] / float64(r.Calls) * 1e6 }
	return &Sample{
		Rate: float64(r.Calls) / r.Seconds, P50: r.P50, P99: r.P99,
		ClientCPU: per(clientSide), BrokerCPU: per(brokerSide), WorkerCPU: per(workerSide),
	}, nil
}

// Spread is the middle and the ends of what was measured several times.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	v := slices.Sorted(slices.Values(values))
	mid := len(v) / 2
	median := v[mid]
	if len(v)%2 == 0 {
		median = (v[mid-1] + v[mid]) / 2
	}
	return Spread{Median: median, Min: v[0], Max: v[len(v)-1]}
}

// of returns the spread of one figure of samples.
func of[T any](samples []T, figure func(T) float64) Spread {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = figure(s)
	}
	return spreadOf(values)
}

// ratios returns ours/theirs of each round, in which both were measured one soon
// after the other: what slows the machine down for a while slows both.
func ratios(ours, theirs []Sample, figure func(Sample) float64) Spread {
	n := min(len(ours), len(theirs))
	values := make([]float64, 0, n)
	for i := range n {
		if d := figure(theirs[i]); d > 0 {
			values = append(values, figure(ours[i])/d)
		}
	}
	return spreadOf(values)
}

// quantiles returns the 50th and the 99th percentile, 0 of nothing.
func quantiles(values []float64) (p50, p99 float64) {
	if len(values) == 0 {
		return 0, 0
	}
	slices.Sort(values)
	return values[len(values)/2], values[len(values)*99/100]
}
