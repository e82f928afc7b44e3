package method

import (
	"bytes"
	"errors"
	"iter"
	"runtime"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/servicetools/servicetools/wire/buffer"
)

// lender is what the tests borrow of. memory is that of the call under way, which a
// test holds, too.
type lender struct {
	memory *buffer.Buffer
	early  bool   // the memory was given back while a method ran
	kept   []byte // a []byte, which is its method's for good
}

// look notes whether the memory is still held by somebody beside the test.
func (l *lender) look() { l.early = l.early || !l.memory.Shared() }

func (l *lender) Same(b Borrowed) Borrowed {
	if b != nil { // else nothing is borrowed
		l.look()
	}
	return b
}
func (l *lender) Part(b Borrowed, i, j int) Borrowed { l.look(); return b[i:j:j] }
func (l *lender) Full(b Borrowed, j int) Borrowed    { l.look(); b = b[:j]; return b[:cap(b)] }
func (l *lender) Other(b Borrowed) (Borrowed, error) { l.look(); return bytes.Clone(b), nil }
func (l *lender) Plain(b Borrowed) []byte            { l.look(); return b }
func (l *lender) Second(_, b Borrowed) Borrowed      { l.look(); return b }
func (l *lender) Last(more ...Borrowed) Borrowed     { l.look(); return more[len(more)-1] }
func (l *lender) Unlent(b []byte) Borrowed           { return b }
func (l *lender) Static(int) Borrowed                { return static }

// static lies in no message.
var static = make(Borrowed, 2*buffer.Large)

func (l *lender) Invert(b Borrowed) Borrowed {
	l.look()
	for i := range b {
		b[i] ^= 0xff
	}
	return b
}

// Beside takes one part for good and borrows the other.
func (l *lender) Beside(own []byte, b Borrowed) Borrowed {
	l.kept = own
	return b
}

func (l *lender) Field(in struct {
	Data Borrowed
	At   int
}) Borrowed {
	l.look()
	return in.Data[in.At:]
}

func (l *lender) Deep(in []map[string]*Borrowed) Borrowed { l.look(); return *in[0]["x"] }
func (l *lender) Within(b Borrowed) []Borrowed            { l.look(); return []Borrowed{b, b[1:]} }
func (l *lender) Each(b Borrowed, n int) iter.Seq[Borrowed] {
	return func(yield func(Borrowed) bool) {
		for i := 0; i < n && yield(b[i:]); i++ {
			l.look()
		}
	}
}

func (l *lender) Refuse(b Borrowed) (Borrowed, error) { return b, &refusal{b} }
func (l *lender) Panic(b Borrowed) Borrowed           { panic(&refusal{b}) }
func (l *lender) Goexit(Borrowed) Borrowed            { runtime.Goexit(); return nil }

// refusal is an error that says only when it is asked what it is about.
type refusal struct{ about Borrowed }

func (r *refusal) Error() string { return string(r.about) }

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

// call runs a method on a body that lies in memory like a message's, with something
// in front of it and behind it. It returns what is left of the body, or what holds a result
// that lies there, and what the result decodes to.
func (l *lender) call(t *testing.T, name string, args list, kw named) (held buffer.Content, result any, err error) {
	t.Helper()
	table := mustTable(t, l, Options{})
	packed := body(t, args, kw)
	const front, behind = 40, 30
	l.memory, l.early = buffer.Get(front+len(packed)+behind), false
	whole := l.memory.Bytes[:front+len(packed)+behind]
	for i := range whole {
		whole[i] = 0xee
	}
	copy(whole[front:], packed)
	held = buffer.Content{Bytes: whole[front : front+len(packed) : front+len(packed)], Memory: l.memory.Hold()}
	var into buffer.Content
	raw, err := table.Lookup([]byte(name)).Call(t.Context(), &held, nil, &into, 1<<20)
	if !bytes.Equal(whole[:front], bytes.Repeat([]byte{0xee}, front)) || !bytes.Equal(whole[front+len(packed):], bytes.Repeat([]byte{0xee}, behind)) {
		t.Errorf("%s: something was written that is of another message", name)
	}
	if l.early {
		t.Errorf("%s: the memory was given back while the method ran", name)
	}
	if err == nil {
		if e := msgpack.Unmarshal(raw, &result); e != nil {
			t.Errorf("%s: %v", name, e)
		}
	}
	if err == nil && !bytes.Equal(into.Bytes, raw) {
		t.Errorf("%s: another result is held than is returned", name)
	}
	if err != nil && into.Memory != nil {
		t.Errorf("%s: memory is held for no result", name)
	}
	if err == nil && into.Memory == l.memory {
		if held.Memory != nil {
			t.Errorf("%s: the memory is held twice", name)
		}
		held = into
	} else {
		into.Release()
	}
	return held, result, err
}

