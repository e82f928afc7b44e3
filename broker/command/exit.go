package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// Exit codes of the command; the larger ones are those of sysexits.h, of
// timeout(1) and of a shell after SIGINT.
const (
	ExitOK           = 0
	ExitFailure      = 1   // it was refused or went wrong
	ExitUsage        = 2   // the command line is wrong
	ExitUnavailable  = 69  // no broker, or no worker, answers
	ExitQueueFull    = 75  // the broker is full: try again later
	ExitUnauthorized = 77  // the key may not do this
	ExitConfig       = 78  // a configuration or certificate is bad
	ExitDeadline     = 124 // out of time
	ExitInterrupted  = 130 // by SIGINT or SIGTERM
)

// usageError is a fault of the command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// configError marks a fault of a configuration or certificate.
type configError struct{ error }

func (e *configError) Unwrap() error { return e.error }

// badConfig marks err, which may be nil, as a fault of a configuration.
func badConfig(err error) error {
	if err == nil {
		return nil
	}
	return &configError{err}
}

// exitCode returns the code that tells a script what err is.
func exitCode(err error) int {
	var (
		found  *foundError
		usage  *usageError
		config *configError
		step   *zmtp.StepError
		answer *message.Error
	)
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &found):
		return found.code
	case errors.As(err, &usage):
		return ExitUsage
	case errors.As(err, &config):
		return ExitConfig
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	case zmtp.IsTemporary(err):
		return ExitQueueFull
	case errors.As(err, &step):
		return stepCode(step.Step)
	case errors.Is(err, context.DeadlineExceeded):
		return ExitDeadline
	case errors.As(err, &answer):
		return answerCode(answer.Code)
	}
	return ExitFailure
}

// stepCode is the code for a step of the connection that failed.
func stepCode(step zmtp.Step) int {
	switch step {
	case zmtp.StepMechanism, zmtp.StepServerKey:
		return ExitConfig
	case zmtp.StepAuthorise:
		return ExitUnauthorized
	}
	return ExitUnavailable
}

// answerCode is the code for an error that a broker answered with.
func answerCode(code message.Code) int {
	switch code {
	case message.NoWorker, message.ConnectionLost, message.ShuttingDown, message.WorkerLost:
		return ExitUnavailable
	case message.QueueFull:
		return ExitQueueFull
	case message.Unauthorized:
		return ExitUnauthorized
	case message.DeadlineInQueue, message.DeadlineInHandler:
		return ExitDeadline
	}
	return ExitFailure
}
