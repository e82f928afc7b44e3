package zmtp_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/zmtp"
)

// mustBeLast lets go of the test's part of b, and fails if that was not the last:
// one release more than there are owners panics.
func mustBeLast(t *testing.T, b *buffer.Buffer) {
	t.Helper()
	b.Release()
	defer func() {
		if recover() == nil {
			t.Error("memory is still held")
		}
	}()
	b.Release()
}

// filled returns n bytes of memory that tell one envelope from another.
func filled(seed uint64, n int) *buffer.Buffer {
	b := buffer.Of(make([]byte, n))
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = random.Read(b.Bytes)
	return b
}

// TestLink_sharedBodies passes envelopes of all sizes through a relay that keeps
// none of them but hands each on: what comes out is what went in, in order, each
// large one a message of its own, and nobody holds memory in the end.
func TestLink_sharedBodies(t *testing.T) {
	sizes := []int{1, 100, buffer.Large, 60_000, 65_535, 65_536, 65_537, 131_072, 131_073, 1_000_000, 4 << 20, 7}
	null := func() (server, client *zmtp.Config) {
		admit := func(zmtp.Metadata) (any, error) { return nil, nil }
		return &zmtp.Config{SocketType: "ROUTER", Mechanism: zmtp.Null{Admit: admit}}, &zmtp.Config{SocketType: "DEALER", Mechanism: zmtp.Null{}}
	}
	for name, endpoint := range map[string]func() (server, client *zmtp.Config){"NULL": null, "CURVE": secure} {
		t.Run(name, func(t *testing.T) {
			server, client := endpoint()
			addr := listen(t, server, func(l *zmtp.Link) {
				_ = l.Run(func(m *zmtp.Message) error {
					memory := m.Share()
					defer memory.Release()
					for rest := m.Bytes(); len(rest) > 0; {
						size := binary.BigEndian.Uint32(rest)
						body := rest[4 : 4+size]
						rest = rest[4+size:]
						if memory != nil && len(rest) > 0 && size >= buffer.Large {
							t.Errorf("an envelope of %d bytes has %d bytes of others behind it", size, len(rest))
						}
						if err := send(l, body, memory); err != nil {
							return err
						}
					}
					return nil
				})
			})
			l, err := zmtp.Dial(t.Context(), addr, client)
			if err != nil {
				t.Fatal(err)
			}
			const rounds = 5
			bodies := make([]*buffer.Buffer, 0, rounds*len(sizes))
			for i := range rounds * len(sizes) {
				bodies = append(bodies, filled(uint64(i), sizes[i%len(sizes)]))
			}
			got := 0
			ended := make(chan error, 1)
			go func() {
				ended <- l.Run(func(m *zmtp.Message) error {
					for rest := m.Bytes(); len(rest) > 0; got++ {
						size := binary.BigEndian.Uint32(rest)
						if !bytes.Equal(rest[4:4+size], bodies[got].Bytes) {
							t.Errorf("envelope %d of %d bytes is not what was sent", got, size)
						}
						rest = rest[4+size:]
					}
					if got == len(bodies) {
						return zmtp.ErrClosed
					}
					return nil
				})
			}()
			var sent uint64
			for _, b := range bodies {
				if err := send(l, b.Bytes, b); err != nil {
					t.Fatal(err)
				}
				sent += uint64(4 + len(b.Bytes))
			}
			if err := <-ended; !errors.Is(err, zmtp.ErrClosed) {
				t.Fatalf("the link ended with %v after %d envelopes of %d", err, got, len(bodies))
			}
			if l.Handed() != sent {
				t.Errorf("%d bytes were handed over, of %d", l.Handed(), sent)
			}
			for _, b := range bodies {
				mustBeLast(t, b)
			}
		})
	}
}

// send sends one envelope, a length and a body, as the compact protocol does.
func send(l *zmtp.Link, body []byte, memory *buffer.Buffer) error {
	head := func(dst []byte) []byte { return binary.BigEndian.AppendUint32(dst, uint32(len(body))) }
	var err error
	if len(body) < buffer.Large || memory == nil {
		_, err = l.Append(func(dst []byte) []byte { return append(head(dst), body...) })
	} else {
		_, err = l.AppendShared(head, body, memory)
	}
	return err
}

// TestLink_sharedBodiesOfADeadLink shows that what a link could not write is let
// go of when it ends, also what comes too late.
func TestLink_sharedBodiesOfADeadLink(t *testing.T) {
	server, client := secure()
	addr := listen(t, server, func(l *zmtp.Link) { _ = l.Run(func(*zmtp.Message) error { return nil }) })
	l, err := zmtp.Dial(t.Context(), addr, client)
	if err != nil {
		t.Fatal(err)
	}
	b := filled(1, 4<<20)
	var failed error
	for range 3 {
		if err := send(l, b.Bytes, b); err != nil {
			t.Fatal(err)
		}
	}
	l.Close(nil)
	_ = l.Run(func(*zmtp.Message) error { return nil })
	if failed = send(l, b.Bytes, b); !errors.Is(failed, zmtp.ErrClosed) {
		t.Errorf("a dead link takes an envelope: %v", failed)
	}
	mustBeLast(t, b)
}

// TestLink_panicInAppendShared shows that an envelope that cannot be built leaves
// nothing in the queue.
func TestLink_panicInAppendShared(t *testing.T) {
	server, client := secure()
	came := make(chan string, 1)
	addr := listen(t, server, func(l *zmtp.Link) {
		_ = l.Run(func(m *zmtp.Message) error { came <- string(m.Bytes()); return nil })
	})
	l, err := zmtp.Dial(t.Context(), addr, client)
	if err != nil {
		t.Fatal(err)
	}
	b := filled(1, buffer.Large)
	func() {
		defer func() { _ = recover() }()
		_, _ = l.AppendShared(func([]byte) []byte { panic("no method") }, b.Bytes, b)
	}()
	if err := l.Send([]byte("after")); err != nil {
		t.Fatal(err)
	}
	if got := <-came; got != "after" {
		t.Errorf("%d bytes came instead", len(got))
	}
	l.Close(nil)
	_ = l.Run(func(*zmtp.Message) error { return nil })
	mustBeLast(t, b)
}

// TestMessage_share keeps the first of many messages: those that follow do not
// touch it.
func TestMessage_share(t *testing.T) {
	server, client := secure()
	const messages = 50
	type kept struct {
		content buffer.Content
		of      *buffer.Buffer
	}
	came := make(chan kept, messages)
	addr := listen(t, server, func(l *zmtp.Link) {
		_ = l.Run(func(m *zmtp.Message) error {
			memory := m.Share()
			came <- kept{buffer.Keep(m.Bytes(), memory), memory}
			memory.Release()
			return nil
		})
	})
	l, err := zmtp.Dial(t.Context(), addr, client)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Run(func(*zmtp.Message) error { return nil }) }()
	defer l.Close(nil)
	var all []kept
	for i := range messages {
		b := filled(uint64(i), []int{100, 20_000, 70_000, 300_000}[i%4])
		if err := l.Send(b.Bytes); err != nil {
			t.Fatal(err)
		}
		k := <-came
		if large := len(b.Bytes) >= buffer.Large; (k.of != nil) != large {
			t.Errorf("a message of %d bytes can be shared: %v", len(b.Bytes), !large)
		}
		all = append(all, k)
	}
	for i, k := range all {
		if !bytes.Equal(k.content.Bytes, filled(uint64(i), len(k.content.Bytes)).Bytes) {
			t.Errorf("message %d has changed since it came", i)
		}
		k.content.Release()
	}
}
