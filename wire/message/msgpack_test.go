package message

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

func TestSplitValue(t *testing.T) {
	x := strings.Repeat
	for _, test := range []struct {
		name, value string
	}{
		{"nil", "\xc0"}, {"false", "\xc2"}, {"true", "\xc3"},
		{"positive fixint", "\x7f"}, {"negative fixint", "\xe0"},
		{"uint 8", "\xcc1"}, {"uint 16", "\xcd12"}, {"uint 32", "\xce1234"}, {"uint 64", "\xcf12345678"},
		{"int 8", "\xd01"}, {"int 16", "\xd112"}, {"int 32", "\xd21234"}, {"int 64", "\xd312345678"},
		{"float 32", "\xca1234"}, {"float 64", "\xcb12345678"},
		{"fixstr, empty", "\xa0"}, {"fixstr", "\xa3abc"}, {"str 8", "\xd9\x03abc"}, {"str 16", "\xda\x00\x03abc"}, {"str 32", "\xdb\x00\x00\x00\x03abc"},
		{"bin 8", "\xc4\x03abc"}, {"bin 16", "\xc5\x00\x03abc"}, {"bin 32", "\xc6\x00\x00\x00\x03abc"},
		{"ext 8", "\xc7\x03tabc"}, {"ext 16", "\xc8\x00\x03tabc"}, {"ext 32", "\xc9\x00\x00\x00\x03tabc"},
		{"fixext 1", "\xd4t1"}, {"fixext 2", "\xd5t12"}, {"fixext 4", "\xd6t1234"}, {"fixext 8", "\xd7t12345678"}, {"fixext 16", "\xd8t" + x("x", 16)},
		{"fixarray, empty", "\x90"}, {"fixarray", "\x93\x01\xa1a\xc0"}, {"array 16", "\xdc\x00\x02\x01\x02"}, {"array 32", "\xdd\x00\x00\x00\x02\x01\x02"},
		{"fixmap, empty", "\x80"}, {"fixmap", "\x81\xa1a\x01"}, {"map 16", "\xde\x00\x01\xa1a\x01"}, {"map 32", "\xdf\x00\x00\x00\x01\xa1a\x01"},
		{"nested", "\x91\x81\xa1a\x92\xc0\x80"},
		{"nested as deeply as allowed", x("\x91", maxDepth) + "\xc0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			value, rest, err := SplitValue([]byte(test.value + "\xa4rest"))
			if err != nil || string(value) != test.value || string(rest) != "\xa4rest" {
				t.Errorf("got %q, %q, %v", value, rest, err)
			}
			if err := Validate([]byte(test.value + "\x00")); err != errTrail {
				t.Errorf("with a byte behind it: %v", err)
			}
			for n := range len(test.value) {
				if _, _, err := SplitValue([]byte(test.value[:n])); err != errShort {
					t.Errorf("cut after %d bytes: %v", n, err)
				}
			}
		})
	}
}

