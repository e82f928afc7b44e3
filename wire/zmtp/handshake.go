package zmtp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// Config describes one endpoint; every link of the endpoint shares it.
type Config struct {
	// SocketType is announced to the peer: "ROUTER", "DEALER", "REQ" or "REP".
	SocketType string
	// Mechanism secures the connections.
	Mechanism Mechanism
	// Metadata holds further properties to announce; Socket-Type is added.
	Metadata Metadata
	// Limits bounds each connection.
	Limits Limits
	// Turns is shared by links whose handlers send to one another; nil = what a
	// handler appends wakes a write loop.
	Turns *Turns
	// AfterTurn is called by the goroutine that reads, when a turn has ended and before it
	// waits for more, but not behind the turn in which the link ends; nil = nothing is done.
	// It may take long only if somebody calls Link.ReadOn meanwhile, and may end its
	// goroutine. Without Turns there are no turns, and it is never called.
	AfterTurn func()
}

// Handshake greets the peer and runs cfg's mechanism. It closes conn if it
// fails or when ctx ends before it is done. Of the errors, *Refusal,
// *MechanismError, ErrServerKey, ErrTimeout and ErrProtocol say what the peer did.
func Handshake(ctx context.Context, conn net.Conn, cfg *Config) (*Link, error) {
	link, _, err := handshakeSteps(ctx, conn, cfg, nil)
	return link, err
}

// arrival is what the listener and the handshake of an accepted connection share.
type arrival struct {
	entry *waiter // says since when we wait for the peer
	slots Slots   // the handshake has one, but gives it up while it waits
}

