package curve

import (
	"crypto/rand"

	"github.com/servicetools/servicetools/wire/zmtp"
)

// forger is a client that knows all it needs, and lies where it is told to: it
// reaches what is inside the boxes, which no flipped bit on the wire does.
type forger struct {
	Client
	hello        func(plain []byte, nonce *uint64) []byte
	cookie       func([]byte) []byte
	vouch        func(plain []byte) []byte
	initiate     func(plain []byte, nonce *uint64) []byte
	transientKey *PublicKey // sent as C'
	permanentKey *PublicKey // sent as C
	anonymous    bool       // seal the vouch with the key that every secret shares with a low-order C
}

func (f *forger) Handshake(conn zmtp.Commands, local zmtp.Metadata) (zmtp.Security, error) {
	h := &clientSide{client: &f.Client, random: rand.Reader}
	var greet hello
	if err := h.sealHello(&greet); err != nil {
		return zmtp.Security{}, err
	}
	if f.hello != nil {
		n := greet.nonce()
		plain := f.hello(make([]byte, signatureSize), &n)
		greet.setNonce(n)
		box := h.hello.seal(nil, plain, shortNonce(prefixHello, n))
		if len(box) != len(greet.box()) {
			return zmtp.Security{}, conn.WriteCommand(append(greet[:120:120], box...))
		}
		copy(greet.box(), box)
	}
	if f.transientKey != nil {
		*greet.client() = *f.transientKey
	}
	if err := conn.WriteCommand(greet[:]); err != nil {
		return zmtp.Security{}, err
	}
	body, err := conn.ReadCommand(maxInitiate)
	if err != nil {
		return zmtp.Security{}, err
	}
	if err := h.openWelcome(body); err != nil {
		return zmtp.Security{}, err
	}
	if err := conn.WriteCommand(f.sealInitiate(h, local)); err != nil {
		return zmtp.Security{}, err
	}
	body, err = conn.ReadCommand(maxInitiate)
	if err != nil {
		return zmtp.Security{}, err
	}
	metadata, err := h.openReady(body)
	return zmtp.Security{
		Metadata: metadata,
		Sealer:   newSealer(&h.session, prefixMessageClient, h.sent),
		Opener:   newOpener(&h.session, prefixMessageServer, h.received),
	}, err
}

func (f *forger) sealInitiate(h *clientSide, local zmtp.Metadata) []byte {
	if err := h.session.compute(&h.server, h.transient); err != nil {
		panic(err)
	}
	if err := h.vouched.compute(&h.server, f.Key.key()); err != nil {
		panic(err)
	}
	if f.anonymous {
		h.vouched = anonymousKey()
	}
	vouched := append(h.transient.PublicKey().Bytes(), f.ServerKey[:]...)
	if f.vouch != nil {
		vouched = f.vouch(vouched)
	}
	var random [16]byte
	key := f.Key.Public()
	if f.permanentKey != nil {
		key = *f.permanentKey
	}
	plain := append(key[:], random[:]...)
	plain = h.vouched.seal(plain, vouched, longNonce(prefixVouch, &random))
	plain = local.Append(plain)
	n, _ := h.sent.next()
	if f.initiate != nil {
		plain = f.initiate(plain, &n)
	}
	cookie := h.cookie[:]
	if f.cookie != nil {
		cookie = f.cookie(cookie)
	}
	m := append([]byte(nameInitiate), cookie...)
	return h.session.seal(appendNonce(m, n), plain, shortNonce(prefixInitiate, n))
}
