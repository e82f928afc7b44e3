package clientsdk

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// TestDeadlines_everyOneInItsTick arms calls with deadlines near, far and within
// one tick of each other, takes some back, and sees each of the others expire
// not before its deadline and at most a tick after it.
func TestDeadlines_everyOneInItsTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSession(&config{maxCalls: 1 << 20, maxBytes: 1 << 30}, nil)
		random := rand.New(rand.NewPCG(1, 2))
		type waiter struct {
			c     *call
			taken bool
		}
		var all []*waiter
		arm := func(after time.Duration) {
			c := s.newCall()
			if e := c.prepare("method", &settings{}, nil); e != nil {
				t.Fatal(e)
			}
			c.deadline = s.age() + after
			if e := s.start(c, after); e != nil {
				t.Fatal(e)
			}
			w := &waiter{c: c}
			all = append(all, w)
			go func() {
				<-c.done
				late := s.age() - c.deadline
				if !w.taken && (late < 0 || late > tick) {
					t.Errorf("a deadline in %v was noticed %v after it", after, late)
				}
			}()
		}
		for range 300 {
			arm(time.Duration(1 + random.Int64N(int64(3*slots*tick))))
			arm(time.Duration(1 + random.IntN(int(2*tick))))
			time.Sleep(time.Duration(random.IntN(int(3 * tick))))
			w := all[random.IntN(len(all))]
			s.mu.Lock()
			if w.c.state == stateFlying {
				w.taken = true
				s.cancelLocked(w.c, "test")
			}
			s.mu.Unlock()
		}
		time.Sleep(4 * slots * tick)
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.calls.Len() != 0 || s.deadlines.next != 0 {
			t.Errorf("%d calls are left, and the timer is set to tick %d", s.calls.Len(), s.deadlines.next)
		}
		for _, c := range s.deadlines.wheel {
			if c != nil {
				t.Fatal("a call that has ended is still in the wheel")
			}
		}
		s.stop(nil)
	})
}
