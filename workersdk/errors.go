package workersdk

import (
	"context"
	"errors"
	"strings"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/workersdk/method"
)

// Error is a coded error. A method that returns one, or an error that wraps
// one, sends its code, message and details to the caller. The codes of the
// protocol are not a method's to use: under one of those, the caller gets
// application, with the code as details.cause.
type Error = message.Error

// Errorf returns an Error with a code of the application's own, such as
// "account_locked": a small letter, then up to 63 small letters, digits, "_",
// "-" and ".". Add details with With.
func Errorf(code, format string, args ...any) *Error {
	return message.Errorf(message.Code(code), format, args...)
}

// Limits of what a failing method may say.
const (
	maxErrorText = 8 << 10
	maxDetails   = 64 << 10
	maxCode      = 64
)

// Why a context ends early; context.Cause returns one of these.
var (
	errDeadline = message.Errorf(message.DeadlineInHandler, "the caller's deadline passed while the method ran")
	errCancel   = message.Errorf(message.Cancelled, "the caller cancelled the call")
	errFenced   = message.Errorf(message.WorkerLost, "the broker lost this worker for a while and gave the call up")
	errOrphaned = message.Errorf(message.ConnectionLost, "the broker was restarted and cannot be told of this call")
	errLeaving  = message.Errorf(message.ShuttingDown, "the worker left before the method had finished").
			WithExecution(message.MaybeExecuted)
)

// What a call that never ran ends in.
var (
	errExpired = message.Errorf(message.DeadlineInQueue, "the deadline passed before the method began; it did not run")
	errNotRun  = message.Errorf(message.Cancelled, "the call was cancelled before the method began").
			WithExecution(message.NotExecuted)
	errDraining = message.Errorf(message.ShuttingDown, "the worker leaves and has not begun the call; call again")
)

// coded returns what the caller is told about err, the failure of c.
func (w *Worker) coded(ctx context.Context, c *call, err error) *message.Error {
	switch e := err.(type) {
	case *message.Error: // ours, or an interceptor's
		return e
	case *method.PanicError:
		return w.panicked(c, e)
	}
	if ctx != nil && ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		if cause, ok := context.Cause(ctx).(*message.Error); ok {
			return cause
		}
	}
	coded := message.Errorf(message.Application, "%s", short(err.Error())).WithExecution(message.Executed)
	var own *message.Error
	if !errors.As(err, &own) {
		return coded
	}
	for k, v := range own.Details {
		// Through our encoder, which survives what is cyclic or cannot be sent.
		if b, err := method.Append(nil, v, maxDetails); err == nil {
			coded.With(k, msgpack.RawMessage(b))
		}
	}
	if own.Message != "" && err.Error() == own.Error() { // not wrapped: the text need not repeat the code
		coded.Message = short(own.Message)
	}
	if isOwnCode(own.Code) {
		coded.Code = own.Code
	} else {
		coded.With("cause", string(own.Code))
	}
	return coded
}

// panicked logs a panic of c, and returns what the caller is told about it.
func (w *Worker) panicked(c *call, e *method.PanicError) *message.Error {
	name := c.method.Info().Name
	w.log.Error("a method panicked", "method", name, "call", c.id(), "panic", e.Error(), "stack", string(e.Stack))
	return message.Errorf(message.HandlerPanic, "%s: %s; the stack is in the log of worker %s under call %s", name, e.Error(), w.ID(), c.id())
}

// isOwnCode reports whether a method may use the code.
func isOwnCode(code message.Code) bool {
	if code.Known() || code == "" || len(code) > maxCode {
		return false
	}
	for i, c := range []byte(code) {
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || !(c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.')) {
			return false
		}
	}
	return true
}

func short(text string) string {
	if len(text) > maxErrorText {
		text = text[:maxErrorText] + "..."
	}
	return strings.ToValidUTF8(text, "\ufffd")
}
