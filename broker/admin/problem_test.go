package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

func TestExplain_namesTheThingAndTheRemedy(t *testing.T) {
	plain, secured := Target{}, Target{Key: curve.GenerateKey()}
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for _, test := range []struct {
		target Target
		step   zmtp.Step
		err    error
		what   string
		remedy string
	}{
		{plain, zmtp.StepResolve, &net.DNSError{Name: "nowhere"}, `"nowhere" has no address`, "correct the name"},
		{plain, zmtp.StepResolve, errors.New("is odd"), "is odd", "tcp://HOST:PORT"},
		{plain, zmtp.StepConnect, refused, "nothing listens at tcp://h:1", "broker serve"},
		{plain, zmtp.StepConnect, context.DeadlineExceeded, "does not answer", "firewall"},
		{plain, zmtp.StepConnect, &net.OpError{Op: "dial", Err: syscall.ENETUNREACH}, "unreachable", "the network"},
		{plain, zmtp.StepGreeting, zmtp.ErrTimeout, "says nothing", "another program"},
		{plain, zmtp.StepGreeting, io.EOF, "closes connections at once", "another program"},
		{plain, zmtp.StepGreeting, zmtp.ErrProtocol, "is not a ZeroMQ socket", "correct the address"},
		{plain, zmtp.StepMechanism, &zmtp.MechanismError{Ours: "NULL", Theirs: "CURVE"}, "is secured", "--cert"},
		{secured, zmtp.StepMechanism, &zmtp.MechanismError{Ours: "CURVE", Theirs: "NULL"}, "without security", "leave --cert"},
		{secured, zmtp.StepMechanism, zmtp.ErrTimeout, "did not finish the handshake", "overloaded"},
		{secured, zmtp.StepServerKey, zmtp.ErrServerKey, "server key mismatch", "server.key"},
		{secured, zmtp.StepAuthorise, &zmtp.Refusal{Status: "400", Reason: "key revoked", ByPeer: true}, "refuses this key: key revoked", "admin key"},
		{secured, zmtp.StepAuthorise, &zmtp.Refusal{Status: "300", Reason: "too many connections", ByPeer: true}, "for now: too many connections", "in a while"},
		{secured, zmtp.StepAuthorise, zmtp.ErrNotAdmitted, "does not admit this key", "public_keys_dir"},
		{secured, zmtp.StepAuthorise, context.Canceled, "interrupted", "again"},
	} {
		step := &zmtp.StepError{Addr: "tcp://h:1", Step: test.step, Err: test.err}
		var p *Problem
		if !errors.As(Explain(test.target, fmt.Errorf("wrapped: %w", step)), &p) {
			t.Errorf("%v is not explained", step)
			continue
		}
		if p.Step != string(test.step) || !strings.Contains(p.What, test.what) || !strings.Contains(p.Remedy, test.remedy) {
			t.Errorf("%v is explained as %q: %q, want %q: %q", step, p.What, p.Remedy, test.what, test.remedy)
		}
		if !errors.Is(p, test.err) || strings.Contains(p.Error(), "\n") {
			t.Errorf("%q lost its cause or is not one line", p)
		}
	}
}

func TestExplain_keepsTheAnswersOfTheBroker(t *testing.T) {
	for code, want := range map[message.Code]string{
		message.Unauthorized: "told: use an admin key",
		message.BadArgs:      "told",
		message.NoSuchMethod: "told",
		message.QueueFull:    "queue_full: told",
	} {
		err := Explain(Target{}, message.Errorf(code, "told"))
		if !strings.HasPrefix(err.Error(), want) || !errors.Is(err, &message.Error{Code: code}) {
			t.Errorf("%s is explained as %q", code, err)
		}
	}
	if err := Explain(Target{}, context.DeadlineExceeded); !strings.Contains(err.Error(), "--timeout") {
		t.Errorf("a deadline is explained as %q", err)
	}
}
