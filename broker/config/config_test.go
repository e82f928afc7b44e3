package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	workerconfig "github.com/servicetools/servicetools/workersdk/config"
)

// inFolder makes a copy of files of testdata, "name" or "name as other", in a
// new working directory.
func inFolder(t *testing.T, names ...string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		from, to, renamed := strings.Cut(name, " as ")
		if !renamed {
			to = from
		}
		b, err := os.ReadFile(filepath.Join("testdata", from))
		if err != nil {
			t.Fatal(err)
		}
		to = filepath.Join(dir, to)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func mustWrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

func TestLoad_seedExampleUnchanged(t *testing.T) {
	inFolder(t, "server.ini")
	before := mustRead(t, "server.ini")
	c, err := Load("server.ini")
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Main: Main{ID: "71c4810e-d0f7-4f06-aa50-2fa8b8cc4be2", Name: "test server", IP: "localhost", Port: 8006, BackendPort: 9028,
			PublicKeysDir: filepath.Join("resources", "public_keys"), SecretKeysDir: filepath.Join("resources", "private_keys")},
		Workers: Workers{NumWorkers: 4, WorkerScriptPath: filepath.Join("resources", "test_start_worker.py")},
		Logging: Logging{LogDir: filepath.Join("resources", "logging_dir"), LoggingMode: "DEBUG"},
	}
	paths := []string{filepath.Join("resources", "worker1_config.ini"), filepath.Join("resources", "worker2_config.ini")}
	if c.Main != want.Main || c.Logging != want.Logging || !slices.Equal(c.Workers.WorkerConfigPaths, paths) ||
		c.Workers.NumWorkers != 4 || c.Workers.AutoStart || c.Workers.WorkerScriptPath != want.Workers.WorkerScriptPath {
		t.Errorf("got %+v", c)
	}
	if c.Security.Insecure || c.Dispatch.MaxAttempts != 3 || c.Supervise.StopTimeout != 35*time.Second {
		t.Errorf("defaults are missing: %+v", c)
	}
	if mustRead(t, "server.ini") != before {
		t.Error("a whole file was written to")
	}
	if c.FrontendAddr() != "localhost:8006" || c.BackendAddr() != "localhost:9028" {
		t.Errorf("it listens on %s and %s", c.FrontendAddr(), c.BackendAddr())
	}
}

