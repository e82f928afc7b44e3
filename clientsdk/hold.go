package clientsdk

import (
	"bytes"
	"errors"

	"github.com/servicetools/servicetools/wire/message"
)

// A broker that stops answers what it does not take with shutting_down, which
// says that the call was not executed. The caller does not see that: the call is
// held, and sent again under its number when another broker has taken the session,
// the stopped one's successor or one of the other addresses (docs/protocol.md, 4.2).

// holdLocked reports whether an error is that of a stopping broker, and then
// holds c.
func (s *session) holdLocked(c *call, body []byte) bool {
	if !bytes.Contains(body, []byte(message.ShuttingDown)) {
		return false
	}
	if e := message.ParseError(body); e.Code != message.ShuttingDown || e.Execution() != message.NotExecuted {
		return false
	}
	c.sent, c.held = false, true
	s.held++
	s.stopping = s.broker.Instance
	return true
}

// releaseLocked lets a new connection send what is held, unless it is to the
// broker that stops.
func (s *session) releaseLocked() {
	if s.held == 0 || s.broker.Instance == s.stopping {
		return
	}
	for _, c := range s.calls.All() {
		c.held = false
	}
	s.held = 0
}

// moveLocked leaves a broker that stops for another address once nothing is to
// be had from it any more.
func (k *connection) moveLocked() {
	s := k.session
	if k.moved || s.held == 0 || s.held < s.calls.Len() || len(s.cfg.addrs) < 2 || s.link != k.link {
		return
	}
	k.moved = true
	s.leaveLocked()
}

var errMoved = errors.New("the broker stops; another one is asked")

// stops reports whether a link's end says that its broker takes no calls any more.
func stops(cause error) bool {
	var bye *byeError
	return errors.Is(cause, errMoved) || errors.As(cause, &bye) && bye.reason.Code == message.ShuttingDown
}
