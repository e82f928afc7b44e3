package zcall

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/servicetools/servicetools/clientsdk/internal/brokertest"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// shell runs zcall and keeps what it printed.
type shell struct {
	t     *testing.T
	flags []string // put behind every command line
	stdin string

	status      int
	out, errors string
}

func (s *shell) run(args ...string) *shell {
	s.t.Helper()
	return s.runIn(s.t.Context(), args...)
}

func (s *shell) runIn(ctx context.Context, args ...string) *shell {
	s.t.Helper()
	var out, errs bytes.Buffer
	line := append(append([]string{"zcall"}, args...), s.flags...)
	s.status = Run(ctx, line, Streams{In: strings.NewReader(s.stdin), Out: &out, Err: &errs})
	s.out, s.errors = out.String(), errs.String()
	return s
}

// want compares the end of a run with what it should be.
func (s *shell) want(status int, out string) *shell {
	s.t.Helper()
	if s.status != status || s.out != out {
		s.t.Errorf("status %d, out %q, errors %q; want status %d, out %q", s.status, s.out, s.errors, status, out)
	}
	return s
}

// says checks stderr.
func (s *shell) says(parts ...string) {
	s.t.Helper()
	for _, part := range parts {
		if !strings.Contains(s.errors, part) {
			s.t.Errorf("stderr %q does not say %q", s.errors, part)
		}
	}
}

// newShell starts a broker without keys and a shell that calls it.
func newShell(t *testing.T) (*shell, *brokertest.Broker) {
	b := startBroker(t, &brokertest.Broker{})
	return &shell{t: t, flags: []string{"--insecure", "--server", b.Addr()}}, b
}

func startBroker(t *testing.T, b *brokertest.Broker) *brokertest.Broker {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Error("goroutines outlive the test")
				return
			}
		}
	})
	add := func(c *brokertest.Call) {
		sum := int64(0)
		for i := range c.Args() {
			sum += c.Int(i)
		}
		c.Result(sum)
	}
	b.Inline("add", add)
	b.Inline("map", add)
	b.Inline("echo", (*brokertest.Call).Echo)
	b.Inline("kwargs", func(c *brokertest.Call) {
		_, kwargs, _ := message.SplitBody(c.Body)
		c.Raw(message.KindResult, kwargs)
	})
	b.Handle("hang", func(c *brokertest.Call) {
		<-c.Context.Done()
		c.Fail(message.Errorf(message.Cancelled, "cancelled"))
	})
	b.Handle("count", func(c *brokertest.Call) {
		for i := range c.Int(0) {
			if !c.Part(uint64(i), i) {
				break
			}
		}
		c.Result(nil)
	})
	b.Inline("fail", func(c *brokertest.Call) {
		code, _ := c.Args()[0].(string)
		c.Fail(message.Errorf(message.Code(code), "it failed\nfor a reason"))
	})
	b.Inline("broker.ping", func(c *brokertest.Call) { c.Result(map[string]any{"time": time.Now().Format(time.RFC3339Nano)}) })
	b.Inline("broker.status", func(c *brokertest.Call) { c.Fail(message.Errorf(message.Unauthorized, "an admin key is needed")) })
	methods := []map[string]any{{"name": "add", "signature": "add(a int, b int) int", "doc": "Add returns a+b.\nReally.", "workers": 2, "idempotent": true}}
	b.Inline("broker.methods", func(c *brokertest.Call) { c.Result(methods) })
	b.Inline("broker.describe", func(c *brokertest.Call) {
		if c.Args()[0] != "add" {
			c.Fail(message.Errorf(message.NoSuchMethod, `no method "ad" (did you mean "add"?)`))
			return
		}
		c.Result(methods[0])
	})
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func TestCall_printsJSON(t *testing.T) {
	sh, _ := newShell(t)
	sh.run("add", "1", "2").want(0, "3\n")
	sh.run("add", "-5", "3").want(0, "-2\n")
	sh.run("call", "add", "1", "2").want(0, "3\n")
	sh.run("call", "map", "1", "2").want(0, "3\n")
	sh.run("--timeout", "5s", "add", "--idempotent", "1", "2").want(0, "3\n")
	sh.run("echo", `"<text>"`).want(0, "\"<text>\"\n")
	sh.run("echo", `"text"`, "--raw").want(0, "text\n")
	sh.run("echo", `{"b":[1,2.5,null,true],"a":{"c":"d"}}`).want(0, `{"a":{"c":"d"},"b":[1,2.5,null,true]}`+"\n")
	sh.run("echo", "9007199254740993").want(0, "9007199254740993\n")
	sh.run("echo", "18446744073709551615").want(0, "18446744073709551615\n")
	sh.run("echo", `{"base64":"AAEC"}`).want(0, `{"base64":"AAEC"}`+"\n")
	sh.run("echo", `{"base64":"AAEC"}`, "--raw").want(0, "\x00\x01\x02")
	sh.run("kwargs", "--kwargs", `{"text":"to be","top":3}`).want(0, `{"text":"to be","top":3}`+"\n")
	sh.run("stream", "count", "3").want(0, "0\n1\n2\n")
}

