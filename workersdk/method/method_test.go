package method

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
)

type textIn struct {
	Text  string
	TopN  int `msgpack:"top"`
	Since *time.Time
	inner int //lint:ignore U1000 a client must not reach it
}

type node struct {
	Name     string
	Children []node
	Next     *node
}

type base struct{ ID uuid.UUID }

type record struct {
	base
	At    time.Time
	Tags  map[string]string `json:"tags,omitempty"`
	Price big.Int
	Skip  chan int `msgpack:"-"`
	Nets  []netip.Prefix
	Sum   [4]byte
	Pair  [2]float32
}

// shapes has a method for each accepted shape.
type shapes struct{}

func (shapes) None()                                                  {}
func (shapes) Value() string                                          { return "v" }
func (shapes) Err() error                                             { return errors.New("no") }
func (shapes) Add(ctx context.Context, a, b int) (int, error)         { return a + b, ctx.Err() }
func (shapes) Sum(first float64, rest ...float64) float64             { return first + sum(rest) }
func (shapes) Join(words ...string) string                            { return strings.Join(words, "+") }
func (shapes) WordCount(_ context.Context, in textIn) (textIn, error) { return in, nil }
func (shapes) ByPointer(in *textIn) int                               { return in.TopN + in.inner }
func (shapes) Echo(v any) any                                         { return v }
func (shapes) Raw(v msgpack.RawMessage) msgpack.RawMessage            { return v }
func (shapes) Bytes(b []byte) []byte                                  { return b }
func (shapes) I8(v int8) int8                                         { return v }
func (shapes) U8(v uint8) uint8                                       { return v }
func (shapes) I64(v int64) int64                                      { return v }
func (shapes) U64(v uint64) uint64                                    { return v }
func (shapes) F32(v float32) float32                                  { return v }
func (shapes) F64(v float64) float64                                  { return v }
func (shapes) Flag(v bool) bool                                       { return v }
func (shapes) Text(v string) string                                   { return v }
func (shapes) At(v time.Time) time.Time                               { return v }
func (shapes) Wait(v time.Duration) time.Duration                     { return v }
func (shapes) Tree(n node) node                                       { return n }
func (shapes) Trees(n []node) int                                     { return len(n) }
func (shapes) Record(r record, _ int) record                          { return r }
func (shapes) Counts(m map[string]int) map[string]int                 { return m }
func (shapes) ByNumber(m map[int16][]string) map[int16][]string       { return m }
func (shapes) Maybe(p *int) *int                                      { return p }
func (shapes) Fixed(a [2]int) [2]int                                  { return a }
func (shapes) MapFirst(in struct{ M map[string]int }) map[string]int  { return in.M }
func (shapes) Count(n int) iter.Seq[int]                              { return upTo(n) }
func (shapes) CountErr(n int) (iter.Seq2[int, error], error)          { return upToErr(n), nil }
func (shapes) CountChan(n int) <-chan int                             { return sender(n) }
func (shapes) NilSeq() iter.Seq[int]                                  { return nil }
func (shapes) Panics()                                                { panic("boom") }
func (shapes) Cyclic() *node                                          { n := &node{}; n.Next = n; return n }
func (shapes) Large() []byte                                          { return make([]byte, 1<<20) }
func (shapes) BadUTF8() string                                        { return "a\xff" }
func (shapes) Forged() error                                          { return message.ErrWorkerLost }
func (shapes) Hidden() any                                            { return make(chan int) }

func sum(fs []float64) (s float64) {
	for _, f := range fs {
		s += f
	}
	return s
}

func upTo(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := 0; i < n && yield(i); i++ {
		}
	}
}

func upToErr(n int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
		yield(0, errors.New("the end"))
	}
}

func sender(n int) <-chan int {
	c := make(chan int)
	go func() {
		defer close(c)
		for i := range n {
			c <- i
		}
	}()
	return c
}

