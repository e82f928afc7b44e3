package method

import (
	"encoding/binary"
	"reflect"
)

// drain sends the items of a stream to emit, or collects them in an array.
func (m *Method) drain(e *encoder, out reflect.Value, emit Emit) error {
	if emit == nil {
		return m.collect(e, out)
	}
	item := encoder{}
	limit := e.limit - len(e.b)
	err := m.each(out, func(v reflect.Value) error {
		item.b, item.limit, item.depth = item.b[:0], limit, 0
		err := m.result.encode(&item, v)
		if err == nil {
			err = item.fits(0)
		}
		if err != nil {
			return err
		}
		return emit(item.b)
	})
	e.null()
	return err
}

// collect encodes the items as an array whose length is known at the end.
func (m *Method) collect(e *encoder, out reflect.Value) error {
	start := len(e.b)
	e.fixed(0xdd, 0, 4)
	n := uint32(0)
	err := m.each(out, func(v reflect.Value) error {
		n++
		if err := m.result.encode(e, v); err != nil {
			return err
		}
		return e.fits(0)
	})
	binary.BigEndian.PutUint32(e.b[start+1:], n)
	return err
}

// each calls take for every item until it fails, and returns that failure or
// the stream's own.
func (m *Method) each(out reflect.Value, take func(reflect.Value) error) (err error) {
	if out.IsNil() {
		return nil
	}
	switch m.stream {
	case channel:
		for {
			v, ok := out.Recv()
			if !ok {
				return err
			}
			if err == nil {
				err = take(v)
			}
		}
	case seq:
		for v := range out.Seq() {
			if err = take(v); err != nil {
				return err
			}
		}
	case seq2:
		for v, failure := range out.Seq2() {
			if failed, _ := failure.Interface().(error); failed != nil {
				return &HandlerError{failed}
			}
			if err = take(v); err != nil {
				return err
			}
		}
	}
	return nil
}
