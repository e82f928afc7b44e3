package zmtp

import (
	"fmt"
	"time"
)

// batchSize is where a batch of compact envelopes is closed. One box of this
// size is sealed at full speed and still fits the cache of a core.
const batchSize = 64 << 10

// queue is what senders have appended and the write loop has not taken. Frames
// lie in buf one after the other, each behind one byte of scratch that the
// sealer may use. Guarded by Link.mu until the write loop takes it whole.
type queue struct {
	buf    []byte
	frames []queued
	end    uint64 // stream offset behind the last frame: body bytes since the link began
}

// queued is one frame of a queue: buf[start] is scratch, buf[start+1:end] the body.
type queued struct {
	flags      FrameFlags
	batch      bool // compact: may still grow, and may be cut into several frames
	start, end int
}

// open starts an empty frame and returns it.
func (q *queue) open(flags FrameFlags, batch bool) *queued {
	if q.buf == nil {
		q.buf = getBuffer()
	}
	q.buf = append(q.buf, 0)
	return q.add(queued{flags: flags, batch: batch, start: len(q.buf) - 1, end: len(q.buf)})
}

func (q *queue) add(f queued) *queued {
	q.frames = append(q.frames, f)
	return &q.frames[len(q.frames)-1]
}

// shut ends the frame where the buffer ends.
func (q *queue) shut(f *queued) {
	q.end += uint64(len(q.buf) - f.end)
	f.end = len(q.buf)
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

// part gives what was appended behind f a frame of its own, if that is large
// and not alone: else a batch would exceed the peer's message limit though none
// of its envelopes does. The new frame's scratch is f's last byte, which has
// been sealed by the time it is used.
func (q *queue) part(f *queued) *queued {
	if len(q.buf)-f.end <= batchSize || f.end == f.start+1 {
		return f
	}
	return q.add(queued{batch: true, start: f.end - 1, end: f.end})
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

// Append lets fn append whole envelopes to the batch that the write loop takes
// next: all that gathers while it writes leaves in one frame. fn is called with
// the link locked, must only append, and must append something. Append returns
// the stream offset of fn's first byte, to be compared with Handed. It never
// blocks; a peer that does not read is cut with ErrSlowPeer.
func (l *Link) Append(fn func(dst []byte) []byte) (start uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.admitLocked(); err != nil {
		return 0, err
	}
	f := l.queue.batch()
	start = l.queue.end
	l.queue.buf = fn(l.queue.buf)
	l.queue.shut(l.queue.part(f))
	l.wakeLocked()
	return start, nil
}

// sendCommand queues a command.
func (l *Link) sendCommand(body []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.admitLocked(); err != nil {
		return err
	}
	l.queueLocked(FlagCommand, body)
	l.wakeLocked()
	return nil
}

func (l *Link) queueLocked(flags FrameFlags, body []byte) {
	f := l.queue.open(flags, false)
	l.queue.buf = append(l.queue.buf, body...)
	l.queue.shut(f)
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

// wakeLocked makes sure that a write loop runs.
func (l *Link) wakeLocked() {
	if !l.writing {
		l.writing = true
		go l.loop()
	}
}

// Pending returns how many bytes wait to be written.
func (l *Link) Pending() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pendingLocked()
}

func (l *Link) pendingLocked() int { return l.taken + len(l.queue.buf) }
