package zmtp

import (
	"encoding/binary"
	"fmt"
)

// Command names of ZMTP and its NULL mechanism.
const (
	CommandReady = "READY"
	CommandError = "ERROR"
	CommandPing  = "PING"
	CommandPong  = "PONG"
)

// Heartbeat limits, RFC 37 "heartbeating".
const (
	// MaxPingContext is the longest context that a PING carries and its PONG echoes.
	MaxPingContext = 16
	// MaxPingTTL is the largest TTL that is safe to send, in deciseconds: libzmq
	// multiplies it by 100 in a uint16, so that 656 means 0.06 s (libzmq #4226).
	MaxPingTTL = 655
)

var errCommand = fmt.Errorf("%w: malformed command", ErrProtocol)

// AppendCommand appends a command's body: name-length u8, name, data.
func AppendCommand(dst []byte, name string, data []byte) []byte {
	dst = append(dst, byte(len(name)))
	dst = append(dst, name...)
	return append(dst, data...)
}

// SplitCommand returns the name and data of a command's body.
func SplitCommand(body []byte) (name, data []byte, err error) {
	if len(body) == 0 || body[0] == 0 || int(body[0]) > len(body)-1 {
		return nil, nil, errCommand
	}
	n := int(body[0])
	return body[1 : 1+n], body[1+n:], nil
}

// AppendError appends an ERROR command. Libzmq reports only reasons of exactly
// three digits; SDK peers are sent a text after the status.
func AppendError(dst []byte, r *Refusal) []byte {
	reason := r.Status
	if r.SDK && r.Reason != "" {
		reason += " " + r.Reason
	}
	reason = reason[:min(len(reason), 255)]
	dst = append(dst, byte(len(CommandError)))
	dst = append(dst, CommandError...)
	dst = append(dst, byte(len(reason)))
	return append(dst, reason...)
}

// ParseError reads the data of an ERROR command as a Refusal by the peer. Text
// that is not printable is dropped: it comes from a peer that nobody vouches for.
func ParseError(data []byte) *Refusal {
	r := &Refusal{ByPeer: true, Status: "500"}
	if len(data) == 0 || int(data[0]) > len(data)-1 {
		r.Reason = "malformed ERROR"
		return r
	}
	reason := data[1 : 1+int(data[0])]
	for _, c := range reason {
		if c < ' ' || c > '~' {
			return r
		}
	}
	if len(reason) >= 3 && isDigits(reason[:3]) && (len(reason) == 3 || reason[3] == ' ') {
		r.Status = string(reason[:3])
		if len(reason) > 4 {
			r.Reason = string(reason[4:])
		}
		return r
	}
	r.Reason = string(reason)
	return r
}

func isDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// AppendPing appends a PING command with a TTL in deciseconds.
func AppendPing(dst []byte, ttl uint16, context []byte) []byte {
	dst = append(dst, byte(len(CommandPing)))
	dst = append(dst, CommandPing...)
	dst = binary.BigEndian.AppendUint16(dst, min(ttl, MaxPingTTL))
	return append(dst, context[:min(len(context), MaxPingContext)]...)
}
