package clientsdk

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
)

// Args is a whole list of positional arguments, for Map.
type Args []any

// Kwargs are named arguments. Given as one of the arguments of a call, it does
// not count as a positional one.
type Kwargs map[string]any

// Raw is one value in its msgpack form. As an argument it is sent as it is; as
// a result type it is what came, not decoded.
type Raw = msgpack.RawMessage

// encoding is a pooled msgpack encoder that appends to b.
type encoding struct {
	b       []byte
	encoder *msgpack.Encoder
}

func (w *encoding) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

func (w *encoding) WriteByte(c byte) error {
	w.b = append(w.b, c)
	return nil
}

var encodings = sync.Pool{New: func() any {
	w := new(encoding)
	w.encoder = msgpack.NewEncoder(w)
	w.encoder.UseCompactInts(true)
	w.encoder.SetSortMapKeys(true) // equal arguments are equal bytes, for idempotency keys
	w.encoder.SetCustomStructTag("json")
	return w
}}

// prepare fills c with a request. Nothing of the arguments is kept.
func (c *call) prepare(method string, set *settings, args []any) *Error {
	if e := checkMethod(method); e != nil {
		return e
	}
	c.buf = buffer.Get(len(method) + len(set.key) + roomFor(args))
	c.buf.Bytes = append(append(c.buf.Bytes, method...), set.key...)
	c.methodEnd, c.keyEnd = uint32(len(method)), uint32(len(c.buf.Bytes))
	c.priority, c.flags = set.priority, 0
	if set.idempotent {
		c.flags |= message.FlagIdempotent
	}
	w := encodings.Get().(*encoding)
	w.b = c.buf.Bytes
	err := w.body(args)
	c.buf.Bytes, w.b = w.b, nil
	encodings.Put(w)
	if err != nil {
		return message.Errorf(message.BadArgs, "the arguments of %s cannot be sent: %v", method, err)
	}
	return nil
}

// roomFor returns about how many bytes the arguments take, so that the memory of
// a large one does not grow step by step.
func roomFor(args []any) int {
	n := 64
	for _, arg := range args {
		switch arg := arg.(type) {
		case []byte:
			n += len(arg)
		case string:
			n += len(arg)
		case Raw:
			n += len(arg)
		}
	}
	return n
}

// checkMethod refuses a name that no worker and no broker can serve.
func checkMethod(method string) *Error {
	if len(method) > message.MaxMethodName {
		return message.CheckMethodName(method)
	}
	return message.CheckMethodName(strings.TrimPrefix(method, message.ReservedPrefix))
}

// body appends the call body: an array of the positional arguments and a map
// of the named ones, or nil.
func (w *encoding) body(args []any) (err error) {
	defer func() { // an encoder of the caller's own, or a nil pointer in its value
		if v := recover(); v != nil {
			err = fmt.Errorf("encoding panicked: %v", v)
		}
	}()
	var kwargs Kwargs
	positional := len(args)
	for _, arg := range args {
		if k, ok := arg.(Kwargs); ok {
			if kwargs != nil {
				return fmt.Errorf("Kwargs is given twice; put all names into one")
			}
			if kwargs = k; k == nil {
				kwargs = Kwargs{}
			}
			positional--
		}
	}
	w.b = message.AppendArrayHead(w.b, positional)
	for i, arg := range args {
		if _, ok := arg.(Kwargs); ok {
			continue
		}
		if err := w.value(arg); err != nil {
			return fmt.Errorf("argument %d: %w", i+1, err)
		}
	}
	if kwargs == nil {
		w.b = append(w.b, 0xc0)
		return nil
	}
	return w.encoder.EncodeMapSorted(kwargs)
}

func (w *encoding) value(v any) error {
	switch v := v.(type) {
	case Raw:
		if err := message.Validate(v); err != nil {
			return err
		}
	case []byte: // as the library does, without its way through an io.Writer
		if v != nil {
			w.b = append(message.AppendBinaryHead(w.b, len(v)), v...)
			return nil
		}
	case Buffer, *Buffer: // which would be sent as an empty map
		return errors.New("a Buffer is no argument, its Bytes are")
	}
	return w.encoder.Encode(v)
}