func mustTable(t testing.TB, obj any, o Options) *Table {
	t.Helper()
	table, err := New(obj, o)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func body(t testing.TB, args []any, kwargs map[string]any) []byte {
	t.Helper()
	var a, k []byte
	var err error
	if args != nil {
		if a, err = msgpack.Marshal(args); err != nil {
			t.Fatal(err)
		}
	}
	if kwargs != nil {
		if k, err = msgpack.Marshal(kwargs); err != nil {
			t.Fatal(err)
		}
	}
	return message.AppendBody(nil, a, k)
}

type (
	list  = []any
	named = map[string]any
)

var noon = time.Date(2024, 2, 29, 12, 0, 0, 123456789, time.UTC)

func TestMethod_results(t *testing.T) {
	table := mustTable(t, shapes{}, Options{})
	id := uuid.MustParse("71c4810e-d0f7-4f06-aa50-2fa8b8cc4be2")
	deep := node{Name: "a", Children: []node{{Name: "b", Children: []node{}}}, Next: &node{Name: "c"}}
	rec := record{
		base: base{id}, At: noon, Price: *big.NewInt(7), Sum: [4]byte{1, 2, 3, 4}, Pair: [2]float32{1, .5},
		Nets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	}
	seven := 7
	for _, c := range []struct {
		name   string
		method string
		args   list
		kwargs named
		want   any
	}{
		{"no result is nil", "none", nil, nil, nil},
		{"snake name", "word_count", nil, named{"text": "x"}, textIn{Text: "x"}},
		{"Go name", "WordCount", nil, named{"TEXT": "x", "top": 3, "s_i_n_c_e": noon}, textIn{Text: "x", TopN: 3, Since: &noon}},
		{"args fill a struct in order", "word_count", list{"x", 3}, nil, textIn{Text: "x", TopN: 3}},
		{"args and kwargs fill a struct", "word_count", list{"x"}, named{"top": 3}, textIn{Text: "x", TopN: 3}},
		{"one map fills a struct", "word_count", list{named{"text": "x"}}, nil, textIn{Text: "x"}},
		{"one map is the first field if that is a map", "map_first", list{named{"m": 1}}, nil, map[string]int{"m": 1}},
		{"no arguments leave a struct empty", "word_count", nil, nil, textIn{}},
		{"pointer to a struct", "by_pointer", nil, named{"top": 4}, 4},
		{"context, value and nil error", "add", list{1, 2}, nil, 3},
		{"variadic, some", "sum", list{1, 2.5, uint8(3)}, nil, 6.5},
		{"variadic, none", "sum", list{1}, nil, 1.0},
		{"only variadic, none", "join", nil, nil, ""},
		{"only variadic", "join", list{"a", "b"}, nil, "a+b"},
		{"int8 from a uint64", "i8", list{uint64(127)}, nil, int8(127)},
		{"int8 from a float without fraction", "i8", list{-128.0}, nil, int8(-128)},
		{"uint8 from an int64", "u8", list{int64(255)}, nil, uint8(255)},
		{"uint64 at its end", "u64", list{uint64(math.MaxUint64)}, nil, uint64(math.MaxUint64)},
		{"int64 at its end", "i64", list{int64(math.MinInt64)}, nil, int64(math.MinInt64)},
		{"int64 from a float", "i64", list{-0x1p63}, nil, int64(math.MinInt64)},
		{"float64 from an int", "f64", list{int64(1 << 53)}, nil, float64(1 << 53)},
		{"float64 infinity", "f64", list{math.Inf(1)}, nil, math.Inf(1)},
		{"float32 rounds", "f32", list{0.1}, nil, float32(0.1)},
		{"float32 from an int", "f32", list{1 << 24}, nil, float32(1 << 24)},
		{"bool", "flag", list{true}, nil, true},
		{"text from bytes", "text", list{[]byte("x")}, nil, "x"},
		{"bytes from text", "bytes", list{"x"}, nil, []byte("x")},
		{"bytes from nil", "bytes", list{nil}, nil, []byte(nil)},
		{"time from an extension", "at", list{noon}, nil, noon},
		{"time from text", "at", list{"2024-02-29T13:00:00.123456789+01:00"}, nil, noon},
		{"time before 1970", "at", list{time.Unix(-1, 0)}, nil, time.Unix(-1, 0).UTC()},
		{"time of whole seconds", "at", list{time.Unix(1, 0)}, nil, time.Unix(1, 0).UTC()},
		{"duration", "wait", list{int64(time.Second)}, nil, time.Second},
		{"nested structs", "tree", list{"a", []node{{Name: "b", Children: []node{}}}, node{Name: "c"}}, nil, deep},
		{"own encodings and embedded fields", "record", list{&rec, 1}, nil, rec},
		{"map", "counts", list{map[string]int{"a": 1}}, nil, map[string]int{"a": 1}},
		{"map with number keys", "by_number", list{map[int]list{-5: {"x"}}}, nil, map[int16][]string{-5: {"x"}}},
		{"nil map", "counts", list{nil}, nil, map[string]int(nil)},
		{"nil pointer", "maybe", list{nil}, nil, (*int)(nil)},
		{"pointer", "maybe", list{7}, nil, &seven},
		{"array", "fixed", list{list{1, 2}}, nil, [2]int{1, 2}},
		{"any", "echo", list{list{1, "a", []byte("b"), nil, named{"k": true}, 1.5}}, nil,
			list{int8(1), "a", []byte("b"), nil, named{"k": true}, 1.5}},
		{"any time", "echo", list{noon}, nil, noon},
		{"raw", "raw", list{list{1, "a"}}, nil, list{int8(1), "a"}},
		{"stream without a stream caller is an array", "count", list{3}, nil, []int{0, 1, 2}},
		{"channel without a stream caller", "count_chan", list{2}, nil, []int{0, 1}},
		{"nil stream", "nil_seq", nil, nil, []int{}},
		{"text that is not UTF-8 goes as bytes", "bad_utf8", nil, nil, []byte("a\xff")},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := table.Lookup([]byte(c.method))
			memory := buffer.Of([]byte("what was there")) // and is gone
			dst := buffer.Content{Bytes: memory.Bytes, Memory: memory}
			result, err := m.Call(t.Context(), of(body(t, c.args, c.kwargs)), nil, &dst, 1<<16)
			if err != nil {
				t.Fatal(err)
			}
			if message.Validate(result) != nil || !bytes.Equal(dst.Bytes, result) || !bytes.Equal(memory.Bytes, result) {
				t.Fatalf("%x is not one value in the memory given, which has %x", result, memory.Bytes)
			}
			if c.want == nil {
				if !bytes.Equal(result, []byte{0xc0}) {
					t.Fatalf("got %x", result)
				}
				return
			}
			back := reflect.New(reflect.TypeOf(c.want))
			// Package msgpack is what Go clients decode with.
			d := msgpack.NewDecoder(bytes.NewReader(result))
			d.SetCustomStructTag("json")
			if err := d.Decode(back.Interface()); err != nil {
				t.Fatal(err)
			}
			if have := normal(back.Elem().Interface()); !reflect.DeepEqual(have, c.want) {
				t.Errorf("got %#v, want %#v", have, c.want)
			}
		})
	}
}

