package message

// Code names the outcome of a call that did not end in a result. Codes are
// part of the protocol: the list only grows, and no code changes its meaning.
type Code string

// The codes of the protocol. Each comment says when a caller sees it.
const (
	NoSuchMethod      Code = "no_such_method"       // no worker that ever registered here serves the method
	NoWorker          Code = "no_worker"            // the method is known, but no worker serves it now
	BadArgs           Code = "bad_args"             // the arguments do not fit the method's signature
	Application       Code = "application"          // the method ran and returned an error of its own
	HandlerPanic      Code = "handler_panic"        // the method ran and panicked; the stack is in the worker's log
	DeadlineInQueue   Code = "deadline_in_queue"    // the deadline passed before a worker took the call
	DeadlineInHandler Code = "deadline_in_handler"  // the deadline passed after hand-over to a worker
	Cancelled         Code = "cancelled"            // the caller cancelled, or did not come back in time
	QueueFull         Code = "queue_full"           // a limit on calls or bytes was reached; retry later
	TooLarge          Code = "too_large"            // a request or a result exceeds the message limit
	WorkerLost        Code = "worker_lost"          // the worker vanished while it held the call
	ConnectionLost    Code = "connection_lost"      // the link or the broker vanished and nobody knows the outcome
	Unauthorized      Code = "unauthorized"         // the key may not do this
	Malformed         Code = "malformed"            // the message breaks the protocol
	ShuttingDown      Code = "shutting_down"        // the broker or the worker drains and takes no new call
	Internal          Code = "internal"             // a defect of ours; the log has the details
	IdempotencyClash  Code = "idempotency_conflict" // the idempotency key was used with another payload
	MethodQuarantined Code = "quarantined"          // the call was lost with a worker that it had for itself, and has no attempt left
)

// Execution says what is known about whether the method ran.
type Execution uint8

// The classes of an outcome. The zero value makes no claim.
const (
	MaybeExecuted Execution = iota // the method may have run, wholly or in part: repeating may do its work twice
	NotExecuted                    // the method never ran: repeating is safe
	Executed                       // the method ran and this is its own answer
)

// String returns "maybe", "no" or "yes", the values of the wire's "executed" key.
func (e Execution) String() string {
	switch e {
	case NotExecuted:
		return "no"
	case Executed:
		return "yes"
	}
	return "maybe"
}

// executionOf reads the wire form; an unknown word makes no claim.
func executionOf(s string) Execution {
	switch s {
	case "no":
		return NotExecuted
	case "yes":
		return Executed
	}
	return MaybeExecuted
}

// classes holds the class of each code when the error does not say otherwise.
// A code that is absent is not ours: it is a newer peer's, and claims nothing.
var classes = map[Code]Execution{
	NoSuchMethod:      NotExecuted,
	NoWorker:          NotExecuted,
	BadArgs:           NotExecuted,
	Application:       Executed,
	HandlerPanic:      Executed,
	DeadlineInQueue:   NotExecuted,
	DeadlineInHandler: MaybeExecuted,
	Cancelled:         MaybeExecuted,
	QueueFull:         NotExecuted,
	TooLarge:          NotExecuted,
	WorkerLost:        MaybeExecuted,
	ConnectionLost:    MaybeExecuted,
	Unauthorized:      NotExecuted,
	Malformed:         NotExecuted,
	ShuttingDown:      NotExecuted,
	Internal:          MaybeExecuted,
	IdempotencyClash:  NotExecuted,
	MethodQuarantined: MaybeExecuted,
}

// Known reports whether c is one of the protocol's codes.
func (c Code) Known() bool {
	_, ok := classes[c]
	return ok
}

// Execution returns the class of c where the error itself does not override it.
func (c Code) Execution() Execution { return classes[c] }
