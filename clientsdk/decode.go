package clientsdk

import (
	"bytes"
	"math"
	"reflect"
	"sync"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
)

// decoding is a pooled msgpack decoder with its reader.
type decoding struct {
	reader  bytes.Reader
	decoder *msgpack.Decoder
}

var decodings = sync.Pool{New: func() any {
	r := new(decoding)
	r.decoder = msgpack.NewDecoder(&r.reader)
	return r
}}

// decode reads a result, one msgpack value, into v, a pointer. Into an any come
// nil, bool, int64 (uint64 where that is too small), float64, string, []byte,
// time.Time, []any, and map[string]any or, where a key is not a string,
// map[any]any.
func decode(body []byte, v any) error {
	if err := message.Validate(body); err != nil { // msgpack itself trusts lengths and nesting
		return undecodable(v, err)
	}
	switch v := v.(type) {
	case *Buffer:
		return v.take(&buffer.Content{Bytes: body})
	case *Raw:
		*v = bytes.Clone(body)
		return nil
	case *[]byte:
		if b, ok := binaryOf(body); ok {
			*v = make([]byte, len(b)) // not nil, and not cleared before the copy
			copy(*v, b)
			return nil
		}
	case *struct{}: // any result will do
		return nil
	}
	r := decodings.Get().(*decoding)
	r.reader.Reset(body)
	d := r.decoder
	d.Reset(&r.reader)
	d.SetCustomStructTag("json")
	d.SetMapDecoder(decodeMap)
	err := safely(d, v)
	r.reader.Reset(nil)
	if err != nil {
		return undecodable(v, err) // the decoder is left to the garbage collector
	}
	decodings.Put(r)
	switch v := v.(type) { // numbers in an any have the width of the wire up to here
	case *any:
		*v = widen(*v)
	case *[]any:
		widen(*v)
	case *map[string]any:
		widen(*v)
	}
	return nil
}

// widen makes every number in v, also within lists and maps, an int64, uint64 or float64.
func widen(v any) any {
	switch v := v.(type) {
	case int8:
		return int64(v)
	case int16:
		return int64(v)
	case int32:
		return int64(v)
	case uint8:
		return int64(v)
	case uint16:
		return int64(v)
	case uint32:
		return int64(v)
	case uint64:
		if v <= math.MaxInt64 {
			return int64(v)
		}
	case float32:
		return float64(v)
	case []any:
		for i := range v {
			v[i] = widen(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = widen(v[key])
		}
	case map[any]any:
		for key := range v {
			v[key] = widen(v[key])
		}
	}
	return v
}

// undecodable says that the answer of a method that did run is not a *v.
func undecodable(v any, err error) *Error {
	return message.Errorf(message.Malformed, "the method ran, but its result is not a %v: %v", reflect.TypeOf(v).Elem(), err).
		WithExecution(message.Executed)
}

func safely(d *msgpack.Decoder, v any) (err error) {
	defer func() { // a decoder of the caller's own, or a map key that cannot be one
		if p := recover(); p != nil {
			err = message.Errorf(message.Malformed, "decoding panicked: %v", p)
		}
	}()
	return d.Decode(v)
}

// decodeMap gives programs the map they expect, and keeps other keys too.
func decodeMap(d *msgpack.Decoder) (any, error) {
	n, err := d.DecodeMapLen()
	if err != nil || n < 0 {
		return nil, err
	}
	named := make(map[string]any, min(n, 64))
	var mixed map[any]any
	for range n {
		key, err := d.DecodeInterface()
		if err != nil {
			return nil, err
		}
		value, err := d.DecodeInterface()
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok && mixed == nil {
			mixed = make(map[any]any, min(n, 64))
			for k, v := range named {
				mixed[k] = v
			}
		}
		if mixed != nil {
			mixed[widen(key)] = value
		} else {
			named[name] = value
		}
	}
	if mixed != nil {
		return mixed, nil
	}
	return named, nil
}
