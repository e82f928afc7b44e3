package method

import (
	"reflect"
	"unsafe"

	"github.com/servicetools/servicetools/wire/buffer"
)

// Borrowed is a parameter or result that is not copied: bytes that lie where the
// message came, of whatever size. They are the method's until it returns, or until
// its stream has ended: it may read them and change them in place. Then their
// memory goes to the next message, so what is kept, or is still used by a goroutine
// that the method has started, must be a copy (bytes.Clone). Anything else sees,
// or changes, the bytes of other calls.
//
// As a parameter, or anywhere within one, it takes what a []byte takes. After an
// error or a panic the memory is left to the garbage collector, since the error may
// refer to it.
//
// As the result it may lie in an argument: the argument itself, changed or not, or a
// part of it. If it is no less than about half of the message, or that has no more than
// 512 bytes, it is then sent from there. Any other result, or one within a larger value,
// is copied as a []byte is, and its memory stays the method's.
type Borrowed []byte

var (
	borrowedType = reflect.TypeFor[Borrowed]()
	bytesType    = reflect.TypeFor[[]byte]()
)

// borrow returns b, a part of the body, as what is the method's until it returns: a
// copy only if the body lies in memory that is not the call's.
func (d *decoder) borrow(b []byte) []byte {
	if l := d.lease; l != nil && l.lends {
		l.lent = true
		return b // decoder.take has capped it
	}
	return clone(b)
}

// decodeBorrowed is decodeBytes for a Borrowed.
func decodeBorrowed(d *decoder, v reflect.Value) error {
	t := d.next()
	switch t.kind {
	case kindString, kindBinary:
		v.SetBytes(d.borrow(t.data))
	case kindNil:
		v.SetZero()
	default:
		return wrongType(bytesType, t)
	}
	return nil
}

// inPlace makes a result of b where that lies, if that is in lent, what the method
// had borrowed, and worth holding its memory for. The head of the value goes in front
// of b, over what lies there and has been read: the argument's own head, which may be
// shorter, or what the method has cut off.
func inPlace(b []byte, lent *buffer.Content) (result []byte, ok bool) {
	if len(b) > len(lent.Bytes) || lent.Memory == nil || lent.Memory.Wasted(len(b)) {
		return nil, false
	}
	head := binaryHeadSize(len(b))
	at := addressOf(b) - addressOf(lent.Bytes) // wraps around for what lies before
	if at < uintptr(head) || at > uintptr(len(lent.Bytes)-len(b)) {
		return nil, false
	}
	start, end := int(at)-head, int(at)+len(b)
	result = lent.Bytes[start:end:end]
	e := encoder{b: result[:0]}
	e.binaryHead(len(b))
	return result, true
}

// addressOf returns where b lies. To ask package reflect would be an allocation.
func addressOf(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// borrows reports whether a value of type t may have a Borrowed in it.
func borrows(t reflect.Type) bool {
	met := map[reflect.Type]bool{} // types may contain themselves
	var within func(reflect.Type) bool
	within = func(t reflect.Type) bool {
		if t == borrowedType || met[t] {
			return t == borrowedType
		}
		met[t] = true
		switch t.Kind() {
		case reflect.Slice, reflect.Array, reflect.Map, reflect.Pointer:
			return within(t.Elem())
		case reflect.Struct:
			for i := range t.NumField() {
				if within(t.Field(i).Type) {
					return true
				}
			}
		}
		return false
	}
	return within(t)
}

// spelled is t as a caller may read it, to whom a Borrowed is bytes like others.
func spelled(t reflect.Type) string {
	if t == borrowedType {
		t = bytesType
	}
	return t.String()
}
