// Package secrets runs every program with logging at its most talkative, and
// looks for secret keys in all that they say.
package secrets

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/servicetools/servicetools/wire/curve"
)

// place is a folder with programs, keys, and all that was said.
type place struct {
	t   *testing.T
	dir string

	mu   sync.Mutex
	said bytes.Buffer // guarded by mu
}

// Write collects what the processes say.
func (p *place) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.Write(b)
}

func (p *place) path(elem ...string) string {
	return filepath.Join(append([]string{p.dir}, elem...)...)
}

func (p *place) command(program string, args ...string) *exec.Cmd {
	c := exec.Command(p.path("bin", program), args...)
	c.Dir, c.Stdout, c.Stderr = p.dir, p, p
	c.Env = append(os.Environ(), "GOTRACEBACK=all")
	return c
}

// run runs a program to its end, whatever its exit code.
func (p *place) run(program string, args ...string) {
	p.t.Helper()
	var exit *exec.ExitError
	if err := p.command(program, args...).Run(); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
}

// heard reports whether something was said.
func (p *place) heard(what string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Contains(p.said.Bytes(), []byte(what))
}

func (p *place) wait(what string, condition func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("waited in vain for %s; this was said:\n%s", what, p.said.String())
		}
	}
}

// forms are the ways in which a key might be printed.
func forms(z85 string) map[string][]byte {
	raw := make([]byte, 0, 32)
	for i := 0; i < len(z85); i += 5 {
		var word uint32
		for _, c := range z85[i : i+5] {
			word = word*85 + uint32(strings.IndexRune("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#", c))
		}
		raw = binary.BigEndian.AppendUint32(raw, word)
	}
	all := map[string][]byte{
		"Z85": []byte(z85), "bytes": raw, "hex": []byte(hex.EncodeToString(raw)), "HEX": []byte(strings.ToUpper(hex.EncodeToString(raw))),
		"base64": []byte(base64.StdEncoding.EncodeToString(raw)[:42]), "URL base64": []byte(base64.RawURLEncoding.EncodeToString(raw)[:42]),
		"a list": []byte(strings.Trim(fmt.Sprint(raw), "[]")), "part of it": []byte(z85[:20]), "the rest of it": []byte(z85[20:]),
	}
	if quoted, err := json.Marshal(z85); err == nil {
		all["JSON"] = bytes.Trim(quoted, `"`)
	}
	for i := 0; i < 32; i += 8 { // the words of a stack trace
		all[fmt.Sprintf("word %d", i/8)] = fmt.Appendf(nil, "%#x", binary.LittleEndian.Uint64(raw[i:]))
	}
	return all
}

