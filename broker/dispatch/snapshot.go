package dispatch

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/servicetools/servicetools/wire/message"
)

// WorkerInfo describes a worker at one moment.
type WorkerInfo struct {
	ID       string        `json:"id" msgpack:"id"`
	Name     string        `json:"name,omitempty" msgpack:"name,omitempty"`
	Host     string        `json:"host,omitempty" msgpack:"host,omitempty"`
	PID      int           `json:"pid,omitempty" msgpack:"pid,omitempty"`
	Version  string        `json:"version,omitempty" msgpack:"version,omitempty"`
	Key      string        `json:"key,omitempty" msgpack:"key,omitempty"`
	Address  string        `json:"address,omitempty" msgpack:"address,omitempty"`
	Plain    bool          `json:"plain,omitempty" msgpack:"plain,omitempty"`
	Draining bool          `json:"draining,omitempty" msgpack:"draining,omitempty"`
	Capacity int           `json:"capacity" msgpack:"capacity"`
	Busy     int           `json:"busy" msgpack:"busy"`
	Stopping int           `json:"stopping" msgpack:"stopping"` // busy with calls that nobody waits for
	Alone    bool          `json:"alone" msgpack:"alone"`       // runs a suspect, or is being vacated for one
	Done     uint64        `json:"succeeded" msgpack:"succeeded"`
	Failed   uint64        `json:"failed" msgpack:"failed"`
	Since    time.Duration `json:"since" msgpack:"since"` // registered so long ago
	Methods  int           `json:"methods" msgpack:"methods"`
}

// Workers describes all workers, by id.
func (d *Dispatcher) Workers() []WorkerInfo {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clockLocked()
	infos := make([]WorkerInfo, 0, len(d.workers))
	for _, w := range d.workers {
		infos = append(infos, w.infoLocked(now))
	}
	slices.SortFunc(infos, func(a, b WorkerInfo) int { return strings.Compare(a.ID, b.ID) })
	return infos
}

// Worker describes the worker of that id and reports whether there is one.
func (d *Dispatcher) Worker(id string) (WorkerInfo, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.workers[id]
	if w == nil {
		return WorkerInfo{}, false
	}
	return w.infoLocked(d.clockLocked()), true
}

func (w *Worker) infoLocked(now instant) WorkerInfo {
	info := WorkerInfo{
		ID: w.id, Name: w.name, Host: w.host, PID: w.pid, Version: w.version, Key: w.key, Address: w.address,
		Plain: w.plain, Draining: w.draining, Capacity: w.capacity, Busy: w.busy, Done: w.succeeded, Failed: w.failed,
		Since: (now - w.since).duration(), Methods: len(w.pool.members), Alone: w.alone || w.pool.vacated == w,
	}
	for a := w.held; a != nil; a = a.next {
		if a.call == nil {
			info.Stopping++
		}
	}
	return info
}

// MethodInfo describes a method at one moment.
type MethodInfo struct {
	message.Method
	Workers   int    `json:"workers" msgpack:"workers"` // that take calls of it
	Queued    int    `json:"queued" msgpack:"queued"`
	Running   int    `json:"running" msgpack:"running"` // or waiting for a claim or for another call's outcome
	Succeeded uint64 `json:"succeeded" msgpack:"succeeded"`
	Failed    uint64 `json:"failed" msgpack:"failed"`
}

// Methods describes all methods that the caller may see, by name; nil = all.
func (d *Dispatcher) Methods(may func(method string) bool) []MethodInfo {
	d.mu.Lock()
	defer d.mu.Unlock()
	infos := make([]MethodInfo, 0, len(d.methods))
	for name, m := range d.methods {
		if name != m.info.Name || may != nil && !may(name) {
			continue // an alias is listed with its method
		}
		info := MethodInfo{
			Method: m.info, Queued: m.waiting, Running: m.calls - m.waiting, Succeeded: m.succeeded, Failed: m.failed,
		}
		info.Idempotent = m.idempotent
		info.Aliases = slices.Clone(m.info.Aliases)
		for _, mb := range m.members {
			info.Workers += mb.pool.open
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b MethodInfo) int { return strings.Compare(a.Name, b.Name) })
	return infos
}

