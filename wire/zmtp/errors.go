package zmtp

import (
	"errors"
	"fmt"
)

// Causes for which a link ends, for errors.Is.
var (
	ErrClosed     = errors.New("zmtp: link is closed")
	ErrSlowPeer   = errors.New("zmtp: the peer does not read what it is sent")
	ErrSilent     = errors.New("zmtp: the peer is silent: no byte within its liveness bound")
	ErrTooLarge   = errors.New("zmtp: message exceeds the limit")
	ErrProtocol   = errors.New("zmtp: the peer breaks the protocol")
	ErrTimeout    = errors.New("zmtp: the peer did not finish the handshake in time")
	ErrIncomplete = errors.New("zmtp: the peer did not finish a message in time")

	// ErrServerKey ends a client's CURVE handshake whose HELLO was not answered:
	// the server could not open it, since it was made for another server's key.
	ErrServerKey = errors.New("zmtp: server key mismatch: the peer does not hold the secret of the given server key")

	// ErrNotAdmitted ends a client's handshake when the server closes the
	// connection where it should have admitted the client's key.
	ErrNotAdmitted = errors.New("zmtp: the server closed the connection instead of admitting this key: it does not know it, or went away")
)

// Step names a part of Dial, for messages that say what failed.
type Step string

// The steps of Dial, in order.
const (
	StepResolve   Step = "name resolution"
	StepConnect   Step = "connect"
	StepGreeting  Step = "greeting"
	StepMechanism Step = "mechanism"
	StepServerKey Step = "server key"
	StepAuthorise Step = "authorisation"
)

// StepError is a failure of Dial.
type StepError struct {
	Addr string
	Step Step
	Err  error
}

// Error names the address, the step and the cause.
func (e *StepError) Error() string {
	return fmt.Sprintf("%s: %s failed: %v", e.Addr, e.Step, e.Err)
}

// Unwrap returns the cause.
func (e *StepError) Unwrap() error { return e.Err }

// MechanismError says that the two sides of a connection want different mechanisms.
type MechanismError struct{ Ours, Theirs string }

// Error names both mechanisms and the remedy.
func (e *MechanismError) Error() string {
	return fmt.Sprintf("zmtp: this side speaks %s, the peer %s: give both sides keys, or neither", e.Ours, e.Theirs)
}

// PanicError is a panic of a message's handler, contained by Run.
type PanicError struct {
	Value any
	Stack []byte
}

// Error describes the panic without its stack.
func (e *PanicError) Error() string { return fmt.Sprintf("zmtp: handler panicked: %v", e.Value) }
