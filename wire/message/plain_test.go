package message

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// pack encodes a value as other libraries do.
func pack(t testing.TB, v any) []byte {
	t.Helper()
	b, err := msgpack.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type dict = map[string]any

func TestParseRequest(t *testing.T) {
	r, err := ParseRequest(pack(t, dict{
		"method": "add", "args": []any{1, 2}, "kwargs": dict{"a": nil}, "id": "seven", "timeout": 1.5,
		"idempotent": true, "idempotency_key": "k", "priority": "high",
	}))
	if err != nil || string(r.Method) != "add" || !bytes.Equal(r.Args, pack(t, []any{1, 2})) || !bytes.Equal(r.Kwargs, pack(t, dict{"a": nil})) ||
		!bytes.Equal(r.ID, pack(t, "seven")) || r.Timeout != 1500*time.Millisecond || !r.Idempotent || string(r.IdempotencyKey) != "k" || r.Priority != PriorityHigh {
		t.Errorf("got %+v, %v", r, err)
	}
	if r, err := ParseRequest(pack(t, dict{"method": "ping"})); err != nil || string(r.Method) != "ping" || r.Args != nil || r.ID != nil || r.Timeout != 0 {
		t.Errorf("got %+v, %v", r, err)
	}
	if r, err := ParseRequest(pack(t, dict{"method": []byte("bin"), "args": nil, "kwargs": nil, "timeout": nil, "id": nil})); err != nil || string(r.Method) != "bin" {
		t.Errorf("names as bin, and nil for none: %+v, %v", r, err)
	}
}

func TestParseRequest_timeouts(t *testing.T) {
	for _, test := range []struct {
		timeout any
		want    time.Duration // 0 = refused
	}{
		{2, 2 * time.Second}, {uint64(3), 3 * time.Second}, {float32(0.5), 500 * time.Millisecond}, {1e-9, time.Millisecond},
		{1e300, MaxTimeout}, {math.Inf(1), MaxTimeout}, {MaxTimeout.Seconds(), MaxTimeout},
		{0, 0}, {-1, 0}, {math.NaN(), 0}, {math.Inf(-1), 0}, {"1", 0}, {true, 0}, {[]any{}, 0},
	} {
		r, err := ParseRequest(pack(t, dict{"method": "m", "timeout": test.timeout}))
		if test.want == 0 && (err == nil || err.Code != BadArgs) || test.want != 0 && (err != nil || r.Timeout != test.want) {
			t.Errorf("%v: %v, %v; want %v", test.timeout, r.Timeout, err, test.want)
		}
	}
}

func TestParseRequest_refusals(t *testing.T) {
	long := strings.Repeat("x", 2000)
	for _, test := range []struct {
		name string
		body []byte
		code Code
		text string
	}{
		{"nothing", nil, Malformed, "msgpack map"},
		{"a string", pack(t, "add"), Malformed, "msgpack map"},
		{"JSON", []byte(`{"method": "add"}`), Malformed, "msgpack map"},
		{"a pickle", []byte("\x80\x04\x95\x10"), Malformed, "one msgpack value"},
		{"a cut map", pack(t, dict{"method": "add"})[:5], Malformed, "one msgpack value"},
		{"bytes behind the map", append(pack(t, dict{"method": "add"}), 0), Malformed, "one msgpack value"},
		{"a key that is a number", pack(t, map[int]string{1: "add"}), Malformed, "key"},
		{"no method", pack(t, dict{"args": []any{}}), Malformed, "method"},
		{"an empty method", pack(t, dict{"method": ""}), Malformed, "method"},
		{"a long method", pack(t, dict{"method": long}), Malformed, "method"},
		{"a method that is a number", pack(t, dict{"method": 5}), Malformed, "method"},
		{"args that are a map", pack(t, dict{"method": "m", "args": dict{}}), BadArgs, "args"},
		{"kwargs that are an array", pack(t, dict{"method": "m", "kwargs": []any{}}), BadArgs, "kwargs"},
		{"a long id", pack(t, dict{"method": "m", "id": long}), TooLarge, "id"},
		{"a long key", pack(t, dict{"method": "m", "idempotency_key": long}), BadArgs, "idempotency_key"},
		{"idempotent that is a number", pack(t, dict{"method": "m", "idempotent": 1}), BadArgs, "idempotent"},
		{"an unknown priority", pack(t, dict{"method": "m", "priority": "urgent"}), BadArgs, "priority"},
		{"a typing mistake", pack(t, dict{"method": "m", "timeuot": 1}), Malformed, `did you mean "timeout"`},
		{"a long unknown key", pack(t, dict{"method": "m", long: 1}), Malformed, "unknown key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := ParseRequest(test.body)
			if err == nil || err.Code != test.code || !strings.Contains(err.Message, test.text) || len(err.Message) > 300 {
				t.Errorf("got %v, want %s with %q", err, test.code, test.text)
			}
		})
	}
}

// The answer to a bad request finds its caller by the id, wherever it stands.
func TestParseRequest_keepsTheIDOfABadRequest(t *testing.T) {
	r, err := ParseRequest([]byte("\x83\xa4args\x01\xa2id\x07\xa6method\xa1m"))
	if err == nil || err.Code != BadArgs || string(r.ID) != "\x07" {
		t.Errorf("got id %q, %v", r.ID, err)
	}
}

