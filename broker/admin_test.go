package broker

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// What an operator sees while one call runs and another waits.
func TestAdmin_views(t *testing.T) {
	s := start(t, nil)
	w := s.compact(s.broker.Backend(), "worker")
	e := message.Envelope{Kind: message.KindRegister, Body: message.Marshal(&message.Register{
		Worker: "w", Name: "tester", Host: "here", PID: 4242, Concurrency: 1, Methods: []message.Method{
			{Name: "job", Aliases: []string{"Job"}, Signature: "Job(int)", Doc: "Job works.", Idempotent: true},
		},
	})}
	w.send(e)
	w.want(message.KindRegistered)
	c, _ := s.attach(message.SessionID{1}, 0)
	c.send(call(t, 1, "job", 0), call(t, 2, "job", 0))
	e = w.want(message.KindCall)

	var status StatusView
	s.ok(&status, "broker.status")
	if status.Accepted != 2 || status.Queued != 1 || status.Running != 1 || status.Workers != 1 || !status.LawHolds || !status.Secure ||
		status.Frontend != s.broker.Frontend().String() || status.Connections != 3 {
		t.Errorf("status %+v", status)
	}
	var health map[string]any
	s.ok(&health, "broker.health")
	if health["healthy"] != true {
		t.Errorf("health %v", health)
	}
	var workers []WorkerView
	s.ok(&workers, "broker.workers")
	if len(workers) != 1 || workers[0].ID != "w" || workers[0].Busy != 1 || workers[0].State != "connected" || workers[0].PID != 4242 || workers[0].Local {
		t.Errorf("workers %+v", workers)
	}
	var methods []MethodView
	s.ok(&methods, "broker.methods")
	if len(methods) != 1 || methods[0].Name != "job" || methods[0].Queued != 1 || methods[0].Running != 1 || !methods[0].Idempotent {
		t.Errorf("methods %+v", methods)
	}
	var method MethodView
	s.ok(&method, "broker.describe", "Job")
	if method.Doc != "Job works." || method.Signature != "Job(int)" {
		t.Errorf("method %+v", method)
	}
	s.ok(&method, "broker.describe", "broker.ping")
	var sessions []SessionView
	for len(sessions) != 2 { // the client's and that which asks: the one that asked before is about to go
		sessions = nil
		s.ok(&sessions, "broker.sessions")
	}
	if sessions[0].Session != strings.Repeat("0", 1)+"1"+strings.Repeat("0", 30) || sessions[0].Calls != 2 || !sessions[0].Attached {
		t.Errorf("sessions %+v", sessions)
	}

	var calls []CallView
	s.ok(&calls, "broker.calls", 10, "job", nil, "queued")
	if len(calls) != 1 || !strings.HasSuffix(calls[0].Call, "/2") || calls[0].Name != "client" {
		t.Fatalf("queued calls %+v", calls)
	}
	var cancelled string
	s.ok(&cancelled, "broker.cancel", "01/2") // the beginning of its session
	if x := c.wantError(message.KindError, message.Cancelled).Execution(); cancelled != calls[0].Call || x != message.NotExecuted {
		t.Errorf("cancelled %v, executed %v", cancelled, x)
	}
	s.ok(&cancelled, "broker.cancel", calls[0].Call)
	if cancelled != "" {
		t.Error("a call that has ended was cancelled again")
	}
	w.send(answer(t, e, nil))
	c.want(message.KindResult)
}

