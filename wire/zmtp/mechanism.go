package zmtp

import (
	"errors"
	"net"
	"time"
)

// Mechanism performs the security handshake of one side of a connection whose
// greetings have been exchanged. Implementations are shared by connections and
// hold no state of one.
type Mechanism interface {
	// Name is the greeting's mechanism field: "NULL" or "CURVE".
	Name() string
	// AsServer is the greeting's as-server bit. Libzmq ignores it; so do we.
	AsServer() bool
	// Handshake exchanges commands until the peer is proven and its metadata
	// known. It returns a *Refusal after it told the peer, or any other error.
	// It waits for nothing but the peer, and for that only through c: on a
	// Listener it has one of few Slots except while it does.
	Handshake(c Commands, local Metadata) (Security, error)
}

// Commands is what a Mechanism sees of a connection during the handshake.
type Commands interface {
	// ReadCommand returns the body of the next handshake command, of at most
	// limit bytes. The peer's waiting time is bounded in all, over every call.
	// The slice is valid until the next call. An ERROR command is returned
	// like any other.
	ReadCommand(limit int) ([]byte, error)
	// WriteCommand sends one command; body starts with the name's length.
	WriteCommand(body []byte) error
	// Hold keeps the silent connection open for d, or until the peer or the
	// owner closes it, so that a peer that retries at once does not spin.
	Hold(d time.Duration)
	// RemoteAddr names the peer in errors and limits.
	RemoteAddr() net.Addr
}

// Security is the outcome of a handshake.
type Security struct {
	Metadata Metadata // the peer's
	Key      [32]byte // the peer's proven permanent public key; zero under NULL
	Subject  any      // what the owner's admission returned for the key
	Sealer   Sealer
	Opener   Opener
}

// Sealer turns frames into the bytes of the wire. A link's write loop owns it:
// nonces must leave in the order in which they were taken.
type Sealer interface {
	// Overhead is the most bytes that Seal adds to a body.
	Overhead() int
	// Seal appends one frame to dst. plain[0] is scratch for the mechanism's
	// own use, plain[1:] is the body; neither is kept. An error leaves dst as it
	// is, and is final.
	Seal(dst []byte, flags FrameFlags, plain []byte) ([]byte, error)
}

// Opener is the reverse of a Sealer, owned by a link's read loop.
type Opener interface {
	// Open returns the flags and body of one frame as it came. It opens it in
	// place: the body is the end of frame. An error is final.
	Open(outer FrameFlags, frame []byte) (FrameFlags, []byte, error)
}

// wipe lets the record layer forget its keys, if it has any.
func (s *Security) wipe() {
	for _, half := range []any{s.Sealer, s.Opener} {
		if w, ok := half.(interface{ Wipe() }); ok {
			w.Wipe()
		}
	}
}

// FrameFlags are the flag bits of a frame, RFC 37 "framing".
type FrameFlags uint8

// The flag bits. All others must be zero.
const (
	FlagMore    FrameFlags = 1 << 0 // another frame of the same message follows
	FlagLong    FrameFlags = 1 << 1 // the size has 8 bytes, not 1
	FlagCommand FrameFlags = 1 << 2 // the body is a command
)

// Refusal is the end of a handshake by decision: this side does not want the
// peer, or the peer said so.
type Refusal struct {
	Status string        // ZAP status code, RFC 27: "300", "400" or "500"
	Reason string        // for a person; sent only to SDK peers, may be empty
	Silent bool          // close without ERROR after Hold: libzmq never retries after an ERROR
	Hold   time.Duration // how long a silent refusal keeps the peer waiting
	ByPeer bool          // the peer refused us
	SDK    bool          // the peer reads Reason
}

// IsTemporary reports whether err is a Refusal that may not be one in a while:
// status 300.
func IsTemporary(err error) bool {
	var r *Refusal
	return errors.As(err, &r) && r.Status == "300"
}

// Error describes the refusal from this side's point of view.
func (r *Refusal) Error() string {
	who := "zmtp: peer refused"
	if r.ByPeer {
		who = "zmtp: refused by peer"
	}
	if r.Reason == "" {
		return who + " with status " + r.Status
	}
	return who + " with status " + r.Status + ": " + r.Reason
}
