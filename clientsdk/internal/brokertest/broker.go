// Package brokertest is a scripted broker for tests: it speaks the broker's
// side of the compact protocol over real links, runs Go functions in place of
// workers, and fails on command. It keeps no queues and checks no rules.
package brokertest

import (
	"context"
	"crypto/rand"
	"net"
	"slices"
	"sync"

	"github.com/servicetools/servicetools/wire/message"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// Method answers one call, exactly once, by one of Call's methods. It runs in
// a goroutine of its own, or in the reader's if it was added by Inline.
type Method func(*Call)

// Broker is a scripted broker. Its exported fields are set before Start.
type Broker struct {
	Mechanism  zmtp.Mechanism // NULL if nil
	MaxCalls   int64          // as ATTACHED tells; 0 tells nothing
	MaxMessage int64
	BeatMillis int64 // default 5000
	// Intercept, if not nil, sees each envelope first; true keeps it from the
	// broker. It runs in the link's reader.
	Intercept func(*zmtp.Link, *message.Envelope) bool

	listener *zmtp.Listener
	cancel   context.CancelFunc
	serving  sync.WaitGroup

	mu       sync.Mutex
	changed  sync.Cond // signalled after any change; waits with mu
	methods  map[string]Method
	inline   map[string]Method
	instance message.SessionID
	sessions map[message.SessionID]*session
	links    []*zmtp.Link
	closed   bool
	stopping bool               // takes no new call
	seen     []message.Envelope // every envelope that came, bodies copied
}

// Start listens on a free loopback port.
func (b *Broker) Start() error {
	b.init()
	ln, err := zmtp.Listen("tcp://127.0.0.1:0", b.config(), zmtp.ListenLimits{}, nil)
	if err != nil {
		return err
	}
	b.listener = ln
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	b.serving.Go(func() { _ = ln.Serve(ctx, b.serve) }) // it ends by cancel
	return nil
}

func (b *Broker) init() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sessions != nil {
		return
	}
	b.changed.L = &b.mu
	b.sessions = make(map[message.SessionID]*session)
	_, _ = rand.Read(b.instance[:]) // never fails
	if b.methods == nil {
		b.methods = make(map[string]Method)
	}
	if b.inline == nil {
		b.inline = make(map[string]Method)
	}
	if b.Mechanism == nil {
		b.Mechanism = zmtp.Null{Admit: func(zmtp.Metadata) (any, error) { return nil, nil }}
	}
	if b.BeatMillis == 0 {
		b.BeatMillis = 5000
	}
}

func (b *Broker) config() *zmtp.Config {
	return &zmtp.Config{SocketType: "ROUTER", Mechanism: b.Mechanism, Limits: zmtp.Limits{MaxMessage: 64 << 20}}
}

// Accept serves one connection that was made otherwise.
func (b *Broker) Accept(conn net.Conn) {
	b.init()
	b.serving.Go(func() {
		if link, err := zmtp.Handshake(context.Background(), conn, b.config()); err == nil {
			b.serve(link)
		}
	})
}

// Addr returns the endpoint.
func (b *Broker) Addr() string { return "tcp://" + b.listener.Addr().String() }

// Handle adds a method.
func (b *Broker) Handle(name string, m Method) {
	b.init()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.methods[name] = m
}

// Inline adds a method that runs in the reader and must not block.
func (b *Broker) Inline(name string, m Method) {
	b.init()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inline[name] = m
}

// Cut ends all connections; sessions live on.
func (b *Broker) Cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cutLocked()
}

func (b *Broker) cutLocked() {
	for _, l := range b.links {
		l.Close(nil)
	}
	b.links = nil
	b.changed.Broadcast()
}

// Stop refuses new calls from now on, as a broker does that finishes those that
// it has before it leaves.
func (b *Broker) Stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopping = true
}

// Restart forgets everything, as a new process on the same port does.
func (b *Broker) Restart() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forgetLocked()
}

// Leave is Restart by a broker that says why, in order.
func (b *Broker) Leave(reason *message.Error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.links {
		send(l, &message.Envelope{Kind: message.KindBye, Body: reason.Append(nil)})
		l.Finish()
	}
	b.links = nil
	b.forgetLocked()
}

func (b *Broker) forgetLocked() {
	b.cutLocked()
	b.instance[0]++
	b.stopping = false
	for _, s := range b.sessions {
		s.dead = true
		for _, c := range s.calls {
			c.cancel()
		}
	}
	clear(b.sessions)
}

// Close ends everything and waits for it.
func (b *Broker) Close() {
	if b.cancel != nil {
		b.cancel()
	}
	b.mu.Lock()
	b.closed = true
	b.forgetLocked()
	b.mu.Unlock()
	b.serving.Wait()
}

// Wait blocks until ok holds for all envelopes seen so far; they must not be changed.
func (b *Broker) Wait(ok func(seen []message.Envelope) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !ok(b.seen) {
		b.changed.Wait()
	}
}

// WaitFor blocks until n envelopes of a kind have come.
func (b *Broker) WaitFor(kind message.Kind, n int) {
	b.Wait(func(seen []message.Envelope) bool { return Count(seen, kind) >= n })
}

// Seen returns the envelopes of a kind that came so far.
func (b *Broker) Seen(kind message.Kind) []message.Envelope {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.seen), func(e message.Envelope) bool { return e.Kind != kind })
}

// Count returns how many of seen are of a kind.
func Count(seen []message.Envelope, kind message.Kind) (n int) {
	for i := range seen {
		if seen[i].Kind == kind {
			n++
		}
	}
	return n
}

// Sessions returns how many sessions are held, and Unacked how many outcomes
// they keep.
func (b *Broker) Sessions() (sessions, unacked int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.sessions {
		unacked += len(s.outcomes)
	}
	return len(b.sessions), unacked
}

// WaitAcked blocks until no session keeps an outcome.
func (b *Broker) WaitAcked() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		kept := 0
		for _, s := range b.sessions {
			kept += len(s.outcomes)
		}
		if kept == 0 {
			return
		}
		b.changed.Wait()
	}
}

// Links returns the live connections.
func (b *Broker) Links() []*zmtp.Link {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.links)
}

// Send sends an envelope on the newest connection, whatever it is.
func (b *Broker) Send(e *message.Envelope) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.links); n > 0 {
		send(b.links[n-1], e)
	}
}

func send(l *zmtp.Link, e *message.Envelope) {
	_, _ = l.Append(func(dst []byte) []byte { return e.Append(dst) }) // a dead link takes nothing
}
