package dispatch_test

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/wire/message"
	"pgregory.net/rapid"
)

// Rare interleavings need more than rapid's 100 checks; the flag still rules.
func init() { _ = flag.Set("rapid.checks", "300") }

// longRuns makes the runs of a test as long as a story with several losses takes,
// unless the flag says how long.
func longRuns(t *testing.T) {
	steps := flag.Lookup("rapid.steps")
	if before := steps.Value.String(); before == steps.DefValue {
		_ = steps.Value.Set("150")
		t.Cleanup(func() { _ = steps.Value.Set(before) })
	}
}

// TestDispatcher_anyInterleaving drives a dispatcher with random steps of
// clients, workers, time and accidents, and compares what its sinks were sent
// with a model that knows only the rules:
//
//   - each call that was sent ends exactly once, as long as its client lives;
//   - a call that is not idempotent is never given to a worker again after one
//     may have got it; attempts rise by one, and are bounded;
//   - a call in its last attempt, after others, has its worker for itself;
//   - a call that is said not to have run never reached a worker;
//   - a result is one that a worker gave which had the call and was not lost;
//   - a call with the deadline behind it is not given to a worker;
//   - the law, and everything else that Check knows, holds after each step.
func TestDispatcher_anyInterleaving(t *testing.T) {
	longRuns(t)
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		t.Repeat(map[string]func(*rapid.T){
			"":               m.check,
			"submit":         m.submit,
			"submit twice":   m.submitTwice,
			"cancel":         m.cancel,
			"ack":            m.ack,
			"drop client":    m.dropClient,
			"return client":  m.returnClient,
			"close client":   m.closeClient,
			"start worker":   m.startWorker,
			"answer":         m.answer,
			"answer late":    m.answerLate,
			"answer not run": m.answerNotRun,
			"hand back":      m.handBack,
			"lose worker":    m.loseWorker,
			"drain worker":   m.drainWorker,
			"resize worker":  m.resizeWorker,
			"pass time":      m.passTime,
			"restart broker": m.restartBroker,
			"stream":         m.stream,
		})
		m.finish()
	})
}

func (m *model) client(t *rapid.T, connected bool) *modelClient {
	var some []*modelClient
	for _, c := range m.clients {
		if connected == (c.sink != nil && !c.sink.dead) {
			some = append(some, c)
		}
	}
	if len(some) == 0 {
		t.Skip("none is in this state")
	}
	return rapid.SampledFrom(some).Draw(t, "client")
}

// seldom makes an action that ends much happen once in four times.
func seldom(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "seldom") != 1 {
		t.Skip("seldom")
	}
}

// submit makes a few calls.
func (m *model) submit(t *rapid.T) {
	c := m.client(t, true)
	for range rapid.IntRange(1, 5).Draw(t, "calls") {
		m.submitOne(t, c)
	}
}

func (m *model) submitOne(t *rapid.T, c *modelClient) {
	c.number++
	r := dispatch.Request{
		Number: c.number, Tag: fmt.Appendf(nil, "tag%d", c.number), Body: []byte("body"),
		Method:     []byte(rapid.SampledFrom(modelMethods).Draw(t, "method")),
		Timeout:    rapid.SampledFrom([]time.Duration{0, 0, 300 * time.Millisecond, 5 * time.Second}).Draw(t, "timeout"),
		Priority:   message.Priority(rapid.IntRange(0, 2).Draw(t, "priority")),
		Idempotent: rapid.Bool().Draw(t, "idempotent"),
		Stream:     rapid.Bool().Draw(t, "stream"),
	}
	k := &modelCall{client: c, request: r, sent: true, by: c.sink, modelWork: &modelWork{results: make(map[string]bool)}}
	if !c.plain && rapid.IntRange(0, 3).Draw(t, "with a key") == 0 {
		k.request.Key, r.Key = []byte("key"), []byte("key")
		name := c.config.Key + string(r.Method)
		if m.works[name] == nil {
			m.works[name] = k.modelWork
		}
		k.modelWork = m.works[name]
	}
	k.idempotent = k.idempotent || r.Idempotent || string(r.Method) == "safe"
	if r.Timeout > 0 {
		k.deadline = m.now.Add(r.Timeout)
	}
	c.calls[c.number] = k
	c.order = append(c.order, c.number)
	if rapid.Bool().Draw(t, "together") {
		c.session.SubmitAll([]dispatch.Request{r})
	} else {
		c.session.Submit(&r)
	}
}

func (m *model) submitTwice(t *rapid.T) {
	c := m.client(t, true)
	if len(c.order) == 0 || !c.sink.resumed || c.plain {
		t.Skip("nothing to send twice")
	}
	r := c.calls[rapid.SampledFrom(c.order).Draw(t, "number")].request
	if e := c.session.Submit(&r); e != nil {
		t.Fatal(e)
	}
}

func (m *model) cancel(t *rapid.T) {
	c := m.client(t, true)
	if len(c.order) == 0 || c.plain {
		t.Skip("nothing to cancel")
	}
	n := rapid.SampledFrom(c.order).Draw(t, "number")
	c.calls[n].cancelled = true
	c.session.Cancel(n)
	if c.calls[n] != nil {
		t.Fatalf("call %d has not ended at its cancel", n)
	}
}

