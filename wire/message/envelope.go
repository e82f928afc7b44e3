package message

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Kind names a compact envelope. Kinds are part of the protocol: append only.
type Kind uint8

// The kinds. C is a client, B the broker, W a worker; the arrows say who sends.
const (
	KindAttach     Kind = 1  // C->B: names the session; first envelope of a client's link
	KindAttached   Kind = 2  // B->C: answers KindAttach
	KindRegister   Kind = 3  // W->B: names the worker and its methods; first envelope of a worker's link
	KindRegistered Kind = 4  // B->W: answers KindRegister
	KindCall       Kind = 5  // C->B, B->W: run a method
	KindCancel     Kind = 6  // C->B, B->W: stop caring about a call
	KindResult     Kind = 7  // W->B, B->C: outcome, a value
	KindError      Kind = 8  // W->B, B->C: outcome, an error
	KindPart       Kind = 9  // W->B, B->C: one item of a stream
	KindProgress   Kind = 10 // W->B, B->C: progress, lossy: the latest counts
	KindGrant      Kind = 11 // C->B, B->W: the stream ID may send the items below Sequence
	KindAck        Kind = 12 // C->B, B->W: ID outcomes arrived on this session or link
	KindCapacity   Kind = 13 // W->B: ID calls may run at once from now on; 0 drains
	KindDrain      Kind = 14 // B->W: finish what runs, hand back the rest, leave
	KindBye        Kind = 15 // any: the sender leaves on purpose; the body is an error map that says why
	KindAttempt    Kind = 16 // B->C: Sequence is the attempt in which a worker has the call now
)

var kindNames = [...]string{
	KindAttach: "ATTACH", KindAttached: "ATTACHED", KindRegister: "REGISTER", KindRegistered: "REGISTERED",
	KindCall: "CALL", KindCancel: "CANCEL", KindResult: "RESULT", KindError: "ERROR", KindPart: "PART",
	KindProgress: "PROGRESS", KindGrant: "GRANT", KindAck: "ACK", KindCapacity: "CAPACITY", KindDrain: "DRAIN", KindBye: "BYE",
	KindAttempt: "ATTEMPT",
}

// String returns the name that docs/protocol.md uses.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("KIND(%d)", uint8(k))
}

// Flags qualify an envelope.
type Flags uint8

// The flags, by kind.
const (
	FlagIdempotent Flags = 1 << 0 // CALL: the caller says that running it twice does no harm
	FlagStream     Flags = 1 << 1 // CALL: the caller takes PARTs
	FlagResubmit   Flags = 1 << 2 // CALL: may have been handed over earlier, by another link or broker
	FlagOrigin     Flags = 1 << 3 // CALL, CANCEL, RESULT, ERROR, PART, PROGRESS: an Origin follows the header
	FlagClaim      Flags = 1 << 4 // PROGRESS with FlagOrigin: "I still run this call", sent after REGISTER
	FlagEnded      Flags = 1 << 5 // PROGRESS with FlagClaim: the call has ended, its items are to be had, it takes no slot
)

// HeaderSize is the length of the fixed part of every envelope, size field included.
const HeaderSize = 16

// OriginSize is the length of an encoded Origin.
const OriginSize = 24

// callSize is the length of a CALL's own fixed part, after header and origin.
const callSize = 8

// SessionID names a client across its reconnects; 128 random bits.
type SessionID [16]byte

// Origin names a call for ever: the session that made it and its number there.
type Origin struct {
	Session SessionID
	Number  uint64
}

// Priority orders queued calls; see docs/protocol.md for the ageing.
type Priority uint8

// The priorities. The zero value is the default.
const (
	PriorityNormal Priority = 0
	PriorityHigh   Priority = 1
	PriorityLow    Priority = 2
)

// ParsePriority reads "low", "normal" or "high".
func ParsePriority(s string) (Priority, bool) {
	switch s {
	case "normal":
		return PriorityNormal, true
	case "high":
		return PriorityHigh, true
	case "low":
		return PriorityLow, true
	}
	return 0, false
}

// Envelope is one parsed compact envelope. Its slices alias the message it was
// parsed from and are valid as long as that is.
//
//	 0  size    u32  bytes after this field, 12 at least
//	 4  kind    u8
//	 5  flags   u8
//	 6  zero    u16
//	 8  id      u64  call number (C<->B), token (B<->W), count (ACK, CAPACITY), or the attempt (W->B with FlagOrigin)
//	16  origin  24 B if FlagOrigin
//	    CALL    timeout u32 ms, attempt u8, priority u8, method length u8, key length u8, method, key
//	    PART    sequence u64
//	    GRANT   window u64: items with a sequence below it may be sent
//	    ATTEMPT attempt u64
//	    body    the rest
type Envelope struct {
	Kind   Kind
	Flags  Flags
	ID     uint64
	Origin Origin // with FlagOrigin
	Body   []byte

	// CALL only.
	Timeout  time.Duration // 0 = none; counts from reception
	Attempt  uint8         // 1 for the first; a client sends the last one that it was told of
	Priority Priority
	Method   []byte
	Key      []byte // idempotency key; empty = none

	// Sequence is the number of a PART, from 0, the window of a GRANT, or the
	// number of an ATTEMPT.
	Sequence uint64
}

