package broker

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/broker/supervise"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/version"
)

// The answers of the broker's own methods. Their JSON names are a contract with
// scripts; durations are in seconds.

// StatusView is the answer of broker.status.
type StatusView struct {
	Name        string            `json:"name"`
	ID          string            `json:"id"`
	Instance    string            `json:"instance"` // changes with each start
	Version     string            `json:"version"`
	Uptime      float64           `json:"uptime"`
	Frontend    string            `json:"frontend"`
	Backend     string            `json:"backend"`
	Secure      bool              `json:"secure"`
	Draining    bool              `json:"draining"`
	Accepted    uint64            `json:"accepted"`
	Succeeded   uint64            `json:"succeeded"`
	Failed      uint64            `json:"failed"`
	Queued      int               `json:"queued"`
	Running     int               `json:"running"`
	LawHolds    bool              `json:"law_holds"` // accepted = succeeded + failed + queued + running
	Refused     uint64            `json:"refused"`
	Returned    uint64            `json:"returned"`     // never reached their worker, or were handed back
	Dispatched  uint64            `json:"redispatched"` // idempotent, after the loss of a worker
	Reclaimed   uint64            `json:"reclaimed"`
	Late        uint64            `json:"late"` // answers that came too late, twice, or forged
	Orphaned    uint64            `json:"orphaned"`
	Duplicates  uint64            `json:"duplicates"`
	Joined      uint64            `json:"joined"`
	FailedBy    map[string]uint64 `json:"failed_by"`
	RefusedBy   map[string]uint64 `json:"refused_by"`
	Workers     int               `json:"workers"`
	Sessions    int               `json:"sessions"`
	Connections int               `json:"connections"`
	Handshakes  int               `json:"handshakes"`         // under way
	Unadmitted  uint64            `json:"handshakes_refused"` // since the start
	HeldCalls   int64             `json:"held_calls"`
	HeldBytes   int64             `json:"held_bytes"`
	Rate        float64           `json:"rate"` // calls that end in a second
}

// statusView is what broker.status answers. The call that asks is not counted: it
// would be the one that runs on a broker with nothing to do. What it holds is.
func (b *Broker) statusView() StatusView {
	s := b.dispatcher.Stats()
	s.Accepted--
	s.Running--
	return StatusView{
		Name: b.config.Main.Name, ID: b.config.Main.ID, Instance: hex.EncodeToString(b.instance[:]),
		Version: version.String(), Uptime: seconds(time.Since(b.started)), Frontend: b.Frontend().String(), Backend: b.Backend().String(), Secure: !b.config.Security.Insecure,
		Draining: s.Draining, Accepted: s.Accepted, Succeeded: s.Succeeded, Failed: s.Failed, Queued: s.Queued,
		Running: s.Running, LawHolds: s.Law() == nil, Refused: s.Refused, Returned: s.Returned,
		Dispatched: s.Redispatched, Reclaimed: s.Reclaimed, Late: s.Late, Orphaned: s.Orphaned,
		Duplicates: s.Duplicates, Joined: s.Joined, FailedBy: byCode(s.FailedBy), RefusedBy: byCode(s.RefusedBy),
		Workers: s.Workers - 1, Sessions: s.Sessions, Connections: b.links.len(), // the broker's own service is no worker
		Handshakes: b.frontend.Unauthenticated() + b.backend.Unauthenticated(), Unadmitted: b.audit.refusals(),
		HeldCalls: s.HeldCalls, HeldBytes: s.HeldBytes, Rate: s.Rate,
	}
}

func byCode(counts map[message.Code]uint64) map[string]uint64 {
	m := make(map[string]uint64, len(counts))
	for code, n := range counts {
		m[string(code)] = n
	}
	return m
}

// WorkerView is one row of broker.workers: a connected worker, a process that
// the broker runs, or both.
type WorkerView struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	State     string   `json:"state"` // connected, draining, or the process's state
	Host      string   `json:"host"`
	PID       int      `json:"pid"`
	Address   string   `json:"address"`
	Version   string   `json:"version"`
	Plain     bool     `json:"plain"`
	Capacity  int      `json:"capacity"`
	Busy      int      `json:"busy"`
	Stopping  int      `json:"stopping"` // of busy, with calls that nobody waits for
	Alone     bool     `json:"alone"`    // takes no other call, for one that may kill its worker
	Succeeded uint64   `json:"succeeded"`
	Failed    uint64   `json:"failed"`
	Connected float64  `json:"connected"`
	Methods   int      `json:"methods"`
	Local     bool     `json:"local"` // a child process of the broker
	Config    string   `json:"config"`
	Restarts  int      `json:"restarts"`
	LastExit  string   `json:"last_exit"`
	Stderr    []string `json:"stderr"` // last lines of the last process that ended
}

