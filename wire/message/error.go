package message

import (
	"errors"
	"fmt"

	"github.com/vmihailenco/msgpack/v5"
)

// Error is the coded outcome of a call, the same value on both sides of the
// wire. errors.Is compares codes only, so that
// errors.Is(err, message.ErrQueueFull) holds at the caller for a refusal made
// by the broker.
type Error struct {
	Code    Code
	Message string         // says what happened and what to do next
	Details map[string]any // evidence for programs; may be nil

	// Ran overrides the class of the code where the sender knows better, such
	// as a result that was too large to send back. Zero leaves it to the code.
	Ran *Execution
}

// Sentinels for errors.Is, one for each code.
var (
	ErrNoSuchMethod      = &Error{Code: NoSuchMethod}
	ErrNoWorker          = &Error{Code: NoWorker}
	ErrBadArgs           = &Error{Code: BadArgs}
	ErrApplication       = &Error{Code: Application}
	ErrHandlerPanic      = &Error{Code: HandlerPanic}
	ErrDeadlineInQueue   = &Error{Code: DeadlineInQueue}
	ErrDeadlineInHandler = &Error{Code: DeadlineInHandler}
	ErrCancelled         = &Error{Code: Cancelled}
	ErrQueueFull         = &Error{Code: QueueFull}
	ErrTooLarge          = &Error{Code: TooLarge}
	ErrWorkerLost        = &Error{Code: WorkerLost}
	ErrConnectionLost    = &Error{Code: ConnectionLost}
	ErrUnauthorized      = &Error{Code: Unauthorized}
	ErrMalformed         = &Error{Code: Malformed}
	ErrShuttingDown      = &Error{Code: ShuttingDown}
	ErrInternal          = &Error{Code: Internal}
	ErrIdempotencyClash  = &Error{Code: IdempotencyClash}
	ErrMethodQuarantined = &Error{Code: MethodQuarantined}
)

// Errorf returns an Error of the given code with a formatted message.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Error returns "code: message".
func (e *Error) Error() string {
	if e.Message == "" {
		return string(e.Code)
	}
	return string(e.Code) + ": " + e.Message
}

// Is reports whether target is an Error of the same code.
func (e *Error) Is(target error) bool {
	var t *Error
	return errors.As(target, &t) && t.Code == e.Code
}

// Execution says what is known about whether the method ran.
func (e *Error) Execution() Execution {
	if e.Ran != nil {
		return *e.Ran
	}
	return e.Code.Execution()
}

// With returns e after setting one detail.
func (e *Error) With(key string, value any) *Error {
	if e.Details == nil {
		e.Details = make(map[string]any)
	}
	e.Details[key] = value
	return e
}

// WithExecution returns e after stating whether the method ran.
func (e *Error) WithExecution(x Execution) *Error {
	e.Ran = &x
	return e
}

// From returns err itself if it is or wraps an Error, else an Internal error with its text.
func From(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return Errorf(Internal, "%v", err)
}

// wireError is the msgpack form: {"code", "message", "details"?, "executed"?}.
type wireError struct {
	Code     Code           `msgpack:"code"`
	Message  string         `msgpack:"message"`
	Details  map[string]any `msgpack:"details,omitempty"`
	Executed string         `msgpack:"executed,omitempty"`
}

// Append appends the msgpack form of e to dst. Details that msgpack cannot
// carry are dropped rather than losing the error.
func (e *Error) Append(dst []byte) []byte {
	w := wireError{Code: e.Code, Message: e.Message, Details: e.Details}
	if e.Ran != nil {
		w.Executed = e.Ran.String()
	}
	b, err := msgpack.Marshal(&w)
	if err != nil {
		w.Details = nil
		b, _ = msgpack.Marshal(&w) // strings only: cannot fail
	}
	return append(dst, b...)
}

// ParseError reads the msgpack form. A body that is not one becomes a
// Malformed error that claims nothing about execution: the peer did answer.
func ParseError(body []byte) *Error {
	var w wireError
	if err := unmarshal(body, &w); err != nil || w.Code == "" {
		return Errorf(Malformed, "the error of the peer is not a map with a code").WithExecution(MaybeExecuted)
	}
	e := &Error{Code: w.Code, Message: w.Message, Details: w.Details}
	if w.Executed != "" {
		x := executionOf(w.Executed)
		e.Ran = &x
	}
	return e
}
