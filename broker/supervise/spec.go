package supervise

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/servicetools/servicetools/broker/config"
)

// Spec says how to run one worker: [Python] Script --config_file=Config.
type Spec struct {
	ID     string   // of the worker, unique in a Supervisor
	Name   string   // for people and for the name of its output's file
	Config string   // path of its configuration
	Python string   // interpreter of the script; empty: see command
	Env    []string // nil = this process's
}

// Read makes the spec of the worker whose file is at path, as a worker of
// server, whose backend listens on port.
func Read(server *config.Config, path string, port int) (Spec, error) {
	w, err := config.LoadWorker(path)
	if err != nil {
		return Spec{}, err
	}
	return Spec{
		ID: w.Main.ID, Name: w.Main.Name, Config: path, Python: w.Main.PythonPath,
		Env: server.WorkerEnviron(w, port),
	}, nil
}

// Cloner returns a Config.Clone that copies a worker's file to a sibling with
// an id of its own.
func Cloner(server *config.Config, port int) func(Spec, []Spec) (Spec, error) {
	return func(spec Spec, used []Spec) (Spec, error) {
		paths := make([]string, len(used))
		for i, u := range used {
			paths[i] = u.Config
		}
		path, err := config.CloneWorker(spec.Config, paths)
		if err != nil {
			return Spec{}, err
		}
		return Read(server, path, port)
	}
}

// command returns the command that runs the worker. Without an interpreter the
// script is run itself; a Python script that is not executable is run by the
// Python on the PATH.
func (s Spec) command(script string) (*exec.Cmd, error) {
	path, err := filepath.Abs(script)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("worker_script_path: %w", err)
	}
	argv := []string{path, "--config_file=" + s.Config}
	switch {
	case s.Python != "":
		argv = append([]string{s.Python}, argv...)
	case executable(path, info) && info.Mode().IsRegular():
	case strings.EqualFold(filepath.Ext(path), ".py"):
		python, err := findPython()
		if err != nil {
			return nil, err
		}
		argv = append([]string{python}, argv...)
	default:
		return nil, fmt.Errorf("worker_script_path %s is not executable: make it so, or set python_path in %s", script, s.Config)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = s.Env
	return cmd, nil
}

func findPython() (string, error) {
	for _, name := range []string{"python3", "python", "py"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no python3 on the PATH: set python_path in the worker's configuration")
}
