package clientsdk

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// handshakeWait is how long the peer may keep the client waiting: longer than
// a broker gives, since many clients come back at once after its restart.
const handshakeWait = dialWait

// dialer checks the options of security and returns what makes links.
func (cfg *config) dialer() (func(context.Context, string) (*zmtp.Link, error), error) {
	var mechanism zmtp.Mechanism = zmtp.Null{}
	switch {
	case cfg.insecure && !cfg.key.IsZero():
		return nil, errors.New("clientsdk: WithInsecure and keys are given together; choose one")
	case cfg.insecure:
	case cfg.key.IsZero():
		return nil, errors.New("clientsdk: no client key; give WithCertificate(*.key_secret), or WithInsecure for a broker without keys")
	case cfg.serverKey.IsZero():
		return nil, errors.New("clientsdk: no server key; give WithServerKey(server.key)")
	default:
		mechanism = &curve.Client{Key: cfg.key, ServerKey: cfg.serverKey}
	}
	link := &zmtp.Config{
		SocketType: "DEALER",
		Mechanism:  mechanism,
		Metadata:   zmtp.Metadata{{Name: message.PropertySDK, Value: message.ProtocolVersion}},
		Limits: zmtp.Limits{
			HandshakeWait: handshakeWait,
			MaxMessage:    cfg.maxMessage,
			// All that may be in flight may be sent again in one go.
			MaxPending: cfg.maxBytes + 8<<20,
		},
		Turns: new(zmtp.Turns),
	}
	return func(ctx context.Context, addr string) (*zmtp.Link, error) { return zmtp.Dial(ctx, addr, link) }, nil
}

// advise adds to a failure to connect what to do about it.
func advise(err error) error {
	if advice := Advice(err); advice != "" {
		return fmt.Errorf("%w; %s", err, advice)
	}
	return err
}

// Advice returns what a person can do about an error of Dial, or "".
func Advice(err error) string {
	var step *zmtp.StepError
	if !errors.As(err, &step) {
		return ""
	}
	var mechanism *zmtp.MechanismError
	switch step.Step {
	case zmtp.StepResolve:
		return "check the host name"
	case zmtp.StepConnect:
		return "check that the broker runs there, the port (8006 by default), and firewalls in between"
	case zmtp.StepGreeting:
		return "check that the port is a broker's frontend"
	case zmtp.StepServerKey:
		return "take server.key from the broker's public_keys folder: this one belongs to another server"
	case zmtp.StepAuthorise:
		if zmtp.IsTemporary(err) {
			return "it may be admitted in a while"
		}
		return "the broker's public_keys folder must hold this client's *.key file, of role client or admin; in place of a revoked key, have another made by certtool generate"
	case zmtp.StepMechanism:
		if errors.As(err, &mechanism) && mechanism.Theirs == "NULL" {
			return "the broker runs without encryption: make it secure, or use WithInsecure (zcall --insecure)"
		}
		if errors.As(err, &mechanism) {
			return "the broker wants keys: give a client certificate and the server key"
		}
	}
	return ""
}

func newBrokerInfo(addr string, a *message.Attached) BrokerInfo {
	return BrokerInfo{
		Addr:       addr,
		Instance:   hex.EncodeToString(a.Broker[:]),
		Version:    a.Version,
		Beat:       message.Beat(a.BeatMillis),
		MaxMessage: bounded(a.MaxMessage),
		MaxCalls:   bounded(a.MaxCalls),
	}
}

// bounded takes a count from the wire; what makes no sense counts as not told.
func bounded(n int64) int { return int(min(max(n, 0), 1<<30)) }
