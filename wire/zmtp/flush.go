package zmtp

import "time"

// Flush writes what waits, in the caller's goroutine, as far as the kernel takes it
// at once, and leaves the rest to the write loop. It leaves all of it if that is more
// than 64 KiB, but for one large body at its end that needs no sealing. It never
// blocks, and does nothing if somebody is writing, who then takes along what has come
// since.
func (l *Link) Flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gathered = false
	if l.hungUpLocked() {
		return
	}
	for range maxFlushes {
		if !l.canFlushLocked() {
			break
		}
		l.flushLocked()
	}
	l.leaveRestLocked()
}

// leaveRestLocked leaves what is still to be written, or to be finished, to the write loop.
// It needs l.mu.
func (l *Link) leaveRestLocked() {
	if !l.flushing && (!l.idleLocked() || l.closing && !l.shut) {
		l.runLocked()
	}
}

// maxFlushes bounds how often Flush goes on with what came while it wrote.
const maxFlushes = 4

// canFlushLocked reports whether nobody writes, and what waits is little: frames of
// up to writeSize, and behind them one shared body that goes out as it is. It needs l.mu.
func (l *Link) canFlushLocked() bool {
	q := &l.queue
	if len(q.frames) == 0 || len(q.frames) > maxKept || l.behind || l.flushing || l.writing && !l.resting || l.cause != nil {
		return false
	}
	large := 0
	if last := &q.frames[len(q.frames)-1]; q.shared == 1 && last.shared != nil && l.bare() {
		large = len(last.rest)
	} else if q.shared > 0 {
		return false
	}
	return q.size-large <= writeSize
}

// flushLocked takes the place of the write loop for one write. It needs l.mu, but
// does not hold it while it writes.
func (l *Link) flushLocked() {
	w := &l.writer
	l.takeLocked()
	l.flushing = true
	l.mu.Unlock()
	err := l.seal(&w.taken)
	w.taken.drop()
	if err == nil {
		l.hand(l.attempt(w.unwritten()))
	}
	l.mu.Lock()
	l.flushing = false
	l.taken = w.left()
	switch {
	case err != nil:
		l.closeLocked(err)
	case l.taken > 0:
		l.behind = true
	default:
		w.release()
	}
	if !l.writing && !l.behind { // a write loop trims when it ends, and needs the marks of what is left
		w.trim()
	}
	if !l.resting {
		l.more.Signal()
	}
	l.idle.Broadcast()
}

// Bounds of what FlushSoon lets wait.
const (
	lateness = time.Millisecond
	muchLate = 32 << 10 // bytes; 4 KiB are a tenth slower with 1,000 calls in flight, 60 KiB no faster
)

// FlushSoon has what waits written within a millisecond, or at once from 32 KiB on.
// It is for a sender who does not know whether more follows.
func (l *Link) FlushSoon() {
	if l.waitSoon() {
		l.Flush()
	}
}

// waitSoon reports whether there is too much to wait, else it sets the timer if
// there is something.
func (l *Link) waitSoon() (much bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.queue.size >= muchLate:
		return true
	case l.soon, l.gathered, l.flushing, l.writing && !l.resting, l.idleLocked():
	case l.late == nil:
		l.soon = true
		l.late = time.AfterFunc(lateness, l.flushLate)
	default:
		l.soon = true
		l.late.Reset(lateness)
	}
	return false
}

// flushLate is what the timer of FlushSoon runs.
func (l *Link) flushLate() {
	l.mu.Lock()
	l.soon = false
	l.mu.Unlock()
	l.Flush()
}
