//go:build linux

// Package day lives through docs/a-day.md: it types its commands into a shell and
// compares what they print.
package day

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/servicetools/servicetools/integration/env"
)

var update = flag.Bool("update", false, "write what the commands print into the document")

const (
	root     = "../.."
	document = root + "/docs/a-day.md"
	stamp    = "github.com/servicetools/servicetools/wire/version.stamped=v0.1.0"
)

// TestDay: the document says what happens.
func TestDay(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	steps := parse(t, string(text))
	host := env.Loopback() // in the place of localhost, whose ports may be taken
	s := newShell(t, build(t))
	var lived strings.Builder
	for _, step := range steps {
		lived.WriteString(step.before)
		command := strings.ReplaceAll(step.command, "localhost", host)
		switch {
		case step.until:
			for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
				out, code := s.run(command)
				if code == 0 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("waited in vain until %s\n%s", step.command, out)
				}
			}
		case step.command != "":
			out, _ := s.run(command)
			out = strings.ReplaceAll(out, host, "localhost")
			got, want := normal(out), normal(step.output)
			if got == want {
				out = step.output
			} else if !*update {
				t.Errorf("%s prints\n%swhich is, compared,\n%snot\n%s", step.command, out, got, want)
			}
			lived.WriteString(out)
		}
	}
	if left := s.end(); len(left) > 0 {
		t.Errorf("the day leaves processes: %q", left)
	}
	if *update {
		if err := os.WriteFile(document, []byte(lived.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// build makes the folder of the day, with the programs in bin.
func build(t *testing.T) (dir string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "build", "-ldflags", "-X "+stamp, "-o", filepath.Join(dir, "bin")+"/",
		root+"/broker/cmd/broker", root+"/certtool/cmd/certtool", root+"/clientsdk/cmd/zcall", root+"/workersdk/cmd/demoworker").CombinedOutput()
	if err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return dir
}
