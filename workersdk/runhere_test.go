package workersdk

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/servicetools/servicetools/workersdk/method"
)

// newHerePool returns a pool to which calls have just come.
func newHerePool(limit int, run func(*call), flush func()) *pool {
	p := newPool(limit, run, flush)
	p.here.came = time.Now()
	return p
}

// never is the readOn of a row that nobody has to be relieved of.
func never(t *testing.T) func() {
	return func() { t.Error("who ran a brief call was relieved") }
}

func TestPool_runHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h held
		p := newHerePool(8, func(*call) { h.back.Add(1) }, h.flush)
		p.runHere(never(t)) // of nothing
		for range 10 {
			p.submitHere(briefCalls(100)...)
			if synctest.Wait(); h.back.Load() > 0 || p.goroutines > 0 {
				t.Fatalf("%d calls were run before the caller came, by %d goroutines", h.back.Load(), p.goroutines)
			}
			p.runHere(never(t))
		}
		time.Sleep(3 * hereWait)
		if h.sent.Load() != 1000 || h.flushes.Load() < 10 || p.goroutines != 0 || p.here.readOn != nil {
			t.Errorf("%d results of 1000 were sent in %d flushes, %d goroutines are left; somebody is to be relieved: %v",
				h.sent.Load(), h.flushes.Load(), p.goroutines, p.here.readOn != nil)
		}
		p.close()
		p.ended.Wait()
	})
}

// Calls that are not known to be brief, and those behind them, are for other goroutines.
func TestPool_runHereTakesBriefCallsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const gated = 99
		var h held
		var runs atomic.Int64
		gate := make(chan struct{})
		p := newHerePool(8, func(c *call) {
			if c.token == gated {
				<-gate
			}
			runs.Add(1)
			h.back.Add(1)
		}, h.flush)
		brief := briefMethod()
		for name, slow := range map[string]*call{
			"of no method": {token: gated}, "of a method of which nothing is known": {token: gated, method: new(method.Method)},
			"a stream": {token: gated, method: brief, stream: true},
		} {
			runs.Store(0)
			p.submitHere(append(append(briefCalls(3), slow), briefCalls(2)...)...)
			p.runHere(never(t))
			if n := runs.Load(); n != 3 {
				t.Errorf("%s: %d calls were run by the caller, not 3", name, n)
			}
			synctest.Wait()
			gate <- struct{}{}
			if synctest.Wait(); runs.Load() != 6 {
				t.Errorf("%s: %d calls of 6 have run", name, runs.Load())
			}
		}
		p.close()
		p.ended.Wait()
	})
}

// A call that takes long after all keeps neither the reader nor the calls behind it, even
// if it comes when the row before has just ended.
func TestPool_callOfRunHereThatTakesLong(t *testing.T) {
	for _, before := range []int{0, 3, 100} {
		synctest.Test(t, func(t *testing.T) {
			const gated = 1000
			var h held
			var runs, relieved atomic.Int64
			gate := make(chan struct{})
			p := newHerePool(3, func(c *call) {
				if c.token == gated {
					<-gate
				}
				runs.Add(1)
				if c.brief {
					h.back.Add(1)
				} else {
					h.sent.Add(1)
				}
			}, h.flush)
			p.submitHere(briefCalls(before)...)
			p.runHere(never(t))
			calls := briefCalls(6)
			calls[2].token = gated
			p.submitHere(calls...)
			returned := make(chan struct{})
			go func() {
				defer close(returned)
				p.runHere(func() { relieved.Add(1) })
			}()
			if synctest.Wait(); int(runs.Load()) != before+2 || relieved.Load() != 0 {
				t.Errorf("%d ran, %d relieved before the pool lost its patience", runs.Load(), relieved.Load())
			}
			time.Sleep(2 * hereWait)
			if synctest.Wait(); int(runs.Load()) != before+5 || relieved.Load() != 1 || int(h.sent.Load()) != before+5 {
				t.Errorf("behind %d: %d ran, %d results were sent, %d relieved", before, runs.Load(), h.sent.Load(), relieved.Load())
			}
			if calls[0].method.Pace.Brief() {
				t.Error("the method counts as brief")
			}
			p.mu.Lock()
			p.here.came = time.Now()
			p.mu.Unlock()
			p.submitHere(briefCalls(2)...) // by the one who reads on
			p.runHere(never(t))
			if int(runs.Load()) != before+7 {
				t.Errorf("%d ran of what came later", runs.Load())
			}
			close(gate)
			synctest.Wait()
			p.close() // he who was relieved is one of the pool's own
			<-returned
			p.ended.Wait()
			if p.brief != 0 || p.here.readOn != nil || int(h.sent.Load()) != before+8 {
				t.Errorf("%d brief calls are left, %d results were sent; somebody is to be relieved: %v", p.brief, h.sent.Load(), p.here.readOn != nil)
			}
		})
	}
}