func (m *model) ack(t *rapid.T) {
	c := m.client(t, true)
	if c.plain {
		t.Skip("plain peers acknowledge nothing")
	}
	if e := c.session.Ack(c.received); e != nil {
		t.Fatal(e)
	}
}

func (m *model) dropClient(t *rapid.T) {
	c := m.client(t, true)
	seldom(t)
	old := c.sink
	old.dead, c.sink = true, nil
	c.session.Detach(old)
}

func (m *model) returnClient(t *rapid.T) {
	c := rapid.SampledFrom(m.clients).Draw(t, "client")
	if c.sink != nil && c.plain {
		t.Skip("is there")
	}
	c.connect() // perhaps a second connection, which takes over
}

// closeClient ends a session; its client starts anew and waits for nothing.
func (m *model) closeClient(t *rapid.T) {
	c := m.client(t, true)
	seldom(t)
	if c.plain {
		t.Skip("a plain client's session is its connection")
	}
	old := c.sink
	old.dead = true
	for _, k := range c.calls {
		k.cancelled = true
	}
	c.session.Close(old)
	c.session, c.sink = nil, nil
	clear(c.calls)
	c.order = nil
	// The calls at workers remain known to their slots only.
	c.connect()
}

func (m *model) startWorker(t *rapid.T) {
	if len(m.workers) >= 4 {
		t.Skip("enough")
	}
	w := &modelWorker{m: m, size: rapid.IntRange(1, 3).Draw(t, "concurrency"), plain: rapid.IntRange(0, 4).Draw(t, "plain") == 0}
	if w.plain {
		w.size = 1
		m.workers = append(m.workers, w)
		w.w, _ = m.d.Register(dispatch.WorkerConfig{Sink: w})
		return
	}
	r := &message.Register{Worker: "w", Concurrency: w.size, Methods: []message.Method{{Name: "safe", Idempotent: true}}}
	if rapid.Bool().Draw(t, "both methods") {
		r.Methods = append(r.Methods, message.Method{Name: "risky"})
	}
	m.workers = append(m.workers, w)
	var e *message.Error
	if w.w, e = m.d.Register(dispatch.WorkerConfig{Register: r, Sink: w}); e != nil {
		t.Fatal(e)
	}
}

func (m *model) worker(t *rapid.T, busy bool) *modelWorker {
	if len(m.workers) == 0 {
		t.Skip("no worker")
	}
	w := rapid.SampledFrom(m.workers).Draw(t, "worker")
	if busy && len(w.slots) == 0 {
		t.Skip("no call")
	}
	return w
}

// take removes a slot of w.
func (w *modelWorker) take(t *rapid.T) *modelSlot {
	i := rapid.IntRange(0, len(w.slots)-1).Draw(t, "slot")
	s := w.slots[i]
	w.slots = append(w.slots[:i:i], w.slots[i+1:]...)
	return s
}

func (m *model) answer(t *rapid.T) {
	w := m.worker(t, true)
	s := w.take(t)
	m.count++
	result := fmt.Sprint("result ", m.count)
	s.call.results[result] = true
	if rapid.Bool().Draw(t, "together") {
		w.w.Replies([]dispatch.Reply{{Ref: s.ref, Kind: message.KindResult, Body: []byte(result)}})
	} else {
		w.w.Outcome(s.ref, message.KindResult, []byte(result))
	}
	m.gone = append(m.gone, s)
}

// answerLate answers again what was answered, or what a lost worker had.
func (m *model) answerLate(t *rapid.T) {
	if len(m.gone) == 0 {
		t.Skip("nothing is late")
	}
	s := rapid.SampledFrom(m.gone).Draw(t, "slot")
	by := s.w
	if len(m.workers) > 0 && rapid.Bool().Draw(t, "by another") {
		by = rapid.SampledFrom(m.workers).Draw(t, "worker")
		if other := rapid.SampledFrom(m.workers).Draw(t, "other"); other != by && len(other.slots) > 0 {
			s = other.slots[0] // not its own
		}
	}
	if s.ref.Token == 0 {
		t.Skip("claims are answered by origin")
	}
	by.w.Outcome(s.ref, message.KindResult, []byte("late"))
}

// answerNotRun says that the call did not run, and shall not: its arguments are wrong.
func (m *model) answerNotRun(t *rapid.T) {
	w := m.worker(t, true)
	s := w.take(t)
	s.call.reached--
	w.w.Outcome(s.ref, message.KindError, message.Errorf(message.BadArgs, "wrong").Append(nil))
}

func (m *model) handBack(t *rapid.T) {
	w := m.worker(t, true)
	for !w.plain && len(w.slots) > 0 {
		w.drained = true
		s := w.slots[0]
		w.slots = w.slots[1:]
		s.call.reached-- // it did not run
		s.call.attempts--
		w.w.Outcome(s.ref, message.KindError, message.Errorf(message.ShuttingDown, "leaving").Append(nil))
	}
}

