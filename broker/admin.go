package broker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/broker/supervise"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/version"
)

func (b *Broker) ping(context.Context, params) (any, error) {
	return map[string]any{
		"name":    b.config.Main.Name,
		"id":      b.config.Main.ID,
		"version": version.String(),
		"time":    time.Now().UTC().Format(time.RFC3339Nano),
		"uptime":  seconds(time.Since(b.started)),
	}, nil
}

func (b *Broker) status(context.Context, params) (any, error) { return b.statusView(), nil }

// health answers for the broker as a whole: it fails when its books do not balance.
func (b *Broker) health(context.Context, params) (any, error) {
	s := b.dispatcher.Stats()
	if err := s.Law(); err != nil {
		return nil, message.Errorf(message.Internal, "%v", err)
	}
	return map[string]any{"healthy": true, "workers": s.Workers - 1, "draining": s.Draining}, nil
}

func (b *Broker) workers(context.Context, params) (any, error) { return b.workerViews(), nil }

// methodViews lists what workers serve, and with own what the broker answers.
func (b *Broker) methodViews(own bool) []MethodView {
	views := []MethodView{}
	for _, m := range b.dispatcher.Methods(nil) {
		if strings.HasPrefix(m.Name, message.ReservedPrefix) && !own {
			continue
		}
		views = append(views, MethodView{
			Name: m.Name, Aliases: append([]string{}, m.Aliases...), Signature: m.Signature, Doc: m.Doc, Idempotent: m.Idempotent, Stream: m.Stream,
			Workers: m.Workers, Queued: m.Queued, Running: m.Running, Succeeded: m.Succeeded, Failed: m.Failed,
		})
	}
	return views
}

func (b *Broker) methods(context.Context, params) (any, error) { return b.methodViews(false), nil }

func (b *Broker) describe(_ context.Context, p params) (any, error) {
	var name string
	if err := p.need("method", 0, &name); err != nil {
		return nil, err
	}
	var names []string
	for _, m := range b.methodViews(true) {
		if m.Name == name || slices.Contains(m.Aliases, name) {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return nil, message.Errorf(message.NoSuchMethod, "no worker has served method %q%s", name, message.DidYouMean(name, names))
}

// maxListed is how many calls broker.calls returns when it is not told.
const maxListed = 1000

func (b *Broker) calls(_ context.Context, p params) (any, error) {
	filter := dispatch.CallFilter{Limit: maxListed}
	for i, parameter := range []struct {
		name  string
		value any
	}{{"limit", &filter.Limit}, {"method", &filter.Method}, {"worker", &filter.Worker}, {"state", &filter.State}} {
		if _, err := p.get(parameter.name, i, parameter.value); err != nil {
			return nil, err
		}
	}
	worker, err := named(filter.Worker, b.connectedIDs())
	if err != nil {
		return nil, err
	}
	if worker != "" {
		filter.Worker = worker
	}
	views := []CallView{}
	for _, c := range b.dispatcher.Calls(filter) {
		if !strings.HasPrefix(c.Method, message.ReservedPrefix) { // the question itself is no news
			views = append(views, b.callView(c))
		}
	}
	return views, nil
}

func (b *Broker) sessions(context.Context, params) (any, error) {
	views := []SessionView{}
	for _, s := range b.dispatcher.Sessions() {
		views = append(views, SessionView{
			Session: callID(message.Origin{Session: s.Session})[:32], Client: s.Key, Name: s.Name, Address: s.Address,
			Plain: s.Plain, Attached: s.Attached, Calls: s.Calls, Outcomes: s.Outcomes,
		})
	}
	return views, nil
}

func (b *Broker) cancelCall(_ context.Context, p params) (any, error) {
	var text string
	if err := p.need("call", 0, &text); err != nil {
		return nil, err
	}
	id, err := b.namedCall(text)
	if err != nil || id == "" {
		return "", err
	}
	origin, err := parseCallID(id)
	if err != nil || !b.dispatcher.CancelCall(origin) { // it may have ended just now
		return "", err
	}
	return id, nil
}

// maxWorkers bounds what one call may start, as the configuration bounds num_workers.
const maxWorkers = 10_000

// add starts count more workers with the configuration file at a path on the
// broker's host.
func (b *Broker) add(_ context.Context, p params) (any, error) {
	path, count := "", 1
	if err := p.need("config", 0, &path); err != nil {
		return nil, err
	}
	if _, err := p.get("count", 1, &count); err != nil {
		return nil, err
	}
	if count < 1 || count > maxWorkers {
		return nil, message.Errorf(message.BadArgs, "count %d is not within 1 and %d", count, maxWorkers)
	}
	spec, err := supervise.Read(b.config, path, b.backendPort())
	if err == nil {
		err = b.checkScript()
	}
	if err != nil {
		return nil, message.Errorf(message.BadArgs, "%v", err)
	}
	ids, err := b.supervisor.Add(spec, count)
	if err != nil {
		return nil, message.Errorf(message.BadArgs, "%v", err)
	}
	return ids, nil
}

func (b *Broker) scale(_ context.Context, p params) (any, error) {
	var n int
	if err := p.need("n", 0, &n); err != nil {
		return nil, err
	}
	if n < 0 || n > maxWorkers {
		return nil, message.Errorf(message.BadArgs, "%d workers are not within 0 and %d", n, maxWorkers)
	}
	if err := b.supervisor.Scale(n); err != nil {
		return nil, message.Errorf(message.BadArgs, "%v", err)
	}
	return b.workerViews(), nil
}

func (b *Broker) remove(_ context.Context, p params) (any, error) {
	var text string
	var now bool
	if err := p.need("id", 0, &text); err != nil {
		return nil, err
	}
	if _, err := p.get("now", 1, &now); err != nil {
		return nil, err
	}
	id, err := named(text, b.supervisedIDs())
	if err != nil {
		return nil, err
	}
	if id != "" {
		err = b.supervisor.Remove(id, now)
	}
	switch {
	case id == "" || errors.Is(err, supervise.ErrUnknown): // removed just now
		if elsewhere, err := named(text, b.connectedIDs()); elsewhere != "" && err == nil {
			return nil, message.Errorf(message.BadArgs, "worker %s is not run by this broker: end it where it runs, or ask it to leave by broker drain", elsewhere)
		}
		return nil, message.Errorf(message.BadArgs, "worker %q is not run by this broker; broker workers lists those that are local", text)
	case err != nil:
		return nil, message.Errorf(message.Internal, "%v", err)
	}
	return id, nil
}

// drainWorkers drains one worker, those of "host:NAME", or "all".
func (b *Broker) drainWorkers(_ context.Context, p params) (any, error) {
	var which string
	if err := p.need("worker", 0, &which); err != nil {
		return nil, err
	}
	host, byHost := strings.CutPrefix(which, "host:")
	id := ""
	if which != "all" && !byHost {
		var err error
		if id, err = named(which, b.connectedIDs()); err != nil {
			return nil, err
		}
	}
	drained := []string{}
	for _, w := range b.dispatcher.Workers() {
		if w.Key == ownKey || w.ID != id && which != "all" && (!byHost || w.Host != host) {
			continue
		}
		b.supervisor.Excuse(w.ID) // before it can leave
		if b.dispatcher.DrainWorker(w.ID) {
			drained = append(drained, w.ID)
		}
	}
	if len(drained) == 0 {
		if which == "all" {
			return nil, message.Errorf(message.BadArgs, "no worker is connected")
		}
		return nil, message.Errorf(message.BadArgs, `no worker %q is connected; give an id that broker workers lists, its beginning, "host:NAME" or "all"`, which)
	}
	return drained, nil
}
