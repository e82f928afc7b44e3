package dispatch

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The queue gives its items in the order of their ranks, whatever is removed
// and moved meanwhile.
func TestQueue_isSorted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queue[*lane]
		ranks := make(map[*lane]rank)
		sequence := uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				sequence++
				l, r := &lane{index: -1}, rank{rapid.Int64Range(0, 20).Draw(t, "order"), sequence}
				ranks[l] = r
				q.push(r, l)
			},
			"remove": func(t *rapid.T) {
				if len(ranks) == 0 {
					t.Skip("empty")
				}
				l := q.entries[rapid.IntRange(0, q.len()-1).Draw(t, "index")].item
				q.remove(l)
				delete(ranks, l)
			},
			"move": func(t *rapid.T) {
				if len(ranks) == 0 {
					t.Skip("empty")
				}
				l := q.entries[rapid.IntRange(0, q.len()-1).Draw(t, "index")].item
				ranks[l] = rank{rapid.Int64Range(0, 20).Draw(t, "order"), ranks[l].sequence}
				q.rerank(ranks[l], l)
			},
			"": func(t *rapid.T) {
				least := rank{1 << 60, 0}
				for _, r := range ranks {
					if r.before(least) {
						least = r
					}
				}
				if q.len() != len(ranks) || q.len() > 0 && q.first() != least {
					t.Fatalf("%d items, the first is not %v", q.len(), least)
				}
			},
		})
		var have []rank
		for q.len() > 0 {
			have = append(have, q.first())
			q.remove(q.head())
		}
		if !slices.IsSortedFunc(have, func(a, b rank) int {
			if a.before(b) {
				return -1
			}
			return 1
		}) {
			t.Fatalf("not sorted: %v", have)
		}
	})
}

// A timer fires once, never early, and with the first turn after its time.
func TestWheel_firesInTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w wheel
		now := instant(rapid.Int64Range(1, 1e9).Draw(t, "start"))
		w.cursor = now / granularity
		due := make(map[*timer]instant)
		var set []*timer
		any := func() *timer {
			if len(set) == 0 {
				t.Skip("none")
			}
			return rapid.SampledFrom(set).Draw(t, "timer")
		}
		delay := rapid.Int64Range(0, int64(3*wheelSlots*granularity))
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				set = append(set, &timer{})
				tm := set[len(set)-1]
				due[tm] = now + instant(delay.Draw(t, "delay"))
				w.set(tm, due[tm])
			},
			"set again": func(*rapid.T) {
				tm := any()
				due[tm] = now + 5
				w.set(tm, due[tm])
			},
			"stop": func(*rapid.T) {
				tm := any()
				w.stop(tm)
				delete(due, tm)
			},
			"turn": func(t *rapid.T) {
				now += instant(delay.Draw(t, "pass") / rapid.SampledFrom([]int64{1, 10, 1e4}).Draw(t, "scale"))
				for tm := w.turn(now); tm != nil; tm = w.turn(now) {
					if when, ok := due[tm]; !ok || when > now {
						t.Fatalf("fired at %d: known %v, due %d", now, ok, when)
					}
					delete(due, tm)
				}
				for _, when := range due {
					if when <= now {
						t.Fatalf("due at %d and not fired at %d", when, now)
					}
				}
			},
		})
	})
}

// After a burst the buffers are given back; while they are used they are kept.
func TestBuffers_followTheUse(t *testing.T) {
	var p buffers
	for size := range 3 << 20 {
		if size%4099 != 0 {
			continue
		}
		b := p.copy(make([]byte, size))
		if len(b) != size {
			t.Fatalf("a copy of %d bytes has %d", size, len(b))
		}
		p.release(b)
	}
	var burst [][]byte
	for range 1000 {
		burst = append(burst, p.copy(make([]byte, 1000)))
	}
	for _, b := range burst {
		p.release(b)
	}
	free := func() int { return len(p.classes[10-minBuffer].free) }
	for range 100 {
		for i := range 10 {
			burst[i] = p.copy(burst[i][:1000])
		}
		for i := range 10 {
			p.release(burst[i])
		}
		p.trim()
	}
	if n := free(); n < 10 || n > 20 {
		t.Fatalf("%d buffers are kept, 10 are used", n)
	}
}
