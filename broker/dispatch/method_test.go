package dispatch_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/wire/message"
)

func TestMethod_aliasesAreOneMethod(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	python := w.serve(1, "return_non_sense")
	sdk := w.register(&message.Register{Worker: "go", Concurrency: 1, Methods: []message.Method{
		{Name: "ReturnNonSense", Aliases: []string{"return_non_sense"}},
	}})
	c := w.client("k")
	c.call("ReturnNonSense")
	c.call("return_non_sense")
	c.call("ReturnNonSense")
	if python.calls[0].Method != "return_non_sense" || sdk.calls[0].Method != "ReturnNonSense" {
		t.Fatalf("a worker gets the name it knows: %q, %q", python.calls[0].Method, sdk.calls[0].Method)
	}
	python.answer(0, "x")
	python.has("1/1", "3/1")
	if m := w.d.Methods(nil); len(m) != 1 || m[0].Workers != 2 || m[0].Running != 2 {
		t.Fatalf("%+v", m)
	}
}

// Clients that come back before the workers after a start call both spellings.
func TestMethod_aliasOfCallsThatWait(t *testing.T) {
	w := newWorld(t, dispatch.Limits{})
	c := w.client("k")
	c.call("ReturnNonSense")
	c.call("return_non_sense")
	c.call("nobody")
	s := w.register(&message.Register{Worker: "go", Concurrency: 2, Methods: []message.Method{
		{Name: "ReturnNonSense", Aliases: []string{"return_non_sense"}},
	}})
	s.has("1/1", "2/1")
	w.pass(time.Second)
	c.got("3:no_such_method/no")
}

// Right after the start a client of the earlier broker waits for its workers,
// a stranger hears of a wrong name within a second.
func TestMethod_unknownAfterTheStart(t *testing.T) {
	w := newWorld(t, dispatch.Limits{})
	stranger, returning := w.client("k"), w.client("k2")
	returning.attach(3)
	stranger.call("echo", timeout(time.Hour))
	returning.call("echo", timeout(time.Hour))
	w.pass(time.Second)
	stranger.got("1:no_such_method/no")
	w.serve(1, "echo").has("1/1")
	returning.got()
}

func TestMethod_unknownNamesTheNearest(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	w.serve(1, "word_count", "secret_count")
	c := w.client("k")
	c.config.May = func(m string) bool { return !strings.HasPrefix(m, "secret") }
	c.attach(0)
	c.call("WordCuont")
	e := c.lastError()
	if e.Code != message.NoSuchMethod || fmt.Sprint(e.Details["nearest"]) != "[word_count]" {
		t.Fatal(e, e.Details)
	}
	c.call("secret_count")
	if e := c.lastError(); e.Code != message.Unauthorized || !strings.Contains(e.Message, "methods of the key's file") {
		t.Fatal(e)
	}
}

// TestMethod_theBrokersOwnTakeAnAdmin: no list of methods would help a client.
func TestMethod_theBrokersOwnTakeAnAdmin(t *testing.T) {
	c := settled(t, dispatch.Limits{}).client("k")
	c.config.May = func(m string) bool { return !strings.HasPrefix(m, "broker.") }
	c.attach(0)
	c.call("broker.status")
	if e := c.lastError(); e.Code != message.Unauthorized || !strings.Contains(e.Message, "role admin") {
		t.Fatal(e)
	}
}

func TestMethod_workerMayNotServe(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	_, e := w.d.Register(dispatch.WorkerConfig{
		Register: &message.Register{Worker: "w", Concurrency: 1, Methods: []message.Method{{Name: "echo"}, {Name: "pay"}}},
		Sink:     &worker{w: w},
		May:      func(m string) bool { return m == "echo" },
	})
	if e == nil || e.Code != message.Unauthorized || !strings.Contains(e.Message, `"pay"`) {
		t.Fatal(e)
	}
	if st := w.d.Stats(); st.Workers != 0 || st.Methods != 0 {
		t.Fatalf("%+v", st)
	}
}

func TestMethod_plainWorkerServesWhatNobodyClaims(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	plain := w.servePlain()
	sdk := w.serve(1, "echo")
	c := w.client("k")
	c.call("echo")
	c.call("echo")
	c.call("other")
	sdk.has("1/1")
	plain.has("3/1")
	if plain.calls[0].Method != "other" || sdk.id == plain.id {
		t.Fatal(plain.calls, sdk.id, plain.id)
	}
	plain.answer(0, "o")
	// The SDK worker may come back; after the grace the plain one serves its method.
	sdk.lose()
	w.pass(4 * time.Second)
	plain.has("3/1")
	c.call("echo", timeout(time.Minute))
	w.pass(3 * time.Second)
	plain.has("3/1", "4/1")
	c.call("another")
	w.serve(1, "another").has("5/1") // claimed while it waits for the plain worker
	plain.answer(1, "p")
	plain.has("3/1", "4/1")
}

func TestMethod_plainWorkerThatRestartsLosesNothing(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	c := w.client("k")
	c.call("echo")
	w.servePlain().lose()
	c.call("echo")
	w.servePlain().has("2/1")
	c.got("1:no_such_method/no")
}

// Names that callers make up are not remembered.
func TestMethod_namesOfCallersAreBounded(t *testing.T) {
	w := settled(t, dispatch.Limits{CallsPerKey: 10000})
	s := w.servePlain()
	c := w.client("k")
	for i := range 2000 {
		c.call(fmt.Sprint("made-up-", i))
		s.worker.Outcome(s.ref(len(s.calls)-1), message.KindResult, nil)
	}
	if n := w.d.Stats().Methods; n > 1100 {
		t.Fatalf("%d names are remembered", n)
	}
	s.lose()
	if n := w.d.Stats().Methods; n != 0 {
		t.Fatalf("%d names are remembered although nobody serves them", n)
	}
}

