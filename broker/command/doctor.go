package command

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/broker"
	"github.com/servicetools/servicetools/broker/admin"
	"github.com/servicetools/servicetools/broker/config"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/version"
	"github.com/servicetools/servicetools/wire/zmtp"
)

const doctorHelp = `Goes the way that a peer goes to a broker, step by step, and stops at the first
that fails, with the remedy: name resolution, connect, greeting, mechanism, server
key, authorisation, then role, clock, versions and workers. With --config it also
examines the files and permissions on this host, and the backend.

The exit code is that of the first failure: 69 no broker, 77 not authorised,
78 configuration or certificate.

Example:
   broker doctor --config server.ini
   broker doctor --server tcp://host:8006 --cert admin.key_secret --server-key server.key`

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:        "doctor",
		Category:    "Look",
		Usage:       "find out why something does not work",
		Description: doctorHelp,
		Flags:       connectFlags(),
		Action:      doctor,
	}
}

func doctor(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	asJSON, err := inJSON(c)
	if err != nil {
		return err
	}
	var usage *usageError
	if _, err := target(c); errors.As(err, &usage) {
		return err
	}
	e := &examination{}
	e.broker(c)
	return e.report(c.App.Writer, asJSON)
}

// broker examines the broker that the options name.
func (e *examination) broker(c *cli.Context) {
	var cfg *config.Config
	if c.String("config") != "" {
		var err error
		if cfg, err = loadConfig(c, config.Read); err != nil {
			e.fail(ExitConfig, "configuration", "", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
			return
		}
		e.ok("configuration", "%s is whole", cfg.Path)
		e.files(cfg)
	}
	t, err := target(c)
	if err != nil {
		e.fail(exitCode(err), "keys", "", "%v", err)
		return
	}
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	client, err := admin.Dial(ctx, t)
	if !e.way(t, err) {
		if cfg != nil && exitCode(err) == ExitUnavailable {
			e.port("frontend", cfg.FrontendAddr())
			e.port("backend", cfg.BackendAddr())
		}
		return
	}
	defer client.Close()
	e.answers(ctx, t, client)
	if cfg != nil {
		e.backend(ctx, cfg)
	}
}

// steps are the parts of the way to a broker, in order.
var steps = []zmtp.Step{
	zmtp.StepResolve, zmtp.StepConnect, zmtp.StepGreeting, zmtp.StepMechanism, zmtp.StepServerKey, zmtp.StepAuthorise,
}

// way reports each step up to the one that failed, and whether none did.
func (e *examination) way(t admin.Target, err error) bool {
	found := map[zmtp.Step]string{
		zmtp.StepResolve:   addresses(t.Endpoint),
		zmtp.StepConnect:   t.Endpoint,
		zmtp.StepGreeting:  "ZMTP 3",
		zmtp.StepMechanism: "CURVE",
		zmtp.StepServerKey: "fingerprint " + t.ServerKey.Fingerprint(),
		zmtp.StepAuthorise: "the broker admits the key " + t.Key.Public().String(),
	}
	if t.Key.IsZero() {
		found[zmtp.StepMechanism] = "NULL: without security"
		found[zmtp.StepServerKey] = "none is needed"
		found[zmtp.StepAuthorise] = "everybody is admitted"
	}
	var failed *zmtp.StepError
	if err != nil && !errors.As(err, &failed) {
		e.fail(exitCode(err), "connection", "look into the broker's log", "%v", err)
		return false
	}
	for _, step := range steps {
		if failed != nil && step == failed.Step {
			e.problem(string(step), stepCode(step), admin.Explain(t, err))
			return false
		}
		e.ok(string(step), "%s", found[step])
	}
	return true
}

// addresses returns what the host of an endpoint resolves to.
func addresses(endpoint string) string {
	host, _, _ := net.SplitHostPort(strings.TrimPrefix(endpoint, "tcp://"))
	all, err := net.LookupHost(host)
	if err != nil {
		return host
	}
	return host + " is " + strings.Join(all, ", ")
}

// problem adds a failure that admin has explained, or any other.
func (e *examination) problem(step string, code int, err error) {
	var p *admin.Problem
	if errors.As(err, &p) {
		e.fail(code, step, p.Remedy, "%s", p.What)
		return
	}
	e.fail(code, step, "look into the broker's log", "%v", err)
}

// maxSkew is how far the clocks of two hosts may be apart before their logs
// cannot be read together. Deadlines travel as what is left of them, so that
// clocks do not matter to calls.
const maxSkew = 2 * time.Second

// answers examines what a broker that was reached says of itself.
func (e *examination) answers(ctx context.Context, t admin.Target, client *admin.Client) {
	var ping struct {
		Version string `json:"version"`
		Time    string `json:"time"` // RFC 3339
	}
	began := time.Now()
	if err := e.ask(ctx, t, client, "broker.ping", &ping); err != nil {
		e.problem("call", exitCode(err), err)
		return
	}
	e.clock(ping.Time, began, time.Since(began))
	if ours := version.String(); ping.Version != ours {
		e.note("versions", "install the same, if a command is refused", "the broker is %s, this command %s", ping.Version, ours)
	} else {
		e.ok("versions", "%s", ours)
	}
	var status broker.StatusView
	err := e.ask(ctx, t, client, "broker.status", &status)
	switch {
	case errors.Is(err, message.ErrUnauthorized):
		e.problem("role", ExitUnauthorized, err)
		return
	case err != nil:
		e.problem("status", exitCode(err), err)
		return
	}
	e.ok("role", "admin")
	switch {
	case !status.LawHolds:
		e.fail(ExitFailure, "calls", "report this as a defect", "accepted calls are not all accounted for")
	case status.Draining:
		e.note("calls", "it is being stopped", "the broker drains and takes no new call")
	default:
		e.ok("calls", "%d accepted, %d queued, %d running", status.Accepted, status.Queued, status.Running)
	}
	var workers []broker.WorkerView
	if err := e.ask(ctx, t, client, "broker.workers", &workers); err != nil {
		e.problem("workers", exitCode(err), err)
		return
	}
	e.workers(workers)
}

// clock compares the broker's time with this host's. The answer took some
// time to come, half of it on the way back.
func (e *examination) clock(text string, asked time.Time, took time.Duration) {
	theirs, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		e.note("clock", "install the same version on both hosts", "the broker's time, %.40q, cannot be read", text)
		return
	}
	skew := theirs.Sub(asked.Add(took / 2)).Round(time.Millisecond)
	if skew.Abs() > maxSkew+took {
		e.note("clock", "set both by NTP, to read their logs together", "the broker's is %v off this host's", skew)
		return
	}
	e.ok("clock", "%v off, answered in %v", skew, took.Round(time.Microsecond))
}

