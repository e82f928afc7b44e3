package clientsdk

import (
	"time"

	"github.com/servicetools/servicetools/wire/message"
)

// The client acknowledges outcomes at the first of these bounds, so that the
// broker can forget them (docs/protocol.md, 4.2).
const (
	ackOutcomes = 64
	ackBytes    = 256 << 10
	ackDelay    = 20 * time.Millisecond
)

// acks counts outcomes of the session. Guarded by session.mu.
type acks struct {
	received uint64 // since the session began at this broker
	told     uint64 // the count last sent
	bytes    int    // of outcomes received but not told
	timer    *time.Timer
	armed    bool // the timer will tell, and send what is held
}

// countLocked counts one outcome.
func (s *session) countLocked(size int) {
	s.acks.received++
	s.acks.bytes += size
}

// acknowledgeLocked counts for the broker if enough has come. The count waits for a call
// to travel with, since a third of a busy client's messages were counts that went
// alone; where bytes are behind it the broker may wait for it.
func (s *session) acknowledgeLocked() {
	a := &s.acks
	switch {
	case a.received == a.told:
		return
	case a.bytes >= ackBytes:
		if s.sendAckLocked() {
			s.link.FlushSoon()
		}
	case a.received-a.told >= ackOutcomes:
		s.sendAckLocked()
	}
	switch {
	case a.armed:
	case a.timer == nil:
		a.armed = true
		a.timer = time.AfterFunc(ackDelay, s.acknowledge)
	default:
		a.armed = true
		a.timer.Reset(ackDelay)
	}
}

// acknowledge is what the timer runs.
func (s *session) acknowledge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acks.armed = false
	if s.acks.received != s.acks.told {
		s.sendAckLocked()
	}
	if s.link != nil {
		s.link.FlushSoon()
	}
}

// sendAckLocked holds the count on the link, if there is one: the next ATTACH carries it,
// too. Whoever flushes the link sends it.
func (s *session) sendAckLocked() bool {
	if s.link == nil {
		return false
	}
	e := message.Envelope{Kind: message.KindAck, ID: s.acks.received}
	if _, err := s.link.AppendHeld(func(dst []byte) []byte { return e.Append(dst) }); err != nil {
		return false
	}
	s.acks.told, s.acks.bytes = s.acks.received, 0
	return true
}
