package broker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/broker/supervise"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// superviseWorkers makes the supervisor of this host's workers and, with
// auto_start, gives it those of the configuration.
func (b *Broker) superviseWorkers() error {
	cfg := b.config
	b.supervisor = supervise.New(supervise.Config{
		Script:   cfg.Workers.WorkerScriptPath,
		Policy:   cfg.Supervise,
		LogDir:   cfg.Logging.LogDir,
		LogFiles: cfg.LogFiles,
		Log:      b.log,
		Drain:    b.drainWorker,
		Clone:    supervise.Cloner(cfg, b.backendPort()),
	})
	if err := b.lendKey(); err != nil {
		return err
	}
	if !cfg.Workers.AutoStart {
		return nil
	}
	if err := b.checkScript(); err != nil {
		return err
	}
	for _, path := range workerFiles(cfg) {
		spec, err := supervise.Read(cfg, path, b.backendPort())
		if err != nil {
			return err
		}
		if _, err := b.supervisor.Add(spec, 1); err != nil {
			return fmt.Errorf("worker %s: %w", path, err)
		}
	}
	return nil
}

// checkScript says what is wrong with the path of what workers run.
func (b *Broker) checkScript() error {
	path := b.config.Workers.WorkerScriptPath
	if path == "" {
		return errors.New("worker_script_path is not set: name the worker's program in [workers], and restart the broker if it runs")
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("worker_script_path: %w; build the worker, or give its path in [workers]", err)
	}
	return nil
}

// workerFiles returns the configurations of the workers that cfg starts.
func workerFiles(cfg *Config) []string {
	paths := cfg.Workers.WorkerConfigPaths
	return paths[:min(cfg.Workers.NumWorkers, len(paths))]
}

// lendKey makes the key that workers of this host use whose configuration names
// none, on first use.
func (b *Broker) lendKey() error {
	if b.config.Security.Insecure || b.config.Workers.WorkerScriptPath == "" {
		return nil
	}
	set := curve.Keyset{PublicDir: b.config.Main.PublicKeysDir, SecretDir: b.config.Main.SecretKeysDir}
	_, err := set.Generate(curve.Request{Name: "worker", Role: curve.RoleWorker})
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("the key for this host's workers: %w", err)
	}
	return nil
}

// drainWorker asks a worker to leave and returns when it has no calls any
// more, or when the drain timeout is over.
func (b *Broker) drainWorker(ctx context.Context, id string) {
	if !b.dispatcher.DrainWorker(id) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, b.drainTimeout())
	defer cancel()
	poll := time.NewTicker(tick)
	defer poll.Stop()
	for {
		if w, ok := b.dispatcher.Worker(id); !ok || w.Busy == 0 {
			return
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return
		}
	}
}

// exitWait is how long the end of a lost worker's process is waited for, so
// that the caller learns of the signal that killed it. The kernel closes a
// process's sockets shortly before its parent can reap it.
const exitWait = 50 * time.Millisecond

// evidence says why a worker is lost. r is nil for a REP worker.
func (b *Broker) evidence(r *message.Register, link *zmtp.Link, cause error) dispatch.Evidence {
	e := dispatch.Evidence{Reason: "the connection ended", LastSeen: link.LastRead()}
	if cause != nil && !zmtp.Left(cause) {
		e.Reason = cause.Error()
	}
	if r == nil {
		return e
	}
	for deadline := time.Now().Add(exitWait); ; time.Sleep(exitWait / 10) {
		status, ours := b.supervised(r.Worker)
		if !ours || status.PID != 0 && status.PID != r.PID {
			return e
		}
		if x := status.LastExit; status.PID == 0 && x != nil {
			e.Exit, e.Stderr = x.Status, x.Stderr
			return e
		}
		if time.Now().After(deadline) {
			return e
		}
	}
}

// supervised returns the process of a worker that this broker runs.
func (b *Broker) supervised(id string) (supervise.Status, bool) {
	for _, s := range b.supervisor.List() {
		if s.ID == id {
			return s, true
		}
	}
	return supervise.Status{}, false
}

// countCalls tells the supervisor how much each of its workers has done, for
// max_calls. counted holds what was told before.
func (b *Broker) countCalls(counted map[string]uint64) {
	present := b.dispatcher.Workers()
	for _, w := range present {
		done := w.Done + w.Failed
		if n := done - counted[w.ID]; done > counted[w.ID] {
			b.supervisor.CountCalls(w.ID, int64(n))
		}
		counted[w.ID] = done
	}
	if len(counted) > 2*len(present) { // forget workers that are gone
		clear(counted)
		for _, w := range present {
			counted[w.ID] = w.Done + w.Failed
		}
	}
}
