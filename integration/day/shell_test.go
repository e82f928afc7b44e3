//go:build linux

package day

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds everything that is waited for.
const patience = time.Minute

// shell is a bash that reads one command after the other.
type shell struct {
	t     *testing.T
	dir   string
	bash  *exec.Cmd
	input io.WriteCloser
	lines chan string // of stdout and stderr
}

func newShell(t *testing.T, dir string) *shell {
	t.Helper()
	s := &shell{t: t, dir: dir, bash: exec.Command("bash", "--norc", "--noprofile"), lines: make(chan string)}
	s.bash.Dir = dir
	s.bash.Env = []string{"HOME=" + dir, "PATH=" + filepath.Join(dir, "bin") + ":" + os.Getenv("PATH"), "LC_ALL=C.UTF-8"}
	s.bash.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	output, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.bash.Stdout, s.bash.Stderr = writer, writer
	if s.input, err = s.bash.StdinPipe(); err == nil {
		err = s.bash.Start()
	}
	writer.Close()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.lines)
		defer output.Close()
		for r := bufio.NewReader(output); ; {
			line, err := r.ReadString('\n')
			if line != "" {
				s.lines <- line
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-s.bash.Process.Pid, syscall.SIGKILL)
		_ = s.bash.Wait()
		for range s.lines {
		}
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "serve.log"))
			t.Logf("the broker's log:\n%s", log)
		}
	})
	return s
}

// mark ends the output of a command; its exit code follows.
const mark = "\x1e"

// run runs a command to its end, and returns what it printed and its exit code.
func (s *shell) run(command string) (output string, code int) {
	s.t.Helper()
	if _, err := fmt.Fprintf(s.input, "%s\nprintf '%s%%d\\n' $?\n", command, mark); err != nil {
		s.t.Fatal(err)
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		select {
		case line, ok := <-s.lines:
			if !ok {
				s.t.Fatalf("the shell ended in %s\n%s", command, output)
			}
			text, status, ended := strings.Cut(line, mark)
			if output += text; !ended {
				continue
			}
			code, err := strconv.Atoi(strings.TrimSpace(status))
			if err != nil {
				s.t.Fatalf("after %s the shell says %q", command, line)
			}
			return output, code
		case <-late.C:
			s.t.Fatalf("%s does not end\n%s", command, output)
		}
	}
}

// end ends the shell and returns the command lines of the programs that are left.
func (s *shell) end() (left []string) {
	s.t.Helper()
	_ = s.input.Close()
	for range s.lines { // which ends when no program holds it
	}
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, link := range links {
		if program, err := os.Readlink(link); err == nil && strings.HasPrefix(program, s.dir+"/") {
			line, _ := os.ReadFile(filepath.Join(filepath.Dir(link), "cmdline"))
			left = append(left, string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
	}
	return left
}
