package zmtp

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"time"

	"github.com/servicetools/servicetools/wire/buffer"
)

// writeSize is how many sealed bytes are gathered for one write.
const writeSize = 64 << 10

// maxCuts bounds the frames into which a large compact message is cut; it must
// stay below every peer's Limits.MaxFrames.
const maxCuts = 48

// maxKept bounds the small slices that an idle link keeps.
const maxKept = 32

// writer is the state of who writes: of the write loop, over all its lives, and of
// Flush in its place.
type writer struct {
	out   []byte         // sealed
	rest  []byte         // of a frame that is not sealed, behind out, in memory of others
	lent  *buffer.Buffer // that memory, if it is held here
	from  int            // how much of out and rest is written
	marks []mark         // where messages end in out and rest

	now     attempt
	bounded bool   // the connection has a deadline for writes
	piece   []byte // of a shared body, behind its scratch byte
	pair    [2][]byte

	// buffers is what is left of pair. It is here because WriteTo makes it
	// escape: on the stack it would be an allocation for each write.
	buffers net.Buffers

	last  int64 // when the last write ended that was followed by a rest, as Link.lastWrite
	brief int   // rests in a row that were brief

	// taken is the queue that is being written, or the emptied slices of the last one. It
	// is not on the stack, of which each read loop that has written keeps what it took.
	taken queue
}

// mark is the end of a message in what the writer has and in the stream.
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
		if l.hungUpLocked() { // Run drops what is left
			l.writer.release()
			l.writer.trim()
			l.taken = 0
			l.writing = false
			l.idle.Broadcast()
			l.mu.Unlock()
			return
		}
		if l.idleLocked() || l.cause != nil {
			ended := l.restLocked()
			l.mu.Unlock()
			if ended {
				return
			}
			continue
		}
		l.takeLocked()
		l.mu.Unlock()

		err := l.writeQueue(&w.taken)
		w.taken.drop()
		if err != nil {
			l.Close(err) // the next turn sees the cause and ends
		}
	}
}

// hungUpLocked reports whether the peer hung up while nobody read, and nobody has read that yet:
// what is written would be lost, and count as handed over. It has the link's own goroutine
// read the end. It needs l.mu.
func (l *Link) hungUpLocked() bool {
	if !l.hungUp && l.cause == nil && l.source.unread.Load() && !l.idleLocked() && l.source.hungUp() {
		l.hungUp = true
		l.lending.ending.Store(true) // who holds it leaves it to one that reads the end
		l.Reclaim()
	}
	return l.hungUp
}

// idleLocked reports whether there is nothing to write. It needs l.mu.
func (l *Link) idleLocked() bool { return len(l.queue.frames) == 0 && !l.behind }

// takeLocked takes the queue for the one that writes, who drops it. It needs l.mu.
func (l *Link) takeLocked() {
	w := &l.writer
	l.taken = l.queue.size + w.left()
	l.behind = false
	w.taken, l.queue = l.queue, w.taken
	l.queue.end = w.taken.end
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
		for l.resting = true; l.resting || l.flushing; {
			l.more.Wait()
		}
		if !l.idleLocked() || l.cause != nil || l.closing {
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

// writeQueue seals and writes all frames of q in order. Nonces are taken here or in
// seal, and leave in the same order, since one goroutine at a time seals and writes.
func (l *Link) writeQueue(q *queue) error {
	w := &l.writer
	if w.rest != nil { // Flush has left it: nothing may get in between
		if err := l.flush(); err != nil {
			return err
		}
	}
	offset := w.start(q)
	for i := range q.frames {
		f := &q.frames[i]
		var err error
		if l.bare() && f.shared != nil {
			w.addShared(f)
		} else if f.shared != nil {
			err = l.writeShared(f.rest)
		} else if plain := q.body(f); f.batch && len(plain) > 2*batchSize {
			err = l.writeCut(plain)
		} else {
			w.out, err = l.security.Sealer.Seal(w.out, f.flags, plain)
		}
		if err != nil {
			return err
		}
		offset = w.end(f, offset)
		if len(w.out) >= writeSize || w.rest != nil {
			if err := l.flush(); err != nil {
				return err
			}
		}
	}
	return l.flush()
}

// bare reports whether frames travel as they are.
func (l *Link) bare() bool {
	_, bare := l.security.Sealer.(nullRecord)
	return bare
}

// seal is writeQueue for a small queue that writes nothing. At most its last frame
// is a shared one, on a bare link.
func (l *Link) seal(q *queue) (err error) {
	w := &l.writer
	offset := w.start(q)
	for i := range q.frames {
		f := &q.frames[i]
		if f.shared != nil {
			w.addShared(f)
			w.lent = f.shared.Hold()
		} else if w.out, err = l.security.Sealer.Seal(w.out, f.flags, q.body(f)); err != nil {
			return err
		}
		offset = w.end(f, offset)
	}
	return nil
}

// start prepares for sealing q and returns the stream offset of its first byte.
func (w *writer) start(q *queue) (offset uint64) {
	if w.out == nil {
		w.out = getBuffer()
	}
	offset = q.end
	for i := range q.frames {
		offset -= uint64(q.frames[i].size())
	}
	return offset
}

// end notes that f, which begins at offset, is sealed, and returns where it ends.
func (w *writer) end(f *queued, offset uint64) uint64 {
	offset += uint64(f.size())
	if f.flags&FlagMore == 0 {
		w.marks = append(w.marks, mark{len(w.out) + len(w.rest), offset})
	}
	return offset
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
		if err := l.flush(); err != nil {
			return err
		}
	}
	w.out, err = l.security.Sealer.Seal(w.out, 0, plain)
	return err
}

// addShared adds a frame in memory of others to a bare link: its bytes go to the kernel
// from where they are, and at the peer stay where they come. Inlined, it would take a
// hundred bytes of the stack of each read loop that has written a small frame.
//
//go:noinline
func (w *writer) addShared(f *queued) {
	w.out = AppendFrameHeader(w.out, 0, len(f.rest))
	w.rest = f.rest
}

// writeShared is writeCut for a body in memory of others, which has no room for scratch.
func (l *Link) writeShared(body []byte) (err error) {
	w := &l.writer
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
		if err = l.flush(); err != nil {
			return err
		}
	}
	return nil
}

