package method

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
)

func TestSnake(t *testing.T) {
	for name, want := range map[string]string{
		"Add": "add", "WordCount": "word_count", "ReturnNonSense": "return_non_sense", "HTTPGet": "http_get",
		"GetHTTP": "get_http", "ParseURLs": "parse_urls", "IDs": "ids", "GetIDsOf": "get_ids_of", "Sha256Sum": "sha256_sum",
		"MP3Player": "mp3_player", "HTTP2Get": "http2_get", "A": "a", "AB": "ab", "Already_Snake": "already_snake", "Is": "is",
		"HTTPSend": "http_send", "X509": "x509",
	} {
		if got := Snake(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

type unsuitable struct{ _ sync.Mutex }

func (*unsuitable) Good() int                              { return 0 }
func (*unsuitable) Read(r io.Reader) error                 { return nil }
func (*unsuitable) Chan(c chan int)                        {}
func (*unsuitable) LateContext(a int, ctx context.Context) {}
func (*unsuitable) Three() (int, int, error)               { return 0, 0, nil }

//lint:ignore ST1008 an error that is not last is what is tested
func (*unsuitable) ErrFirst() (error, int)                   { return nil, 0 }
func (*unsuitable) Complex(c complex128)                     {}
func (*unsuitable) File() (*os.File, error)                  { return nil, nil }
func (*unsuitable) Nested(in struct{ A struct{ B func() } }) {}
func (*unsuitable) SendOnly() chan<- int                     { return nil }
func (*unsuitable) Seq2() iter.Seq2[int, string]             { return nil }
func (*unsuitable) Keys(m map[[2]int]int)                    {}
func (*unsuitable) Ambiguous(in struct{ AB, A_B int })       {}
func (*unsuitable) Über()                                    {}
func (*unsuitable) Word_Count()                              {}
func (*unsuitable) WordCount()                               {}

func TestNew_listsEveryUnsuitableMethod(t *testing.T) {
	_, err := New(&unsuitable{}, Options{})
	var fault *RegistrationError
	if !errors.As(err, &fault) {
		t.Fatalf("got %v", err)
	}
	want := map[string]string{
		"Read":        "parameter 1 cannot be filled from a message: io.Reader is an interface",
		"Chan":        "chan int is a chan, which a message cannot carry",
		"LateContext": "its context.Context must be the first parameter",
		"Three":       "it has 3 results",
		"ErrFirst":    "it has 2 results",
		"Complex":     "complex128",
		"File":        "os.File has no exported fields",
		"Nested":      "field B of struct { B func() }: func() is a func",
		"SendOnly":    "its result chan<- int is no stream",
		"Seq2":        "is no stream: return <-chan T, iter.Seq[T] or iter.Seq2[T, error]",
		"Keys":        "has keys of type [2]int",
		"Ambiguous":   "fields AB and A_B have the same name",
		"Über":        "outside printable ASCII",
		"Word_Count":  "has the wire name word_count, as WordCount has",
	}
	got := map[string]string{}
	for _, p := range fault.Problems {
		got[p.Method] = p.Reason
		if !strings.Contains(err.Error(), p.Method+": "+p.Reason) {
			t.Errorf("the text leaves out %s", p.Method)
		}
	}
	for name, reason := range want {
		if !strings.Contains(got[name], reason) {
			t.Errorf("%s: got %q, want %q", name, got[name], reason)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d problems, want %d: %v", len(got), len(want), err)
	}
}

type pointerOnly struct{}

func (*pointerOnly) Inc() {}

type locked struct{ sync.Mutex }

func (*locked) Get() int { return 0 }

type helpful struct{}

func (helpful) Add(a, b int) int     { return a + b }
func (helpful) Close() error         { return nil }
func (helpful) Idempotent() []string { return []string{"add"} }
func (helpful) Save(name string)     {}

type cyclicBad struct {
	Next *cyclicBad
	C    chan int
}

type takesCyclic struct{}

func (takesCyclic) M(c *cyclicBad) {}

func TestNew_objects(t *testing.T) {
	for _, c := range []struct {
		name string
		obj  any
		o    Options
		want string
	}{
		{"nil", nil, Options{}, "it is nil"},
		{"nil pointer", (*pointerOnly)(nil), Options{}, "it is nil"},
		{"no methods", struct{}{}, Options{}, "no exported methods"},
		{"pointer receiver", pointerOnly{}, Options{}, "Inc: has a pointer receiver: register &pointerOnly{}"},
		{"embedded mutex", &locked{}, Options{}, "Lock: comes from the embedded sync.Mutex: give that field a name"},
		{"unknown idempotent", helpful{}, Options{Idempotent: []string{"Sve"}}, `Sve: is declared idempotent but is no method (did you mean "save"`},
		{"source of another type", helpful{}, Options{Source: fstest.MapFS{"a.go": {Data: []byte("package p")}}}, "declares a method of helpful"},
		{"source that is not Go", helpful{}, Options{Source: fstest.MapFS{"a.go": {Data: []byte("nonsense")}}}, "source cannot be read"},
		{"recursive type that does not fit", takesCyclic{}, Options{}, "chan int"},
		{"the same again", takesCyclic{}, Options{}, "chan int"},
	} {
		t.Run(c.name, func(t *testing.T) {
			table, err := New(c.obj, c.o)
			if table != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestTable_names(t *testing.T) {
	table := mustTable(t, helpful{}, Options{Except: []string{"Close"}, Idempotent: []string{"Save"}})
	for _, name := range []string{"Close", "close", "Idempotent", "idempotent", "String", "ADD", ""} {
		if table.Lookup([]byte(name)) != nil {
			t.Errorf("%q can be reached", name)
		}
	}
	if e := table.NoSuch([]byte("ad")); e.Code != message.NoSuchMethod || !strings.Contains(e.Message, `did you mean "add"`) {
		t.Errorf("got %v", e)
	}
	want := []message.Method{
		{Name: "add", Aliases: []string{"Add"}, Signature: "Add(int, int) int", Idempotent: true},
		{Name: "save", Aliases: []string{"Save"}, Signature: "Save(string)", Idempotent: true},
	}
	if got := table.Methods(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

type nameless struct{}

func (nameless) Repeat(in struct {
	Text  string
	Count int
}) string {
	return strings.Repeat(in.Text, in.Count)
}

func TestTable_signatureOfAStructWithoutName(t *testing.T) {
	got := mustTable(t, nameless{}, Options{}).Lookup([]byte("repeat")).Info().Signature
	if want := "Repeat(struct { Text string; Count int }) string"; got != want {
		t.Errorf("got %s", got)
	}
}

func TestTable_source(t *testing.T) {
	source := fstest.MapFS{"calc.go": {Data: []byte(`package calc
// Add returns the sum of
// a and b.
func (h *helpful) Add(a, b int) int { return a + b }
func (helpful) Save(name string) {}
func (other) Close() error { return nil }`)}}
	table := mustTable(t, helpful{}, Options{Source: source})
	add := table.Lookup([]byte("add"))
	if info := add.Info(); info.Doc != "Add returns the sum of\na and b." || info.Signature != "Add(a int, b int) int" {
		t.Errorf("got %+v", info)
	}
	_, err := add.Call(t.Context(), of(body(t, list{1, "x"}, nil)), nil, nil, 100)
	if err == nil || !strings.Contains(err.Error(), "argument 2 (b): want int") {
		t.Errorf("got %v", err)
	}
	if doc := table.Lookup([]byte("close")).Info().Doc; doc != "" {
		t.Errorf("close has the doc of another type: %q", doc)
	}
}

func TestTable_func(t *testing.T) {
	table := NewEmpty()
	if err := table.Func("wc", func(text string) int { return len(text) }, "counts", false); err != nil {
		t.Fatal(err)
	}
	got, err := table.Lookup([]byte("wc")).Call(t.Context(), of(body(t, list{"abc"}, nil)), nil, nil, 100)
	if err != nil || len(got) != 1 || got[0] != 3 {
		t.Errorf("got %x, %v", got, err)
	}
	for name, fn := range map[string]any{"wc": func() {}, "broker.x": func() {}, "a b": func() {}, "x": 3, "y": (func())(nil), "z": func(chan int) {}} {
		if err := table.Func(name, fn, "", false); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func ExampleNew() {
	table, err := New(helpful{}, Options{Except: []string{"Close"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range table.Methods() {
		fmt.Println(m.Name, m.Signature, m.Idempotent)
	}
	body := message.AppendBody(nil, []byte{0x92, 1, 2}, nil) // args [1, 2]
	result, err := table.Lookup([]byte("add")).Call(context.Background(), &buffer.Content{Bytes: body}, nil, nil, 1<<20)
	fmt.Println(result, err)
	// Output:
	// add Add(int, int) int true
	// save Save(string) false
	// [3] <nil>
}
