package chaos

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Event is the kind of a journal's line.
type Event byte

// The events. A client writes Sent before it makes a call, Answered for each
// outcome, Timeout when the SDK kept it waiting far beyond the deadline, and
// Left when it ended in order. A worker writes Received before the effect of a
// call, and Done after it.
const (
	Sent     Event = 'S'
	Answered Event = 'A'
	Timeout  Event = 'T'
	Left     Event = 'L'
	Received Event = 'R'
	Done     Event = 'D'
)

// Record is one line of a journal. Fields that an Event does not have are zero.
type Record struct {
	Event   Event
	At      time.Time // wall clock: all processes are on one host
	ID      string    // of the call, for ever
	Method  string    // Sent
	Code    string    // Answered: "ok", or the code of the error; Sent: hurried, or nothing
	Ran     string    // Answered with an error: no, maybe or yes
	Hash    string    // Answered with "ok", Done: of the result
	Attempt int       // Answered with "ok", Received, Done; 0 for the answer of several attempts, a stream
}

// The ends of the journals' file names.
const (
	clientJournal = ".client"
	workerJournal = ".worker"
)

// Codes of an outcome that the protocol does not know.
const (
	ok          = "ok"           // a result
	wrongAnswer = "wrong_answer" // the result of another call
	noCode      = "no_code"      // an error that is not a *clientsdk.Error
)

// hurried marks a call that has too little time, or is cancelled.
const hurried = "hurried"

// Journal appends records to a file of one process. Each record is one write
// to a file opened with O_APPEND, which survives the end of the process by any
// signal. It is safe for concurrent use.
type Journal struct{ file *os.File }

// OpenJournal opens or makes the file.
func OpenJournal(path string) (*Journal, error) {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("chaos: %w", err)
	}
	return &Journal{file}, nil
}

// Write appends one record, stamped now. A journal that cannot be written makes
// the whole run worthless, so the process ends.
func (j *Journal) Write(r Record) {
	r.At = time.Now()
	if _, err := j.file.WriteString(r.String()); err != nil {
		fmt.Fprintln(os.Stderr, "chaos: the journal cannot be written:", err)
		os.Exit(3)
	}
}

// String returns the line of r.
func (r Record) String() string {
	return fmt.Sprintf("%c %d %s %s %s %s %s %d\n", r.Event, r.At.UnixNano(),
		blank(r.ID), blank(r.Method), blank(r.Code), blank(r.Ran), blank(r.Hash), r.Attempt)
}

func blank(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// parseRecord is the reverse of Record.String.
func parseRecord(line string) (Record, error) {
	f := strings.Fields(line)
	if len(f) != 8 || len(f[0]) != 1 {
		return Record{}, fmt.Errorf("chaos: %.200q is no line of a journal", line)
	}
	for i := range f {
		if f[i] == "-" {
			f[i] = ""
		}
	}
	at, err := strconv.ParseInt(f[1], 10, 64)
	if err != nil {
		return Record{}, fmt.Errorf("chaos: time of %.200q: %w", line, err)
	}
	attempt, err := strconv.Atoi(f[7])
	if err != nil {
		return Record{}, fmt.Errorf("chaos: attempt of %.200q: %w", line, err)
	}
	return Record{
		Event: Event(f[0][0]), At: time.Unix(0, at), ID: f[2], Method: f[3], Code: f[4], Ran: f[5], Hash: f[6], Attempt: attempt,
	}, nil
}

// ReadJournals returns the records of all files that the pattern matches, by
// the name of the file without its extension.
func ReadJournals(pattern string) (map[string][]Record, error) {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	journals := make(map[string][]Record)
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
		if journals[name], err = readJournal(path); err != nil {
			return nil, err
		}
	}
	return journals, nil
}

// readJournal reads all whole lines: the last one may just be written.
func readJournal(path string) ([]Record, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var records []Record
	for line := range strings.Lines(string(b)) {
		if !strings.HasSuffix(line, "\n") {
			break
		}
		r, err := parseRecord(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		records = append(records, r)
	}
	return records, nil
}

// hashOf is the result that a call of id with a payload must have: the caller
// can verify it, and no two calls share it.
func hashOf(id string, payload []byte) string {
	h := sha256.New()
	h.Write([]byte(id))
	h.Write([]byte{0})
	h.Write(payload)
	return hex.EncodeToString(h.Sum(nil)[:16])
}
