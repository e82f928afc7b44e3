package clientsdk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/version"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// connection is one link of the session, from its handshake to its end.
type connection struct {
	session *session
	link    *zmtp.Link
	addr    string
	beats   sync.WaitGroup // the heartbeat's goroutine
	over    chan struct{}  // closed when the link has ended
	patient *time.Timer    // ends the link if no ATTACHED comes

	// Owned by the read loop.
	attached bool
	landed   []landing
	moved    bool // it was left for another address
}

// attachWait bounds the wait for ATTACHED.
const attachWait = 10 * time.Second

var errNoAttached = fmt.Errorf("the peer did not answer ATTACH within %v: is this the frontend of a servicetools broker?", attachWait)

// connect makes one connection to addr and serves it until it ends. attached
// says whether the session was attached meanwhile.
func (s *session) connect(addr string) (attached bool, err error) {
	ctx, cancel := context.WithTimeoutCause(s.context, dialWait, errDialWait)
	link, err := s.dial(ctx, addr)
	if cause := context.Cause(ctx); err != nil && cause != nil { // net says only that it was cancelled
		var step *StepError
		if errors.As(err, &step) {
			err = &StepError{Addr: step.Addr, Step: step.Step, Err: cause}
		}
	}
	cancel()
	if err != nil {
		return false, err
	}
	defer context.AfterFunc(s.context, func() { link.Close(context.Cause(s.context)) })()
	k := &connection{session: s, link: link, addr: addr, over: make(chan struct{})}
	k.patient = time.AfterFunc(attachWait, func() { link.Close(errNoAttached) })
	defer k.patient.Stop()
	if err := k.attach(); err != nil {
		link.Close(err) // Run returns the cause
	}
	err = link.RunLent(k.receive, s.waits.told)
	close(k.over)
	k.beats.Wait()
	if k.moved {
		err = errMoved
	}
	s.detach(k, err)
	return k.attached, err
}

// attach sends ATTACH.
func (k *connection) attach() error {
	if kind, _ := k.link.Metadata().Get(zmtp.PropertySocketType); kind != "ROUTER" {
		return fmt.Errorf("the peer is a %s: clients connect to the broker's frontend (port 8006 by default), not to its backend", kind)
	}
	s := k.session
	s.mu.Lock()
	defer s.mu.Unlock()
	e := message.Envelope{Kind: message.KindAttach, ID: s.acks.received}
	e.Body = message.Marshal(&message.Attach{Session: s.id, Name: s.cfg.name, Version: version.String()})
	_, err := k.link.Append(func(dst []byte) []byte { return e.Append(dst) })
	return err
}

// attachedLocked puts the link into service: what the broker does not hold is
// sent again, in the order of its numbers.
func (k *connection) attachedLocked(e *message.Envelope) error {
	var a message.Attached
	if err := message.Unmarshal(e.Body, &a); err != nil {
		return fmt.Errorf("ATTACHED: %w", err)
	}
	k.attached = true
	k.patient.Stop()
	s := k.session
	s.link, s.outage, s.refused, s.refusals = k.link, nil, nil, 0
	s.present.Store(k.link)
	s.broker = newBrokerInfo(k.addr, &a)
	s.maxCalls = s.cfg.maxCalls
	if a.MaxCalls > 0 {
		s.maxCalls = int(min(int64(s.maxCalls), a.MaxCalls))
	}
	if !a.Resumed {
		s.acks.received, s.acks.bytes = 0, 0
		clear(s.cancelled) // nobody holds them any more
	}
	s.acks.told = s.acks.received // ATTACH told it
	s.releaseLocked()
	s.resubmitLocked(a.Resumed, e.ID)
	interval := s.broker.Beat
	k.beats.Go(func() { k.beat(interval) })
	select {
	case <-s.ready:
	default:
		close(s.ready)
	}
	s.cfg.log.Info("connected to the broker", "addr", k.addr, "resumed", a.Resumed, "calls", s.calls.Len(), "version", a.Version)
	s.promoteLocked()
	return nil
}

// resubmitLocked sends every call that the broker does not hold: those above
// held if it resumed the session, else all of them.
func (s *session) resubmitLocked(resumed bool, held uint64) {
	for number := range s.cancelled {
		if number <= held {
			s.sendCancelLocked(number)
		} else {
			delete(s.cancelled, number) // it never arrived
		}
	}
	numbers := make([]uint64, 0, s.calls.Len())
	for number := range s.calls.All() {
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	for _, number := range numbers {
		c := s.calls.Get(number)
		switch {
		case c.held:
		case resumed && number <= held:
			c.sent, c.handed = true, true
		case resumed:
			// The broker would hold it, unless an earlier broker was the one that got it.
			c.handed = c.flags&message.FlagResubmit != 0
			if !s.resendLocked(c) {
				continue
			}
		default:
			if c.handed {
				c.flags |= message.FlagResubmit
			}
			if !s.resendLocked(c) {
				continue
			}
		}
		if c.sent && c.inbox != nil {
			s.grantLocked(c) // the last one may be lost
		}
	}
}

// resendLocked sends c again, and reports whether it is still there: its record may be
// somebody else's if it has ended.
func (s *session) resendLocked(c *call) bool {
	if e := s.fitsMessageLocked(c); e != nil && !c.handed {
		s.endLocked(c, e)
		return false
	}
	s.sendLocked(c, c.left())
	s.wakeLocked()
	return true
}

// detach takes the link out of service and notes which calls it had handed
// over. Run has returned, so Handed is final.
func (s *session) detach(k *connection, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	handed := k.link.Handed()
	if stops(cause) {
		handed = 0 // a broker that stops has answered every call that it took
	}
	for _, c := range s.calls.All() {
		if c.sent && c.offset < handed {
			c.handed = true
		}
		c.sent = false
	}
	s.link, s.outage = nil, fmt.Errorf("%s: %w", k.addr, cause)
	s.present.Store(nil)
}

// beat keeps the link alive and ends it when the broker is silent.
func (k *connection) beat(interval time.Duration) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case now := <-timer.C: // before this process was stopped, if it was
			timer.Reset(k.link.Beat(now, interval, missedBeats*interval))
		case <-k.over:
			return
		}
	}
}

// missedBeats is how many intervals of silence end a link.
const missedBeats = 3

// close ends the session: it waits for what is in flight until ctx ends,
// cancels the rest, and leaves.
func (s *session) close(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	empty := s.empty
	if empty == nil && (s.calls.Len() > 0 || s.waiting.first != nil) {
		empty = make(chan struct{})
		s.empty = empty
	}
	s.mu.Unlock()
	s.beginWait() // never ended: the link's own goroutine reads from now on
	var err error
	if empty != nil {
		select {
		case <-empty:
		case <-ctx.Done():
			err = ctx.Err()
		case <-s.ended:
		}
	}
	s.mu.Lock()
	s.leaving = true
	for s.waiting.first != nil {
		s.cancelLocked(s.waiting.first, "the client was closed")
	}
	for _, c := range s.calls.All() {
		s.cancelLocked(c, "the client was closed")
	}
	grace := time.Duration(0)
	if s.link != nil {
		s.leaveLocked()
		grace = leaveWait
	}
	s.mu.Unlock()
	timer := time.AfterFunc(grace, func() { s.stop(zmtp.ErrClosed) })
	<-s.ended
	timer.Stop()
	s.stop(zmtp.ErrClosed)
	return err
}

// leaveWait bounds the writing of the last words.
const leaveWait = time.Second

// leaveLocked says good-bye on a live link.
func (s *session) leaveLocked() {
	s.sendAckLocked()
	e := message.Envelope{Kind: message.KindBye, Body: message.Errorf(message.ShuttingDown, "the client was closed").Append(nil)}
	_, _ = s.link.Append(func(dst []byte) []byte { return e.Append(dst) }) // the link may be dead: then it needs no good-bye
	s.link.Finish()
}

// isRefusal reports whether err is the decision of a peer or of this side's
// keys, which waiting does not change.
func isRefusal(err error) bool {
	var mechanism *zmtp.MechanismError
	var refusal *zmtp.Refusal
	return errors.Is(err, zmtp.ErrServerKey) || errors.As(err, &mechanism) || errors.Is(err, message.ErrUnauthorized) ||
		errors.As(err, &refusal) && !refusal.Silent && refusal.Status == "400"
}
