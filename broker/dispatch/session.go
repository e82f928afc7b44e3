package dispatch

import (
	"encoding/binary"
	"slices"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/numbers"
)

// client is everything that one key holds. It exists while the key has a
// session or a call. Guarded by Dispatcher.mu.
type client struct {
	key      string
	sessions int
	calls    int   // held: not ended, or not acknowledged
	bytes    int64 // their bodies
	flows    []flow
}

func (d *Dispatcher) clientLocked(key string) *client {
	c := d.clients[key]
	if c == nil {
		c = &client{key: key}
		d.clients[key] = c
	}
	return c
}

func (d *Dispatcher) releaseClientLocked(c *client) {
	if c.sessions == 0 && c.calls == 0 {
		delete(d.clients, c.key)
	}
}

// ClientConfig is what the broker knows of a client that connects.
type ClientConfig struct {
	Key     string // who pays: limits and fairness count by it
	Name    string // for Sessions
	Address string // for Sessions
	Sink    ClientSink

	// May says whether the key may call a method; nil = all. It is called with
	// the dispatcher locked and must not call it.
	May func(method string) bool
}

// may reports whether the client may call m, by any of its names.
func (c *ClientConfig) may(m *method) bool {
	return c.May == nil || c.May(m.info.Name) || slices.ContainsFunc(m.info.Aliases, c.May)
}

type sessionName struct {
	key string
	id  message.SessionID
}

// Session is a client's calls and their outcomes. An SDK's session outlives its
// connection; a plain peer's session is its connection.
//
//	Attach -> attached <-> detached (client_grace) -> forgotten
//	Open   -> attached -> forgotten
type Session struct {
	d         *Dispatcher
	name      sessionName // static
	resumable bool        // static: an SDK's

	// Guarded by Dispatcher.mu.
	client  *client
	config  ClientConfig
	sink    ClientSink // nil = detached
	resumed bool       // a client came back: it may send calls that are known
	gone    bool       // forgotten
	last    uint64     // the highest call number
	since   instant

	// returning says that the client comes from an earlier broker, or thinks so.
	returning bool

	live    callList            // calls that have not ended, in the order of their numbers
	numbers numbers.Table[call] // of live, by number; an SDK's only
	outbox  callList            // outcomes in the order of their ends
	unsent  *call               // of outbox, the first one that this connection was not given; nil = none
	sent    int                 // of outbox, those before it
	flight  int                 // their bytes
	acked   uint64              // outcomes that the client has acknowledged, not in outbox any more
	grace   timer
}

// Attach connects an SDK's client to its session: to the one that the
// dispatcher holds, or to a new one. received counts the outcomes that the
// client has got in this session: the ones above are sent again, in order,
// through the new sink, after its Attached. If the session has a connection
// already, that one is closed.
func (d *Dispatcher) Attach(cfg ClientConfig, id message.SessionID, received uint64) *Session {
	d.mu.LockForClient()
	defer d.mu.Unlock()
	name := sessionName{cfg.Key, id}
	s := d.sessions[name]
	if s != nil && (received < s.acked || received > s.acked+uint64(s.outbox.len)) {
		d.forgetLocked(s, errSessionMismatch) // another client's state: what it has got we do not hold
		s = nil
	}
	if s == nil {
		s = d.newSessionLocked(cfg, name)
		s.resumable, s.returning = true, received > 0
		d.sessions[name] = s
		s.sink.Attached(false, 0)
		return s
	}
	if s.sink != nil {
		s.sink.Close(errTakenOver)
	}
	s.config, s.sink, s.resumed = cfg, cfg.Sink, true
	d.wheel.stop(&s.grace)
	s.sent, s.flight, s.unsent = 0, 0, s.outbox.first
	s.ackLocked(received)
	s.sink.Attached(true, s.last)
	s.replayLocked()
	return s
}

// Open starts the session of a plain peer. It ends by Detach or Close.
func (d *Dispatcher) Open(cfg ClientConfig) *Session {
	d.mu.LockForClient()
	defer d.mu.Unlock()
	name := sessionName{key: cfg.Key}
	binary.BigEndian.PutUint64(name.id[:8], d.assignments.random.Uint64())
	binary.BigEndian.PutUint64(name.id[8:], d.assignments.random.Uint64())
	s := d.newSessionLocked(cfg, name)
	d.plain[s] = struct{}{}
	return s
}

func (d *Dispatcher) newSessionLocked(cfg ClientConfig, name sessionName) *Session {
	s := &Session{d: d, name: name, client: d.clientLocked(cfg.Key), config: cfg, sink: cfg.Sink, since: d.clockLocked()}
	s.client.sessions++
	s.grace.owner = s
	return s
}

