package method

import (
	"math"
	"reflect"
	"strconv"
	"time"
)

// The codecs of values without parts. A number goes into any Go number type
// that holds it exactly; only a float32 rounds, since every client that has
// but doubles would otherwise be refused. Text and bytes stand in for each
// other: both are bytes in Go, and some msgpack libraries know only one.

func decodeBool(d *decoder, v reflect.Value) error {
	t := d.next()
	if t.kind != kindBool {
		return wrongType(v.Type(), t)
	}
	v.SetBool(t.num != 0)
	return nil
}

func encodeBool(e *encoder, v reflect.Value) error {
	b := byte(0xc2)
	if v.Bool() {
		b = 0xc3
	}
	e.b = append(e.b, b)
	return nil
}

const (
	tooLarge  = "which does not fit"
	fraction  = "which has a fraction"
	notExact  = "which it cannot hold exactly"
	notFinite = "which is not a finite number"
)

// notWhole says why a number is none of the whole ones from low to below limit;
// "" if it is one.
func notWhole(f, low, limit float64) string {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return notFinite
	case f != math.Trunc(f):
		return fraction
	case f < low || f >= limit:
		return tooLarge
	}
	return ""
}

func decodeInt(d *decoder, v reflect.Value) error {
	t := d.next()
	i := int64(t.num)
	switch t.kind {
	case kindInt:
	case kindUint:
		if i < 0 {
			return doesNotFit(v.Type(), t, tooLarge)
		}
	case kindFloat:
		if reason := notWhole(t.real, -1<<63, 1<<63); reason != "" {
			return doesNotFit(v.Type(), t, reason)
		}
		i = int64(t.real)
	default:
		return wrongType(v.Type(), t)
	}
	if v.OverflowInt(i) {
		return doesNotFit(v.Type(), t, tooLarge)
	}
	v.SetInt(i)
	return nil
}

func encodeInt(e *encoder, v reflect.Value) error {
	e.int(v.Int())
	return nil
}

func decodeUint(d *decoder, v reflect.Value) error {
	t := d.next()
	u := t.num
	switch t.kind {
	case kindUint:
	case kindInt:
		if int64(u) < 0 {
			return doesNotFit(v.Type(), t, tooLarge)
		}
	case kindFloat:
		if reason := notWhole(t.real, 0, 1<<64); reason != "" {
			return doesNotFit(v.Type(), t, reason)
		}
		u = uint64(t.real)
	default:
		return wrongType(v.Type(), t)
	}
	if v.OverflowUint(u) {
		return doesNotFit(v.Type(), t, tooLarge)
	}
	v.SetUint(u)
	return nil
}

func encodeUint(e *encoder, v reflect.Value) error {
	e.uint(v.Uint())
	return nil
}

func decodeFloat(d *decoder, v reflect.Value) error {
	t := d.next()
	f := t.real
	switch t.kind {
	case kindFloat:
		if v.OverflowFloat(f) {
			return doesNotFit(v.Type(), t, tooLarge)
		}
		v.SetFloat(f)
		return nil
	case kindInt:
		f = float64(int64(t.num))
		if v.Kind() == reflect.Float32 {
			f = float64(float32(f))
		}
		if f >= 1<<63 || int64(f) != int64(t.num) {
			return doesNotFit(v.Type(), t, notExact)
		}
	case kindUint:
		f = float64(t.num)
		if v.Kind() == reflect.Float32 {
			f = float64(float32(f))
		}
		if f >= 1<<64 || uint64(f) != t.num {
			return doesNotFit(v.Type(), t, notExact)
		}
	default:
		return wrongType(v.Type(), t)
	}
	v.SetFloat(f)
	return nil
}

func encodeFloat(e *encoder, v reflect.Value) error {
	if v.Kind() == reflect.Float32 {
		e.fixed(0xca, uint64(math.Float32bits(float32(v.Float()))), 4)
	} else {
		e.fixed(0xcb, math.Float64bits(v.Float()), 8)
	}
	return nil
}

func decodeString(d *decoder, v reflect.Value) error {
	t := d.next()
	if t.kind != kindString && t.kind != kindBinary {
		return wrongType(v.Type(), t)
	}
	v.SetString(string(t.data))
	return nil
}

func encodeString(e *encoder, v reflect.Value) error {
	return e.text(v.String())
}

// decodeBytes reads a []byte or a named form of it.
func decodeBytes(d *decoder, v reflect.Value) error {
	t := d.next()
	switch t.kind {
	case kindString, kindBinary:
		v.SetBytes(d.own(t.data))
	case kindNil:
		v.SetZero()
	default:
		return wrongType(v.Type(), t)
	}
	return nil
}

func encodeBytes(e *encoder, v reflect.Value) error {
	if v.IsNil() {
		e.null()
		return nil
	}
	return e.bytes(v.Bytes())
}

