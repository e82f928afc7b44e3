package method

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// codec moves values of one Go type out of and into messages. It is settled
// when a method with that type is registered.
type codec struct {
	decode func(d *decoder, v reflect.Value) error // v is settable
	encode func(e *encoder, v reflect.Value) error
	fields *fields // of a struct that is a map in messages
	own    bool    // the type encodes itself
}

var (
	anyType   = reflect.TypeFor[any]()
	errorType = reflect.TypeFor[error]()
	timeType  = reflect.TypeFor[time.Time]()
	rawType   = reflect.TypeFor[msgpack.RawMessage]()
)

// codecs holds every type met so far. Types may contain themselves, so a codec
// is entered before it is filled; readers see only what mu has released.
var codecs = struct {
	mu    sync.RWMutex
	known map[reflect.Type]*codec
}{known: map[reflect.Type]*codec{}}

// codecOf returns the codec of t, or why values of t cannot travel.
func codecOf(t reflect.Type) (*codec, error) {
	codecs.mu.RLock()
	c := codecs.known[t]
	codecs.mu.RUnlock()
	if c != nil {
		return c, nil
	}
	codecs.mu.Lock()
	defer codecs.mu.Unlock()
	b := builder{}
	c, err := b.codec(t)
	if err != nil {
		for _, t := range b.added { // some may refer to what failed
			delete(codecs.known, t)
		}
	}
	return c, err
}

// builder makes codecs with codecs.mu held.
type builder struct{ added []reflect.Type }

func (b *builder) codec(t reflect.Type) (*codec, error) {
	if c := codecs.known[t]; c != nil {
		return c, nil
	}
	c := &codec{}
	codecs.known[t] = c
	b.added = append(b.added, t)
	return c, b.fill(c, t)
}

func (b *builder) fill(c *codec, t reflect.Type) error {
	switch t {
	case timeType:
		c.decode, c.encode = decodeTime, encodeTime
		return nil
	case rawType:
		c.decode, c.encode = decodeRaw, encodeRaw
		return nil
	case borrowedType:
		c.decode, c.encode = decodeBorrowed, encodeBytes
		return nil
	case anyType:
		c.decode, c.encode = decodeAny, encodeAny
		return nil
	}
	if c.own = fillOwn(c, t); c.own {
		return nil
	}
	switch t.Kind() {
	case reflect.Bool:
		c.decode, c.encode = decodeBool, encodeBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		c.decode, c.encode = decodeInt, encodeInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		c.decode, c.encode = decodeUint, encodeUint
	case reflect.Float32, reflect.Float64:
		c.decode, c.encode = decodeFloat, encodeFloat
	case reflect.String:
		c.decode, c.encode = decodeString, encodeString
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			c.decode, c.encode = decodeBytes, encodeBytes
			return nil
		}
		return b.slice(c, t)
	case reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			c.decode, c.encode = decodeByteArray, encodeByteArray
			return nil
		}
		return b.array(c, t)
	case reflect.Map:
		return b.mapping(c, t)
	case reflect.Pointer:
		return b.pointer(c, t)
	case reflect.Struct:
		return b.structure(c, t)
	case reflect.Interface:
		return fmt.Errorf("%s is an interface, of which a message does not say the type: use any or a type of its own", t)
	default:
		return fmt.Errorf("%s is a %s, which a message cannot carry", t, t.Kind())
	}
	return nil
}

// Interfaces by which a type says itself how it travels.
var (
	customEncoder     = reflect.TypeFor[msgpack.CustomEncoder]()
	customDecoder     = reflect.TypeFor[msgpack.CustomDecoder]()
	msgpackMarshaler  = reflect.TypeFor[msgpack.Marshaler]()
	msgpackUnmarshal  = reflect.TypeFor[msgpack.Unmarshaler]()
	binaryMarshaler   = reflect.TypeFor[encoding.BinaryMarshaler]()
	binaryUnmarshaler = reflect.TypeFor[encoding.BinaryUnmarshaler]()
	textMarshaler     = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler   = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// fillOwn lets a type that encodes itself do so, in the order in which package
// msgpack would ask it, so that a Go client reads what this side wrote.
// Decoding is asked of *T, encoding of T or *T.
func fillOwn(c *codec, t reflect.Type) bool {
	if t.Kind() == reflect.Interface || t.Kind() == reflect.Pointer {
		return false
	}
	p := reflect.PointerTo(t)
	has := func(encode, decode reflect.Type) bool { return p.Implements(encode) && p.Implements(decode) }
	switch {
	case has(customEncoder, customDecoder), has(msgpackMarshaler, msgpackUnmarshal):
		c.decode, c.encode = decodeOwn, encodeOwn
	case has(binaryMarshaler, binaryUnmarshaler):
		c.decode, c.encode = decodeOwnBinary, encodeOwnBinary
	case has(textMarshaler, textUnmarshaler):
		c.decode, c.encode = decodeOwnText, encodeOwnText
	default:
		return false
	}
	return true
}

// refused is the mismatch of a value that its type's own method did not take.
func refused(v reflect.Value, t head, err error) error {
	return doesNotFit(v.Type(), t, fmt.Sprintf("which it refuses: %v", err))
}

// addressed returns a pointer to v or to a copy of it.
func addressed(v reflect.Value) any {
	if !v.CanAddr() {
		p := reflect.New(v.Type())
		p.Elem().Set(v)
		return p.Interface()
	}
	return v.Addr().Interface()
}

func decodeOwn(d *decoder, v reflect.Value) error {
	raw := d.raw()
	if err := msgpack.Unmarshal(raw, v.Addr().Interface()); err != nil {
		peek := decoder{b: raw}
		return refused(v, peek.next(), err)
	}
	return nil
}

func encodeOwn(e *encoder, v reflect.Value) error {
	b, err := msgpack.Marshal(addressed(v))
	if err == nil {
		err = e.fits(len(b))
	}
	e.b = append(e.b, b...)
	return err
}

func decodeOwnBinary(d *decoder, v reflect.Value) error {
	if text, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok && isText(d.b[0]) {
		return decodeOwnWith(d, v, text.UnmarshalText)
	}
	return decodeOwnWith(d, v, v.Addr().Interface().(encoding.BinaryUnmarshaler).UnmarshalBinary)
}

func decodeOwnText(d *decoder, v reflect.Value) error {
	return decodeOwnWith(d, v, v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText)
}

func decodeOwnWith(d *decoder, v reflect.Value, unmarshal func([]byte) error) error {
	t := d.next()
	if t.kind != kindString && t.kind != kindBinary {
		return wrongType(v.Type(), t)
	}
	if err := unmarshal(clone(t.data)); err != nil { // it may keep what it gets
		return refused(v, t, err)
	}
	return nil
}

func isText(c byte) bool { return c >= 0xa0 && c <= 0xbf || c >= 0xd9 && c <= 0xdb }

func encodeOwnBinary(e *encoder, v reflect.Value) error {
	b, err := addressed(v).(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return err
	}
	return e.bytes(b)
}

func encodeOwnText(e *encoder, v reflect.Value) error {
	b, err := addressed(v).(encoding.TextMarshaler).MarshalText()
	if err != nil {
		return err
	}
	return e.text(string(b))
}

// decodeRaw keeps a value as it came.
func decodeRaw(d *decoder, v reflect.Value) error {
	v.SetBytes(d.own(d.raw()))
	return nil
}

var errRaw = errors.New("a msgpack.RawMessage of the result is not one msgpack value")