func TestUsage_mistakesTeach(t *testing.T) {
	sh, _ := newShell(t)
	sh.run().want(exitUsage, "").says("no method", "hint:")
	sh.run("echo", "hello").want(exitUsage, "").says("argument 1, hello, is not JSON", `'"hello"'`)
	sh.run("echo", "1 2").want(exitUsage, "").says("something follows")
	sh.run("echo", `[1,`).want(exitUsage, "").says("incomplete")
	sh.run("echo", "--kwargs", "[1]").want(exitUsage, "").says("not a JSON object")
	sh.run("echo", "--no-such-flag").want(exitUsage, "").says("no-such-flag")
	sh.run("echo", "--timeout", "5").want(exitUsage, "").says(`"5"`, "--timeout 5s")
	sh.run("echo", "--priority", "urgent").want(exitUsage, "").says("low, normal or high")
	sh.run("call").want(exitUsage, "").says("needs the name of a method")
	sh.run("bench", "echo", "--requests", "0").want(exitUsage, "").says("positive")
	sh.run("describe", "-o", "yaml").want(exitUsage, "").says("table or json")
}

func TestStatus_ofEveryKindOfFailure(t *testing.T) {
	sh, _ := newShell(t)
	for code, status := range map[message.Code]int{
		message.Application: 1, message.HandlerPanic: 1, message.BadArgs: 1, message.Internal: 1, message.TooLarge: 1,
		message.MethodQuarantined: 1, message.IdempotencyClash: 1, "unheard_of": 1,
		message.NoSuchMethod: 69, message.NoWorker: 69, message.WorkerLost: 69, message.ConnectionLost: 69,
		message.QueueFull: 75, message.Unauthorized: 77, message.DeadlineInQueue: 124, message.DeadlineInHandler: 124,
	} {
		sh.run("fail", `"`+string(code)+`"`).want(status, "").says("zcall: " + string(code) + ": it failed for a reason\n")
	}
	sh.run("fail", `"shutting_down"`, "--timeout", "50ms").want(exitUnavailable, "").says("zcall: shutting_down: ", "no other one took it")
	sh.run("hang", "--timeout", "1s").want(exitDeadline, "").says("deadline_in_handler", "hint:")
	sh.run("add", "1", "--server", "tcp://127.0.0.1:1").want(0, "1\n") // the last flag counts: the shell's own

	ctx, cancel := context.WithCancel(t.Context())
	sh2, b := newShell(t)
	go func() {
		b.WaitFor(message.KindCall, 1)
		cancel()
	}()
	sh2.runIn(ctx, "hang").want(exitInterrupted, "").says("interrupted")

	off := &shell{t: t}
	off.run("add", "--insecure", "--server", "tcp://127.0.0.1:1").want(exitUnavailable, "").says("no_broker", "refused", "hint:")
	off.run("add", "--insecure", "--server", "localhost:8006").want(exitConfig, "").says("tcp://host:port")
	off.run("add").want(exitConfig, "").says("no client key", "--cert")
	off.run("add", "--cert", "missing.key_secret", "--server-key", "server.key").want(exitConfig, "").says("missing.key_secret")
}

func TestMap_printsInOrder(t *testing.T) {
	sh, _ := newShell(t)
	sh.stdin = "[1,2]\n\n[3,4]\n[5]\n"
	sh.run("map", "add", "--concurrency", "2").want(0, "3\n7\n5\n")
	sh.stdin = "[1,2]\n{}\n[5]\n"
	sh.run("map", "add").want(exitUsage, "3\n").says("line 2", "list of arguments")
	sh.stdin = "[\"queue_full\"]\n[\"application\"]\n"
	sh.run("map", "fail").want(exitQueueFull, "").says("queue_full")
	sh.run("map", "fail", "--keep-going")
	if lines := strings.Split(strings.TrimSpace(sh.out), "\n"); sh.status != 0 || len(lines) != 2 ||
		!strings.Contains(lines[0], `"code":"queue_full"`) || !strings.Contains(lines[1], `"executed":"yes"`) {
		t.Errorf("status %d, out %q", sh.status, sh.out)
	}
	sh.stdin = ""
	sh.run("map", "add").want(0, "")
}

