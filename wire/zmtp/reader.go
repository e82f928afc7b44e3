package zmtp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/servicetools/servicetools/wire/buffer"
)

// smallRead is the buffer of a link that has little to read: enough for a
// heartbeat or a small call in one read.
const smallRead = 512

// reader holds the bytes that came and were not parsed yet, in the link's own
// small array while the link is quiet and in a pooled buffer while it is busy.
// Frames are opened where they lie, and a large message stays there: who keeps it
// shares the buffer, and the reader goes on in another one.
type reader struct {
	small  [smallRead]byte
	buf    []byte         // small[:], or all of memory
	memory *buffer.Buffer // nil: small is used
	r, w   int            // unparsed bytes are buf[r:w]
	usual  int            // what the last large frame took: the next one may be as long
	turn   bool           // a turn is under way; see Turns
	last   uint64         // number of the last turn; 0 = there was none

	message Message // the message in progress; its large memory is left to the garbage collector if the link ends
}

// next returns the next frame if it is wholly buffered, else need: how many
// bytes from r on the frame takes, or at least takes.
func (rd *reader) next(maxBody uint64) (flags FrameFlags, body []byte, need int, err error) {
	b := rd.buf[rd.r:rd.w]
	flags, size, head, err := parseFrameHeader(b)
	switch {
	case err != nil:
		return 0, nil, 0, err
	case head == 0:
		return 0, nil, len(b) + 1, nil
	case size > maxBody:
		return 0, nil, 0, fmt.Errorf("%w: a frame announces %d bytes", ErrTooLarge, size)
	}
	need = head + int(size)
	if len(b) < need {
		return 0, nil, need, nil
	}
	rd.r += need
	if need >= buffer.Large {
		rd.usual = need
	}
	return flags, b[head:need:need], 0, nil
}

// fill reads at least one byte from src. need is what the frame in progress
// takes from r on; the buffer grows towards it only as fast as bytes come, or to
// what came before, so that a length which is announced but not sent costs nothing.
func (rd *reader) fill(src io.Reader, need int) error {
	switch {
	case rd.r == rd.w && (rd.w <= smallRead/2 || wasteful(len(rd.buf), rd.w)):
		rd.release() // what came last was small: the link is quiet
	case rd.memory != nil && rd.memory.Shared(), rd.w == len(rd.buf), rd.r > 0 && rd.r+need > len(rd.buf),
		rd.r < rd.w && wasteful(len(rd.buf), need): // it is not quiet, but what comes now is small
		rd.makeRoom(need)
	case rd.r == rd.w:
		rd.r, rd.w = 0, 0
	}
	room := rd.buf[rd.w:]
	if need >= buffer.Large { // what follows would have to be moved when this frame is kept
		room = room[:min(rd.r+need-rd.w, len(room))]
	}
	n, err := src.Read(room)
	rd.w += n
	if n > 0 {
		return nil
	}
	return err
}

// makeRoom moves the unparsed bytes to the front: of the same buffer if they leave
// half of it free or the frame fits, or else of another one. Somebody may have
// kept a message in the present one, or it may be too large to be kept.
func (rd *reader) makeRoom(need int) {
	old, memory, have := rd.buf, rd.memory, rd.w-rd.r
	front := 0
	if n := len(rd.message.body); n <= maxFront && need >= buffer.Large {
		front = n // see Message.join
	}
	room := 2 * have
	if likely(rd.usual, have) {
		room = max(room, front+rd.usual)
	}
	room = min(room, front+need)
	switch {
	case memory == nil && rd.w < smallRead,
		memory != nil && !memory.Shared() && room <= len(old) && !wasteful(len(old), need):
		if front+need > len(old) {
			front = 0
		}
	default:
		rd.memory = buffer.Get(max(room, bufferSize))
		rd.buf = rd.memory.Bytes[:cap(rd.memory.Bytes)]
	}
	copy(rd.buf[front:], old[rd.r:rd.w])
	rd.r, rd.w = front, front+have
	if rd.memory != memory {
		memory.Release()
	}
}

// maxFront bounds the room that is left in front of a large frame.
const maxFront = 1 << 10