// normal puts times into UTC: package msgpack makes local ones.
func normal(v any) any {
	switch v := v.(type) {
	case time.Time:
		return v.UTC()
	case textIn:
		if v.Since != nil {
			at := v.Since.UTC()
			v.Since = &at
		}
		return v
	case record:
		v.At = v.At.UTC()
		return v
	}
	return v
}

func TestMethod_badArguments(t *testing.T) {
	table := mustTable(t, shapes{}, Options{})
	for _, c := range []struct {
		name   string
		method string
		args   list
		kwargs named
		want   string
	}{
		{"too few", "add", list{1}, nil, "add: it takes 2 arguments, got 1; its signature is Add(ctx context.Context, _ int, _ int) (int, error)"},
		{"too many", "add", list{1, 2, 3}, nil, "it takes 2 arguments, got 3"},
		{"too few for a variadic", "sum", nil, nil, "it takes at least 1 argument, got 0"},
		{"too many for a struct", "word_count", list{"", 1, nil, 4}, nil, "it takes at most 3 arguments, got 4"},
		{"names for positions", "add", nil, named{"a": 1, "b": 2}, "it takes its arguments by position, not by name"},
		{"wrong type", "add", list{1, "x"}, nil, "argument 2: want int, got a string of 1 bytes"},
		{"wrong type in a struct, by position", "word_count", list{5}, nil, "argument 1 (Text): want string, got 5"},
		{"wrong type in a struct, by name", "word_count", nil, named{"text": 5}, "argument Text: want string, got 5"},
		{"nil for a number", "add", list{1, nil}, nil, "argument 2: want int, got nil"},
		{"overflow", "i8", list{300}, nil, "argument 1: want int8, got 300, which does not fit"},
		{"underflow", "i8", list{-129}, nil, "which does not fit"},
		{"negative for unsigned", "u8", list{-1}, nil, "want uint8, got -1, which does not fit"},
		{"uint64 too large for int64", "i64", list{uint64(1 << 63)}, nil, "which does not fit"},
		{"fraction", "i8", list{1.5}, nil, "want int8, got 1.5, which has a fraction"},
		{"NaN", "u8", list{math.NaN()}, nil, "not a finite number"},
		{"float too large for an int", "i64", list{0x1p63}, nil, "which does not fit"},
		{"float too large for a uint", "u64", list{0x1p64}, nil, "which does not fit"},
		{"int too long for a float64", "f64", list{int64(1<<53 + 1)}, nil, "which it cannot hold exactly"},
		{"uint too long for a float64", "f64", list{uint64(math.MaxUint64)}, nil, "cannot hold exactly"},
		{"int at its end for a float64", "f64", list{int64(math.MaxInt64)}, nil, "cannot hold exactly"},
		{"int too long for a float32", "f32", list{1<<24 + 1}, nil, "cannot hold exactly"},
		{"float too large for a float32", "f32", list{1e300}, nil, "does not fit"},
		{"number for a bool", "flag", list{1}, nil, "want bool, got 1"},
		{"number for text", "text", list{1}, nil, "want string, got 1"},
		{"text for a time", "at", list{"noon"}, nil, "neither a msgpack timestamp nor RFC 3339"},
		{"array for a struct", "tree", list{"", nil, list{}}, nil, "argument 3 (Next): want method.node, got an array of 0"},
		{"deep path", "tree", list{"", list{named{}, named{"children": list{named{"name": 1}}}}}, nil,
			"argument 2 (Children)[1].Children[0].Name: want string, got 1"},
		{"unknown name", "word_count", nil, named{"txt": ""}, `there is no "txt" (did you mean "Text" or "top"?); there are: Text, top, Since`},
		{"unexported field", "word_count", nil, named{"inner": 1}, `there is no "inner"`},
		{"given twice", "word_count", list{"a"}, named{"text": "b"}, "Text is given twice, by position and by name"},
		{"wrong map key", "by_number", list{map[string]list{"a": nil}}, nil, "argument 1 key: want int16"},
		{"wrong map value", "counts", list{named{"a": "b"}}, nil, "argument 1[a]: want int"},
		{"wrong array length", "fixed", list{list{1}}, nil, "want [2]int, got an array of 1, which has another length"},
		{"own decoding refuses", "record", list{named{"id": []byte("short")}, 1}, nil, "argument 1.ID: want uuid.UUID, got 5 binary bytes, which it refuses"},
		{"wrong variadic", "join", list{"a", 1}, nil, "argument 2: want string, got 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := table.Lookup([]byte(c.method)).Call(t.Context(), of(body(t, c.args, c.kwargs)), nil, nil, 1<<16)
			e, ok := err.(*message.Error)
			if !ok || e.Code != message.BadArgs || len(got) != 0 {
				t.Fatalf("got %x, %v, want bad_args", got, err)
			}
			if !strings.Contains(e.Message, c.want) {
				t.Errorf("got  %s\nwant %s", e.Message, c.want)
			}
		})
	}
}

func TestMethod_hostileBodies(t *testing.T) {
	table := mustTable(t, shapes{}, Options{})
	for name, b := range map[string][]byte{
		"empty":                         {},
		"one value":                     {0x90},
		"three values":                  {0x90, 0x80, 0x80},
		"args are a map":                {0x80, 0x80},
		"kwargs are an array":           {0x90, 0x90},
		"array of 2^32-1":               {0xdd, 0xff, 0xff, 0xff, 0xff, 0xc0},
		"string of 2^32-1":              {0x91, 0xdb, 0xff, 0xff, 0xff, 0xff, 0xc0},
		"reserved byte":                 {0x91, 0xc1, 0xc0},
		"nested without end":            append(bytes.Repeat([]byte{0x91}, 1<<16), 0xc0, 0xc0),
		"names that are no text":        {0xc0, 0x81, 0x01, 0x01},
		"map key that is a map":         {0x91, 0x81, 0x80, 0x01, 0xc0},
		"unknown extension":             {0x91, 0xd4, 0x05, 0x00, 0xc0},
		"timestamp with nsec too large": {0x91, 0xd7, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc0},
	} {
		t.Run(name, func(t *testing.T) {
			for _, m := range table.list {
				if m.name == "panics" || m.name == "none" {
					continue
				}
				_, err := m.Call(t.Context(), of(b), nil, nil, 1<<16)
				e, ok := err.(*message.Error)
				if ok && (e.Code == message.BadArgs || e.Code == message.Malformed) {
					continue
				}
				if m.name == "raw" && name != "empty" { // takes any well-formed value
					continue
				}
				t.Errorf("%s: got %v", m.name, err)
			}
		})
	}
}

