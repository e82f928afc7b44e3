package command

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// checkLine returns what is wrong with a line that a person is told to type.
func checkLine(line string) error {
	app := newApp(io.Discard, io.Discard)
	words := strings.Fields(line)
	commands, flags, at := app.Commands, app.Flags, 1
	for at < len(words) {
		next := find(commands, words[at])
		if next == nil {
			break
		}
		commands, flags, at = next.Subcommands, next.Flags, at+1
	}
	if at == 1 && len(words) > 1 && !strings.HasPrefix(words[1], "-") {
		return fmt.Errorf("%q: there is no command %s", line, words[1])
	}
	for _, word := range words[at:] {
		if word == "|" || word == ">" || word == ">>" || word == "#" || strings.HasPrefix(word, "&") {
			break
		}
		name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
		if strings.HasPrefix(word, "-") && name != "help" && name != "version" && !slices.Contains(flagNames(flags), name) {
			return fmt.Errorf("%q: there is no option %s", line, word)
		}
	}
	return nil
}

// commandLines returns the lines of a text that run broker.
func commandLines(text string) (lines []string) {
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(text) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
		if strings.HasPrefix(line, "broker ") {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestHelp_hasATrueExampleForEveryCommand(t *testing.T) {
	var walk func(path string, commands []*cli.Command)
	walk = func(path string, commands []*cli.Command) {
		for _, c := range commands {
			name := path + " " + c.Name
			if len(c.Subcommands) > 0 {
				walk(name, c.Subcommands)
				continue
			}
			_, examples, ok := strings.Cut(c.Description, "Example")
			if c.Usage == "" || !ok || len(commandLines(examples)) == 0 {
				t.Errorf("%s has no usage or no example", name)
			}
			for _, line := range commandLines(c.Description) {
				if err := checkLine(line); err != nil {
					t.Error(err)
				}
				if !strings.HasPrefix(line, name) {
					t.Errorf("the help of %s shows %q", name, line)
				}
			}
			for line := range strings.Lines(c.Description) {
				if len(line) > 100 {
					t.Errorf("%s: a line of the help is too wide: %q", name, line)
				}
			}
		}
	}
	walk("broker", newApp(io.Discard, io.Discard).Commands)
	for _, line := range commandLines(help) {
		if err := checkLine(line); err != nil {
			t.Error(err)
		}
	}
}

// TestDocs_showTrueCommands: what the documentation tells people to type is
// understood.
func TestDocs_showTrueCommands(t *testing.T) {
	for _, path := range []string{"../../docs/operations.md", "../../docs/a-day.md", "../../README.md", "../../deploy/README.md"} {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range commandLines(string(b)) {
			if err := checkLine(line); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
}

func TestHelp_andVersionGoToStdout(t *testing.T) {
	p := &place{T: t, dir: t.TempDir()}
	for _, args := range [][]string{{"--help"}, {"status", "--help"}, {"config", "show", "-h"}, {"--version"}} {
		if r := p.run(args...); r.code != ExitOK || r.out == "" || r.errOut != "" {
			t.Errorf("broker %s gives %+v", strings.Join(args, " "), r)
		}
	}
}

func TestFlagsFirst(t *testing.T) {
	app := newApp(io.Discard, io.Discard)
	for _, test := range []struct{ args, want string }{
		{"broker remove ID --now", "broker remove --now ID"},
		{"broker remove ID --config f --now", "broker remove --config f --now ID"},
		{"broker remove ID -o json", "broker remove -o json ID"},
		{"broker remove ID --output=json x", "broker remove --output=json ID x"},
		{"broker remove -- --now", "broker remove -- --now"},
		{"broker config show x --origin", "broker config show --origin x"},
		{"broker nope --now", "broker nope --now"},
		{"broker remove ID --generate-bash-completion", "broker remove ID --generate-bash-completion"},
		{"broker", "broker"},
	} {
		if got := strings.Join(flagsFirst(app, strings.Fields(test.args)), " "); got != test.want {
			t.Errorf("%s becomes %s, want %s", test.args, got, test.want)
		}
	}
}

func TestCompletion_completesInBash(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil && runtime.GOOS == "windows" {
		t.Skip("NOT RUN: Windows has no bash")
	}
	if err != nil {
		t.Fatal(err)
	}
	p := &place{T: t, dir: t.TempDir()}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p.write("completion.bash", p.run("completion", "bash").out)
	if err := os.WriteFile(filepath.Join(p.dir, "broker"), []byte("#!/bin/sh\nexec "+self+" \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ line, want string }{
		{"broker sta", "status"},
		{"broker con", "config"},
		{"broker config ch", "check"},
		{"broker remove --no", "--now"},
		{"broker remove ID --no", "--now"},
		{"broker config check --", "--config --output --help"},
		{"broker health -", "--config --server --cert --server-key --timeout --output --help"},
		{"broker completion z", "zsh"},
	} {
		words := strings.Fields(test.line)
		script := fmt.Sprintf("source %s/completion.bash; COMP_WORDS=(%s); COMP_CWORD=%d; _broker; echo ${COMPREPLY[@]}", p.dir, test.line, len(words)-1)
		c := exec.Command(bash, "-c", script)
		c.Env = append(os.Environ(), asBroker+"=1", "PATH="+p.dir+":"+os.Getenv("PATH"))
		out, err := c.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != test.want {
			t.Errorf("%q is completed to %q, want %q: %v", test.line, got, test.want, err)
		}
	}
}

func TestCompletion_isThereForEveryShell(t *testing.T) {
	p := &place{T: t, dir: t.TempDir()}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if r := p.run("completion", shell); r.code != ExitOK || !strings.Contains(r.out, "--generate-bash-completion") {
			t.Errorf("%s gets %+v", shell, r)
		}
	}
}