func TestLoad_writesBackPortsAndWorkerCopies(t *testing.T) {
	inFolder(t, "server_generated.ini as server.ini",
		"../../../workersdk/config/testdata/worker_generated.ini as resources/worker1_config.ini")
	before := "; kept\n" + strings.Replace(mustRead(t, "server.ini"), "port = 8006", "port : ", 1)
	mustWrite(t, "server.ini", before)
	taken := make([]net.Listener, 0, 2) // the first ports are not free, whoever has them
	for _, port := range []int{FirstPort, FirstBackendPort} {
		if l, err := net.Listen("tcp", fmt.Sprintf("localhost:%d", port)); err == nil {
			taken = append(taken, l)
		}
	}
	c, err := Load("server.ini")
	for _, l := range taken {
		_ = l.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if p := c.Main.Port; p <= FirstPort || p > LastPort {
		t.Errorf("the port is %d", p)
	}
	if p := c.Main.BackendPort; p <= FirstBackendPort || p > LastBackendPort {
		t.Errorf("the backend port is %d", p)
	}
	list := strings.ReplaceAll(`["resources/worker1_config.ini", "resources/worker1_config-2.ini", `+
		`"resources/worker1_config-3.ini", "resources/worker1_config-4.ini"]`, "/", strings.Trim(fmt.Sprintf("%q", string(filepath.Separator)), `"`))
	want := strings.NewReplacer("port : ", fmt.Sprintf("port : %d", c.Main.Port), "backend_port = None", fmt.Sprintf("backend_port = %d", c.Main.BackendPort),
		`["resources\\worker1_config.ini"]`, list).Replace(before)
	if got := mustRead(t, "server.ini"); got != want {
		t.Errorf("the file is now\n%s\nwant\n%s", got, want)
	}
	if info, _ := os.Stat("server.ini"); runtime.GOOS != "windows" && info.Mode().Perm() != 0o640 {
		t.Errorf("its mode is %v", info.Mode())
	}
	if got := c.Origin("main", "backend_port"); got != "server.ini:7" {
		t.Errorf("the backend port comes from %s", got)
	}

	ids := map[string]bool{}
	for _, path := range c.Workers.WorkerConfigPaths {
		w, err := workerconfig.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		ids[w.Main.ID] = true
		if addr, _ := w.Addr(); addr != fmt.Sprintf("tcp://localhost:%d", c.Main.BackendPort) || w.Main.Name != "test worker" {
			t.Errorf("%s: %s at %s", path, w.Main.Name, addr)
		}
	}
	if len(ids) != 4 {
		t.Errorf("the ids are %v", ids)
	}
	again, err := Load("server.ini")
	if err != nil || len(Diff(c, again)) != 0 || mustRead(t, "server.ini") != want {
		t.Errorf("loading it again changes %v, %v", Diff(c, again), err)
	}
}

func TestLoad_reusesCopiesOfAnInterruptedLoad(t *testing.T) {
	inFolder(t, "server_generated.ini as server.ini",
		"../../../workersdk/config/testdata/worker_generated.ini as resources/worker1_config.ini")
	text := mustRead(t, "server.ini")
	for range 2 {
		mustWrite(t, "server.ini", text)
		if _, err := Load("server.ini"); err != nil {
			t.Fatal(err)
		}
	}
	if files, _ := os.ReadDir("resources"); len(files) != 4 {
		t.Errorf("there are %v", files)
	}
}

// TestCloneWorker_knowsPathsByTheirPlace: a copy is in use whether its path is
// relative or not.
func TestCloneWorker_knowsPathsByTheirPlace(t *testing.T) {
	inFolder(t)
	mustWrite(t, "w.ini", "[main]\nname = w\n")
	full, err := filepath.Abs("w.ini")
	if err != nil {
		t.Fatal(err)
	}
	first, err := CloneWorker("w.ini", nil)
	if err != nil || first != "w-2.ini" {
		t.Fatalf("got %s, %v", first, err)
	}
	second, err := CloneWorker(full, []string{"w.ini", first})
	if err != nil || filepath.Base(second) != "w-3.ini" {
		t.Errorf("got %s, %v", second, err)
	}
	_, err = CloneWorker("absent.ini", nil)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "init --config_file absent.ini") {
		t.Errorf("without a file: %v", err)
	}
}

func TestLoad_idIsWrittenOnce(t *testing.T) {
	inFolder(t)
	mustWrite(t, "s.ini", "[main]\nport = 0\nbackend_port = 0\n[security]\nsecure = False")
	a, err := Load("s.ini")
	if err != nil {
		t.Fatal(err)
	}
	b, err := Load("s.ini")
	if err != nil || a.Main.ID != b.Main.ID || a.Main.Port != 0 {
		t.Errorf("got %+v, then %+v, %v", a.Main, b.Main, err)
	}
	if want := "[main]\nport = 0\nbackend_port = 0\nid = " + a.Main.ID + "\n[security]\nsecure = False"; mustRead(t, "s.ini") != want {
		t.Errorf("the file is now\n%s", mustRead(t, "s.ini"))
	}
}

