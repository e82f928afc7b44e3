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
type reader struct {
	small [smallRead]byte
	buf   []byte // small[:] or a larger buffer
	r, w  int    // unparsed bytes are buf[r:w]

	smallPlain [smallRead]byte
	plain      []byte // where the opener may put a larger body; pooled

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
	return flags, b[head:need:need], 0, nil
}

// fill reads at least one byte from src. need is what the frame in progress
// takes from r on; the buffer grows towards it only as fast as bytes come, so
// that a length which is announced but not sent costs nothing.
func (rd *reader) fill(src io.Reader, need int) error {
	switch {
	case rd.r == rd.w && (rd.w <= smallRead/2 || wasteful(len(rd.buf), rd.w)):
		rd.release() // what came last was small: the link is quiet
	case rd.w == len(rd.buf), rd.r > 0 && rd.r+need > len(rd.buf):
		rd.makeRoom(need)
	case rd.r == rd.w:
		rd.r, rd.w = 0, 0
	}
	n, err := src.Read(rd.buf[rd.w:])
	rd.w += n
	if n > 0 {
		return nil
	}
	return err
}

// makeRoom moves the unparsed bytes to the front, and into a larger buffer
// when they, or small ones before them, have filled the present one.
func (rd *reader) makeRoom(need int) {
	old, have := rd.buf, rd.w-rd.r
	switch {
	case rd.w == smallRead && len(old) == smallRead: // the peer has more to say
		b := getBuffer()
		rd.buf = b[:cap(b)]
	case have == len(old):
		rd.buf = make([]byte, min(2*len(old), need))
	}
	copy(rd.buf, old[rd.r:rd.w])
	rd.r, rd.w = 0, have
	if len(rd.buf) != len(old) {
		putBuffer(old)
	}
}

// release gives the pooled buffers back; the unparsed bytes are lost.
func (rd *reader) release() {
	putBuffer(rd.buf) // which leaves small alone
	putBuffer(rd.plain)
	rd.message.release()
	rd.buf, rd.plain, rd.r, rd.w = rd.small[:], nil, 0, 0
}

// unfinished reports whether a frame or a message is in progress.
func (rd *reader) unfinished() bool { return rd.r < rd.w || len(rd.message.ends) > 0 }

// readLoop returns the cause of the end.
func (l *Link) readLoop(handle func(*Message) error) error {
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
		err = rd.fill(l.conn, need)
		switch {
		case err == io.EOF && rd.unfinished():
			return io.ErrUnexpectedEOF
		case errors.Is(err, os.ErrDeadlineExceeded): // only Finish sets one
			return ErrClosed
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
	plain := rd.smallPlain[:0]
	var memory *buffer.Buffer
	if _, bare := l.security.Opener.(nullRecord); bare {
		plain = nil
	} else if len(frame) >= buffer.Large {
		memory = buffer.Get(len(frame))
		plain = memory.Bytes
	} else if len(frame) > smallRead {
		rd.plain = fit(rd.plain, len(frame))
		plain = rd.plain
	}
	flags, body, err := l.security.Opener.Open(plain, outer, frame)
	if err != nil {
		memory.Release()
		return err
	}
	m := &rd.message
	if flags&FlagCommand != 0 {
		defer memory.Release()
		if len(m.ends) == 0 {
			l.partial.Store(0)
		}
		return l.command(body)
	}
	complete, err := m.add(flags, body, memory, &l.limits)
	if err != nil || !complete {
		return err
	}
	l.partial.Store(0)
	if !l.finished.Load() {
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
