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

// TestDispatcher_anyInterleaving drives a dispatcher with random steps of
// clients, workers, time and accidents, and compares what its sinks were sent
// with a model that knows only the rules:
//
//   - each call that was sent ends exactly once, as long as its client lives;
//   - a call that is not idempotent is never given to a worker again after one
//     may have got it; attempts rise by one, and are bounded;
//   - a call that is said not to have run never reached a worker;
//   - a result is one that a worker gave which had the call and was not lost;
//   - a call with the deadline behind it is not given to a worker;
//   - the law, and everything else that Check knows, holds after each step.
func TestDispatcher_anyInterleaving(t *testing.T) {
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

// model is what a bystander knows: the calls that clients sent, and what
// workers and clients got.
type model struct {
	t       *rapid.T
	now     time.Time
	d       *dispatch.Dispatcher
	clients []*modelClient
	workers []*modelWorker
	gone    []*modelSlot          // slots of lost workers, for late answers
	works   map[string]*modelWork // by idempotency key
	count   int                   // makes results distinct
}

// modelClient is an SDK's client: it keeps what it sent until it has an outcome.
type modelClient struct {
	m        *model
	plain    bool // a plain peer: its session is its connection
	id       message.SessionID
	config   dispatch.ClientConfig
	session  *dispatch.Session
	sink     *modelSink // nil = disconnected
	number   uint64
	received uint64 // outcomes in this session
	calls    map[uint64]*modelCall
	order    []uint64
}

// modelCall is a call as its client and the workers know it.
type modelCall struct {
	client    *modelClient
	request   dispatch.Request
	sent      bool      // a broker may hold it
	deadline  time.Time // zero = none
	cancelled bool
	*modelWork
}

// modelWork is what is done once for a call, or for all calls of one idempotency key.
type modelWork struct {
	idempotent bool
	attempts   int             // the highest that a worker got
	reached    int             // workers that may have got it
	results    map[string]bool // what they answered
}

type modelSink struct {
	c        *modelClient
	dead     bool
	resumed  bool
	last     uint64
	sequence map[uint64]uint64
}

type modelWorker struct {
	m       *model
	w       *dispatch.Worker
	slots   []*modelSlot
	offset  uint64
	size    int
	plain   bool
	drained bool
	closed  bool
}

// modelSlot is a call at a worker.
type modelSlot struct {
	w         *modelWorker
	ref       dispatch.Ref
	call      *modelCall
	offset    uint64
	cancelled bool
	parts     uint64
}

func newModel(t *rapid.T) *model {
	m := &model{t: t, now: time.Unix(1e6, 0)}
	m.start()
	for i := range 4 {
		c := &modelClient{m: m, plain: i == 3, config: dispatch.ClientConfig{Key: fmt.Sprint("key", i%2)}, calls: make(map[uint64]*modelCall)}
		c.id[0] = byte(i + 1)
		m.clients = append(m.clients, c)
		c.connect()
	}
	return m
}

func (m *model) start() {
	m.d = dispatch.New(dispatch.Config{
		Now:  func() time.Time { return m.now },
		Seed: [32]byte{1},
		Limits: dispatch.Limits{
			CallsPerKey: 8, MaxAttempts: 3, NoWorkerGrace: time.Second, ClientGrace: 2 * time.Second, ClaimGrace: time.Second,
			KeepOutcome: time.Hour,
		},
	})
	m.works = make(map[string]*modelWork)
}

func (c *modelClient) connect() {
	if c.session == nil {
		c.received = 0
	}
	c.sink = &modelSink{c: c, sequence: make(map[uint64]uint64)}
	c.config.Sink = c.sink
	if c.plain {
		c.session, c.number, c.order = c.m.d.Open(c.config), 0, nil
		clear(c.calls)
		return
	}
	c.session = c.m.d.Attach(c.config, c.id, c.received)
	s := c.sink
	if !s.resumed {
		c.received = 0
	}
	for _, n := range c.order {
		k := c.calls[n]
		if k == nil || s.resumed && n <= s.last {
			continue
		}
		if len(k.request.Key) > 0 {
			delete(c.calls, n) // its key may have been forgotten: the client gives up
			continue
		}
		r := k.request
		r.Resubmit = !s.resumed && k.sent
		if !s.resumed {
			k.attempts = 0 // who does not know the session counts from its own first
		}
		if r.Timeout > 0 { // what is left of it
			r.Timeout = max(k.deadline.Sub(c.m.now), time.Millisecond)
			k.deadline = c.m.now.Add(r.Timeout)
		}
		c.session.Submit(&r)
	}
	c.m.sort()
}

func (s *modelSink) Attached(resumed bool, last uint64) { s.resumed, s.last = resumed, last }

func (s *modelSink) Outcome(o *dispatch.Outcome) {
	t, c := s.c.m.t, s.c
	if s.dead {
		t.Fatalf("an outcome for a connection that is gone")
	}
	k := c.calls[o.Number]
	if k == nil {
		t.Fatalf("call %d has an outcome, but is not waited for", o.Number)
	}
	c.received++
	delete(c.calls, o.Number)
	if string(o.Tag) != string(k.request.Tag) {
		t.Fatalf("call %d came back with tag %q", o.Number, o.Tag)
	}
	if o.Kind == message.KindResult {
		if !k.results[string(o.Body)] {
			t.Fatalf("call %d ended in %q, its workers said %v", o.Number, o.Body, k.results)
		}
		return
	}
	e := message.ParseError(o.Body)
	if e.Execution() == message.NotExecuted && k.reached > 0 {
		t.Fatalf("call %d ended in %v, said not to have run, but %d workers got it", o.Number, e, k.reached)
	}
	if e.Code == message.Cancelled && !k.cancelled && len(k.request.Key) == 0 {
		t.Fatalf("call %d was cancelled by nobody", o.Number)
	}
}

func (s *modelSink) Part(number uint64, _ []byte, sequence uint64, _ []byte) {
	if sequence > s.sequence[number] && s.sequence[number] > 0 {
		s.c.m.t.Fatalf("call %d: item %d follows %d", number, sequence, s.sequence[number])
	}
	s.sequence[number] = sequence + 1
}
func (s *modelSink) Progress(uint64, []byte, []byte) {}
func (s *modelSink) Close(*message.Error)            { s.dead = true }

func (w *modelWorker) Registered(string) {}

func (w *modelWorker) Assign(a *dispatch.Assignment) uint64 {
	t := w.m.t
	if len(w.slots) >= w.size {
		t.Fatalf("a worker of %d slots got call %d", w.size, len(w.slots)+1)
	}
	if w.drained || w.closed {
		t.Fatalf("a worker that drains got a call")
	}
	c := w.m.clients[0]
	for _, c = range w.m.clients {
		if c.id == a.Origin.Session {
			break // or the last one, whose sessions have names that it does not know
		}
	}
	k := c.calls[a.Origin.Number]
	if k == nil {
		t.Fatalf("call %d was assigned after its end", a.Origin.Number)
	}
	if k.reached > 0 && !k.idempotent {
		t.Fatalf("call %d is not idempotent and was assigned again", a.Origin.Number)
	}
	if int(a.Attempt) < k.attempts || int(a.Attempt) > 3 {
		t.Fatalf("call %d: attempt %d after %d", a.Origin.Number, a.Attempt, k.attempts)
	}
	if k.reached > 0 && int(a.Attempt) == k.attempts {
		t.Fatalf("call %d: attempt %d twice", a.Origin.Number, a.Attempt)
	}
	if !k.deadline.IsZero() && !k.deadline.After(w.m.now) {
		t.Fatalf("call %d was assigned after its deadline", a.Origin.Number)
	}
	k.attempts = int(a.Attempt)
	k.reached++
	w.slots = append(w.slots, &modelSlot{w: w, ref: dispatch.Ref{Token: a.Token}, call: k, offset: w.offset})
	w.offset += 10
	return w.offset - 10
}

func (w *modelWorker) Cancel(r dispatch.Ref) {
	if w.plain {
		w.m.t.Fatalf("CANCEL for a plain worker")
	}
	for _, s := range w.slots {
		if s.ref.Token == r.Token && (r.Token != 0 || s.ref.Origin == r.Origin) {
			s.cancelled = true
			return
		}
	}
	w.m.t.Fatalf("CANCEL of a call that the worker does not have")
}
func (w *modelWorker) Grant(dispatch.Ref, uint64) {}
func (w *modelWorker) Ack(uint64)                 {}
func (w *modelWorker) Drain()                     { w.drained = true }
func (w *modelWorker) Drained() {
	if len(w.slots) > 1 { // the answer that is being taken is still here
		w.m.t.Fatalf("drained with %d calls", len(w.slots))
	}
}
func (w *modelWorker) Close(*message.Error) { w.closed = true }

// sort drops the numbers of calls that have ended.
func (m *model) sort() {
	for _, c := range m.clients {
		var left []uint64
		for _, n := range c.order {
			if c.calls[n] != nil {
				left = append(left, n)
			}
		}
		c.order = left
	}
}

func (m *model) check(t *rapid.T) {
	m.sort()
	if err := m.d.Check(); err != nil {
		t.Fatal(err)
	}
	st := m.d.Stats()
	if err := st.Law(); err != nil {
		t.Fatal(err)
	}
}

var modelMethods = []string{"risky", "safe", "odd"}

func (m *model) client(t *rapid.T, connected bool) *modelClient {
	c := rapid.SampledFrom(m.clients).Draw(t, "client")
	if connected != (c.sink != nil && !c.sink.dead) {
		t.Skip("not in this state")
	}
	return c
}

func (m *model) submit(t *rapid.T) {
	c := m.client(t, true)
	c.number++
	r := dispatch.Request{
		Number: c.number, Tag: fmt.Appendf(nil, "tag%d", c.number), Body: []byte("body"),
		Method:     []byte(rapid.SampledFrom(modelMethods).Draw(t, "method")),
		Timeout:    rapid.SampledFrom([]time.Duration{0, 0, 300 * time.Millisecond, 5 * time.Second}).Draw(t, "timeout"),
		Priority:   message.Priority(rapid.IntRange(0, 2).Draw(t, "priority")),
		Idempotent: rapid.Bool().Draw(t, "idempotent"),
		Stream:     rapid.Bool().Draw(t, "stream"),
	}
	k := &modelCall{client: c, request: r, sent: true, modelWork: &modelWork{results: make(map[string]bool)}}
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
	c.session.Submit(&r)
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
	if rapid.IntRange(0, 3).Draw(t, "seldom") != 0 || c.plain {
		t.Skip("seldom")
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
	w.w.Outcome(s.ref, message.KindResult, []byte(result))
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

func (m *model) handBack(t *rapid.T) {
	w := m.worker(t, true)
	for !w.plain && len(w.slots) > 0 && w.slots[0].ref.Token != 0 {
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
	m.lose(w, uint64(rapid.IntRange(0, int(w.offset)).Draw(t, "handed")))
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
		}
		m.gone = append(m.gone, s)
	}
	w.slots = nil
	w.w.Lost(handed, dispatch.Evidence{Reason: "test"})
}

func (m *model) drainWorker(t *rapid.T) {
	w := m.worker(t, false)
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
	if rapid.IntRange(0, 3).Draw(t, "seldom") != 0 {
		t.Skip("seldom")
	}
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
				s.ref = dispatch.Ref{Origin: message.Origin{Session: s.call.client.id, Number: s.call.request.Number}}
			}
			for _, s := range append([]*modelSlot(nil), w.slots...) {
				if s.ref.Token == 0 {
					w.w.Claim(s.ref.Origin)
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
