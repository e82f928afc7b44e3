package hostile

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Without any key, or with the server's public key only. (hazards B)
func TestAttack_unauthenticated(t *testing.T) { endureAll(t, unauthenticated) }

var unauthenticated = []assault{
	{"1,000 silent connections", hold(1000, func(int, net.Conn) {})},
	{"500 that stop within the greeting", hold(500, func(i int, c net.Conn) { _, _ = c.Write(greeting[:i%64]) })},
	{"100 greetings of a byte now and then", trickle},
	{"200 that stop behind the greeting", hold(200, func(_ int, c net.Conn) { _, _ = c.Write(greeting) })},
	{"other protocols on the port", swarm(4, bytesThen([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")))},
	{"ZMTP 1 and 2 peers", swarm(4, bytesThen([]byte("\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x01\x05\x00\x00"), make([]byte, 50)))},
	{"NULL and PLAIN peers", swarm(4, bytesThen(bytes.Replace(greeting, []byte("CURVE"), []byte("PLAIN"), 1)))},
	{"a command of 2^62 bytes (A1b)", swarm(4, bytesThen(greeting, size(6, 1<<62)))},
	{"a command of 2^40 bytes (A1b)", swarm(4, bytesThen(greeting, size(6, 1<<40)))},
	{"a command of the limit and one", swarm(4, bytesThen(greeting, []byte{4, 201}, make([]byte, 201)))},
	{"endless MORE frames before HELLO (A1b3)", swarm(4, bytesThen(greeting, bytes.Repeat([]byte{1, 0}, 5000)))},
	{"random bytes behind the greeting", swarm(4, func(ctx context.Context, tg *target) error {
		b := make([]byte, 300)
		_, _ = rand.Read(b)
		return bytesThen(greeting, b, b)(ctx, tg)
	})},
	{"10,000 that connect and drop", dropTenThousand},
	{"HELLOs made for another server", swarm(8, wrongServer)},
	{"HELLO flood: 4 peers, each gone after it", swarm(4, helloAndGo)},
	{"HELLO flood: 64 peers, as fast as they are answered", helloFlood},
	{"the zero key and keys of low order", swarm(4, lowOrder)},
	{"100 that stop behind WELCOME", stopBehindWelcome},
	{"INITIATE replayed on another connection", swarm(2, replayInitiate)},
	{"the cookie of another connection", swarm(2, foreignCookie)},
	{"INITIATE twice, and HELLO twice", swarm(2, twice)},
	{"a vouch for another server (A3.6)", swarm(2, foreignVouch)},
}

func trickle(ctx context.Context, tg *target) error {
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			conn, err := connect(ctx, tg.Frontend)
			if err != nil {
				return
			}
			defer conn.Close()
			strikes.Add(1)
			for _, c := range greeting {
				if _, err := conn.Write([]byte{c}); err != nil {
					return
				}
				if rest(ctx, 100*time.Millisecond); ctx.Err() != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return nil
}

func dropTenThousand(ctx context.Context, tg *target) error {
	ctx = context.WithoutCancel(ctx) // all of them, however long it takes
	for i := range 10000 {
		conn, err := connect(ctx, tg.Frontend)
		if err != nil {
			return err
		}
		if i%2 == 0 {
			_, _ = conn.Write(greeting)
		}
		conn.Close()
		if i%16 == 0 {
			rest(ctx, time.Millisecond)
		}
		strikes.Add(1)
	}
	return nil
}

func wrongServer(ctx context.Context, tg *target) error {
	r, err := tg.open(ctx, tg.Frontend, "client")
	if err != nil {
		return nil
	}
	defer r.Close()
	r.server[0] ^= 1
	if r.command(r.hello()) != nil {
		return nil
	}
	return r.expelled()
}

// helloAndGo makes the target compute, and does not wait for the result.
func helloAndGo(ctx context.Context, tg *target) error {
	r, err := tg.open(ctx, tg.Frontend, "client")
	if err != nil {
		return nil
	}
	_ = r.command(r.hello())
	r.Close()
	return nil
}

// helloFlood makes the target compute as fast as it can and computes nothing
// itself: every connection replays the same HELLO, which is good enough for a
// WELCOME.
func helloFlood(ctx context.Context, tg *target) error {
	r, err := tg.open(ctx, tg.Frontend, "client")
	if err != nil {
		return nil
	}
	defer r.Close()
	recorded := append(greeting[:len(greeting):len(greeting)], frame(4, r.hello())...)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			answer := make([]byte, 64+2+168)
			for ctx.Err() == nil {
				conn, err := connect(ctx, tg.Frontend)
				if err != nil {
					continue // the backlog is full
				}
				if _, err = conn.Write(recorded); err == nil {
					_, err = io.ReadFull(conn, answer)
				}
				conn.Close()
				if err == nil {
					strikes.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return nil
}

func lowOrder(ctx context.Context, tg *target) error {
	for _, point := range [][]byte{make([]byte, 32), append([]byte{1}, make([]byte, 31)...)} {
		r, err := tg.open(ctx, tg.Frontend, "client")
		if err != nil {
			return nil
		}
		defer r.Close()
		m := r.hello()
		copy(m[80:112], point)
		if r.command(m) != nil {
			return nil
		}
		if err := r.expelled(); err != nil {
			return err
		}
	}
	return nil
}

func stopBehindWelcome(ctx context.Context, tg *target) error {
	for range 100 {
		if _, err := tg.meet(ctx, tg.Frontend, "client"); err != nil {
			break
		}
		strikes.Add(1)
	}
	<-ctx.Done()
	return nil
}

func replayInitiate(ctx context.Context, tg *target) error {
	first, err := tg.meet(ctx, tg.Frontend, "attacker")
	if err != nil {
		return nil
	}
	defer first.Close()
	recorded := first.initiate(dealer)
	if err := first.command(recorded); err != nil || first.ready() != nil {
		return nil
	}
	second, err := tg.meet(ctx, tg.Frontend, "attacker")
	if err != nil {
		return nil
	}
	defer second.Close()
	if second.command(recorded) != nil {
		return nil
	}
	return second.expelled()
}

func foreignCookie(ctx context.Context, tg *target) error {
	a, err := tg.meet(ctx, tg.Frontend, "attacker")
	if err != nil {
		return nil
	}
	defer a.Close()
	b, err := tg.meet(ctx, tg.Frontend, "attacker")
	if err != nil {
		return nil
	}
	defer b.Close()
	b.cookie = a.cookie
	if b.command(b.initiate(dealer)) != nil {
		return nil
	}
	return b.expelled()
}

func twice(ctx context.Context, tg *target) error {
	r, err := tg.meet(ctx, tg.Frontend, "attacker")
	if err != nil {
		return nil
	}
	defer r.Close()
	if r.command(r.hello()) != nil {
		return nil
	}
	if err := r.expelled(); err != nil {
		return err
	}
	again, err := tg.meet(ctx, tg.Frontend, "attacker")
	if err != nil {
		return nil
	}
	defer again.Close()
	m := again.initiate(dealer)
	if again.command(m) != nil || again.ready() != nil || again.command(m) != nil {
		return nil
	}
	return again.expelled()
}

func foreignVouch(ctx context.Context, tg *target) error {
	r, err := tg.meet(ctx, tg.Frontend, "attacker")
	if err != nil {
		return nil
	}
	defer r.Close()
	r.server[5] ^= 1 // S in the vouch
	if r.command(r.initiate(dealer)) != nil {
		return nil
	}
	return r.expelled()
}

// solitary are attacks with a target of their own.
var solitary = []assault{
	{"200 silent connections for 64 descriptors", hold(200, func(int, net.Conn) {})},
	{"every byte of HELLO, INITIATE, MESSAGE flipped", flipEveryByte},
	{"a key that connects without end", swarm(4, crowd)},
}

// Out of file descriptors: accept rests, whoever is in stays, and silent peers
// make room. (hazards A1j)
func TestAttack_descriptorsExhausted(t *testing.T) {
	tg := aim(t, filesEnv+"=64")
	tg.work(t)
	endure(t, tg, solitary[0].name)
}

// Each byte of each command of the handshake, flipped, ends the connection; so
// does each byte of a MESSAGE.
func TestAttack_everyByteFlipped(t *testing.T) {
	tg := aim(t)
	tg.work(t)
	endure(t, tg, solitary[1].name)
}

func flipEveryByte(ctx context.Context, tg *target) error {
	ctx = context.WithoutCancel(ctx) // all of them, however long it takes
	lengths := map[string]int{}
	probe, err := tg.meet(ctx, tg.Frontend, "attacker")
	if err != nil {
		return err
	}
	lengths["HELLO"], lengths["INITIATE"] = 200, len(probe.initiate(dealer))
	lengths["MESSAGE"] = len(probe.message(0, []byte("\x80")))
	probe.Close()
	var wg sync.WaitGroup
	slots := make(chan struct{}, 32)
	var mu sync.Mutex
	var defects []error
	for name, n := range lengths {
		for i := range n {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				struck, err := false, error(nil)
				for range 10 { // a busy machine may be too slow for the time that a peer has
					if struck, err = flip(ctx, tg, name, i); struck {
						strikes.Add(1)
						break
					}
				}
				if err != nil {
					mu.Lock()
					defects = append(defects, fmt.Errorf("byte %d of %s flipped: %w", i, name, err))
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	return errors.Join(defects...)
}

// flip enters with one wrong bit, and reports whether it came so far.
func flip(ctx context.Context, tg *target, name string, i int) (struck bool, err error) {
	r, err := tg.open(ctx, tg.Frontend, "attacker")
	if err != nil {
		return false, err
	}
	defer r.Close()
	for _, step := range []struct {
		name string
		make func() []byte
		next func() error
	}{
		{"HELLO", r.hello, r.welcome},
		{"INITIATE", func() []byte { return r.initiate(dealer) }, r.ready},
		{"MESSAGE", func() []byte { return r.message(0, []byte("\x80")) }, nil},
	} {
		m := step.make()
		flags := byte(4)
		if step.name == "MESSAGE" {
			flags = 0
		}
		if step.name == name {
			m[i] ^= 1 << (i % 7) // the top bit of a key's last byte counts for nothing (RFC 7748)
		}
		if _, err := r.Write(frame(flags, m)); err != nil {
			return false, err
		}
		if step.name == name {
			return true, r.expelled()
		}
		if err := step.next(); err != nil {
			return false, err
		}
	}
	return false, nil
}
