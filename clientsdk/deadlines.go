package clientsdk

import "time"

// Deadlines are kept to the tick, and looked at by one timer: a timer for each
// call costs a fifth of all that a small call costs its client.
const (
	tick  = 5 * time.Millisecond
	slots = 512 // what is due later than slots ticks from now goes round
)

// deadlines are the calls of a session that have a deadline, in a wheel of lists
// by the tick in which they are due. Guarded by session.mu.
type deadlines struct {
	wheel [slots]*call // linked through call.dueBefore and dueAfter
	seen  int64        // ticks up to this one have been looked at
	timer *time.Timer  // made by the first call
	next  int64        // the tick that timer is set to; 0 = it is not set
}

// armLocked lets c expire when the session has the age at, or at most a tick later. Needs
// session.mu.
func (s *session) armLocked(c *call, at time.Duration) {
	d := &s.deadlines
	c.due = max(int64((at+tick-1)/tick), d.seen+1)
	list := &d.wheel[c.due%slots]
	if c.dueAfter = *list; c.dueAfter != nil {
		c.dueAfter.dueBefore = c
	}
	*list = c
	if d.next == 0 || c.due < d.next {
		s.setTimerLocked(c.due)
	}
}

// disarmLocked takes the deadline from c, if it has one. Needs session.mu.
func (s *session) disarmLocked(c *call) {
	if c.due == 0 {
		return
	}
	if c.dueBefore != nil {
		c.dueBefore.dueAfter = c.dueAfter
	} else {
		s.deadlines.wheel[c.due%slots] = c.dueAfter
	}
	if c.dueAfter != nil {
		c.dueAfter.dueBefore = c.dueBefore
	}
	c.due, c.dueBefore, c.dueAfter = 0, nil, nil
}

// setTimerLocked looks again when a tick is over.
func (s *session) setTimerLocked(due int64) {
	d := &s.deadlines
	d.next = due
	wait := time.Duration(due)*tick - s.age()
	if d.timer == nil {
		d.timer = time.AfterFunc(wait, s.expire)
	} else {
		d.timer.Reset(wait)
	}
}

// stopTimer ends the deadlines with the session, in which no call is left.
func (s *session) stopTimer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deadlines.timer != nil {
		s.deadlines.timer.Stop()
	}
}

// expire expires the calls that are due, and sets the timer to the next list
// that is not empty, of which some may be due a round later.
func (s *session) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := &s.deadlines
	now := int64(s.age() / tick) // whole ticks
	d.next = 0
	from := max(d.seen+1, now-slots+1)
	d.seen = max(d.seen, now)
	for t := from; t <= now; t++ {
		for c := d.wheel[t%slots]; c != nil; {
			late := c
			c = c.dueAfter
			if late.due <= now {
				s.disarmLocked(late)
				late.expireLocked()
			}
		}
	}
	s.promoteLocked()
	if d.next != 0 {
		return // set for a call that was promoted or waits for a last word
	}
	for t := now + 1; t <= now+slots; t++ {
		if d.wheel[t%slots] != nil {
			s.setTimerLocked(t)
			return
		}
	}
}
