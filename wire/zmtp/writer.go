package zmtp

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// writeSize is how many sealed bytes are gathered for one write.
const writeSize = 64 << 10

// maxCuts bounds the frames into which a large compact message is cut; it must
// stay below every peer's Limits.MaxFrames.
const maxCuts = 48

// writer is the state of the write loop between two of its lives.
type writer struct {
	out     []byte // sealed, not yet written
	scratch []byte // one cut of a large message behind its scratch byte
	done    uint64 // stream offset behind the last message in out
	spare   queue  // empty; its memory serves the next batch
}

// writeLoop writes until the queue is empty or the link has ended. What is
// appended while it writes gathers into the next batch, without a timer.
func (l *Link) writeLoop() {
	w := &l.writer
	for {
		l.mu.Lock()
		taken := l.queue
		if len(taken.frames) == 0 || l.cause != nil {
			if l.closing && l.cause == nil {
				l.finishLocked()
			}
			l.writing = false
			putBuffer(l.queue.buf)
			l.queue.buf = nil
			w.release()
			l.idle.Broadcast()
			l.mu.Unlock()
			return
		}
		l.queue = queue{buf: w.spare.buf, frames: w.spare.frames, end: taken.end}
		l.mu.Unlock()

		err := l.writeQueue(&taken)
		w.keep(&taken)
		if err != nil {
			l.Close(err) // the next turn sees the cause and ends
		}
	}
}

// writeQueue seals and writes all frames of q in order. Nonces are taken here
// and leave in the same order, since no other goroutine seals.
func (l *Link) writeQueue(q *queue) error {
	w := &l.writer
	offset := q.end
	for i := range q.frames {
		offset -= uint64(q.frames[i].end - q.frames[i].start - 1)
	}
	if w.out == nil {
		w.out = getBuffer()
	}
	for i := range q.frames {
		f := &q.frames[i]
		plain := q.buf[f.start:f.end]
		offset += uint64(len(plain) - 1)
		if f.batch && len(plain) > 2*batchSize {
			if err := l.writeCut(plain); err != nil {
				return err
			}
		} else {
			w.out = l.security.Sealer.Seal(w.out, f.flags, plain)
		}
		if f.flags&FlagMore == 0 {
			w.done = offset
		}
		if len(w.out) >= writeSize {
			if err := l.flush(); err != nil {
				return err
			}
		}
	}
	return l.flush()
}

// writeCut sends a large compact message as several frames, so that sealing,
// the network and the peer's opening overlap.
func (l *Link) writeCut(plain []byte) error {
	w := &l.writer
	body := plain[1:]
	size := max(batchSize, (len(body)+maxCuts-1)/maxCuts)
	for len(body) > 0 {
		n := min(size, len(body))
		w.scratch = append(append(w.scratch[:0], 0), body[:n]...)
		body = body[n:]
		flags := FlagMore
		if len(body) == 0 {
			flags = 0
		}
		w.out = l.security.Sealer.Seal(w.out, flags, w.scratch)
		if len(body) > 0 {
			if err := l.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush writes what is sealed and moves Handed.
func (l *Link) flush() error {
	w := &l.writer
	if len(w.out) == 0 {
		return nil
	}
	now := time.Now()
	l.stalled.Store(int64(now.Sub(epoch)))
	err := l.conn.SetWriteDeadline(now.Add(l.limits.WriteWait))
	if err == nil {
		_, err = l.conn.Write(w.out)
	}
	l.stalled.Store(0)
	if w.out = w.out[:0]; cap(w.out) > maxKept {
		w.out = nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("%w: it has read nothing for %v", ErrSlowPeer, l.limits.WriteWait)
	}
	if err != nil {
		return err
	}
	l.lastWrite.Store(sinceEpoch())
	l.handed.Store(w.done)
	return nil
}

// keep empties a written queue for use by the batch after the next.
func (w *writer) keep(q *queue) {
	w.spare = queue{buf: q.buf[:0], frames: q.frames[:0]}
	if cap(q.buf) > maxKept {
		w.spare.buf = nil
	}
}

// release gives the buffers back when the link has nothing to write.
func (w *writer) release() {
	putBuffer(w.out)
	putBuffer(w.scratch)
	putBuffer(w.spare.buf)
	w.out, w.scratch, w.spare.buf = nil, nil, nil
	if cap(w.spare.frames) > 64 {
		w.spare.frames = nil
	}
}
