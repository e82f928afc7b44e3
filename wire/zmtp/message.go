package zmtp

import (
	"fmt"
	"slices"
)

// Message is one message as it arrives. It belongs to the link and is valid
// only while Run's handler runs: what must live longer is copied.
type Message struct {
	body []byte // all frames concatenated
	ends []int  // the end of each frame in body
	own  []byte // body's buffer when the message has several frames; pooled
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

// add appends a frame and reports whether the message is complete. A message
// of one frame, the common case, is not copied.
func (m *Message) add(flags FrameFlags, body []byte, l *Limits) (complete bool, err error) {
	if len(m.body)+len(body) > l.MaxMessage {
		return false, fmt.Errorf("%w of %d bytes", ErrTooLarge, l.MaxMessage)
	}
	if len(m.ends) == l.MaxFrames {
		return false, fmt.Errorf("%w of %d frames", ErrTooLarge, l.MaxFrames)
	}
	if len(m.ends) == 0 && flags&FlagMore == 0 {
		m.body = body
	} else {
		m.gather(body)
		m.body = m.own
	}
	m.ends = append(m.ends, len(m.body))
	return flags&FlagMore == 0, nil
}

// gather copies a frame behind those before it. The buffer at most doubles, so
// it never outgrows twice what has come.
func (m *Message) gather(body []byte) {
	if m.own == nil && len(body) > smallRead {
		m.own = getBuffer()
	}
	if len(m.own)+len(body) > cap(m.own) {
		m.own = slices.Grow(m.own, max(len(m.own), len(body)))
	}
	m.own = append(m.own, body...)
}

// reset empties the message and keeps its buffers for the next one.
func (m *Message) reset() {
	if wasteful(cap(m.own), len(m.own)) {
		m.own = nil
	}
	m.body, m.ends, m.own = nil, m.ends[:0], m.own[:0]
	if cap(m.ends) > 16 {
		m.ends = nil
	}
}

// release gives the buffer of an empty message back.
func (m *Message) release() {
	if len(m.ends) == 0 && cap(m.own) > smallRead {
		putBuffer(m.own)
		m.own = nil
	}
}
