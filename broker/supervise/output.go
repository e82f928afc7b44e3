package supervise

import (
	"bytes"
	"io"
	"strings"
	"sync"

	"github.com/servicetools/servicetools/workersdk/config/logging"
)

// What is kept of a process's stderr as evidence.
const (
	evidenceLines = 20
	evidenceWidth = 512 // bytes of a line
)

// maxLine is the length at which a line of output is broken, in bytes.
const maxLine = 64 << 10

// lines passes whole lines on, so that streams that share a destination do not
// mix within a line. It is used by one goroutine.
type lines struct {
	emit func(line []byte) // line ends in "\n"
	part []byte            // of a line whose end has not come
}

// Write never fails: output that cannot be stored must not stop a worker.
func (l *lines) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		at := bytes.IndexByte(b, '\n')
		if at < 0 {
			at = len(b) - 1
		}
		l.part = append(l.part, b[:at+1]...)
		b = b[at+1:]
		if l.part[len(l.part)-1] == '\n' || len(l.part) >= maxLine {
			l.flush()
		}
	}
	return n, nil
}

// flush emits what has no line end.
func (l *lines) flush() {
	if len(l.part) == 0 {
		return
	}
	if l.part[len(l.part)-1] != '\n' {
		l.part = append(l.part, '\n')
	}
	l.emit(l.part)
	l.part = l.part[:0]
}

// evidence keeps the last lines of a process's stderr.
type evidence struct {
	mu   sync.Mutex
	kept []string // guarded by mu; the newest is last
}

func (e *evidence) add(line []byte) {
	text := strings.TrimRight(string(line[:min(len(line), evidenceWidth)]), "\r\n")
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kept = append(e.kept, strings.ToValidUTF8(text, "?"))
	if len(e.kept) > evidenceLines {
		e.kept = e.kept[1:]
	}
}

func (e *evidence) tail() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.kept
}

// destination returns what takes the lines of a worker's output.
func (s *Supervisor) destination(spec Spec) (func(line []byte), error) {
	path := s.outputPath(spec)
	if path == "" {
		prefix := spec.Name + " " + spec.ID + " | "
		return func(line []byte) {
			s.outputMu.Lock()
			defer s.outputMu.Unlock()
			_, _ = io.WriteString(s.config.Output, prefix+string(line))
		}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[path]
	if f == nil {
		var err error
		if f, err = logging.OpenFile(path, s.config.LogFiles.MaxSize, s.config.LogFiles.Backups); err != nil {
			return nil, err
		}
		s.files[path] = f
	}
	return func(line []byte) { _, _ = f.Write(line) }, nil
}
