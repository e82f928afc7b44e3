package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/servicetools/servicetools/broker/config"
	"github.com/servicetools/servicetools/broker/supervise"
	"github.com/servicetools/servicetools/wire/message"
)

// ReloadView is the answer of broker.reload.
type ReloadView struct {
	Applied []string `json:"applied"` // changed by this reload, and in force now
	Restart []string `json:"restart"` // differ from what the broker was started with, and wait for a restart
}

func (b *Broker) reloadConfig(context.Context, params) (any, error) {
	v, err := b.Reload()
	if err != nil {
		return nil, message.Errorf(message.BadArgs, "%v", err)
	}
	return v, nil
}

// Reload reads the configuration file again and applies what can change while
// the broker runs. A bad file changes nothing, and the error says why.
func (b *Broker) Reload() (*ReloadView, error) {
	b.reloading.Lock()
	defer b.reloading.Unlock()
	if b.config.Path == "" {
		return nil, errors.New("the broker was started without a configuration file")
	}
	next, err := config.Load(b.config.Path)
	if err != nil {
		return nil, err
	}
	added, err := b.newWorkers(next)
	if err != nil {
		return nil, err
	}
	v := &ReloadView{Applied: []string{}, Restart: []string{}}
	for _, change := range config.Diff(b.applied.Load(), next) {
		if change.Live {
			v.Applied = append(v.Applied, change.Section+"."+change.Key)
		}
	}
	for _, change := range config.Diff(b.config, next) { // every reload names them, until the restart
		if !change.Live {
			v.Restart = append(v.Restart, change.Section+"."+change.Key)
		}
	}
	b.dispatcher.SetLimits(next.DispatchLimits())
	b.frontend.SetLimits(next.LinkLimits())
	b.backend.SetLimits(next.LinkLimits())
	b.supervisor.SetPolicy(next.Supervise)
	if b.setLevel != nil {
		if err := b.setLevel(next.Logging.LoggingMode); err != nil {
			return nil, err
		}
	}
	last := b.applied.Swap(next)
	for _, spec := range added {
		if _, err := b.supervisor.Add(spec, 1); err != nil {
			return nil, fmt.Errorf("worker %s: %w", spec.Config, err)
		}
	}
	if n := next.Workers.NumWorkers; b.config.Workers.AutoStart && n < last.Workers.NumWorkers {
		if err := b.supervisor.Scale(n); err != nil {
			return nil, err
		}
	}
	b.log.Info("configuration reloaded", "applied", v.Applied, "restart", v.Restart)
	return v, nil
}

// newWorkers reads the workers of the configuration that do not run yet.
func (b *Broker) newWorkers(next *Config) ([]supervise.Spec, error) {
	if !b.config.Workers.AutoStart {
		return nil, nil
	}
	running := make(map[string]bool)
	for _, w := range b.supervisor.List() {
		running[w.Config] = true
	}
	var added []supervise.Spec
	for _, path := range workerFiles(next) {
		if running[path] {
			continue
		}
		spec, err := supervise.Read(next, path, b.backendPort())
		if err != nil {
			return nil, err
		}
		added = append(added, spec)
	}
	return added, nil
}