// A row of calls that are brief, but so many that it lasts, gets help, and what it has held
// back is sent.
func TestPool_longRowOfRunHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h held
		p := newHerePool(3, func(*call) {
			time.Sleep(briefWait / 50)
			h.back.Add(1)
		}, h.flush)
		p.submitHere(briefCalls(1000)...)
		go p.runHere(never(t))
		time.Sleep(4 * briefWait)
		p.mu.Lock()
		goroutines := p.goroutines
		p.mu.Unlock()
		if goroutines < 2 || h.sent.Load() == 0 {
			t.Errorf("%d goroutines run, %d results were sent", goroutines, h.sent.Load())
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

// A row that lasts is not in the way of the link for longer than a call may be, whatever
// help it has: he who runs it is one of the pool's own then.
func TestPool_rowOfRunHereThatGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h held
		var relieved atomic.Int64
		p := newHerePool(3, func(*call) {
			time.Sleep(briefWait / 50)
			h.back.Add(1)
		}, h.flush)
		p.submitHere(briefCalls(10_000)...)
		go p.runHere(func() { relieved.Add(1) })
		time.Sleep(hereWait - time.Nanosecond)
		if synctest.Wait(); relieved.Load() != 0 {
			t.Error("relieved too soon")
		}
		time.Sleep(briefWait)
		if synctest.Wait(); relieved.Load() != 1 {
			t.Errorf("relieved %d times", relieved.Load())
		}
		time.Sleep(time.Second)
		synctest.Wait()
		p.close()
		p.ended.Wait()
		if h.sent.Load() != 10_000 || relieved.Load() != 1 {
			t.Errorf("%d of 10,000 results were sent; relieved %d times", h.sent.Load(), relieved.Load())
		}
	})
}

// A method that has become slow is found out by the rows that it takes, which end before
// the timer does.
func TestPool_methodOfRunHereThatBecomesSlow(t *testing.T) {
	for _, test := range []struct {
		calls int
		each  time.Duration
		rows  int // in which it is still taken for brief
	}{
		{1, briefWait, 0}, {2, briefWait / 2, 0}, {16, briefWait / 16, 0},
		{1, slowTime + 1, 1}, {10, slowTime + 1, 1},
		{1, slowTime, 50}, {100, slowTime / 2, 50},
	} {
		synctest.Test(t, func(t *testing.T) {
			var h held
			p := newHerePool(3, func(*call) {
				time.Sleep(test.each)
				h.back.Add(1)
			}, h.flush)
			m, rows := briefMethod(), 0
			for ; rows < 50; rows++ {
				calls := briefCalls(test.calls)
				for _, c := range calls {
					c.method = m
				}
				p.submitHere(calls...)
				if p.runHere(func() {}); !m.Pace.Brief() {
					break
				}
			}
			if rows != test.rows {
				t.Errorf("%d calls of %v: brief for %d rows, want %d", test.calls, test.each, rows, test.rows)
			}
			time.Sleep(time.Second)
			p.close()
			p.ended.Wait()
		})
	}
}

// He who is stuck in a call is relieved, and its method blamed, though help begins others
// all the time.
func TestPool_callOfRunHereIsStuckBesideHelp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const gated = 16
		var h held
		var relieved atomic.Int64
		gate := make(chan struct{})
		p := newHerePool(3, func(c *call) {
			if c.token == gated {
				<-gate
			}
			time.Sleep(briefWait / 17) // two looks find it brief, but a row of them gets help
			h.back.Add(1)
		}, h.flush)
		stuck, calls := briefMethod(), briefCalls(10_000)
		calls[gated].method = stuck
		p.submitHere(calls...)
		go p.runHere(func() { relieved.Add(1) })
		time.Sleep(3 * hereWait)
		synctest.Wait()
		p.mu.Lock()
		left := len(p.queue) - p.head
		p.mu.Unlock()
		if relieved.Load() != 1 || left == 0 || stuck.Pace.Brief() || !calls[0].method.Pace.Brief() {
			t.Errorf("relieved %d times, %d calls left; the stuck method counts as brief: %v, the others': %v",
				relieved.Load(), left, stuck.Pace.Brief(), calls[0].method.Pace.Brief())
		}
		close(gate)
		time.Sleep(time.Second)
		p.close()
		p.ended.Wait()
	})
}

