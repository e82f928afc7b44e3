package zmtp

import (
	"errors"
	"fmt"
	"net"
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
	piece []byte // of a shared body, behind its scratch byte
	pair  [2][]byte

	// buffers is what is left of pair. It is here because WriteTo makes it
	// escape: on the stack it would be an allocation for each write.
	buffers net.Buffers

	last  int64 // when the last write ended that was followed by a rest, as Link.lastWrite
	brief int   // rests in a row that were brief

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
		// that saves a third of the processor time of a call. A heartbeat does not
		// wait for them: they may be methods that compute without end.
		if w.brief > busyRests {
			runtime.Gosched()
		}
		l.mu.Lock()
		taken := l.queue
		l.taken = taken.size
		if len(taken.frames) == 0 || l.cause != nil {
			ended := l.restLocked()
			l.mu.Unlock()
			if ended {
				return
			}
			continue
		}
		l.queue = queue{bufs: w.spareBufs[:0], frames: w.spareFrames[:0], end: taken.end}
		l.mu.Unlock()

		err := l.writeQueue(&taken)
		taken.drop()
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

// A link counts as busy after busyRests rests of its write loop in a row that
// were no longer than busyPause: heartbeats do not make it so. Its write loop
// then waits for more instead of ending: to begin one costs a stack that grows
// anew each time, a tenth and more of all that a small call costs.
const (
	busyPause = int64(50 * time.Millisecond)
	busyRests = 16
)

// restLocked ends the write loop until there is something to write again, or
// waits for that. It returns whether the loop has ended. A link that has nothing
// to write keeps none of its buffers. It needs l.mu.
func (l *Link) restLocked() (ended bool) {
	if l.closing && l.cause == nil {
		l.finishLocked()
	}
	l.writer.release()
	l.taken = 0
	last := l.writer.last
	if l.writer.last = l.lastWrite.Load(); l.writer.last-last > busyPause {
		l.writer.brief = 0
	}
	l.writer.brief++
	if l.writer.brief > busyRests && l.cause == nil && !l.closing {
		for l.resting = true; l.resting; {
			l.more.Wait()
		}
		if len(l.queue.frames) > 0 || l.cause != nil || l.closing {
			return false
		}
	}
	l.writer.trim()
	l.queue.bufs, l.queue.frames = keep(l.queue.bufs), keep(l.queue.frames)
	l.writing = false
	l.idle.Broadcast()
	return true
}

// stirLocked ends the rest of the write loop, which then looks what there is to
// do, and ends if that is nothing. It needs l.mu.
func (l *Link) stirLocked() {
	if l.resting {
		l.resting = false
		l.more.Signal()
	}
}

// retire ends a write loop that has nothing to do.
func (l *Link) retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stirLocked()
}

// writeQueue seals and writes all frames of q in order. Nonces are taken here
// and leave in the same order, since no other goroutine seals.
func (l *Link) writeQueue(q *queue) error {
	w := &l.writer
	offset := q.end
	for i := range q.frames {
		offset -= uint64(q.frames[i].size())
	}
	if w.out == nil {
		w.out = getBuffer()
	}
	for i := range q.frames {
		f := &q.frames[i]
		offset += uint64(f.size())
		var err error
		if f.shared != nil {
			err = l.writeShared(f.rest)
		} else if plain := q.bufs[f.buf][f.start:f.end]; f.batch && len(plain) > 2*batchSize {
			err = l.writeCut(plain)
		} else {
			w.out, err = l.security.Sealer.Seal(w.out, f.flags, plain)
		}
		if err != nil {
			return err
		}
		if f.flags&FlagMore == 0 {
			w.marks = append(w.marks, mark{len(w.out), offset})
		}
		if len(w.out) >= writeSize {
			if err := l.flush(nil); err != nil {
				return err
			}
		}
	}
	return l.flush(nil)
}

// writeCut sends a large compact message as several frames, so that sealing,
// the network and the peer's opening overlap. The last byte of each piece is
// the scratch of the next.
func (l *Link) writeCut(plain []byte) (err error) {
	w := &l.writer
	size := max(batchSize, (len(plain)+maxCuts-1)/maxCuts)
	for len(plain)-1 > size {
		if w.out, err = l.security.Sealer.Seal(w.out, FlagMore, plain[:1+size]); err != nil {
			return err
		}
		plain = plain[size:]
		if err := l.flush(nil); err != nil {
			return err
		}
	}
	w.out, err = l.security.Sealer.Seal(w.out, 0, plain)
	return err
}

// writeShared is writeCut for a body in memory of others, which has no room for
// scratch. Under NULL it is one frame, whose bytes go to the kernel from where they
// are, and at the peer stay where they come.
func (l *Link) writeShared(body []byte) (err error) {
	w := &l.writer
	if _, bare := l.security.Sealer.(nullRecord); bare {
		w.out = AppendFrameHeader(w.out, 0, len(body))
		return l.flush(body)
	}
	size := max(batchSize, (len(body)+maxCuts-2)/(maxCuts-1)) // one frame is in front
	for flags := FlagMore; flags != 0; {
		piece := body[:min(size, len(body))]
		if body = body[len(piece):]; len(body) == 0 {
			flags = 0
		}
		w.piece = append(append(fit(w.piece, 1+len(piece)), 0), piece...)
		if w.out, err = l.security.Sealer.Seal(w.out, flags, w.piece); err != nil {
			return err
		}
		if err = l.flush(nil); err != nil {
			return err
		}
	}
	return nil
}

// flush writes what is sealed, and behind it the rest of a frame, and moves Handed.
func (l *Link) flush(rest []byte) error {
	w := &l.writer
	n, err := l.write(w.out, rest)
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

// write writes b and rest, and returns how much the kernel has taken.
func (l *Link) write(b, rest []byte) (n int, err error) {
	for err == nil && len(b)+len(rest) > 0 {
		now := time.Now()
		l.stalled.Store(int64(now.Sub(epoch)))
		if err = l.conn.SetWriteDeadline(now.Add(l.limits.WriteWait)); err != nil {
			break
		}
		var m int
		if len(rest) == 0 || len(b) >= maxWrite {
			m, err = l.conn.Write(b[:min(maxWrite, len(b))])
		} else {
			m, err = l.writePair(b, rest[:min(maxWrite-len(b), len(rest))])
		}
		n += m
		rest = rest[max(m-len(b), 0):]
		b = b[min(m, len(b)):]
		l.lastWrite.Store(sinceEpoch())
	}
	l.stalled.Store(0)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("%w: it has read nothing for %v", ErrSlowPeer, l.limits.WriteWait)
	}
	return n, err
}

// writePair writes a and b in one system call, where the connection can.
func (l *Link) writePair(a, b []byte) (int, error) {
	w := &l.writer
	w.pair = [2][]byte{a, b}
	w.buffers = w.pair[:]
	n, err := w.buffers.WriteTo(l.conn)
	w.pair = [2][]byte{}
	return int(n), err
}

// release gives the buffers back when the link has nothing to write.
func (w *writer) release() {
	putBuffer(w.out)
	putBuffer(w.piece)
	w.out, w.piece = nil, nil
}

// trim leaves only small slices, when the loop ends: to make them anew after each
// rest of a busy link was an allocation a call.
func (w *writer) trim() {
	w.marks, w.spareBufs, w.spareFrames = keep(w.marks), keep(w.spareBufs), keep(w.spareFrames)
}

// keep returns a slice that is small enough for an idle link.
func keep[T any](s []T) []T {
	if cap(s) > maxKept {
		return nil
	}
	return s
}
