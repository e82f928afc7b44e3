package keyring

import (
	"bytes"
	"log/slog"
	"maps"
	"slices"

	"github.com/servicetools/servicetools/wire/curve"
)

// snapshot is one state of the keyring. It does not change once it is current.
type snapshot struct {
	admitted map[curve.PublicKey]Entry
	revoked  map[curve.PublicKey]string // the file that revokes the key
}

func (s *snapshot) lookup(key curve.PublicKey) (Entry, Status) {
	if _, ok := s.revoked[key]; ok {
		return Entry{}, Revoked
	}
	if e, ok := s.admitted[key]; ok {
		return e, Admitted
	}
	return Entry{}, Unknown
}

// ended returns the keys that last admitted, and s does not or not as the same.
func (s *snapshot) ended(last *snapshot) []curve.PublicKey {
	var keys []curve.PublicKey
	for key, before := range last.admitted {
		now, status := s.lookup(key)
		if status != Admitted || !now.same(before) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b curve.PublicKey) int { return bytes.Compare(a[:], b[:]) })
	return keys
}

// log writes one line for each key whose admission differs from last.
func (s *snapshot) log(log *slog.Logger, last *snapshot) {
	for _, key := range s.ended(last) {
		before := last.admitted[key]
		now, status := s.lookup(key)
		switch status {
		case Admitted:
			log.Info("key changed", attributes(now))
		case Revoked:
			log.Info("key revoked", attributes(before))
		default:
			log.Info("key removed", attributes(before))
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(s.admitted), func(a, b curve.PublicKey) int { return bytes.Compare(a[:], b[:]) }) {
		if _, known := last.admitted[key]; !known {
			log.Info("key admitted", attributes(s.admitted[key]))
		}
	}
}

func attributes(e Entry) slog.Attr {
	return slog.Group("key", "name", e.Name, "role", e.Role.String(), "file", e.File, "fingerprint", e.Key.Fingerprint())
}
