package curve

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/servicetools/servicetools/wire/zmtp"
)

// Sizes of the handshake commands, [CURVE-26 "CurveZMQ protocol"]. A command
// starts with the length and the letters of its name.
const (
	helloSize   = 200
	welcomeSize = 168
	cookieSize  = 96
	vouchSize   = 16 + boxOverhead + 2*keySize

	// signatureSize is the length of the zeros in HELLO that prove c'.
	signatureSize = 64

	initiateMin = len(nameInitiate) + cookieSize + 8 + boxOverhead + keySize + vouchSize
	readyMin    = len(nameReady) + 8 + boxOverhead
	messageMin  = len(nameMessage) + 8 + boxOverhead + 1

	// maxInitiate bounds INITIATE and READY, and with them the peer's metadata.
	maxInitiate = 2048
	// maxError bounds an ERROR command: its name, a length byte, a reason.
	maxError = 1 + len(zmtp.CommandError) + 1 + 255
)

const (
	nameHello    = "\x05HELLO"
	nameWelcome  = "\x07WELCOME"
	nameInitiate = "\x08INITIATE"
	nameReady    = "\x05READY"
	nameMessage  = "\x07MESSAGE"
	nameError    = "\x05ERROR"
)

// hello is a HELLO command.
//
//	  0   6  name "\x05HELLO"
//	  6   2  version 1.0
//	  8  72  padding, zero: HELLO is larger than WELCOME, so that the server does
//	         not amplify. The RFC's text says 70, its ABNF and libzmq 72.
//	 80  32  C'
//	112   8  short nonce
//	120  80  Box [64 zeros](C'->S)
type hello [helloSize]byte

func (m *hello) version() []byte    { return m[6:8] }
func (m *hello) padding() []byte    { return m[8:80] }
func (m *hello) client() *PublicKey { return (*PublicKey)(m[80:112]) }
func (m *hello) nonce() uint64      { return binary.BigEndian.Uint64(m[112:120]) }
func (m *hello) setNonce(n uint64)  { binary.BigEndian.PutUint64(m[112:120], n) }
func (m *hello) box() []byte        { return m[120:200:200] }

func parseHello(b []byte) (*hello, error) {
	if err := expect(b, nameHello, helloSize, helloSize); err != nil {
		return nil, err
	}
	m := (*hello)(b)
	if v := m.version(); v[0] != 1 || v[1] != 0 {
		return nil, fmt.Errorf("curve: HELLO has version %d.%d, this side speaks 1.0", v[0], v[1])
	}
	var zeros [72]byte
	if !equal(m.padding(), zeros[:]) {
		return nil, errors.New("curve: the padding of HELLO is not zero")
	}
	return m, nil
}

// welcome is a WELCOME command.
//
//	 0    8  name "\x07WELCOME"
//	 8   16  long nonce
//	24  144  Box [S' + cookie](S->C')
type welcome [welcomeSize]byte

func (m *welcome) nonce() *[16]byte { return (*[16]byte)(m[8:24]) }
func (m *welcome) box() []byte      { return m[24:168:168] }

func parseWelcome(b []byte) (*welcome, error) {
	if err := expect(b, nameWelcome, welcomeSize, welcomeSize); err != nil {
		return nil, err
	}
	return (*welcome)(b), nil
}

// initiate is an INITIATE command.
//
//	  0   9  name "\x08INITIATE"
//	  9  96  cookie
//	105   8  short nonce
//	113   *  Box [C + vouch + metadata](C'->S')
//
// with vouch = 16 bytes of long nonce + Box [C' + S](C->S').
type initiate []byte

func (m initiate) cookie() []byte { return m[9:105] }
func (m initiate) nonce() uint64  { return binary.BigEndian.Uint64(m[105:113]) }
func (m initiate) box() []byte    { return m[113:] }

func parseInitiate(b []byte) (initiate, error) {
	if err := expect(b, nameInitiate, initiateMin, maxInitiate); err != nil {
		return nil, err
	}
	return initiate(b), nil
}

// vouch is the part of INITIATE that binds C to this connection.
type vouch [vouchSize]byte

func (v *vouch) nonce() *[16]byte { return (*[16]byte)(v[:16]) }
func (v *vouch) box() []byte      { return v[16:] }

// ready is a READY command.
//
//	 0  6  name "\x05READY"
//	 6  8  short nonce
//	14  *  Box [metadata](S'->C')
type ready []byte

func (m ready) nonce() uint64 { return binary.BigEndian.Uint64(m[6:14]) }
func (m ready) box() []byte   { return m[14:] }

// parseReady checks both bounds: libzmq once checked only the lower one and
// copied what came into a buffer of 256 bytes (CVE-2019-13132).
func parseReady(b []byte) (ready, error) {
	if err := expect(b, nameReady, readyMin, maxInitiate); err != nil {
		return nil, err
	}
	return ready(b), nil
}

var errName = errors.New("curve: not a command of the CURVE handshake")

// expect checks that b is the command of that name with a length within bounds.
// Its texts repeat nothing that the peer chose.
func expect(b []byte, name string, least, most int) error {
	if len(b) < len(name) || string(b[:len(name)]) != name {
		return fmt.Errorf("curve: expected %s: %w", name[1:], errName)
	}
	if len(b) < least || len(b) > most {
		return fmt.Errorf("curve: %s has %d bytes, not %d to %d", name[1:], len(b), least, most)
	}
	return nil
}

// refusal returns the peer's ERROR if b is one.
func refusal(b []byte) *zmtp.Refusal {
	if len(b) < len(nameError) || string(b[:len(nameError)]) != nameError {
		return nil
	}
	return zmtp.ParseError(b[len(nameError):])
}