// decodeByteArray reads a [N]byte, of exactly N bytes.
func decodeByteArray(d *decoder, v reflect.Value) error {
	t := d.next()
	if t.kind != kindString && t.kind != kindBinary {
		return wrongType(v.Type(), t)
	}
	if len(t.data) != v.Len() {
		return doesNotFit(v.Type(), t, "which has another length")
	}
	reflect.Copy(v, reflect.ValueOf(t.data))
	return nil
}

func encodeByteArray(e *encoder, v reflect.Value) error {
	if !v.CanAddr() {
		a := reflect.New(v.Type()).Elem()
		a.Set(v)
		v = a
	}
	return e.bytes(v.Bytes())
}

// extTime is the timestamp extension of the msgpack specification.
const extTime = -1

// decodeTime reads a timestamp extension or RFC 3339 text. The time is in UTC.
func decodeTime(d *decoder, v reflect.Value) error {
	t := d.next()
	at, ok := time.Time{}, false
	switch {
	case t.kind == kindExt && t.ext == extTime:
		at, ok = timestamp(t.data)
	case t.kind == kindString:
		var err error
		at, err = time.Parse(time.RFC3339Nano, string(t.data))
		ok = err == nil
	}
	if !ok {
		return doesNotFit(v.Type(), t, "which is neither a msgpack timestamp nor RFC 3339 text")
	}
	*v.Addr().Interface().(*time.Time) = at
	return nil
}

// timestamp reads the three layouts of the extension, of 4, 8 and 12 bytes.
func timestamp(b []byte) (time.Time, bool) {
	d := decoder{b: b}
	var sec, nsec uint64
	switch len(b) {
	case 4:
		sec = d.uint(4)
	case 8:
		both := d.uint(8)
		nsec, sec = both>>34, both&(1<<34-1)
	case 12:
		nsec, sec = d.uint(4), d.uint(8)
	default:
		return time.Time{}, false
	}
	if nsec > 999_999_999 {
		return time.Time{}, false
	}
	return time.Unix(int64(sec), int64(nsec)).UTC(), true
}

func encodeTime(e *encoder, v reflect.Value) error {
	at := v.Interface().(time.Time)
	sec, nsec := uint64(at.Unix()), uint64(at.Nanosecond())
	switch {
	case sec>>34 != 0:
		e.b = append(e.b, 0xc7, 12, 0xff)
		e.append(nsec, 4)
		e.append(sec, 8)
	case nsec != 0 || sec>>32 != 0:
		e.b = append(e.b, 0xd7, 0xff)
		e.append(nsec<<34|sec, 8)
	default:
		e.b = append(e.b, 0xd6, 0xff)
		e.append(sec, 4)
	}
	return nil
}

// decodeAny reads a value into an any: nil, bool, int64, uint64 beyond that,
// float64, string, []byte, time.Time, []any, map[string]any, or map[any]any if
// a key is no text.
func decodeAny(d *decoder, v reflect.Value) error {
	x, err := d.any()
	if err != nil {
		return err
	}
	if x == nil {
		v.SetZero()
	} else {
		v.Set(reflect.ValueOf(x))
	}
	return nil
}

func (d *decoder) any() (any, error) {
	t := d.next()
	switch t.kind {
	case kindNil:
		return nil, nil
	case kindBool:
		return t.num != 0, nil
	case kindInt:
		return int64(t.num), nil
	case kindUint:
		if t.num <= math.MaxInt64 {
			return int64(t.num), nil
		}
		return t.num, nil
	case kindFloat:
		return t.real, nil
	case kindString:
		return string(t.data), nil
	case kindBinary:
		return d.own(t.data), nil
	case kindArray:
		return d.anyArray(t.num)
	case kindMap:
		return d.anyMap(t.num)
	}
	if at, ok := timestamp(t.data); t.ext == extTime && ok {
		return at, nil
	}
	return nil, wrongType(anyType, t)
}

func (d *decoder) anyArray(n uint64) (any, error) {
	if err := d.charge(n, anyType.Size()); err != nil {
		return nil, err
	}
	list := make([]any, n)
	for i := range list {
		x, err := d.any()
		if err != nil {
			return nil, within("["+strconv.Itoa(i)+"]", err)
		}
		list[i] = x
	}
	return list, nil
}

func (d *decoder) anyMap(n uint64) (any, error) {
	if err := d.charge(n, 2*anyType.Size()); err != nil {
		return nil, err
	}
	texts := make(map[string]any, n)
	var others map[any]any // from the first key on that is no text
	for range n {
		k, err := d.any()
		if err != nil {
			return nil, within(" key", err)
		}
		x, err := d.any()
		if err != nil {
			return nil, within("[...]", err)
		}
		s, isText := k.(string)
		switch {
		case others == nil && isText:
			texts[s] = x
			continue
		case k != nil && !reflect.TypeOf(k).Comparable():
			return nil, &mismatch{where: " key", why: "an array, a map or bytes cannot be the key of a map"}
		case others == nil:
			others = make(map[any]any, n)
			for s, x := range texts {
				others[s] = x
			}
		}
		others[k] = x
	}
	if others != nil {
		return others, nil
	}
	return texts, nil
}
