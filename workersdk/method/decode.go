package method

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"strconv"
)

// kind is the family of a msgpack value.
type kind uint8

const (
	kindNil kind = iota
	kindBool
	kindInt  // a signed format, or fixint
	kindUint // an unsigned format
	kindFloat
	kindString
	kindBinary
	kindArray
	kindMap
	kindExt
)

// head is the head of one msgpack value, with its bytes where it has some.
type head struct {
	kind kind
	ext  int8    // type of an ext
	num  uint64  // bool, bits of the int, uint; items of an array, pairs of a map
	real float64 // float
	data []byte  // str, bin, ext; aliases the message
}

// decoder reads a message that message.SplitValue has checked before: lengths
// and nesting hold. What is left to bound is how much a few bytes unfold to.
type decoder struct {
	b         []byte
	allowance int    // bytes of memory that the rest may still unfold to
	lease     *lease // nil = what is decoded is copied
}

// own returns b, a part of the body, as memory of the method's: a copy, unless
// it is so much of a large body that to keep that wastes little.
func (d *decoder) own(b []byte) []byte {
	if l := d.lease; l != nil && l.whole > 0 && len(b) >= l.whole/2 {
		l.taken = true
		return b[:len(b):len(b)]
	}
	return clone(b)
}

// clone copies b, without clearing the memory first as append(make...) does. The copy
// is not nil.
func clone(b []byte) []byte {
	c := make([]byte, len(b))
	copy(c, b)
	return c
}

// Arguments may take so much memory: what many small values need in any case,
// and a multiple of the message, so that a megabyte of empty maps is refused
// as a slice of large structs.
const (
	allowanceBase  = 4 << 20
	allowanceTimes = 32
)

func allowanceFor(size int) int { return allowanceBase + allowanceTimes*size }

// next consumes the head of the next value.
func (d *decoder) next() head {
	c := d.b[0]
	d.b = d.b[1:]
	switch {
	case c <= 0x7f:
		return head{kind: kindInt, num: uint64(c)}
	case c <= 0x8f:
		return head{kind: kindMap, num: uint64(c & 0x0f)}
	case c <= 0x9f:
		return head{kind: kindArray, num: uint64(c & 0x0f)}
	case c <= 0xbf:
		return head{kind: kindString, data: d.take(uint64(c & 0x1f))}
	case c >= 0xe0:
		return head{kind: kindInt, num: uint64(int64(int8(c)))}
	}
	switch c {
	case 0xc2, 0xc3:
		return head{kind: kindBool, num: uint64(c & 1)}
	case 0xc4, 0xc5, 0xc6:
		return head{kind: kindBinary, data: d.take(d.uint(1 << (c - 0xc4)))}
	case 0xc7, 0xc8, 0xc9:
		return d.ext(d.uint(1 << (c - 0xc7)))
	case 0xca:
		return head{kind: kindFloat, real: float64(math.Float32frombits(uint32(d.uint(4))))}
	case 0xcb:
		return head{kind: kindFloat, real: math.Float64frombits(d.uint(8))}
	case 0xcc, 0xcd, 0xce, 0xcf:
		return head{kind: kindUint, num: d.uint(1 << (c - 0xcc))}
	case 0xd0:
		return head{kind: kindInt, num: uint64(int64(int8(d.uint(1))))}
	case 0xd1:
		return head{kind: kindInt, num: uint64(int64(int16(d.uint(2))))}
	case 0xd2:
		return head{kind: kindInt, num: uint64(int64(int32(d.uint(4))))}
	case 0xd3:
		return head{kind: kindInt, num: d.uint(8)}
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8:
		return d.ext(1 << (c - 0xd4))
	case 0xd9, 0xda, 0xdb:
		return head{kind: kindString, data: d.take(d.uint(1 << (c - 0xd9)))}
	case 0xdc, 0xdd:
		return head{kind: kindArray, num: d.uint(2 << (c - 0xdc))}
	case 0xde, 0xdf:
		return head{kind: kindMap, num: d.uint(2 << (c - 0xde))}
	}
	return head{kind: kindNil}
}

func (d *decoder) ext(n uint64) head {
	id := int8(d.b[0])
	d.b = d.b[1:]
	return head{kind: kindExt, ext: id, data: d.take(n)}
}

func (d *decoder) take(n uint64) []byte {
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) uint(width int) (n uint64) {
	b := d.take(uint64(width))
	switch width {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(b))
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	}
	return binary.BigEndian.Uint64(b)
}

// peekNil consumes a nil if one is next.
func (d *decoder) peekNil() bool {
	if d.b[0] != 0xc0 {
		return false
	}
	d.b = d.b[1:]
	return true
}

// charge takes the memory for n items of the given size from the allowance.
func (d *decoder) charge(n uint64, size uintptr) error {
	if n == 0 || size == 0 {
		return nil
	}
	if n > uint64(d.allowance) || uint64(size) > uint64(d.allowance)/n {
		return &mismatch{why: fmt.Sprintf("the arguments unfold to more than %d times their size", allowanceTimes)}
	}
	d.allowance -= int(n * uint64(size))
	return nil
}

// mismatch says which part of a message does not fit its Go type. Composite
// decoders prepend to where as the error travels up.
type mismatch struct {
	where string
	want  reflect.Type
	got   string
	why   string
}

// Error reads "[3].Name: want int8, got 300, which does not fit".
func (m *mismatch) Error() string {
	text := m.why
	if m.want != nil {
		text = fmt.Sprintf("want %s, got %s", m.want, m.got)
		if m.why != "" {
			text += ", " + m.why
		}
	}
	if m.where == "" {
		return text
	}
	return m.where + ": " + text
}

// within returns err after putting where before its path.
func within(where string, err error) error {
	if m, ok := err.(*mismatch); ok {
		m.where = where + m.where
	}
	return err
}

func wrongType(want reflect.Type, t head) error {
	return &mismatch{want: want, got: t.String()}
}

func doesNotFit(want reflect.Type, t head, why string) error {
	return &mismatch{want: want, got: t.String(), why: why}
}

// String describes the value for a person; texts are not repeated, since
// errors are logged and payloads are not.
func (t head) String() string {
	switch t.kind {
	case kindNil:
		return "nil"
	case kindBool:
		return strconv.FormatBool(t.num != 0)
	case kindInt:
		return strconv.FormatInt(int64(t.num), 10)
	case kindUint:
		return strconv.FormatUint(t.num, 10)
	case kindFloat:
		return strconv.FormatFloat(t.real, 'g', -1, 64)
	case kindString:
		return fmt.Sprintf("a string of %d bytes", len(t.data))
	case kindBinary:
		return fmt.Sprintf("%d binary bytes", len(t.data))
	case kindArray:
		return fmt.Sprintf("an array of %d", t.num)
	case kindMap:
		return fmt.Sprintf("a map of %d", t.num)
	}
	return fmt.Sprintf("an extension of type %d", t.ext)
}
