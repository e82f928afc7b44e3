//go:build linux

// Package completion types at real shells and looks at what they complete.
package completion

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/servicetools/servicetools/integration/env"
)

const root = "../.."

// commands are those that complete themselves.
var commands = []string{"broker", "zcall", "certtool"}

// desk is a folder with the commands on the PATH, each behind a script that
// notes its arguments and runs the command only for a shell that reads it.
type desk struct {
	t     *testing.T
	dir   string // the working directory, and the home of the shells
	notes string // the arguments of the last command
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, dir: t.TempDir()}
	d.notes = filepath.Join(d.dir, "notes")
	real, bin := filepath.Join(d.dir, "real"), filepath.Join(d.dir, "bin")
	if out, err := exec.Command("go", "build", "-o", real+"/", root+"/broker/cmd/broker", root+"/clientsdk/cmd/zcall", root+"/certtool/cmd/certtool").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range commands {
		// What a person enters has the terminal as its stdout.
		script := fmt.Sprintf("#!/bin/sh\n[ -t 1 ] || exec '%s/%s' \"$@\"\necho \"%s $*\" >'%s.new' && mv '%s.new' '%s'\n",
			real, name, name, d.notes, d.notes, d.notes)
		d.write("bin/"+name, script, 0o755)
	}
	d.write("server.ini", "", 0o600)
	return d
}

func (d *desk) write(name, text string, mode os.FileMode) {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		d.t.Fatal(err)
	}
}

// script returns what a command prints for a shell.
func (d *desk) script(command, shell string) string {
	d.t.Helper()
	out, err := exec.Command(filepath.Join(d.dir, "real", command), "completion", shell).Output()
	if err != nil {
		d.t.Fatalf("%s completion %s: %v", command, shell, err)
	}
	return string(out)
}

// shell starts a shell with the desk as its home.
func (d *desk) shell(t *testing.T, name string, args ...string) *terminal {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = d.dir
	cmd.Env = []string{
		"HOME=" + d.dir, "ZDOTDIR=" + d.dir, "XDG_CONFIG_HOME=" + d.dir + "/.config", "XDG_DATA_HOME=" + d.dir + "/.local", "TERM=xterm",
		"PATH=" + d.dir + "/bin:" + os.Getenv("PATH"), "PS1=" + prompt, "PROMPT=" + prompt, "LC_ALL=C.UTF-8",
	}
	return open(t, cmd)
}

// shells are the ways to install the completions that the help of the commands names.
func (d *desk) shells() map[string]func(t *testing.T) *terminal {
	all := func(pattern, shell string) {
		for _, command := range commands {
			d.write(fmt.Sprintf(pattern, command), d.script(command, shell), 0o644)
		}
	}
	all("bash_completion.d/%s", "bash")
	all("fpath/_%s", "zsh")
	all(".config/fish/completions/%s.fish", "fish")
	d.write(".config/fish/functions/fish_prompt.fish", "function fish_prompt; echo -n '"+prompt+"'; end\n", 0o644)
	// start starts a shell and types lines, each of which may be for every command.
	start := func(shell []string, lines ...string) func(*testing.T) *terminal {
		return func(t *testing.T) *terminal {
			s := d.shell(t, shell[0], shell[1:]...)
			for _, line := range lines {
				for i, command := range commands {
					if typed := strings.ReplaceAll(line, "COMMAND", command); i == 0 || typed != line {
						s.enter(typed + "\r")
					}
				}
			}
			return s
		}
	}
	bash, zsh, fish := []string{"bash", "--norc", "-i"}, []string{"zsh", "-f", "-i"}, []string{"fish", "-i"}
	return map[string]func(*testing.T) *terminal{
		"bash, for this session": start(bash, "source <(COMMAND completion bash)"),
		"bash, for good":         start(bash, "source bash_completion.d/COMMAND"),
		"zsh, for this session":  start(zsh, "autoload -U compinit; compinit -D -u", "source <(COMMAND completion zsh)"),
		"zsh, for good":          start(zsh, "fpath=("+d.dir+"/fpath $fpath); autoload -U compinit; compinit -D -u"),
		"fish, for this session": start(fish, "COMMAND completion fish | source"),
		"fish, for good":         start(fish),
	}
}

// TestShells: what is typed, with a tab at its end, becomes what is wanted.
func TestShells(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if _, err := exec.LookPath(shell); err == nil {
			continue
		}
		if env.Without("shells") {
			t.Logf("NOT RUN: %s needs %s, and SERVICETOOLS_WITHOUT names shells", t.Name(), shell)
			return
		}
		t.Fatalf("this test needs %s: run 'apt-get install bash zsh fish' as root, or set SERVICETOOLS_WITHOUT=shells to go without", shell)
	}
	d := newDesk(t)
	for name, start := range d.shells() {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			for _, row := range []struct{ typed, want string }{
				{"broker sta", "broker status"},
				{"broker config ch", "broker config check"},
				{"broker completion pow", "broker completion powershell"},
				{"broker workers --wat", "broker workers --watch"},
				{"broker workers --watch --int", "broker workers --watch --interval"},
				{"broker status --config serv", "broker status --config server.ini"},
				{"broker status --config=serv", "broker status --config=server.ini"},
				{"zcall desc", "zcall describe"},
				{"zcall bench --conc", "zcall bench --concurrency"},
				{"zcall --cert serv", "zcall --cert server.ini"},
				{"zcall completion fi", "zcall completion fish"},
				{"certtool gen", "certtool generate"},
				{"certtool revoke --pa", "certtool revoke --path"},
				{"certtool revoke --path fpa", "certtool revoke --path fpath"}, // bash and fish put a slash behind it,
				{"certtool completion z", "certtool completion zsh"},
			} {
				_ = os.Remove(d.notes)
				s.enter(row.typed + "\t\r")
				var noted []byte
				s.await(row.typed, func() (ok bool) {
					var err error
					noted, err = os.ReadFile(d.notes)
					return err == nil
				})
				if got := strings.TrimRight(string(noted), "/\n"); got != row.want {
					t.Errorf("%q becomes %q, not %q", row.typed, got, row.want)
				}
			}
		})
	}
}