// handshakeSteps is Handshake that also says in which step it failed. An
// accepted connection has an arrival.
func handshakeSteps(ctx context.Context, conn net.Conn, cfg *Config, a *arrival) (*Link, Step, error) {
	limits := cfg.Limits.withDefaults()
	h := &handshake{conn: conn, first: greetingSize, left: limits.HandshakeWait}
	h.silent = new(atomic.Int64)
	if a != nil {
		h.silent, h.slots, h.first = &a.entry.silent, a.slots, revealAt
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	link, err := h.run(cfg, limits)
	if !stop() { // ctx ended, and the connection with it
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		if link != nil {
			link.abandon(err)
		}
		return nil, stepOf(h.step, err), err
	}
	return link, "", nil
}

// handshake is a connection between accept or dial and its Link. It is used by
// one goroutine and implements Commands.
type handshake struct {
	conn   net.Conn
	first  int           // how much of our greeting is sent before the peer's has come
	silent *atomic.Int64 // since when we wait for the peer; read by the listener
	slots  Slots         // one is held except while we wait for the peer; nil = no need
	left   time.Duration // of the peer's waiting time
	buf    []byte        // the last command; grows to the limit asked for
	step   Step          // the part in progress, for Dial's errors
	room   [smallRead]byte
	ahead  []byte // what has come and was not asked for yet; in room
}

// revealAt is how much of the greeting an accepting side sends first: signature
// and version, which libzmq waits for, and not the mechanism. A libzmq peer
// leaves as soon as it has read another mechanism than its own, without telling
// which that is; so we read its name before it reads ours.
const revealAt = 12

// run returns a link as soon as there are keys, also with an error.
func (h *handshake) run(cfg *Config, limits Limits) (*Link, error) {
	h.step = StepGreeting
	ours := newGreeting(cfg.Mechanism.Name(), cfg.Mechanism.AsServer())
	if err := h.write(ours[:h.first]); err != nil {
		return nil, err
	}
	theirs, err := h.greeted(cfg.Mechanism.Name())
	if err != nil {
		return nil, err
	}
	if err := h.write(ours[h.first:]); err != nil {
		return nil, err
	}
	h.step = StepMechanism
	if m := theirs.mechanism(); m != cfg.Mechanism.Name() {
		return nil, &MechanismError{Ours: cfg.Mechanism.Name(), Theirs: m}
	}
	local := append(Metadata{{PropertySocketType, cfg.SocketType}}, cfg.Metadata...)
	security, err := cfg.Mechanism.Handshake(h, local)
	if err != nil {
		return nil, err
	}
	l := newLink(h.conn, security, limits)
	l.turns, l.after.run = cfg.Turns, cfg.AfterTurn
	l.reader.w = copy(l.reader.buf, h.ahead)
	if err := CheckSocketType(cfg.SocketType, security.Metadata); err != nil {
		return l, err
	}
	return l, h.conn.SetDeadline(time.Time{}) // from here on we trust the peer
}

// greeted reads the peer's greeting.
func (h *handshake) greeted(ours string) (*greeting, error) {
	var theirs greeting
	err := h.read(theirs[:1])
	if err == nil && theirs[0] != 0xff { // another protocol: say so without waiting for 63 bytes more
		return nil, theirs.check()
	}
	if err == nil {
		err = h.read(theirs[1:])
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("zmtp: the peer left during the greeting, as libzmq does if it speaks another mechanism than %s: %w", ours, err)
	}
	if err != nil {
		return nil, err
	}
	return &theirs, theirs.check()
}

// ReadCommand implements Commands.
func (h *handshake) ReadCommand(limit int) ([]byte, error) {
	var head [9]byte
	if err := h.read(head[:2]); err != nil {
		return nil, err
	}
	if FrameFlags(head[0])&FlagLong != 0 {
		if err := h.read(head[2:]); err != nil {
			return nil, err
		}
	}
	flags, size, n, err := parseFrameHeader(head[:])
	if err != nil {
		return nil, err
	}
	if n == 0 || flags != FlagCommand {
		return nil, fmt.Errorf("%w: a message came before the end of the handshake", ErrProtocol)
	}
	if size > uint64(limit) {
		return nil, fmt.Errorf("%w: a handshake command exceeds %d bytes", ErrProtocol, limit)
	}
	if cap(h.buf) < int(size) {
		h.buf = make([]byte, size)
	}
	h.buf = h.buf[:size]
	return h.buf, h.read(h.buf)
}

// WriteCommand implements Commands.
func (h *handshake) WriteCommand(body []byte) error {
	return h.write(append(AppendFrameHeader(make([]byte, 0, 9+len(body)), FlagCommand, len(body)), body...))
}

// maxHeld is how much a peer that is held may send before it is closed early.
const maxHeld = 4 << 10

// Hold implements Commands: it discards what comes until the time is over or the peer leaves.
func (h *handshake) Hold(d time.Duration) {
	if h.conn.SetReadDeadline(time.Now().Add(d)) != nil {
		return
	}
	h.slots.give()
	defer h.slots.take()
	h.silent.Store(sinceEpoch())
	var discard [greetingSize]byte
	for read := 0; read < maxHeld; {
		n, err := h.conn.Read(discard[:])
		if err != nil {
			return
		}
		read += n
	}
}

// RemoteAddr implements Commands.
func (h *handshake) RemoteAddr() net.Addr { return h.conn.RemoteAddr() }

// read fills b, from what has come ahead first, and charges the time that the
// rest takes to the peer. It holds no slot meanwhile.
func (h *handshake) read(b []byte) error {
	n := copy(b, h.ahead)
	h.ahead = h.ahead[n:]
	if n == len(b) {
		return nil
	}
	h.slots.give()
	defer h.slots.take()
	start := time.Now()
	if err := h.conn.SetReadDeadline(start.Add(h.left)); err != nil {
		return err
	}
	h.silent.Store(sinceEpoch())
	var err error
	for n < len(b) && err == nil {
		var got int
		got, err = h.conn.Read(h.room[:])
		taken := copy(b[n:], h.room[:got])
		n, h.ahead = n+taken, h.room[taken:got]
	}
	h.silent.Store(0)
	h.left = max(0, h.left-time.Since(start))
	switch {
	case n == len(b):
		return nil
	case err == io.EOF && n > 0:
		return io.ErrUnexpectedEOF
	}
	return handshakeError(err)
}

// write keeps the slot: what a handshake sends fits any socket's buffer.
func (h *handshake) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	start := time.Now()
	if err := h.conn.SetWriteDeadline(start.Add(h.left)); err != nil {
		return err
	}
	h.silent.Store(sinceEpoch())
	_, err := h.conn.Write(b)
	h.silent.Store(0)
	h.left = max(0, h.left-time.Since(start))
	return handshakeError(err)
}

func handshakeError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ErrTimeout
	}
	return err
}

// compatible lists, for each of our socket types, the peers that RFC 28 allows.
var compatible = map[string][]string{
	"REQ":    {"REP", "ROUTER"},
	"REP":    {"REQ", "DEALER"},
	"DEALER": {"REP", "DEALER", "ROUTER"},
	"ROUTER": {"REQ", "DEALER", "ROUTER"},
}

// CheckSocketType returns an ErrProtocol if a peer with that metadata may not
// talk to a socket of type ours. Servers call it in their admission, so that
// the peer learns the reason; Handshake calls it in any case.
func CheckSocketType(ours string, peer Metadata) error {
	theirs, _ := peer.Get(PropertySocketType)
	for _, t := range compatible[ours] {
		if t == theirs {
			return nil
		}
	}
	return fmt.Errorf("%w: socket type %.16q cannot talk to a %s", ErrProtocol, theirs, ours)
}
