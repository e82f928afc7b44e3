package clientsdk

import "github.com/servicetools/servicetools/wire/message"

// own decodes the reply of c, which has ended, into v. A large one that is wanted
// as the bytes that it is becomes the caller's memory, and is not copied: it is
// never released, and the garbage collector's in the end.
func (c *call) own(v any) error {
	whole := c.reply.Bytes
	if c.reply.Memory == nil || message.Validate(whole) != nil {
		return decode(whole, v)
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
