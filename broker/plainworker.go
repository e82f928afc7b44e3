package broker

import (
	"encoding/binary"
	"fmt"

	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// plainWorker is the link of a REP worker: it serves every method that no SDK
// worker claims, one call at a time, since a REP socket takes further requests
// into a queue of its own and loses them with itself.
type plainWorker struct {
	broker *Broker
	link   *zmtp.Link
	who    identity
	worker *dispatch.Worker // static once serve has registered it
}

// serve reads the link to its end.
func (w *plainWorker) serve() error {
	enlisted, refusal := w.broker.dispatcher.Register(w.who.worker(nil, w))
	if refusal != nil {
		w.link.Close(refusal)
		return w.link.Run(func(*zmtp.Message) error { return refusal })
	}
	w.worker = enlisted
	err := w.link.Run(w.receive)
	w.worker.Lost(w.link.Handed(), w.broker.evidence(nil, w.link, err))
	return err
}

// receive handles one answer: token, empty frame, reply map.
func (w *plainWorker) receive(m *zmtp.Message) error {
	if m.Len() < 3 || len(m.Frame(0)) != 8 || len(m.Frame(1)) != 0 {
		return fmt.Errorf("%w: the answer of a REP worker does not carry its envelope", zmtp.ErrProtocol)
	}
	ref := dispatch.Ref{Token: binary.BigEndian.Uint64(m.Frame(0))}
	reply, malformed := message.ParseReply(m.Frame(2))
	switch {
	case m.Len() > 3:
		e := message.Errorf(message.Malformed, "the worker's answer has %d frames; it must be one msgpack map", m.Len()-2)
		w.worker.Outcome(ref, message.KindError, e.WithExecution(message.MaybeExecuted).Append(nil))
	case malformed != nil:
		w.worker.Outcome(ref, message.KindError, malformed.Append(nil))
	case reply.Err != nil:
		w.worker.Outcome(ref, message.KindError, reply.Err.Append(nil))
	default:
		w.worker.Outcome(ref, message.KindResult, reply.Result)
	}
	return nil
}

// Assign implements dispatch.WorkerSink.
func (w *plainWorker) Assign(a *dispatch.Assignment) uint64 {
	request, refusal := message.AppendRequest(make([]byte, 0, len(a.Body)+len(a.Method)+64), a.Method, a.Body, a.Timeout)
	if refusal != nil { // a defect of ours: the body was checked at the door
		w.link.Close(refusal)
		return dispatch.NeverSent
	}
	var token [8]byte
	binary.BigEndian.PutUint64(token[:], a.Token)
	start, err := w.link.SendAt(token[:], nil, request)
	if err != nil {
		return dispatch.NeverSent
	}
	return start
}

// Registered implements dispatch.WorkerSink.
func (w *plainWorker) Registered(string) {}

// Cancel implements dispatch.WorkerSink. A REP socket cannot be told.
func (w *plainWorker) Cancel(dispatch.Ref) {}

// Grant implements dispatch.WorkerSink.
func (w *plainWorker) Grant(dispatch.Ref, uint64) {}

// Ack implements dispatch.WorkerSink.
func (w *plainWorker) Ack(uint64) {}

// Drain implements dispatch.WorkerSink. It gets no further call; that is all
// that a REP socket can be told.
func (w *plainWorker) Drain() {}

// Drained implements dispatch.WorkerSink.
func (w *plainWorker) Drained() { w.link.Finish() }

// Close implements dispatch.WorkerSink.
func (w *plainWorker) Close(reason *message.Error) { w.link.Close(reason) }
