package zmtp

import (
	"fmt"

	"github.com/servicetools/servicetools/wire/buffer"
)

// Message is one message as it arrives. It belongs to the link and is valid
// only while Run's handler runs: what must live longer is copied, or shared.
type Message struct {
	body []byte // all frames concatenated
	ends []int  // the end of each frame in body

	// Where body lies, unless it is one small frame in the reader's buffer.
	own   []byte         // a small message of several frames; pooled
	large *buffer.Buffer // a large one; it may be the reader's buffer
	usual int            // bytes of the last large one: the next may be as long
}

// Share returns the memory that Bytes lies in with another owner, who keeps the
// message that way and shall release it. It is nil if the memory is the link's.
func (m *Message) Share() *buffer.Buffer {
	if m.large == nil {
		return nil
	}
	return m.large.Hold()
}

// Bytes returns all frames concatenated: the content of a compact message.
func (m *Message) Bytes() []byte { return m.body }

// Len returns the number of frames, at least 1.
func (m *Message) Len() int { return len(m.ends) }

// Frame returns the body of frame i.
func (m *Message) Frame(i int) []byte {
	start := 0
	if i > 0 {
		start = m.ends[i-1]
	}
	return m.body[start:m.ends[i]:m.ends[i]]
}

// add appends a frame, which rd has parsed last, and reports whether the message is
// complete. A message of one frame, the common case, is not copied, nor is one
// with a large last frame behind small ones.
func (m *Message) add(flags FrameFlags, body []byte, rd *reader, l *Limits) (complete bool, err error) {
	last := flags&FlagMore == 0
	switch {
	case len(m.body)+len(body) > l.MaxMessage:
		return false, fmt.Errorf("%w of %d bytes", ErrTooLarge, l.MaxMessage)
	case len(m.ends) == l.MaxFrames:
		return false, fmt.Errorf("%w of %d frames", ErrTooLarge, l.MaxFrames)
	case last && len(m.ends) == 0:
		m.body = body
		if len(body) >= buffer.Large && rd.holds(body) {
			m.large = rd.memory.Hold()
		}
	case last && m.join(body, rd):
	default:
		m.gather(body)
	}
	m.ends = append(m.ends, len(m.body))
	return last, nil
}

// join moves the small frames that came first up to the large one, body, instead
// of copying that behind them: over its header and theirs, or over the front that
// makeRoom has left. What lies there is of this message or of nobody.
func (m *Message) join(body []byte, rd *reader) bool {
	if len(body) < buffer.Large || len(m.body) > maxFront || !rd.holds(body) {
		return false
	}
	start := rd.r - len(body) - len(m.body)
	if start < 0 {
		return false
	}
	copy(rd.buf[start:], m.body)
	m.body = rd.buf[start:rd.r:rd.r]
	m.large = rd.memory.Hold()
	return true
}

// gather copies a frame behind those before it. Memory at most doubles, so it
// never outgrows twice what has come, or what the last message had.
func (m *Message) gather(body []byte) {
	need := len(m.body) + len(body)
	if m.large == nil && need < buffer.Large {
		if m.own == nil && len(body) > smallRead {
			m.own = getBuffer()
		}
		m.own = append(m.own, body...)
		m.body = m.own
		return
	}
	if m.large == nil || need > cap(m.large.Bytes) {
		room := max(need, 2*len(m.body))
		if likely(m.usual, need) {
			room = max(room, m.usual)
		}
		larger := buffer.Get(room)
		larger.Bytes = append(larger.Bytes, m.body...)
		m.large.Release()
		m.large = larger
	}
	m.large.Bytes = append(m.large.Bytes, body...)
	m.body = m.large.Bytes
}

// reset empties the message and keeps its small memory for the next one.
func (m *Message) reset() {
	if m.large != nil {
		m.usual = len(m.body)
		m.large.Release()
		m.large = nil
	}
	m.body, m.ends, m.own = nil, m.ends[:0], m.own[:0]
	if cap(m.ends) > 16 {
		m.ends = nil
	}
}

// release gives the memory of an empty message back.
func (m *Message) release() {
	if len(m.ends) == 0 && cap(m.own) > smallRead {
		putBuffer(m.own)
		m.own = nil
	}
}
