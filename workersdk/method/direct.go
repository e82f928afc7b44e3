//go:build gc

package method

import (
	"context"
	"reflect"
	"unsafe"
)

// form is what the calls of a signature have in common.
type form struct {
	context bool // the first parameter is one
	params  int  // behind it, all of one class
	fails   bool // the last result is an error
}

// class is how values of a type are passed: those of one class lie in the same kinds
// of registers, or take the same place on the stack, and have their pointers in the
// same places.
type class uint8

const (
	noClass class = iota
	slice
	text
	integer
	float
	pointer
)

// classOf returns the class of t. A 64-bit integer has one only where an int has 64 bits:
// elsewhere it takes two registers, or places.
func classOf(t reflect.Type) class {
	switch t.Kind() {
	case reflect.Slice:
		return slice
	case reflect.String:
		return text
	case reflect.Int, reflect.Uint, reflect.Int64, reflect.Uint64:
		if t.Size() == reflect.TypeFor[int]().Size() {
			return integer
		}
	case reflect.Float64:
		return float
	case reflect.Pointer, reflect.Map:
		return pointer
	}
	return noClass
}

// setDirect settles how the method of that name of v is called directly, if it can be.
func (m *Method) setDirect(v reflect.Value, name string) {
	if m.result == nil || m.stream != noStream || m.variadic || len(m.params) == 0 {
		return
	}
	if m.result.own { // its methods may keep a pointer to the value, which is used again
		return
	}
	param := classOf(m.params[0].typ)
	for _, p := range m.params {
		if classOf(p.typ) != param {
			return
		}
	}
	if v.Kind() != reflect.Pointer { // the compiler has made the same method for a pointer, which reflect.StructOf does not
		object := reflect.New(v.Type())
		object.Elem().Set(v)
		v = object
	}
	method, ok := v.Type().MethodByName(name)
	if !ok {
		return
	}
	variable := reflect.New(method.Func.Type())
	variable.Elem().Set(method.Func)
	m.direct = directOf(variable.UnsafePointer(), param, classOf(m.typ.Out(0)), form{m.takesContext, len(m.params), m.hasError})
	m.receiver = v.UnsafePointer()
}

// directOf returns the caller of the function in that variable, nil if there is none
// for its classes and form.
func directOf(variable unsafe.Pointer, param, result class, f form) direct {
	switch param {
	case slice:
		return directWith[[]byte](variable, result, f)
	case text:
		return directWith[string](variable, result, f)
	case integer:
		return directWith[int](variable, result, f)
	case float:
		return directWith[float64](variable, result, f)
	case pointer:
		return directWith[unsafe.Pointer](variable, result, f)
	}
	return nil
}

func directWith[P any](variable unsafe.Pointer, result class, f form) direct {
	switch result {
	case slice:
		return directTo[P, []byte](variable, f)
	case text:
		return directTo[P, string](variable, f)
	case integer:
		return directTo[P, int](variable, f)
	case float:
		return directTo[P, float64](variable, f)
	case pointer:
		return directTo[P, unsafe.Pointer](variable, f)
	}
	return nil
}

// directTo reads the variable as that of a function of the same form with other types
// of the same classes: the receiver is a pointer, P and R stand for the others.
func directTo[P, R any](variable unsafe.Pointer, f form) direct {
	type object = unsafe.Pointer
	switch f {
	case form{params: 1}:
		fn := *(*func(object, P) R)(variable)
		return func(o object, f *frame) { *(*R)(f.value) = fn(o, *(*P)(f.args[0])) }
	case form{params: 2}:
		fn := *(*func(object, P, P) R)(variable)
		return func(o object, f *frame) { *(*R)(f.value) = fn(o, *(*P)(f.args[0]), *(*P)(f.args[1])) }
	case form{params: 1, fails: true}:
		fn := *(*func(object, P) (R, error))(variable)
		return func(o object, f *frame) { *(*R)(f.value), f.err = fn(o, *(*P)(f.args[0])) }
	case form{params: 2, fails: true}:
		fn := *(*func(object, P, P) (R, error))(variable)
		return func(o object, f *frame) {
			*(*R)(f.value), f.err = fn(o, *(*P)(f.args[0]), *(*P)(f.args[1]))
		}
	case form{context: true, params: 1}:
		fn := *(*func(object, context.Context, P) R)(variable)
		return func(o object, f *frame) { *(*R)(f.value) = fn(o, *f.ctx, *(*P)(f.args[0])) }
	case form{context: true, params: 2}:
		fn := *(*func(object, context.Context, P, P) R)(variable)
		return func(o object, f *frame) {
			*(*R)(f.value) = fn(o, *f.ctx, *(*P)(f.args[0]), *(*P)(f.args[1]))
		}
	case form{context: true, params: 1, fails: true}:
		fn := *(*func(object, context.Context, P) (R, error))(variable)
		return func(o object, f *frame) { *(*R)(f.value), f.err = fn(o, *f.ctx, *(*P)(f.args[0])) }
	case form{context: true, params: 2, fails: true}:
		fn := *(*func(object, context.Context, P, P) (R, error))(variable)
		return func(o object, f *frame) {
			*(*R)(f.value), f.err = fn(o, *f.ctx, *(*P)(f.args[0]), *(*P)(f.args[1]))
		}
	}
	return nil
}
