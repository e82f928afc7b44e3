package curve

import (
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
)

// SecretKey is a permanent secret key, c or s, with its public key. Every way
// of printing it gives "[secret]"; RevealZ85 is the only way to write it out.
// Copies share the key. The zero value is no key.
type SecretKey struct {
	// key is a function for two reasons: == is not constant-time, so it must not
	// compile; and fmt cannot call the methods of an unexported field of somebody
	// else's struct, where it prints even what pointers point to, but no function.
	key    func() *ecdh.PrivateKey
	public PublicKey
}

const redacted = "[secret]"

// GenerateKey makes a new permanent key pair.
func GenerateKey() SecretKey {
	k, err := generateKey(rand.Reader)
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	return k
}

func generateKey(random io.Reader) (SecretKey, error) {
	key, err := newPrivateKey(random)
	if err != nil {
		return SecretKey{}, err
	}
	return newSecretKey(key), nil
}

func newSecretKey(key *ecdh.PrivateKey) SecretKey {
	return SecretKey{key: func() *ecdh.PrivateKey { return key }, public: PublicKey(key.PublicKey().Bytes())}
}

// ParseSecretKey reads the 40 characters of Z85 that RevealZ85 writes. Its
// errors do not repeat the text.
func ParseSecretKey(text string) (SecretKey, error) {
	var secret [keySize]byte
	if err := decodeZ85(&secret, text); err != nil {
		return SecretKey{}, err
	}
	key, err := ecdh.X25519().NewPrivateKey(secret[:])
	clear(secret[:])
	if err != nil {
		return SecretKey{}, fmt.Errorf("curve: secret key: %w", err)
	}
	return newSecretKey(key), nil
}

// RevealZ85 returns the secret itself in Z85, to be written to a file of mode
// 0600 and nowhere else. The zero key is "".
func (k SecretKey) RevealZ85() string {
	if k.IsZero() {
		return ""
	}
	secret := k.key().Bytes()
	defer clear(secret)
	return encodeZ85((*[keySize]byte)(secret))
}

// Public returns the public half of the pair.
func (k SecretKey) Public() PublicKey { return k.public }

// IsZero reports whether k is no key.
func (k SecretKey) IsZero() bool { return k.key == nil }

// Equal compares in constant time. The zero key equals only itself.
func (k SecretKey) Equal(other SecretKey) bool {
	if k.IsZero() || other.IsZero() {
		return k.IsZero() && other.IsZero()
	}
	return k.key().Equal(other.key())
}

// String returns "[secret]".
func (k SecretKey) String() string { return redacted }

// GoString returns "[secret]".
func (k SecretKey) GoString() string { return redacted }

// Format prints "[secret]" for every verb.
func (k SecretKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue returns "[secret]".
func (k SecretKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[secret]", so that JSON and XML do.
func (k SecretKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }
