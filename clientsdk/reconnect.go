package clientsdk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/servicetools/servicetools/wire/message"
)

// Times of making a connection.
const (
	dialWait     = 10 * time.Second // connect and handshake with one address
	backoffFirst = 50 * time.Millisecond
	backoffMost  = 2 * time.Second
	steadyAfter  = 2 * time.Second // a link that lived so long is no sign of trouble
)

var errDialWait = fmt.Errorf("no answer within %v", dialWait)

// backoff returns the jittered pause before the next try after n failures.
func backoff(n int) time.Duration {
	return jitter(min(backoffFirst<<min(n, 10), backoffMost))
}

// jitter returns a random duration from d/2 to d.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// run keeps the session connected until it is closed: the addresses in turn,
// then a pause. The first try after a lost connection is made at once. It
// returns early if the first round fails and the client is not lazy; that
// round's errors are then in s.outage.
func (s *session) run() {
	defer close(s.ended)
	defer s.stopTimer()
	var round []error // failures of this turn through the addresses
	var troubles int  // rounds and short-lived links in a row
	everAttached := false
	for at := 0; ; {
		addr := s.cfg.addrs[at%len(s.cfg.addrs)]
		began := time.Now()
		attached, err := s.connect(addr)
		if s.context.Err() != nil || s.isLeaving() && attached {
			s.roundFailed(append(round, err))
			return
		}
		switch {
		case attached:
			s.cfg.log.Warn("lost the connection to the broker", "addr", addr, "error", err)
			everAttached, round = true, nil
			if stops(err) {
				at++
			}
			if stops(err) && !errors.Is(err, errMoved) || time.Since(began) >= steadyAfter {
				troubles = 0 // a broker that was stopped in order is no sign of trouble either
			}
			troubles++
			if troubles == 1 {
				continue
			}
		default:
			s.cfg.log.Debug("cannot connect to the broker", "addr", addr, "error", err)
			at++
			if round = append(round, err); len(round) < len(s.cfg.addrs) {
				continue
			}
			s.roundFailed(round)
			if !everAttached && !s.cfg.lazy {
				return
			}
			round = nil
			troubles++
		}
		if !s.pause(backoff(troubles - 1)) {
			return
		}
	}
}

func (s *session) isLeaving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leaving
}

// pause sleeps for d; false if the session is to end.
func (s *session) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.context.Done():
		return false
	}
}

// roundFailed notes why none of the addresses could be reached. If every one
// refused this client, twice in a row, calls that no broker has seen end at
// once: waiting would only hide the reason behind a deadline.
func (s *session) roundFailed(round []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outage = round[0]
	if len(round) > 1 {
		s.outage = errors.Join(round...)
	}
	for _, err := range round {
		if !isRefusal(err) {
			s.refusals = 0
			return
		}
	}
	if s.refusals++; s.refusals < 2 {
		return
	}
	s.refused = message.Errorf(message.Unauthorized, "the broker refuses this client: %v", advise(s.outage))
	for _, c := range s.calls.All() {
		if !c.handed {
			s.endLocked(c, s.refused)
		}
	}
	for s.waiting.first != nil {
		s.endLocked(s.waiting.first, s.refused)
	}
}

// first waits for the first connection, or for the failure of the first round.
func (s *session) first(ctx context.Context) error {
	select {
	case <-s.ready:
		return nil
	case <-ctx.Done():
		s.stop(context.Cause(ctx))
		<-s.ended
	case <-s.ended:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Errorf("clientsdk: %w", advise(s.outage))
}
