package curve

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/servicetools/servicetools/wire/zmtp"
)

// midway is a client and a server after WELCOME, the same in every run.
func midway(f *testing.F) (*clientSide, *serverSide) {
	f.Helper()
	random := rand.NewChaCha8([32]byte{})
	key := func() SecretKey {
		k, err := generateKey(random)
		if err != nil {
			f.Fatal(err)
		}
		return k
	}
	server := &Server{Key: key(), Admit: admitAll}
	client := &Client{Key: key(), ServerKey: server.Key.Public()}
	c, s := &clientSide{client: client, random: random}, &serverSide{server: server, random: random}
	var greet hello
	var reply welcome
	for _, step := range []func() error{
		func() error { return c.sealHello(&greet) },
		func() error { return s.openHello(greet[:]) },
		func() error { return s.sealWelcome(&reply) },
		func() error { return c.openWelcome(reply[:]) },
		func() error { return c.session.compute(&c.server, c.transient) },
		func() error { return c.vouched.compute(&c.server, client.Key.key()) },
	} {
		if err := step(); err != nil {
			f.Fatal(err)
		}
	}
	return c, s
}

// FuzzCommands gives every parser what a peer without keys can send. No HELLO,
// WELCOME, INITIATE, READY or MESSAGE can come of it.
func FuzzCommands(f *testing.F) {
	client, server := midway(f)
	for _, name := range []string{nameHello, nameWelcome, nameInitiate, nameReady, nameMessage, nameError} {
		for _, size := range []int{0, 30, helloSize, welcomeSize, initiateMin, maxInitiate} {
			f.Add(append([]byte(name), make([]byte, max(0, size-len(name)))...))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s, c := *server, *client
		var peer zmtp.Security
		if s.openHello(body) == nil {
			return // a fuzzer with its own transient key may say HELLO
		}
		s = *server
		if s.openInitiate(body, &peer) == nil {
			t.Error("INITIATE")
		}
		if c.openWelcome(body) == nil {
			t.Error("WELCOME")
		}
		if _, err := c.openReady(body); err == nil {
			t.Error("READY")
		}
		if _, _, err := newOpener(&client.session, prefixMessageServer, 1).Open(0, bytes.Clone(body)); err == nil {
			t.Error("MESSAGE")
		}
		refusal(body)
	})
}

// FuzzInitiate puts arbitrary bytes into the boxes of INITIATE, as a client that
// knows the server's key can. Whoever is admitted has proven its key.
func FuzzInitiate(f *testing.F) {
	client, server := midway(f)
	honest := append(client.transient.PublicKey().Bytes(), client.client.ServerKey[:]...)
	key := client.client.Key.Public()
	f.Add(key[:], honest, clientMetadata.Append(nil), uint64(2))
	f.Add(key[:], honest, []byte{1, 'a', 0xff, 0xff, 0xff, 0xff}, uint64(1))
	f.Add(make([]byte, 32), honest[:32], []byte{}, uint64(1<<63))
	f.Fuzz(func(t *testing.T, permanent, vouched, metadata []byte, n uint64) {
		var random [16]byte
		plain := append(bytes.Clone(permanent), random[:]...)
		plain = client.vouched.seal(plain, vouched, longNonce(prefixVouch, &random))
		plain = append(plain, metadata...)
		body := append([]byte(nameInitiate), client.cookie[:]...)
		body = client.session.seal(appendNonce(body, n), plain, shortNonce(prefixInitiate, n))

		s := *server
		var peer zmtp.Security
		err := s.openInitiate(body, &peer)
		if err == nil && (peer.Key != key || !bytes.Equal(vouched, honest) || n < 2) {
			t.Errorf("admitted as %x with vouch %x and nonce %d", peer.Key, vouched, n)
		}
	})
}

// FuzzReady puts arbitrary bytes into the box of READY, as a server can.
func FuzzReady(f *testing.F) {
	client, _ := midway(f)
	f.Add(serverMetadata.Append(nil), uint64(1))
	f.Add([]byte{0}, uint64(0))
	f.Fuzz(func(t *testing.T, metadata []byte, n uint64) {
		c := *client
		body := client.session.seal(appendNonce([]byte(nameReady), n), metadata, shortNonce(prefixReady, n))
		if _, err := c.openReady(body); err == nil && n == 0 {
			t.Error("nonce 0 is accepted")
		}
	})
}

// FuzzMessage puts arbitrary bytes into the box of a MESSAGE.
func FuzzMessage(f *testing.F) {
	client, server := midway(f)
	if err := server.session.compute(&server.client, server.transient); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{0}, uint64(3))
	f.Add([]byte{3, 'x'}, uint64(3))
	f.Add([]byte{4, 'x'}, uint64(2))
	f.Add([]byte{}, uint64(1<<64-1))
	f.Fuzz(func(t *testing.T, plain []byte, n uint64) {
		frame := client.session.seal(appendNonce([]byte(nameMessage), n), plain, shortNonce(prefixMessageClient, n))
		_, body, err := newOpener(&server.session, prefixMessageClient, 2).Open(0, frame)
		legal := n > 2 && len(plain) > 0 && plain[0] <= innerMore|innerCommand
		if (err == nil) != legal {
			t.Errorf("nonce %d, flags and body %x: %v", n, plain, err)
		}
		if err == nil && !bytes.Equal(body, plain[1:]) {
			t.Errorf("%x opens as %x", plain[1:], body)
		}
	})
}
