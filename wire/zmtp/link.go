package zmtp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Link is a connection whose handshake has succeeded.
//
// Its life: Handshake or Dial makes it; the owner calls Run once, which reads
// until the link fails or is closed. Senders append to the link's queue from
// any goroutine. It is written by one at a time: a sender who calls Flush, a turn
// that ends (Turns), or a write loop, which exists only while there is something to
// write, and a moment longer on a busy link.
// The first cause of the end is kept; Run returns it after the last writer has
// ended, and from then on Handed is final.
type Link struct {
	// Static after the handshake.
	conn     net.Conn
	security Security
	limits   Limits
	turns    *Turns // nil = what a handler appends is for the write loop

	loop func() // writeLoop, as a value: a go statement with a receiver would allocate

	// Owned by the read loop, in which one goroutine is at a time; what source.hungUp needs, by mu.
	source source
	reader reader

	// Which goroutine that is. Each says on its fields who owns them.
	handover handover
	after    afterTurn
	lending  lending

	// Owned by the write loop, of which there is at most one; while it rests or there
	// is none, by who has set flushing, or holds mu.
	writer writer

	mu       sync.Mutex
	idle     sync.Cond   // signalled when the write loop or a flush ends; waits with mu
	queue    queue       // what nobody has taken to write it
	head     []byte      // scratch of AppendShared
	taken    int         // bytes that were taken and are not written yet
	writing  bool        // a write loop exists
	resting  bool        // and waits for more
	more     sync.Cond   // signalled when resting or flushing ends; waits with mu
	flushing bool        // Flush writes, in the place of the write loop
	gathered bool        // in turns.ready: a turn that ends has it written
	behind   bool        // Flush has left sealed bytes to the write loop
	closing  bool        // close once the queue is empty
	shut     bool        // which was done
	lingers  time.Time   // until when the peer's end is waited for; zero until the link is shut
	hungUp   bool        // the peer did when nobody read: nothing is written any more
	cause    error       // first cause of the end; nil while the link lives
	late     *time.Timer // of FlushSoon; nil until it is needed
	soon     bool        // late is set to a time
	overdue  *time.Timer // closes a link that is finished and does not end; nil = it is not finished

	crowded  atomic.Bool // many other links have a turn between two of its own
	finished atomic.Bool // Finish was called: what comes is dropped

	handed    atomic.Uint64 // stream offset of the last message wholly written
	lastRead  atomic.Int64  // nanoseconds since epoch at the last byte read
	lastWrite atomic.Int64  // the same at the last write
	partial   atomic.Int64  // when the unfinished message began; 0 = none
	stalled   atomic.Int64  // when the write in progress began; 0 = none
	peerTTL   atomic.Int64  // liveness bound that the peer asked for; 0 = none
}

// epoch makes the atomics above monotonic.
var epoch = time.Now()

func sinceEpoch() int64 { return int64(time.Since(epoch)) }

func newLink(conn net.Conn, security Security, limits Limits) *Link {
	l := &Link{conn: conn, security: security, limits: limits}
	l.loop = l.writeLoop
	l.idle.L, l.more.L = &l.mu, &l.mu
	l.reader.release()
	l.writer.now.init(conn)
	l.source.init(conn)
	now := sinceEpoch()
	l.lastRead.Store(now)
	l.lastWrite.Store(now)
	return l
}

// Metadata returns what the peer announced.
func (l *Link) Metadata() Metadata { return l.security.Metadata }

// Key returns the peer's proven public key, zero under NULL.
func (l *Link) Key() [32]byte { return l.security.Key }

// Subject returns what the admission of this endpoint returned for the peer.
func (l *Link) Subject() any { return l.security.Subject }

// RemoteAddr returns the peer's address.
func (l *Link) RemoteAddr() net.Addr { return l.conn.RemoteAddr() }

// LastRead returns when the last byte of the peer came.
func (l *Link) LastRead() time.Time { return epoch.Add(time.Duration(l.lastRead.Load())) }

