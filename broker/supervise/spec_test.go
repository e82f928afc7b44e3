//go:build unix

package supervise

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/servicetools/servicetools/broker/config"
	workerconfig "github.com/servicetools/servicetools/workersdk/config"
)

func TestSpec_command(t *testing.T) {
	t.Chdir(t.TempDir())
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	for name, mode := range map[string]os.FileMode{"python3": 0o755, "worker": 0o755, "run.py": 0o755, "plain.py": 0o644, "plain.PY": 0o644} {
		if err := os.WriteFile(name, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	for name, row := range map[string]struct {
		script, python string
		want           []string
	}{
		"an executable":                     {"worker", "", []string{in("worker")}},
		"an executable Python script":       {"run.py", "", []string{in("run.py")}},
		"a Python script":                   {"plain.py", "", []string{in("python3"), in("plain.py")}},
		"a Python script of Windows":        {"plain.PY", "", []string{in("python3"), in("plain.PY")}},
		"an interpreter":                    {"plain.py", "venv/bin/python", []string{"venv/bin/python", in("plain.py")}},
		"an interpreter for an executable":  {"worker", "strace", []string{"strace", in("worker")}},
		"an absolute path":                  {in("worker"), "", []string{in("worker")}},
		"a path that PATH would not supply": {"./worker", "", []string{in("worker")}},
	} {
		t.Run(name, func(t *testing.T) {
			cmd, err := Spec{Python: row.python, Config: "w.ini"}.command(row.script)
			if err != nil {
				t.Fatal(err)
			}
			if want := append(row.want, "--config_file=w.ini"); !slices.Equal(cmd.Args, want) {
				t.Errorf("got %q, want %q", cmd.Args, want)
			}
		})
	}
	if err := os.Remove("python3"); err != nil {
		t.Fatal(err)
	}
	if _, err := (Spec{}).command("plain.py"); err == nil || !strings.Contains(err.Error(), "set python_path") {
		t.Errorf("without any Python: %v", err)
	}
}

func TestRead_andClone(t *testing.T) {
	t.Chdir(t.TempDir())
	server := &config.Config{Main: config.Main{PublicKeysDir: "pub", SecretKeysDir: "sec"}}
	if err := server.Verify(); err != nil {
		t.Fatal(err)
	}
	if _, err := workerconfig.CreateNew(workerconfig.WorkerConfig{ConfigPath: "w.ini", Name: "calc", PythonPath: "python3.9"}); err != nil {
		t.Fatal(err)
	}
	first, err := Read(server, "w.ini", 9006)
	if err != nil {
		t.Fatal(err)
	}
	clone := Cloner(server, 9006)
	second, err := clone(first, []Spec{first})
	if err != nil {
		t.Fatal(err)
	}
	if second.ID == first.ID || second.Config != "w-2.ini" || second.Name != "calc" || second.Python != "python3.9" {
		t.Errorf("the copy of %+v is %+v", first, second)
	}
	for _, want := range []string{"SERVICETOOLS_MAIN_PORT=9006", "SERVICETOOLS_MAIN_IP=localhost", "SERVICETOOLS_MAIN_PUBLIC_KEYS_DIR=pub"} {
		if !slices.Contains(second.Env, want) {
			t.Errorf("its environment lacks %s", want)
		}
	}
	again, err := clone(first, []Spec{first})
	if err != nil || again.ID != second.ID {
		t.Errorf("a copy that nobody uses is not used again: %+v, %v", again, err)
	}
	third, err := clone(first, []Spec{first, second})
	if err != nil || third.Config != "w-3.ini" {
		t.Errorf("the third is %+v, %v", third, err)
	}
}
