package method

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
)

// Method is one callable function. All but frames, Pace and large is static.
type Method struct {
	name   string // on the wire
	goName string
	info   message.Method
	typ    reflect.Type  // without the receiver
	fn     reflect.Value // what is called
	object reflect.Value // the first argument of fn; invalid if that has no receiver

	direct   direct         // calls fn, if not nil, without reflection
	receiver unsafe.Pointer // what direct calls it on: the object, or a copy of it

	takesContext bool
	variadic     bool
	params       []param
	fields       *fields // of the one struct that the arguments fill, else nil

	result   *codec // of the value, or of the items of a stream; nil if there is none
	stream   stream
	hasError bool // the last result is an error

	borrows bool // a parameter is, or has in it, a Borrowed
	inPlace bool // the result is one

	frames sync.Pool // *frame

	// Pace is kept by who runs the calls.
	Pace Pace

	large atomic.Int64 // bytes of the last result, if it was large
}

// direct calls a method without reflect.Value.Call, which looks up the layout of the
// call each time and allocates its results: a fifth of what a small call costs a
// worker. It takes its arguments from f and leaves its results there.
type direct func(object unsafe.Pointer, f *frame)

// ResultSize returns how large a result is likely to be, in bytes, so that its
// memory need not grow step by step; 0 for a small one.
func (m *Method) ResultSize() int { return int(m.large.Load()) }

// noteSize remembers the size of a result. Small ones leave the field, which all
// processors share, alone.
func (m *Method) noteSize(n int) {
	if n < buffer.Large {
		n = 0
	}
	if int64(n) != m.large.Load() {
		m.large.Store(int64(n))
	}
}

// param is a parameter behind the context.
type param struct {
	name  string // from the source; may be empty
	typ   reflect.Type
	codec *codec // of the element, for the variadic one
}

// stream is how a method returns the items of a stream.
type stream uint8

const (
	noStream stream = iota
	channel         // chan T or <-chan T
	seq             // iter.Seq[T]
	seq2            // iter.Seq2[T, error]
)

var contextType = reflect.TypeFor[context.Context]()

// newMethod settles how fn is called, or says why it cannot be. owner is the
// type whose method it is, nil for a plain function.
func newMethod(name string, fn reflect.Value, owner reflect.Type, d described) (*Method, error) {
	m := &Method{name: Snake(name), goName: name, typ: fn.Type(), fn: fn, variadic: fn.Type().IsVariadic()}
	if err := m.setParams(d.params); err != nil {
		return nil, err
	}
	if err := m.setResults(); err != nil {
		return nil, err
	}
	m.info = message.Method{
		Name:      m.name,
		Signature: cut(m.signature(owner), message.MaxSignature),
		Doc:       cut(d.doc, message.MaxDoc),
		Stream:    m.stream != noStream,
	}
	if m.name != name {
		m.info.Aliases = []string{name}
	}
	m.frames.New = func() any { return m.newFrame() }
	return m, nil
}

func (m *Method) setParams(names []string) error {
	t := m.typ
	first := 0
	if t.NumIn() > 0 && t.In(0) == contextType {
		m.takesContext = true
		first = 1
	}
	for i := first; i < t.NumIn(); i++ {
		p := param{typ: t.In(i)}
		if i < len(names) {
			p.name = names[i]
		}
		element := p.typ
		if p.typ == contextType {
			return errors.New("its context.Context must be the first parameter")
		}
		if m.variadic && i == t.NumIn()-1 {
			element = p.typ.Elem()
		}
		var err error
		if p.codec, err = codecOf(element); err != nil {
			return fmt.Errorf("parameter %d cannot be filled from a message: %w", i-first+1, err)
		}
		m.params = append(m.params, p)
		m.borrows = m.borrows || borrows(p.typ)
	}
	if len(m.params) == 1 && !m.variadic {
		m.fields = structOf(m.params[0].typ)
	}
	return nil
}

// structOf returns the fields of a struct or a pointer to one, else nil.
func structOf(t reflect.Type) *fields {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	c, err := codecOf(t)
	if err != nil {
		return nil
	}
	return c.fields
}