// replayLocked sends all that the client may not have got.
func (s *Session) replayLocked() {
	for c := s.outbox.first; c != nil; c = c.next {
		c.replay = len(c.parts) > 0
	}
	s.sendLocked()
	for c := s.live.first; c != nil; c = c.next {
		s.replayPartsLocked(c)
		c.tellAttemptLocked()
		if c.progress != nil {
			s.sink.Progress(c.origin.Number, c.tag, c.progress)
		}
	}
}

// Ack says that the client has got count outcomes in this session; an older
// count than the last one changes nothing. An error is a breach of the
// protocol; the caller closes the link.
func (s *Session) Ack(count uint64) *message.Error {
	s.d.mu.LockForClient()
	defer s.d.mu.Unlock()
	if s.gone || !s.resumable {
		return nil
	}
	if count > s.acked+uint64(s.sent) {
		return message.Errorf(message.Malformed, "ACK counts %d outcomes, %d were sent", count, s.acked+uint64(s.sent))
	}
	s.ackLocked(count)
	s.sendLocked()
	return nil
}

// Cancel ends a call in cancelled at once. A worker that runs it is told to
// stop. A call that has ended, or is not known, is left as it is.
func (s *Session) Cancel(number uint64) {
	s.d.mu.LockForClient()
	defer s.d.mu.Unlock()
	if c := s.numbers.Get(number); c != nil {
		s.d.cancelLocked(c)
	}
}

// CancelCall cancels any session's call, for an operator. It reports whether
// the call was there.
func (d *Dispatcher) CancelCall(o message.Origin) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	var found *call
	d.eachCallLocked(func(c *call) {
		if c.origin == o {
			found = c
		}
	})
	if found != nil {
		d.cancelLocked(found)
	}
	return found != nil
}

func (d *Dispatcher) cancelLocked(c *call) {
	d.passOnLocked(c)
	a := c.assigned
	d.failLocked(c, errCancelled)
	if a != nil {
		d.abandonLocked(a)
	}
}

// Detach says that the connection of sink is gone. The session waits for the
// client's return, unless another connection has taken it over.
func (s *Session) Detach(sink ClientSink) {
	d := s.d
	d.mu.LockForClient()
	defer d.mu.Unlock()
	if s.gone || s.sink != sink {
		return
	}
	if !s.resumable {
		d.forgetLocked(s, nil)
		return
	}
	s.sink = nil
	d.wheel.set(&s.grace, d.clockLocked().add(d.limits.ClientGrace))
}

// Close ends the session for good: the client of sink has left, or its key is
// revoked. Queued calls and streams are cancelled, other running calls finish
// for nobody.
func (s *Session) Close(sink ClientSink) {
	s.d.mu.LockForClient()
	defer s.d.mu.Unlock()
	if !s.gone && s.sink == sink {
		s.d.forgetLocked(s, nil)
	}
}

// Revoke ends all that a key has, at once: its sessions, also those whose client
// is away, and its workers' connections.
func (d *Dispatcher) Revoke(key string, reason *message.Error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.eachSessionLocked(func(s *Session) {
		if s.name.key == key {
			d.forgetLocked(s, reason)
		}
	})
	for _, w := range d.workers {
		if w.key == key {
			w.cutLocked(reason)
		}
	}
}

// expireLocked is called when the client did not come back.
func (s *Session) expireLocked(d *Dispatcher, _ instant) { d.forgetLocked(s, nil) }

// forgetLocked ends a session. A connection that it still has is closed for the
// reason, if there is one.
func (d *Dispatcher) forgetLocked(s *Session, reason *message.Error) {
	if s.sink != nil && reason != nil {
		s.sink.Close(reason)
	}
	s.sink, s.gone = nil, true
	d.wheel.stop(&s.grace)
	for c := s.live.first; c != nil; c = s.live.first {
		d.passOnLocked(c)
		s.live.remove(c)
		c.session = nil
		c.parts = d.dropPartsLocked(c, ^uint64(0))
		switch a := c.assigned; {
		case a == nil:
			d.failLocked(c, errCancelled)
		case c.stream: // nobody takes its items: it would hold its slot and wait
			d.failLocked(c, errCancelled)
			d.abandonLocked(a)
		default:
			d.dropBodyLocked(c)
		}
	}
	s.ackLocked(s.acked + uint64(s.outbox.len))
	s.numbers = numbers.Table[call]{}
	if s.resumable {
		delete(d.sessions, s.name)
	} else {
		delete(d.plain, s)
	}
	s.client.sessions--
	d.releaseClientLocked(s.client)
}

var (
	errCancelled = message.Errorf(message.Cancelled,
		"the call was cancelled").WithExecution(message.NotExecuted)
	errTakenOver = message.Errorf(message.ConnectionLost,
		"another connection of the same client has taken over the session")
	errSessionMismatch = message.Errorf(message.ConnectionLost,
		"another client has attached under the same session name; names must be random")
)
