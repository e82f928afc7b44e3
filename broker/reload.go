package broker

import (
	"context"
	"errors"

	"github.com/servicetools/servicetools/broker/config"
	"github.com/servicetools/servicetools/wire/message"
)

// ReloadView is the answer of broker.reload.
type ReloadView struct {
	Applied []string `json:"applied"` // in force now
	Restart []string `json:"restart"` // need a restart of the broker
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
	v := &ReloadView{Applied: []string{}, Restart: []string{}}
	for _, change := range config.Diff(b.applied, next) {
		name := change.Section + "." + change.Key
		if change.Live {
			v.Applied = append(v.Applied, name)
		} else {
			v.Restart = append(v.Restart, name)
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
	if err := b.reloadWorkers(next); err != nil {
		return nil, err
	}
	b.applied = next
	b.log.Info("configuration reloaded", "applied", v.Applied, "restart", v.Restart)
	return v, nil
}

// reloadWorkers starts the workers whose files are new in the configuration,
// and drains some if there are fewer than before.
func (b *Broker) reloadWorkers(next *Config) error {
	if !b.config.Workers.AutoStart {
		return nil
	}
	running := make(map[string]bool)
	for _, w := range b.supervisor.List() {
		running[w.Config] = true
	}
	for _, path := range workerFiles(next) {
		if running[path] {
			continue
		}
		if err := b.addWorker(next, path); err != nil {
			return err
		}
	}
	if next.Workers.NumWorkers < b.applied.Workers.NumWorkers {
		return b.supervisor.Scale(next.Workers.NumWorkers)
	}
	return nil
}
