package zmtp

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// maxReady bounds a NULL peer's READY command.
const maxReady = 2 << 10

// Null is the NULL mechanism, RFC 37 "null security mechanism": it proves and hides nothing.
type Null struct {
	// Admit decides on a peer by its metadata; nil admits all.
	Admit func(Metadata) (subject any, err error)
}

// Name returns "NULL".
func (Null) Name() string { return "NULL" }

// AsServer is always false: the NULL mechanism has no server side.
func (Null) AsServer() bool { return false }

// Handshake exchanges READY commands. The listening side answers only after it
// has read the peer's, so that it can refuse with an ERROR instead.
func (n Null) Handshake(c Commands, local Metadata) (Security, error) {
	ready := AppendCommand(nil, CommandReady, local.Append(nil))
	if n.Admit == nil {
		if err := c.WriteCommand(ready); err != nil {
			return Security{}, err
		}
	}
	body, err := c.ReadCommand(maxReady)
	if err != nil {
		return Security{}, err
	}
	name, data, err := SplitCommand(body)
	if err != nil {
		return Security{}, err
	}
	switch string(name) {
	case CommandReady:
	case CommandError:
		return Security{}, ParseError(data)
	default:
		return Security{}, fmt.Errorf("%w: the NULL handshake got an unexpected command", ErrProtocol)
	}
	peer, err := ParseMetadata(data)
	if err != nil {
		return Security{}, err
	}
	s := Security{Metadata: peer, Sealer: nullRecord{}, Opener: nullRecord{}}
	if n.Admit != nil {
		if s.Subject, err = n.Admit(peer); err != nil {
			return Security{}, Refuse(c, err)
		}
		if err := c.WriteCommand(ready); err != nil {
			return Security{}, err
		}
	}
	return s, nil
}

// Refuse tells the peer that it is not admitted, in the way that err says, and
// returns err. An ERROR stops a libzmq client for good, a silent close makes it
// retry ten times a second: a *Refusal chooses. Any other error is told as
// status 500 without a reason.
func Refuse(c Commands, err error) error {
	var r *Refusal
	if !errors.As(err, &r) {
		r = &Refusal{Status: "500"}
	}
	if r.Silent {
		c.Hold(r.Hold)
		return err
	}
	if werr := c.WriteCommand(AppendError(nil, r)); werr != nil {
		return fmt.Errorf("zmtp: sending ERROR: %w", errors.Join(err, werr))
	}
	return err
}

// nullRecord frames without hiding, RFC 37 "framing".
type nullRecord struct{}

func (nullRecord) Overhead() int { return 0 }

func (nullRecord) Seal(dst []byte, flags FrameFlags, plain []byte) ([]byte, error) {
	body := plain[1:]
	return append(AppendFrameHeader(dst, flags, len(body)), body...), nil
}

func (nullRecord) Open(outer FrameFlags, frame []byte) (FrameFlags, []byte, error) {
	return outer, frame, nil
}

// AppendFrameHeader appends the flags and size of a frame with a body of n
// bytes, in the short form where it fits: 2 or 9 bytes.
func AppendFrameHeader(dst []byte, flags FrameFlags, n int) []byte {
	if n <= 255 {
		return append(dst, byte(flags&^FlagLong), byte(n))
	}
	dst = append(dst, byte(flags|FlagLong))
	return binary.BigEndian.AppendUint64(dst, uint64(n))
}

// parseFrameHeader reads a header at the head of b. size is the header's
// length, or 0 when b is too short to tell.
func parseFrameHeader(b []byte) (flags FrameFlags, body uint64, size int, err error) {
	if len(b) < 2 {
		return 0, 0, 0, nil
	}
	flags = FrameFlags(b[0])
	if flags&^(FlagMore|FlagLong|FlagCommand) != 0 {
		return 0, 0, 0, fmt.Errorf("%w: a frame has reserved flags %#x", ErrProtocol, b[0])
	}
	if flags&FlagCommand != 0 && flags&FlagMore != 0 {
		return 0, 0, 0, fmt.Errorf("%w: a command frame has MORE", ErrProtocol)
	}
	if flags&FlagLong == 0 {
		return flags, uint64(b[1]), 2, nil
	}
	if len(b) < 9 {
		return 0, 0, 0, nil
	}
	body = binary.BigEndian.Uint64(b[1:])
	if body > 1<<63-1 { // RFC 37: the top bit is zero
		return 0, 0, 0, fmt.Errorf("%w: a frame's size has its top bit set", ErrProtocol)
	}
	return flags &^ FlagLong, body, 9, nil
}
