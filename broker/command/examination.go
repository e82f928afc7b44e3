package command

import (
	"fmt"
	"io"
)

// The statuses of a finding.
const (
	statusOK   = "ok"
	statusNote = "note" // worth knowing; the broker works
	statusFail = "fail"
)

// finding is what one step of an examination found, and what to do about it.
type finding struct {
	Step    string `json:"step"`
	Status  string `json:"status"`
	Finding string `json:"finding"`
	Remedy  string `json:"remedy"`
}

// examination collects findings. Its zero value is ready to use.
type examination struct {
	findings []finding
	code     int // of the first that failed
}

func (e *examination) ok(step, format string, args ...any) {
	e.findings = append(e.findings, finding{step, statusOK, fmt.Sprintf(format, args...), ""})
}

func (e *examination) note(step, remedy, format string, args ...any) {
	e.findings = append(e.findings, finding{step, statusNote, fmt.Sprintf(format, args...), remedy})
}

// fail adds a fault; code is the exit code that it means.
func (e *examination) fail(code int, step, remedy, format string, args ...any) {
	e.findings = append(e.findings, finding{step, statusFail, fmt.Sprintf(format, args...), remedy})
	if e.code == ExitOK {
		e.code = code
	}
}

// foundError ends a command whose output has said already what is wrong.
type foundError struct{ code int }

func (e *foundError) Error() string { return "problems were found" }

// report prints the findings and returns the error that ends the command.
func (e *examination) report(w io.Writer, asJSON bool) error {
	if asJSON {
		if err := writeJSON(w, e.findings); err != nil {
			return err
		}
	} else {
		t := newTable("STEP", "STATUS", "FINDING")
		for _, f := range e.findings {
			text := f.Finding
			if f.Remedy != "" {
				text += ": " + f.Remedy
			}
			t.add(f.Step, f.Status, text)
		}
		if err := t.write(w); err != nil {
			return err
		}
	}
	if e.code != ExitOK {
		return &foundError{e.code}
	}
	return nil
}
