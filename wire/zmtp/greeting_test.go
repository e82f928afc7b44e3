package zmtp

import (
	"errors"
	"strings"
	"testing"
)

// edited returns a NULL greeting after an edit.
func edited(edit func(*greeting)) *greeting {
	g := newGreeting("NULL", false)
	edit(g)
	return g
}

func TestGreeting(t *testing.T) {
	for _, test := range []struct {
		name     string
		greeting *greeting
		want     string // mechanism, or a part of the error
	}{
		{"ours", newGreeting("CURVE", true), "CURVE"},
		{"libzmq's padding holds the size of its identity", edited(func(g *greeting) { g[8] = 1 }), "NULL"},
		{"libzmq's last signature byte is odd", edited(func(g *greeting) { g[9] = 0x01 }), "NULL"},
		{"minor 0", edited(func(g *greeting) { g[11] = 0 }), "NULL"},
		{"minor 9", edited(func(g *greeting) { g[11] = 9 }), "NULL"},
		{"major 4", edited(func(g *greeting) { g[10] = 4 }), "NULL"},
		{"filler is ignored", edited(func(g *greeting) { g[63] = 7 }), "NULL"},
		{"as-server is ignored", edited(func(g *greeting) { g[32] = 1 }), "NULL"},
		{"20 letters", newGreeting("ABCDEFGHIJKLMNOPQRST", false), "ABCDEFGHIJKLMNOPQRST"},
		{"junk behind the name", edited(func(g *greeting) { g[31] = 'x' }), "(malformed)"},
		{"control byte in the name", edited(func(g *greeting) { g[13] = '\n' }), "(malformed)"},
		{"ZMTP 1", edited(func(g *greeting) { g[0] = 1 }), "not ZMTP 3"},
		{"ZMTP 1 that looks like a long identity", edited(func(g *greeting) { g[9] = 0 }), "not ZMTP 3"},
		{"ZMTP 2", edited(func(g *greeting) { g[10] = 1 }), "ZMTP 2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := test.greeting.check(); err != nil {
				if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), test.want) {
					t.Errorf("error %q, want an ErrProtocol with %q", err, test.want)
				}
			} else if got := test.greeting.mechanism(); got != test.want {
				t.Errorf("mechanism %q, want %q", got, test.want)
			}
		})
	}
}

func FuzzGreeting(f *testing.F) {
	f.Add(newGreeting("NULL", false)[:])
	f.Add(newGreeting("CURVE", true)[:])
	f.Fuzz(func(t *testing.T, b []byte) {
		var g greeting
		copy(g[:], b)
		if g.check() != nil {
			return
		}
		name := g.mechanism()
		if name == "(malformed)" {
			return
		}
		if again := newGreeting(name, false); again.check() != nil || again.mechanism() != name {
			t.Errorf("mechanism %q does not survive a round trip", name)
		}
	})
}
