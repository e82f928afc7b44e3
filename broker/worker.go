package broker

import (
	"fmt"

	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/version"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// worker is the link of one SDK worker. It is the dispatcher's WorkerSink.
type worker struct {
	broker *Broker
	link   *zmtp.Link
	who    identity

	// worker is set by REGISTER. Owned by the link's read loop.
	worker   *dispatch.Worker
	register message.Register
	refusal  *message.Error // why REGISTER was refused

	method []byte // scratch of Assign, which the dispatcher calls with its lock
}

// serve reads the link to its end. Only then is it known for sure which calls
// were handed over.
func (w *worker) serve() error {
	err := w.link.Run(w.receive)
	if w.refusal != nil {
		return w.refusal
	}
	if w.worker != nil {
		w.worker.Lost(w.link.Handed(), w.broker.evidence(&w.register, w.link, err))
	}
	return err
}

// receive handles one message: whole envelopes, one after the other. Outcomes that follow
// each other are given to the dispatcher together.
func (w *worker) receive(m *zmtp.Message) error {
	var e message.Envelope
	memory := m.Share()
	defer memory.Release()
	outcomes := replies.get()
	defer replies.put(outcomes)
	for rest := m.Bytes(); len(rest) > 0; {
		var err error
		if rest, err = e.Next(rest); err != nil {
			return w.reply(outcomes, err)
		}
		if w.worker == nil && e.Kind != message.KindRegister {
			return fmt.Errorf("%w: %v came before REGISTER", zmtp.ErrProtocol, e.Kind)
		}
		ref := dispatch.Ref{Token: e.ID, Origin: e.Origin}
		if e.Flags&message.FlagOrigin != 0 {
			ref.Token, ref.Attempt = 0, uint8(min(e.ID, 255))
		}
		if e.Kind == message.KindResult || e.Kind == message.KindError {
			*outcomes.next() = dispatch.Reply{Ref: ref, Kind: e.Kind, Body: e.Body, Memory: memory}
			if outcomes.full() {
				_ = w.reply(outcomes, nil)
			}
			continue
		}
		_ = w.reply(outcomes, nil)
		if over, err := w.take(&e, ref); over || err != nil {
			return err
		}
	}
	return w.reply(outcomes, nil)
}

// reply gives the gathered outcomes to the dispatcher, and returns the error that came
// behind them.
func (w *worker) reply(outcomes *batch[dispatch.Reply], behind error) error {
	if len(outcomes.list) > 0 {
		w.worker.Replies(outcomes.list)
		outcomes.clear()
	}
	return behind
}

// take obeys one envelope other than an outcome. over says that the link takes no more.
func (w *worker) take(e *message.Envelope, ref dispatch.Ref) (over bool, err error) {
	switch e.Kind {
	case message.KindPart:
		w.worker.Part(ref, e.Sequence, e.Body)
	case message.KindProgress:
		if e.Flags&message.FlagClaim != 0 {
			w.worker.Claim(e.Origin, ref.Attempt, e.Flags&message.FlagEnded != 0)
		} else {
			w.worker.Progress(ref, e.Body)
		}
	case message.KindCapacity:
		w.worker.SetCapacity(int(min(e.ID, message.MaxConcurrency)))
	case message.KindRegister:
		err := w.enlist(e)
		if w.refusal != nil {
			w.Close(w.refusal)
			return true, nil // an error would end the link before the peer has read why
		}
		return false, err
	case message.KindBye:
		w.link.Finish()
	}
	return false, nil
}

// enlist makes the worker known to the dispatcher, or sets refusal.
func (w *worker) enlist(e *message.Envelope) error {
	if w.worker != nil {
		return fmt.Errorf("%w: a second REGISTER on one link", zmtp.ErrProtocol)
	}
	if err := message.Unmarshal(e.Body, &w.register); err != nil {
		return err
	}
	if w.refusal = w.register.Validate(); w.refusal == nil {
		w.worker, w.refusal = w.broker.dispatcher.Register(w.who.worker(&w.register, w))
	}
	w.register.Methods = nil // which may be megabytes; the dispatcher has those that are new
	return nil
}

// Registered implements dispatch.WorkerSink.
func (w *worker) Registered(id string) {
	applied := w.broker.applied.Load()
	body := message.Marshal(&message.Registered{
		Broker:      w.broker.instance,
		Worker:      id,
		BeatMillis:  w.broker.beat.Milliseconds(),
		GraceMillis: applied.Dispatch.ClaimGrace.Milliseconds(),
		MaxMessage:  applied.Limits.MaxMessage,
		Version:     version.String(),
	})
	w.send(&message.Envelope{Kind: message.KindRegistered, Body: body})
}

// Assign implements dispatch.WorkerSink.
func (w *worker) Assign(a *dispatch.Assignment) uint64 {
	w.method = append(w.method[:0], a.Method...)
	e := message.Envelope{
		Kind:     message.KindCall,
		Flags:    message.FlagOrigin,
		ID:       a.Token,
		Origin:   a.Origin,
		Timeout:  a.Timeout,
		Attempt:  a.Attempt,
		Priority: a.Priority,
		Method:   w.method,
		Body:     a.Body,
	}
	if a.Idempotent {
		e.Flags |= message.FlagIdempotent
	}
	if a.Stream {
		e.Flags |= message.FlagStream
	}
	offset, err := sendShared(w.link, &e, a.Memory)
	if err != nil {
		return dispatch.NeverSent
	}
	return offset
}

// Cancel implements dispatch.WorkerSink.
func (w *worker) Cancel(ref dispatch.Ref) { w.send(refer(message.KindCancel, ref)) }

// Grant implements dispatch.WorkerSink.
func (w *worker) Grant(ref dispatch.Ref, window uint64) {
	e := refer(message.KindGrant, ref)
	e.Sequence = window
	w.send(e)
}

// Ack implements dispatch.WorkerSink.
func (w *worker) Ack(count uint64) { w.send(&message.Envelope{Kind: message.KindAck, ID: count}) }

// Drain implements dispatch.WorkerSink.
func (w *worker) Drain() { w.send(&message.Envelope{Kind: message.KindDrain}) }

// Drained implements dispatch.WorkerSink. It tells the worker that no call is on
// its way any more: those that crossed its CAPACITY 0 have been answered.
func (w *worker) Drained() { w.Drain() }

// Close implements dispatch.WorkerSink.
func (w *worker) Close(reason *message.Error) {
	w.send(&message.Envelope{Kind: message.KindBye, Body: reason.Append(nil)})
	w.link.Finish()
}

// send queues an envelope; a link that takes nothing is about to end by itself.
func (w *worker) send(e *message.Envelope) { _, _ = appendEnvelope(w.link, e) }

// refer returns an envelope about an assigned call.
func refer(kind message.Kind, ref dispatch.Ref) *message.Envelope {
	e := &message.Envelope{Kind: kind, ID: ref.Token}
	if ref.Token == 0 {
		e.Flags, e.Origin = message.FlagOrigin, ref.Origin
	}
	return e
}
