package method

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// signatures has a method of each class and form. It is larger than the registers.
type signatures struct {
	name string
	pad  [20]int
	last int
}

type (
	handle  uint64
	title   string
	numbers []float64
	lookup  map[string]int
)

var errOdd = errors.New("odd")

func (s signatures) Slice(v []byte) []byte                   { return append(v, s.name...) }
func (s signatures) Lent(v Borrowed) Borrowed                { return append(v, byte(s.last)) }
func (s signatures) Floats(v numbers) numbers                { return append(v, float64(s.last)) }
func (s signatures) Words(a, b []string) []string            { return slices.Concat(a, b, []string{s.name}) }
func (s signatures) Title(v title) title                     { return v + title(s.name) }
func (s signatures) Length(v string) int                     { return len(v) + s.last }
func (s signatures) Add(a, b int) int                        { return a + b + s.last }
func (s signatures) Open(v handle) handle                    { return v + handle(s.last) }
func (s signatures) Scale(a, b float64) float64              { return a*b + float64(s.last) }
func (s signatures) Round(v float64) int64                   { return int64(v) + int64(s.last) }
func (s signatures) Sorted(v lookup) []string                { return []string{s.name, strings.Repeat("x", len(v))} }
func (s signatures) Point(v *textIn) *textIn                 { return v }
func (s signatures) Halve(v int) (string, error)             { return s.name, odd(v) }
func (s signatures) Both(a, b string) ([]string, error)      { return []string{a, b}, odd(len(a)) }
func (s signatures) In(ctx context.Context, v string) string { return told(ctx) + v + s.name }
func (s signatures) In2(ctx context.Context, a, b int) float64 {
	return float64(a+b) / float64(len(told(ctx)))
}
func (s signatures) Try(ctx context.Context, v []byte) (lookup, error) {
	return lookup{told(ctx): len(v)}, odd(len(v))
}
func (s signatures) Try2(ctx context.Context, a, b *textIn) (string, error) {
	return told(ctx) + a.Text + b.Text, odd(len(a.Text))
}
func (s signatures) Deep(v int) string { return deep(v, [64]byte{}) } // its stack moves

func odd(n int) error {
	if n%2 != 0 {
		return errOdd
	}
	return nil
}

type toldKey struct{}

func told(ctx context.Context) string { return ctx.Value(toldKey{}).(string) }

func deep(n int, pad [64]byte) string {
	if n == 0 {
		return strings.Repeat(".", len(pad))
	}
	pad[n%64]++
	return deep(n-1, pad)
}

// Other receivers.
type (
	pointed  struct{ n int }
	counter  int
	emptied  struct{}
	promoted struct {
		*pointed
		counter
	}
	hidden struct{ Adder }
	Adder  interface{ Plus(v int) int }
)

func (p *pointed) Count(v int) int   { p.n += v; return v }
func (c counter) Plus(v int) int     { return int(c) + v }
func (emptied) Same(v string) string { return v }

// Methods of which no direct call is made.
type reflected struct{}

func (reflected) Small(v int32) int         { return int(v) }
func (reflected) Flag(v bool) int           { return 1 }
func (reflected) Struct(v textIn) int       { return v.TopN }
func (reflected) Any(v any) int             { return 1 }
func (reflected) Mixed(a int, b string) int { return a + len(b) }
func (reflected) Three(a, b, c int) int     { return a + b + c }
func (reflected) Many(v ...int) int         { return len(v) }
func (reflected) Nothing(v int)             {}
func (reflected) Failure(v int) error       { return odd(v) }
func (reflected) Pair(v int) (res [2]int)   { res[0] = v; return res }
func (reflected) Stream(v int) <-chan int   { return sender(v) }
func (reflected) NoArgument() int           { return 7 }