func (m *model) loseWorker(t *rapid.T) {
	w := m.worker(t, false)
	handed := w.offset
	if rapid.IntRange(0, 3).Draw(t, "not all was written") == 1 {
		handed = uint64(rapid.IntRange(0, int(w.offset)).Draw(t, "handed"))
	}
	m.lose(w, handed)
}

func (m *model) lose(w *modelWorker, handed uint64) {
	for i, o := range m.workers {
		if o == w {
			m.workers = append(m.workers[:i:i], m.workers[i+1:]...)
			break
		}
	}
	for _, s := range w.slots {
		if s.offset >= handed && s.ref.Token != 0 {
			s.call.reached--
			s.call.attempts--
		} else {
			s.call.crashed = true
		}
		m.gone = append(m.gone, s)
	}
	w.slots = nil
	w.w.Lost(handed, dispatch.Evidence{Reason: "test"})
}

func (m *model) drainWorker(t *rapid.T) {
	w := m.worker(t, false)
	seldom(t)
	w.drained = true
	w.w.Drain()
}

func (m *model) resizeWorker(t *rapid.T) {
	w := m.worker(t, false)
	if w.plain {
		t.Skip("a plain worker has one slot")
	}
	w.size = rapid.IntRange(1, 4).Draw(t, "size")
	if w.size < len(w.slots) {
		w.size = len(w.slots)
	}
	w.w.SetCapacity(w.size)
}

func (m *model) passTime(t *rapid.T) {
	d := rapid.SampledFrom([]time.Duration{time.Millisecond, 30 * time.Millisecond, 400 * time.Millisecond, 3 * time.Second}).Draw(t, "time")
	// Sessions that end now forget their calls; the client learns it when it comes back.
	for _, c := range m.clients {
		if c.sink == nil || c.sink.dead {
			for _, k := range c.calls {
				k.cancelled = true
			}
		}
	}
	m.now = m.now.Add(d)
	m.d.Tick()
}

func (m *model) stream(t *rapid.T) {
	w := m.worker(t, true)
	if w.plain {
		t.Skip("plain workers do not stream")
	}
	s := rapid.SampledFrom(w.slots).Draw(t, "slot")
	w.w.Part(s.ref, s.parts, fmt.Appendf(nil, "item %d", s.parts))
	s.parts++
}

// restartBroker kills the broker: workers come back with claims of what they
// run, clients with the calls that have no outcome.
func (m *model) restartBroker(t *rapid.T) {
	seldom(t)
	for _, c := range m.clients {
		for _, k := range c.calls {
			if len(k.request.Key) > 0 {
				t.Skip("keys are forgotten by a restart")
			}
		}
	}
	m.start()
	m.gone = nil
	come := func() {
		for _, w := range m.workers {
			if w.plain { // it was in the middle of a call that nobody knows any more: it comes anew
				w.slots, w.drained, w.closed, w.offset = nil, false, false, 0
				w.w, _ = m.d.Register(dispatch.WorkerConfig{Sink: w})
				continue
			}
			r := &message.Register{Worker: "w", Concurrency: w.size, Busy: len(w.slots), Methods: []message.Method{{Name: "safe", Idempotent: true}, {Name: "risky"}}}
			w.drained, w.closed, w.offset = false, false, 0
			w.w, _ = m.d.Register(dispatch.WorkerConfig{Register: r, Sink: w})
			for _, s := range w.slots {
				s.last = false // a broker that was restarted does not know
				s.ref = dispatch.Ref{Origin: message.Origin{Session: s.call.client.id, Number: s.call.request.Number}, Attempt: s.attempt}
			}
			for _, s := range append([]*modelSlot(nil), w.slots...) {
				if s.ref.Token == 0 {
					w.w.Claim(s.ref.Origin, s.attempt, false)
				}
			}
		}
	}
	before := rapid.Bool().Draw(t, "workers first")
	if before {
		come()
	}
	for _, c := range m.clients {
		c.session = nil
		if c.sink != nil {
			c.sink.dead = true
		}
		c.connect()
	}
	if !before {
		come()
	}
}

// finish lets everything end, and expects that nothing is left.
func (m *model) finish() {
	t := m.t
	m.check(t)
	for _, w := range append([]*modelWorker(nil), m.workers...) {
		m.lose(w, w.offset)
	}
	for _, c := range m.clients {
		if c.sink == nil || c.sink.dead {
			c.connect()
		}
	}
	for range 20 {
		m.now = m.now.Add(time.Second)
		m.d.Tick()
		m.check(t)
	}
	for _, c := range m.clients {
		if len(c.calls) != 0 {
			t.Fatalf("calls %v never ended", c.order)
		}
		if e := c.session.Ack(c.received); e != nil {
			t.Fatal(e)
		}
	}
	m.check(t)
	if st := m.d.Stats(); st.HeldCalls != 0 || st.HeldBytes != 0 || st.Queued+st.Running != 0 {
		t.Fatalf("at the end: %+v", st)
	}
}
