package method

import (
	"errors"
	"fmt"
	"reflect"
	"unicode/utf8"

	"github.com/servicetools/servicetools/wire/message"
)

// maxDepth bounds the nesting of a result: deeper ones are refused by every
// reader of messages, and a cyclic one would never end.
const maxDepth = 100

var (
	// ErrTooLarge is the failure of a result that exceeds the limit given to Call.
	ErrTooLarge = errors.New("the result exceeds the message limit")
	errDepth    = fmt.Errorf("the result is nested more than %d deep; is it cyclic?", maxDepth)
)

// encoder appends one value to b.
type encoder struct {
	b     []byte
	limit int // of len(b)
	depth int
}

// value encodes any Go value by its dynamic type.
func (e *encoder) value(v reflect.Value) error {
	c, err := codecOf(v.Type())
	if err != nil {
		return err
	}
	return c.encode(e, v)
}

// enter counts one more level of nesting; the caller decrements depth again.
func (e *encoder) enter() error {
	if e.depth++; e.depth > maxDepth {
		return errDepth
	}
	return e.fits(0)
}

// fits returns ErrTooLarge if n more bytes exceed the limit.
func (e *encoder) fits(n int) error {
	if len(e.b)+n > e.limit {
		return ErrTooLarge
	}
	return nil
}

func (e *encoder) null() { e.b = append(e.b, 0xc0) }

// append writes the low width bytes of n, big-endian.
func (e *encoder) append(n uint64, width int) {
	for shift := 8 * (width - 1); shift >= 0; shift -= 8 {
		e.b = append(e.b, byte(n>>shift))
	}
}

func (e *encoder) fixed(c byte, n uint64, width int) {
	e.b = append(e.b, c)
	e.append(n, width)
}

func (e *encoder) uint(u uint64) {
	switch {
	case u < 1<<7:
		e.b = append(e.b, byte(u))
	case u < 1<<8:
		e.fixed(0xcc, u, 1)
	case u < 1<<16:
		e.fixed(0xcd, u, 2)
	case u < 1<<32:
		e.fixed(0xce, u, 4)
	default:
		e.fixed(0xcf, u, 8)
	}
}

func (e *encoder) int(i int64) {
	switch {
	case i >= 0:
		e.uint(uint64(i))
	case i >= -1<<5:
		e.b = append(e.b, byte(i))
	case i >= -1<<7:
		e.fixed(0xd0, uint64(i), 1)
	case i >= -1<<15:
		e.fixed(0xd1, uint64(i), 2)
	case i >= -1<<31:
		e.fixed(0xd2, uint64(i), 4)
	default:
		e.fixed(0xd3, uint64(i), 8)
	}
}

// text writes a str, or a bin if s is not UTF-8: the specification wants str to
// be, and readers that check would refuse the whole message.
func (e *encoder) text(s string) error {
	if err := e.fits(len(s)); err != nil {
		return err
	}
	n := uint64(len(s))
	switch {
	case !utf8.ValidString(s):
		e.binaryHead(len(s))
	case n < 32:
		e.b = append(e.b, 0xa0|byte(n))
	case n < 1<<8:
		e.fixed(0xd9, n, 1)
	case n < 1<<16:
		e.fixed(0xda, n, 2)
	default:
		e.fixed(0xdb, n, 4)
	}
	e.b = append(e.b, s...)
	return nil
}

func (e *encoder) bytes(b []byte) error {
	if err := e.fits(len(b)); err != nil {
		return err
	}
	e.binaryHead(len(b))
	e.b = append(e.b, b...)
	return nil
}

func (e *encoder) binaryHead(n int) { e.b = message.AppendBinaryHead(e.b, n) }

// binaryHeadSize returns how many bytes binaryHead writes.
func binaryHeadSize(n int) int {
	switch {
	case n < 1<<8:
		return 2
	case n < 1<<16:
		return 3
	}
	return 5
}

func (e *encoder) arrayHead(n int) { e.b = message.AppendArrayHead(e.b, n) }

func (e *encoder) mapHead(n int) {
	switch {
	case n < 16:
		e.b = append(e.b, 0x80|byte(n))
	case n < 1<<16:
		e.fixed(0xde, uint64(n), 2)
	default:
		e.fixed(0xdf, uint64(n), 4)
	}
}

func encodeAny(e *encoder, v reflect.Value) error {
	if v.IsNil() {
		e.null()
		return nil
	}
	return e.value(v.Elem())
}

// Append appends the encoded form of any value to dst, in at most limit bytes.
func Append(dst []byte, v any, limit int) ([]byte, error) {
	if v == nil {
		return append(dst, 0xc0), nil
	}
	e := encoder{b: dst, limit: len(dst) + limit}
	err := e.value(reflect.ValueOf(v))
	if err == nil {
		err = e.fits(0)
	}
	if err != nil {
		return dst, err
	}
	return e.b, nil
}
