package workersdk

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"

	"github.com/servicetools/servicetools/wire/message"
)

// moody has one method, which is brief until the test has it block.
type moody struct {
	ends      bool          // static: it ends its goroutine where it would block
	blocks    atomic.Bool   // set by the test
	entered   chan struct{} // gets one for each call that blocks
	causes    chan error    // gets why each of them was cancelled
	elsewhere atomic.Bool   // a call that blocks was run by another goroutine than the one that reads
}

func (m *moody) Try(ctx context.Context) string {
	if !m.blocks.Load() {
		return "ok"
	}
	if !bytes.Contains(debug.Stack(), []byte("(*pool).runHere")) {
		m.elsewhere.Store(true)
	}
	if m.ends {
		runtime.Goexit()
	}
	m.entered <- struct{}{}
	<-ctx.Done()
	m.causes <- context.Cause(ctx)
	return "late"
}

// learn has the worker know that the method is brief, and believe that calls come often.
func (m *moody) learn(r *running) {
	pace := &r.table.Lookup([]byte("try")).Pace
	for !pace.Brief() {
		pace.Ran(0)
	}
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	r.pool.here.came = time.Now().Add(time.Hour) // a busy host may take longer than calls that come often
}

// startMoody runs a worker whose method has been brief, and calls it, as call 1001, so that it
// blocks or ends its goroutine.
func startMoody(t *testing.T, ends bool) (m *moody, b *scripted, p *peer) {
	t.Helper()
	leakCheck(t)
	b = newScripted(t, "127.0.0.1:0", 1, nil)
	m = &moody{ends: ends, entered: make(chan struct{}, 1), causes: make(chan error, 1)}
	r := start(t, b, m, nil)
	p = b.worker()
	m.learn(r)
	m.blocks.Store(true)
	p.call(1001, "try")
	return m, b, p
}

// wasHere wants that the goroutine that reads has run the calls that blocked.
func (m *moody) wasHere(t *testing.T) {
	t.Helper()
	if m.elsewhere.Load() {
		t.Error("another goroutine than the one that reads ran the call")
	}
}

// The goroutine that reads runs brief calls; one that blocks keeps no CANCEL from it.
func TestWorker_briefMethodThatBlocks(t *testing.T) {
	m, _, p := startMoody(t, false)
	receive(t, m.entered, "the method")
	m.blocks.Store(false)
	p.call(1002, "try")
	p.result(1002) // though the one before it has not ended
	p.send(message.Envelope{Kind: message.KindCancel, ID: 1001})
	if cause := receive(t, m.causes, "the cancellation"); !errors.Is(cause, message.ErrCancelled) {
		t.Errorf("got cause %v", cause)
	}
	p.want(message.KindResult, 1001)
	m.wasHere(t)
}

// A link that ends while its reader is in a method is replaced before the method ends.
func TestWorker_linkEndsDuringABriefMethod(t *testing.T) {
	m, b, p := startMoody(t, false)
	receive(t, m.entered, "the method")
	p.link.Close(nil)
	b.worker() // has come back
	select {
	case cause := <-m.causes:
		t.Errorf("the method was ended: %v", cause)
	default:
	}
	m.wasHere(t)
}

func TestWorker_briefMethodThatEndsItsGoroutine(t *testing.T) {
	m, _, p := startMoody(t, true)
	if e := p.failure(1001); e.Code != message.HandlerPanic {
		t.Errorf("got %v", e)
	}
	m.blocks.Store(false)
	p.call(1002, "try")
	p.result(1002)
	m.wasHere(t)
}

// badError is an error whose text cannot be had.
type badError struct{ text *string }

func (e *badError) Error() string { return *e.text }

type failing struct{}

func (failing) Try() error { return &badError{} }

// A panic that comes after the method has returned is the call's, whoever runs it.
func TestWorker_errorThatPanics(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	r := start(t, b, failing{}, nil)
	p := b.worker()
	for token := range uint64(2) {
		p.call(token+1, "try")
		if e := p.failure(token + 1); e.Code != message.HandlerPanic {
			t.Errorf("got %v", e)
		}
		new(moody).learn(r)
	}
}