func TestRead_writesNothing(t *testing.T) {
	inFolder(t, "server_generated.ini as server.ini")
	before := mustRead(t, "server.ini")
	c, err := Read("server.ini")
	if err != nil || c.Main.BackendPort != 0 || mustRead(t, "server.ini") != before {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestLoad_saysWhatItCouldNotWrite(t *testing.T) {
	// The temporary file beside it has a longer name, which no file system takes.
	path := strings.Repeat("s", 250) + ".ini"
	inFolder(t, "server_generated.ini as "+path)
	_, err := Load(path)
	if err == nil || !strings.Contains(err.Error(), "make its folder writable, or write [main] backend_port = ") {
		t.Errorf("got %v", err)
	}
}

func TestLoad_absentWorkerFiles(t *testing.T) {
	inFolder(t, "server_generated.ini as server.ini")
	if _, err := Load("server.ini"); err != nil {
		t.Errorf("workers that are not started: %v", err)
	}
	t.Setenv("SERVICETOOLS_WORKERS_AUTO_START", "True")
	if _, err := Load("server.ini"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("workers that are started: %v", err)
	}
}

func TestRead_refuses(t *testing.T) {
	const keys = "public_keys_dir = a\nsecret_keys_dir = b\n"
	for name, row := range map[string]struct{ text, want string }{
		"no key folders":           {"[main]\n", "s.ini: [main] public_keys_dir: is missing: name the folder that certtool generate made"},
		"clear text off loopback":  {"[main]\nip = 0.0.0.0\n[security]\nsecure = False\n", `s.ini:2: [main] ip: "0.0.0.0" is not loopback`},
		"force without need":       {"[main]\n" + keys + "[security]\nforce_insecure = yes\n", "s.ini:5: [security] force_insecure: contradicts secure = True"},
		"one port twice":           {"[main]\n" + keys + "port = 7000\nbackend_port = 7000\n", "s.ini:5: [main] backend_port: is the port for clients already"},
		"auto start of nothing":    {"[main]\n" + keys + "[workers]\nauto_start = True\nnum_workers = 2\n", "s.ini: [workers] worker_config_paths: is empty"},
		"auto start without how":   {"[main]\n" + keys + "[workers]\nauto_start = True\n", "s.ini: [workers] worker_script_path: is missing"},
		"a level that is none":     {"[main]\n" + keys + "[logging]\nlogging_mode = VERBOSE\n", "s.ini:5: [logging] logging_mode: unknown logging mode"},
		"a mistaken key":           {"[main]\n" + keys + "[dispatch]\nmax_atempts = 3\n", `s.ini:5: [dispatch] max_atempts: unknown key (did you mean "max_attempts"?)`},
		"a mistaken section":       {"[main]\n" + keys + "[worker]\n", `s.ini:4: [worker]: unknown section (did you mean "workers"?)`},
		"a backoff turned around":  {"[main]\n" + keys + "[supervise]\nrestart_backoff = 1m\n", "s.ini: [supervise] restart_backoff_max: is below restart_backoff"},
		"an interval out of range": {"[main]\n" + keys + "[dispatch]\nbeat = 1h\n", `s.ini:5: [dispatch] beat: "1h" is above 10m`},
	} {
		t.Run(name, func(t *testing.T) {
			inFolder(t)
			mustWrite(t, "s.ini", row.text)
			if _, err := Read("s.ini"); err == nil || !strings.HasPrefix(err.Error(), row.want) {
				t.Errorf("got  %v\nwant %s", err, row.want)
			}
		})
	}
}

func TestLoad_refusesTwinIDs(t *testing.T) {
	const worker = "../../../workersdk/config/testdata/worker.ini as "
	inFolder(t, "server.ini", worker+"resources/worker1_config.ini", worker+"resources/worker2_config.ini")
	if _, err := Load("server.ini"); err != nil {
		t.Errorf("twins that are not started: %v", err)
	}
	t.Setenv("SERVICETOOLS_WORKERS_AUTO_START", "True")
	if _, err := Load("server.ini"); err == nil || !strings.Contains(err.Error(), "have the same id ee8ac862") {
		t.Errorf("twins that are started: %v", err)
	}
}

func TestEnvironment_overridesEveryKey(t *testing.T) {
	inFolder(t, "server.ini")
	t.Setenv("SERVICETOOLS_LIMITS_MEMORY_BUDGET", "2 GiB")
	t.Setenv("SERVICETOOLS_MAIN_PORT", "7000")
	c, err := Read("server.ini")
	if err != nil || c.Limits.MemoryBudget != 2<<30 || c.Main.Port != 7000 ||
		c.Origin("main", "port") != "environment SERVICETOOLS_MAIN_PORT" || c.Origin("dispatch", "beat") != "default" {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestWorkerEnviron_lendsWhatTheFileLacks(t *testing.T) {
	inFolder(t, "server_generated.ini as server.ini",
		"../../../workersdk/config/testdata/worker.ini as keyless.ini",
		"../../../workersdk/config/testdata/worker_generated.ini as nowhere.ini")
	t.Setenv("SERVICETOOLS_MAIN_ID", "the broker's own")
	t.Setenv("SERVICETOOLS_MAIN_PORT", "8006")
	t.Setenv("SERVICETOOLS_WORKER_CONCURRENCY", "7")
	c, err := Read("server.ini")
	if err != nil {
		t.Fatal(err)
	}
	for name, wantPort := range map[string]int{"keyless.ini": 9028, "nowhere.ini": 9999} {
		w, err := LoadWorker(name)
		if err != nil {
			t.Fatal(err)
		}
		env := map[string]string{}
		for _, row := range c.WorkerEnviron(w, 9999) {
			k, v, _ := strings.Cut(row, "=")
			env[k] = v
		}
		got, err := workerconfig.LoadEnv(name, func(k string) (string, bool) { v, ok := env[k]; return v, ok })
		if err != nil {
			t.Fatal(err)
		}
		if got.Main.Port != wantPort || got.Main.ID != w.Main.ID || got.Main.ID == "the broker's own" || got.Worker.Concurrency != 7 ||
			got.CertFile() != filepath.Join(c.Main.SecretKeysDir, "worker.key_secret") ||
			got.ServerKeyFile() != filepath.Join(c.Main.PublicKeysDir, "server.key") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestDiff_tellsLiveFromRestart(t *testing.T) {
	var old, new Config
	new.Main.Port, new.Logging.LoggingMode, new.Limits.CallsPerKey = 1, "DEBUG", 5
	for _, c := range []*Config{&old, &new} {
		c.Main.ID, c.Security.Insecure = "id", true
		if err := c.Verify(); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, change := range Diff(&old, &new) {
		got = append(got, change.String())
	}
	want := []string{"[main] port: 0 -> 1 (needs a restart)", "[logging] logging_mode: INFO -> DEBUG", "[limits] calls_per_key: 10000 -> 5"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCreateNew_writesTheSeedsForm(t *testing.T) {
	inFolder(t, "server_generated.ini as want.ini")
	o := ServerConfig{
		ConfigPath: "config.ini", ID: "1f0f2dcd-4a79-4d14-9e0b-2cf2f1c3b7aa", Name: "test server", Port: 8006,
		PublicKeysDir: `resources\public_keys`, SecretKeysDir: `resources\private_keys`,
		LogDir: `resources\logging_dir`, NumWorkers: 4,
		WorkerConfigPaths: []string{`resources\worker1_config.ini`}, WorkerScriptPath: `resources\test_start_worker.py`,
	}
	c, err := CreateNew(o)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Replace(mustRead(t, "config.ini"), "backend_port =", "backend_port = None", 1)
	if want := mustRead(t, "want.ini"); strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if again, err := Read("config.ini"); err != nil || len(Diff(c, again)) != 0 {
		t.Errorf("it loads differently: %v, %v", Diff(c, again), err)
	}
	if _, err := CreateNew(o); !errors.Is(err, fs.ErrExist) {
		t.Errorf("an existing file gives %v", err)
	}
	if _, err := CreateNew(ServerConfig{ConfigPath: "bad.ini"}); err == nil {
		t.Error("a secure broker without key folders was accepted")
	}
	if _, err := os.Stat("bad.ini"); err == nil {
		t.Error("a refused option left a file")
	}
	if c, err := CreateNew(ServerConfig{ConfigPath: "clear.ini", Insecure: true}); err != nil || !c.Security.Insecure {
		t.Errorf("an insecure broker: %+v, %v", c, err)
	}
}

// A limit that is added to one of these packages needs a key.
func TestLimits_everyOneHasAKey(t *testing.T) {
	c := Config{Security: Security{Insecure: true}}
	if err := c.Verify(); err != nil {
		t.Fatal(err)
	}
	for _, limits := range []any{c.ListenLimits(), c.LinkLimits(), c.DispatchLimits()} {
		v := reflect.ValueOf(limits)
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("%T.%s has no value", limits, v.Type().Field(i).Name)
			}
		}
	}
}