// workerViews joins what the dispatcher and the supervisor know.
func (b *Broker) workerViews() []WorkerView {
	views := []WorkerView{}
	index := map[string]int{}
	for _, w := range b.dispatcher.Workers() {
		if w.Key == ownKey {
			continue
		}
		v := WorkerView{
			ID: w.ID, Name: w.Name, State: "connected", Host: w.Host, PID: w.PID, Address: w.Address, Version: w.Version,
			Plain: w.Plain, Capacity: w.Capacity, Busy: w.Busy, Stopping: w.Stopping, Alone: w.Alone, Succeeded: w.Done, Failed: w.Failed,
			Connected: seconds(w.Since), Methods: w.Methods, Stderr: []string{},
		}
		if w.Draining {
			v.State = "draining"
		}
		index[w.ID] = len(views)
		views = append(views, v)
	}
	for _, p := range b.supervisor.List() {
		i, connected := index[p.ID]
		if !connected {
			i = len(views)
			views = append(views, WorkerView{ID: p.ID, Name: p.Name, State: p.State.String(), PID: p.PID, Stderr: []string{}})
		}
		views[i].addProcess(p)
	}
	// A worker keeps its row whatever becomes of it.
	slices.SortFunc(views, func(a, b WorkerView) int { return strings.Compare(a.ID, b.ID) })
	return views
}

func (v *WorkerView) addProcess(p supervise.Status) {
	v.Local, v.Config, v.Restarts = true, p.Config, p.Restarts
	if p.LastExit != nil {
		v.LastExit, v.Stderr = p.LastExit.Status, append(v.Stderr, p.LastExit.Stderr...)
	}
}

// MethodView is one row of broker.methods and the answer of broker.describe.
type MethodView struct {
	Name       string   `json:"name"`
	Aliases    []string `json:"aliases"`
	Signature  string   `json:"signature"`
	Doc        string   `json:"doc"`
	Idempotent bool     `json:"idempotent"`
	Stream     bool     `json:"stream"`
	Workers    int      `json:"workers"`
	Queued     int      `json:"queued"`
	Running    int      `json:"running"`
	Succeeded  uint64   `json:"succeeded"`
	Failed     uint64   `json:"failed"`
}

// CallView is one row of broker.calls.
type CallView struct {
	Call     string  `json:"call"` // what broker.cancel takes
	Client   string  `json:"client"`
	Method   string  `json:"method"`
	State    string  `json:"state"`
	Worker   string  `json:"worker"`
	Attempt  int     `json:"attempt"`
	Age      float64 `json:"age"`
	Deadline float64 `json:"deadline"` // what is left; 0 = none
	Size     int     `json:"size"`
	Name     string  `json:"name"` // of the client's certificate
}

func (b *Broker) callView(c dispatch.CallInfo) CallView {
	return CallView{
		Call: callID(message.Origin{Session: c.Session, Number: c.Number}), Client: c.Key, Method: c.Method, State: c.State,
		Worker: c.Worker, Attempt: c.Attempt, Age: seconds(c.Age), Deadline: seconds(c.Deadline), Size: c.Size,
		Name: b.nameOf(c.Key),
	}
}

// nameOf returns the name of the certificate of a client's key, or "" if it is not
// admitted any more.
func (b *Broker) nameOf(key string) string {
	public, err := curve.ParsePublicKey(key)
	if err != nil || b.keys == nil { // the key is an address without security
		return ""
	}
	entry, _ := b.keys.Lookup(public)
	return entry.Name
}

// SessionView is one row of broker.sessions.
type SessionView struct {
	Session  string `json:"session"`
	Client   string `json:"client"`
	Name     string `json:"name"`
	Address  string `json:"address"`
	Plain    bool   `json:"plain"`
	Attached bool   `json:"attached"`
	Calls    int    `json:"calls"`
	Outcomes int    `json:"outcomes"` // not acknowledged
}

// callID names a call for people: session and number.
func callID(o message.Origin) string {
	return hex.EncodeToString(o.Session[:]) + "/" + strconv.FormatUint(o.Number, 10)
}

func parseCallID(text string) (message.Origin, error) {
	var o message.Origin
	session, number, ok := strings.Cut(text, "/")
	b, err := hex.DecodeString(session)
	if !ok || err != nil || len(b) != len(o.Session) {
		return o, fmt.Errorf("%.64q is not the id of a call; broker calls lists them", text)
	}
	copy(o.Session[:], b)
	if o.Number, err = strconv.ParseUint(number, 10, 64); err != nil {
		return o, fmt.Errorf("%.64q is not the id of a call; broker calls lists them", text)
	}
	return o, nil
}
