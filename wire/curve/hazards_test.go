package curve

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/servicetools/servicetools/wire/zmtp"
	//lint:ignore SA1019 NaCl's box itself takes its HSalsa20 from here
	"golang.org/x/crypto/salsa20/salsa"
)

// Tests named A3_n show that this package does not step into the trap of that
// number in the list of interoperation traps which the design started from.

func established(t testing.TB) (c, s outcome) {
	t.Helper()
	client, server := pair()
	c, s, _, _ = shake(t, client, server)
	if c.err != nil || s.err != nil {
		t.Fatalf("client: %v, server: %v", c.err, s.err)
	}
	return c, s
}

func seal(t testing.TB, s zmtp.Sealer, flags zmtp.FrameFlags, body string) []byte {
	t.Helper()
	wire, err := s.Seal(nil, flags, append([]byte{0xAA}, body...)) // the scratch byte is not kept
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// open reads one frame off the wire and opens it.
func open(t testing.TB, o zmtp.Opener, wire []byte) (zmtp.FrameFlags, string, error) {
	t.Helper()
	outer, frame, err := readFrame(bytes.NewReader(wire), len(wire))
	if err != nil {
		return 0, "", err
	}
	flags, body, err := o.Open(outer, frame)
	return flags, string(body), err
}

func TestA3_1_messageIsNotACommandFrame(t *testing.T) {
	c, _ := established(t)
	for _, flags := range []zmtp.FrameFlags{0, zmtp.FlagMore, zmtp.FlagCommand} {
		if wire := seal(t, c.Sealer, flags, "x"); wire[0] != 0x00 {
			t.Errorf("short frame has outer flags %#x", wire[0])
		}
		if wire := seal(t, c.Sealer, flags, string(make([]byte, 300))); wire[0] != 0x02 {
			t.Errorf("long frame has outer flags %#x", wire[0])
		}
	}
	for _, outer := range []byte{byte(zmtp.FlagCommand), byte(zmtp.FlagMore), 0x80} {
		c, s := established(t)
		wire := seal(t, c.Sealer, 0, "x")
		wire[0] |= outer
		if _, _, err := open(t, s.Opener, wire); !errors.Is(err, errOuterFlags) {
			t.Errorf("outer flags %#x: %v", outer, err)
		}
	}
}

func TestA3_2_flagsLiveInTheBox(t *testing.T) {
	c, s := established(t)
	wire := seal(t, c.Sealer, 0, "")
	if size := len(wire) - 2; size != 33 {
		t.Errorf("an empty frame is a MESSAGE of %d bytes, not 33", size)
	}
	for flags, inner := range map[zmtp.FrameFlags]byte{0: 0, zmtp.FlagMore: 1, zmtp.FlagCommand: 2} {
		plain := []byte{0xff, 'x'}
		if _, err := c.Sealer.Seal(nil, flags, plain); err != nil || plain[0] != inner {
			t.Errorf("flags %v are %#x in the box, not %#x", flags, plain[0], inner)
		}
	}
	key := &s.Opener.(*opener).key
	box := key.seal(nil, []byte{4, 'x'}, 100)
	frame := append(appendNonce([]byte(nameMessage), 100), box...)
	if _, _, err := s.Opener.Open(0, frame); !errors.Is(err, errInnerFlags) {
		t.Errorf("unknown flag in the box: %v", err)
	}
}

func TestA3_4_nonces(t *testing.T) {
	t.Run("one sequence over the whole connection", func(t *testing.T) {
		c, s := established(t)
		if n := seal(t, c.Sealer, 0, "x")[2+15]; n != 3 {
			t.Errorf("the client's first MESSAGE has nonce %d, not 3", n)
		}
		if n := seal(t, s.Sealer, 0, "x")[2+15]; n != 2 {
			t.Errorf("the server's first MESSAGE has nonce %d, not 2", n)
		}
	})
	t.Run("gaps are fine", func(t *testing.T) {
		c, s := established(t)
		seal(t, c.Sealer, 0, "lost")
		if _, body, err := open(t, s.Opener, seal(t, c.Sealer, 0, "kept")); err != nil || body != "kept" {
			t.Error(body, err)
		}
	})
	t.Run("replay", func(t *testing.T) {
		c, s := established(t)
		wire := seal(t, c.Sealer, 0, "x")
		if _, _, err := open(t, s.Opener, wire); err != nil {
			t.Fatal(err)
		}
		if _, _, err := open(t, s.Opener, wire); !errors.Is(err, errNonce) {
			t.Errorf("replayed: %v", err)
		}
		if _, _, err := open(t, s.Opener, seal(t, c.Sealer, 0, "y")); !errors.Is(err, errBroken) {
			t.Errorf("after a replay: %v, want a final error", err)
		}
	})
	t.Run("reorder", func(t *testing.T) {
		c, s := established(t)
		first, second := seal(t, c.Sealer, 0, "1"), seal(t, c.Sealer, 0, "2")
		if _, _, err := open(t, s.Opener, second); err != nil {
			t.Fatal(err)
		}
		if _, _, err := open(t, s.Opener, first); !errors.Is(err, errNonce) {
			t.Errorf("reordered: %v", err)
		}
	})
	t.Run("reflected", func(t *testing.T) {
		c, _ := established(t)
		if _, _, err := open(t, c.Opener, seal(t, c.Sealer, 0, "x")); !errors.Is(err, errBox) {
			t.Errorf("a MESSAGE sent back to its sender: %v", err)
		}
	})
	t.Run("used up", func(t *testing.T) {
		s := sent(1<<64 - 2)
		if _, err := s.next(); err != nil {
			t.Error(err)
		}
		if _, err := s.next(); !errors.Is(err, errNonceSpent) {
			t.Error("a nonce was used twice")
		}
		wire, err := newSealer(new(sharedKey), prefixMessageClient, s).Seal([]byte("before"), 0, []byte{0})
		if !errors.Is(err, errNonceSpent) || string(wire) != "before" {
			t.Errorf("Seal went on with a nonce of its past: %q, %v", wire, err)
		}
	})
}

func TestA3_5_helloIs200Bytes(t *testing.T) {
	client, server := pair()
	sizes := map[string]int{}
	record := func(body []byte) []byte { sizes[string(body[1:1+body[0]])] = len(body); return body }
	c, s, _, _ := shake(t, client, server, func(c, s *commands) { c.alter = record })
	if c.err != nil || s.err != nil || sizes["HELLO"] != 200 {
		t.Errorf("HELLO has %d bytes; %v, %v", sizes["HELLO"], c.err, s.err)
	}
}

func TestA3_6_vouchNamesThisServer(t *testing.T) {
	other := GenerateKey().Public()
	for _, test := range []struct {
		name  string
		vouch func([]byte) []byte
		want  error
	}{
		{"honest", nil, nil},
		{"for another server", func(p []byte) []byte { return append(p[:32:32], other[:]...) }, errVouchServer},
		{"for server zero", func(p []byte) []byte { return append(p[:32:32], make([]byte, 32)...) }, errVouchServer},
		{"for another client", func(p []byte) []byte { return append(other[:], p[32:]...) }, errVouchClient},
		{"sealed for somebody else", func([]byte) []byte { return nil }, errBox},
	} {
		t.Run(test.name, func(t *testing.T) {
			client, server := pair()
			f := &forger{Client: *client, vouch: test.vouch}
			if test.want == errBox {
				f.vouch = nil
				impostor := GenerateKey().Public()
				f.permanentKey = &impostor
			}
			_, s, _, _ := shake(t, f, server)
			if !errors.Is(s.err, test.want) {
				t.Errorf("server: %v, want %v", s.err, test.want)
			}
		})
	}
}

func TestA3_7_cookieAndInitiateNonce(t *testing.T) {
	client, server := pair()
	var earlier []byte
	for _, test := range []struct {
		name string
		f    forger
		want error
	}{
		{"recording", forger{cookie: func(c []byte) []byte { earlier = slices.Clone(c); return c }}, nil},
		{"cookie of another connection", forger{cookie: func([]byte) []byte { return earlier }}, errCookie},
		{"nonce of HELLO again", forger{initiate: func(p []byte, n *uint64) []byte { *n = 1; return p }}, errNonce},
		{"nonce before HELLO's", forger{
			hello:    func(p []byte, n *uint64) []byte { *n = 9; return p },
			initiate: func(p []byte, n *uint64) []byte { *n = 8; return p },
		}, errNonce},
		{"nonce zero", forger{hello: func(p []byte, n *uint64) []byte { *n = 0; return p }}, errNonce},
		{"nonce after a gap", forger{hello: func(p []byte, n *uint64) []byte { *n = 1 << 40; return p },
			initiate: func(p []byte, n *uint64) []byte { *n = 1<<40 + 5; return p }}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.f.Client = *client
			_, s, _, _ := shake(t, &test.f, server)
			if !errors.Is(s.err, test.want) {
				t.Errorf("server: %v, want %v", s.err, test.want)
			}
		})
	}
}

