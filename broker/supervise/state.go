package supervise

import (
	"fmt"
	"slices"
	"time"
)

// State is where a worker's process stands. See worker for the transitions.
type State uint8

// The states.
const (
	Stopped    State = iota // no process, and none will be started unasked
	Starting                // its process is being started
	Running                 // its process lives
	BackingOff              // its process ended unasked; it is started again at Status.Next
	CrashLoop               // the same, but it ended too often: the delays are long
	Stopping                // its process was asked to end
)

var stateNames = [...]string{"stopped", "starting", "running", "backing off", "crash loop", "stopping"}

// String returns the state's name, such as "backing off".
func (s State) String() string { return stateNames[s] }

// MarshalText returns the state's name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// next lists the transitions; a worker draws them.
var next = [...][]State{
	Stopped:    {Starting},
	Starting:   {Running, BackingOff, CrashLoop, Stopped},
	Running:    {BackingOff, CrashLoop, Stopping, Stopped},
	BackingOff: {Starting, Stopped},
	CrashLoop:  {Starting, Stopped},
	Stopping:   {Starting, Stopped},
}

// enterLocked is the only place where a worker's state changes, and logs it.
// s.mu is held.
func (w *worker) enterLocked(to State, args ...any) {
	from := w.state
	if !slices.Contains(next[from], to) {
		panic(fmt.Sprintf("supervise: a worker went from %v to %v", from, to))
	}
	w.state = to
	if to != BackingOff && to != CrashLoop {
		w.next = time.Time{}
	}
	log := w.s.config.Log.With("worker", w.spec.ID, "name", w.spec.Name, "from", from, "to", to)
	switch to {
	case CrashLoop:
		log.Error("worker ends again and again", args...)
	case BackingOff:
		log.Warn("worker ended unasked", args...)
	default:
		log.Info("worker "+to.String(), args...)
	}
}

// Status is the state of one worker.
type Status struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Config   string    `json:"config"` // path of its configuration
	State    State     `json:"state"`
	PID      int       `json:"pid,omitempty"`    // 0 without a process
	Started  time.Time `json:"started,omitzero"` // of the process
	Next     time.Time `json:"next,omitzero"`    // of the restart, when it backs off
	Restarts int       `json:"restarts"`         // since it was added
	Calls    int64     `json:"calls"`            // of this process, as told by CountCalls
	Memory   int64     `json:"memory,omitempty"` // resident bytes at the last check, where known
	Output   string    `json:"output,omitempty"` // file of its stdout and stderr
	LastExit *Exit     `json:"last_exit,omitempty"`
}

// Exit says how a process ended.
type Exit struct {
	At     time.Time     `json:"at"`
	Ran    time.Duration `json:"ran"`    // ns
	Status string        `json:"status"` // such as "exit status 1", "signal: killed", "did not start: ..."
	Reason string        `json:"reason"` // why it was asked to end; empty if it was not
	Stderr []string      `json:"stderr"` // its last lines, as evidence
}
