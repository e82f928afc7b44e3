package method

import (
	"context"
	"fmt"
	"reflect"
	"runtime/debug"
	"strings"
	"unsafe"

	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
)

// Emit takes one item of a stream, valid during the call. It may block; an
// error ends the stream.
type Emit func(item []byte) error

// HandlerError is an error that the method itself returned. It marks what the
// method says, so that a code of the protocol in it is not taken for ours.
type HandlerError struct{ Err error }

// Error returns the method's text.
func (e *HandlerError) Error() string { return e.Err.Error() }

// Unwrap returns the method's error.
func (e *HandlerError) Unwrap() error { return e.Err }

// PanicError is a panic of the method, contained.
type PanicError struct {
	Value any
	Stack []byte
}

// Error describes the panic without its stack.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %.1000v", e.Value) }

// frame is the memory of one call, used again by the next.
type frame struct {
	in     []reflect.Value  // of Method.fn, in order
	params []reflect.Value  // the end of in that is decoded; settable
	ctx    *context.Context // in front of them, if the method takes a context

	// Of a method that is called directly.
	args  [2]unsafe.Pointer // where params lie
	value unsafe.Pointer    // where the result goes
	out   reflect.Value     // what lies at value, with its type
	err   error             // what the method returned

	positional, named decoder
	lease             lease
	result            encoder
}

// lease lets arguments lie in the memory of the body instead of being copied.
type lease struct {
	whole int  // bytes of a large body; 0 = only what is borrowed is not copied
	taken bool // an argument lies in it: the memory is the method's for good
	lends bool // the memory is the call's
	lent  bool // an argument is borrowed: the memory is the method's until it returns
}

func (m *Method) newFrame() *frame {
	f := &frame{}
	if m.object.IsValid() {
		f.in = append(f.in, m.object)
	}
	if m.takesContext {
		f.ctx = new(context.Context)
		f.in = append(f.in, reflect.ValueOf(f.ctx).Elem())
	}
	first := len(f.in)
	for _, p := range m.params {
		f.in = append(f.in, reflect.New(p.typ).Elem())
	}
	f.params = f.in[first:]
	if m.direct != nil {
		for i, v := range f.params {
			f.args[i] = v.Addr().UnsafePointer()
		}
		result := reflect.New(m.typ.Out(0))
		f.value, f.out = result.UnsafePointer(), result.Elem()
	}
	return f
}

// release gives f back. The arguments belong to the method now.
func (m *Method) release(f *frame) {
	for _, v := range f.params {
		v.SetZero()
	}
	if f.ctx != nil {
		*f.ctx = nil
	}
	if m.direct != nil {
		f.out.SetZero()
		f.err = nil
	}
	f.positional, f.named, f.lease, f.result = decoder{}, decoder{}, lease{}, encoder{}
	m.frames.Put(f)
}

// run calls the function, and returns its value, if it has one.
func (m *Method) run(f *frame) (value reflect.Value, err error) {
	if m.direct != nil {
		m.direct(m.receiver, f)
		return f.out, f.err
	}
	var out []reflect.Value
	if m.variadic {
		out = m.fn.CallSlice(f.in)
	} else {
		out = m.fn.Call(f.in)
	}
	if m.hasError {
		err, _ = out[len(out)-1].Interface().(error)
	}
	if m.result != nil {
		value = out[0]
	}
	return value, err
}

// Call decodes body, the args and kwargs of a CALL, runs the method and returns its
// result, one msgpack value of at most limit bytes, which dst holds: in the memory that
// it has, or else in some that it gets, or where the method had borrowed it; a nil dst
// leaves it to the garbage collector. The body is gone before the method runs: its memory
// is released, or the method's own, if a large argument lies in it, or lent to the method.
// What was lent is released when the result is there, and left to the garbage
// collector if there is none.
//
// The items of a stream go to emit, and the result is nil; without an emit,
// for a caller that takes no parts, they become an array. A channel is
// received from until it is closed, also after emit has failed, since until
// then its sender runs.
//
// The error is a *message.Error if the call was refused before or after it
// ran, a *HandlerError if the method returned one, a *PanicError if it
// panicked. A method that ends its goroutine with runtime.Goexit ends the
// caller's.
func (m *Method) Call(ctx context.Context, body *buffer.Content, emit Emit, dst *buffer.Content, limit int) (result []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			result, err = nil, &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	if dst == nil {
		dst = new(buffer.Content)
	}
	f := m.frames.Get().(*frame)
	if f.lease.lends = body.Memory != nil; f.lease.lends && len(body.Bytes) >= buffer.Large {
		f.lease.whole = len(body.Bytes)
	}
	if e := m.decode(f, body.Bytes); e != nil {
		m.release(f)
		return nil, e
	}
	var lent buffer.Content
	switch {
	case f.lease.taken:
		*body = buffer.Content{}
	case f.lease.lent: // whatever becomes of the method, who called it cannot release this
		lent, *body = *body, buffer.Content{}
	default:
		body.Release()
	}
	if f.ctx != nil {
		*f.ctx = ctx
	}
	value, err := m.run(f)
	if err != nil {
		m.release(f)
		return nil, &HandlerError{err}
	}
	if m.inPlace {
		if result, ok := inPlace(value.Bytes(), &lent); ok && len(result) <= limit {
			m.release(f)
			dst.Release()
			*dst = buffer.Content{Bytes: result, Memory: lent.Memory}
			return result, nil
		}
	}
	if dst.Memory == nil {
		memory := buffer.Get(m.ResultSize())
		*dst = buffer.Content{Bytes: memory.Bytes, Memory: memory}
	}
	e := &f.result
	e.b, e.limit = dst.Memory.Bytes[:0], limit
	switch {
	case m.stream != noStream:
		err = m.drain(e, value, emit)
	case m.result != nil:
		err = m.result.encode(e, value)
	default:
		e.null()
	}
	if err == nil {
		err = e.fits(0)
	}
	result = e.b
	m.noteSize(len(result))
	m.release(f) // not after a panic: who knows what still uses it
	if err != nil {
		return nil, m.unsent(err, limit)
	}
	dst.Bytes, dst.Memory.Bytes = result, result // which may have grown
	lent.Release()
	return result, nil
}

