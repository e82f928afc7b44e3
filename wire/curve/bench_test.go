package curve

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/servicetools/servicetools/wire/zmtp"
)

func BenchmarkRecord(b *testing.B) {
	for _, size := range []int{64, 1 << 10, 64 << 10} {
		plain := make([]byte, 1+size)
		c, s := established(b)
		b.Run(fmt.Sprintf("seal/%d", size), func(b *testing.B) {
			wire := make([]byte, 0, len(plain)+c.Sealer.Overhead())
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				wire, _ = c.Sealer.Seal(wire[:0], 0, plain)
			}
		})
		b.Run(fmt.Sprintf("open/%d", size), func(b *testing.B) {
			_, frame, err := readFrame(bytes.NewReader(seal(b, c.Sealer, 0, string(plain[1:]))), 1<<20)
			if err != nil {
				b.Fatal(err)
			}
			o := s.Opener.(*opener)
			room := make([]byte, len(frame))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				o.received = 0
				copy(room, frame)
				if _, _, err := o.Open(0, room); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkHandshake measures both sides; the server's part alone is in
// BenchmarkServerHandshake.
func BenchmarkHandshake(b *testing.B) {
	client, server := pair()
	b.ReportAllocs()
	for b.Loop() {
		c, s, cc, sc := shake(b, client, server)
		if c.err != nil || s.err != nil {
			b.Fatal(c.err, s.err)
		}
		cc.Close()
		sc.Close()
	}
}

// BenchmarkServerHandshake is the server's computation for one client.
func BenchmarkServerHandshake(b *testing.B) {
	client, server := pair()
	random := rand.NewChaCha8([32]byte{})
	c := &clientSide{client: client, random: random}
	var greet hello
	if err := c.sealHello(&greet); err != nil {
		b.Fatal(err)
	}
	var initiate []byte
	b.ReportAllocs()
	for b.Loop() {
		random.Seed([32]byte{}) // the same S' and cookie for ever, so that one INITIATE answers all
		h := &serverSide{server: server, random: random}
		var reply welcome
		if err := errors.Join(h.openHello(greet[:]), h.sealWelcome(&reply)); err != nil {
			b.Fatal(err)
		}
		if initiate == nil {
			if err := c.openWelcome(reply[:]); err != nil {
				b.Fatal(err)
			}
			m, err := c.sealInitiate(clientMetadata)
			if err != nil {
				b.Fatal(err)
			}
			initiate = m
		}
		var peer zmtp.Security
		if err := h.openInitiate(initiate, &peer); err != nil {
			b.Fatal(err)
		}
		if _, err := h.sealReady(serverMetadata); err != nil {
			b.Fatal(err)
		}
	}
}
