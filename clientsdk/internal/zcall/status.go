package zcall

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// The exit statuses, part of the contract with people's scripts.
const (
	exitOK           = 0
	exitFailed       = 1 // the method returned an error
	exitUsage        = 2
	exitUnavailable  = 69 // no worker or no broker
	exitQueueFull    = 75
	exitUnauthorised = 77
	exitConfig       = 78
	exitDeadline     = 124
	exitInterrupted  = 130
)

// usageMistake is a command line that cannot be understood.
type usageMistake struct{ message, hint string }

func (e *usageMistake) Error() string { return e.message }

// configMistake is a key file or endpoint that cannot be used.
type configMistake struct {
	message, hint string
	err           error
}

func (e *configMistake) Error() string { return e.message }
func (e *configMistake) Unwrap() error { return e.err }

// silent is a failure that has been reported already.
type silent struct{ status int }

func (e *silent) Error() string { return fmt.Sprintf("exit status %d", e.status) }

// dialFailure marks what Dial refused before it made a connection.
func dialFailure(err error) error {
	var step *clientsdk.StepError
	var coded *clientsdk.Error
	if errors.As(err, &step) || errors.As(err, &coded) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, curve.ErrExposed) ||
		strings.HasPrefix(err.Error(), "clientsdk: ") {
		return &configMistake{message: strings.TrimPrefix(err.Error(), "clientsdk: "), err: err}
	}
	return err
}

// report prints err as one line and a hint, and returns the exit status.
func report(ctx context.Context, w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	var done *silent
	if errors.As(err, &done) {
		return done.status
	}
	if ctx.Err() != nil {
		fmt.Fprintln(w, "zcall: interrupted")
		return exitInterrupted
	}
	line, hint := explain(err)
	fmt.Fprintf(w, "zcall: %s\n", oneLine(line))
	if hint != "" {
		fmt.Fprintf(w, "  hint: %s\n", oneLine(hint))
	}
	return status(err)
}

// explain returns "code: message" of err, and what to do about it.
func explain(err error) (line, hint string) {
	var usage *usageMistake
	var config *configMistake
	var step *clientsdk.StepError
	var coded *clientsdk.Error
	switch {
	case errors.As(err, &usage):
		return "usage: " + usage.message, usage.hint
	case errors.As(err, &config):
		return "config: " + config.message, config.hint
	case errors.As(err, &step):
		return stepCode(step) + ": " + step.Error(), clientsdk.Advice(err)
	case errors.As(err, &coded):
		return err.Error(), hintFor(coded)
	}
	return "internal: " + err.Error(), ""
}

// stepCode returns the code that a failure to connect amounts to.
func stepCode(step *clientsdk.StepError) string {
	if zmtp.IsTemporary(step) {
		return string(message.QueueFull)
	}
	switch step.Step {
	case zmtp.StepServerKey, zmtp.StepAuthorise, zmtp.StepMechanism:
		return string(message.Unauthorized)
	}
	return "no_broker"
}

func hintFor(e *clientsdk.Error) string {
	switch e.Code {
	case message.NoSuchMethod:
		return "zcall describe lists what can be called"
	case message.NoWorker:
		return "start a worker that serves the method, or see zcall describe"
	case message.BadArgs:
		return "zcall describe METHOD shows the arguments"
	case message.QueueFull:
		if after, ok := clientsdk.RetryAfter(e); ok {
			return fmt.Sprintf("try again in %v", after)
		}
		return "try again later"
	case message.DeadlineInQueue:
		return "give --timeout more time, or the method more workers"
	case message.DeadlineInHandler:
		return "give --timeout more time; the method may have run"
	case message.HandlerPanic:
		return "the worker's log has the stack"
	case message.WorkerLost, message.ConnectionLost:
		return "the method may have run; --idempotent lets the broker run it again"
	}
	return ""
}

// status returns the exit status for err.
func status(err error) int {
	var usage *usageMistake
	var config *configMistake
	var step *clientsdk.StepError
	var coded *clientsdk.Error
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &config):
		return exitConfig
	case errors.As(err, &step):
		switch stepCode(step) {
		case string(message.Unauthorized):
			return exitUnauthorised
		case string(message.QueueFull):
			return exitQueueFull
		}
		return exitUnavailable
	case !errors.As(err, &coded):
		return exitFailed
	}
	switch coded.Code {
	case message.NoSuchMethod, message.NoWorker, message.WorkerLost, message.ConnectionLost, message.ShuttingDown:
		return exitUnavailable
	case message.QueueFull:
		return exitQueueFull
	case message.Unauthorized:
		return exitUnauthorised
	case message.DeadlineInQueue, message.DeadlineInHandler:
		return exitDeadline
	}
	return exitFailed
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
