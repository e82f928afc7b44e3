//go:build linux

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const root = "../../.."

// build puts the programs of the demo into a folder of the test.
func build(t *testing.T) (bin string) {
	t.Helper()
	bin = t.TempDir()
	packages := []string{root + "/broker/cmd/broker", root + "/certtool/cmd/certtool", root + "/workersdk/cmd/demoworker", "."}
	if out, err := exec.Command("go", append([]string{"build", "-o", bin + "/"}, packages...)...).CombinedOutput(); err != nil {
		t.Fatalf("building the demo: %v\n%s", err, out)
	}
	return bin
}

// running returns the command lines of the processes that run a program of a folder.
func running(t *testing.T, bin string) (found []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil || len(links) == 0 {
		t.Fatalf("no processes to look at: %v", err)
	}
	for _, link := range links {
		if program, err := os.Readlink(link); err == nil && strings.HasPrefix(program, bin+"/") {
			line, _ := os.ReadFile(filepath.Join(filepath.Dir(link), "cmdline"))
			found = append(found, string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
	}
	return found
}

// TestDemo_interrupted: a demo that is ended while it counts leaves no process,
// whichever way it ends. Ctrl-C tells the whole group of the terminal.
func TestDemo_interrupted(t *testing.T) {
	bin := build(t)
	for name, row := range map[string]struct {
		signal syscall.Signal
		code   int // as a shell has it
		says   string
	}{
		"Ctrl-C":     {syscall.SIGINT, 130, "interrupted; everything it started has been stopped"},
		"terminated": {syscall.SIGTERM, 130, "interrupted; everything it started has been stopped"},
		"killed":     {syscall.SIGKILL, 128 + int(syscall.SIGKILL), ""},
	} {
		t.Run(name, func(t *testing.T) {
			demo := exec.Command(filepath.Join(bin, "demo"), "-bin", bin, "-dir", filepath.Join(t.TempDir(), "demo"))
			demo.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			var stderr bytes.Buffer
			demo.Stderr = &stderr
			out, err := demo.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := demo.Start(); err != nil {
				t.Fatal(err)
			}
			var said []byte
			for piece := make([]byte, 1024); !bytes.Contains(said, []byte("through the broker")); {
				n, err := out.Read(piece)
				if said = append(said, piece[:n]...); err != nil {
					t.Fatalf("it ends before it counts: %v\n%s%s", err, said, stderr.Bytes())
				}
			}
			if n := len(running(t, bin)); n != 1+1+workers {
				t.Errorf("%d processes count, not a demo, a broker and %d workers: %q", n, workers, running(t, bin))
			}
			if err := syscall.Kill(-demo.Process.Pid, row.signal); err != nil {
				t.Fatal(err)
			}
			_ = demo.Wait() // its state says more
			status := demo.ProcessState.Sys().(syscall.WaitStatus)
			code := status.ExitStatus()
			if status.Signaled() {
				code = 128 + int(status.Signal())
			}
			if code != row.code || !strings.Contains(stderr.String(), row.says) {
				t.Errorf("it ends with %d and says\n%s", code, &stderr)
			}
			// What a killed one leaves is killed by others, a moment later.
			for row.signal == syscall.SIGKILL && len(running(t, bin)) > 0 {
				time.Sleep(time.Millisecond)
			}
			if left := running(t, bin); len(left) > 0 {
				t.Errorf("it leaves %q", left)
			}
		})
	}
}
