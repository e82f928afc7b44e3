package zmtp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// SplitAddr returns the "host:port" of an endpoint "tcp://host:port". A "*"
// host means all interfaces.
func SplitAddr(endpoint string) (string, error) {
	address, ok := strings.CutPrefix(endpoint, "tcp://")
	if !ok {
		return "", fmt.Errorf("zmtp: endpoint %q is not of the form tcp://host:port", endpoint)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "" {
		return "", fmt.Errorf("zmtp: endpoint %q is not of the form tcp://host:port", endpoint)
	}
	if host == "*" {
		host = ""
	}
	return net.JoinHostPort(host, port), nil
}

// dialWait is the default of Limits.HandshakeWait for Dial. Whoever dials waits
// for a server that he has chosen, and that may be busy with a thousand others
// after its restart: giving up early would only send it more of them.
const dialWait = 10 * time.Second

// Dial connects to an endpoint "tcp://host:port" and performs the handshake.
// Its errors are *StepError. Limits.HandshakeWait is 10 s by default here.
func Dial(ctx context.Context, endpoint string, cfg *Config) (*Link, error) {
	address, err := SplitAddr(endpoint)
	if err != nil {
		return nil, &StepError{endpoint, StepResolve, err}
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		step := StepConnect
		var dns *net.DNSError
		if errors.As(err, &dns) {
			step = StepResolve
		}
		return nil, &StepError{endpoint, step, err}
	}
	if cfg.Limits.HandshakeWait == 0 {
		patient := *cfg
		patient.Limits.HandshakeWait = dialWait
		cfg = &patient
	}
	link, step, err := handshakeSteps(ctx, conn, cfg, nil)
	if err != nil {
		return nil, &StepError{endpoint, step, err}
	}
	return link, nil
}

// stepOf sharpens the step in which a handshake failed by what the failure was.
func stepOf(step Step, err error) Step {
	var refusal *Refusal
	switch {
	case errors.Is(err, ErrServerKey):
		return StepServerKey
	case errors.As(err, &refusal), errors.Is(err, ErrNotAdmitted):
		return StepAuthorise
	}
	return step
}
