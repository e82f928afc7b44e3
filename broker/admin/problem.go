package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// Problem is a failure in the words of the person who has to mend it.
type Problem struct {
	Step   string // the part that failed, such as "server key"
	What   string // what happened
	Remedy string // what to do about it; empty when What says it
	Err    error  // the cause
}

// Error returns what happened and the remedy, on one line.
func (p *Problem) Error() string {
	if p.Remedy == "" {
		return p.What
	}
	return p.What + ": " + p.Remedy
}

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.Err }

// Explain turns an error of Dial or Call into a *Problem. Errors of which it
// knows no more than they say themselves are returned as they are.
func Explain(t Target, err error) error {
	var step *zmtp.StepError
	if errors.As(err, &step) {
		what, remedy := explainStep(t, step)
		return &Problem{Step: string(step.Step), What: what, Remedy: remedy, Err: err}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &Problem{Step: "call", What: err.Error(), Remedy: "give it longer with --timeout, or look into the broker's log", Err: err}
	}
	var answer *message.Error
	if !errors.As(err, &answer) {
		return err
	}
	switch answer.Code {
	case message.Unauthorized:
		return &Problem{Step: "role", What: answer.Message,
			Remedy: "use an admin key; certtool generate --path DIR --users admin makes one", Err: err}
	case message.BadArgs, message.NoSuchMethod:
		return &Problem{Step: "call", What: answer.Message, Err: err}
	}
	return err
}

// explainStep says what a failed step of the handshake means.
func explainStep(t Target, e *zmtp.StepError) (what, remedy string) {
	var (
		refusal   *zmtp.Refusal
		mechanism *zmtp.MechanismError
		timeout   net.Error
		dns       *net.DNSError
	)
	slow := errors.Is(e.Err, zmtp.ErrTimeout) || errors.Is(e.Err, os.ErrDeadlineExceeded) || errors.Is(e.Err, context.DeadlineExceeded) ||
		errors.As(e.Err, &timeout) && timeout.Timeout()
	left := errors.Is(e.Err, io.EOF) || errors.Is(e.Err, io.ErrUnexpectedEOF) || errors.Is(e.Err, syscall.ECONNRESET)
	switch {
	case errors.Is(e.Err, context.Canceled):
		return "interrupted while reaching " + e.Addr, "run it again"
	case e.Step == zmtp.StepResolve && errors.As(e.Err, &dns):
		return fmt.Sprintf("the host name %q has no address", dns.Name), "correct the name, or use the host's IP address"
	case e.Step == zmtp.StepResolve:
		return e.Err.Error(), "write it as tcp://HOST:PORT"
	case errors.Is(e.Err, syscall.ECONNREFUSED):
		return "nothing listens at " + e.Addr, "start the broker with broker serve --config FILE, or correct the address"
	case e.Step == zmtp.StepConnect && slow:
		return e.Addr + " does not answer", "check the address, and that no firewall drops the connection"
	case e.Step == zmtp.StepConnect:
		return fmt.Sprintf("cannot connect to %s: %v", e.Addr, cause(e.Err)), "check the address and the network"
	case e.Step == zmtp.StepGreeting && slow:
		return e.Addr + " takes connections but says nothing", "another program has this port, or the broker is stopped; look who listens there"
	case e.Step == zmtp.StepGreeting && left:
		return e.Addr + " closes connections at once", "another program has this port, or too many handshakes from here failed; wait a second and try again"
	case e.Step == zmtp.StepGreeting:
		return e.Addr + " is not a ZeroMQ socket", "another program has this port; correct the address"
	case errors.As(e.Err, &mechanism) && t.Key.IsZero():
		return "the broker at " + e.Addr + " is secured", "give an admin key with --cert and its server.key with --server-key"
	case errors.As(e.Err, &mechanism):
		return "the broker at " + e.Addr + " runs without security", "leave --cert and --server-key away, or set secure = True there"
	case e.Step == zmtp.StepServerKey:
		return "server key mismatch: the broker at " + e.Addr + " holds another key", "copy public_keys/server.key from the broker's host and give it with --server-key"
	case errors.As(e.Err, &refusal) && zmtp.IsTemporary(refusal):
		return "the broker at " + e.Addr + " refuses this key for now: " + refusal.Reason, "run it again in a while"
	case errors.As(e.Err, &refusal) && refusal.Reason != "":
		return "the broker at " + e.Addr + " refuses this key: " + refusal.Reason, "use an admin key whose public file is in its public_keys_dir"
	case e.Step == zmtp.StepAuthorise:
		return "the broker at " + e.Addr + " does not admit this key", "put the key's public file into the broker's public_keys_dir"
	case slow:
		return "the broker at " + e.Addr + " did not finish the handshake in time", "it is overloaded, or its port is another program's; look into its log"
	}
	return e.Error(), "look into the broker's log"
}

// cause strips what an OpError repeats of the address.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
