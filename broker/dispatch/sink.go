package dispatch

import (
	"time"

	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
)

// ClientSink sends to one client's connection. Its methods are called with the
// dispatcher locked: they never block, never call the dispatcher, and keep no
// slice that they are given, except in memory that they hold. A connection that fails says so by
// [Session.Detach] or [Session.Close] later, from its own goroutine. Sinks are
// compared with ==, so an implementation is a pointer.
type ClientSink interface {
	// Attached answers Attach, before anything else is sent. last is the highest
	// call number that the session holds; the client sends what lies above.
	Attached(resumed bool, last uint64)

	// Outcome delivers the one outcome of a call, also of a refused one.
	Outcome(o *Outcome)

	// Part delivers one item of a stream, items of one call in ascending order.
	Part(number uint64, tag []byte, sequence uint64, body []byte)

	// Attempt says which attempt of the call a worker has now, from the second on.
	// A client that resubmits the call to another broker tells it.
	Attempt(number uint64, attempt uint8)

	// Progress delivers the latest progress of a call.
	Progress(number uint64, tag []byte, body []byte)

	// Close ends the connection: another one has taken over the session, or the
	// client breaks a limit.
	Close(reason *message.Error)
}

// Outcome is the end of a call.
type Outcome struct {
	Number uint64       // of the call in its session
	Tag    []byte       // what Submit was given
	Kind   message.Kind // KindResult or KindError
	Body   []byte       // one msgpack value, or the msgpack form of a message.Error

	// Memory is what a large Body lies in: a sink may hold it to keep that. Else nil.
	Memory *buffer.Buffer
}

// WorkerSink sends to one worker's connection, under the rules of ClientSink.
// A connection that fails says so by [Worker.Lost].
type WorkerSink interface {
	// Registered answers Register with the worker's id in force, before anything else is sent.
	Registered(id string)

	// Assign hands a call to the worker and returns the stream offset of its
	// first byte on the link, or NeverSent when the link takes nothing more.
	Assign(a *Assignment) (offset uint64)

	// Cancel asks the worker to stop the call. Its slot stays busy until it answers.
	Cancel(ref Ref)

	// Grant lets the worker send the items of the stream below window.
	Grant(ref Ref, window uint64)

	// Ack says that the broker has got count outcomes on this link.
	Ack(count uint64)

	// Drain asks the worker to finish what runs, hand back the rest and leave.
	Drain()

	// Drained says that no call is left on a worker that drains. It may be
	// called more than once.
	Drained()

	// Close ends the connection because the worker does not keep to the protocol.
	Close(reason *message.Error)
}

// NeverSent is the offset of a call that its link did not take.
const NeverSent = ^uint64(0)

// Ref names an assigned call between broker and worker: by Token, or, for a
// call that a worker runs since before the broker was started, by Origin with
// Token 0, and then with the attempt as the worker knows it; 0 = it does not say.
type Ref struct {
	Token   uint64
	Origin  message.Origin
	Attempt uint8
}

// Assignment is a call as a worker gets it, valid during Assign.
type Assignment struct {
	Token      uint64         // fences the attempt: valid once, on this connection
	Origin     message.Origin // names the call for ever
	Method     string         // as this worker spelled it
	Body       []byte         // msgpack args and kwargs
	Memory     *buffer.Buffer // what a large Body lies in, to be held by who keeps that; else nil
	Timeout    time.Duration  // what is left of the deadline; 0 = none
	Attempt    uint8          // 1 for the first
	Priority   message.Priority
	Idempotent bool // the caller says that running it twice does no harm
	Stream     bool // the caller takes items
}

// Evidence says what is known about the end of a worker.
type Evidence struct {
	Reason   string    // how the connection ended
	LastSeen time.Time // the last byte from the worker; zero = unknown
	Exit     string    // exit status or signal, where the broker started the worker
	Stderr   []string  // its last lines, where the broker started the worker
}