// ErrEnvelope is wrapped by every error of Next.
var ErrEnvelope = errors.New("message: malformed envelope")

// Next parses the envelope at the head of b into e and returns what follows it.
func (e *Envelope) Next(b []byte) (rest []byte, err error) {
	if len(b) < HeaderSize {
		return nil, fmt.Errorf("%w: %d bytes are shorter than a header", ErrEnvelope, len(b))
	}
	size := uint64(binary.BigEndian.Uint32(b)) + 4
	if size < HeaderSize || size > uint64(len(b)) {
		return nil, fmt.Errorf("%w: its size %d does not fit the message", ErrEnvelope, size)
	}
	*e = Envelope{Kind: Kind(b[4]), Flags: Flags(b[5]), ID: binary.BigEndian.Uint64(b[8:])}
	rest, b = b[size:], b[HeaderSize:size:size]
	if e.Flags&FlagOrigin != 0 {
		if len(b) < OriginSize {
			return nil, fmt.Errorf("%w: %v is too short for its origin", ErrEnvelope, e.Kind)
		}
		copy(e.Origin.Session[:], b)
		e.Origin.Number = binary.BigEndian.Uint64(b[16:])
		b = b[OriginSize:]
	}
	switch e.Kind {
	case KindCall:
		if len(b) < callSize {
			return nil, fmt.Errorf("%w: CALL is too short", ErrEnvelope)
		}
		e.Timeout = time.Duration(binary.BigEndian.Uint32(b)) * time.Millisecond
		e.Attempt, e.Priority = b[4], Priority(b[5])
		m, k := int(b[6]), int(b[7])
		b = b[callSize:]
		if m == 0 || e.Priority > PriorityLow || len(b) < m+k {
			return nil, fmt.Errorf("%w: CALL has no method, an unknown priority or is too short", ErrEnvelope)
		}
		e.Method, e.Key, b = b[:m:m], b[m:m+k:m+k], b[m+k:]
	case KindPart, KindGrant, KindAttempt:
		if len(b) < 8 {
			return nil, fmt.Errorf("%w: %v is too short", ErrEnvelope, e.Kind)
		}
		e.Sequence, b = binary.BigEndian.Uint64(b), b[8:]
	}
	e.Body = b
	return rest, nil
}

// Size returns the encoded length of e.
func (e *Envelope) Size() int {
	n := HeaderSize + len(e.Body)
	if e.Flags&FlagOrigin != 0 {
		n += OriginSize
	}
	switch e.Kind {
	case KindCall:
		n += callSize + len(e.Method) + len(e.Key)
	case KindPart, KindGrant, KindAttempt:
		n += 8
	}
	return n
}

// Append appends the encoded form of e to dst. Method and Key longer than 255
// bytes are a programming error and panic; callers check names at the door.
func (e *Envelope) Append(dst []byte) []byte {
	return append(e.AppendHead(dst), e.Body...)
}

// AppendHead appends everything of e but its body, whose length it announces.
func (e *Envelope) AppendHead(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(e.Size()-4))
	dst = append(dst, byte(e.Kind), byte(e.Flags), 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, e.ID)
	if e.Flags&FlagOrigin != 0 {
		dst = append(dst, e.Origin.Session[:]...)
		dst = binary.BigEndian.AppendUint64(dst, e.Origin.Number)
	}
	switch e.Kind {
	case KindCall:
		if len(e.Method) == 0 || len(e.Method) > MaxMethodName || len(e.Key) > MaxIdempotencyKey {
			panic("message: method or idempotency key was not checked at the door")
		}
		dst = binary.BigEndian.AppendUint32(dst, wireTimeout(e.Timeout))
		dst = append(dst, e.Attempt, byte(e.Priority), byte(len(e.Method)), byte(len(e.Key)))
		dst = append(dst, e.Method...)
		dst = append(dst, e.Key...)
	case KindPart, KindGrant, KindAttempt:
		dst = binary.BigEndian.AppendUint64(dst, e.Sequence)
	}
	return dst
}

// wireTimeout rounds up: a deadline that is near must not read as "none".
func wireTimeout(d time.Duration) uint32 {
	if d <= 0 {
		return 0
	}
	ms := (min(d, MaxTimeout) + time.Millisecond - 1) / time.Millisecond
	return uint32(ms)
}
