package curve

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Certificate is the content of a certificate file: a key pair, or the public
// half of one, and what its owner may do.
type Certificate struct {
	Public PublicKey
	Secret SecretKey // zero in a public certificate

	Role    Role
	Name    string    // for people; empty in files of other tools
	Created time.Time // zero in files of other tools
	Methods []string  // allow list, see ParseMethods; empty allows every method of the role
}

// The sections and keys of a certificate file. czmq and pyzmq know those of
// "curve"; both keep "metadata" for the application.
const (
	keyPublic  = "curve/public-key"
	keySecret  = "curve/secret-key"
	keyRole    = "metadata/role"
	keyName    = "metadata/name"
	keyCreated = "metadata/created"
	keyMethods = "metadata/methods"
)

// ParseCertificate reads the text of a certificate file. Unknown sections and
// keys are ignored; what is known must be right, so that half a file is never
// taken for a whole one. Its errors do not repeat keys.
func ParseCertificate(text []byte) (*Certificate, error) {
	values, err := parseZPL(text)
	if err != nil {
		return nil, err
	}
	c := new(Certificate)
	public, ok := values[keyPublic]
	if !ok {
		return nil, errors.New(`curve: not a certificate: section "curve" has no public-key`)
	}
	if c.Public, err = ParsePublicKey(public); err != nil {
		return nil, fmt.Errorf("public-key: %w", err)
	}
	if c.Public.IsZero() {
		return nil, errors.New("curve: the public-key is zero")
	}
	if secret, ok := values[keySecret]; ok {
		if c.Secret, err = ParseSecretKey(secret); err != nil {
			return nil, fmt.Errorf("secret-key: %w", err)
		}
		if c.Secret.Public() != c.Public {
			return nil, errors.New("curve: the secret-key is not that of the public-key")
		}
	}
	c.Name = values[keyName]
	if role := values[keyRole]; role != "" {
		if c.Role, err = ParseRole(role); err != nil {
			return nil, err
		}
	}
	if created := values[keyCreated]; created != "" {
		// Other tools may put their own form of date here; it decides nothing.
		c.Created, _ = time.Parse(time.RFC3339, created)
	}
	if methods, ok := values[keyMethods]; ok {
		if c.Methods, err = ParseMethods(methods); err != nil {
			return nil, err
		}
	}
	return c, nil
}

const publicBanner = `#   ****  Generated on %s by servicetools  ****
#   ZeroMQ CURVE Public Certificate
#   Exchange securely, or use a secure mechanism to verify the contents
#   of this file after exchange.

`

const secretBanner = `#   ****  Generated on %s by servicetools  ****
#   ZeroMQ CURVE **Secret** Certificate
#   DO NOT PROVIDE THIS FILE TO OTHER USERS nor change its permissions.

`

// publicText returns the text of the public certificate file.
func (c *Certificate) publicText() []byte { return c.text(publicBanner) }

// secretText returns the text of the secret certificate file.
func (c *Certificate) secretText() []byte {
	return fmt.Appendf(c.text(secretBanner), "    secret-key = \"%s\"\n", c.Secret.RevealZ85())
}

func (c *Certificate) text(banner string) []byte {
	var b bytes.Buffer
	created := c.Created.UTC().Format(time.RFC3339)
	fmt.Fprintf(&b, banner, created)
	fmt.Fprintf(&b, "metadata\n    role = \"%s\"\n    name = \"%s\"\n    created = \"%s\"\n", c.Role, c.Name, created)
	if len(c.Methods) > 0 {
		fmt.Fprintf(&b, "    methods = \"%s\"\n", strings.Join(c.Methods, ", "))
	}
	fmt.Fprintf(&b, "curve\n    public-key = \"%s\"\n", c.Public)
	return b.Bytes()
}
