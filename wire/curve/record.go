package curve

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/servicetools/servicetools/wire/zmtp"
)

// A MESSAGE carries one frame.
//
//	 0  8  name "\x07MESSAGE"
//	 8  8  short nonce
//	16  *  Box [flags + body](S'->C') or (C'->S')
//
// RFC 26 calls it a command, but on the wire it has the flags of a plain frame:
// libzmq swallows one that is marked COMMAND without a word. MORE and COMMAND
// are the bits 0 and 1 of the flags inside the box. (hazards A3.1, A3.2)
const (
	messageHead = len(nameMessage) + 8

	innerMore    = 1 << 0
	innerCommand = 1 << 1

	longHeader = 9 // of a frame: flags u8, size u64
)

var (
	errMessage    = errors.New("the frame is not one")
	errOuterFlags = errors.New("flags outside the box")
	errInnerFlags = errors.New("unknown flags in the box")
	errBroken     = errors.New("an earlier one did not open")
)

// sealer is the sending half of a connection's record layer.
type sealer struct {
	key  recordKey
	sent sent
}

func newSealer(key *sharedKey, prefix string, s sent) *sealer {
	return &sealer{key: newRecordKey(key, prefix), sent: s}
}

// Overhead is the most bytes that Seal adds to a body.
func (s *sealer) Overhead() int { return longHeader + messageHead + boxOverhead + 1 }

// Seal appends one MESSAGE to dst. It fails when the nonces are used up, after
// 2^64 frames: a new connection has new keys.
func (s *sealer) Seal(dst []byte, flags zmtp.FrameFlags, plain []byte) ([]byte, error) {
	n, err := s.sent.next()
	if err != nil {
		return dst, err
	}
	plain[0] = 0
	if flags&zmtp.FlagMore != 0 {
		plain[0] |= innerMore
	}
	if flags&zmtp.FlagCommand != 0 {
		plain[0] |= innerCommand
	}
	dst = zmtp.AppendFrameHeader(dst, 0, messageHead+boxOverhead+len(plain))
	dst = append(dst, nameMessage...)
	dst = appendNonce(dst, n)
	return s.key.seal(dst, plain, n), nil
}

// Wipe forgets the key. The sealer is not used after it.
func (s *sealer) Wipe() { clear(s.key[:]) }

// opener is the receiving half of a connection's record layer.
type opener struct {
	key      recordKey
	received received
	broken   bool // a MESSAGE did not open: the peer is not, or no longer, who it was
}

func newOpener(key *sharedKey, prefix string, r received) *opener {
	return &opener{key: newRecordKey(key, prefix), received: r}
}

// Open opens one MESSAGE in place and returns its flags and body. Nonces that
// repeat or go back are refused: they are replays. After an error the key is
// forgotten and nothing opens any more.
func (o *opener) Open(outer zmtp.FrameFlags, frame []byte) (zmtp.FrameFlags, []byte, error) {
	flags, body, err := o.open(outer, frame)
	if err != nil {
		o.broken = true
		o.Wipe()
		return 0, nil, fmt.Errorf("curve: MESSAGE: %w", err)
	}
	return flags, body, nil
}

func (o *opener) open(outer zmtp.FrameFlags, frame []byte) (zmtp.FrameFlags, []byte, error) {
	if o.broken {
		return 0, nil, errBroken
	}
	if outer&^zmtp.FlagLong != 0 {
		return 0, nil, errOuterFlags
	}
	if len(frame) < messageMin || string(frame[:len(nameMessage)]) != nameMessage {
		return 0, nil, errMessage
	}
	n := binary.BigEndian.Uint64(frame[len(nameMessage):])
	plain, err := o.key.open(frame[messageHead:], n)
	if err != nil {
		return 0, nil, err
	}
	if err := o.received.accept(n); err != nil {
		return 0, nil, err
	}
	if plain[0]&^(innerMore|innerCommand) != 0 {
		return 0, nil, errInnerFlags
	}
	var flags zmtp.FrameFlags
	if plain[0]&innerMore != 0 {
		flags |= zmtp.FlagMore
	}
	if plain[0]&innerCommand != 0 {
		flags |= zmtp.FlagCommand
	}
	return flags, plain[1:], nil
}

// Wipe forgets the key.
func (o *opener) Wipe() { clear(o.key[:]) }