func TestParseReply(t *testing.T) {
	failure := &Error{Code: Application, Message: "no"}
	for _, test := range []struct {
		name   string
		body   []byte
		result string
		code   Code
		text   string
	}{
		{"a result", pack(t, dict{"result": 3}), string(pack(t, 3)), "", ""},
		{"a result of nil", pack(t, dict{"result": nil}), "\xc0", "", ""},
		{"a result and an error of nil", pack(t, dict{"result": 1, "error": nil}), string(pack(t, 1)), "", ""},
		{"an error", AppendError(nil, nil, failure.Append(nil)), "", Application, "no"},
		{"an error as text", pack(t, dict{"error": "no"}), "", Application, "no"},
		{"an error and a result of nil", []byte("\x82\xa6result\xc0\xa5error\xa2no"), "", Application, "no"},
		{"an error that is none", pack(t, dict{"error": 5}), "", Malformed, "code"},
		{"neither", pack(t, dict{"id": 5}), "", Malformed, "answer"},
		{"no map", pack(t, 5), "", Malformed, "answer"},
		{"empty", nil, "", Malformed, "answer"},
		{"bytes behind it", append(pack(t, dict{"result": 1}), 0), "", Malformed, "answer"},
		{"cut", pack(t, dict{"result": "abc"})[:9], "", Malformed, "answer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := ParseReply(test.body)
			if err == nil {
				err = r.Err
			}
			switch {
			case test.code == "" && (err != nil || string(r.Result) != test.result):
				t.Errorf("got %q, %v", r.Result, err)
			case test.code != "" && (err == nil || err.Code != test.code || r.Result != nil || !strings.Contains(err.Message, test.text)):
				t.Errorf("got %q, %v; want %s", r.Result, err, test.code)
			}
		})
	}
	if _, err := ParseReply(nil); err.Execution() != MaybeExecuted {
		t.Error("an answer that nobody understands says nothing about what ran")
	}
}

func TestAppendRequest(t *testing.T) {
	body := AppendBody(nil, pack(t, []any{1}), nil)
	b, err := AppendRequest(nil, "add", body, 1500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ParseRequest(b)
	if err != nil || string(r.Method) != "add" || string(r.Kwargs) != "\x80" || r.Timeout != 1500*time.Millisecond {
		t.Errorf("got %+v, %v", r, err)
	}
	var foreign dict
	if e := msgpack.Unmarshal(b, &foreign); e != nil || fmt.Sprint(foreign["args"]) != "[1]" || foreign["timeout"] != 1.5 {
		t.Errorf("another library reads %v, %v", foreign, e)
	}
	if b, err := AppendRequest(nil, "add", body, 0); err != nil || bytes.Contains(b, []byte("timeout")) {
		t.Errorf("got %q, %v", b, err)
	}
	if _, err := AppendRequest(nil, "add", []byte{1}, 0); err == nil || err.Code != Malformed {
		t.Errorf("got %v", err)
	}
}

func TestAppendReply(t *testing.T) {
	for _, id := range [][]byte{nil, pack(t, 7), pack(t, strings.Repeat("i", 300))} {
		r, err := ParseReply(AppendResult(nil, id, pack(t, "v")))
		if err != nil || !bytes.Equal(r.ID, id) || string(r.Result) != "\xa1v" {
			t.Errorf("got %+v, %v", r, err)
		}
		r, err = ParseReply(AppendError(nil, id, ErrQueueFull.Append(nil)))
		if err != nil || !bytes.Equal(r.ID, id) || r.Err.Code != QueueFull {
			t.Errorf("got %+v, %v", r, err)
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add(pack(f, dict{"method": "add", "args": []any{1, 2}, "kwargs": dict{"a": 1}, "id": 1, "timeout": 1.5}))
	f.Add(pack(f, dict{"method": "m", "timeuot": 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRequest(b)
		if err != nil {
			return
		}
		if len(r.Method) == 0 || len(r.Method) > MaxMethodName || len(r.ID) > MaxPlainID || r.Timeout < 0 || r.Timeout > MaxTimeout {
			t.Fatalf("got %+v", r)
		}
		again, err := AppendRequest(nil, string(r.Method), AppendBody(nil, r.Args, r.Kwargs), r.Timeout)
		if err != nil {
			t.Fatalf("%+v cannot be passed on: %v", r, err)
		}
		if r2, err := ParseRequest(again); err != nil || !bytes.Equal(r2.Method, r.Method) {
			t.Errorf("%+v became %+v, %v", r, r2, err)
		}
	})
}

func FuzzReply(f *testing.F) {
	f.Add(AppendResult(nil, []byte{7}, []byte{0xc0}))
	f.Add(AppendError(nil, nil, Errorf(Application, "no").With("line", 5).Append(nil)))
	f.Add(pack(f, dict{"error": "text"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseReply(b)
		if err != nil {
			return
		}
		if (r.Result == nil) == (r.Err == nil) {
			t.Fatalf("got %+v", r)
		}
		again := AppendResult(nil, r.ID, r.Result)
		if r.Err != nil {
			again = AppendError(nil, r.ID, r.Err.Append(nil))
		}
		if r2, err := ParseReply(again); err != nil || !bytes.Equal(r2.ID, r.ID) || !bytes.Equal(r2.Result, r.Result) || (r2.Err == nil) != (r.Err == nil) {
			t.Errorf("%+v became %+v, %v", r, r2, err)
		}
	})
}

func BenchmarkParseRequest(b *testing.B) {
	body := pack(b, dict{"method": "add", "args": []any{1, 2}, "kwargs": dict{}, "id": 7})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseRequest(body); err != nil {
			b.Fatal(err)
		}
	}
}

// A plain request costs no garbage before it is queued.
func TestParseRequest_doesNotAllocate(t *testing.T) {
	body := pack(t, dict{"method": "add", "args": []any{1, 2}, "kwargs": dict{}, "id": 7})
	if n := testing.AllocsPerRun(100, func() {
		if _, err := ParseRequest(body); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a request", n)
	}
}
