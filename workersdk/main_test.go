package workersdk

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// command runs one command line of a program that serves a lab.
func command(t *testing.T, ctx context.Context, args ...string) (stdout, stderr *syncBuffer, err error) {
	t.Helper()
	stdout, stderr = &syncBuffer{}, &syncBuffer{}
	err = newApp(newLab(), nil, stdout, stderr).RunContext(ctx, append([]string{"worker"}, args...))
	return stdout, stderr, err
}

func TestCommands_describe(t *testing.T) {
	out, _, err := command(t, t.Context(), "describe", "-o", "json")
	var methods []message.Method
	if err != nil || json.Unmarshal([]byte(out.String()), &methods) != nil || methods[0].Signature != "Add(ctx context.Context, _ int, _ int) (int, error)" {
		t.Errorf("got %v\n%s", err, out)
	}
	out, _, err = command(t, t.Context(), "describe")
	if err != nil || !strings.Contains(out.String(), "add, idempotent\n    Add(") || !strings.Contains(out.String(), "count, stream\n") {
		t.Errorf("got %v\n%s", err, out)
	}
}

func TestCommands_wrongLines(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.ini")
	if err := os.WriteFile(bad, []byte("[main]\nprot = 9006\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	noKeys := filepath.Join(dir, "nokeys.ini")
	if err := os.WriteFile(noKeys, []byte("[main]\nip = localhost\nport = 9006\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"--nonsense"}, exitUsage, "nonsense"},
		{[]string{"run", "--nonsense"}, exitUsage, "nonsense"},
		{[]string{"serve"}, exitUsage, `unknown command "serve"`},
		{[]string{"init"}, exitUsage, "--config_file"},
		{[]string{"describe", "-o", "xml"}, exitUsage, `unknown output "xml"`},
		{[]string{"exec"}, exitUsage, "exec NAME -- COMMAND"},
		{[]string{"exec", "name"}, exitUsage, "exec NAME -- COMMAND"},
		{[]string{"exec", "broker.x", "--", "cat"}, exitUsage, "reserved"},
		{[]string{"exec", "name", "--", "no-such-program-anywhere"}, exitUsage, "no-such-program-anywhere"},
		{[]string{}, exitBadConfig, "names no broker"},
		{[]string{"--config_file", filepath.Join(dir, "none.ini")}, exitBadConfig, "none.ini"},
		{[]string{"--config_file", bad}, exitBadConfig, "prot"},
		{[]string{"run", "--config-file", noKeys}, exitBadConfig, "names no keys"},
		{[]string{"--config_file", noKeys, "run"}, exitBadConfig, "names no keys"},
		{[]string{"--config_file", noKeys, "--cert", bad, "--server-key", bad}, exitBadConfig, "bad.ini"},
		{[]string{"--server", "nowhere", "--insecure"}, exitBadConfig, "tcp://host:port"},
	} {
		_, _, err := command(t, t.Context(), c.args...)
		if err == nil || exitStatus(err) != c.status || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got status %d, %v; want %d, %s", c.args, exitStatus(err), err, c.status, c.want)
		}
	}
}

// From init to a served call, with the keys and the file that an operator has.
func TestCommands_initCheckRun(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	keys := curve.KeysetIn(dir)
	var server *curve.Certificate
	for _, role := range []curve.Role{curve.RoleServer, curve.RoleWorker} {
		made, err := keys.Generate(curve.Request{Role: role, Name: role.String()})
		if err != nil {
			t.Fatal(err)
		}
		if role == curve.RoleServer {
			server = made
		}
	}
	b := newScripted(t, "127.0.0.1:0", 1, &curve.Server{
		Key:   server.Secret,
		Admit: func(curve.PublicKey, zmtp.Metadata) (any, error) { return nil, nil },
	})
	host, port, _ := net.SplitHostPort(b.addr)
	file := filepath.Join(dir, "worker.ini")
	out, _, err := command(t, t.Context(), "init", "--config_file", file, "--name", "lab", "--ip", host, "--port", port,
		"--public-keys-dir", keys.PublicDir, "--secret-keys-dir", keys.SecretDir, "--log-dir", filepath.Join(dir, "log"))
	if err != nil || !strings.Contains(out.String(), "wrote "+file) {
		t.Fatalf("init: got %v\n%s", err, out)
	}
	if _, _, err := command(t, t.Context(), "init", "--config_file", file); exitStatus(err) != exitBadConfig {
		t.Errorf("a file is replaced without --overwrite: %v", err)
	}
	if out, _, err = command(t, t.Context(), "check", "--config_file="+file); err != nil || !strings.Contains(out.String(), "broker: ok") {
		t.Errorf("check: got %v\n%s", err, out)
	}

	if cfg, err := LoadConfig(file); err != nil || cfg.Name != "lab" || cfg.Key.IsZero() || cfg.ServerKey != server.Public {
		t.Errorf("LoadConfig: got %+v, %v", cfg, err)
	}

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	var log *syncBuffer
	go func() {
		var err error
		_, log, err = command(t, ctx, "--config_file="+file)
		done <- err
	}()
	p := b.worker()
	p.call(1, "add", 2, 3)
	if got := p.result(1); got != int64(5) {
		t.Errorf("got %v", got)
	}
	stop()
	if err := receive(t, done, "the end of the command"); err != nil {
		t.Error(err)
	}
	secret, err := curve.LoadCertificate(keys.SecretPath("worker"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "log", "*.log"))
	if err != nil || len(files) != 1 {
		t.Fatalf("got log files %v, %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil || !bytes.Contains(text, []byte("registered with the broker")) {
		t.Errorf("got %v\n%s", err, text)
	}
	if both := log.String() + string(text); strings.Contains(both, secret.Secret.RevealZ85()) {
		t.Error("the log has the secret key")
	}

	b.kill()
	if _, _, err = command(t, t.Context(), "check", "--config_file="+file); err == nil || !strings.Contains(err.Error(), "connect failed") {
		t.Errorf("check without a broker: got %v", err)
	}
}
