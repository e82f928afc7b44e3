package keyring

import (
	"slices"
	"strings"

	"github.com/servicetools/servicetools/wire/curve"
)

// Allows reports whether the certificate's allow list has the method, exactly
// or by a pattern like "word_*". An empty list allows every method; what the
// role forbids is not the list's matter. A method with several names is allowed
// if one of them is.
func (e Entry) Allows(names ...string) bool {
	if len(e.methods) == 0 {
		return true
	}
	for _, pattern := range e.methods {
		start, open := strings.CutSuffix(pattern, "*")
		for _, name := range names {
			if name == pattern || open && strings.HasPrefix(name, start) {
				return true
			}
		}
	}
	return false
}

// Methods returns the allow list, nil when every method is allowed.
func (e Entry) Methods() []string { return slices.Clone(e.methods) }

// same reports whether sessions admitted by e may live on under other.
func (e Entry) same(other Entry) bool {
	return e.Role == other.Role && e.Name == other.Name && slices.Equal(e.methods, other.methods)
}

func newEntry(c *curve.Certificate, file string) Entry {
	e := Entry{Key: c.Public, Role: c.Role, Name: c.Name, File: file, methods: c.Methods}
	if e.Name == "" {
		e.Name = strings.TrimSuffix(file, curve.PublicExt)
	}
	return e
}