func TestWorker_ids(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	a, b := w.serve(1, "echo"), w.serve(1, "echo")
	if a.id != "w" || b.id != "w-2" {
		t.Fatal(a.id, b.id)
	}
	a.lose()
	if c := w.serve(1, "echo"); c.id != "w" {
		t.Fatal(c.id)
	}
}

// A worker keeps its latest outcomes for a while: a broker that takes over from
// one that died may be asked for them.
func TestWorker_outcomesAreAcknowledgedLate(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(3000, "echo")
	c := w.client("k")
	for range 3000 {
		c.session.Submit(&dispatch.Request{Number: c.number + 1, Method: []byte("echo")})
		c.number++
	}
	answered := 0
	told := func(want string, n int, size int) {
		t.Helper()
		s.sent = nil
		for range n {
			s.worker.Outcome(s.ref(answered), message.KindResult, make([]byte, size))
			answered++
		}
		if got := strings.Join(s.sent, ", "); got != want {
			t.Fatalf("after %d more: %q, want %q", n, got, want)
		}
	}
	told("", 1, 1)
	w.pass(200 * time.Millisecond)
	told("", 2046, 1)
	told("ack 1024", 1, 1)
	told("ack 2049", 1, 1<<20)
	told("", 1, 1)
	w.pass(300 * time.Millisecond)
	told("", 1, 1)
	s.sent = nil
	w.pass(500 * time.Millisecond)
	if len(s.sent) == 0 || s.sent[len(s.sent)-1] != "ack 2051" {
		t.Fatal(s.sent)
	}
	told("", 1, 1)
	s.sent = nil
	s.worker.Drain()
	if want := []string{"drain", "ack 2052"}; !slices.Equal(s.sent, want) {
		t.Fatal(s.sent)
	}
	told("ack 2053", 1, 1) // it waits for it before it leaves
	w.check()
}

func TestWorker_busyAtRegistration(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.register(&message.Register{Worker: "w", Concurrency: 2, Busy: 1, Methods: []message.Method{{Name: "echo"}}})
	c := w.client("k")
	c.call("echo")
	c.call("echo")
	s.has("1/1")
	s.worker.SetCapacity(2) // what it was busy with has ended
	w.check()
	s.has("1/1", "2/1")
}

func TestSnapshots(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.serve(1, "echo", "add")
	c := w.client("k")
	c.call("echo", timeout(time.Minute))
	c.call("add")
	w.pass(time.Second)
	calls := w.d.Calls(dispatch.CallFilter{})
	if len(calls) != 2 || calls[0].Worker != "w" || calls[0].State != "running" || calls[0].Age < time.Second || calls[0].Deadline > time.Minute {
		t.Fatalf("%+v", calls)
	}
	for _, f := range []dispatch.CallFilter{{Method: "add"}, {State: "running"}, {Worker: "w"}, {Limit: 1}} {
		if n := len(w.d.Calls(f)); n != 1 {
			t.Errorf("%+v selects %d calls", f, n)
		}
	}
	if n := len(w.d.Calls(dispatch.CallFilter{Key: "nobody"})); n != 0 {
		t.Errorf("%d calls of nobody", n)
	}
	if ws := w.d.Workers(); len(ws) != 1 || ws[0].Busy != 1 || ws[0].Capacity != 1 || ws[0].Methods != 2 || ws[0].Host != "h" {
		t.Fatalf("%+v", ws)
	}
	if ss := w.d.Sessions(); len(ss) != 1 || ss[0].Calls != 2 || !ss[0].Attached {
		t.Fatalf("%+v", ss)
	}
	if ms := w.d.Methods(nil); len(ms) != 2 || ms[0].Name != "add" || ms[0].Queued != 1 || ms[1].Running != 1 {
		t.Fatalf("%+v", ms)
	}
	if !w.d.CancelCall(message.Origin{Session: c.id, Number: 2}) || w.d.CancelCall(message.Origin{Session: c.id, Number: 9}) {
		t.Fatal("the operator's cancel")
	}
	c.got("2:cancelled/no")
	s.answer(0, "x")
	if e := w.d.Stats(); e.Succeeded != 1 || e.FailedBy[message.Cancelled] != 1 {
		t.Fatalf("%+v", e)
	}
}

// An allow list that names one spelling allows the method.
func TestMethod_allowListNamesAnAlias(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.register(&message.Register{Worker: "go", Concurrency: 9, Methods: []message.Method{
		{Name: "ReturnNonSense", Aliases: []string{"return_non_sense"}}, {Name: "other"},
	}})
	c := w.client("k")
	c.config.May = func(m string) bool { return m == "return_non_sense" }
	c.attach(0)
	c.call("ReturnNonSense")
	c.call("return_non_sense")
	c.call("other")
	c.call("nobody")
	s.has("1/1", "2/1")
	c.got("3:unauthorized/no", "4:unauthorized/no")
}

// Names that belong to the broker never reach a plain worker.
func TestMethod_reservedNamesAreNotForPlainWorkers(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	s := w.servePlain()
	c := w.client("k")
	c.call("broker.stop")
	c.call("two words")
	c.got("1:no_such_method/no", "2:no_such_method/no")
	s.has()
}

func TestMethod_floodOfWrongNamesGetsNoHints(t *testing.T) {
	w := settled(t, dispatch.Limits{})
	w.serve(1, "echo")
	c := w.client("k")
	for range 50 {
		c.call("ecko")
	}
	if c.lastError().Details["nearest"] != nil {
		t.Fatal("each of many wrong names is compared with all methods")
	}
	w.pass(10 * time.Millisecond)
	c.call("ecko")
	if c.lastError().Details["nearest"] == nil {
		t.Fatal("no hint")
	}
}
