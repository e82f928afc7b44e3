package message

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

var envelopes = []struct {
	name string
	e    Envelope
	wire string // hex, without the size
}{
	{"ATTACH", Envelope{Kind: KindAttach, ID: 3, Body: []byte("b")},
		"01 00 0000 0000000000000003 62"},
	{"CALL", Envelope{Kind: KindCall, Flags: FlagIdempotent, ID: 1, Timeout: 1500 * time.Millisecond, Attempt: 2, Priority: PriorityHigh,
		Method: []byte("add"), Key: []byte("k"), Body: []byte{0x90, 0xc0}},
		"05 01 0000 0000000000000001 000005dc 02 01 03 01 616464 6b 90c0"},
	{"CALL with an origin", Envelope{Kind: KindCall, Flags: FlagOrigin, ID: 1, Origin: Origin{SessionID{1, 2, 3}, 9}, Method: []byte("m")},
		"05 08 0000 0000000000000001 01020300000000000000000000000000 0000000000000009 00000000 00 00 01 00 6d"},
	{"RESULT", Envelope{Kind: KindResult, ID: 1 << 63, Body: []byte{0xc3}},
		"07 00 0000 8000000000000000 c3"},
	{"PART", Envelope{Kind: KindPart, ID: 1, Sequence: 5, Body: []byte{7}},
		"09 00 0000 0000000000000001 0000000000000005 07"},
	{"GRANT", Envelope{Kind: KindGrant, ID: 1, Sequence: 32},
		"0b 00 0000 0000000000000001 0000000000000020"},
	{"ATTEMPT", Envelope{Kind: KindAttempt, ID: 1, Sequence: 2},
		"10 00 0000 0000000000000001 0000000000000002"},
	{"PROGRESS that claims", Envelope{Kind: KindProgress, Flags: FlagOrigin | FlagClaim, Origin: Origin{SessionID{0xff}, 1}},
		"0a 18 0000 0000000000000000 ff000000000000000000000000000000 0000000000000001"},
	{"DRAIN", Envelope{Kind: KindDrain}, "0e 00 0000 0000000000000000"},
	{"a kind of a later version", Envelope{Kind: 200, ID: 1, Body: []byte("x")}, "c8 00 0000 0000000000000001 78"},
}

// wire returns the bytes of a hex text behind their size.
func wire(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte{0, 0, byte(len(b) >> 8), byte(len(b))}, b...)
}

func TestEnvelope(t *testing.T) {
	var all []byte
	for _, test := range envelopes {
		t.Run(test.name, func(t *testing.T) {
			want := wire(t, test.wire)
			if got := test.e.Append(nil); !bytes.Equal(got, want) || test.e.Size() != len(want) {
				t.Fatalf("encoded as % x of %d, want % x", got, test.e.Size(), want)
			}
			var got Envelope
			rest, err := got.Next(append(want, "next"...))
			if err != nil || string(rest) != "next" || !same(got, test.e) {
				t.Errorf("decoded as %+v, %q, %v; want %+v", got, rest, err, test.e)
			}
			for n := range want {
				if _, err := got.Next(want[:n]); !errors.Is(err, ErrEnvelope) {
					t.Errorf("cut after %d bytes: %v", n, err)
				}
			}
		})
		all = test.e.Append(all)
	}
	n := 0
	for rest := all; len(rest) > 0; n++ {
		var e Envelope
		var err error
		if rest, err = e.Next(rest); err != nil {
			t.Fatal(err)
		}
	}
	if n != len(envelopes) {
		t.Errorf("%d envelopes came out of %d", n, len(envelopes))
	}
}

// same compares envelopes, empty and absent slices alike.
func same(a, b Envelope) bool {
	for _, e := range []*Envelope{&a, &b} {
		for _, s := range []*[]byte{&e.Body, &e.Method, &e.Key} {
			*s = append([]byte{}, *s...)
		}
	}
	return reflect.DeepEqual(a, b)
}

