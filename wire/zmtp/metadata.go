package zmtp

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Property names of RFC 37 "connection metadata". Names compare without
// regard to case, but libzmq wants them spelled exactly so.
const (
	PropertySocketType = "Socket-Type"
	PropertyIdentity   = "Identity"
)

// Limits of a peer's metadata, all within the INITIATE limit.
const (
	MaxProperties    = 32
	MaxPropertyName  = 255
	MaxPropertyValue = 1024
)

// Property is one name and value of a peer's metadata.
type Property struct {
	Name  string
	Value string
}

// Metadata is the ordered list of properties that a peer announces in its
// READY or INITIATE.
type Metadata []Property

// Get returns the value of the first property of that name, in any case.
func (m Metadata) Get(name string) (string, bool) {
	for _, p := range m {
		if strings.EqualFold(p.Name, name) {
			return p.Value, true
		}
	}
	return "", false
}

var (
	errMetadataShort = fmt.Errorf("%w: metadata is truncated", ErrProtocol)
	errMetadataLong  = fmt.Errorf("%w: metadata exceeds its limits", ErrProtocol)
	errMetadataName  = fmt.Errorf("%w: metadata has a property without a valid name", ErrProtocol)
	errMetadataTwice = fmt.Errorf("%w: metadata names a property twice", ErrProtocol)
)

// Append appends the wire form, name-length u8, name, value-length u32, value.
func (m Metadata) Append(dst []byte) []byte {
	for _, p := range m {
		if p.Name == "" || len(p.Name) > MaxPropertyName || len(p.Value) > MaxPropertyValue {
			panic("zmtp: property " + p.Name + " exceeds the limits of metadata")
		}
		dst = append(dst, byte(len(p.Name)))
		dst = append(dst, p.Name...)
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(p.Value)))
		dst = append(dst, p.Value...)
	}
	return dst
}

// ParseMetadata parses the wire form. Every length is compared with what is
// left before it is used.
func ParseMetadata(b []byte) (Metadata, error) {
	var m Metadata
	for len(b) > 0 {
		if len(m) == MaxProperties {
			return nil, errMetadataLong
		}
		n := int(b[0])
		if n == 0 {
			return nil, errMetadataName
		}
		if len(b) < 1+n+4 {
			return nil, errMetadataShort
		}
		name := b[1 : 1+n]
		if !validName(name) {
			return nil, errMetadataName
		}
		size := binary.BigEndian.Uint32(b[1+n:])
		b = b[1+n+4:]
		if size > MaxPropertyValue {
			return nil, errMetadataLong
		}
		if uint64(size) > uint64(len(b)) {
			return nil, errMetadataShort
		}
		if _, twice := m.Get(string(name)); twice {
			return nil, errMetadataTwice
		}
		m = append(m, Property{Name: string(name), Value: string(b[:size])})
		b = b[size:]
	}
	return m, nil
}

// validName follows RFC 37: name = 1*255name-char, letters, digits, "-", "_", ".", "+".
func validName(name []byte) bool {
	for _, c := range name {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '-' || c == '_' || c == '.' || c == '+':
		default:
			return false
		}
	}
	return true
}
