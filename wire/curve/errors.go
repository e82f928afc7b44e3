package curve

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/servicetools/servicetools/wire/zmtp"
)

// What a client branches on when its handshake fails.
var (
	// ErrServerKey says that the peer does not hold the secret half of the
	// client's ServerKey: it closed the connection after HELLO, or its WELCOME
	// does not open.
	ErrServerKey = zmtp.ErrServerKey

	// ErrNotAdmitted says that the server closed the connection after INITIATE
	// without a word. It does so for keys that it does not know; a server that
	// stops at that moment looks the same. It comes with a *zmtp.Refusal.
	ErrNotAdmitted = errors.New("curve: closed after INITIATE")
)

var (
	errLowOrder    = errors.New("curve: a public key is of low order")
	errBox         = errors.New("curve: a box does not open")
	errHelloBox    = errors.New("curve: HELLO does not open: it was made for another server key")
	errNonce       = errors.New("curve: a nonce is not greater than the one before it")
	errNonceSpent  = errors.New("curve: the nonces of the connection are used up")
	errCookie      = errors.New("curve: INITIATE carries the cookie of another connection")
	errVouchClient = errors.New("curve: the vouch is for another transient client key")
	errVouchServer = errors.New("curve: the vouch is for another server")
	errNoKey       = errors.New("curve: no secret key is configured")
	errNoServerKey = errors.New("curve: no server key is configured")
	errNoAdmission = errors.New("curve: Server.Admit is nil, so nobody may enter")
)

// notAdmitted is the refusal by a server that closed without a word.
func notAdmitted() error {
	return fmt.Errorf("%w: %w", ErrNotAdmitted, &zmtp.Refusal{
		Status: "400",
		Reason: "the server does not know this key, or went away",
		Silent: true,
		ByPeer: true,
	})
}

// isClosed reports whether err is the peer's end of the connection, as opposed
// to a deadline or a fault of this side.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
