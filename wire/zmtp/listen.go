package zmtp

import (
	"context"
	"errors"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// ListenLimits bounds what peers may cost before they are authenticated. A
// zero field means its default.
type ListenLimits struct {
	// MaxUnauthenticated is how many connections may be in their handshake. One
	// more closes the oldest of those that keep us waiting; if we keep them all
	// waiting, it waits itself, and others in the kernel's backlog. Default 4096.
	MaxUnauthenticated int
	// MaxConnections is how many connections may be open in all. One more is
	// dealt with in the same way. Default 8192.
	MaxConnections int
	// FailuresPerSecond is how many failed handshakes one address may cause
	// before its connections are closed unseen. Successes do not count: many
	// good clients may share an address. Default 20.
	FailuresPerSecond int
	// Slots bounds how many handshakes are worked on at once. Waiting for a slot
	// is not counted against the peer's time: else a crowd that reconnects would
	// time out half done, and come back for ever. Default: those of the process,
	// one for each core but one.
	Slots Slots
}

func (l ListenLimits) withDefaults() ListenLimits {
	setDefault(&l.MaxUnauthenticated, 4096)
	setDefault(&l.MaxConnections, 8192)
	setDefault(&l.FailuresPerSecond, 20)
	if l.Slots == nil {
		l.Slots = processSlots
	}
	return l
}

// Listener accepts connections of one endpoint and hands over those whose
// handshake succeeds.
type Listener struct {
	// Static after Listen.
	listener net.Listener
	limits   ListenLimits
	failed   func(net.Addr, error)

	config   atomic.Pointer[Config] // of connections that are yet to come
	places   chan struct{}          // one token a connection; full = accept waits
	doors    chan struct{}          // one token a connection in its handshake
	waiting  waiting                // the same connections, oldest first
	failures failures
	serving  sync.WaitGroup // one for each connection's goroutine
}

// Listen opens an endpoint "tcp://host:port"; port 0 picks a free one. failed,
// if not nil, is told of each handshake that failed, from many goroutines.
func Listen(endpoint string, cfg *Config, limits ListenLimits, failed func(net.Addr, error)) (*Listener, error) {
	address, err := SplitAddr(endpoint)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	if failed == nil {
		failed = func(net.Addr, error) {}
	}
	limits = limits.withDefaults()
	ln := &Listener{
		listener: listener,
		limits:   limits,
		failed:   failed,
		places:   make(chan struct{}, limits.MaxConnections),
		doors:    make(chan struct{}, limits.MaxUnauthenticated),
		failures: failures{perSecond: limits.FailuresPerSecond},
	}
	ln.config.Store(cfg)
	return ln, nil
}

// SetLimits changes the limits of connections that are yet to come.
func (ln *Listener) SetLimits(l Limits) {
	cfg := *ln.config.Load()
	cfg.Limits = l
	ln.config.Store(&cfg)
}

// Addr returns the address in use.
func (ln *Listener) Addr() net.Addr { return ln.listener.Addr() }

// Unauthenticated returns how many connections are in their handshake.
func (ln *Listener) Unauthenticated() int { return ln.waiting.len() }

// acceptPause is how long accept rests when the process is out of file
// descriptors; it doubles up to acceptPauseMax.
const (
	acceptPause    = 5 * time.Millisecond
	acceptPauseMax = time.Second
)

// Serve accepts until ctx ends, and calls serve for each link in a goroutine
// of its own. serve must call Link.Run. When ctx ends, Serve closes the
// endpoint and the connections that are still in their handshake; it returns
// when every serve has returned.
func (ln *Listener) Serve(ctx context.Context, serve func(*Link)) error {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { ln.listener.Close() })
	defer ln.serving.Wait()
	defer cancel()
	defer stop()
	defer ln.listener.Close()
	pause := acceptPause
	for {
		conn, err := ln.listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if !retryable(err) {
				return err
			}
			ln.waiting.evict() // frees a descriptor, if that is what is short
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			pause = min(2*pause, acceptPauseMax)
			continue
		}
		pause = acceptPause
		ln.limits.Slots.take() // a flood of arrivals takes its turns with those who have arrived
		ln.limits.Slots.give()
		if ln.failures.exceeded(conn.RemoteAddr(), time.Now()) {
			conn.Close()
			continue
		}
		if !ln.reserve(ctx, ln.places) || !ln.reserve(ctx, ln.doors) {
			conn.Close()
			return nil
		}
		entry := ln.waiting.add(conn)
		ln.serving.Go(func() { ln.admit(ctx, conn, entry, serve) })
	}
}

// evictPause is how long a new connection waits for room before the next
// silent one is closed for it.
const evictPause = 20 * time.Millisecond

// reserve puts the token of a new connection into places or doors. Room is made
// at the expense of who keeps us waiting. It reports false when ctx has ended.
func (ln *Listener) reserve(ctx context.Context, tokens chan struct{}) bool {
	for {
		select {
		case tokens <- struct{}{}:
			return true
		default:
		}
		ln.waiting.evict()
		select {
		case tokens <- struct{}{}:
			return true
		case <-ctx.Done():
			return false
		case <-time.After(evictPause):
		}
	}
}

// Close closes the endpoint of a Listener on which Serve is not called.
func (ln *Listener) Close() error { return ln.listener.Close() }

// admit owns one connection from accept to its end.
func (ln *Listener) admit(ctx context.Context, conn net.Conn, entry *waiter, serve func(*Link)) {
	defer func() { <-ln.places }()
	link, err := ln.shake(ctx, conn, entry)
	evicted := ln.waiting.remove(entry)
	<-ln.doors
	if evicted {
		if err == nil {
			link.abandon(errEvicted)
		}
		err = errEvicted
	}
	if err != nil {
		if ctx.Err() == nil {
			ln.failures.add(conn.RemoteAddr(), time.Now())
			ln.failed(conn.RemoteAddr(), err)
		}
		return
	}
	serve(link)
}

// shake is Handshake that survives a defect of ours in parsing a peer's bytes.
func (ln *Listener) shake(ctx context.Context, conn net.Conn, entry *waiter) (link *Link, err error) {
	defer func() {
		if v := recover(); v != nil {
			conn.Close()
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	ln.limits.Slots.take()
	defer ln.limits.Slots.give()
	link, _, err = handshakeSteps(ctx, conn, ln.config.Load(), &arrival{entry, ln.limits.Slots})
	return link, err
}

var errEvicted = errors.New("zmtp: closed to make room for a newer connection: too many are in their handshake")

// retryable reports whether accept may succeed later.
func retryable(err error) bool { return !errors.Is(err, net.ErrClosed) }
