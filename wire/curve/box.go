package curve

import (
	"crypto/ecdh"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"golang.org/x/crypto/nacl/secretbox"
	//lint:ignore SA1019 NaCl's box itself takes its HSalsa20 from here
	"golang.org/x/crypto/salsa20/salsa"
)

const (
	nonceSize   = 24
	boxOverhead = secretbox.Overhead
)

// nonce is what makes each box of a key unique: a prefix that says which
// command it is in, and either a counter or random bytes.
type nonce [nonceSize]byte

// The prefixes of RFC 26. Short nonces add 8 bytes of counter, long ones 16
// random bytes. The RFC names CurveZMQMESSAGE- in one place and ...C and ...S in
// another; libzmq, and so everybody, uses the latter. (hazards A3.5)
const (
	prefixHello         = "CurveZMQHELLO---"
	prefixInitiate      = "CurveZMQINITIATE"
	prefixReady         = "CurveZMQREADY---"
	prefixMessageClient = "CurveZMQMESSAGEC"
	prefixMessageServer = "CurveZMQMESSAGES"
	prefixWelcome       = "WELCOME-"
	prefixVouch         = "VOUCH---"
)

func shortNonce(prefix string, counter uint64) (n nonce) {
	copy(n[:16], prefix)
	binary.BigEndian.PutUint64(n[16:], counter)
	return n
}

func longNonce(prefix string, random *[16]byte) (n nonce) {
	copy(n[:8], prefix)
	copy(n[8:], random[:])
	return n
}

// sent counts the short nonces that one side has used on a connection: one
// sequence for its handshake commands and its messages. (hazards A3.4)
type sent uint64

// next returns the next nonce. It fails rather than use one twice.
func (s *sent) next() (uint64, error) {
	if *s == math.MaxUint64 {
		return 0, errNonceSpent
	}
	*s++
	return uint64(*s), nil
}

// received is the last short nonce that the peer has used on a connection.
type received uint64

// accept refuses a nonce that is not greater than all before it. Gaps are fine.
func (r *received) accept(counter uint64) error {
	if counter <= uint64(*r) {
		return errNonce
	}
	*r = received(counter)
	return nil
}

// sharedKey is what a public key and another pair's secret key have in common,
// the precomputed key of NaCl's crypto_box. Computing it costs a scalar
// multiplication (about 0.06 ms); using it costs none.
type sharedKey [keySize]byte

// compute sets k for boxes between the owner of secret and the owner of public.
// It refuses the public keys of low order, for which every secret gives the
// same key, and with them the zero key.
func (k *sharedKey) compute(public *PublicKey, secret *ecdh.PrivateKey) error {
	remote, err := ecdh.X25519().NewPublicKey(public[:])
	if err != nil {
		return err
	}
	point, err := secret.ECDH(remote)
	if err != nil {
		return errLowOrder
	}
	var zero [16]byte
	salsa.HSalsa20((*[keySize]byte)(k), &zero, (*[keySize]byte)(point), &salsa.Sigma)
	clear(point)
	return nil
}

// seal appends Box [plain] to dst, which must not overlap plain.
func (k *sharedKey) seal(dst, plain []byte, n nonce) []byte {
	return secretbox.Seal(dst, plain, (*[nonceSize]byte)(&n), (*[keySize]byte)(k))
}

// open appends what is in the box to dst, which must not overlap it.
func (k *sharedKey) open(dst, box []byte, n nonce) ([]byte, error) {
	plain, ok := secretbox.Open(dst, box, (*[nonceSize]byte)(&n), (*[keySize]byte)(k))
	if !ok {
		return nil, errBox
	}
	return plain, nil
}

// newPrivateKey makes a key pair. Its secret cannot be wiped, for crypto/ecdh
// keeps it to itself; it is used all the same, since it computes the public half
// once and not with every shared key, as x/crypto does: a handshake costs half.
// A transient key is dropped with its handshake, and so does not outlive it long.
func newPrivateKey(random io.Reader) (*ecdh.PrivateKey, error) {
	var secret [keySize]byte
	if err := fill(random, secret[:]); err != nil {
		return nil, err
	}
	key, err := ecdh.X25519().NewPrivateKey(secret[:])
	clear(secret[:])
	if err != nil {
		return nil, fmt.Errorf("curve: making a key: %w", err)
	}
	return key, nil
}

func fill(random io.Reader, b []byte) error {
	if _, err := io.ReadFull(random, b); err != nil {
		return fmt.Errorf("curve: reading randomness: %w", err)
	}
	return nil
}

func equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
