package curve

import (
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/servicetools/servicetools/wire/zmtp"
)

// helloHold is how long a client whose HELLO does not open is kept waiting, so
// that one that retries at once costs little.
const helloHold = 500 * time.Millisecond

// Server is the server's side of CURVE. One value serves every connection; its
// fields are not changed once it does.
type Server struct {
	// Key is the server's permanent key, s and S.
	Key SecretKey

	// Admit decides about a client that has proven its permanent key. What it
	// returns becomes Security.Subject. A *zmtp.Refusal says how the client is
	// told; any other error is told as status 500 without a reason. Nil admits
	// nobody.
	Admit func(key PublicKey, metadata zmtp.Metadata) (subject any, err error)

	random io.Reader // nil means crypto/rand; tests replay known answers
}

// Name returns "CURVE".
func (s *Server) Name() string { return "CURVE" }

// AsServer returns true.
func (s *Server) AsServer() bool { return true }

// serverSide is the server's state of one handshake. It lives on the stack of
// Handshake, so that the cookie need not carry it.
type serverSide struct {
	server *Server
	random io.Reader

	transient *ecdh.PrivateKey // s', S'
	client    PublicKey        // C'
	cookie    [cookieSize]byte
	hello     sharedKey // (s, C'): HELLO, WELCOME
	session   sharedKey // (s', C'): INITIATE, READY, MESSAGE
	vouched   sharedKey // (s', C): the vouch

	sent     sent
	received received
}

// Handshake admits one client. It computes three shared keys: one before the
// client is known in any way, two for a client that holds the server's key.
func (s *Server) Handshake(c zmtp.Commands, local zmtp.Metadata) (zmtp.Security, error) {
	if s.Key.IsZero() {
		return zmtp.Security{}, errNoKey
	}
	if s.Admit == nil {
		return zmtp.Security{}, errNoAdmission
	}
	h := &serverSide{server: s, random: s.random}
	if h.random == nil {
		h.random = rand.Reader
	}
	defer h.wipe()

	body, err := c.ReadCommand(helloSize)
	if err != nil {
		return zmtp.Security{}, fmt.Errorf("curve: waiting for HELLO: %w", err)
	}
	var reply welcome
	if err = h.openHello(body); err == nil {
		err = h.sealWelcome(&reply)
	}
	if errors.Is(err, errHelloBox) {
		c.Hold(helloHold)
	}
	if err != nil {
		return zmtp.Security{}, err
	}
	if err := c.WriteCommand(reply[:]); err != nil {
		return zmtp.Security{}, fmt.Errorf("curve: sending WELCOME: %w", err)
	}

	body, err = c.ReadCommand(maxInitiate)
	if err != nil {
		return zmtp.Security{}, fmt.Errorf("curve: waiting for INITIATE: %w", err)
	}
	var peer zmtp.Security
	if err := h.openInitiate(body, &peer); err != nil {
		return zmtp.Security{}, err
	}

	peer.Subject, err = s.Admit(peer.Key, peer.Metadata)
	if err != nil {
		return zmtp.Security{}, zmtp.Refuse(c, err)
	}
	ready, err := h.sealReady(local)
	if err != nil {
		return zmtp.Security{}, err
	}
	if err := c.WriteCommand(ready); err != nil {
		return zmtp.Security{}, fmt.Errorf("curve: sending READY: %w", err)
	}
	peer.Sealer = newSealer(&h.session, prefixMessageServer, h.sent)
	peer.Opener = newOpener(&h.session, prefixMessageClient, h.received)
	return peer, nil
}

// openHello reads C:HELLO, which proves that the client has c' and knows S.
func (h *serverSide) openHello(body []byte) error {
	m, err := parseHello(body)
	if err != nil {
		return err
	}
	// Box [64 zeros](C'->S)
	h.client = *m.client()
	if err := h.hello.compute(&h.client, h.server.Key.key()); err != nil {
		return fmt.Errorf("curve: HELLO: %w", err)
	}
	var zeros [signatureSize]byte
	var room [signatureSize]byte
	plain, err := h.hello.open(room[:0], m.box(), shortNonce(prefixHello, m.nonce()))
	if err != nil {
		return errHelloBox
	}
	if !equal(plain, zeros[:]) {
		return errors.New("curve: the box in HELLO does not hold zeros")
	}
	if err := h.received.accept(m.nonce()); err != nil {
		return fmt.Errorf("curve: HELLO: %w", err)
	}
	return nil
}

