package zmtp

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
)

// writeSize is how many sealed bytes are gathered for one write.
const writeSize = 64 << 10

// maxCuts bounds the frames into which a large compact message is cut; it must
// stay below every peer's Limits.MaxFrames.
const maxCuts = 48

// maxKept bounds the small slices that an idle link keeps.
const maxKept = 32

// writer is the state of the write loop between two of its lives.
type writer struct {
	out   []byte // sealed, not yet written
	marks []mark // where messages end in out

	// Emptied slices of the queue that was written last.
	spareBufs   [][]byte
	spareFrames []queued
}

// mark is the end of a message in the writer's buffer and in the stream.
type mark struct {
	at     int
	offset uint64
}

// writeLoop writes until the queue is empty or the link has ended. What is
// appended while it writes gathers into the next batch, without a timer.
func (l *Link) writeLoop() {
	w := &l.writer
	for {
		// Goroutines that are ready to run may have something to say, too: let
		// them, and one box and one write carry it all. With 100 calls in flight
		// that saves a third of the processor time of a call.
		runtime.Gosched()
		l.mu.Lock()
		taken := l.queue
		l.taken = taken.size
		if len(taken.frames) == 0 || l.cause != nil {
			l.restLocked()
			l.mu.Unlock()
			return
		}
		l.queue = queue{bufs: w.spareBufs[:0], frames: w.spareFrames[:0], end: taken.end}
		l.mu.Unlock()

		err := l.writeQueue(&taken)
		for i, b := range taken.bufs {
			putBuffer(b)
			taken.bufs[i] = nil
		}
		w.spareBufs, w.spareFrames = taken.bufs, taken.frames
		if err != nil {
			l.Close(err) // the next turn sees the cause and ends
		}
	}
}

// restLocked ends the write loop until there is something to write again. An
// idle link keeps none of its buffers. It needs l.mu.
func (l *Link) restLocked() {
	if l.closing && l.cause == nil {
		l.finishLocked()
	}
	l.writer.release()
	l.queue.bufs, l.queue.frames = keep(l.queue.bufs), keep(l.queue.frames)
	l.taken = 0
	l.writing = false
	l.idle.Broadcast()
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
		plain := q.bufs[f.buf][f.start:f.end]
		offset += uint64(len(plain) - 1)
		if f.batch && len(plain) > 2*batchSize {
			if err := l.writeCut(plain); err != nil {
				return err
			}
		} else {
			w.out = l.security.Sealer.Seal(w.out, f.flags, plain)
		}
		if f.flags&FlagMore == 0 {
			w.marks = append(w.marks, mark{len(w.out), offset})
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
// the network and the peer's opening overlap. The last byte of each piece is
// the scratch of the next.
func (l *Link) writeCut(plain []byte) error {
	w := &l.writer
	size := max(batchSize, (len(plain)+maxCuts-1)/maxCuts)
	for len(plain)-1 > size {
		w.out = l.security.Sealer.Seal(w.out, FlagMore, plain[:1+size])
		plain = plain[size:]
		if err := l.flush(); err != nil {
			return err
		}
	}
	w.out = l.security.Sealer.Seal(w.out, 0, plain)
	return nil
}

// flush writes what is sealed and moves Handed.
func (l *Link) flush() error {
	w := &l.writer
	n, err := l.write(w.out)
	for i := len(w.marks) - 1; i >= 0; i-- {
		if m := w.marks[i]; m.at <= n {
			l.handed.Store(m.offset)
			break
		}
	}
	w.marks = w.marks[:0]
	if cap(w.out) > maxPooled {
		w.out = nil
	}
	w.out = w.out[:0]
	return err
}

// maxWrite is the most that is written under one deadline.
const maxWrite = 256 << 10

// write writes b and returns how much of it the kernel has taken.
func (l *Link) write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		now := time.Now()
		l.stalled.Store(int64(now.Sub(epoch)))
		if err = l.conn.SetWriteDeadline(now.Add(l.limits.WriteWait)); err != nil {
			break
		}
		var m int
		m, err = l.conn.Write(b[n:min(n+maxWrite, len(b))])
		n += m
		l.lastWrite.Store(sinceEpoch())
	}
	l.stalled.Store(0)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("%w: it has read nothing for %v", ErrSlowPeer, l.limits.WriteWait)
	}
	return n, err
}

// release gives the buffers back when the link has nothing to write.
func (w *writer) release() {
	putBuffer(w.out)
	w.out = nil
	w.marks, w.spareBufs, w.spareFrames = keep(w.marks), keep(w.spareBufs), keep(w.spareFrames)
}

// keep returns a slice that is small enough for an idle link.
func keep[T any](s []T) []T {
	if cap(s) > maxKept {
		return nil
	}
	return s
}
