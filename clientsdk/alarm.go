package clientsdk

import "time"

// alarm expires a call at its deadline. It belongs to the call until that has
// ended, and to nobody, in alarms, if it has not gone off.
type alarm struct {
	timer *time.Timer
	call  *call // written before timer is set, read when that goes off
}

// armLocked sets the alarm of c. Needs session.mu.
func (c *call) armLocked(d time.Duration) {
	if c.alarm == nil {
		a, ok := c.session.alarms.Get().(*alarm)
		if !ok {
			a = &alarm{call: c}
			c.alarm = a
			a.timer = time.AfterFunc(d, func() { a.call.expire() })
			return
		}
		a.call, c.alarm = c, a
	}
	c.alarm.timer.Reset(d)
}

// disarm takes the alarm from a call that has ended. It returns false if the
// alarm has gone off or is about to: then the record of the call must stay.
func (c *call) disarm() bool {
	if c.alarm == nil {
		return true
	}
	if !c.alarm.timer.Stop() {
		return false
	}
	c.alarm.call = nil
	c.session.alarms.Put(c.alarm)
	c.alarm = nil
	return true
}
