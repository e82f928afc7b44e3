package bench

import (
	"encoding/json"
	"os"
)

// Answer is one line that a process of a system writes. The harness tells a
// client, one line each,
//
//	measure SIZE IN-FLIGHT CONNECTIONS WARM-MS MEASURE-MS WANTED BROKER-PID WORKER-PID WORKER-PID
//
// and gets a report. WANTED is the answers of one timed slot that the window waits for (load.go);
// the PID is 0 where there is no such process. It tells a crowd (crowd.go)
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
	// CPU is read by the client, at the window's ends: the harness may not get a processor
	// for longer than the window lasts.
	CPU usage `json:"cpu_s"`
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
