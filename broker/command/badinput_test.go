package command

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/servicetools/servicetools/wire/curve"
)

// TestBadInput: each mistake gives one line that names the thing and the
// remedy, and the exit code that its kind has.
func TestBadInput(t *testing.T) {
	p := newPlace(t)
	b := p.serve()
	p.write("broken.ini", "[main]\nport = many\n")
	p.write("half.ini", "[main\n")
	p.write("typo.ini", "[main]\nprot = 1\n")
	p.generate("stranger", curve.RoleAdmin)
	if err := os.Remove(p.keys.PublicPath("stranger")); err != nil {
		t.Fatal(err)
	}
	other := newPlace(t)
	frontend := "tcp://" + b.Frontend().String()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := silent.Addr().String()
	silent.Close()
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer web.Close()
	go func() {
		for {
			c, err := web.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			c.Close()
		}
	}()
	as := func(name string) []string {
		return []string{"--server", frontend, "--cert", p.keys.SecretPath(name), "--server-key", p.keys.PublicPath("server")}
	}
	for _, test := range []struct {
		name string
		code int
		want string // in the one line
		args []string
	}{
		{"no command", ExitUsage, "which command?", nil},
		{"an unknown command", ExitUsage, `unknown command "statsu" (did you mean "status"`, []string{"statsu"}},
		{"an unknown option", ExitUsage, `there is no option --confg (did you mean "config"`, []string{"status", "--confg", "x"}},
		{"an unknown sub-command", ExitUsage, "broker config check or broker config show?", []string{"config", "chekc"}},
		{"an argument too many", ExitUsage, `unexpected argument "x"`, []string{"status", "x", "--config", "DIR/server.ini"}},
		{"an option without dashes", ExitUsage, "as in --config=...", []string{"status", "config=x"}},
		{"no id", ExitUsage, "ID is missing", []string{"remove", "--config", "DIR/server.ini"}},
		{"two ids", ExitUsage, "one ID at a time", []string{"remove", "a", "b", "--config", "DIR/server.ini"}},
		{"a bad number", ExitUsage, `"many" is not a number of workers`, []string{"scale", "many", "--config", "DIR/server.ini"}},
		{"a bad form", ExitUsage, `--output "yaml" is not table or json`, []string{"status", "-o", "yaml", "--config", "DIR/server.ini"}},
		{"a bad state", ExitUsage, `--state "busy" is not queued`, []string{"calls", "--state", "busy", "--config", "DIR/server.ini"}},
		{"no time", ExitUsage, "--timeout must be more than nothing", []string{"status", "--timeout", "0", "--config", "DIR/server.ini"}},
		{"an unknown shell", ExitUsage, `"zhs" is not bash, zsh, fish or powershell (did you mean "zsh"`, []string{"completion", "zhs"}},
		{"no broker named", ExitUsage, "which broker?", []string{"status"}},
		{"a broker named twice", ExitUsage, "leave one or the other away", []string{"status", "--config", "DIR/server.ini", "--server", frontend}},
		{"an address without port", ExitUsage, "is not of the form tcp://HOST:PORT", []string{"status", "--server", "localhost"}},
		{"no server key", ExitUsage, "--server-key is missing", []string{"status", "--server", frontend, "--cert", p.keys.SecretPath("admin")}},
		{"no certificate", ExitUsage, "--cert is missing", []string{"status", "--server", frontend, "--server-key", p.keys.PublicPath("server")}},
		{"no configuration", ExitConfig, "broker init --config DIR/nope.ini writes one", []string{"status", "--config", "DIR/nope.ini"}},
		{"a malformed configuration", ExitConfig, "half.ini:1: the section header", []string{"status", "--config", "DIR/half.ini"}},
		{"a missing certificate", ExitConfig, "make it with certtool generate", []string{"status", "--server", frontend, "--cert", "DIR/nope.key_secret", "--server-key", p.keys.PublicPath("server")}},
		{"a public certificate", ExitConfig, "name the secret one", []string{"status", "--server", frontend, "--cert", p.keys.PublicPath("admin"), "--server-key", p.keys.PublicPath("server")}},
		{"no such host", ExitUnavailable, `the host name "nowhere.invalid" has no address`, append([]string{"status"}, replace(as("admin"), frontend, "nowhere.invalid:1")...)},
		{"nothing listens", ExitUnavailable, "nothing listens at", append([]string{"status"}, replace(as("admin"), frontend, free)...)},
		{"another program listens", ExitUnavailable, "is not a ZeroMQ socket", append([]string{"status"}, replace(as("admin"), frontend, web.Addr().String())...)},
		{"no security", ExitConfig, "is secured: give an admin key", []string{"status", "--server", frontend}},
		{"another server's key", ExitConfig, "server key mismatch", append([]string{"status"}, replace(as("admin"), p.keys.PublicPath("server"), other.keys.PublicPath("server"))...)},
		{"an unknown key", ExitUnauthorized, "put its public file into the broker's public_keys_dir", append([]string{"status"}, as("stranger")...)},
		{"a worker's key", ExitUnauthorized, "a key of role worker may not enter the frontend", append([]string{"status"}, as("worker")...)},
		{"a client's key", ExitUnauthorized, "use an admin key", append([]string{"status"}, as("client")...)},
		{"an unknown worker", ExitFailure, "broker workers lists", []string{"remove", "nobody", "--config", "DIR/server.ini"}},
		{"an unknown call", ExitFailure, "broker calls lists", []string{"cancel", "17", "--config", "DIR/server.ini"}},
		{"an unknown method", ExitFailure, `method "nope"`, []string{"methods", "nope", "--config", "DIR/server.ini"}},
		{"a worker's file that is not there", ExitFailure, "nope.ini", []string{"add", "--worker-config", "DIR/nope.ini", "--config", "DIR/server.ini"}},
		{"add without a file", ExitUsage, "--worker-config is missing", []string{"add", "--config", "DIR/server.ini"}},

		{"serve nothing", ExitUsage, "--config is missing", []string{"serve"}},
		{"serve no file", ExitConfig, "there is no configuration", []string{"serve", "--config", "DIR/nope.ini"}},
		{"serve a bad value", ExitConfig, `broken.ini:2: [main] port: "many" is not a whole number`, []string{"serve", "--config", "DIR/broken.ini"}},
		{"serve a malformed file", ExitConfig, "half.ini:1", []string{"serve", "--config", "DIR/half.ini"}},
		{"serve an unknown key", ExitConfig, `unknown key (did you mean "port"`, []string{"serve", "--config", "DIR/typo.ini"}},
		{"init without keys", ExitUsage, "where are the keys?", []string{"init", "--config", "DIR/new.ini"}},
		{"init with a bad port", ExitUsage, "[main] port", []string{"init", "--config", "DIR/new.ini", "--keys", "DIR", "--port", "70000"}},
		{"init over a file", ExitFailure, "--overwrite replaces it", []string{"init", "--config", "DIR/server.ini", "--keys", "DIR"}},
		{"dev without its worker", ExitUsage, "there is no program", []string{"dev", "--worker", "DIR/nope"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &place{T: t, dir: p.dir, config: p.config, keys: p.keys}
			want := strings.ReplaceAll(test.want, "DIR", p.dir)
			r := p.run(test.args...)
			if r.code != test.code || !strings.Contains(r.errOut, want) {
				t.Errorf("exits with %d, want %d: %s\nwant %s", r.code, test.code, r.errOut, want)
			}
			if r.out != "" {
				t.Errorf("a failure prints data: %q", r.out)
			}
			if !strings.HasPrefix(r.errOut, "broker: ") {
				t.Errorf("%q does not say who speaks", r.errOut)
			}
		})
	}
}