// flush writes what the writer has.
func (l *Link) flush() error {
	w := &l.writer
	n, err := l.write(w.unwritten())
	l.hand(n)
	w.empty()
	return err
}

// unwritten returns what is left of out and of rest.
func (w *writer) unwritten() (out, rest []byte) {
	return w.out[min(w.from, len(w.out)):], w.rest[max(w.from-len(w.out), 0):]
}

// left returns how many bytes that is.
func (w *writer) left() int { return len(w.out) + len(w.rest) - w.from }

// hand moves Handed behind the messages that end in the next n bytes that the writer
// has, which the kernel has taken.
func (l *Link) hand(n int) {
	w := &l.writer
	w.from += n
	for i := len(w.marks) - 1; i >= 0; i-- {
		if m := w.marks[i]; m.at <= w.from {
			l.handed.Store(m.offset)
			break
		}
	}
}

// empty forgets what the writer has.
func (w *writer) empty() {
	w.marks = w.marks[:0]
	if cap(w.out) > maxPooled {
		w.out = nil
	}
	w.out, w.from = w.out[:0], 0
	w.rest = nil
	w.lent.Release()
	w.lent = nil
}

// maxWrite is the most that is written under one deadline.
const maxWrite = 256 << 10

// write writes b and rest, and returns how much the kernel has taken.
func (l *Link) write(b, rest []byte) (n int, err error) {
	n = l.attempt(b, rest)
	b, rest = b[min(n, len(b)):], rest[max(n-len(b), 0):]
	for err == nil && len(b)+len(rest) > 0 {
		now := time.Now()
		l.writer.bounded = true
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

// attempt writes what the kernel takes of b and rest at once, and returns how much
// that is. It needs no deadline and so none of the timers that one costs.
func (l *Link) attempt(b, rest []byte) (n int) {
	if len(b)+len(rest) == 0 {
		return 0
	}
	w := &l.writer
	if w.bounded { // by the deadline of a write that had to wait, which may be over
		if l.conn.SetWriteDeadline(time.Time{}) != nil {
			return 0
		}
		w.bounded = false
	}
	if n = w.now.write(b, rest); n > 0 {
		l.lastWrite.Store(sinceEpoch())
	}
	return n
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
	w.empty()
	putBuffer(w.out)
	putBuffer(w.piece)
	w.out, w.piece = nil, nil
}

// trim leaves only small slices, when the loop ends: to make them anew after each
// rest of a busy link was an allocation a call.
func (w *writer) trim() {
	w.marks, w.taken.bufs, w.taken.frames = keep(w.marks), keep(w.taken.bufs), keep(w.taken.frames)
}

// keep returns a slice that is small enough for an idle link.
func keep[T any](s []T) []T {
	if cap(s) > maxKept {
		return nil
	}
	return s
}
