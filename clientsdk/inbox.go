package clientsdk

import (
	"bytes"
	"fmt"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// window is how many parts of a stream may be on their way. GRANT is sent when
// grantEvery parts or grantBytes have been consumed (docs/protocol.md, 4.6).
const (
	window     = message.StreamWindow
	grantEvery = 4
	grantBytes = message.StreamBytes / 4
)

// inbox holds what comes for a call before its outcome. Guarded by session.mu.
type inbox struct {
	news chan struct{} // capacity 1: a token says that there is something new

	stream   bool     // parts are wanted
	parts    [][]byte // came, not consumed
	next     uint64   // sequence of the part to come
	consumed uint64   // parts before this one have left parts
	granted  uint64   // the window last told; starts at window
	bytes    int      // of parts
	untold   int      // bytes consumed since then

	reports  bool // progress is wanted
	progress Progress
	fresh    bool // progress has not been reported yet
}

func newInbox(stream, reports bool) *inbox {
	return &inbox{news: make(chan struct{}, 1), stream: stream, reports: reports, granted: window}
}

// add takes a PART or PROGRESS. An error ends the link: the broker has broken
// the rules of streams, and only a resume can mend that.
func (b *inbox) add(e *message.Envelope) error {
	if e.Kind == message.KindProgress {
		if p, ok := parseProgress(e.Body); ok && b.reports {
			b.progress, b.fresh = p, true
			b.notify()
		}
		return nil
	}
	switch {
	case !b.stream || e.Sequence < b.next: // seen before the connection was lost
		return nil
	case e.Sequence > b.next:
		return fmt.Errorf("%w: part %d of call %d came before part %d", zmtp.ErrProtocol, e.Sequence, e.ID, b.next)
	case b.next >= b.granted || b.bytes >= message.StreamBytes:
		return fmt.Errorf("%w: call %d got a part beyond the granted window", zmtp.ErrProtocol, e.ID)
	}
	b.next++
	b.bytes += len(e.Body)
	b.parts = append(b.parts, bytes.Clone(e.Body))
	b.notify()
	return nil
}

func (b *inbox) notify() {
	select {
	case b.news <- struct{}{}:
	default:
	}
}

// parseProgress reads [done, total, note]; progress is never worth an error.
func parseProgress(body []byte) (p Progress, ok bool) {
	if message.Validate(body) != nil {
		return p, false
	}
	d := msgpack.NewDecoder(bytes.NewReader(body))
	if n, err := d.DecodeArrayLen(); err != nil || n < 2 || n > 3 {
		return p, false
	}
	var err error
	if p.Done, err = d.DecodeFloat64(); err != nil {
		return p, false
	}
	if p.Total, err = d.DecodeFloat64(); err != nil {
		return p, false
	}
	if p.Note, err = d.DecodeString(); err != nil {
		p.Note = ""
	}
	return p, true
}

// report returns the progress that has not been reported.
func (s *session) report(b *inbox) (Progress, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := b.fresh
	b.fresh = false
	return b.progress, fresh
}

// part returns the next part of c's stream, if one is there, and lets the
// worker send more.
func (s *session) part(c *call) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := c.inbox
	if len(b.parts) == 0 {
		return nil, false
	}
	part := b.parts[0]
	b.parts[0] = nil
	b.parts = b.parts[1:]
	b.consumed++
	b.bytes -= len(part)
	b.untold += len(part)
	if c.state == stateFlying && (b.consumed+window >= b.granted+grantEvery || b.untold >= grantBytes) {
		b.granted, b.untold = b.consumed+window, 0
		s.grantLocked(c)
	}
	return part, true
}

// grantLocked tells the window of c's stream.
func (s *session) grantLocked(c *call) {
	if s.link == nil || !c.sent || c.inbox.granted == window {
		return
	}
	e := message.Envelope{Kind: message.KindGrant, ID: c.number, Sequence: c.inbox.granted}
	_, _ = s.link.Append(func(dst []byte) []byte { return e.Append(dst) }) // a dead link's grants follow on the next
}