func TestEnvelope_malformed(t *testing.T) {
	for name, b := range map[string]string{
		"size smaller than a header":    "\x00\x00\x00\x0b" + strings.Repeat("\x00", 12),
		"size of 0":                     "\x00\x00\x00\x00" + strings.Repeat("\x00", 12),
		"size of 2^32-1":                "\xff\xff\xff\xff" + strings.Repeat("\x00", 12),
		"size one too large":            "\x00\x00\x00\x0d" + strings.Repeat("\x00", 12),
		"no room for the origin":        string(wire(t, "07 08 0000 0000000000000001 00")),
		"no room for the call's part":   string(wire(t, "05 00 0000 0000000000000001 00")),
		"CALL without a method":         string(wire(t, "05 00 0000 0000000000000001 00000000 00 00 00 00")),
		"CALL with an unknown priority": string(wire(t, "05 00 0000 0000000000000001 00000000 00 03 01 00 6d")),
		"method longer than the rest":   string(wire(t, "05 00 0000 0000000000000001 00000000 00 00 ff 00 6d")),
		"key longer than the rest":      string(wire(t, "05 00 0000 0000000000000001 00000000 00 00 01 01 6d")),
		"PART without a sequence":       string(wire(t, "09 00 0000 0000000000000001 00")),
		"GRANT without a window":        string(wire(t, "0b 00 0000 0000000000000001")),
	} {
		var e Envelope
		if rest, err := e.Next([]byte(b)); !errors.Is(err, ErrEnvelope) || rest != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A deadline that is near must not read as none, nor one that is far as near.
func TestEnvelope_timeoutsRoundUp(t *testing.T) {
	for _, test := range []struct{ sent, want time.Duration }{
		{0, 0}, {-time.Second, 0}, {1, time.Millisecond}, {time.Millisecond, time.Millisecond},
		{1500 * time.Microsecond, 2 * time.Millisecond}, {MaxTimeout, MaxTimeout}, {1 << 62, MaxTimeout},
	} {
		e := Envelope{Kind: KindCall, Method: []byte("m"), Timeout: test.sent}
		var got Envelope
		if _, err := got.Next(e.Append(nil)); err != nil || got.Timeout != test.want {
			t.Errorf("%v became %v, %v; want %v", test.sent, got.Timeout, err, test.want)
		}
	}
}

func TestEnvelope_uncheckedNamesPanic(t *testing.T) {
	for _, e := range []Envelope{
		{Kind: KindCall},
		{Kind: KindCall, Method: make([]byte, 256)},
		{Kind: KindCall, Method: []byte("m"), Key: make([]byte, 256)},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a method of %d and a key of %d bytes were encoded", len(e.Method), len(e.Key))
				}
			}()
			e.Append(nil)
		}()
	}
}

func TestKind_names(t *testing.T) {
	for k := KindAttach; k <= KindBye; k++ {
		if name := k.String(); strings.HasPrefix(name, "KIND") {
			t.Errorf("kind %d has no name", k)
		}
	}
	if Kind(0).String() != "KIND(0)" || Kind(99).String() != "KIND(99)" {
		t.Error("an unknown kind has a name")
	}
}

// The broker parses and appends an envelope for each call that it forwards.
func TestEnvelope_doesNotAllocate(t *testing.T) {
	b, out := envelopes[1].e.Append(nil), make([]byte, 0, 1000)
	if n := testing.AllocsPerRun(100, func() {
		var e Envelope
		if _, err := e.Next(b); err != nil {
			t.Fatal(err)
		}
		out = e.Append(out[:0])
	}); n != 0 {
		t.Errorf("%v allocations an envelope", n)
	}
}

func FuzzEnvelope(f *testing.F) {
	for _, test := range envelopes {
		f.Add(test.e.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			var e, again Envelope
			rest, err := e.Next(b)
			if err != nil {
				return
			}
			if len(rest)+e.Size() != len(b) {
				t.Fatalf("%d bytes of %d are left behind an envelope of %d", len(rest), len(b), e.Size())
			}
			if _, err := again.Next(e.Append(nil)); err != nil || !same(e, again) {
				t.Fatalf("%+v became %+v, %v", e, again, err)
			}
			b = rest
		}
	})
}

func BenchmarkEnvelope(b *testing.B) {
	in, out := envelopes[1].e.Append(nil), make([]byte, 0, 1000)
	b.ReportAllocs()
	for b.Loop() {
		var e Envelope
		if _, err := e.Next(in); err != nil {
			b.Fatal(err)
		}
		out = e.Append(out[:0])
	}
}