// Each result is printed when it is there, not when the next line comes.
func TestMap_isPrompt(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	in, typed := io.Pipe()
	printed, out := io.Pipe()
	ended := make(chan int)
	go func() {
		ended <- Run(t.Context(), []string{"zcall", "map", "add", "--insecure", "--server", b.Addr()}, Streams{In: in, Out: out, Err: io.Discard})
	}()
	line := make([]byte, 16)
	for range 3 {
		if _, err := io.WriteString(typed, "[1,2]\n"); err != nil {
			t.Fatal(err)
		}
		if n, err := printed.Read(line); err != nil || string(line[:n]) != "3\n" {
			t.Fatalf("%q, %v", line[:n], err)
		}
	}
	typed.Close()
	if status := <-ended; status != 0 {
		t.Errorf("status %d", status)
	}
}

func TestDescribe(t *testing.T) {
	sh, _ := newShell(t)
	sh.run("describe").want(0, "METHOD  WORKERS  SIGNATURE              DOC\nadd     2        add(a int, b int) int  Add returns a+b.\n")
	sh.run("describe", "add").want(0, "add(a int, b int) int\n    Add returns a+b.\n    Really.\nname add; workers 2; idempotent true; streams false\n")
	sh.run("describe", "ad").want(exitUnavailable, "").says("did you mean")
	sh.run("describe", "-o", "json", "add")
	var m map[string]any
	if err := json.Unmarshal([]byte(sh.out), &m); err != nil || m["name"] != "add" || m["workers"] != 2.0 {
		t.Errorf("%q, %v", sh.out, err)
	}
}

func TestBench_printsTheAgreedObject(t *testing.T) {
	sh, b := newShell(t)
	sh.run("bench", "echo", "--requests", "500", "--concurrency", "20", "--size", "64", "--connections", "2", "-o", "json")
	var r map[string]float64
	var whole map[string]any
	if err := json.Unmarshal([]byte(sh.out), &whole); err != nil || sh.status != 0 {
		t.Fatalf("status %d, %q, %q", sh.status, sh.out, sh.errors)
	}
	if whole["method"] != "echo" {
		t.Errorf("method %v", whole["method"])
	}
	delete(whole, "method")
	rest, _ := json.Marshal(whole)
	if err := json.Unmarshal(rest, &r); err != nil || len(r) != 10 {
		t.Fatalf("%s has other keys than agreed: %v", rest, err)
	}
	if r["requests"] != 500 || r["concurrency"] != 20 || r["size"] != 64 || r["errors"] != 0 || r["rate"] <= 0 || r["seconds"] <= 0 ||
		r["p50_ms"] > r["p90_ms"] || r["p90_ms"] > r["p99_ms"] || r["p99_ms"] > r["max_ms"] {
		t.Errorf("%s", rest)
	}
	if n := len(b.Seen(message.KindAttach)); n != 2 {
		t.Errorf("%d connections were made, want 2", n)
	}
	sh.run("bench", "add", "1", "2", "--requests", "10")
	if sh.status != 0 || !strings.Contains(sh.out, "10 calls") {
		t.Errorf("status %d, %q", sh.status, sh.out)
	}
	b.Inline("echo", func(c *brokertest.Call) { c.Result([]byte("something else")) })
	sh.run("bench", "echo", "--requests", "10")
	if sh.status != exitFailed {
		t.Errorf("a broker that answers nonsense gives status %d", sh.status)
	}
	sh.says("10 of 10", "other bytes")
}

