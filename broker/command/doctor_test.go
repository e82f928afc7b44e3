package command

import (
	"net"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/servicetools/servicetools/wire/curve"
)

// TestDoctor_findsTheFault: each seeded fault is one line with its step and
// remedy.
func TestDoctor_findsTheFault(t *testing.T) {
	for _, test := range []struct {
		name string
		code int
		step string
		want string // in the line of the step
		seed func(p *place)
	}{
		{"nothing is wrong", ExitOK, "workers", "1 connected", func(p *place) {}},
		{"no worker", ExitUnavailable, "workers", "none is connected: start one with a key of role worker", nil},
		{"a key that others may read", ExitConfig, "admin certificate", "run chmod 600", func(p *place) { os.Chmod(p.keys.SecretPath("admin"), 0o640) }},
		{"a folder that others may enter", ExitConfig, "key folders", "run chmod 700", func(p *place) { os.Chmod(p.keys.SecretDir, 0o755) }},
		{"halves of two pairs", ExitConfig, "server certificate", "are not one pair", func(p *place) {
			public, _ := os.ReadFile(p.keys.PublicPath("server"))
			p.generate("server", curve.RoleServer)
			os.WriteFile(p.keys.PublicPath("server"), public, 0o644)
		}},
		{"a server key of another broker", ExitConfig, "server key", "server key mismatch", func(p *place) { p.generate("server", curve.RoleServer) }},
		{"an admin key that is not public", ExitConfig, "admin certificate", "does not admit the key", func(p *place) { os.Remove(p.keys.PublicPath("admin")) }},
		{"no admin key", ExitConfig, "keys", "certtool generate --path DIR --users admin", func(p *place) { os.Remove(p.keys.SecretPath("admin")) }},
		{"an admin key of another role", ExitUnauthorized, "admin certificate", "has the role client", func(p *place) { p.generate("admin", curve.RoleClient) }},
		{"a bad configuration", ExitConfig, "configuration", "is not a whole number", func(p *place) { edit(p.config, [][3]string{{"main", "port", "many"}}) }},
		{"another port", ExitUnavailable, "connect", "nothing listens at", func(p *place) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				p.Fatal(err)
			}
			l.Close()
			p.setPorts(l.Addr().String(), ":0")
		}},
		{"no such host", ExitUnavailable, "name resolution", "has no address", func(p *place) { edit(p.config, [][3]string{{"main", "ip", "nowhere.invalid"}}) }},
		{"security on one side", ExitConfig, "mechanism", "is secured", func(p *place) {
			edit(p.config, [][3]string{{"security", "secure", "False"}})
		}},
		{"a worker that cannot run", ExitConfig, "worker files", "there is no", func(p *place) {
			p.write("worker.ini", "[main]\nid = w\n")
			edit(p.config, [][3]string{
				{"workers", "auto_start", "True"}, {"workers", "worker_config_paths", `["` + p.dir + `/worker.ini"]`},
				{"workers", "worker_script_path", p.dir + "/nope"},
			})
		}},
		{"a script that cannot run", ExitConfig, "worker files", "run chmod +x", func(p *place) {
			p.write("worker.ini", "[main]\nid = w\n")
			p.write("script", "")
			edit(p.config, [][3]string{
				{"workers", "auto_start", "True"}, {"workers", "worker_config_paths", `["` + p.dir + `/worker.ini"]`},
				{"workers", "worker_script_path", p.dir + "/script"},
			})
		}},
		{"a log folder that cannot be", ExitConfig, "log folder", "cannot be written", func(p *place) {
			p.write("file", "")
			edit(p.config, [][3]string{{"logging", "log_dir", p.dir + "/file/logs"}})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if runtime.GOOS == "windows" && strings.Contains(test.want, "chmod") {
				t.Skip("NOT RUN: Windows has no mode bits")
			}
			p := newPlace(t)
			p.serve()
			if test.seed != nil {
				p.work("w1")
				test.seed(p)
			}
			r := p.run("doctor", "--config", p.config)
			line := ""
			for l := range strings.Lines(r.out) {
				if name, _, _ := strings.Cut(l, "  "); name == test.step {
					line = l
				}
			}
			if r.code != test.code || !strings.Contains(line, test.want) || r.errOut != "" {
				t.Errorf("exits with %d, want %d and %q\n%s%s", r.code, test.code, test.want, r.out, r.errOut)
			}
		})
	}
}

func TestDoctor_seesWhoHasThePort(t *testing.T) {
	p := newPlace(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p.setPorts(l.Addr().String(), ":0")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	r := p.run("doctor", "--config", p.config)
	if r.code != ExitUnavailable || !strings.Contains(r.out, "greeting            fail") || !strings.Contains(r.out, "frontend port       fail") {
		t.Errorf("exits with %d\n%s", r.code, r.out)
	}
}
