package clientsdk

import (
	"bytes"

	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
)

// own decodes the reply of c, which has ended, into v. A Buffer takes its memory over,
// if the reply is worth that. A large reply that is wanted as the bytes that it is becomes the
// caller's memory, and is not copied: it is the garbage collector's in the end.
func (c *call) own(v any) error {
	whole := c.reply.Bytes
	buf, moves := v.(*Buffer)
	if !moves && len(whole) < buffer.Large || message.Validate(whole) != nil {
		return decode(whole, v)
	}
	if moves {
		return buf.take(&c.reply)
	}
	switch v := v.(type) {
	case *Raw:
		*v = whole[:len(whole):len(whole)]
	case *[]byte:
		b, ok := binaryOf(whole)
		if !ok {
			return decode(whole, v)
		}
		*v = b
	default:
		return decode(whole, v)
	}
	c.reply.Memory = nil
	return nil
}

// settle leaves a small reply that may be asked for again in memory of its size, and
// gives back what it lay in.
func (c *call) settle() {
	if b := c.reply.Bytes; c.reply.Memory != nil && len(b) < buffer.Large {
		b = bytes.Clone(b)
		c.reply.Release()
		c.reply.Bytes = b
	}
}

// binaryOf returns the content of a valid msgpack value if that is a bin.
func binaryOf(value []byte) ([]byte, bool) {
	switch {
	case len(value) >= 2 && value[0] == 0xc4:
		value = value[2:]
	case len(value) >= 3 && value[0] == 0xc5:
		value = value[3:]
	case len(value) >= 5 && value[0] == 0xc6:
		value = value[5:]
	default:
		return nil, false
	}
	return value[:len(value):len(value)], true
}
