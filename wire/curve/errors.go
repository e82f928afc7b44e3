package curve

import (
	"errors"
	"io"
	"syscall"
)

var (
	errLowOrder    = errors.New("a public key is of low order")
	errBox         = errors.New("a box does not open")
	errHelloBox    = errors.New("curve: HELLO does not open: it was made for another server key")
	errNonce       = errors.New("a nonce is not greater than the one before it")
	errNonceSpent  = errors.New("curve: the nonces of the connection are used up")
	errCookie      = errors.New("curve: INITIATE carries the cookie of another connection")
	errVouchClient = errors.New("curve: the vouch is for another transient client key")
	errVouchServer = errors.New("curve: the vouch is for another server")
	errNoKey       = errors.New("curve: no secret key is configured")
	errNoServerKey = errors.New("curve: no server key is configured")
	errNoAdmission = errors.New("curve: Server.Admit is nil, so nobody may enter")
)

// isClosed reports whether err is the peer's end of the connection, as opposed
// to a deadline or a fault of this side.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