// A message of many empty maps must not become a slice of large structs.
func TestMethod_argumentsThatUnfold(t *testing.T) {
	table := mustTable(t, shapes{}, Options{})
	const n = 1 << 20
	b := append([]byte{0x91, 0xdd, 0, n >> 16, 0, 0}, bytes.Repeat([]byte{0x80}, n)...)
	_, err := table.Lookup([]byte("trees")).Call(t.Context(), of(append(b, 0xc0)), nil, nil, 1<<16)
	if !errors.Is(err, message.ErrBadArgs) || !strings.Contains(err.Error(), "unfold") {
		t.Fatalf("got %v", err)
	}
}

func TestMethod_failures(t *testing.T) {
	table := mustTable(t, shapes{}, Options{})
	call := func(name string, args ...any) error {
		_, err := table.Lookup([]byte(name)).Call(t.Context(), of(body(t, args, nil)), nil, nil, 1<<16)
		return err
	}
	var handler *HandlerError
	if err := call("err"); !errors.As(err, &handler) || err.Error() != "no" {
		t.Errorf("error: got %v", err)
	}
	if err := call("forged"); !errors.As(err, &handler) {
		t.Errorf("a code of the protocol from a method is not marked as the method's: %v", err)
	}
	var panicked *PanicError
	if err := call("panics"); !errors.As(err, &panicked) || !bytes.Contains(panicked.Stack, []byte("shapes.Panics")) {
		t.Errorf("panic: got %v", err)
	}
	var e *message.Error
	if err := call("large"); !errors.As(err, &e) || e.Code != message.TooLarge || e.Execution() != message.MaybeExecuted {
		t.Errorf("large: got %v", err)
	}
	if err := call("cyclic"); !errors.As(err, &e) || e.Code != message.Internal || !strings.Contains(e.Message, "cyclic") {
		t.Errorf("cyclic: got %v", err)
	}
	if err := call("hidden"); !errors.As(err, &e) || e.Code != message.Internal || !strings.Contains(e.Message, "chan int") {
		t.Errorf("unsendable: got %v", err)
	}
	if err := call("count_err", 1); !errors.As(err, &handler) || err.Error() != "the end" {
		t.Errorf("failing stream: got %v", err)
	}
}

