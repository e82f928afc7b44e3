package curve

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestTampering flips one bit in every byte of every handshake command, and of
// the first record each way. Whoever receives it must refuse.
func TestTampering(t *testing.T) {
	client, server := pair()
	lengths := map[string]int{}
	measure := func(b []byte) []byte { lengths[string(b[1:1+b[0]])] = len(b); return b }
	c, s, _, _ := shake(t, client, server, func(c, s *commands) { c.alter, s.alter = measure, nil })
	if c.err != nil || s.err != nil {
		t.Fatal(c.err, s.err)
	}
	c, s, _, _ = shake(t, client, server, func(c, s *commands) { s.alter = measure })
	if c.err != nil || s.err != nil {
		t.Fatal(c.err, s.err)
	}
	for name, length := range lengths {
		for i := range length {
			flipped := false
			flip := func(b []byte) []byte {
				if !flipped && (string(b[1:1+b[0]]) == name) {
					flipped = true
					b[i] ^= 1 << (i % 8)
				}
				return b
			}
			toServer := name == "HELLO" || name == "INITIATE"
			c, s, _, _ := shake(t, client, server, func(c, s *commands) {
				if toServer {
					c.alter = flip
				} else {
					s.alter = flip
				}
			})
			if toServer && s.err == nil || !toServer && c.err == nil {
				t.Errorf("%s with byte %d flipped is accepted", name, i)
			}
			if !flipped {
				t.Fatalf("%s was not sent", name)
			}
		}
	}
	if len(lengths) != 4 {
		t.Errorf("tampered with %v", lengths)
	}
}

func TestTampering_records(t *testing.T) {
	c, s := established(t)
	for name, dir := range map[string]struct {
		wire []byte
		from outcome
	}{
		"from client": {seal(t, c.Sealer, 0, "payload"), s},
		"from server": {seal(t, s.Sealer, 0, "payload"), c},
	} {
		pristine := *dir.from.Opener.(*opener)
		for i := range dir.wire {
			for bit := range 8 {
				wire := slices.Clone(dir.wire)
				wire[i] ^= 1 << bit
				o := pristine
				if _, body, err := open(t, &o, wire); err == nil {
					t.Errorf("%s: byte %d bit %d flipped gives %q", name, i, bit, body)
				}
			}
		}
		if _, body, err := open(t, dir.from.Opener, dir.wire); err != nil || body != "payload" {
			t.Errorf("%s: unflipped: %q, %v", name, body, err)
		}
	}
}

// Somebody on the path flips bits: in 10^5 trials not one altered payload
// passes. (hazards B)
func TestB_alteredPayloadsDoNotPass(t *testing.T) {
	c, s := established(t)
	random := rand.New(rand.NewPCG(1, 2))
	var wires [][]byte
	for n := range 64 {
		wires = append(wires, seal(t, c.Sealer, 0, strings.Repeat("x", 4*n)))
	}
	pristine := *s.Opener.(*opener)
	for range 100_000 {
		wire := slices.Clone(wires[random.IntN(len(wires))])
		head := 2
		if len(wire) > 257 {
			head = longHeader
		}
		for range 1 + random.IntN(3) {
			wire[head+random.IntN(len(wire)-head)] ^= byte(1 + random.IntN(255))
		}
		o := pristine
		came := slices.Clone(wire)
		if _, body, err := o.Open(0, came[head:]); err == nil && string(body) != strings.Repeat("x", len(body)) {
			t.Fatalf("%q passed", body)
		} else if err == nil && !slices.ContainsFunc(wires, func(w []byte) bool { return slices.Equal(w, wire) }) {
			t.Fatal("a forgery opened")
		}
	}
}

func TestOpener_failsForGood(t *testing.T) {
	c, s := established(t)
	good := seal(t, c.Sealer, 0, "x")
	bad := slices.Clone(good)
	bad[len(bad)-1] ^= 1
	if _, _, err := open(t, s.Opener, bad); !errors.Is(err, errBox) {
		t.Fatal(err)
	}
	if s.Opener.(*opener).key != (recordKey{}) {
		t.Error("the key is kept after a failure")
	}
	if _, _, err := open(t, s.Opener, good); !errors.Is(err, errBroken) {
		t.Errorf("a good MESSAGE after a bad one: %v", err)
	}
}

func TestOpener_lengths(t *testing.T) {
	c, s := established(t)
	pristine := *s.Opener.(*opener)
	wire := seal(t, c.Sealer, 0, "")[2:]
	for n := range wire {
		o := pristine
		if _, _, err := o.Open(0, slices.Clone(wire[:n])); err == nil {
			t.Errorf("%d bytes of a MESSAGE open", n)
		}
	}
}

func TestHandshake_truncatedAndOverlong(t *testing.T) {
	for _, name := range []string{"HELLO", "WELCOME", "INITIATE", "READY"} {
		for _, cut := range []struct {
			what  string
			alter func([]byte) []byte
		}{
			{"one byte short", func(b []byte) []byte { return b[:len(b)-1] }},
			{"only a name", func(b []byte) []byte { return b[:1+b[0]] }},
			{"half a name", func(b []byte) []byte { return b[:3] }},
			{"empty", func([]byte) []byte { return nil }},
			{"one byte long", func(b []byte) []byte { return append(b, 0) }},
			{"over the limit", func(b []byte) []byte { return append(b, make([]byte, 4096)...) }},
			{"another command", func([]byte) []byte { return []byte("\x05HELLO") }},
		} {
			t.Run(fmt.Sprintf("%s %s", name, cut.what), func(t *testing.T) {
				client, server := pair()
				alter := func(b []byte) []byte {
					if string(b[1:1+b[0]]) == name {
						return cut.alter(b)
					}
					return b
				}
				c, s, _, _ := shake(t, client, server, func(c, s *commands) { c.alter, s.alter = alter, alter })
				if c.err == nil || s.err == nil && (name == "HELLO" || name == "INITIATE") {
					t.Errorf("client: %v, server: %v", c.err, s.err)
				}
			})
		}
	}
}

func TestRecord_allocatesNothing(t *testing.T) {
	c, s := established(t)
	for _, size := range []int{0, 64, 1 << 10, 64 << 10} {
		plain := make([]byte, 1+size)
		wire := make([]byte, 0, len(plain)+c.Sealer.Overhead())
		head := 2
		if size > 200 {
			head = longHeader
		}
		n := testing.AllocsPerRun(50, func() {
			wire, _ = c.Sealer.Seal(wire[:0], 0, plain)
			if _, _, err := s.Opener.Open(0, wire[head:]); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("a frame of %d bytes allocates %v times", size, n)
		}
	}
}