// TestCall_direct: a method is called directly as it is by reflection, also while the
// stack moves and garbage is collected.
func TestCall_direct(t *testing.T) {
	ctx := context.WithValue(t.Context(), toldKey{}, "told")
	in := named{"text": "four", "top": 3}
	s := signatures{name: "name", last: 5}
	for i := range s.pad {
		s.pad[i] = -1
	}
	type row struct {
		object any
		method string
		args   list
	}
	rows := []row{
		{s, "slice", list{[]byte("abc")}}, {s, "lent", list{[]byte("abc")}}, {s, "floats", list{list{1.5, 2.5}}},
		{s, "words", list{list{"a", "b"}, list{"c"}}}, {s, "title", list{"a"}}, {s, "length", list{"abc"}},
		{s, "add", list{1, -2}}, {s, "open", list{uint64(1) << 63}}, {s, "scale", list{2.5, 3}}, {s, "round", list{-7.25}},
		{s, "sorted", list{named{"a": 1}}}, {s, "point", list{in}}, {s, "point", list{nil}},
		{s, "halve", list{4}}, {s, "halve", list{5}}, {s, "both", list{"ab", "c"}}, {s, "both", list{"a", "c"}},
		{s, "in", list{"x"}}, {s, "in2", list{1, 2}}, {s, "try", list{[]byte("ab")}}, {s, "try", list{[]byte("abc")}},
		{s, "try2", list{in, in}}, {s, "deep", list{3000}}, {&s, "add", list{1, 2}}, {&s, "title", list{"a"}},
		{&pointed{}, "count", list{3}}, {counter(40), "plus", list{2}}, {emptied{}, "same", list{"a"}},
		{promoted{&pointed{}, 50}, "plus", list{2}}, {promoted{&pointed{}, 50}, "count", list{4}}, {&promoted{&pointed{}, 50}, "plus", list{2}},
		{hidden{counter(60)}, "plus", list{2}}, {&hidden{counter(60)}, "plus", list{2}},
	}
	call := func(m *Method, r row) string {
		result, err := m.Call(ctx, of(body(t, r.args, nil)), nil, nil, 1<<20)
		if err != nil {
			return err.Error()
		}
		return string(result)
	}
	var calling sync.WaitGroup
	for _, r := range rows {
		direct := mustTable(t, r.object, Options{}).Lookup([]byte(r.method))
		reflected := mustTable(t, r.object, Options{}).Lookup([]byte(r.method))
		reflected.direct = nil
		wide := r.method == "open" || r.method == "round" // 64-bit integers, two words where an int has 32 bits
		if direct.direct == nil && !(wide && strconv.IntSize == 32) {
			t.Errorf("%T.%s is not called directly", r.object, r.method)
		}
		want := call(reflected, r)
		calling.Go(func() {
			for range 50 {
				if got := call(direct, r); got != want {
					t.Errorf("%T.%s gives %q, by reflection %q", r.object, r.method, got, want)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { calling.Wait(); close(done) }()
	for collecting := true; collecting; {
		runtime.GC()
		select {
		case <-done:
			collecting = false
		default:
		}
	}
}

// What a direct call cannot be made of is called by reflection.
func TestCall_notDirect(t *testing.T) {
	table := mustTable(t, reflected{}, Options{})
	for _, m := range table.list {
		if m.direct != nil {
			t.Errorf("%s is called directly", m.name)
		}
	}
	if got, err := table.Lookup([]byte("mixed")).Call(t.Context(), of(body(t, list{1, "ab"}, nil)), nil, nil, 100); err != nil || !bytes.Equal(got, []byte{3}) {
		t.Errorf("mixed gives %x, %v", got, err)
	}
}

// Where the compiler has made no method for a pointer, reflection finds that of the value.
func TestCall_objectMadeByReflect(t *testing.T) {
	embedded := reflect.TypeFor[Whole]()
	object := reflect.New(reflect.StructOf([]reflect.StructField{{Name: "Whole", Anonymous: true, Type: embedded}})).Elem()
	object.Field(0).Set(reflect.ValueOf(Whole(40)))
	m := mustTable(t, object.Interface(), Options{}).Lookup([]byte("plus"))
	if got, err := m.Call(t.Context(), of(body(t, list{2}, nil)), nil, nil, 100); err != nil || !bytes.Equal(got, []byte{42}) {
		t.Errorf("got %x, %v", got, err)
	}
}

// Whole is embedded.
type Whole int

func (w Whole) Plus(v int) int { return int(w) + v }

// marshaled keeps itself when it is encoded.
type marshaled string

var keptMarshaled []*marshaled

func (m *marshaled) MarshalText() ([]byte, error) {
	keptMarshaled = append(keptMarshaled, m)
	return []byte(*m), nil
}

func (m *marshaled) UnmarshalText(b []byte) error { *m = marshaled(b); return nil }

type marshaling struct{}

func (marshaling) Name(v string) marshaled { return marshaled(v) }

// A result that encodes itself is nobody else's later.
func TestCall_resultThatKeepsItself(t *testing.T) {
	m := mustTable(t, marshaling{}, Options{}).Lookup([]byte("name"))
	for _, name := range []string{"first", "second"} {
		if _, err := m.Call(t.Context(), of(body(t, list{name}, nil)), nil, nil, 100); err != nil {
			t.Fatal(err)
		}
	}
	if *keptMarshaled[0] != "first" || *keptMarshaled[1] != "second" {
		t.Errorf("kept %q and %q", *keptMarshaled[0], *keptMarshaled[1])
	}
}

// keeper keeps what it was given and has returned.
type keeper struct{ got, gave [][]byte }

func (k *keeper) Keep(v []byte) []byte {
	k.got = append(k.got, v)
	k.gave = append(k.gave, bytes.Clone(v))
	return k.gave[len(k.gave)-1]
}

func (k *keeper) Fail(v []byte) ([]byte, error) { return v, errOdd }

// The frame of a direct call keeps nothing of it.
func TestCall_directLeavesNothing(t *testing.T) {
	k := &keeper{}
	table := mustTable(t, k, Options{})
	keep, fail := table.Lookup([]byte("keep")), table.Lookup([]byte("fail"))
	for i := range 3 {
		if _, err := keep.Call(t.Context(), of(body(t, list{[]byte{byte(i)}}, nil)), nil, nil, 100); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		if k.got[i][0] != byte(i) || k.gave[i][0] != byte(i) {
			t.Errorf("call %d sees the bytes of another", i)
		}
	}
	if _, err := fail.Call(t.Context(), of(body(t, list{[]byte("x")}, nil)), nil, nil, 100); !errors.Is(err, errOdd) {
		t.Errorf("got %v", err)
	}
	for _, m := range []*Method{keep, fail} {
		f := m.newFrame()
		f.ctx = nil
		f.params[0].SetBytes([]byte("left"))
		m.direct(m.receiver, f)
		m.release(f)
		if f.out.Len() != 0 || f.params[0].Len() != 0 || f.err != nil {
			t.Errorf("%s leaves %v, %v, %v in its frame", m.name, f.params[0], f.out, f.err)
		}
	}
}