func TestCall_borrowed(t *testing.T) {
	const n = 100_000
	data := pattern(n)
	inverted := pattern(n)
	for i := range inverted {
		inverted[i] ^= 0xff
	}
	short := pattern(100)
	for _, c := range []struct {
		name    string
		args    list
		kw      named
		want    any
		inPlace bool
	}{
		{"same", list{data}, nil, data, true},
		{"same", list{string(data)}, nil, data, true}, // the head of a str is replaced
		{"same", list{data[:65_536]}, nil, data[:65_536], true},
		{"same", list{data[:65_535]}, nil, data[:65_535], true},
		{"same", list{data[:buffer.Large]}, nil, data[:buffer.Large], true},
		{"same", list{data[:buffer.Large-1]}, nil, data[:buffer.Large-1], true},
		{"same", list{short}, nil, short, true},
		{"same", list{string(short[:20])}, nil, short[:20], true}, // its head grows, over what is in front
		{"same", list{[]byte{}}, nil, []byte{}, true},
		{"part", list{short, 100, 100}, nil, []byte{}, true},
		{"part", list{data[:1000], 0, 100}, nil, data[:100], false},
		{"same", list{nil}, nil, nil, false},
		{"invert", list{data}, nil, inverted, true},
		{"part", list{data, 1, n}, nil, data[1:], true},
		{"part", list{data, 0, n - 1}, nil, data[:n-1], true},
		{"part", list{data[:66_000], 7, 65_542}, nil, data[7:65_542], true}, // a shorter head
		{"part", list{data, 10_000, 80_000}, nil, data[10_000:80_000], true},
		{"part", list{data, 10_000, 40_000}, nil, data[10_000:40_000], false}, // too little to hold all of it for
		{"part", list{data, 50, 60}, nil, data[50:60], false},
		{"full", list{data, 5}, nil, data, true},
		{"other", list{data}, nil, data, false},
		{"plain", list{data}, nil, data, false},
		{"second", list{short, data}, nil, data, true},
		{"second", list{data, short}, nil, short, false},
		{"last", list{short, short, data}, nil, data, true},
		{"last", list{short, short, short}, nil, short, true},
		{"unlent", list{data}, nil, data, false},
		{"static", list{1}, nil, []byte(static), false},
		{"field", list{data, 3}, nil, data[3:], true},
		{"field", nil, named{"data": data, "at": 3}, data[3:], true},
		{"deep", list{[]any{named{"x": data}}}, nil, data, true},
		{"within", list{short}, nil, []any{short, short[1:]}, false},
		{"each", list{short, 3}, nil, []any{short, short[1:], short[2:]}, false},
	} {
		l := &lender{}
		held, result, err := l.call(t, c.name, c.args, c.kw)
		if err != nil {
			t.Fatal(c.name, err)
		}
		if !equal(result, c.want) {
			t.Errorf("%s: the result differs", c.name)
		}
		if inPlace := held.Memory != nil; inPlace != c.inPlace {
			t.Errorf("%s: the result lies in the argument: %v", c.name, inPlace)
		}
		held.Release()
		if owned := stillHeld(l.memory); owned != (c.name == "unlent") {
			t.Errorf("%s: somebody holds the memory: %v", c.name, owned)
		}
	}
}