// CallInfo describes a call at one moment.
type CallInfo struct {
	Session  message.SessionID `json:"-" msgpack:"session"`
	Number   uint64            `json:"number" msgpack:"number"`
	Key      string            `json:"key" msgpack:"key"`
	Method   string            `json:"method" msgpack:"method"`
	State    string            `json:"state" msgpack:"state"` // queued, running, joined or reclaiming
	Worker   string            `json:"worker,omitempty" msgpack:"worker,omitempty"`
	Attempt  int               `json:"attempt" msgpack:"attempt"` // hand-overs so far
	Age      time.Duration     `json:"age" msgpack:"age"`
	Deadline time.Duration     `json:"deadline,omitempty" msgpack:"deadline,omitempty"` // what is left; 0 = none
	Size     int               `json:"size" msgpack:"size"`
}

// CallFilter selects calls; its zero value selects all.
type CallFilter struct {
	Key, Method, Worker, State string // equal; "" = any
	Limit                      int    // 0 = no limit
}

// Calls describes the calls that have not ended, the oldest first.
func (d *Dispatcher) Calls(f CallFilter) []CallInfo {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clockLocked()
	infos := []CallInfo{}
	d.eachCallLocked(func(c *call) {
		info := CallInfo{
			Session: c.origin.Session, Number: c.origin.Number, Key: c.client.key, Method: c.method.info.Name,
			State: c.state.String(), Attempt: int(c.attempts), Age: (now - c.submitted).duration(), Size: len(c.body.Bytes),
		}
		if c.assigned != nil {
			info.Worker = c.assigned.worker.id
		}
		if c.deadline != 0 {
			info.Deadline = max(c.deadline-now, 1).duration()
		}
		if f.selects(&info) {
			infos = append(infos, info)
		}
	})
	slices.SortFunc(infos, func(a, b CallInfo) int { return cmp.Compare(b.Age, a.Age) })
	if f.Limit > 0 && len(infos) > f.Limit {
		infos = infos[:f.Limit]
	}
	return infos
}

func (f *CallFilter) selects(c *CallInfo) bool {
	return (f.Key == "" || f.Key == c.Key) && (f.Method == "" || f.Method == c.Method) &&
		(f.Worker == "" || f.Worker == c.Worker) && (f.State == "" || f.State == c.State)
}

// SessionInfo describes a client's session at one moment.
type SessionInfo struct {
	Session  message.SessionID `json:"-" msgpack:"session"`
	Key      string            `json:"key" msgpack:"key"`
	Name     string            `json:"name,omitempty" msgpack:"name,omitempty"`
	Address  string            `json:"address,omitempty" msgpack:"address,omitempty"`
	Plain    bool              `json:"plain,omitempty" msgpack:"plain,omitempty"`
	Attached bool              `json:"attached" msgpack:"attached"`
	Calls    int               `json:"calls" msgpack:"calls"`       // not ended
	Outcomes int               `json:"outcomes" msgpack:"outcomes"` // not acknowledged
	KeyCalls int               `json:"key_calls" msgpack:"key_calls"`
	KeyBytes int64             `json:"key_bytes" msgpack:"key_bytes"`
	Since    time.Duration     `json:"since" msgpack:"since"` // begun so long ago
}

// Sessions describes all sessions, the oldest first.
func (d *Dispatcher) Sessions() []SessionInfo {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clockLocked()
	infos := []SessionInfo{}
	d.eachSessionLocked(func(s *Session) {
		infos = append(infos, SessionInfo{
			Session: s.name.id, Key: s.name.key, Name: s.config.Name, Address: s.config.Address, Plain: !s.resumable,
			Attached: s.sink != nil, Calls: s.live.len, Outcomes: s.outbox.len,
			KeyCalls: s.client.calls, KeyBytes: s.client.bytes, Since: (now - s.since).duration(),
		})
	})
	slices.SortFunc(infos, func(a, b SessionInfo) int { return cmp.Compare(b.Since, a.Since) })
	return infos
}
