package clientsdk

import (
	"errors"

	"github.com/servicetools/servicetools/wire/buffer"
)

// Buffer takes results that are bytes, text or nil, one after the other, into memory
// that is used again: one of 16 KiB or more stays where it was received and is not
// copied. The zero value is empty and ready to use.
//
//	var answer clientsdk.Buffer
//	defer answer.Release()
//	for _, f := range futures {
//		if err := f.Result(&answer); err != nil {
//			return err
//		}
//		use(answer.Bytes())
//	}
//
// As the T of Call, Map and Stream it is the caller's to release. One that is never
// released is the garbage collector's. It is a result itself, not part of one, and
// no argument. It must not be copied while it holds something, other than by return,
// nor be used by several goroutines at once.
type Buffer struct{ content buffer.Content }

// Bytes returns the last result, which the caller may change, until b takes the next
// one or is released: then the memory goes to other messages, so that what is needed
// for longer must be copied. It is nil if that was nil, or if there is none.
func (b *Buffer) Bytes() []byte { return b.content.Bytes }

// Release gives the memory back, and leaves b empty. Another Release does nothing.
func (b *Buffer) Release() { b.content.Release() }

var errNotBytes = errors.New("it is neither bytes nor text nor nil")

// take puts a valid msgpack value into b, which the memory of whole is given to if it
// has some that is worth it. An error leaves b as it was.
func (b *Buffer) take(whole *buffer.Content) error {
	data, ok := bytesOf(whole.Bytes)
	if !ok {
		return undecodable(b, errNotBytes)
	}
	b.content.Release()
	switch {
	case data == nil:
	case whole.Memory != nil && !whole.Memory.Wasted(len(data)):
		b.content, whole.Memory = buffer.Content{Bytes: data, Memory: whole.Memory}, nil
	default:
		b.content = buffer.Keep(data, nil)
	}
	return nil
}

// bytesOf returns the content of a valid msgpack value that is a bin or a str, or nil
// for a nil.
func bytesOf(value []byte) (content []byte, ok bool) {
	head := 0
	switch c := value[0]; {
	case c == 0xc0:
		return nil, true
	case c >= 0xa0 && c <= 0xbf:
		head = 1
	case c == 0xd9:
		head = 2
	case c == 0xda:
		head = 3
	case c == 0xdb:
		head = 5
	default:
		return binaryOf(value)
	}
	return value[head:len(value):len(value)], true
}