// equal compares decoded results.
func equal(got, want any) bool {
	a, errA := msgpack.Marshal(got)
	b, errB := msgpack.Marshal(want)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

// What a []byte was taken from is never given back, nor sent from: it is the method's.
func TestCall_borrowedBesideOwn(t *testing.T) {
	l := &lender{}
	own, b := pattern(60_000), pattern(20_000)
	held, result, err := l.call(t, "beside", list{own, b}, nil)
	if err != nil || !equal(result, b) {
		t.Fatalf("got another result, %v", err)
	}
	if held.Memory != nil || !stillHeld(l.memory) {
		t.Error("memory that is the method's for good was given back")
	}
	if !bytes.Equal(l.kept, own) {
		t.Error("what the method keeps has changed")
	}
}

// After an error or a panic somebody may still look at the argument.
func TestCall_borrowedAndFailed(t *testing.T) {
	data := pattern(100_000)
	for _, name := range []string{"refuse", "panic"} {
		l := &lender{}
		held, _, err := l.call(t, name, list{data}, nil)
		var about *refusal
		if p, ok := err.(*PanicError); ok {
			about, _ = p.Value.(*refusal)
		} else if !errors.As(err, &about) {
			t.Fatalf("%s: got %v", name, err)
		}
		if held.Memory != nil || !stillHeld(l.memory) || about.Error() != string(data) {
			t.Errorf("%s: the memory was given back", name)
		}
	}
	l := &lender{}
	done := make(chan bool)
	go func() {
		returned := false
		defer func() { done <- returned }()
		_, _, _ = l.call(t, "goexit", list{data}, nil)
		returned = true
	}()
	if <-done || !stillHeld(l.memory) {
		t.Error("goexit: the memory was given back")
	}
	l = &lender{} // a call that is refused before it runs
	held, _, err := l.call(t, "part", list{data, "x", 1}, nil)
	if err == nil || held.Memory == nil {
		t.Errorf("got %v", err)
	}
	held.Release()
	if stillHeld(l.memory) {
		t.Error("the memory of a call that did not run is held")
	}
}

// A result that is too large is refused where it lies as anywhere else.
func TestCall_borrowedBeyondTheLimit(t *testing.T) {
	table := mustTable(t, &lender{memory: buffer.Get(0).Hold()}, Options{})
	content := buffer.Keep(body(t, list{pattern(100_000)}, nil), nil)
	if _, err := table.Lookup([]byte("same")).Call(t.Context(), &content, nil, nil, 100_004); err == nil {
		t.Error("a result of 100,005 bytes passes a limit of 100,004")
	}
	content = buffer.Keep(body(t, list{pattern(100_000)}, nil), nil)
	if _, err := table.Lookup([]byte("same")).Call(t.Context(), &content, nil, nil, 100_005); err != nil {
		t.Error(err)
	}
}

// Only what is wholly within the call's own bytes, with room for a head in front of it,
// is sent from there, however near by it lies.
func TestInPlace_bounds(t *testing.T) {
	const n = 2 * buffer.Large
	whole := make([]byte, 4*n)
	for _, c := range []struct {
		at int // of the result, in the body
		ok bool
	}{{-n, false}, {-1, false}, {0, false}, {2, false}, {3, true}, {n - 1, true}, {n, true}, {n + 1, false}, {2 * n, false}} {
		lent := buffer.Content{Bytes: whole[n : 3*n], Memory: buffer.Get(n)}
		if _, ok := inPlace(whole[n+c.at:][:n:n], &lent); ok != c.ok {
			t.Errorf("%d bytes at %d of %d: in place: %v", n, c.at, 2*n, ok)
		}
	}
}

// A stream may look at its argument until it has ended.
func TestCall_borrowedByAStream(t *testing.T) {
	l := &lender{}
	table := mustTable(t, l, Options{})
	data := pattern(100_000)
	content := buffer.Keep(body(t, list{data, 5}, nil), nil)
	l.memory = content.Memory.Hold()
	n := 0
	emit := func(item []byte) error {
		l.look()
		if !equal(msgpack.RawMessage(item), data[n:]) {
			t.Errorf("item %d differs", n)
		}
		n++
		return nil
	}
	if _, err := table.Lookup([]byte("each")).Call(t.Context(), &content, emit, nil, 1<<20); err != nil || n != 5 {
		t.Fatalf("%d items, %v", n, err)
	}
	if l.early || stillHeld(l.memory) {
		t.Errorf("the memory was given back early: %v; or never", l.early)
	}
}

// Bytes in nobody's memory are copied: the method may change what it borrows.
func TestCall_borrowedOfNobody(t *testing.T) {
	table := mustTable(t, &lender{memory: buffer.Get(0).Hold()}, Options{})
	b := body(t, list{pattern(100_000)}, nil)
	before := bytes.Clone(b)
	if _, err := table.Lookup([]byte("invert")).Call(t.Context(), of(b), nil, nil, 1<<20); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, before) {
		t.Error("somebody else's bytes were changed")
	}
}

// To a caller a Borrowed is bytes.
func TestCall_borrowedIsBytes(t *testing.T) {
	table := mustTable(t, &lender{}, Options{})
	for name, want := range map[string]string{
		"other": "Other([]uint8) ([]uint8, error)", "last": "Last(...[]uint8) []uint8", "same": "Same([]uint8) []uint8",
	} {
		m := table.Lookup([]byte(name))
		if m.info.Signature != want {
			t.Errorf("got %s", m.info.Signature)
		}
	}
	_, err := table.Lookup([]byte("same")).Call(t.Context(), of(body(t, list{5}, nil)), nil, nil, 1<<20)
	if err == nil || err.Error() != "bad_args: same: argument 1: want []uint8, got 5; its signature is Same([]uint8) []uint8" {
		t.Errorf("got %v", err)
	}
	for name, want := range map[string]bool{"same": true, "last": true, "field": true, "deep": true, "unlent": false, "static": false} {
		if got := table.Lookup([]byte(name)).Borrows(); got != want {
			t.Errorf("%s borrows: %v", name, got)
		}
	}
}
