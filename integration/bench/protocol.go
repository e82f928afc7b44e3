package bench

import (
	"encoding/json"
	"os"
)

// Answer is one line that a process of a system writes. The harness tells a
// client, one line each,
//
//	run SIZE IN-FLIGHT CONNECTIONS WARM-MS MEASURE-MS BROKER-PID WORKER-PID WORKER-PID
//
// where a process that there is not has the PID 0, and gets a report; it tells a
// crowd (crowd.go)
//
//	open CONNECTIONS
//	call
//
// and gets a report. Exactly one field is set.
type Answer struct {
	Ready string  `json:"ready,omitempty"` // it serves, at this address if it has one
	Done  *Report `json:"done,omitempty"`
	Error string  `json:"error,omitempty"` // its last line
}

// Report is what a client measured in its window, or how a crowd opened.
type Report struct {
	Calls   int64   `json:"calls"` // or connections
	Wrong   int64   `json:"wrong"` // answers that are not what was sent
	Seconds float64 `json:"seconds"`
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
	// CPU is the processor seconds of client, broker and workers in the window. The
	// client reads them, at its ends: the harness may not get a processor for longer
	// than the window lasts.
	CPU [3]float64 `json:"cpu_s"`
}

// say writes one answer to the harness.
func say(a Answer) error {
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(append(b, '\n'))
	return err
}
