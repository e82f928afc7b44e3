package zmtp

import (
	"bytes"
	"fmt"
)

// greetingSize is the length of a ZMTP 3.x greeting, RFC 37 "greeting":
//
//	 0  signature  10  %xFF 8*padding %x7F
//	10  version     2  major, minor
//	12  mechanism  20  name, padded with zeros
//	32  as-server   1
//	33  filler     31
const greetingSize = 64

// greeting is one side's greeting as it is on the wire.
type greeting [greetingSize]byte

func newGreeting(mechanism string, asServer bool) *greeting {
	var g greeting
	g[0], g[9] = 0xff, 0x7f
	g[10], g[11] = 3, 1
	copy(g[12:32], mechanism)
	if asServer {
		g[32] = 1
	}
	return &g
}

// check accepts any peer of major version 3 or later. Padding, filler, minor
// version and as-server are ignored: libzmq fills the padding with the size of
// its identity and always sends as-server 0.
func (g *greeting) check() error {
	switch {
	case g[0] != 0xff || g[9]&1 == 0:
		return fmt.Errorf("%w: this is not ZMTP 3 (a ZMTP 1 peer, or another protocol on this port)", ErrProtocol)
	case g[10] < 3:
		return fmt.Errorf("%w: ZMTP 2 has no security and is refused", ErrProtocol)
	}
	return nil
}

// mechanism returns the name before the zero padding; bytes after a zero make
// the name invalid, as for libzmq.
func (g *greeting) mechanism() string {
	name, padding, _ := bytes.Cut(g[12:32], []byte{0})
	if len(bytes.Trim(padding, "\x00")) > 0 {
		return "(malformed)"
	}
	for _, c := range name {
		if c < '!' || c > '~' {
			return "(malformed)"
		}
	}
	return string(name)
}
