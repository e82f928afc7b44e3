package dispatch_test

import (
	"fmt"
	"testing"

	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/wire/message"
)

// quietClient and quietWorker are the cheapest sinks: they measure the dispatcher alone.
type quietClient struct{ outcomes uint64 }

func (c *quietClient) Attached(bool, uint64)               {}
func (c *quietClient) Outcome(*dispatch.Outcome)           { c.outcomes++ }
func (c *quietClient) Part(uint64, []byte, uint64, []byte) {}
func (c *quietClient) Progress(uint64, []byte, []byte)     {}
func (c *quietClient) Attempt(uint64, uint8)               {}
func (c *quietClient) Close(*message.Error)                {}

type quietWorker struct {
	w      *dispatch.Worker
	tokens *[]handed
}

type handed struct {
	w     *quietWorker
	token uint64
}

func (w *quietWorker) Registered(string) {}
func (w *quietWorker) Assign(a *dispatch.Assignment) uint64 {
	*w.tokens = append(*w.tokens, handed{w, a.Token})
	return 0
}
func (w *quietWorker) Cancel(dispatch.Ref)        {}
func (w *quietWorker) Grant(dispatch.Ref, uint64) {}
func (w *quietWorker) Ack(uint64)                 {}
func (w *quietWorker) Drain()                     {}
func (w *quietWorker) Drained()                   {}
func (w *quietWorker) Close(*message.Error)       {}

// mill is a dispatcher at work: each turn answers one call, acknowledges its
// outcome and submits the next.
type mill struct {
	d       *dispatch.Dispatcher
	session *dispatch.Session
	sink    quietClient
	tokens  []handed
	request dispatch.Request
	result  []byte
	next    int
}

func newMill(workers, concurrency, queued int) *mill {
	m := &mill{
		d:       dispatch.New(dispatch.Config{Limits: dispatch.Limits{CallsPerKey: 1 << 20, BytesPerKey: 1 << 40}}),
		request: dispatch.Request{Method: []byte("echo"), Body: make([]byte, 100), Timeout: 3600e9},
		result:  make([]byte, 100),
	}
	for i := range workers {
		w := &quietWorker{tokens: &m.tokens}
		w.w, _ = m.d.Register(dispatch.WorkerConfig{Sink: w, Register: &message.Register{
			Worker: fmt.Sprint("w", i), Concurrency: concurrency, Methods: []message.Method{{Name: "echo"}, {Name: "add"}},
		}})
	}
	m.session = m.d.Attach(dispatch.ClientConfig{Key: "k", Sink: &m.sink}, message.SessionID{1}, 0)
	for range workers*concurrency + queued {
		m.submit()
	}
	return m
}

func (m *mill) submit() {
	m.request.Number++
	if e := m.session.Submit(&m.request); e != nil {
		panic(e)
	}
}

func (m *mill) turn() {
	if m.next == len(m.tokens) {
		m.tokens, m.next = m.tokens[:0], 0
		m.submit()
	}
	h := m.tokens[m.next]
	m.next++
	h.w.w.Outcome(dispatch.Ref{Token: h.token}, message.KindResult, m.result)
	m.session.Ack(m.sink.outcomes)
	m.submit()
	if m.next > 4096 {
		m.tokens = append(m.tokens[:0], m.tokens[m.next:]...)
		m.next = 0
	}
}

func BenchmarkCall(b *testing.B) {
	for _, size := range []struct{ workers, queued int }{{2, 0}, {1000, 0}, {2, 100_000}, {1000, 100_000}} {
		b.Run(fmt.Sprintf("workers=%d/queued=%d", size.workers, size.queued), func(b *testing.B) {
			m := newMill(size.workers, 8, size.queued)
			b.ReportAllocs()
			for b.Loop() {
				m.turn()
			}
		})
	}
}

func TestCall_doesNotAllocate(t *testing.T) {
	for _, queued := range []int{0, 1000} {
		m := newMill(4, 8, queued)
		for range 20_000 {
			m.turn() // let buffers grow to their size
		}
		if n := testing.AllocsPerRun(10_000, m.turn); n != 0 {
			t.Errorf("queue of %d: %v allocations a call, want 0", queued, n)
		}
		if err := m.d.Check(); err != nil {
			t.Error(err)
		}
	}
}
