package method

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/servicetools/servicetools/wire/message"
)

// fields are those of a struct that is a map in messages, in the order of the
// source, those of embedded structs in their place.
type fields struct {
	list   []field
	byName map[string]int // index in list by exact name, and by folded name
}

type field struct {
	name      string // in messages: the msgpack or json tag, else the Go name
	index     []int
	typ       reflect.Type
	codec     *codec
	omitEmpty bool
}

func (b *builder) structure(c *codec, t reflect.Type) error {
	fs := &fields{byName: map[string]int{}}
	if err := b.collect(fs, t, nil); err != nil {
		return err
	}
	if len(fs.list) == 0 && t.NumField() > 0 {
		return fmt.Errorf("%s has no exported fields, nothing of it can travel", t)
	}
	c.fields = fs
	c.decode = func(d *decoder, v reflect.Value) error {
		h := d.next()
		if h.kind != kindMap {
			return wrongType(t, h)
		}
		return fs.decode(d, v, int(h.num), 0)
	}
	c.encode = fs.encode
	return nil
}

// collect appends the fields of t, which lies at index of the outermost struct.
func (b *builder) collect(fs *fields, t reflect.Type, index []int) error {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, tagged := fieldTag(f)
		at := append(append([]int(nil), index...), i)
		if f.Anonymous && !tagged && f.Type.Kind() == reflect.Struct && f.Type != timeType {
			if err := b.collect(fs, f.Type, at); err != nil {
				return err
			}
			continue
		}
		if !f.IsExported() || name == "-" {
			continue
		}
		c, err := b.codec(f.Type)
		if err != nil {
			return fmt.Errorf("field %s of %s: %w", f.Name, t, err)
		}
		if err := fs.add(field{name, at, f.Type, c, strings.Contains(options, "omitempty")}); err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
	}
	return nil
}

// add enters f; a field of the outer struct hides the same one of an embedded
// struct, as in Go.
func (fs *fields) add(f field) error {
	folded := string(appendFold(nil, f.name))
	if i, taken := fs.byName[folded]; taken {
		other := &fs.list[i]
		switch {
		case len(other.index) > len(f.index):
			delete(fs.byName, other.name)
			*other = f
			fs.byName[f.name], fs.byName[folded] = i, i
			return nil
		case len(other.index) < len(f.index):
			return nil
		}
		return fmt.Errorf("fields %s and %s have the same name but for case and underscores", other.name, f.name)
	}
	fs.byName[f.name], fs.byName[folded] = len(fs.list), len(fs.list)
	fs.list = append(fs.list, f)
	return nil
}

// fieldTag returns what the msgpack tag, else the json tag, says of a field.
func fieldTag(f reflect.StructField) (name, options string, tagged bool) {
	for _, key := range []string{"msgpack", "json"} {
		if tag, ok := f.Tag.Lookup(key); ok {
			name, options, _ = strings.Cut(tag, ",")
			if name != "" {
				return name, options, true
			}
			break
		}
	}
	return f.Name, options, false
}

// find returns the index of the field that key means, or -1.
func (fs *fields) find(key []byte) int {
	if i, ok := fs.byName[string(key)]; ok {
		return i
	}
	var buf [64]byte
	if i, ok := fs.byName[string(appendFold(buf[:0], key))]; ok {
		return i
	}
	return -1
}

func (fs *fields) names() []string {
	names := make([]string, len(fs.list))
	for i, f := range fs.list {
		names[i] = f.name
	}
	return names
}

// decode reads pairs keys and values into the struct v. The first given fields
// were filled before and must not be named again.
func (fs *fields) decode(d *decoder, v reflect.Value, pairs, given int) error {
	for range pairs {
		k := d.next()
		if k.kind != kindString && k.kind != kindBinary {
			return &mismatch{why: fmt.Sprintf("a field has no name but %s", k)}
		}
		i := fs.find(k.data)
		switch {
		case i < 0:
			name := string(k.data[:min(len(k.data), 64)])
			return &mismatch{why: fmt.Sprintf("there is no %q%s; there are: %s",
				name, message.DidYouMean(name, fs.names()), strings.Join(fs.names(), ", "))}
		case i < given:
			return &mismatch{why: fmt.Sprintf("%s is given twice, by position and by name", fs.list[i].name)}
		}
		f := &fs.list[i]
		if err := f.codec.decode(d, v.FieldByIndex(f.index)); err != nil {
			return within("."+f.name, err)
		}
	}
	return nil
}

func (fs *fields) encode(e *encoder, v reflect.Value) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer func() { e.depth-- }()
	n := len(fs.list)
	for i := range fs.list {
		if f := &fs.list[i]; f.omitEmpty && isEmpty(v.FieldByIndex(f.index)) {
			n--
		}
	}
	e.mapHead(n)
	for i := range fs.list {
		f := &fs.list[i]
		x := v.FieldByIndex(f.index)
		if f.omitEmpty && isEmpty(x) {
			continue
		}
		if err := e.text(f.name); err != nil {
			return err
		}
		if err := f.codec.encode(e, x); err != nil {
			return err
		}
	}
	return nil
}

// isEmpty is the omitempty of encoding/json, and of a zero struct, as msgpack has it.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	}
	return v.IsZero()
}
