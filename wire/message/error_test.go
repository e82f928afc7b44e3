package message

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestError_roundTrip(t *testing.T) {
	no := NotExecuted
	for _, e := range []*Error{
		{Code: QueueFull, Message: "the queue is full", Details: map[string]any{"retry_after_ms": int8(5)}},
		{Code: TooLarge, Message: "result", Ran: &no},
		{Code: "a_code_of_a_later_version", Message: "?"},
		{Code: Application},
	} {
		got := ParseError(e.Append([]byte("x"))[1:])
		if !reflect.DeepEqual(got, e) || !errors.Is(got, e) {
			t.Errorf("%+v became %+v", e, got)
		}
	}
}

// What a peer may claim about a failure is what it says, or nothing.
func TestError_executed(t *testing.T) {
	for code, want := range classes {
		if got := ParseError((&Error{Code: code}).Append(nil)).Execution(); got != want {
			t.Errorf("%s: executed %v, want %v", code, got, want)
		}
	}
	for word, want := range map[string]Execution{"no": NotExecuted, "yes": Executed, "maybe": MaybeExecuted, "perhaps": MaybeExecuted} {
		if got := ParseError(pack(t, dict{"code": "queue_full", "message": "", "executed": word})).Execution(); got != want {
			t.Errorf("executed %q: %v, want %v", word, got, want)
		}
	}
	if x := ParseError(pack(t, dict{"code": "brand_new", "message": ""})).Execution(); x != MaybeExecuted {
		t.Errorf("an unknown code claims %v", x)
	}
	for _, body := range []string{"", "\xc0", "\x80", "\xa3abc", "\x81\xa4code\xa0", "\x81\xa4code\x05"} {
		if e := ParseError([]byte(body)); e.Code != Malformed || e.Execution() != MaybeExecuted {
			t.Errorf("%q: %v, executed %v", body, e, e.Execution())
		}
	}
}

func TestError_is(t *testing.T) {
	wrapped := fmt.Errorf("calling add: %w", Errorf(WorkerLost, "it died"))
	if !errors.Is(wrapped, ErrWorkerLost) || errors.Is(wrapped, ErrQueueFull) || errors.Is(wrapped, errors.New("x")) {
		t.Error("errors.Is does not compare codes")
	}
	if got := From(wrapped); got.Code != WorkerLost {
		t.Errorf("From gives %v", got)
	}
	if got := From(errors.New("x")); got.Code != Internal || got.Message != "x" {
		t.Errorf("From gives %v", got)
	}
}

// Each code has a sentinel, a class, and a line in the list of codes.
func TestCodes_areComplete(t *testing.T) {
	sentinels := []*Error{ErrNoSuchMethod, ErrNoWorker, ErrBadArgs, ErrApplication, ErrHandlerPanic, ErrDeadlineInQueue,
		ErrDeadlineInHandler, ErrCancelled, ErrQueueFull, ErrTooLarge, ErrWorkerLost, ErrConnectionLost, ErrUnauthorized,
		ErrMalformed, ErrShuttingDown, ErrInternal, ErrIdempotencyClash, ErrMethodQuarantined}
	if len(sentinels) != len(classes) {
		t.Errorf("%d sentinels for %d codes", len(sentinels), len(classes))
	}
	for _, s := range sentinels {
		if !s.Code.Known() {
			t.Errorf("%s has no class", s.Code)
		}
	}
}

// Details that msgpack cannot carry do not lose the error.
func TestError_unencodableDetails(t *testing.T) {
	e := Errorf(Application, "no").With("f", func() {})
	if got := ParseError(e.Append(nil)); got.Code != Application || got.Message != "no" || got.Details != nil {
		t.Errorf("got %+v", got)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"return_non_sense", "add", "addAll", "word_count", "sleep", "Add"}
	for _, test := range []struct {
		name string
		want string
	}{
		{"ReturnNonSense", "return_non_sense"},
		{"ad", "Add add"},
		{"add_all", "addAll Add add"},
		{"wordcuont", "word_count"},
		{"count", "word_count"},
		{"zzzzzzzz", ""},
		{"", ""},
		{strings.Repeat("a", 65), ""},
	} {
		if got := strings.Join(Nearest(test.name, names, 3), " "); got != test.want {
			t.Errorf("%q: %q, want %q", test.name, got, test.want)
		}
	}
	if got := DidYouMean("slep", names); got != ` (did you mean "sleep"?)` {
		t.Errorf("got %q", got)
	}
	if got := DidYouMean("zzzzzzzz", names); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestEditDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"abc", "abc", 0}, {"abc", "axc", 1}, {"abc", "bc", 1}, {"kitten", "sitting", 3}, {"abcdefgh", "a", 5}} {
		if got := editDistance(test.a, test.b, 4); got != test.want {
			t.Errorf("%q, %q: %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

func TestRegister_validate(t *testing.T) {
	valid := func() *Register {
		return &Register{Worker: "w1", Name: "Größe", Host: "h", Concurrency: 4, Methods: []Method{{Name: "add", Aliases: []string{"Add"}, Doc: "adds"}}}
	}
	if err := valid().Validate(); err != nil {
		t.Fatal(err)
	}
	aliases := make([]string, 2*MaxMethods)
	for i := range aliases {
		aliases[i] = fmt.Sprint("a", i)
	}
	for name, edit := range map[string]func(*Register){
		"a long id":              func(r *Register) { r.Worker = strings.Repeat("w", 129) },
		"a line break in an id":  func(r *Register) { r.Worker = "w\nERROR forged" },
		"an escape in a name":    func(r *Register) { r.Name = "\x1b[2J" },
		"a host in latin-1":      func(r *Register) { r.Host = "h\xf6st" },
		"a long version":         func(r *Register) { r.Version = strings.Repeat("1", 129) },
		"no concurrency":         func(r *Register) { r.Concurrency = 0 },
		"much concurrency":       func(r *Register) { r.Concurrency = MaxConcurrency + 1 },
		"more busy than slots":   func(r *Register) { r.Busy = 5 },
		"negative busy":          func(r *Register) { r.Busy = -1 },
		"many methods":           func(r *Register) { r.Methods = make([]Method, MaxMethods+1) },
		"many aliases":           func(r *Register) { r.Methods[0].Aliases = aliases },
		"a method of the broker": func(r *Register) { r.Methods[0].Name = "broker.stop" },
		"an alias of the broker": func(r *Register) { r.Methods[0].Aliases[0] = "broker.stop" },
		"an empty method":        func(r *Register) { r.Methods[0].Name = "" },
		"a method with a space":  func(r *Register) { r.Methods[0].Name = "a b" },
		"a look-alike":           func(r *Register) { r.Methods[0].Name = "аdd" }, // Cyrillic а
		"a long doc":             func(r *Register) { r.Methods[0].Doc = strings.Repeat("d", MaxDoc+1) },
	} {
		r := valid()
		edit(r)
		if err := r.Validate(); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestBeat_isBounded(t *testing.T) {
	for _, millis := range []int64{-1 << 63, -1, 0, 1, 1 << 40, 1<<63 - 1} {
		if b := Beat(millis); b < 10_000_000 || b > 600_000_000_000 {
			t.Errorf("%d: %v", millis, b)
		}
	}
}