// ask runs one of the broker's methods.
func (e *examination) ask(ctx context.Context, t admin.Target, client *admin.Client, method string, result any) error {
	answer, err := client.Call(ctx, method, nil)
	if err != nil {
		return admin.Explain(t, err)
	}
	return admin.Decode(answer, result)
}

// workers examines the list of a broker's workers.
func (e *examination) workers(all []broker.WorkerView) {
	const step = "workers"
	connected, methods := 0, 0
	for _, w := range all {
		if w.Address != "" {
			connected, methods = connected+1, max(methods, w.Methods)
			if ours := version.String(); w.Version != "" && w.Version != ours {
				e.note(step, "install the same everywhere when convenient", "worker %s is of version %s, this command of %s", w.ID, w.Version, ours)
			}
			continue
		}
		if w.LastExit != "" {
			why := w.LastExit
			if n := len(w.Stderr); n > 0 {
				why += ", its last line: " + w.Stderr[n-1]
			}
			e.fail(ExitUnavailable, step, "its output in log_dir has more", "worker %s is in state %s after %s", w.ID, w.State, why)
		}
	}
	switch {
	case connected == 0:
		e.fail(ExitUnavailable, step, "start one with a key of role worker, against the backend", "none is connected")
	case methods == 0 && !slices.ContainsFunc(all, func(w broker.WorkerView) bool { return w.Plain }):
		e.note(step, "export the methods of the worker's struct", "%d connected, but they serve no method", connected)
	default:
		e.ok(step, "%d connected", connected)
	}
}

// backend examines the endpoint for workers with the worker key of this host.
// It registers nothing.
func (e *examination) backend(ctx context.Context, cfg *config.Config) {
	const step = "backend"
	if cfg.Main.BackendPort == 0 {
		e.note(step, "name one in [main] to examine it", "its port is chosen at each start")
		return
	}
	t := admin.Target{Endpoint: dialAddr(cfg, cfg.Main.BackendPort)}
	if !cfg.Security.Insecure {
		keys := keysetOf(cfg)
		if err := loadKeys(&t, keys.SecretPath("worker"), keys.PublicPath("server")); err != nil {
			e.note(step, "", "not examined: %v", err)
			return
		}
	}
	link, err := t.Connect(ctx)
	if err != nil {
		e.problem(step, exitCode(err), admin.Explain(t, err))
		return
	}
	link.Close(nil)
	_ = link.Run(func(*zmtp.Message) error { return nil }) // returns at once, and frees the link
	e.ok(step, "%s admits the worker key of this host", t.Endpoint)
}
