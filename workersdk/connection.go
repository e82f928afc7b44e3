package workersdk

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// Times of a connection.
const (
	dialWait     = 10 * time.Second // connect and handshake
	registerWait = 10 * time.Second // for REGISTERED
	missedBeats  = 3                // intervals of silence that end a link
)

// stepRegister follows the steps of zmtp.Dial.
const stepRegister zmtp.Step = "registration"

var (
	errDialWait     = fmt.Errorf("no answer within %v", dialWait)
	errRegisterWait = fmt.Errorf("the peer did not answer REGISTER within %v: is this the backend of a servicetools broker?", registerWait)
)

// connection is one link to the broker, from its handshake to its end.
type connection struct {
	worker  *Worker
	link    *zmtp.Link
	patient *time.Timer    // ends the link if no REGISTERED comes
	beats   sync.WaitGroup // the heartbeat's goroutine
	over    chan struct{}  // closed when the link has ended
	pulse   *pulse         // static once REGISTERED has come
	readOn  func()         // link.ReadOn, as a value: to make one for each turn would allocate; static

	// Owned by the read loop.
	registered bool
	busy       int     // what REGISTER said
	accepted   []*call // of the message being read, not admitted yet
	spare      spare   // records and bodies for the next CALLs, from Worker.spare

	drained bool // DRAIN came: no CALL will. Guarded by Worker.mu
}

// dial connects and shakes hands.
func (w *Worker) dial(ctx context.Context) (k *connection, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, dialWait, errDialWait)
	defer cancel()
	k = &connection{worker: w, over: make(chan struct{})}
	k.link, err = zmtp.Dial(ctx, w.cfg.Addr, &zmtp.Config{
		SocketType: "DEALER",
		Mechanism:  w.cfg.mechanism(),
		Metadata:   zmtp.Metadata{{Name: message.PropertySDK, Value: message.ProtocolVersion}},
		Limits:     zmtp.Limits{MaxMessage: w.cfg.MaxMessage + envelopeRoom},
		Turns:      new(zmtp.Turns),
		AfterTurn:  k.afterTurn,
	})
	if err != nil {
		return nil, err
	}
	k.readOn = k.link.ReadOn
	return k, nil
}

// afterTurn runs the calls that have come in a turn, if they are likely to be brief.
func (k *connection) afterTurn() { k.worker.pool.runHere(k.readOn) }

// connect makes one connection and serves it until it ends. registered says
// whether the broker took the worker meanwhile.
func (w *Worker) connect(ctx context.Context) (registered bool, err error) {
	k, err := w.dial(ctx)
	if err != nil {
		return false, err
	}
	defer context.AfterFunc(ctx, func() { k.link.Close(nil) })()
	k.patient = time.AfterFunc(registerWait, func() { k.link.Close(errRegisterWait) })
	defer k.patient.Stop()
	if err := k.backend(); err != nil {
		k.link.Close(err) // Run returns the cause
	} else {
		k.register()
	}
	err = k.link.Run(k.receive)
	close(k.over)
	k.beats.Wait()
	w.detach(k)
	if !k.registered {
		err = &zmtp.StepError{Addr: w.cfg.Addr, Step: stepRegister, Err: err}
	}
	return k.registered, err
}

// backend returns an error if the peer is not the side of a broker that workers connect to.
func (k *connection) backend() error {
	if kind, _ := k.link.Metadata().Get(zmtp.PropertySocketType); kind != "DEALER" {
		return fmt.Errorf("the peer is a %s: workers connect to the broker's backend (port 9006 by default), not to its frontend", kind)
	}
	return nil
}

// register sends REGISTER.
func (k *connection) register() {
	w := k.worker
	r := w.registration()
	w.mu.Lock()
	defer w.mu.Unlock()
	r.Busy = min(r.Concurrency, w.busyLocked()+w.strays)
	k.busy = r.Busy
	w.joining = true
	k.append(&message.Envelope{Kind: message.KindRegister, Body: message.Marshal(r)})
}