// likely reports whether what has come is enough to expect as much as usual: a 64th.
// Less could have many links hold, all at once, what each of them ever sent.
func likely(usual, have int) bool { return have >= usual/64 }

// release gives the buffer back; the unparsed bytes are lost.
func (rd *reader) release() {
	rd.memory.Release()
	rd.message.release()
	rd.buf, rd.memory, rd.r, rd.w = rd.small[:], nil, 0, 0
}

// holds reports whether body is the end of what was parsed last in memory that can
// be shared.
func (rd *reader) holds(body []byte) bool {
	return rd.memory != nil && len(body) > 0 && len(body) <= rd.r && &body[0] == &rd.buf[rd.r-len(body)]
}

// unfinished reports whether a frame or a message is in progress.
func (rd *reader) unfinished() bool { return rd.r < rd.w || len(rd.message.ends) > 0 }

// errLeft ends a goroutine's reading, not the link.
var errLeft = errors.New("another goroutine reads on")

// readLoop returns the cause of the end, or errLeft once leave reports that another goroutine
// reads on. leave is asked after each turn and each Interrupt; nil = never.
func (l *Link) readLoop(handle func(*Message) error, leave func() bool) error {
	rd := &l.reader
	maxBody := uint64(l.limits.MaxMessage + l.security.Sealer.Overhead())
	for {
		flags, frame, need, err := rd.next(maxBody)
		if err != nil {
			return err
		}
		if need == 0 {
			if err := l.open(flags, frame, handle); err != nil {
				return err
			}
			continue
		}
		l.setPartial(rd.unfinished())
		if l.endTurn() && leave != nil && leave() {
			return errLeft
		}
		err = rd.fill(&l.source, need)
		switch {
		case err == io.EOF && rd.unfinished():
			return io.ErrUnexpectedEOF
		case errors.Is(err, os.ErrDeadlineExceeded): // only Finish and Interrupt set one
			if !l.interrupted() {
				return ErrClosed
			}
			if leave != nil && leave() {
				return errLeft
			}
			continue
		case err != nil:
			return err
		}
		l.lastRead.Store(sinceEpoch())
	}
}

// setPartial notes when an unfinished message began, for Beat.
func (l *Link) setPartial(unfinished bool) {
	began := l.partial.Load()
	switch {
	case !unfinished && began != 0:
		l.partial.Store(0)
	case unfinished && began == 0:
		l.partial.Store(sinceEpoch())
	}
}

// open opens one frame and passes on the message that it completes.
func (l *Link) open(outer FrameFlags, frame []byte, handle func(*Message) error) error {
	rd := &l.reader
	flags, body, err := l.security.Opener.Open(outer, frame)
	if err != nil {
		return err
	}
	m := &rd.message
	if flags&FlagCommand != 0 {
		if len(m.ends) == 0 {
			l.partial.Store(0)
		}
		return l.command(body)
	}
	complete, err := m.add(flags, body, rd, &l.limits)
	if err != nil || !complete {
		return err
	}
	l.partial.Store(0)
	if !l.finished.Load() {
		l.beginTurn()
		err = handle(m)
	}
	m.reset()
	return err
}

// maxPongBacklog is how many bytes may wait for a peer that still gets a PONG.
// What waits proves our life as well, and a peer that sends PINGs without
// reading does not make us keep an answer to each.
const maxPongBacklog = 64 << 10

// command obeys a command that came after the handshake. Unknown commands are
// ignored: a later version may add some.
func (l *Link) command(body []byte) error {
	name, data, err := SplitCommand(body)
	if err != nil {
		return err
	}
	switch string(name) {
	case CommandPing:
		if len(data) < 2 || len(data) > 2+MaxPingContext {
			return fmt.Errorf("%w: malformed PING", ErrProtocol)
		}
		l.heed(binary.BigEndian.Uint16(data))
		if l.Pending() > maxPongBacklog {
			return nil
		}
		var pong [1 + len(CommandPong) + MaxPingContext]byte
		_ = l.sendCommand(AppendCommand(pong[:0], CommandPong, data[2:])) // a finished link sends nothing, and waits on
	case CommandError:
		return ParseError(data)
	case CommandReady:
		return fmt.Errorf("%w: READY came after the handshake", ErrProtocol)
	}
	return nil
}
