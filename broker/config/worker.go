package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	workerconfig "github.com/servicetools/servicetools/workersdk/config"
	"github.com/servicetools/servicetools/workersdk/config/ini"
)

// completeWorkers makes the missing worker files and reports whether
// worker_config_paths has grown.
func (c *Config) completeWorkers() (grown bool, err error) {
	w := &c.Workers
	if len(w.WorkerConfigPaths) == 0 {
		return false, nil
	}
	if _, err := os.Stat(w.WorkerConfigPaths[0]); errors.Is(err, fs.ErrNotExist) && !w.AutoStart {
		return false, nil // the workers run elsewhere
	}
	for len(w.WorkerConfigPaths) < w.NumWorkers {
		path, err := CloneWorker(w.WorkerConfigPaths[0], w.WorkerConfigPaths)
		if err != nil {
			return false, err
		}
		w.WorkerConfigPaths = append(w.WorkerConfigPaths, path)
		grown = true
	}
	ids := map[string]string{}
	for _, path := range w.WorkerConfigPaths[:w.NumWorkers] {
		worker, err := LoadWorker(path)
		if errors.Is(err, fs.ErrNotExist) && !w.AutoStart {
			continue
		}
		if err != nil {
			return false, err
		}
		if twin, ok := ids[worker.Main.ID]; ok && w.AutoStart {
			return false, fmt.Errorf("%s and %s have the same id %s: give one a new id, or list one file and let num_workers copy it", twin, path, worker.Main.ID)
		}
		ids[worker.Main.ID] = path
		if err := c.pointWorker(worker); err != nil {
			return false, err
		}
	}
	return grown, nil
}

// pointWorker writes this broker's backend into the file of a worker that
// names no port, and an id into one that has none.
func (c *Config) pointWorker(w *workerconfig.Config) error {
	hasPort := w.Main.Port != 0 || c.Main.BackendPort == 0
	hasID := w.Origin("main", "id") != "default"
	if hasPort && hasID {
		return nil
	}
	f, err := ini.Read(w.Path)
	if err != nil {
		return err
	}
	if !hasID {
		err = f.Set("main", "id", w.Main.ID)
	}
	if !hasPort {
		err = errors.Join(err, f.Set("main", "ip", c.DialHost()), f.Set("main", "port", strconv.Itoa(c.Main.BackendPort)))
	}
	if err == nil {
		err = f.Save()
	}
	if err != nil {
		return fmt.Errorf("writing the broker's address into a worker's configuration: %w: make its folder writable, or write ip and port there yourself", err)
	}
	return nil
}

// CloneWorker returns the path of a copy of a worker's file that differs in
// its id, beside it and named worker-2.ini, worker-3.ini and so on. A copy made
// earlier is used again, unless used lists it.
func CloneWorker(path string, used []string) (string, error) {
	f, err := ini.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("copying a worker's configuration: %s: %w: the worker's program writes one with: init --config_file %s", path, fs.ErrNotExist, path)
	}
	if err != nil {
		return "", fmt.Errorf("copying a worker's configuration: %w", err)
	}
	ext := filepath.Ext(path)
	stem := strings.TrimSuffix(path, ext)
	if err := f.Set("main", "id", uuid.NewString()); err != nil {
		return "", err
	}
	for n := 2; ; n++ {
		f.Name = fmt.Sprintf("%s-%d%s", stem, n, ext)
		if slices.ContainsFunc(used, func(path string) bool { return samePath(path, f.Name) }) {
			continue
		}
		if _, err := LoadWorker(f.Name); err == nil {
			return f.Name, nil
		}
		if err := f.Create(false); !errors.Is(err, fs.ErrExist) {
			return f.Name, err
		}
	}
}

// samePath reports whether two paths, relative or not, name the same place.
func samePath(a, b string) bool {
	a, errA := filepath.Abs(a)
	b, errB := filepath.Abs(b)
	return errA == nil && errB == nil && a == b
}

// LoadWorker reads a worker's file as a worker started by this process would.
func LoadWorker(path string) (*workerconfig.Config, error) {
	env := environ()
	return workerconfig.LoadEnv(path, func(name string) (string, bool) {
		for _, row := range env {
			if k, v, _ := strings.Cut(row, "="); k == name {
				return v, true
			}
		}
		return "", false
	})
}

// WorkerEnviron returns the environment for a worker that this broker starts:
// the broker's own without the overrides of the broker's keys, and what the
// worker's file lacks: the backend, on port, and the folders of the keys.
func (c *Config) WorkerEnviron(w *workerconfig.Config, port int) []string {
	env := environ()
	lend := func(section, key, value string) {
		k, _ := workerconfig.Schema.Find(section, key)
		env = append(env, k.Env()+"="+value)
	}
	if w.Main.Port == 0 {
		lend("main", "ip", c.DialHost())
		lend("main", "port", strconv.Itoa(port))
	}
	if w.Origin("main", "id") == "default" {
		lend("main", "id", w.Main.ID)
	}
	switch {
	case c.Security.Insecure:
		lend("security", "secure", "False")
	default:
		if w.CertFile() == "" {
			lend("main", "secret_keys_dir", c.Main.SecretKeysDir)
		}
		if w.ServerKeyFile() == "" {
			lend("main", "public_keys_dir", c.Main.PublicKeysDir)
		}
	}
	return env
}

// environ returns the process's environment without the overrides of the
// broker's keys: worker files have sections of the same names.
func environ() []string {
	own := map[string]bool{}
	for _, k := range Schema.Keys() {
		own[k.Env()] = true
	}
	return slices.DeleteFunc(os.Environ(), func(row string) bool {
		name, _, _ := strings.Cut(row, "=")
		return own[strings.ToUpper(name)]
	})
}
