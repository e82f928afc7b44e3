package zmtp

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestMetadata(t *testing.T) {
	many := func(n int) (b []byte) {
		for i := range n {
			b = append(b, 2, 'a'+byte(i/26), 'a'+byte(i%26), 0, 0, 0, 0)
		}
		return b
	}
	for _, test := range []struct {
		name  string
		bytes string
		want  error
	}{
		{"none", "", nil},
		{"one", "\x0bSocket-Type\x00\x00\x00\x03REQ", nil},
		{"an empty value", "\x08Identity\x00\x00\x00\x00", nil},
		{"32 properties", string(many(32)), nil},
		{"33 properties", string(many(33)), errMetadataLong},
		{"a value of 1024", "\x01a\x00\x00\x04\x00" + strings.Repeat("v", 1024), nil},
		{"a value of 1025", "\x01a\x00\x00\x04\x01" + strings.Repeat("v", 1025), errMetadataLong},
		{"a value length of 2^32-1", "\x01a\xff\xff\xff\xff", errMetadataLong},
		{"A1b2: a value shorter than its length", "\x0bSocket-Type\x00\x00\x00\x05REQ", errMetadataShort},
		{"the value length is cut", "\x01a\x00\x00\x00", errMetadataShort},
		{"the name is cut", "\x0bSocket", errMetadataShort},
		{"a name length alone", "\xff", errMetadataShort},
		{"an empty name", "\x00\x00\x00\x00\x00", errMetadataName},
		{"a name with a space", "\x02a b\x00\x00\x00\x00", errMetadataName},
		{"a name with a zero", "\x02a\x00\x00\x00\x00\x00", errMetadataName},
		{"the same name twice in other letters", "\x01a\x00\x00\x00\x00\x01A\x00\x00\x00\x00", errMetadataTwice},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, err := ParseMetadata([]byte(test.bytes))
			if !errors.Is(err, test.want) || err != nil && !errors.Is(err, ErrProtocol) {
				t.Errorf("error %v, want %v as an ErrProtocol", err, test.want)
			}
			if err == nil && string(m.Append(nil)) != test.bytes {
				t.Errorf("% x became % x", test.bytes, m.Append(nil))
			}
		})
	}
}

// Libzmq compares names with their case; everybody else need not. (hazards A3.11)
func TestMetadata_namesInAnyCase(t *testing.T) {
	m, err := ParseMetadata([]byte("\x0bsocket-TYPE\x00\x00\x00\x03REQ"))
	if v, ok := m.Get(PropertySocketType); err != nil || !ok || v != "REQ" {
		t.Errorf("got %q, %v, %v", v, ok, err)
	}
}

// A property of ours beyond the limits is a programming error.
func TestMetadata_ourOwnMistakesPanic(t *testing.T) {
	for _, p := range []Property{{"", "x"}, {strings.Repeat("n", 256), ""}, {"n", strings.Repeat("v", 1025)}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a name of %d and a value of %d bytes were taken", len(p.Name), len(p.Value))
				}
			}()
			Metadata{p}.Append(nil)
		}()
	}
}

func FuzzMetadata(f *testing.F) {
	f.Add([]byte("\x0bSocket-Type\x00\x00\x00\x03REQ\x08Identity\x00\x00\x00\x00"))
	f.Add([]byte("\x01a\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMetadata(b)
		if err != nil {
			return
		}
		again := m.Append(nil)
		if !bytes.Equal(again, b) {
			t.Fatalf("% x became % x", b, again)
		}
		if m2, err := ParseMetadata(again); err != nil || !slices.Equal(m, m2) {
			t.Errorf("%v became %v, %v", m, m2, err)
		}
	})
}
