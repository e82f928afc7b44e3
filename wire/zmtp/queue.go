package zmtp

import (
	"fmt"
	"time"

	"github.com/servicetools/servicetools/wire/buffer"
)

// batchSize is where a batch of compact envelopes is closed. One box of this
// size is sealed at full speed and still fits the cache of a core.
const batchSize = 64 << 10

// queue is what senders have appended and nobody has taken to write it. Frames
// lie in buffers of about bufferSize one after the other, each behind one byte
// of scratch that the sealer may use: a long queue is never copied to grow.
// Guarded by Link.mu until it is taken whole.
type queue struct {
	bufs   [][]byte // the last one is being filled
	frames []queued
	size   int    // bytes of all frames
	shared int    // frames that are not in bufs
	end    uint64 // stream offset behind the last frame: body bytes since the link began
}

// queued is one frame of a queue: start is its scratch byte, start+1 to end its
// body. Or it is the rest of a message in memory that others own, too.
type queued struct {
	flags      FrameFlags
	batch      bool // compact: may still grow, and may be cut into several frames
	buf        int  // index in queue.bufs
	start, end int  // in that buffer

	shared *buffer.Buffer // held until the frame is written; nil = the frame is in buf
	rest   []byte         // in shared
}

// size returns the length of the body.
func (f *queued) size() int {
	if f.shared != nil {
		return len(f.rest)
	}
	return f.end - f.start - 1
}

// body returns the body of a frame that lies in q, behind its scratch byte.
func (q *queue) body(f *queued) []byte { return q.bufs[f.buf][f.start:f.end] }

// open starts an empty frame and returns it.
func (q *queue) open(flags FrameFlags, batch bool) *queued {
	last := len(q.bufs) - 1
	if last < 0 || len(q.bufs[last]) >= bufferSize {
		q.bufs = append(q.bufs, getBuffer())
		last++
	}
	q.bufs[last] = append(q.bufs[last], 0)
	q.size++
	n := len(q.bufs[last])
	return q.add(queued{flags: flags, batch: batch, buf: last, start: n - 1, end: n})
}

func (q *queue) add(f queued) *queued {
	q.frames = append(q.frames, f)
	return &q.frames[len(q.frames)-1]
}

// fill gives the frame what fn appends. The frame is the last one.
func (q *queue) fill(f *queued, fn func(dst []byte) []byte) {
	b := fn(q.bufs[f.buf])
	q.bufs[f.buf] = b
	n := len(b) - f.end
	if n > batchSize && f.end > f.start+1 {
		// A large envelope behind others gets a frame of its own: else a batch
		// would exceed the peer's message limit though none of its envelopes
		// does. Its scratch is the last byte of f, sealed by the time it is used.
		f = q.add(queued{batch: true, buf: f.buf, start: f.end - 1, end: f.end})
	}
	f.end = len(b)
	q.size += n
	q.end += uint64(n)
}

// share adds a frame in memory of others.
func (q *queue) share(body []byte, memory *buffer.Buffer) {
	q.add(queued{shared: memory.Hold(), rest: body})
	q.shared++
	q.size += len(body)
	q.end += uint64(len(body))
}

// drop empties the queue: it gives the buffers back and lets go of the memory of
// others. end and the slices stay.
func (q *queue) drop() {
	for i := range q.frames {
		if f := &q.frames[i]; f.shared != nil {
			f.shared.Release()
			f.shared, f.rest = nil, nil
		}
	}
	for i, b := range q.bufs {
		putBuffer(b)
		q.bufs[i] = nil
	}
	q.bufs, q.frames, q.size, q.shared = q.bufs[:0], q.frames[:0], 0, 0
}

// batch returns the frame to which compact envelopes are appended.
func (q *queue) batch() *queued {
	if n := len(q.frames); n > 0 {
		if f := &q.frames[n-1]; f.batch && f.end-f.start < batchSize {
			return f
		}
	}
	return q.open(0, true)
}

// Send queues one message of the given frames, which it copies. It never
// blocks; a peer that does not read is cut with ErrSlowPeer.
func (l *Link) Send(frames ...[]byte) error {
	_, err := l.SendAt(frames...)
	return err
}

// SendAt is Send that also returns the stream offset of the message's first
// byte, to be compared with Handed.
func (l *Link) SendAt(frames ...[]byte) (start uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.admitLocked(); err != nil {
		return 0, err
	}
	start = l.queue.end
	for i, body := range frames {
		flags := FlagMore
		if i == len(frames)-1 {
			flags = 0
		}
		l.queueLocked(flags, body)
	}
	l.wakeLocked()
	return start, nil
}