func TestA3_7_recordedHandshakeOpensNothing(t *testing.T) {
	client, server := pair()
	var recorded [][]byte
	c, s, _, _ := shake(t, client, server, func(c, _ *commands) {
		c.alter = func(b []byte) []byte { recorded = append(recorded, b); return b }
	})
	if c.err != nil || s.err != nil {
		t.Fatal(c.err, s.err)
	}
	_, s, _, _ = shake(t, replayer{client, recorded}, server)
	if !errors.Is(s.err, errCookie) {
		t.Errorf("server: %v, want %v", s.err, errCookie)
	}
}

// replayer sends what another connection's client sent.
type replayer struct {
	*Client
	recorded [][]byte
}

func (r replayer) Handshake(conn zmtp.Commands, _ zmtp.Metadata) (zmtp.Security, error) {
	for _, body := range r.recorded {
		if err := conn.WriteCommand(body); err != nil {
			return zmtp.Security{}, err
		}
		if _, err := conn.ReadCommand(maxInitiate); err != nil {
			return zmtp.Security{}, err
		}
	}
	return zmtp.Security{}, nil
}

func TestA3_11_metadataLengths(t *testing.T) {
	client, server := pair()
	for name, metadata := range map[string]string{
		"truncated":        "0b536f636b65742d54797065000000",
		"length of 2^32-1": "0b536f636b65742d54797065ffffffff",
		"no name":          "0000000000",
		"twice":            "01610000000001610000000000",
	} {
		tail, err := hex.DecodeString(metadata)
		if err != nil {
			t.Fatal(err)
		}
		f := &forger{Client: *client, initiate: func(p []byte, _ *uint64) []byte {
			return append(p[:keySize+vouchSize:keySize+vouchSize], tail...)
		}}
		if _, s, _, _ := shake(t, f, server); s.err == nil {
			t.Errorf("%s: admitted", name)
		}
	}
}