func replace(args []string, old, new string) []string {
	out := append([]string(nil), args...)
	for i := range out {
		if out[i] == old {
			out[i] = new
		}
	}
	return out
}

// TestServe_refuses: each of these ends the start in one line.
func TestServe_refuses(t *testing.T) {
	for _, test := range []struct {
		name  string
		code  int
		want  string
		spoil func(p *place)
	}{
		{"no server key", ExitConfig, "server.key_secret", func(p *place) { os.Remove(p.keys.SecretPath("server")) }},
		{"a key of the wrong role", ExitConfig, "role", func(p *place) { p.generate("server", curve.RoleWorker) }},
		{"an exposed key", ExitConfig, "chmod 600", func(p *place) { os.Chmod(p.keys.SecretPath("server"), 0o644) }},
		{"half a key", ExitConfig, "server.key_secret", func(p *place) { os.WriteFile(p.keys.SecretPath("server"), []byte("curve\n"), 0o600) }},
		{"no key folder", ExitConfig, "public_keys", func(p *place) { os.RemoveAll(p.keys.PublicDir) }},
		{"a port in use", ExitFailure, "choose another port", func(p *place) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				p.Fatal(err)
			}
			p.Cleanup(func() { l.Close() })
			p.setPorts(l.Addr().String(), ":0")
		}},
		{"a log folder that cannot be", ExitConfig, "[logging]", func(p *place) {
			p.write("file", "")
			if err := edit(p.config, [][3]string{{"logging", "log_dir", filepath.Join(p.dir, "file", "logs")}}); err != nil {
				p.Fatal(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if runtime.GOOS == "windows" && strings.Contains(test.want, "chmod") {
				t.Skip("NOT RUN: Windows has no mode bits")
			}
			p := newPlace(t)
			test.spoil(p)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // one that starts after all drains
			defer cancel()
			var stderr bytes.Buffer
			code := run(ctx, []string{"broker", "serve", "--config", p.config}, io.Discard, &stderr)
			r := result{errOut: stderr.String(), code: code}
			line := lastLine(r.errOut)
			if r.code != test.code || !strings.HasPrefix(line, "broker: ") || !strings.Contains(line, test.want) {
				t.Errorf("exits with %d, want %d: %s", r.code, test.code, r.errOut)
			}
		})
	}
}

func lastLine(text string) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return all[len(all)-1]
}
