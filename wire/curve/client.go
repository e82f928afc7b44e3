package curve

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/servicetools/servicetools/wire/zmtp"
)

// Client is the client's side of CURVE. One value serves every connection; its
// fields are not changed once it does.
type Client struct {
	Key       SecretKey // the client's permanent key, c and C
	ServerKey PublicKey // S, known beforehand

	random io.Reader // nil means crypto/rand; tests replay known answers
}

// Name returns "CURVE".
func (c *Client) Name() string { return "CURVE" }

// AsServer returns false.
func (c *Client) AsServer() bool { return false }

// clientSide is the client's state of one handshake.
type clientSide struct {
	client *Client
	random io.Reader

	transient *ecdh.PrivateKey // c', C'
	server    PublicKey        // S'
	cookie    [cookieSize]byte
	hello     sharedKey // (c', S): HELLO, WELCOME
	session   sharedKey // (c', S'): INITIATE, READY, MESSAGE
	vouched   sharedKey // (c, S'): the vouch

	sent     sent
	received received
}

// Handshake proves the server to the client and the client to the server. It
// returns an error that wraps zmtp.ErrServerKey or zmtp.ErrNotAdmitted, or a
// *zmtp.Refusal by the peer, where the server's behaviour says so.
func (c *Client) Handshake(conn zmtp.Commands, local zmtp.Metadata) (zmtp.Security, error) {
	if c.Key.IsZero() {
		return zmtp.Security{}, errNoKey
	}
	if c.ServerKey.IsZero() {
		return zmtp.Security{}, errNoServerKey
	}
	h := &clientSide{client: c, random: c.random}
	if h.random == nil {
		h.random = rand.Reader
	}
	defer h.wipe()

	var greet hello
	if err := h.sealHello(&greet); err != nil {
		return zmtp.Security{}, err
	}
	if err := conn.WriteCommand(greet[:]); err != nil {
		return zmtp.Security{}, fmt.Errorf("curve: sending HELLO: %w", err)
	}
	body, err := conn.ReadCommand(max(welcomeSize, maxError))
	if isClosed(err) {
		return zmtp.Security{}, fmt.Errorf("%w (it closed the connection after HELLO)", zmtp.ErrServerKey)
	}
	if err != nil {
		return zmtp.Security{}, fmt.Errorf("curve: waiting for WELCOME: %w", err)
	}
	if r := refusal(body); r != nil {
		return zmtp.Security{}, r
	}
	if err := h.openWelcome(body); err != nil {
		return zmtp.Security{}, err
	}

	initiate, err := h.sealInitiate(local)
	if err != nil {
		return zmtp.Security{}, err
	}
	if err := conn.WriteCommand(initiate); err != nil {
		return zmtp.Security{}, fmt.Errorf("curve: sending INITIATE: %w", err)
	}
	body, err = conn.ReadCommand(maxInitiate)
	if isClosed(err) {
		return zmtp.Security{}, zmtp.ErrNotAdmitted
	}
	if err != nil {
		return zmtp.Security{}, fmt.Errorf("curve: waiting for READY: %w", err)
	}
	if r := refusal(body); r != nil {
		return zmtp.Security{}, r
	}
	metadata, err := h.openReady(body)
	if err != nil {
		return zmtp.Security{}, err
	}
	return zmtp.Security{
		Metadata: metadata,
		Key:      c.ServerKey,
		Sealer:   newSealer(&h.session, prefixMessageClient, h.sent),
		Opener:   newOpener(&h.session, prefixMessageServer, h.received),
	}, nil
}

// sealHello makes C:HELLO.
func (h *clientSide) sealHello(m *hello) error {
	transient, err := newPrivateKey(h.random)
	if err != nil {
		return err
	}
	h.transient = transient
	if err := h.hello.compute(&h.client.ServerKey, h.transient); err != nil {
		return fmt.Errorf("curve: server key: %w", err)
	}
	n, err := h.sent.next()
	if err != nil {
		return err
	}
	copy(m[:], nameHello)
	m.version()[0] = 1
	*m.client() = PublicKey(h.transient.PublicKey().Bytes())
	m.setNonce(n)
	// Box [64 zeros](C'->S)
	var zeros [signatureSize]byte
	h.hello.seal(m.box()[:0], zeros[:], shortNonce(prefixHello, n))
	return nil
}

// openWelcome reads S:WELCOME, which proves that the server has s.
func (h *clientSide) openWelcome(body []byte) error {
	m, err := parseWelcome(body)
	if err != nil {
		return err
	}
	// Box [S' + cookie](S->C')
	var room [keySize + cookieSize]byte
	plain, err := h.hello.open(room[:0], m.box(), longNonce(prefixWelcome, m.nonce()))
	if err != nil {
		return fmt.Errorf("%w: WELCOME does not open", zmtp.ErrServerKey)
	}
	h.server = PublicKey(plain[:keySize])
	copy(h.cookie[:], plain[keySize:])
	return nil
}

// sealInitiate makes C:INITIATE.
func (h *clientSide) sealInitiate(local zmtp.Metadata) ([]byte, error) {
	if err := h.session.compute(&h.server, h.transient); err != nil {
		return nil, fmt.Errorf("curve: WELCOME: %w", err)
	}
	var v vouch
	if err := h.sealVouch(&v); err != nil {
		return nil, err
	}
	n, err := h.sent.next()
	if err != nil {
		return nil, err
	}
	m := append([]byte(nameInitiate), h.cookie[:]...)
	m = appendNonce(m, n)
	// Box [C + vouch + metadata](C'->S')
	plain := local.Append(slices.Concat(h.client.Key.public[:], v[:]))
	m = h.session.seal(m, plain, shortNonce(prefixInitiate, n))
	if len(m) > maxInitiate {
		return nil, fmt.Errorf("curve: the metadata makes an INITIATE of %d bytes, the limit is %d", len(m), maxInitiate)
	}
	return m, nil
}

// sealVouch makes the vouch: the owner of C says that C' is its own, to S only.
func (h *clientSide) sealVouch(v *vouch) error {
	if err := h.vouched.compute(&h.server, h.client.Key.key()); err != nil {
		return fmt.Errorf("curve: vouch: %w", err)
	}
	if err := fill(h.random, v.nonce()[:]); err != nil {
		return err
	}
	// Box [C' + S](C->S')
	plain := slices.Concat(h.transient.PublicKey().Bytes(), h.client.ServerKey[:])
	h.vouched.seal(v.box()[:0], plain, longNonce(prefixVouch, v.nonce()))
	return nil
}

// openReady reads S:READY.
func (h *clientSide) openReady(body []byte) (zmtp.Metadata, error) {
	m, err := parseReady(body)
	if err != nil {
		return nil, err
	}
	if err := h.received.accept(m.nonce()); err != nil {
		return nil, fmt.Errorf("curve: READY: %w", err)
	}
	// Box [metadata](S'->C')
	plain, err := h.session.open(nil, m.box(), shortNonce(prefixReady, m.nonce()))
	if err != nil {
		return nil, fmt.Errorf("curve: READY: %w", err)
	}
	metadata, err := zmtp.ParseMetadata(plain)
	if err != nil {
		return nil, fmt.Errorf("curve: READY: %w", err)
	}
	return metadata, nil
}

// wipe forgets what only the handshake needs.
func (h *clientSide) wipe() {
	h.transient = nil
	clear(h.cookie[:])
	clear(h.hello[:])
	clear(h.session[:])
	clear(h.vouched[:])
}

func appendNonce(dst []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(dst, n) }