// Handed returns the stream offset up to which messages were wholly written to
// the kernel. A message that is not wholly written cannot have been read: what
// starts at or beyond the offset was never handed over. It is final once Run
// has returned, and counts what a write that failed had written before.
func (l *Link) Handed() uint64 { return l.handed.Load() }

// Run reads messages and calls handle for each until the link ends, and
// returns the first cause: ErrClosed or the cause given to Close, io.EOF when
// the peer left between messages, or what went wrong. A panic of handle ends
// this link only, as a *PanicError. Run or RunLent must be called, once.
func (l *Link) Run(handle func(*Message) error) error {
	if l.after.run != nil || l.lending.waiting != nil {
		l.Close(l.readByMany(handle))
	} else {
		l.Close(l.contain(handle))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.writing || l.flushing {
		l.idle.Wait()
	}
	l.queue.drop()
	l.queue = queue{end: l.queue.end}
	if l.overdue != nil {
		l.overdue.Stop()
	}
	if l.late != nil {
		l.late.Stop()
	}
	l.security.wipe()
	return l.cause
}

// abandon ends a link of which nobody has heard yet.
func (l *Link) abandon(cause error) {
	l.Close(cause)
	l.security.wipe()
}

func (l *Link) contain(handle func(*Message) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
		l.endTurn()
		l.reader.release()
	}()
	return l.readLoop(handle, nil)
}

// Close ends the link at once for the given cause; nil stands for ErrClosed.
// Only the first cause counts. It does not wait: Run's return is the end.
func (l *Link) Close(cause error) {
	if cause == nil {
		cause = ErrClosed
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closeLocked(cause)
}

// closeLocked needs l.mu.
func (l *Link) closeLocked(cause error) {
	if l.cause != nil {
		return
	}
	l.cause = cause
	l.conn.Close() // unblocks both loops
	l.stirLocked()
	l.lending.ending.Store(true)
	l.Reclaim() // for somebody to see the end
}

// Bounds of a link's end.
const (
	// linger is how long a finished link waits for the peer to close its side
	// once all has been written.
	linger = time.Second
	// finishWait is how long the peer may take to read what was queued.
	finishWait = 5 * time.Second
)

// Finish ends the link once all that is queued has been written, for which the
// peer has 5 s, and the peer has seen the end or, from then, a second has
// passed. Nothing can be sent after it, and what the peer sends is dropped. Run
// returns io.EOF, ErrClosed, or ErrSlowPeer.
func (l *Link) Finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing || l.cause != nil {
		return
	}
	l.closing = true
	l.finished.Store(true)
	l.lending.ending.Store(true)
	l.Reclaim() // for somebody to see the peer's end
	l.overdue = time.AfterFunc(finishWait+linger, func() { l.Close(errUnread) })
	switch {
	case l.flushing: // Flush has it finished
	case l.writing || !l.idleLocked():
		l.runLocked()
	default:
		l.finishLocked()
	}
}

var errUnread = fmt.Errorf("%w: it has not read the last of it within %v", ErrSlowPeer, finishWait)

// finishLocked needs l.mu. It closes only the sending side: closing both while
// the peer is still sending would destroy what we wrote last. It does so once, and
// the linger counts from then, whoever has a write loop run later.
func (l *Link) finishLocked() {
	if l.shut {
		return
	}
	l.shut = true
	l.lingers = time.Now().Add(linger)
	until := l.lingers
	if l.lending.lent() { // else this would undo an Interrupt that the reader has not seen yet; interrupted sets lingers
		until = longAgo
	}
	half, ok := l.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || l.conn.SetReadDeadline(until) != nil {
		l.closeLocked(ErrClosed)
	}
}

// Cause returns why the link ended, or nil while it lives.
func (l *Link) Cause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

// Left reports whether err is the end of a link whose peer simply went away.
func Left(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &op)
}
