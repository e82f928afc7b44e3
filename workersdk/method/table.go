package method

import (
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"

	"github.com/servicetools/servicetools/wire/message"
)

// Table holds the methods that can be called, and nothing else of the objects
// they belong to. It is filled once and then only read.
type Table struct {
	byName map[string]*Method // by snake name and by Go name
	list   []*Method
}

// Options say more about an object than its methods do.
type Options struct {
	// Idempotent names methods that may run twice without harm. Either
	// spelling will do. The object may also have a method Idempotent() []string.
	Idempotent []string
	// Except names exported methods that are not served.
	Except []string
	// Source holds the Go files of the object's package; doc comments and
	// parameter names come from there. May be nil.
	Source fs.FS
}

// Problem is an exported method that cannot be served.
type Problem struct {
	Method string // its Go name
	Reason string // and what to do about it
}

// RegistrationError lists all that keeps an object from being served.
type RegistrationError struct {
	Type     string // of the object
	Problems []Problem
}

// Error lists each problem on a line of its own.
func (e *RegistrationError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s cannot be served:", e.Type)
	for _, p := range e.Problems {
		b.WriteString("\n  ")
		if p.Method != "" {
			b.WriteString(p.Method + ": ")
		}
		b.WriteString(p.Reason)
	}
	b.WriteString("\n(a method is func([ctx context.Context,] parameters or one struct) ([result] [, error]);" +
		" leave one out by a lower case name or by naming it in Except)")
	return b.String()
}

// New makes a table of the exported methods of obj. A failure is a
// *RegistrationError that lists every unsuitable method.
func New(obj any, o Options) (*Table, error) {
	t := &Table{byName: map[string]*Method{}}
	v := reflect.ValueOf(obj)
	fault := &RegistrationError{Type: fmt.Sprintf("%T", obj)}
	complain := func(method, format string, args ...any) {
		fault.Problems = append(fault.Problems, Problem{method, fmt.Sprintf(format, args...)})
	}
	if obj == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		complain("", "it is nil: give a value, such as Calc{} or &Calc{}")
		return nil, fault
	}
	source, err := readSource(o.Source, typeName(v.Type()))
	if err != nil {
		complain("", "its source cannot be read: %v", err)
	}
	except := slices.Clone(o.Except)
	idempotent := o.Idempotent
	if own, ok := obj.(interface{ Idempotent() []string }); ok {
		idempotent = slices.Concat(idempotent, own.Idempotent())
		except = append(except, "Idempotent")
	}
	for i := range v.NumMethod() {
		name := v.Type().Method(i).Name
		if containsName(except, name) {
			continue
		}
		if from := promotedLock(v.Type(), name); from != "" {
			complain(name, "comes from the embedded %s: give that field a name, such as mu %s", from, from)
			continue
		}
		m, err := newMethod(name, v.Method(i), v.Type(), source[name])
		if err == nil {
			// As a function of the object it is called without the allocation that
			// reflect makes to find the code of a method value.
			m.fn, m.object = v.Type().Method(i).Func, v
			m.setDirect(v, name)
			err = t.add(m)
		}
		if err != nil {
			complain(name, "%v", err)
		}
	}
	for _, name := range pointerMethods(v.Type()) {
		if !containsName(except, name) {
			complain(name, "has a pointer receiver: register &%s{}", typeName(v.Type()))
		}
	}
	if len(t.list) == 0 && len(fault.Problems) == 0 {
		complain("", "it has no exported methods: a method is callable if its name starts with a capital letter")
	}
	for _, name := range idempotent {
		if m := t.Lookup([]byte(name)); m != nil {
			m.info.Idempotent = true
		} else if len(fault.Problems) == 0 {
			complain(name, "is declared idempotent but is no method%s", message.DidYouMean(name, t.names()))
		}
	}
	if len(fault.Problems) > 0 {
		return nil, fault
	}
	return t, nil
}

// Func adds one function under a wire name of its own.
func (t *Table) Func(name string, fn any, doc string, idempotent bool) error {
	if e := message.CheckMethodName(name); e != nil {
		return e
	}
	v := reflect.ValueOf(fn)
	if v.Kind() != reflect.Func || v.IsNil() {
		return fmt.Errorf("method %s: a %T is not a function", name, fn)
	}
	m, err := newMethod(name, v, nil, described{doc: doc})
	if err == nil {
		m.name, m.info.Name, m.info.Aliases, m.info.Idempotent = name, name, nil, idempotent
		err = t.add(m)
	}
	if err != nil {
		return fmt.Errorf("method %s: %w", name, err)
	}
	return nil
}

// NewEmpty returns a table without methods, for Func.
func NewEmpty() *Table { return &Table{byName: map[string]*Method{}} }

func (t *Table) add(m *Method) error {
	names := append([]string{m.info.Name}, m.info.Aliases...)
	for _, name := range names {
		if e := message.CheckMethodName(name); e != nil {
			return fmt.Errorf("%s: rename it, or leave it out with Except", e.Message)
		}
		if other := t.byName[name]; other != nil {
			return fmt.Errorf("has the wire name %s, as %s has", name, other.goName)
		}
	}
	for _, name := range names {
		t.byName[name] = m
	}
	t.list = append(t.list, m)
	return nil
}

// Lookup returns the method of that name, in either spelling, or nil.
func (t *Table) Lookup(name []byte) *Method { return t.byName[string(name)] }

// NoSuch is the answer to a call of a name that is not in the table.
func (t *Table) NoSuch(name []byte) *message.Error {
	return message.Errorf(message.NoSuchMethod, "this worker has no method %q%s", name, message.DidYouMean(string(name), t.names()))
}

// Methods describes all methods, sorted by name.
func (t *Table) Methods() []message.Method {
	list := make([]message.Method, len(t.list))
	for i, m := range t.list {
		list[i] = m.info
	}
	slices.SortFunc(list, func(a, b message.Method) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func (t *Table) names() []string {
	names := make([]string, len(t.list))
	for i, m := range t.list {
		names[i] = m.info.Name
	}
	return names
}

// containsName reports whether list has the Go name or its snake form.
func containsName(list []string, name string) bool {
	return slices.Contains(list, name) || slices.Contains(list, Snake(name))
}

// pointerMethods lists the exported methods that *t has and t has not.
func pointerMethods(t reflect.Type) []string {
	if t.Kind() == reflect.Pointer {
		return nil
	}
	var names []string
	p := reflect.PointerTo(t)
	for i := range p.NumMethod() {
		if _, ok := t.MethodByName(p.Method(i).Name); !ok {
			names = append(names, p.Method(i).Name)
		}
	}
	return names
}

// promotedLock returns the embedded type of package sync whose method name is:
// a mutex that is embedded for convenience must not be lockable from afar.
func promotedLock(t reflect.Type, name string) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return ""
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && f.Type.PkgPath() == "sync" {
			if _, ok := reflect.PointerTo(f.Type).MethodByName(name); ok {
				return f.Type.String()
			}
		}
	}
	return ""
}

// typeName returns the name of t, or of what it points to.
func typeName(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name, _, _ := strings.Cut(t.Name(), "[")
	return name
}