// unsent returns the outcome of a call that ran and whose result cannot be sent.
func (m *Method) unsent(err error, limit int) error {
	switch err.(type) {
	case *HandlerError, *message.Error:
		return err
	}
	e := message.Errorf(message.Internal, "%s ran, but its result cannot be sent: %v", m.name, err)
	if err == ErrTooLarge {
		e = message.Errorf(message.TooLarge, "%s ran, but its result exceeds the message limit of %d bytes: return less, or a stream", m.name, limit)
	}
	return e.WithExecution(message.MaybeExecuted)
}

// decode fills the parameters from a call's body.
func (m *Method) decode(f *frame, body []byte) *message.Error {
	args, kwargs, e := message.SplitBody(body)
	if e != nil {
		return e
	}
	f.positional = decoder{b: args, allowance: allowanceFor(len(body)), lease: &f.lease}
	f.named = decoder{b: kwargs, lease: &f.lease}
	n, pairs := int(f.positional.next().num), int(f.named.next().num) // a nil counts as none
	var err error
	switch {
	case m.fields != nil:
		err = m.decodeStruct(f.params[0], &f.positional, n, &f.named, pairs)
	case pairs > 0:
		err = &mismatch{why: "it takes its arguments by position, not by name"}
	default:
		err = m.decodeList(f.params, &f.positional, n)
	}
	if err != nil {
		return message.Errorf(message.BadArgs, "%s: %v; its signature is %s", m.name, err, m.info.Signature)
	}
	return nil
}

// decodeList fills parameters by position.
func (m *Method) decodeList(in []reflect.Value, d *decoder, n int) error {
	fixed := len(m.params)
	if m.variadic {
		fixed--
	}
	if n < fixed || n > fixed && !m.variadic {
		least := ""
		if m.variadic {
			least = "at least "
		}
		return &mismatch{why: fmt.Sprintf("it takes %s%s, got %d", least, plural(fixed, "argument"), n)}
	}
	for i := range fixed {
		if err := m.params[i].codec.decode(d, in[i]); err != nil {
			return within(m.argument(i), err)
		}
	}
	if !m.variadic {
		return nil
	}
	last := &m.params[fixed]
	if err := d.charge(uint64(n-fixed), last.typ.Elem().Size()); err != nil {
		return err
	}
	rest := reflect.MakeSlice(last.typ, n-fixed, n-fixed)
	for i := range n - fixed {
		if err := last.codec.decode(d, rest.Index(i)); err != nil {
			return within(fmt.Sprintf("argument %d", fixed+i+1), err)
		}
	}
	in[fixed].Set(rest)
	return nil
}

// decodeStruct fills the one struct from args in the order of its fields, and
// from kwargs by name. A map as the only argument is taken as kwargs, unless
// the first field could be meant.
func (m *Method) decodeStruct(v reflect.Value, pos *decoder, n int, named *decoder, pairs int) error {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	fs := m.fields
	if n == 1 && pairs == 0 && !fs.firstTakesMap() {
		if h := *pos; h.next().kind == kindMap {
			pairs, n = int(pos.next().num), 0
			named = pos
		}
	}
	if n > len(fs.list) {
		return &mismatch{why: fmt.Sprintf("it takes at most %s, got %d", plural(len(fs.list), "argument"), n)}
	}
	for i := range n {
		f := &fs.list[i]
		if err := f.codec.decode(pos, v.FieldByIndex(f.index)); err != nil {
			return within(fmt.Sprintf("argument %d (%s)", i+1, f.name), err)
		}
	}
	named.allowance = pos.allowance
	err := fs.decode(named, v, pairs, n)
	if mis, ok := err.(*mismatch); ok {
		if field, ok := strings.CutPrefix(mis.where, "."); ok {
			mis.where = "argument " + field
		}
	}
	return err
}

func (fs *fields) firstTakesMap() bool {
	if len(fs.list) == 0 {
		return false
	}
	t := fs.list[0].typ
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t == anyType || t == rawType || t.Kind() == reflect.Map || t.Kind() == reflect.Struct
}

// argument names parameter i for an error.
func (m *Method) argument(i int) string {
	if name := m.params[i].name; name != "" {
		return fmt.Sprintf("argument %d (%s)", i+1, name)
	}
	return fmt.Sprintf("argument %d", i+1)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