func TestDoctor_namesTheStepAndTheRemedy(t *testing.T) {
	dir := t.TempDir()
	keys := curve.KeysetIn(dir)
	generate := func(name string, role curve.Role) *curve.Certificate {
		cert, err := keys.Generate(curve.Request{Name: name, Role: role})
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	server := generate("server", curve.RoleServer)
	generate("other", curve.RoleServer)
	generate("alice", curve.RoleClient)
	stranger := generate("stranger", curve.RoleClient)
	b := startBroker(t, &brokertest.Broker{Mechanism: &curve.Server{Key: server.Secret,
		Admit: func(k curve.PublicKey, _ zmtp.Metadata) (any, error) {
			if k == stranger.Public {
				return nil, &zmtp.Refusal{Status: "400", Reason: "this key is unknown", SDK: true}
			}
			return nil, nil
		}}})
	open := startBroker(t, &brokertest.Broker{})
	exposed := filepath.Join(dir, "exposed.key_secret")
	text, err := os.ReadFile(keys.SecretPath("alice"))
	if err == nil {
		err = os.WriteFile(exposed, text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	doctor := func(addr, cert, serverKey string) *shell {
		return (&shell{t: t}).run("doctor", "--server", addr, "--cert", cert, "--server-key", serverKey, "--timeout", "5s")
	}
	alice, serverKey := keys.SecretPath("alice"), keys.PublicPath("server")

	well := doctor(b.Addr(), alice, serverKey)
	if well.status != 0 || strings.Contains(well.out, "FAIL") || !strings.Contains(well.out, "role           client") || !strings.Contains(well.out, "clock          within") {
		t.Errorf("status %d\n%s%s", well.status, well.out, well.errors)
	}
	if secret := string(text[bytes.LastIndex(text, []byte("= \""))+3:][:40]); strings.Contains(well.out, secret) {
		t.Error("the secret key was printed")
	}
	for _, test := range []struct {
		name   string
		run    *shell
		status int
		says   []string
	}{
		{"no such host", doctor("tcp://no-such-host.invalid:1", alice, serverKey), 69, []string{"FAIL  dns", "check the host name"}},
		{"nobody listens", doctor("tcp://127.0.0.1:1", alice, serverKey), 69, []string{"ok    dns", "FAIL  tcp", "check that the broker runs there"}},
		{"a broker without keys", doctor(open.Addr(), alice, serverKey), 77, []string{"ok    tcp", "ok    greeting", "FAIL  mechanism", "--insecure"}},
		{"the key of another server", doctor(b.Addr(), alice, keys.PublicPath("other")), 77, []string{"ok    mechanism", "FAIL  server key", "belongs to another server"}},
		{"an unknown key", doctor(b.Addr(), keys.SecretPath("stranger"), serverKey), 77, []string{"ok    server key", "FAIL  authorisation", "public_keys"}},
		{"a public file for a secret one", doctor(b.Addr(), keys.PublicPath("alice"), serverKey), 78, []string{"FAIL  client file", "*.key_secret"}},
		{"a secret file open to others", doctor(b.Addr(), exposed, serverKey), 78, []string{"FAIL  client file", "chmod 600"}},
		{"no server key", doctor(b.Addr(), alice, ""), 78, []string{"FAIL  server file", "--server-key"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, s := range test.says {
				if !strings.Contains(test.run.out, s) {
					t.Errorf("it does not say %q:\n%s", s, test.run.out)
				}
			}
			if test.run.status != test.status || strings.Count(test.run.out, "FAIL") != 1 {
				t.Errorf("status %d, want %d:\n%s%s", test.run.status, test.status, test.run.out, test.run.errors)
			}
		})
	}
}

func TestFlags_fromTheEnvironment(t *testing.T) {
	b := startBroker(t, &brokertest.Broker{})
	t.Setenv("SERVICETOOLS_SERVER", b.Addr())
	t.Setenv("SERVICETOOLS_INSECURE", "true")
	t.Setenv("SERVICETOOLS_TIMEOUT", "1s")
	sh := &shell{t: t}
	sh.run("add", "1", "2").want(0, "3\n")
	sh.run("hang").want(exitDeadline, "")
}

func TestCompletion_knowsCommandsAndFlags(t *testing.T) {
	sh := &shell{t: t}
	sh.run("--generate-bash-completion")
	if !strings.Contains(sh.out, "bench") || !strings.Contains(sh.out, "doctor") {
		t.Errorf("commands: %q", sh.out)
	}
	sh.run("bench", "--generate-bash-completion")
	if !strings.Contains(sh.out, "--concurrency\n") || !strings.Contains(sh.out, "--server-key\n") {
		t.Errorf("flags: %q", sh.out)
	}
	if sh.run("completion", "bash"); sh.status != 0 || !strings.Contains(sh.out, "complete ") {
		t.Errorf("status %d, %q", sh.status, sh.out)
	}
	sh.run("completion", "tcsh").want(exitUsage, "").says("bash, zsh, fish or powershell")
}

// The help of each command has an example, whose flags exist, and every flag with
// a value says what the value is.
func TestHelp_hasATrueExampleForEveryCommand(t *testing.T) {
	for _, c := range newApp(Streams{}).Commands {
		known := map[string]bool{}
		for _, f := range c.Flags {
			for _, name := range f.Names() {
				known[name] = true
			}
			if d := f.(cli.DocGenerationFlag); d.TakesValue() && !strings.Contains(d.GetUsage(), "`") {
				t.Errorf("%s: the value of --%s has no name", c.Name, f.Names()[0])
			}
		}
		_, example, ok := strings.Cut(c.Description, "Example")
		if !ok || !strings.Contains(example, "zcall "+c.Name) {
			t.Errorf("the help of %s shows no example of it", c.Name)
		}
		for _, word := range strings.Fields(example) {
			if name, isFlag := strings.CutPrefix(word, "-"); isFlag && !known[strings.TrimLeft(name, "-")] {
				t.Errorf("the example of %s has the flag %s, which it does not know", c.Name, word)
			}
		}
	}
}
