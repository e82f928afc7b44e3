package clientsdk

import (
	"context"
	"errors"
	"time"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// Error is the coded outcome of a call that did not end in a result. Find it
// with errors.As, or compare codes: errors.Is(err, clientsdk.ErrQueueFull).
type Error = message.Error

// Code names the kind of an Error.
type Code = message.Code

// StepError says in which step of connecting to a broker Dial failed.
type StepError = zmtp.StepError

// Sentinels for errors.Is, one for each code of the protocol.
var (
	ErrNoSuchMethod      = message.ErrNoSuchMethod      // no worker that ever registered serves the method
	ErrNoWorker          = message.ErrNoWorker          // the method is known, but no worker serves it now
	ErrBadArgs           = message.ErrBadArgs           // the arguments do not fit the method
	ErrApplication       = message.ErrApplication       // the method returned an error of its own
	ErrHandlerPanic      = message.ErrHandlerPanic      // the method panicked; its worker's log has the stack
	ErrDeadlineInQueue   = message.ErrDeadlineInQueue   // the deadline passed before a worker took the call
	ErrDeadlineInHandler = message.ErrDeadlineInHandler // the deadline passed after that
	ErrCancelled         = message.ErrCancelled         // the caller cancelled; also matches context.Canceled
	ErrQueueFull         = message.ErrQueueFull         // the broker's limits are reached; see RetryAfter
	ErrTooLarge          = message.ErrTooLarge          // the call or its result exceeds the message limit
	ErrWorkerLost        = message.ErrWorkerLost        // the worker vanished while it held the call
	ErrConnectionLost    = message.ErrConnectionLost    // link or broker vanished and nobody knows the outcome
	ErrUnauthorized      = message.ErrUnauthorized      // the key may not do this
	ErrMalformed         = message.ErrMalformed         // a message could not be read
	ErrShuttingDown      = message.ErrShuttingDown      // the broker stops, and there was no other one in time; or this client is closed
	ErrInternal          = message.ErrInternal          // a defect; the log of the other side has more
	ErrIdempotencyClash  = message.ErrIdempotencyClash  // the idempotency key was used with other arguments
	ErrMethodQuarantined = message.ErrMethodQuarantined // the call seems to kill its workers, and is not tried again
)

// NotExecuted reports whether err says that the method never ran, so that
// repeating the call is safe.
func NotExecuted(err error) bool { return executionIs(err, message.NotExecuted) }

// MaybeExecuted reports whether err leaves open if the method ran: repeating
// the call may do its work twice. It holds for every error that is not an *Error
// as well, such as one of an interceptor.
func MaybeExecuted(err error) bool {
	var e *Error
	return err != nil && (!errors.As(err, &e) || e.Execution() == message.MaybeExecuted)
}

// Executed reports whether err is the method's own answer: it ran to its end
// or panicked.
func Executed(err error) bool { return executionIs(err, message.Executed) }

func executionIs(err error, x message.Execution) bool {
	var e *Error
	return errors.As(err, &e) && e.Execution() == x
}

// RetryAfter returns how long the broker asks to wait before the call is
// repeated; false if err does not say.
func RetryAfter(err error) (time.Duration, bool) {
	var e *Error
	if !errors.As(err, &e) {
		return 0, false
	}
	var ms float64
	switch v := widen(e.Details["retry_after_ms"]).(type) {
	case int64:
		ms = float64(v)
	case uint64:
		ms = float64(v)
	case int: // of an interceptor or a test
		ms = float64(v)
	case float64:
		ms = v
	}
	if !(ms > 0) {
		return 0, false
	}
	return time.Duration(min(ms, float64(maxRetryAfter/time.Millisecond))) * time.Millisecond, true
}

// maxRetryAfter bounds what a broker may ask for.
const maxRetryAfter = time.Hour

// failure is an Error that comes with the end of the caller's context:
// errors.Is finds the code and the context's error alike.
type failure struct {
	coded *Error
	cause error
}

func (f *failure) Error() string   { return f.coded.Error() }
func (f *failure) Unwrap() []error { return []error{f.coded, f.cause} }

// withCause joins e with the context error that it stands for.
func withCause(ctx context.Context, e *Error) error {
	cause := ctx.Err()
	if cause != nil {
		if c := context.Cause(ctx); c != cause {
			cause = errors.Join(cause, c)
		}
	} else if e.Code == message.DeadlineInQueue || e.Code == message.DeadlineInHandler {
		cause = context.DeadlineExceeded
	}
	if cause == nil {
		return e
	}
	return &failure{e, cause}
}
