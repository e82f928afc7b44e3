package workersdk

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestPool_goroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs, most, now atomic.Int64
		gate := make(chan struct{})
		p := newPool(3, func(c *call) {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			<-gate
			now.Add(-1)
			runs.Add(1)
			if c.attempt == 1 {
				runtime.Goexit()
			}
		}, func() {})
		for i := range 10 {
			p.submit(&call{attempt: uint8(i % 2)})
		}
		synctest.Wait()
		if n := len(p.withdraw()); n != 7 || p.goroutines != 3 {
			t.Errorf("%d calls wait, %d goroutines run", n, p.goroutines)
		}
		for i := range 7 {
			p.submit(&call{attempt: uint8(i % 2)})
		}
		close(gate)
		synctest.Wait()
		if runs.Load() != 10 || most.Load() != 3 {
			t.Errorf("%d ran, at most %d at once", runs.Load(), most.Load())
		}
		p.trim() // notes how many are idle
		p.submit(&call{})
		synctest.Wait()
		idle := p.idle
		p.trim() // one of them was needed meanwhile
		synctest.Wait()
		if p.goroutines != min(idle, 1) || p.idle != p.goroutines {
			t.Errorf("%d goroutines, %d idle are left of %d", p.goroutines, p.idle, idle)
		}
		p.submit(&call{})
		p.submit(&call{})
		synctest.Wait()
		p.close()
		p.ended.Wait()
		if runs.Load() != 13 || p.goroutines != 0 {
			t.Errorf("%d ran, %d goroutines are left", runs.Load(), p.goroutines)
		}
	})
}
