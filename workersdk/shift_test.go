package workersdk

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/servicetools/servicetools/workersdk/method"
)

// briefMethod returns a method whose calls are expected to be brief.
func briefMethod() *method.Method {
	m := new(method.Method)
	for !m.Pace.Brief() {
		m.Pace.Ran(0)
	}
	return m
}

func briefCalls(n int) []*call {
	m := briefMethod()
	calls := make([]*call, n)
	for i := range calls {
		calls[i] = &call{method: m, token: uint64(i)}
	}
	return calls
}

// held counts results that were held back and those that were sent.
type held struct{ back, sent, flushes atomic.Int64 }

func (h *held) flush() {
	h.flushes.Add(1)
	h.sent.Add(h.back.Swap(0))
}

func TestPool_briefCallsShareAGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h held
		p := newPool(8, func(c *call) {
			if !c.brief {
				t.Error("a brief call was not told so")
			}
			h.back.Add(1)
		}, h.flush)
		p.submit(briefCalls(100)...)
		synctest.Wait()
		if p.goroutines != 1 || h.sent.Load() != 100 || h.flushes.Load() != 1 {
			t.Errorf("%d goroutines, %d results of 100 sent in %d flushes; want 1 and 1", p.goroutines, h.sent.Load(), h.flushes.Load())
		}
		p.close()
		p.ended.Wait()
	})
}

// A call that should be brief and is not, keeps neither the calls behind it waiting
// nor the results in front of it, and none that come later.
func TestPool_briefCallThatTakesLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h held
		var runs atomic.Int64
		gate := make(chan struct{})
		p := newPool(3, func(c *call) {
			if c.token == 2 {
				<-gate
			}
			runs.Add(1)
			if c.brief {
				h.back.Add(1)
			}
		}, h.flush)
		calls := briefCalls(10)
		p.submit(calls...)
		if synctest.Wait(); runs.Load() != 2 || h.sent.Load() != 0 {
			t.Errorf("%d ran, %d results were sent before the pool lost its patience", runs.Load(), h.sent.Load())
		}
		time.Sleep(briefWait)
		if synctest.Wait(); runs.Load() != 9 || calls[0].method.Pace.Brief() {
			t.Errorf("%d of 9 ran behind the one that takes long; its method counts as brief: %v", runs.Load(), calls[0].method.Pace.Brief())
		}
		if h.back.Load() != 0 {
			t.Errorf("%d results are still held back", h.back.Load())
		}
		p.submit(briefCalls(2)...) // of another method
		if synctest.Wait(); runs.Load() != 11 {
			t.Errorf("%d of 11 ran: one that is not brief counts as such", runs.Load())
		}
		close(gate)
		synctest.Wait()
		p.close()
		p.ended.Wait()
		if p.brief != 0 || runs.Load() != 12 {
			t.Errorf("%d ran, %d goroutines run brief calls in a closed pool", runs.Load(), p.brief)
		}
	})
}

// A row of calls that are brief, but so many that it lasts, gets help.
func TestPool_longRowOfBriefCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h held
		p := newPool(3, func(c *call) {
			time.Sleep(briefWait / 50)
			h.back.Add(1)
		}, h.flush)
		calls := briefCalls(1000)
		p.submit(calls...)
		time.Sleep(10 * briefWait)
		if synctest.Wait(); p.goroutines != 3 || !calls[0].method.Pace.Brief() {
			t.Errorf("%d goroutines run; the method counts as brief: %v", p.goroutines, calls[0].method.Pace.Brief())
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if h.sent.Load() != 1000 {
			t.Errorf("%d of 1000 results were sent", h.sent.Load())
		}
		p.close()
		p.ended.Wait()
	})
}

// A few calls now and then, of which none takes long, are no reason to lose patience.
func TestPool_fewBriefCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h held
		p := newPool(3, func(*call) { h.back.Add(1) }, h.flush)
		calls := briefCalls(200)
		for len(calls) > 0 {
			p.submit(calls[:2]...)
			time.Sleep(briefWait * 3 / 7)
			if calls = calls[2:]; h.back.Load() != 0 {
				t.Fatal("a result is held back while nothing runs")
			}
		}
		if last := p.last; !last.Pace.Brief() || p.goroutines != 1 {
			t.Errorf("%d goroutines run; the method counts as brief: %v", p.goroutines, last.Pace.Brief())
		}
		p.close()
		p.ended.Wait()
	})
}

func TestPool_briefCallsThatEndTheirGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h held
		p := newPool(3, func(*call) {
			h.back.Add(1)
			runtime.Goexit()
		}, h.flush)
		p.submit(briefCalls(1)...)
		if synctest.Wait(); h.sent.Load() != 1 {
			t.Error("the only result is held back")
		}
		p.submit(briefCalls(19)...)
		time.Sleep(time.Second)
		synctest.Wait()
		if h.sent.Load() != 20 || p.brief != 0 || p.goroutines != 0 {
			t.Errorf("%d of 20 results were sent; %d goroutines run, %d brief calls", h.sent.Load(), p.goroutines, p.brief)
		}
		p.close()
		p.ended.Wait()
	})
}

// A queue in which there is always another call takes no more memory than these take.
func TestPool_queueThatIsNeverEmpty(t *testing.T) {
	var p *pool
	calls, left, most := briefCalls(10), 100_000, 0
	done := make(chan struct{})
	p = newPool(1, func(c *call) { // its only goroutine
		if left--; left > 0 {
			p.submit(c)
			p.mu.Lock()
			most = max(most, cap(p.queue))
			p.mu.Unlock()
		} else if left == 0 {
			close(done)
		}
	}, func() {})
	p.submit(calls...)
	<-done
	p.close()
	p.ended.Wait()
	if most > 100 {
		t.Errorf("the queue of %d calls has had room for %d", len(calls), most)
	}
}
