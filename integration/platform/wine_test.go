//go:build linux

// Package platform runs the Windows programs of this repository, under wine.
package platform

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/servicetools/servicetools/integration/env"
)

const root = "../.."

// windows is a folder in which Windows programs run, and wine with a Windows of
// its own beside it. It ends with its test, and so does everything in it.
type windows struct {
	t      *testing.T
	dir    string // where the programs run and lie
	prefix string // of wine
}

// openWindows builds the packages for a new windows, or returns nil where wine is
// missing on purpose. The first program is tried out.
func openWindows(t *testing.T, packages ...string) *windows {
	t.Helper()
	if _, err := exec.LookPath("wine"); err != nil {
		if env.Without("wine") {
			t.Logf("NOT RUN: %s needs wine, and SERVICETOOLS_WITHOUT names it", t.Name())
			return nil
		}
		t.Fatal("this test needs wine: run 'apt-get install wine' as root, or set SERVICETOOLS_WITHOUT=wine to go without")
	}
	w := &windows{t: t, dir: t.TempDir(), prefix: t.TempDir()}
	t.Cleanup(w.end)
	// Wine would copy its own libraries to the prefix first, 700 MB. It finds them
	// without that while the prefix is being made, which it is from here on.
	w.write(filepath.Join(w.prefix, ".update-timestamp"), []byte("disable\n"))
	system := filepath.Join(w.prefix, "drive_c", "windows", "system32")
	if err := os.MkdirAll(system, 0o700); err != nil {
		t.Fatal(err)
	}
	w.build(packages...)
	if r := w.run(path.Base(packages[0]), "--version"); strings.Contains(r.stderr, "bcryptprimitives.dll not found") {
		w.write(filepath.Join(system, "bcryptprimitives.dll"),
			forwardingDLL("bcryptprimitives.dll", "ProcessPrng", "advapi32.SystemFunction036"))
	}
	return w
}

func (w *windows) write(path string, content []byte) {
	w.t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// build puts Windows programs into the folder.
func (w *windows) build(packages ...string) {
	w.t.Helper()
	build := exec.Command("go", append([]string{"build", "-o", w.dir + "/"}, packages...)...)
	build.Env = append(os.Environ(), "GOOS=windows", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		w.t.Fatalf("building for Windows: %v\n%s", err, out)
	}
}

// command prepares a program of the folder.
func (w *windows) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "wine", append([]string{"./" + program + ".exe"}, args...)...)
	c.Dir = w.dir
	c.Env = append(os.Environ(), "WINEPREFIX="+w.prefix, "WINEBOOTSTRAPMODE=1", "WINEDEBUG=-all", "DISPLAY=", "HOME="+w.prefix)
	return c
}

// result is what a program did.
type result struct {
	stdout, stderr string
	code           int
}

// patience bounds everything that is waited for.
const patience = time.Minute

// run runs a program to its end.
func (w *windows) run(program string, args ...string) result {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := w.command(ctx, program, args...)
	stdout, stderr := w.capture(c)
	err := c.Run()
	if c.ProcessState == nil || ctx.Err() != nil {
		w.t.Fatalf("%s %q: %v, %v\n%s", program, args, err, ctx.Err(), stderr())
	}
	return result{stdout(), stderr(), c.ProcessState.ExitCode()}
}

// capture has a program write to files: the pipes of the first program stay open
// in wine's own processes. It returns what was written by now.
func (w *windows) capture(c *exec.Cmd) (stdout, stderr func() string) {
	w.t.Helper()
	open := func() (*os.File, func() string) {
		f, err := os.CreateTemp(w.prefix, "out")
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { _ = f.Close() })
		return f, func() string {
			b, err := os.ReadFile(f.Name())
			if err != nil {
				w.t.Error(err)
			}
			return string(b)
		}
	}
	c.Stdout, stdout = open()
	c.Stderr, stderr = open()
	return stdout, stderr
}

// ok runs a program that must succeed, and returns its stdout.
func (w *windows) ok(program string, args ...string) string {
	w.t.Helper()
	r := w.run(program, args...)
	if r.code != 0 {
		w.t.Fatalf("%s %q exits with %d\n%s%s", program, args, r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// background is a program that runs until it is told to end, or the test ends.
type background struct {
	*exec.Cmd
	ended chan struct{}
}

func (w *windows) start(program string, args ...string) *background {
	w.t.Helper()
	b := &background{Cmd: w.command(context.Background(), program, args...), ended: make(chan struct{})}
	_, stderr := w.capture(b.Cmd)
	b.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := b.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		defer close(b.ended)
		_ = b.Wait() // its state says more
	}()
	w.t.Cleanup(func() {
		_ = b.Process.Kill()
		<-b.ended
		if w.t.Failed() {
			w.t.Logf("%s:\n%s", program, stderr())
		}
	})
	return b
}

// end tells the program to end by a signal, and returns its exit code, -1 if it
// was killed.
func (b *background) end(w *windows, signal syscall.Signal) int {
	w.t.Helper()
	if err := b.Process.Signal(signal); err != nil {
		w.t.Fatal(err)
	}
	select {
	case <-b.ended:
	case <-time.After(patience):
		w.t.Fatalf("%q does not end on %v", b.Args, signal)
	}
	return b.ProcessState.ExitCode()
}

// processes returns the command lines of all processes of this Windows that
// name a program, by id.
func (w *windows) processes(program string) map[int]string {
	found := make(map[int]string)
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if !bytes.Contains(environ, []byte("WINEPREFIX="+w.prefix+"\x00")) {
			continue
		}
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		if bytes.Contains(line, []byte(program)) && len(line) > 0 { // it is no zombie
			pid, _ := strconv.Atoi(filepath.Base(dir))
			found[pid] = string(bytes.ReplaceAll(line, []byte{0}, []byte{' '}))
		}
	}
	return found
}

// await returns when the condition holds.
func (w *windows) await(what string, condition func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain: %s; processes: %v", what, w.processes(""))
		}
	}
}

// end ends all processes of this Windows.
func (w *windows) end() {
	kill := exec.Command("wineserver", "-k")
	kill.Env = append(os.Environ(), "WINEPREFIX="+w.prefix)
	_ = kill.Run() // fails if there is none any more
	w.await("the end of wine", func() bool { return len(w.processes("")) == 0 })
}
