package message

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/vmihailenco/msgpack/v5"
)

// maxDepth bounds the nesting of a value from the wire: a parser that recurses
// on the peer's word would let 16 MiB of 0x91 exhaust the stack.
const maxDepth = 128

var (
	errShort = errors.New("message: msgpack value is cut short")
	errDepth = errors.New("message: msgpack value is nested too deeply")
	errCode  = errors.New("message: msgpack value starts with the reserved byte 0xc1")
	errTrail = errors.New("message: bytes follow the msgpack value")
	errMany  = errors.New("message: msgpack value has too many items")
)

// maxItems bounds the items of a value that is decoded into Go values here, the
// longest list of methods with room to spare. The decoder makes a Method of 80
// bytes from each nil byte of an array: 16 MiB would become 1.3 GiB.
const maxItems = 1 << 17

// AppendArrayHead appends the head of an array of n values.
func AppendArrayHead(dst []byte, n int) []byte {
	switch {
	case n < 16:
		return append(dst, 0x90|byte(n))
	case n < 1<<16:
		return append(dst, 0xdc, byte(n>>8), byte(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, 0xdd), uint32(n))
}

// AppendBinaryHead appends the head of n bytes.
func AppendBinaryHead(dst []byte, n int) []byte {
	switch {
	case n < 1<<8:
		return append(dst, 0xc4, byte(n))
	case n < 1<<16:
		return append(dst, 0xc5, byte(n>>8), byte(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, 0xc6), uint32(n))
}

// SplitValue returns the first msgpack value of b, undecoded, and what follows
// it. It checks lengths and nesting but neither copies nor allocates.
func SplitValue(b []byte) (value, rest []byte, err error) {
	w := walk{items: len(b)} // each takes a byte at least
	n, err := w.skip(b, 0)
	if err != nil {
		return nil, nil, err
	}
	return b[:n:n], b[n:], nil
}

// Validate reports whether b is exactly one msgpack value.
func Validate(b []byte) error {
	_, rest, err := SplitValue(b)
	if err == nil && len(rest) > 0 {
		err = errTrail
	}
	return err
}

// walk goes through a value without decoding it.
type walk struct {
	items int // how many more there may be
}

// skip returns the length of the value at the head of b.
func (w *walk) skip(b []byte, depth int) (int, error) {
	switch {
	case len(b) == 0:
		return 0, errShort
	case depth > maxDepth:
		return 0, errDepth
	case w.items == 0:
		return 0, errMany
	}
	w.items--
	c := b[0]
	switch {
	case c <= 0x7f || c >= 0xe0 || c == 0xc0 || c == 0xc2 || c == 0xc3: // fixint, nil, bool
		return 1, nil
	case c <= 0x8f: // fixmap
		return w.skipItems(b, 1, 2*uint64(c&0x0f), depth)
	case c <= 0x9f: // fixarray
		return w.skipItems(b, 1, uint64(c&0x0f), depth)
	case c <= 0xbf: // fixstr
		return skipBytes(b, 1, uint64(c&0x1f))
	}
	switch c {
	case 0xc4, 0xc5, 0xc6: // bin 8, 16, 32
		return skipSized(b, 1<<(c-0xc4), 0)
	case 0xc7, 0xc8, 0xc9: // ext 8, 16, 32: one type byte more
		return skipSized(b, 1<<(c-0xc7), 1)
	case 0xca, 0xce, 0xd2: // float 32, uint 32, int 32
		return skipBytes(b, 1, 4)
	case 0xcb, 0xcf, 0xd3: // float 64, uint 64, int 64
		return skipBytes(b, 1, 8)
	case 0xcc, 0xd0: // uint 8, int 8
		return skipBytes(b, 1, 1)
	case 0xcd, 0xd1: // uint 16, int 16
		return skipBytes(b, 1, 2)
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8: // fixext 1..16: one type byte more
		return skipBytes(b, 1, 1+1<<(c-0xd4))
	case 0xd9, 0xda, 0xdb: // str 8, 16, 32
		return skipSized(b, 1<<(c-0xd9), 0)
	case 0xdc, 0xdd: // array 16, 32
		n, at, err := sized(b, 2<<(c-0xdc))
		if err != nil {
			return 0, err
		}
		return w.skipItems(b, at, n, depth)
	case 0xde, 0xdf: // map 16, 32
		n, at, err := sized(b, 2<<(c-0xde))
		if err != nil {
			return 0, err
		}
		return w.skipItems(b, at, 2*n, depth)
	}
	return 0, errCode
}

// sized reads the big-endian length of width bytes that follows b[0].
func sized(b []byte, width int) (n uint64, at int, err error) {
	if len(b) < 1+width {
		return 0, 0, errShort
	}
	switch width {
	case 1:
		n = uint64(b[1])
	case 2:
		n = uint64(binary.BigEndian.Uint16(b[1:]))
	default:
		n = uint64(binary.BigEndian.Uint32(b[1:]))
	}
	return n, 1 + width, nil
}

func skipSized(b []byte, width int, extra uint64) (int, error) {
	n, at, err := sized(b, width)
	if err != nil {
		return 0, err
	}
	return skipBytes(b, at, n+extra)
}

func skipBytes(b []byte, at int, n uint64) (int, error) {
	if uint64(len(b)-at) < n {
		return 0, errShort
	}
	return at + int(n), nil
}

func (w *walk) skipItems(b []byte, at int, n uint64, depth int) (int, error) {
	if uint64(len(b)-at) < n { // each item is at least a byte
		return 0, errShort
	}
	for range n {
		m, err := w.skip(b[at:], depth+1)
		if err != nil {
			return 0, err
		}
		at += m
	}
	return at, nil
}

// stringBytes reads b as one msgpack str or bin without copying.
func stringBytes(b []byte) ([]byte, bool) {
	if len(b) == 0 {
		return nil, false
	}
	switch c := b[0]; {
	case c >= 0xa0 && c <= 0xbf:
		return b[1:], true
	case c == 0xd9 || c == 0xc4:
		return b[2:], true
	case c == 0xda || c == 0xc5:
		return b[3:], true
	case c == 0xdb || c == 0xc6:
		return b[5:], true
	}
	return nil, false
}

// mapLen returns the number of pairs of the map at the head of b, and where they start.
func mapLen(b []byte) (n, at int, ok bool) {
	if len(b) == 0 {
		return 0, 0, false
	}
	switch c := b[0]; {
	case c >= 0x80 && c <= 0x8f:
		return int(c & 0x0f), 1, true
	case c == 0xde || c == 0xdf:
		m, at, err := sized(b, 2<<(c-0xde))
		return int(m), at, err == nil
	}
	return 0, 0, false
}

// unmarshal decodes exactly one bounded value; msgpack itself trusts lengths and nesting.
func unmarshal(b []byte, v any) error {
	w := walk{items: maxItems}
	switch n, err := w.skip(b, 0); {
	case err != nil:
		return err
	case n < len(b):
		return errTrail
	}
	d := msgpack.NewDecoder(bytes.NewReader(b))
	return d.Decode(v)
}