// Append lets fn append whole envelopes to the batch that leaves next: all that
// gathers while the link writes leaves in one frame. fn is called with the link
// locked, must only append, and must append something. Append returns the stream
// offset of fn's first byte, to be compared with Handed. It never blocks; a peer
// that does not read is cut with ErrSlowPeer.
func (l *Link) Append(fn func(dst []byte) []byte) (start uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if start, err = l.appendLocked(fn); err == nil {
		l.wakeLocked()
	}
	return start, err
}

// AppendHeld is Append for one who calls Flush, FlushSoon or Wake afterwards: until
// somebody does, what it has appended may stay where it is.
func (l *Link) AppendHeld(fn func(dst []byte) []byte) (start uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.appendLocked(fn)
}

// Wake has what is held written as after Append: by the turn that is under way, or by
// the write loop, for which more may gather until it runs.
func (l *Link) Wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.idleLocked() {
		l.wakeLocked()
	}
}

func (l *Link) appendLocked(fn func(dst []byte) []byte) (start uint64, err error) {
	if err := l.admitLocked(); err != nil {
		return 0, err
	}
	start = l.queue.end
	l.queue.fill(l.queue.batch(), fn)
	return start, nil
}

// AppendShared is Append for an envelope with a large body, which is not copied:
// fn appends what stands in front of the body, and the link holds the body's
// memory until it is written. The envelope travels as a message of its own.
func (l *Link) AppendShared(fn func(dst []byte) []byte, body []byte, memory *buffer.Buffer) (start uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if start, err = l.appendSharedLocked(fn, body, memory); err == nil {
		l.wakeLocked()
	}
	return start, err
}

// AppendSharedHeld is to AppendShared what AppendHeld is to Append.
func (l *Link) AppendSharedHeld(fn func(dst []byte) []byte, body []byte, memory *buffer.Buffer) (start uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.appendSharedLocked(fn, body, memory)
}

func (l *Link) appendSharedLocked(fn func(dst []byte) []byte, body []byte, memory *buffer.Buffer) (start uint64, err error) {
	if err := l.admitLocked(); err != nil {
		return 0, err
	}
	start = l.queue.end
	l.head = fn(l.head[:0]) // a panic leaves the queue whole
	l.queueLocked(FlagMore, l.head)
	l.queue.share(body, memory)
	return start, nil
}

// sendCommand queues a command. It does not leave with a turn: a handler that does
// not return, in a process where nothing else happens, would silence all its links.
func (l *Link) sendCommand(body []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.admitLocked(); err != nil {
		return err
	}
	l.queueLocked(FlagCommand, body)
	if !l.flushing {
		l.runLocked()
	}
	return nil
}

func (l *Link) queueLocked(flags FrameFlags, body []byte) {
	l.queue.fill(l.queue.open(flags, false), func(dst []byte) []byte { return append(dst, body...) })
}

// stallBound is how long a write may be under way before a full queue counts
// against the peer: a burst that the peer is busy reading is not slowness.
const stallBound = int64(time.Second)

// maxBacklog bounds that patience: no peer is owed more memory than this many
// times MaxPending, however busily it reads.
const maxBacklog = 8

// admitLocked returns why nothing can be queued. It cuts a peer that has more
// than MaxPending waiting and has not read for a while.
func (l *Link) admitLocked() error {
	switch {
	case l.cause != nil:
		return l.cause
	case l.closing:
		return ErrClosed
	}
	pending := l.pendingLocked()
	if pending <= l.limits.MaxPending {
		return nil
	}
	began := l.stalled.Load()
	if began != 0 && sinceEpoch()-began > stallBound || pending/maxBacklog > l.limits.MaxPending {
		l.closeLocked(fmt.Errorf("%w: %d bytes wait for it", ErrSlowPeer, pending))
		return l.cause
	}
	return nil
}

// wakeLocked makes sure that somebody will write, as soon as the turns allow it.
func (l *Link) wakeLocked() {
	switch {
	case l.flushing, l.gathered:
	case l.writing && !l.resting:
	case l.turns.gather(l):
		l.gathered = true
	default:
		l.runLocked()
	}
}

// runLocked makes sure that a write loop runs, now.
func (l *Link) runLocked() {
	if !l.writing {
		l.writing = true
		go l.loop()
	}
	l.stirLocked()
}

// Pending returns how many bytes wait to be written.
func (l *Link) Pending() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pendingLocked()
}

func (l *Link) pendingLocked() int { return l.taken + l.queue.size }