func TestMethod_streams(t *testing.T) {
	table := mustTable(t, shapes{}, Options{})
	stop := message.Errorf(message.Cancelled, "enough")
	for _, name := range []string{"count", "count_err", "count_chan"} {
		var items []int
		_, err := table.Lookup([]byte(name)).Call(t.Context(), of(body(t, list{5}, nil)), func(b []byte) error {
			if len(items) == 3 {
				return stop
			}
			items = append(items, int(b[0]))
			return nil
		}, nil, 1<<10)
		if !reflect.DeepEqual(items, []int{0, 1, 2}) || err != error(stop) {
			t.Errorf("%s: got %v, %v", name, items, err)
		}
	}
	result, err := table.Lookup([]byte("count")).Call(t.Context(), of(body(t, list{5}, nil)), func([]byte) error { return nil }, nil, 1<<10)
	if err != nil || !bytes.Equal(result, []byte{0xc0}) {
		t.Errorf("end of a stream: got %x, %v", result, err)
	}
}

func FuzzCall(f *testing.F) {
	table := mustTable(f, shapes{}, Options{})
	f.Add([]byte{0x92, 0x01, 0x02, 0xc0})
	f.Add(body(f, nil, named{"text": "x", "top": 3}))
	f.Add(body(f, list{&record{At: noon}, 1}, nil))
	f.Add(body(f, list{list{node{Name: "x", Next: &node{}}}}, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range table.list {
			if m.name == "panics" || m.stream != noStream {
				continue
			}
			result, err := m.Call(context.Background(), of(b), nil, nil, 1<<20)
			if _, panicked := err.(*PanicError); panicked {
				t.Fatalf("%s panicked on %x: %s", m.name, b, err.(*PanicError).Stack)
			}
			if err == nil && message.Validate(result) != nil {
				t.Fatalf("%s made %x of %x, which is not one value", m.name, result, b)
			}
		}
	})
}

// The budgets leave room for the race detector, which makes a sync.Pool forget
// some of what it holds; without it they are 0, 1 and 0.
func TestMethod_allocations(t *testing.T) {
	table := mustTable(t, shapes{}, Options{})
	for _, c := range []struct {
		method string
		body   []byte
		budget float64
	}{
		{"add", body(t, list{1, 2}, nil), 2},
		{"text", body(t, list{"hello"}, nil), 3},
		{"none", body(t, nil, nil), 2},
	} {
		m, dst := table.Lookup([]byte(c.method)), new(buffer.Content)
		got := testing.AllocsPerRun(200, func() {
			if _, err := m.Call(context.Background(), of(c.body), nil, dst, 1<<10); err != nil {
				t.Fatal(err)
			}
		})
		if got > c.budget {
			t.Errorf("%s: %v allocations a call, budget %v", c.method, got, c.budget)
		}
	}
}

// of returns a body that lies in nobody's memory.
func of(body []byte) *buffer.Content { return &buffer.Content{Bytes: body} }

func BenchmarkCall(b *testing.B) {
	table := mustTable(b, shapes{}, Options{})
	counts := map[string]int{}
	for _, w := range strings.Fields("the quick brown fox jumps over a lazy dog and runs") {
		counts[w] = len(w)
	}
	for _, c := range []struct {
		name, method string
		body         []byte
	}{
		{"add", "add", body(b, list{1, 2}, nil)},
		{"bytes 100", "bytes", body(b, list{make([]byte, 100)}, nil)},
		{"raw 100", "raw", body(b, list{make([]byte, 100)}, nil)},
		{"any", "echo", body(b, list{named{"a": 1, "b": "x"}}, nil)},
		{"kwargs", "word_count", body(b, nil, named{"text": "x", "top": 3})},
		{"map", "counts", body(b, list{counts}, nil)},
	} {
		b.Run(c.name, func(b *testing.B) {
			m, dst := table.Lookup([]byte(c.method)), new(buffer.Content)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.Call(context.Background(), of(c.body), nil, dst, 1<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