func TestSplitValue_hostile(t *testing.T) {
	x := strings.Repeat
	for _, test := range []struct {
		name, value string
		want        error
	}{
		{"the reserved byte", "\xc1", errCode},
		{"an array of 2^32-1", "\xdd\xff\xff\xff\xff\xc0", errShort},
		{"a map of 2^32-1", "\xdf\xff\xff\xff\xff\xc0", errShort},
		{"a str of 2^32-1", "\xdb\xff\xff\xff\xffabc", errShort},
		{"a bin of 2^32-1", "\xc6\xff\xff\xff\xffabc", errShort},
		{"an ext of 2^32-1", "\xc9\xff\xff\xff\xfftabc", errShort},
		{"a map with a key alone", "\x81\xa1a", errShort},
		{"arrays in arrays without end", x("\x91", 1<<20), errDepth},
		{"maps in maps without end", x("\x81\xc0", 1<<20), errDepth},
	} {
		if _, _, err := SplitValue([]byte(test.value)); err != test.want {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

// The decoder would make a struct of 80 bytes from each byte. (hazards A4: memory by a peer's word)
func TestUnmarshal_allocatesWithinReason(t *testing.T) {
	array := append([]byte("\x81\xa7methods\xdd\x00\x80\x00\x00"), bytes.Repeat([]byte{0xc0}, 8<<20)...)
	details := append([]byte("\x82\xa4code\xa1x\xa7details\x81\xa1a\xdd\x00\x80\x00\x00"), bytes.Repeat([]byte{0xc0}, 8<<20)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var r Register
	if err := Unmarshal(array, &r); !errors.Is(err, ErrMalformed) {
		t.Errorf("8 Mi methods: %v", err)
	}
	if e := ParseError(details); e.Code != Malformed {
		t.Errorf("8 Mi details: %v", e)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes allocated", n)
	}
}

func TestSplitBody(t *testing.T) {
	args, kwargs := []byte("\x92\x01\x02"), []byte("\x81\xa1a\x01")
	for _, test := range []struct {
		body         []byte
		args, kwargs string
	}{
		{AppendBody(nil, args, kwargs), string(args), string(kwargs)},
		{AppendBody(nil, nil, kwargs), "\xc0", string(kwargs)},
		{AppendBody(nil, args, nil), string(args), "\xc0"},
		{AppendBody([]byte{}, nil, nil), "\xc0", "\xc0"},
	} {
		a, k, err := SplitBody(test.body)
		if err != nil || string(a) != test.args || string(k) != test.kwargs {
			t.Errorf("%q: %q, %q, %v", test.body, a, k, err)
		}
	}
	for name, body := range map[string]string{
		"empty":               "",
		"args alone":          "\x90",
		"three values":        "\x90\x80\xc0",
		"args are a number":   "\x01\x80",
		"args are a map":      "\x80\x80",
		"kwargs are an array": "\x90\x90",
		"kwargs are cut":      "\x90\x81\xa1a",
	} {
		if _, _, err := SplitBody([]byte(body)); err == nil || err.Code != Malformed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzSplitValue(f *testing.F) {
	f.Add([]byte("\x83\xa6method\xa3add\xa4args\x92\x01\x02\xa6kwargs\x80"))
	f.Add([]byte("\xdd\xff\xff\xff\xff\xc0"))
	f.Add([]byte("\xc7\x0c\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		value, rest, err := SplitValue(b)
		if err != nil {
			return
		}
		if len(value) == 0 || string(value)+string(rest) != string(b) || Validate(value) != nil {
			t.Fatalf("%q was split into %q and %q", b, value, rest)
		}
		// What is well formed here is so for the decoder as well.
		d := msgpack.NewDecoder(bytes.NewReader(b))
		if err := d.Skip(); err != nil {
			return // it knows fewer extensions
		}
		if left := d.Buffered().(*bytes.Reader).Len(); left != len(rest) {
			t.Errorf("the decoder leaves %d bytes, SplitValue %d", left, len(rest))
		}
	})
}

func FuzzUnmarshal(f *testing.F) {
	f.Add(Marshal(&Register{Worker: "w", Concurrency: 4, Methods: []Method{{Name: "add", Aliases: []string{"Add"}}}}))
	f.Add(Marshal(&Attach{Session: SessionID{1}, Name: "n"}))
	f.Add(Errorf(QueueFull, "full").With("retry_after_ms", 5).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range []any{new(Register), new(Attach), new(Attached), new(Registered)} {
			if Unmarshal(b, v) != nil {
				continue
			}
			if r, ok := v.(*Register); ok {
				_ = r.Validate()
			}
			if err := Unmarshal(Marshal(v), v); err != nil {
				t.Errorf("%+v does not survive a round trip: %v", v, err)
			}
		}
		e := ParseError(b)
		if again := ParseError(e.Append(nil)); again.Code != e.Code || again.Message != e.Message || again.Execution() != e.Execution() {
			t.Errorf("%+v became %+v", e, again)
		}
	})
}
