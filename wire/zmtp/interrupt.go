package zmtp

import "time"

// Interrupt has the goroutine that reads in ReadUntil, if one does, look whether its wait is
// over. It is called from any goroutine.
func (l *Link) Interrupt() {
	if !l.lending.lent() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.conn.SetReadDeadline(longAgo) // fails only if the link has ended: then nobody reads
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// interrupted reports whether a read deadline that has passed was Interrupt's, not the end of a
// finished link's linger, and sets the one that holds.
func (l *Link) interrupted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut && !time.Now().Before(l.lingers) {
		return false
	}
	return l.conn.SetReadDeadline(l.lingers) == nil // zero = none
}
