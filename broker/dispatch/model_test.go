package dispatch_test

import (
	"fmt"
	"time"

	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/wire/message"
	"pgregory.net/rapid"
)

// model is what a bystander knows: the calls that clients sent, and what
// workers and clients got.
type model struct {
	t       *rapid.T
	now     time.Time
	d       *dispatch.Dispatcher
	most    int // attempts of a call
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
	sent      bool       // a broker may hold it
	by        *modelSink // the connection that it was first sent on
	told      uint8      // the attempt that the broker told of
	stale     bool       // a restarted broker was not told of all attempts
	deadline  time.Time  // zero = none
	cancelled bool
	*modelWork
}

// modelWork is what is done once for a call, or for all calls of one idempotency key.
type modelWork struct {
	idempotent bool
	attempts   int             // the highest that a worker got
	crashed    bool            // the broker knows that a worker was lost with it
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
	attempt   uint8
	last      bool // the last attempt after others
	cancelled bool
	parts     uint64
}

func newModel(t *rapid.T) *model {
	m := &model{t: t, now: time.Unix(1e6, 0), most: rapid.IntRange(1, 3).Draw(t, "max_attempts")}
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
			CallsPerKey: 8, MaxAttempts: m.most, NoWorkerGrace: time.Second, ClientGrace: 2 * time.Second, ClaimGrace: time.Second,
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
		r.Attempt = k.told
		if n := int(max(k.told, 1)); !s.resumed {
			k.stale = k.stale || k.attempts > n // it was away when an attempt was made
			k.attempts, k.crashed = min(k.attempts, n), n > 1
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
	// Of two calls with one key the second runs if the first did not. Who was away
	// may learn the end of the first after that.
	again := len(k.request.Key) > 0 && k.by != s
	if e.Execution() == message.NotExecuted && k.reached > 0 && !again {
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
func (s *modelSink) Attempt(number uint64, attempt uint8) {
	if k := s.c.calls[number]; k != nil {
		k.told = attempt
	}
}
func (s *modelSink) Close(*message.Error) { s.dead = true }

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
	if int(a.Attempt) < k.attempts || int(a.Attempt) > w.m.most {
		t.Fatalf("call %d: attempt %d after %d", a.Origin.Number, a.Attempt, k.attempts)
	}
	if k.reached > 0 && int(a.Attempt) == k.attempts {
		t.Fatalf("call %d: attempt %d twice", a.Origin.Number, a.Attempt)
	}
	if !k.deadline.IsZero() && !k.deadline.After(w.m.now) {
		t.Fatalf("call %d was assigned after its deadline", a.Origin.Number)
	}
	last := k.crashed && int(a.Attempt) == w.m.most
	for _, s := range w.slots {
		if last || s.last {
			t.Fatalf("call %d, attempt %d, shares its worker with call %d", a.Origin.Number, a.Attempt, s.call.request.Number)
		}
	}
	k.attempts = int(a.Attempt)
	if k.reached++; k.reached > w.m.most && !k.stale {
		t.Fatalf("call %d goes to its worker number %d", a.Origin.Number, k.reached)
	}
	w.slots = append(w.slots, &modelSlot{w: w, ref: dispatch.Ref{Token: a.Token}, call: k, offset: w.offset, attempt: a.Attempt, last: last})
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