// lowOrder are the points whose product with any secret is zero: 0, 1, the two
// of order 8, p-1, and 0 and 1 again beyond p.
var lowOrder = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

// anonymousKey is what box shares between any secret and a low-order key.
func anonymousKey() (k sharedKey) {
	var zeroPoint [32]byte
	var zero [16]byte
	salsa.HSalsa20((*[32]byte)(&k), &zero, &zeroPoint, &salsa.Sigma)
	return k
}

func TestLowOrderKeysAreRefused(t *testing.T) {
	for _, text := range lowOrder {
		var key PublicKey
		if _, err := hex.Decode(key[:], []byte(text)); err != nil {
			t.Fatal(err)
		}
		client, server := pair()
		if _, s, _, _ := shake(t, &forger{Client: *client, transientKey: &key}, server); !errors.Is(s.err, errLowOrder) {
			t.Errorf("%s as C': %v", text, s.err)
		}
		// A low-order C needs no c: anybody can make the vouch.
		f := &forger{Client: *client, permanentKey: &key, anonymous: true}
		if _, s, _, _ := shake(t, f, server); !errors.Is(s.err, errLowOrder) {
			t.Errorf("%s as C: %v", text, s.err)
		}
		client.ServerKey = key
		if _, err := client.Handshake(new(commands), nil); err == nil {
			t.Errorf("%s as S: no error", text)
		}
	}
}
