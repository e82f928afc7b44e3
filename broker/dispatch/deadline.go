package dispatch

import "time"

// instant is a point on the injected clock: nanoseconds since just before the
// dispatcher was made, so that 0 can stand for never.
type instant int64

func (t instant) add(d time.Duration) instant { return t + instant(d) }

// passed reports whether t is set and not in the future.
func (t instant) passed(now instant) bool { return t != 0 && t <= now }

const (
	granularity = instant(10 * time.Millisecond)
	wheelSlots  = 4096 // a revolution is about 41 s; later timers wait for more than one
	dueSlot     = wheelSlots
)

// timer is one waiting time, embedded in what waits for it.
type timer struct {
	when       instant // 0 = not waiting
	slot       int
	prev, next *timer
	owner      waiter
}

// waiter is told when its time has come. The timer is no longer set then.
type waiter interface {
	expireLocked(d *Dispatcher, now instant)
}

// wheel is a hashed timing wheel: setting and stopping a timer are O(1), and a
// turn costs the timers of the slots it passes.
type wheel struct {
	slots  [wheelSlots + 1]*timer // the last one holds those that are due in this turn
	cursor instant                // in granularities: the slot that the last turn stopped in
}

// set makes t fire at when, instead of what it was set to before.
func (w *wheel) set(t *timer, when instant) {
	w.stop(t)
	t.when = when
	w.link(t, int(max(when/granularity, w.cursor)%wheelSlots))
}

// stop makes t not fire.
func (w *wheel) stop(t *timer) {
	if t.when != 0 {
		t.when = 0
		w.unlink(t)
	}
}

// turn returns one timer that is due, unset, or nil when there is none.
func (w *wheel) turn(now instant) *timer {
	if w.slots[dueSlot] == nil {
		w.collect(now)
	}
	t := w.slots[dueSlot]
	if t != nil {
		w.stop(t)
	}
	return t
}

// collect moves all timers that are due by now into the due slot. The slot of
// now itself is visited again by the next turn: it has not wholly passed.
func (w *wheel) collect(now instant) {
	end := now / granularity
	start := max(w.cursor, end-wheelSlots+1)
	w.cursor = max(w.cursor, end)
	for tick := start; tick <= end; tick++ {
		for t := w.slots[tick%wheelSlots]; t != nil; {
			next := t.next
			if t.when <= now {
				w.unlink(t)
				w.link(t, dueSlot)
			}
			t = next
		}
	}
}

func (w *wheel) link(t *timer, slot int) {
	t.slot, t.prev, t.next = slot, nil, w.slots[slot]
	if t.next != nil {
		t.next.prev = t
	}
	w.slots[slot] = t
}

func (w *wheel) unlink(t *timer) {
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		w.slots[t.slot] = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	t.prev, t.next = nil, nil
}