// sealWelcome makes S:WELCOME. The RFC puts Box [C' + s'](K) into the cookie so
// that a server may forget the client until INITIATE. This one keeps both in
// the connection's own state, as libzmq does, so the cookie has only to be
// unguessable and bound to the connection: it is random, and compared.
func (h *serverSide) sealWelcome(m *welcome) error {
	transient, err := newPrivateKey(h.random)
	if err != nil {
		return err
	}
	h.transient = transient
	if err := fill(h.random, h.cookie[:]); err != nil {
		return err
	}
	if err := fill(h.random, m.nonce()[:]); err != nil {
		return err
	}
	copy(m[:], nameWelcome)
	// Box [S' + cookie](S->C')
	var plain [keySize + cookieSize]byte
	copy(plain[:], h.transient.PublicKey().Bytes())
	copy(plain[keySize:], h.cookie[:])
	h.hello.seal(m.box()[:0], plain[:], longNonce(prefixWelcome, m.nonce()))
	return nil
}

// openInitiate reads C:INITIATE, which proves that the client has c and means
// this connection to this server.
func (h *serverSide) openInitiate(body []byte, peer *zmtp.Security) error {
	m, err := parseInitiate(body)
	if err != nil {
		return err
	}
	if !equal(m.cookie(), h.cookie[:]) {
		return errCookie
	}
	if err := h.received.accept(m.nonce()); err != nil {
		return fmt.Errorf("curve: INITIATE: %w", err)
	}

	// Box [C + vouch + metadata](C'->S')
	if err := h.session.compute(&h.client, h.transient); err != nil {
		return fmt.Errorf("curve: INITIATE: %w", err)
	}
	plain, err := h.session.open(nil, m.box(), shortNonce(prefixInitiate, m.nonce()))
	if err != nil {
		return fmt.Errorf("curve: INITIATE: %w", err)
	}
	peer.Key = PublicKey(plain[:keySize])
	v := (*vouch)(plain[keySize:])
	if err := h.openVouch(v, (*PublicKey)(&peer.Key)); err != nil {
		return err
	}
	peer.Metadata, err = zmtp.ParseMetadata(plain[keySize+vouchSize:])
	if err != nil {
		return fmt.Errorf("curve: INITIATE: %w", err)
	}
	return nil
}

// openVouch checks that the owner of C vouches for C' towards S. Libzmq servers
// do not look at S; without it a vouch made for one server opens another's door
// to whoever runs the first. (hazards A3.6)
func (h *serverSide) openVouch(v *vouch, key *PublicKey) error {
	// Box [C' + S](C->S')
	if err := h.vouched.compute(key, h.transient); err != nil {
		return fmt.Errorf("curve: vouch: %w", err)
	}
	var room [2 * keySize]byte
	plain, err := h.vouched.open(room[:0], v.box(), longNonce(prefixVouch, v.nonce()))
	if err != nil {
		return fmt.Errorf("curve: vouch: %w", err)
	}
	if !equal(plain[:keySize], h.client[:]) {
		return errVouchClient
	}
	if !equal(plain[keySize:], h.server.Key.public[:]) {
		return errVouchServer
	}
	return nil
}

// sealReady makes S:READY.
func (h *serverSide) sealReady(local zmtp.Metadata) ([]byte, error) {
	n, err := h.sent.next()
	if err != nil {
		return nil, err
	}
	// Box [metadata](S'->C')
	m := appendNonce([]byte(nameReady), n)
	return h.session.seal(m, local.Append(nil), shortNonce(prefixReady, n)), nil
}

// wipe forgets what only the handshake needs.
func (h *serverSide) wipe() {
	h.transient = nil
	clear(h.cookie[:])
	clear(h.hello[:])
	clear(h.session[:])
	clear(h.vouched[:])
}