// What an operator gets wrong is refused with the code and the remedy.
func TestAdmin_refusals(t *testing.T) {
	s := start(t, nil)
	file := filepath.Join(t.TempDir(), "worker.ini")
	if err := os.WriteFile(file, []byte("[main]\nid = w\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method string
		args   []any
		code   message.Code
		want   string
	}{
		{"broker.describe", nil, message.BadArgs, `"method" is missing`},
		{"broker.describe", []any{"broker.stats"}, message.NoSuchMethod, "broker.status"},
		{"broker.describe", []any{7}, message.BadArgs, `"method" must be of type string`},
		{"broker.calls", []any{"many"}, message.BadArgs, `"limit" must be of type int`},
		{"broker.cancel", []any{"/17"}, message.BadArgs, "broker calls lists them"},
		{"broker.cancel", []any{"x/17"}, message.BadArgs, "broker calls lists them"},
		{"broker.cancel", []any{"17"}, message.BadArgs, "broker calls lists them"},
		{"broker.cancel", []any{strings.Repeat("0", 32) + "/x"}, message.BadArgs, "broker calls lists them"},
		{"broker.cancel", nil, message.BadArgs, `"call" is missing`},
		{"broker.add", nil, message.BadArgs, `"config" is missing`},
		{"broker.add", []any{"no/such/file.ini"}, message.BadArgs, "no/such/file.ini"},
		{"broker.add", []any{file}, message.BadArgs, "worker_script_path is not set"},
		{"broker.add", []any{"worker.ini", -1}, message.BadArgs, "count -1"},
		{"broker.add", []any{"worker.ini", 1_000_000_000}, message.BadArgs, "count 1000000000"},
		{"broker.add", []any{"worker.ini", "two"}, message.BadArgs, `"count" must be of type int`},
		{"broker.scale", nil, message.BadArgs, `"n" is missing`},
		{"broker.scale", []any{-1}, message.BadArgs, "-1 workers"},
		{"broker.scale", []any{1_000_000_000}, message.BadArgs, "1000000000 workers"},
		{"broker.scale", []any{3}, message.BadArgs, "no worker to copy"},
		{"broker.remove", nil, message.BadArgs, `"id" is missing`},
		{"broker.remove", []any{"nobody"}, message.BadArgs, "broker workers lists"},
		{"broker.remove", []any{"nobody", "yes"}, message.BadArgs, `"now" must be of type bool`},
		{"broker.drain", nil, message.BadArgs, `"worker" is missing`},
		{"broker.drain", []any{"nobody"}, message.BadArgs, "no worker"},
		{"broker.drain", []any{"all"}, message.BadArgs, "no worker is connected"},
		{"broker.reload", nil, message.BadArgs, "without a configuration file"},
		{"broker.no_such", nil, message.NoSuchMethod, "broker.no_such"},
	} {
		if got := s.refused("admin", c.code, c.method, c.args...); !strings.Contains(got, c.want) {
			t.Errorf("%s%v: %q, want %q", c.method, c.args, got, c.want)
		}
	}
	for _, m := range ownMethods {
		if !open[m.Name] {
			s.refused("client", message.Unauthorized, m.Name)
		}
	}
}

// The beginning of an id names what it belongs to, if that is one thing alone.
func TestAdmin_beginningsOfIDs(t *testing.T) {
	s := start(t, nil)
	workers := map[string]*sdk{}
	for _, id := range []string{"all-day", "f00d", "f00d-2", "f0ad"} {
		w := s.compact(s.broker.Backend(), "worker")
		w.send(message.Envelope{Kind: message.KindRegister, Body: message.Marshal(&message.Register{
			Worker: id, Host: "host:" + id, Concurrency: 1, Methods: []message.Method{{Name: "job"}},
		})})
		w.want(message.KindRegistered)
		workers[id] = w
	}
	for _, c := range []struct{ method, which, want string }{
		{"broker.drain", "f0", "\"f0\" may be f00d, f00d-2, f0ad: give more of the id"},
		{"broker.drain", "", `no worker "" is connected`},
		{"broker.drain", "host:f00d", `no worker "host:f00d" is connected`}, // hosts have whole names
		{"broker.drain", "x", `no worker "x" is connected`},
		{"broker.remove", "f00", `worker "f00" is not run by this broker; broker workers lists`},
		{"broker.remove", "f0a", "worker f0ad is not run by this broker: end it where it runs, or ask it to leave by broker drain"},
		{"broker.calls", "f0", "may be f00d, f00d-2, f0ad"},
	} {
		args := []any{c.which}
		if c.method == "broker.calls" {
			args = []any{nil, nil, c.which}
		}
		if got := s.refused("admin", message.BadArgs, c.method, args...); !strings.Contains(got, c.want) {
			t.Errorf("%s %q: %q, want %q", c.method, c.which, got, c.want)
		}
	}
	for which, want := range map[string]string{"f00d": "f00d", "f0a": "f0ad", "all-": "all-day"} {
		var drained []string
		s.ok(&drained, "broker.drain", which)
		if !slices.Equal(drained, []string{want}) {
			t.Errorf("%q drains %v", which, drained)
		}
		workers[want].want(message.KindDrain)
	}

	first, _ := s.attach(message.SessionID{0xab, 1}, 0)
	second, _ := s.attach(message.SessionID{0xab, 2}, 0)
	first.send(call(t, 5, "job", 0))
	second.send(call(t, 5, "job", 0), call(t, 6, "job", 0))
	var calls []CallView
	until(t, "three calls", func() bool {
		s.ok(&calls, "broker.calls")
		return len(calls) == 3
	})
	both := regexp.MustCompile(`"ab/5" may be ab0[12]0+/5, ab0[12]0+/5: give more of the id`)
	if got := s.refused("admin", message.BadArgs, "broker.cancel", "ab/5"); !both.MatchString(got) {
		t.Errorf("an ambiguous call: %q", got)
	}
	for which, want := range map[string]string{"ab/6": "ab02", "ab01/5": "ab01", "ab/7": "", "cd/5": ""} {
		var cancelled string
		s.ok(&cancelled, "broker.cancel", which)
		if !strings.HasPrefix(cancelled, want) || (want == "") != (cancelled == "") {
			t.Errorf("%s cancels %q", which, cancelled)
		}
	}
}

// An error about an ambiguous id stays readable.
func TestNamed_listsAFewCandidates(t *testing.T) {
	var ids []string
	for i := range 100 {
		ids = append(ids, fmt.Sprint("w", i))
	}
	if _, err := named("w", ids); err == nil || !strings.Contains(err.Error(), "w0, w1, w2, w3, w4, w5, w6, w7, ...") {
		t.Errorf("got %v", err)
	}
}

// The question is not among what it asks for.
func TestAdmin_statusLeavesItselfOut(t *testing.T) {
	s := start(t, nil)
	var status StatusView
	for asked := range uint64(2) {
		s.ok(&status, "broker.status")
		if status.Accepted != asked || status.Succeeded != asked || status.Running != 0 || !status.LawHolds {
			t.Errorf("asked %d times before: %+v", asked, status)
		}
	}
}

// Without security everybody on loopback is trusted, plain or SDK.
func TestInsecure_everybodyIsTrusted(t *testing.T) {
	s := start(t, func(cfg *Config) {
		cfg.Security.Insecure = true
		cfg.Main.PublicKeysDir, cfg.Main.SecretKeysDir = "", ""
	})
	dial := func(socket string, properties ...zmtp.Property) (*zmtp.Link, error) {
		return zmtp.Dial(t.Context(), "tcp://"+s.broker.Frontend().String(), &zmtp.Config{SocketType: socket, Mechanism: zmtp.Null{}, Metadata: properties})
	}
	link, err := dial("REQ")
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close(nil)
	replies := inbox(link)
	if err := link.Send(nil, pack(t, map[string]any{"method": "broker.status"})); err != nil {
		t.Fatal(err)
	}
	if r := unpack(t, <-replies); r["error"] != nil {
		t.Errorf("broker.status: %v", r)
	}
	var refusal *zmtp.Refusal
	if _, err := dial("DEALER", zmtp.Property{Name: message.PropertySDK, Value: "9"}); !errors.As(err, &refusal) {
		t.Errorf("another version: %v", err)
	}
}

// What New cannot do it says, with the remedy, and it leaves no port open.
func TestNew_saysWhatIsMissing(t *testing.T) {
	keys := curve.KeysetIn(t.TempDir())
	generate := func(name string, role curve.Role) {
		if _, err := keys.Generate(curve.Request{Name: name, Role: role, Overwrite: true}); err != nil {
			t.Fatal(err)
		}
	}
	try := func(change func(*Config)) string {
		cfg := &Config{}
		cfg.Main.IP, cfg.Main.PublicKeysDir, cfg.Main.SecretKeysDir = "127.0.0.1", keys.PublicDir, keys.SecretDir
		if change != nil {
			change(cfg)
		}
		b, err := New(cfg, WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))), WithLevel(func(string) error { return nil }))
		if err != nil {
			return err.Error()
		}
		b.Close()
		return ""
	}
	wants := func(got, want string) {
		t.Helper()
		if !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%q, want %q", got, want)
		}
	}
	generate("other", curve.RoleClient)
	wants(try(nil), "certtool generate")
	generate("server", curve.RoleClient)
	wants(try(nil), "has the role client")
	generate("server", curve.RoleServer)
	wants(try(nil), "")
	wants(try(func(cfg *Config) { cfg.Main.PublicKeysDir = filepath.Join(keys.PublicDir, "none") }), "none")
	wants(try(func(cfg *Config) {
		cfg.Workers.AutoStart, cfg.Workers.NumWorkers, cfg.Workers.WorkerConfigPaths = true, 1, []string{"none.ini"}
		cfg.Workers.WorkerScriptPath = "none"
	}), "none")
	s := start(t, nil)
	wants(try(func(cfg *Config) { cfg.Main.BackendPort = s.broker.backendPort() }), "choose another port")
	if err := errors.New(try(func(cfg *Config) { cfg.Security.Insecure, cfg.Main.IP = true, "0.0.0.0" })); !strings.Contains(err.Error(), "force_insecure") {
		t.Error(err)
	}
}

// TestBroker_closeInsteadOfRun: a broker that is not run lets go of its ports.
func TestBroker_closeInsteadOfRun(t *testing.T) {
	s := start(t, nil)
	cfg := *s.broker.config
	cfg.Main.Port, cfg.Main.BackendPort = 0, 0
	if runtime.GOOS == "linux" {
		cfg.Main.IP = "127.83.2.1" // from where no other test connects, which could take the ports
	}
	b, err := New(&cfg, WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Main.Port, cfg.Main.BackendPort = b.Frontend().(*net.TCPAddr).Port, b.backendPort()
	b.Close()
	b.Close()
	if err := b.Run(t.Context()); !errors.Is(err, errBegun) {
		t.Errorf("Run after Close: %v", err)
	}
	if b, err = New(&cfg, WithLogger(slog.New(slog.DiscardHandler))); err != nil {
		t.Fatalf("the ports of a closed broker: %v", err)
	}
	b.Close()

	s.broker.Close() // which runs
	var health map[string]any
	s.ok(&health, "broker.health")
	if err := s.broker.Run(t.Context()); !errors.Is(err, errBegun) {
		t.Errorf("the second Run: %v", err)
	}
}