func TestPool_runHereKeepsTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int64
		gate := make(chan struct{})
		p := newHerePool(1, func(c *call) {
			runs.Add(1)
			<-gate
		}, func() {})
		p.submit(&call{})
		synctest.Wait()
		p.submitHere(briefCalls(1)...)
		p.runHere(never(t)) // returns: the only one who may run calls does
		if runs.Load() != 1 {
			t.Fatalf("%d calls run", runs.Load())
		}
		close(gate)
		if synctest.Wait(); runs.Load() != 2 {
			t.Errorf("%d calls have run, not 2", runs.Load())
		}
		p.close()
		p.ended.Wait()
	})
}

// A timer that ends while it is set anew judges nothing.
func TestPool_timerThatIsSetAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newHerePool(1, func(*call) { time.Sleep(briefWait / 2) }, func() {})
		p.submit(briefCalls(1)...)
		synctest.Wait()
		p.mu.Lock()
		p.setPatienceLocked(briefWait)
		p.mu.Unlock()
		p.losePatience() // as that of an earlier setting
		p.mu.Lock()
		lost, waiting := p.lost, p.waiting
		p.mu.Unlock()
		if lost != 0 || waiting != briefWait {
			t.Errorf("patience was lost %d times; it is set to %v", lost, waiting)
		}
		time.Sleep(time.Second)
		p.close()
		p.ended.Wait()
	})
}

// Patience that began with the calls of other goroutines may end as a row begins.
func TestPool_patienceEndsAsARowBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		p := newHerePool(1, func(*call) { <-gate }, func() {})
		p.mu.Lock()
		p.setPatienceLocked(briefWait)
		p.mu.Unlock()
		p.submitHere(briefCalls(1)...)
		returned := make(chan struct{})
		go func() {
			defer close(returned)
			time.Sleep(briefWait - 1)
			p.runHere(never(t))
		}()
		time.Sleep(2 * briefWait)
		close(gate)
		<-returned
		p.close()
		p.ended.Wait()
	})
}

// A call that runs where it was read is watched, though its method may have been found slow
// between two looks at it, by a call of before.
func TestPool_callOfRunHereIsWatched(t *testing.T) {
	p := newHerePool(1, func(*call) {}, func() {})
	defer p.close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.here.readOn, p.here.number = func() {}, 1
	s, c := shift{pool: p, row: row{number: 1}}, &call{method: new(method.Method)}
	if s.beginLocked(c); !c.brief || p.brief != 1 || p.waiting != hereWait || p.here.begun != 1 || p.here.last != c.method {
		t.Errorf("brief: %v, %d of them run, %d have begun; patience is set to %v", c.brief, p.brief, p.here.begun, p.waiting)
	}
}

// Those who were relieved end when they are too many.
func TestPool_relievedAreNotTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 3
		p := newHerePool(limit, func(*call) { time.Sleep(briefWait / 50) }, func() {})
		relieved := 0
		for range 40 {
			p.submitHere(briefCalls(2000)...)
			go p.runHere(func() { relieved++ })
			time.Sleep(time.Second)
			synctest.Wait()
			if p.goroutines > limit {
				t.Fatalf("%d goroutines after %d were relieved", p.goroutines, relieved)
			}
			p.mu.Lock()
			p.here.came = time.Now()
			p.mu.Unlock()
		}
		if relieved < 10 {
			t.Errorf("%d were relieved", relieved)
		}
		p.close()
		p.ended.Wait()
	})
}

// Calls that come now and then are not worth a timer each.
func TestPool_callsThatComeSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h held
		p := newPool(3, func(*call) { h.back.Add(1) }, h.flush)
		for n := range 20 {
			p.submitHere(briefCalls(1)...)
			p.runHere(never(t))
			if synctest.Wait(); int(h.sent.Load()) != n+1 || p.waiting > 0 || p.goroutines != 1 {
				t.Fatalf("%d of %d results were sent, by %d goroutines; patience is set to %v", h.sent.Load(), n+1, p.goroutines, p.waiting)
			}
			time.Sleep(hereWait + 1)
		}
		p.close()
		p.ended.Wait()
	})
}

func TestPool_callOfRunHereThatEndsItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h held
		p := newHerePool(3, func(*call) {
			h.back.Add(1)
			runtime.Goexit()
		}, h.flush)
		p.submitHere(briefCalls(10)...)
		go p.runHere(never(t))
		time.Sleep(time.Second)
		synctest.Wait()
		if h.sent.Load() != 10 || p.brief != 0 || p.goroutines != 0 || p.here.readOn != nil {
			t.Errorf("%d of 10 results were sent; %d goroutines run, %d brief calls; somebody is to be relieved: %v",
				h.sent.Load(), p.goroutines, p.brief, p.here.readOn != nil)
		}
		p.close()
		p.ended.Wait()
	})
}
