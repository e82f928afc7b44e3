package curve

import (
	"crypto/sha256"
	"encoding/hex"
)

const (
	keySize = 32 // bytes of each Curve25519 key
	z85Size = 40 // characters of its Z85 form
)

// PublicKey is a permanent public key: C of a client, S of a server. The zero
// value is no key; no handshake succeeds with it.
type PublicKey [keySize]byte

// ParsePublicKey reads the 40 characters of Z85 that String writes. Its errors
// do not repeat the text.
func ParsePublicKey(text string) (PublicKey, error) {
	var k PublicKey
	err := decodeZ85((*[keySize]byte)(&k), text)
	return k, err
}

// String returns the key in Z85, 40 characters.
func (k PublicKey) String() string { return encodeZ85((*[keySize]byte)(&k)) }

// Fingerprint returns the first 128 bits of the key's SHA-256 as eight groups
// of hexadecimal digits, for people to compare and for logs.
func (k PublicKey) Fingerprint() string {
	sum := sha256.Sum256(k[:])
	text := make([]byte, 0, 8*4+7)
	for i := 0; i < 16; i += 2 {
		if i > 0 {
			text = append(text, ':')
		}
		text = hex.AppendEncode(text, sum[i:i+2])
	}
	return string(text)
}

// IsZero reports whether k is no key.
func (k PublicKey) IsZero() bool { return k == PublicKey{} }

// MarshalText returns the key in Z85.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the key from Z85.
func (k *PublicKey) UnmarshalText(text []byte) error {
	return decodeZ85((*[keySize]byte)(k), string(text))
}