// busyLocked counts the calls that have not ended.
func (w *Worker) busyLocked() int { return w.calls.Len() + len(w.claimed) - w.ended }

// append queues one envelope. A link that takes nothing any more ends by
// itself: what was not sent is found when the next one is registered.
func (k *connection) append(e *message.Envelope) {
	_, _ = k.link.Append(e.Append)
}

// appendBody is append for an envelope with the body b. Who says held calls flush
// afterwards.
func (k *connection) appendBody(e *message.Envelope, b buffer.Content, held bool) {
	e.Body = b.Bytes
	switch {
	case len(e.Body) >= buffer.Large && held:
		_, _ = k.link.AppendSharedHeld(e.AppendHead, e.Body, b.Memory)
	case len(e.Body) >= buffer.Large:
		_, _ = k.link.AppendShared(e.AppendHead, e.Body, b.Memory)
	case held:
		_, _ = k.link.AppendHeld(e.Append)
	default:
		k.append(e)
	}
}

// flush sends the outcomes that are held back. Nothing is, if there is no link.
func (w *Worker) flush() {
	w.mu.Lock()
	k := w.conn
	w.mu.Unlock()
	if k != nil {
		k.link.Flush()
	}
}

// receive takes one message: whole envelopes.
func (k *connection) receive(m *zmtp.Message) error {
	var e message.Envelope
	now := k.worker.now()
	if k.registered && k.pulse.missed(now) {
		return errStopped
	}
	memory := m.Share()
	defer memory.Release()
	for rest := m.Bytes(); len(rest) > 0; {
		var err error
		if rest, err = e.Next(rest); err != nil {
			return err
		}
		if e.Kind == message.KindCall && k.registered {
			k.accept(&e, memory, now)
			continue
		}
		if err := k.admit(); err != nil { // what comes may be about a call before it
			return err
		}
		if err := k.take(&e); err != nil {
			return err
		}
	}
	return k.admit()
}

// take obeys one envelope other than a CALL. Unknown kinds are ignored: a later broker may send some.
func (k *connection) take(e *message.Envelope) error {
	w := k.worker
	if !k.registered && e.Kind != message.KindRegistered && e.Kind != message.KindBye {
		return fmt.Errorf("%w: %v came before REGISTERED", zmtp.ErrProtocol, e.Kind)
	}
	switch e.Kind {
	case message.KindRegistered:
		return k.attach(e)
	case message.KindBye:
		return message.ParseError(e.Body)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e.Kind {
	case message.KindCancel:
		if c := w.findLocked(e); c != nil {
			w.stopLocked(c, errCancel)
		}
	case message.KindGrant:
		if c := w.findLocked(e); c != nil && c.flow != nil {
			k.grantLocked(c, e.Sequence)
		}
	case message.KindAck:
		if !w.kept.ack(e.ID) {
			return fmt.Errorf("%w: ACK of %d outcomes, which is not what was sent", zmtp.ErrProtocol, e.ID)
		}
		w.pokeLocked()
	case message.KindDrain:
		k.drained = true
		w.pokeLocked()
		select {
		case <-w.drainAsked:
		default:
			close(w.drainAsked)
		}
	}
	return nil
}

// findLocked returns the call that e names, if it is still open.
func (w *Worker) findLocked(e *message.Envelope) *call {
	if e.ID == 0 && e.Flags&message.FlagOrigin != 0 {
		return w.claimed[e.Origin]
	}
	return w.calls.Get(e.ID)
}

// beat keeps the link alive and ends it when the broker is silent, however
// busy the methods are.
func (k *connection) beat(interval time.Duration) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C: // its time is that before a stop
			now := time.Now()
			if !k.pulse.beat(now) {
				k.link.Close(errStopped)
				return
			}
			timer.Reset(min(interval/4, k.link.Beat(now, interval, missedBeats*interval)))
			k.worker.trim()
		case <-k.over:
			return
		}
	}
}
