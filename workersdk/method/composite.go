package method

import (
	"fmt"
	"reflect"
	"strconv"

	"github.com/servicetools/servicetools/wire/message"
)

// The codecs of values made of others.

// raw consumes the next value undecoded.
func (d *decoder) raw() []byte {
	value, rest, err := message.SplitValue(d.b)
	if err != nil {
		panic("method: the message was not checked before it was decoded")
	}
	d.b = rest
	return value
}

func encodeRaw(e *encoder, v reflect.Value) error {
	b := v.Bytes()
	if len(b) == 0 {
		e.null()
		return nil
	}
	if err := e.fits(len(b)); err != nil {
		return err
	}
	if message.Validate(b) != nil {
		return errRaw
	}
	e.b = append(e.b, b...)
	return nil
}

func (b *builder) slice(c *codec, t reflect.Type) error {
	elem, err := b.codec(t.Elem())
	if err != nil {
		return err
	}
	c.decode = func(d *decoder, v reflect.Value) error {
		h := d.next()
		switch h.kind {
		case kindNil:
			v.SetZero()
			return nil
		case kindArray:
		default:
			return wrongType(t, h)
		}
		if err := d.charge(h.num, t.Elem().Size()); err != nil {
			return err
		}
		n := int(h.num)
		v.Set(reflect.MakeSlice(t, n, n))
		return decodeItems(d, elem, v, n)
	}
	c.encode = func(e *encoder, v reflect.Value) error {
		if v.IsNil() {
			e.null()
			return nil
		}
		return encodeItems(e, elem, v)
	}
	return nil
}

func (b *builder) array(c *codec, t reflect.Type) error {
	elem, err := b.codec(t.Elem())
	if err != nil {
		return err
	}
	c.decode = func(d *decoder, v reflect.Value) error {
		h := d.next()
		if h.kind != kindArray {
			return wrongType(t, h)
		}
		if h.num != uint64(t.Len()) {
			return doesNotFit(t, h, "which has another length")
		}
		return decodeItems(d, elem, v, t.Len())
	}
	c.encode = func(e *encoder, v reflect.Value) error { return encodeItems(e, elem, v) }
	return nil
}

func decodeItems(d *decoder, elem *codec, v reflect.Value, n int) error {
	for i := range n {
		if err := elem.decode(d, v.Index(i)); err != nil {
			return within("["+strconv.Itoa(i)+"]", err)
		}
	}
	return nil
}

func encodeItems(e *encoder, elem *codec, v reflect.Value) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer func() { e.depth-- }()
	n := v.Len()
	e.arrayHead(n)
	for i := range n {
		if err := elem.encode(e, v.Index(i)); err != nil {
			return err
		}
		if err := e.fits(0); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) mapping(c *codec, t reflect.Type) error {
	switch t.Key().Kind() {
	case reflect.Struct, reflect.Array, reflect.Pointer, reflect.Interface:
		if t.Key() != anyType && !reflect.PointerTo(t.Key()).Implements(textUnmarshaler) {
			return fmt.Errorf("%s has keys of type %s: a key must be text, a number, a bool or any", t, t.Key())
		}
	}
	key, err := b.codec(t.Key())
	if err != nil {
		return err
	}
	elem, err := b.codec(t.Elem())
	if err != nil {
		return err
	}
	c.decode = func(d *decoder, v reflect.Value) error { return decodeMap(d, key, elem, v) }
	c.encode = func(e *encoder, v reflect.Value) error { return encodeMap(e, key, elem, v) }
	return nil
}

func decodeMap(d *decoder, key, elem *codec, v reflect.Value) error {
	t := v.Type()
	h := d.next()
	switch h.kind {
	case kindNil:
		v.SetZero()
		return nil
	case kindMap:
	default:
		return wrongType(t, h)
	}
	if err := d.charge(h.num, t.Key().Size()+t.Elem().Size()); err != nil {
		return err
	}
	v.Set(reflect.MakeMapWithSize(t, int(h.num)))
	k, x := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
	for range h.num {
		k.SetZero()
		if err := key.decode(d, k); err != nil {
			return within(" key", err)
		}
		if !k.Comparable() { // an any that holds an array or a map
			return &mismatch{where: " key", why: "an array, a map or bytes cannot be the key of a map"}
		}
		x.SetZero()
		if err := elem.decode(d, x); err != nil {
			return within(fmt.Sprintf("[%.40v]", k), err)
		}
		v.SetMapIndex(k, x)
	}
	return nil
}

func encodeMap(e *encoder, key, elem *codec, v reflect.Value) error {
	if v.IsNil() {
		e.null()
		return nil
	}
	if err := e.enter(); err != nil {
		return err
	}
	defer func() { e.depth-- }()
	e.mapHead(v.Len())
	k, x := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
	for it := v.MapRange(); it.Next(); {
		k.SetIterKey(it)
		if err := key.encode(e, k); err != nil {
			return err
		}
		x.SetIterValue(it)
		if err := elem.encode(e, x); err != nil {
			return err
		}
		if err := e.fits(0); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) pointer(c *codec, t reflect.Type) error {
	elem, err := b.codec(t.Elem())
	if err != nil {
		return err
	}
	c.decode = func(d *decoder, v reflect.Value) error {
		if d.peekNil() {
			v.SetZero()
			return nil
		}
		if err := d.charge(1, t.Elem().Size()); err != nil {
			return err
		}
		v.Set(reflect.New(t.Elem()))
		return elem.decode(d, v.Elem())
	}
	c.encode = func(e *encoder, v reflect.Value) error {
		if v.IsNil() {
			e.null()
			return nil
		}
		if err := e.enter(); err != nil {
			return err
		}
		err := elem.encode(e, v.Elem())
		e.depth--
		return err
	}
	return nil
}
