package method

import (
	"bytes"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/servicetools/servicetools/wire/buffer"
)

// keeps holds what its methods were given.
type keeps struct{ bytes [][]byte }

func (k *keeps) Bytes(b []byte)           { k.bytes = append(k.bytes, b) }
func (k *keeps) Raw(r msgpack.RawMessage) { k.bytes = append(k.bytes, r[5:]) }
func (k *keeps) Any(v any)                { k.bytes = append(k.bytes, v.([]byte)) }
func (k *keeps) Two(a, b []byte)          { k.bytes = append(k.bytes, a, b) }
func (k *keeps) Text(s string)            { k.bytes = append(k.bytes, []byte(s)) }
func (k *keeps) Struct(in struct{ Data []byte }) {
	k.bytes = append(k.bytes, in.Data)
}

// TestCall_largeArguments lets methods keep large arguments, uses the memory that
// was released for something else, and finds every argument as it was.
func TestCall_largeArguments(t *testing.T) {
	k := &keeps{}
	table, err := New(k, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method string
		args   list
		owned  bool // the memory is the method's for good
	}{
		{"bytes", list{make([]byte, 100_000)}, true},
		{"raw", list{make([]byte, 100_000)}, true},
		{"any", list{make([]byte, 100_000)}, true},
		{"struct", list{make([]byte, 100_000)}, true},
		{"text", list{string(make([]byte, 100_000))}, false},
		{"two", list{make([]byte, 100_000), make([]byte, 20)}, true},
		{"two", list{make([]byte, 30_000), make([]byte, 70_000)}, true},
		{"bytes", list{make([]byte, buffer.Large/2)}, false},
	} {
		for _, arg := range c.args {
			if b, ok := arg.([]byte); ok {
				for i := range b {
					b[i] = byte(i * 7)
				}
			}
		}
		k.bytes = nil
		content := buffer.Keep(body(t, c.args, nil), nil)
		memory := content.Memory.Hold()
		if _, err := table.Lookup([]byte(c.method)).Call(t.Context(), &content, nil, nil, 1<<20); err != nil {
			t.Fatal(c.method, err)
		}
		if content.Memory != nil || content.Bytes != nil {
			t.Errorf("%s: the body is still there", c.method)
		}
		if owned := stillHeld(memory); owned != c.owned {
			t.Errorf("%s: the memory is the method's: %v", c.method, owned)
		}
		if !c.owned {
			clear(memory.Bytes[:cap(memory.Bytes)])
		}
		for i, arg := range c.args {
			want, ok := arg.([]byte)
			if !ok {
				want = []byte(arg.(string))
			}
			if !bytes.Equal(k.bytes[i], want) {
				t.Errorf("%s: argument %d has changed", c.method, i+1)
			}
			_ = append(k.bytes[i], "beyond its end"...)
		}
	}
}

// stillHeld lets go of the caller's part of b and reports whether somebody else
// has one: a release more than there are owners panics.
func stillHeld(b *buffer.Buffer) (held bool) {
	b.Release()
	defer func() { held = recover() == nil }()
	b.Release()
	return true
}