func (m *Method) setResults() error {
	t := m.typ
	n := t.NumOut()
	if n > 0 && t.Out(n-1) == errorType {
		m.hasError = true
		n--
	}
	switch n {
	case 0:
		return nil
	case 1:
	default:
		return fmt.Errorf("it has %d results: return a value, an error, or a value and an error; several values go into a struct", t.NumOut())
	}
	out := t.Out(0)
	item := out
	m.stream, item = streamOf(out)
	var err error
	switch {
	case out == errorType:
		err = errors.New("only the last result may be an error")
	case m.stream == noStream && out.Kind() == reflect.Func, out.Kind() == reflect.Chan && m.stream == noStream:
		err = fmt.Errorf("its result %s is no stream: return <-chan T, iter.Seq[T] or iter.Seq2[T, error]", out)
	default:
		if m.result, err = codecOf(item); err != nil {
			err = fmt.Errorf("its result cannot be sent: %w", err)
		}
		m.inPlace = out == borrowedType
	}
	return err
}

// streamOf returns how t streams, and the type of its items; t itself if it does not.
func streamOf(t reflect.Type) (stream, reflect.Type) {
	switch t.Kind() {
	case reflect.Chan:
		if t.ChanDir()&reflect.RecvDir != 0 {
			return channel, t.Elem()
		}
	case reflect.Func:
		if t.NumIn() != 1 || t.NumOut() != 0 || t.IsVariadic() {
			break
		}
		yield := t.In(0)
		if yield.Kind() != reflect.Func || yield.NumOut() != 1 || yield.Out(0).Kind() != reflect.Bool {
			break
		}
		if yield.NumIn() == 1 {
			return seq, yield.In(0)
		}
		if yield.NumIn() == 2 && yield.In(1) == errorType {
			return seq2, yield.In(0)
		}
	}
	return noStream, t
}

// Info describes the method as registered with a broker.
func (m *Method) Info() message.Method { return m.info }

// Borrows reports whether the method looks at its call's memory while it runs.
func (m *Method) Borrows() bool { return m.borrows }

// TakesContext reports whether the method looks at its context.
func (m *Method) TakesContext() bool { return m.takesContext }

// signature returns the method as Go writes it. The struct that the arguments
// fill is spelled out, since a caller needs its fields.
func (m *Method) signature(owner reflect.Type) string {
	var b strings.Builder
	b.WriteString(m.goName + "(")
	if m.takesContext {
		b.WriteString("ctx context.Context")
	}
	for i, p := range m.params {
		if i > 0 || m.takesContext {
			b.WriteString(", ")
		}
		if p.name != "" {
			b.WriteString(p.name + " ")
		} else if m.takesContext {
			b.WriteString("_ ") // Go names all parameters or none
		}
		text := spelled(p.typ)
		if m.variadic && i == len(m.params)-1 {
			text = "..." + spelled(p.typ.Elem())
		}
		b.WriteString(text)
		if m.fields != nil && !strings.HasPrefix(strings.TrimPrefix(text, "*"), "struct {") { // which lists them itself
			b.WriteString(m.fields.String())
		}
	}
	b.WriteString(")")
	t := m.typ
	switch t.NumOut() {
	case 0:
	case 1:
		b.WriteString(" " + spelled(t.Out(0)))
	default:
		b.WriteString(" (" + spelled(t.Out(0)) + ", " + t.Out(1).String() + ")")
	}
	return unqualify(b.String(), owner)
}

// String lists the fields as " { Text string; Top int }".
func (fs *fields) String() string {
	parts := make([]string, len(fs.list))
	for i, f := range fs.list {
		parts[i] = f.name + " " + spelled(f.typ)
	}
	return " { " + strings.Join(parts, "; ") + " }"
}

// unqualify removes the name of the owner's package before its types.
func unqualify(signature string, owner reflect.Type) string {
	if owner == nil {
		return signature
	}
	pkg, _, found := strings.Cut(strings.TrimPrefix(owner.String(), "*"), ".")
	if !found {
		return signature
	}
	for _, before := range []string{" ", "*", "]", "[", "(", "."} {
		signature = strings.ReplaceAll(signature, before+pkg+".", before)
	}
	return signature
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-3], "") + "..."
}