// No program tells a secret key: not in its output or logs at level DEBUG, not in
// an error about the very file, not in a trace of its stacks, nor in the command
// line or the environment of a process. (hazards B)
func TestB_secretsAreToldNowhere(t *testing.T) {
	p := &place{t: t, dir: t.TempDir()}
	build := exec.Command("go", "build", "-o", p.path("bin")+"/", "./broker/cmd/broker", "./certtool/cmd/certtool", "./clientsdk/cmd/zcall", "./workersdk/cmd/demoworker")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p.run("certtool", "generate", "--path", "keys", "--users", "all")
	for _, name := range []string{"stranger", "former", "rotated", "broken", "exposed"} {
		p.run("certtool", "generate", "--path", "keys", "--name", name)
	}
	var secrets []string
	public, err := filepath.Glob(p.path("keys", "private_keys", "*.key_secret"))
	if err != nil || len(public) < 9 {
		t.Fatalf("the keys are %q, %v", public, err)
	}
	for _, path := range public {
		c, err := curve.LoadCertificate(path)
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, c.Secret.RevealZ85())
	}
	secretFile := func(name string) string { return p.path("keys", "private_keys", name+".key_secret") }
	publicFile := func(name string) string { return p.path("keys", "public_keys", name+".key") }

	p.run("demoworker", "init", "--config_file", "worker.ini")
	p.run("broker", "init", "--config", "server.ini", "--keys", "keys", "--port", "0", "--backend-port", "0", "--logging-mode", "DEBUG", "--log-dir", "logs",
		"--num-workers", "1", "--auto-start", "--worker-config", "worker.ini", "--worker-script", p.path("bin", "demoworker"))
	p.run("broker", "config", "show", "--config", "server.ini", "--origin")
	p.run("broker", "config", "check", "--config", "server.ini")
	broker := p.command("broker", "serve", "--config", "server.ini")
	if err := broker.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- broker.Wait() }()
	defer func() { _ = broker.Process.Kill() }()
	address := func(key string) string { // from the log: the ports are the system's choice
		p.mu.Lock()
		defer p.mu.Unlock()
		_, after, _ := strings.Cut(p.said.String(), key)
		after = strings.TrimLeft(after, `":=`)
		end := strings.IndexAny(after, "\" \n,")
		if end < 0 {
			return ""
		}
		return "tcp://" + after[:end]
	}
	p.wait("the broker", func() bool { return p.heard("backend") && len(address("frontend")) > len("tcp://") })
	frontend := address("frontend")
	zcall := func(cert string, args ...string) {
		p.run("zcall", append([]string{"--server", frontend, "--cert", secretFile(cert), "--server-key", publicFile("server"), "--timeout", "20s"}, args...)...)
	}
	clients, _ := filepath.Glob(p.path("keys", "private_keys", "*-*-*-*-*.key_secret"))
	if len(clients) == 0 {
		t.Fatal("certtool made no client")
	}
	client := strings.TrimSuffix(filepath.Base(clients[0]), ".key_secret")
	p.wait("the worker", func() bool {
		p.run("broker", "workers", "--server", frontend, "--cert", secretFile("admin"), "--server-key", publicFile("server"), "-o", "json")
		return p.heard(`"running"`) && p.heard("demoworker")
	})

	zcall(client, "describe")
	zcall(client, "add", "1", "2")
	zcall(client, "no_such_method")
	zcall("admin", "broker.sessions")
	p.run("certtool", "revoke", "--path", "keys", "former")
	p.run("certtool", "rotate", "--path", "keys", "rotated")
	p.run("certtool", "list", "--path", "keys")
	p.run("certtool", "verify", "--path", "keys")
	p.run("certtool", "show", secretFile("admin"))
	zcall("former", "add", "1", "2")
	p.run("zcall", "--server", frontend, "--cert", secretFile(client), "--server-key", publicFile("stranger"), "add", "1", "2") // another server's key
	p.run("zcall", "--server", frontend, "--cert", publicFile(client), "--server-key", publicFile("server"), "add", "1", "2")   // no secret in it
	if err := os.Remove(publicFile("stranger")); err != nil {
		t.Fatal(err)
	}
	zcall("stranger", "add", "1", "2")
	damage(t, secretFile("broken"))
	zcall("broken", "add", "1", "2")
	p.run("certtool", "show", secretFile("broken"))
	if err := os.Chmod(secretFile("exposed"), 0o644); err != nil {
		t.Fatal(err)
	}
	zcall("exposed", "add", "1", "2")
	p.run("certtool", "verify", "--path", "keys")
	for _, view := range []string{"status", "health", "sessions", "methods", "calls", "doctor"} {
		p.run("broker", view, "--server", frontend, "--cert", secretFile("admin"), "--server-key", publicFile("server"))
	}
	if runtime.GOOS == "linux" {
		p.lookAtProcesses(broker.Process.Pid)
	}
	if err := broker.Process.Signal(syscall.SIGQUIT); err != nil { // a trace of all stacks, with their words
		t.Fatal(err)
	}
	<-ended
	p.wait("the trace", func() bool { return p.heard("goroutine ") })
	p.readLogs()

	for i, z85 := range secrets {
		for form, text := range forms(z85) {
			if at := bytes.Index(p.said.Bytes(), text); at >= 0 {
				t.Errorf("the secret of %s is told as %s: %q", filepath.Base(public[i]), form, p.said.Bytes()[max(0, at-200):at])
			}
		}
	}
	for _, what := range []string{"admitted", "refused", "registered with the broker", "unauthorized", "server key mismatch", "chmod 600", "Z85", "goroutine "} {
		if !p.heard(what) {
			t.Errorf("nothing said %q: the test does not show what it should", what)
		}
	}
	if !p.heard(curvePublic(t, publicFile(client))) { // which admission logs
		t.Error("no public key was told either: something is wrong with the search")
	}
}

// curvePublic returns the public key of a file.
func curvePublic(t *testing.T, path string) string {
	t.Helper()
	c, err := curve.LoadCertificate(path)
	if err != nil {
		t.Fatal(err)
	}
	return c.Public.String()
}

// damage makes the secret key in a file one that cannot be.
func damage(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, key, ok := bytes.Cut(text, []byte(`secret-key = "`))
	if !ok {
		t.Fatalf("%s has no secret-key", path)
	}
	key[39] = '~' // no digit of Z85; the rest of the secret is whole
	if err := os.WriteFile(path, append(append(before, `secret-key = "`...), key...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// lookAtProcesses collects the command lines and environments of the broker and
// its workers.
func (p *place) lookAtProcesses(broker int) {
	p.t.Helper()
	found := 0
	processes, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range processes {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		own := filepath.Base(filepath.Dir(path)) == fmt.Sprint(broker)
		if own || len(fields) > 1 && fields[1] == fmt.Sprint(broker) {
			found++
			for _, name := range []string{"cmdline", "environ"} {
				b, err := os.ReadFile(filepath.Join(filepath.Dir(path), name))
				if err != nil {
					p.t.Error(err)
				}
				_, _ = p.Write(b)
			}
		}
	}
	if found < 2 {
		p.t.Errorf("%d processes were looked at, not the broker and its worker", found)
	}
}

// readLogs collects the log files.
func (p *place) readLogs() {
	p.t.Helper()
	files := 0
	err := filepath.WalkDir(p.path("logs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		_, _ = p.Write(b)
		return err
	})
	if err != nil || files == 0 {
		p.t.Errorf("%d log files, %v", files, err)
	}
}
