package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLoad_seedFiles(t *testing.T) {
	c, err := Load("testdata/worker.ini")
	if err != nil {
		t.Fatal(err)
	}
	if c.Main.ID != "ee8ac862-ac8d-45eb-a056-effa21c00889" || c.Main.Name != "test worker" || c.Main.PythonPath != "" ||
		c.Logging.LogDir != filepath.Join("resources", "logging_dir") || c.HasKeys() {
		t.Errorf("got %+v", c)
	}
	if addr, err := c.Addr(); addr != "tcp://localhost:9028" || err != nil {
		t.Errorf("its broker is %s, %v", addr, err)
	}
	if got := c.Origin("main", "port"); got != "testdata/worker.ini:5" {
		t.Errorf("the port comes from %s", got)
	}
	if c.Worker.DrainTimeout != 30*time.Second || c.Limits.MaxMessage != 16<<20 {
		t.Errorf("defaults are missing: %+v", c)
	}

	c, err = Load("testdata/worker_generated.ini")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Addr(); err == nil || !strings.Contains(err.Error(), "worker_generated.ini names no broker") {
		t.Errorf("a worker that points nowhere: %v", err)
	}
}

func TestLoad_environmentLendsKeysAndBroker(t *testing.T) {
	t.Setenv("SERVICETOOLS_MAIN_PORT", "9006")
	t.Setenv("SERVICETOOLS_MAIN_PUBLIC_KEYS_DIR", "pub")
	t.Setenv("SERVICETOOLS_MAIN_SECRET_KEYS_DIR", "sec")
	t.Setenv("SERVICETOOLS_WORKER_SERVER_KEY", "other.key")
	c, err := Load("testdata/worker_generated.ini")
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := c.Addr()
	if addr != "tcp://localhost:9006" || c.CertFile() != filepath.Join("sec", "worker.key_secret") || c.ServerKeyFile() != "other.key" {
		t.Errorf("got %s, %s, %s", addr, c.CertFile(), c.ServerKeyFile())
	}
}

func TestFromEnv_isEnough(t *testing.T) {
	t.Setenv("SERVICETOOLS_MAIN_IP", "broker")
	t.Setenv("SERVICETOOLS_MAIN_PORT", "9006")
	t.Setenv("SERVICETOOLS_WORKER_CONCURRENCY", "7")
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	c, err := FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	if addr, err := c.Addr(); addr != "tcp://broker:9006" || err != nil || c.Worker.Concurrency != 7 || c.Main.ID != host {
		t.Errorf("got %s, %v, %+v", addr, err, c)
	}
	t.Setenv("SERVICETOOLS_MAIN_ID", "gpu1")
	if c, err = FromEnv(); err != nil || c.Main.ID != "gpu1" {
		t.Errorf("a given id: %+v, %v", c, err)
	}
	t.Setenv("SERVICETOOLS_MAIN_PORT", "many")
	if _, err = FromEnv(); err == nil || !strings.Contains(err.Error(), "environment SERVICETOOLS_MAIN_PORT: [main] port") {
		t.Errorf("a bad variable: %v", err)
	}
}

func TestLoad_reportsEveryFault(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.ini")
	write(t, path, "[main]\nprot = 1\n[worker]\nconcurrency = many\n")
	_, err := Load(path)
	if err == nil || !strings.Contains(err.Error(), path+`:2: [main] prot: unknown key (did you mean "port"?)`) ||
		!strings.Contains(err.Error(), path+`:4: [worker] concurrency: "many" is not a whole number`) {
		t.Errorf("got %v", err)
	}
	write(t, path, "[logging]\nlogging_mode = LOUD\n")
	if _, err = Load(path); err == nil || !strings.HasPrefix(err.Error(), path+`:2: [logging] logging_mode: unknown logging mode "LOUD"`) {
		t.Errorf("got %v", err)
	}
	if _, err := Load(filepath.Join(t.TempDir(), "absent.ini")); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "init --config_file") {
		t.Errorf("an absent file gives %v", err)
	}
}

func TestCreateNew_writesTheSeedsForm(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "worker1_config.ini")
	c, err := CreateNew(WorkerConfig{ConfigPath: path, Name: "test worker", LogDir: `resources\logging_dir`})
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/worker_generated.ini")
	if err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(path)
	form := strings.NewReplacer("\r", "", c.Main.ID, "ID", "0f5c0c4e-8a49-4c3a-93cb-6a3a6a2f2d0e", "ID", " = \n", " =\n")
	if a, b := strings.TrimSpace(form.Replace(string(got))), strings.TrimSpace(form.Replace(string(want))); a != b {
		t.Errorf("got\n%s\nwant\n%s", a, b)
	}
	again, err := Load(path)
	if err != nil || again.Main != c.Main {
		t.Errorf("it loads as %+v, %v", again, err)
	}
	if _, err := CreateNew(WorkerConfig{ConfigPath: path}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("an existing file gives %v", err)
	}
	if _, err := CreateNew(WorkerConfig{ConfigPath: path, Name: "b", Overwrite: true}); err != nil {
		t.Error(err)
	}
	for _, bad := range []WorkerConfig{{}, {Port: 70000}, {LoggingMode: "LOUD"}, {Name: "a\nb"}} {
		if bad != (WorkerConfig{}) {
			bad.ConfigPath = filepath.Join(t.TempDir(), "bad.ini")
		}
		if _, err := CreateNew(bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
		if _, err := os.Stat(bad.ConfigPath); err == nil {
			t.Errorf("%+v was refused and left a file", bad)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
