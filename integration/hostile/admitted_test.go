package hostile

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
)

// With a client's key that the broker admits.
func TestAttack_clients(t *testing.T) { endureAll(t, byClients) }

// sdkDealer is the metadata of a peer that speaks the compact protocol.
const sdkDealer = dealer + "\x0eX-Servicetools\x00\x00\x00\x011"

// echoCall is a call in the plain protocol with n bytes for an argument.
func echoCall(n int) []byte {
	return append(append([]byte("\x82\xa6method\xa4echo\xa4args\x91\xc6"), binary.BigEndian.AppendUint32(nil, uint32(n))...), make([]byte, n)...)
}

var byClients = []assault{
	{"metadata: truncated, overlong, twice, unknown types", swarm(2, badMetadata)},
	{"frames of 2^62, 2^40, limit and one", swarm(2, inside(func(ctx context.Context, r *raw) error {
		announced := []uint64{1 << 62, 1 << 40, 17 << 20}
		if _, err := r.Write(size(2, announced[mathrand.IntN(len(announced))])); err != nil {
			return nil
		}
		return r.expelled()
	}))},
	{"endless MORE frames", swarm(2, inside(func(ctx context.Context, r *raw) error {
		for range 100 {
			if r.send(1, nil) != nil {
				return nil
			}
		}
		return r.expelled()
	}))},
	{"20 messages of 15 MiB half-sent", hold20(func(r *raw) {
		_, _ = r.Write(append(size(2, 15<<20), make([]byte, 64<<10)...))
	})},
	{"MESSAGE replayed", swarm(2, inside(func(ctx context.Context, r *raw) error {
		m := frame(0, r.message(0, []byte("\x80")))
		if _, err := r.Write(m); err != nil {
			return nil
		}
		if _, err := r.read(); err != nil { // the answer to a malformed request
			return err
		}
		if _, err := r.Write(m); err != nil {
			return nil
		}
		return r.expelled()
	}))},
	{"nonces that go backwards", swarm(2, inside(func(ctx context.Context, r *raw) error {
		a, b := frame(0, r.message(0, []byte("\x80"))), frame(0, r.message(0, []byte("\x80")))
		if _, err := r.Write(append(b, a...)); err != nil {
			return nil
		}
		if _, err := r.read(); err != nil { // the answer to b may come, but none to a
			return nil
		}
		return r.expelled()
	}))},
	{"plain frames within a CURVE connection", swarm(2, inside(func(ctx context.Context, r *raw) error {
		if _, err := r.Write(frame(0, []byte("\x81\xa6method\xa4echo"))); err != nil {
			return nil
		}
		return r.expelled()
	}))},
	{"4 readers that never read", neverRead(echoCall(60000))},
	{"PING flood, unread", neverRead(nil)},
	{"garbage requests", swarm(2, inside(func(ctx context.Context, r *raw) error {
		b := make([]byte, 200)
		for range 50 {
			_, _ = rand.Read(b)
			if r.send(0, b) != nil {
				return nil
			}
			if _, err := r.read(); err != nil { // each is answered
				return fmt.Errorf("a garbage request is not answered: %w", err)
			}
		}
		return nil
	}))},
	{"garbage envelopes", swarm(2, insideAs("attacker", sdkDealer, func(ctx context.Context, r *raw) error {
		b := make([]byte, 200)
		_, _ = rand.Read(b)
		if r.send(0, b) != nil {
			return nil
		}
		return r.expelled()
	}))},
	{"envelopes with wrong bytes", swarm(2, insideAs("attacker", sdkDealer, func(ctx context.Context, r *raw) error {
		return mutated(r,
			envelope(1, 0, "\x81\xa7session\xc4\x10"+strings.Repeat("s", 16)),
			flagged(5, 1, 1, "\x00\x00\x03\xe8\x00\x01\x04\x01echok\x91\x01\xc0"), flagged(5, 2, 2, "\x00\x00\x00\x00\x00\x00\x04\x00echo\x91\x01\xc0"),
			envelope(6, 1, ""), envelope(11, 1, "\x00\x00\x00\x00\x00\x00\x00\x20"), envelope(12, 1, ""), envelope(15, 0, "\x80"))
	}))},
	{"a client that speaks as a worker", swarm(2, insideAs("attacker", sdkDealer, func(ctx context.Context, r *raw) error {
		register := "\x83\xa6worker\xa1w\xabconcurrency\x01\xa7methods\x91\x81\xa4name\xa4echo"
		if r.send(0, envelope(3, 0, register)) != nil {
			return nil
		}
		return r.expelled()
	}))},
	{"sessions opened and left", swarm(2, insideAs("attacker", sdkDealer, func(ctx context.Context, r *raw) error {
		var id [16]byte
		_, _ = rand.Read(id[:])
		_ = r.send(0, envelope(1, 0, "\x81\xa7session\xc4\x10"+string(id[:])))
		_, _ = r.read()
		return nil
	}))},
	{"counts of outcomes that never were", swarm(2, insideAs("attacker", sdkDealer, func(ctx context.Context, r *raw) error {
		var id [16]byte
		_, _ = rand.Read(id[:])
		_ = r.send(0, envelope(1, 0, "\x81\xa7session\xc4\x10"+string(id[:])))
		if _, err := r.read(); err != nil {
			return err
		}
		if r.send(0, envelope(12, 1<<60, "")) != nil {
			return nil
		}
		return r.expelled()
	}))},
}

// With a worker's key that the broker admits.
func TestAttack_workers(t *testing.T) { endureAll(t, byWorkers) }

// backend strikes from an admitted worker's connection.
func backend(metadata string, strike func(context.Context, *raw) error) attack {
	return swarm(1, func(ctx context.Context, tg *target) error {
		r, err := tg.enter(ctx, tg.Backend, "worker", metadata)
		if err != nil {
			return nil
		}
		defer r.Close()
		return strike(ctx, r)
	})
}

const (
	rep      = "\x0bSocket-Type\x00\x00\x00\x03REP"
	register = "\x83\xa6worker\xa1w\xabconcurrency\x01\xa7methods\x91\x81\xa4name\xa5other"
)

var byWorkers = []assault{
	{"a REP worker without an envelope", backend(rep, func(ctx context.Context, r *raw) error {
		if r.send(0, []byte("\x81\xa6result\x01")) != nil {
			return nil
		}
		return r.expelled()
	})},
	{"forged tokens of an SDK worker", backend(sdkDealer, func(ctx context.Context, r *raw) error {
		if r.send(0, envelope(3, 0, register)) != nil {
			return nil
		}
		if _, err := r.read(); err != nil {
			return err
		}
		for i := range 50 {
			if r.send(0, envelope(7, uint64(i), "\x01")) != nil {
				return nil
			}
		}
		return nil
	})},
	{"envelopes of a worker with wrong bytes", backend(sdkDealer, func(ctx context.Context, r *raw) error {
		origin := strings.Repeat("o", 24)
		return mutated(r,
			envelope(3, 0, register), envelope(7, 1, "\x01"), envelope(8, 2, "\x82\xa4code\xa1x\xa7message\xa1y"),
			envelope(9, 3, "\x00\x00\x00\x00\x00\x00\x00\x00\x01"), flagged(10, 0x18, 0, origin+"\x93\x01\x02\xa1n"),
			flagged(7, 8, 0, origin+"\x01"), envelope(13, 5, ""), envelope(15, 0, "\x80"))
	})},
	{"a worker that speaks as a client", backend(sdkDealer, func(ctx context.Context, r *raw) error {
		if r.send(0, envelope(1, 0, "\x81\xa7session\xc4\x10"+strings.Repeat("s", 16))) != nil {
			return nil
		}
		return r.expelled()
	})},
	{"a REGISTER of 8 Mi methods", backend(sdkDealer, func(ctx context.Context, r *raw) error {
		body := "\x83\xa6worker\xa1w\xabconcurrency\x01\xa7methods\xdd\x00\x80\x00\x00" + strings.Repeat("\xc0", 8<<20)
		_ = r.send(0, envelope(3, 0, body))
		rest(ctx, 20*pace)
		return nil
	})},
	{"garbage envelopes of a worker", backend(sdkDealer, func(ctx context.Context, r *raw) error {
		b := make([]byte, 200)
		_, _ = rand.Read(b)
		if r.send(0, b) != nil {
			return nil
		}
		return r.expelled()
	})},
}

// envelope encodes a compact envelope without flags.
func envelope(kind byte, id uint64, body string) []byte { return flagged(kind, 0, id, body) }

func flagged(kind, flags byte, id uint64, body string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(12+len(body)))
	b = append(b, kind, flags, 0, 0)
	b = binary.BigEndian.AppendUint64(b, id)
	return append(b, body...)
}

// mutated sends envelopes of which some bytes behind the sizes are wrong, so
// that they pass the box and most of the parser. How it ends is the target's affair.
func mutated(r *raw, envelopes ...[]byte) error {
	for range 3 {
		e := envelopes[mathrand.IntN(len(envelopes))]
		e[4+mathrand.IntN(len(e)-4)] ^= byte(1 << mathrand.IntN(8))
	}
	for _, e := range envelopes {
		if r.send(0, e) != nil {
			return nil
		}
	}
	_, _ = r.read()
	return nil
}

// inside strikes from an admitted connection.
func inside(strike func(context.Context, *raw) error) func(context.Context, *target) error {
	return insideAs("attacker", dealer, strike)
}

func insideAs(key, metadata string, strike func(context.Context, *raw) error) func(context.Context, *target) error {
	return func(ctx context.Context, tg *target) error {
		r, err := tg.enter(ctx, tg.Frontend, key, metadata)
		for range 10 { // a busy machine may be too slow for the time that a peer has
			if err == nil || ctx.Err() != nil {
				break
			}
			r, err = tg.enter(ctx, tg.Frontend, key, metadata)
		}
		if err != nil {
			return fmt.Errorf("an admitted key does not get in: %w", err)
		}
		defer r.Close()
		return strike(ctx, r)
	}
}

func badMetadata(ctx context.Context, tg *target) error {
	for _, m := range []string{
		"", "\x0bSocket-Type\x00\x00\x00\x03FOO", "\x0bSocket-Type\x00\x00\x00\x03REP", dealer + dealer,
		"\x0bSocket-Type\x00\x00\x00\x07DEALER", "\x0bSocket-Type\xff\xff\xff\xffDEALER", "\x0bSocket-Type\x00\x00", "\xff",
		dealer + strings.Repeat("\x01a\x00\x00\x00\x00", 40), dealer + "\x01a\x00\x00\x05\x00" + strings.Repeat("v", 0x500),
		dealer + "\x0eX-Servicetools\x00\x00\x00\x012", dealer + "\x00\x00\x00\x00\x00",
	} {
		r, err := tg.meet(ctx, tg.Frontend, "attacker")
		if err != nil {
			return nil
		}
		defer r.Close()
		if r.command(r.initiate(m)) != nil {
			return nil
		}
		if err := r.expelled(); err != nil && ctx.Err() == nil {
			return fmt.Errorf("metadata %.30q: %w", m, err)
		}
	}
	return nil
}

// hold20 keeps 20 admitted connections until ctx ends.
func hold20(say func(r *raw)) attack {
	return func(ctx context.Context, tg *target) error {
		for range 20 {
			r, err := tg.enter(ctx, tg.Frontend, "attacker", dealer)
			if err != nil {
				break
			}
			defer r.Close()
			say(r)
			strikes.Add(1)
		}
		<-ctx.Done()
		return nil
	}
}

// neverRead sends requests, or PINGs, and reads none of the answers.
func neverRead(request []byte) attack {
	return swarm(4, inside(func(ctx context.Context, r *raw) error {
		_ = r.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		stop := context.AfterFunc(ctx, func() { r.Close() })
		defer stop()
		ping := []byte("\x04PING\x00\x00sixteen bytes ..")
		for ctx.Err() == nil {
			var err error
			if request != nil {
				err = r.send(0, request)
				rest(ctx, pace)
			} else {
				batch := make([]byte, 0, 10000)
				for range 100 {
					batch = append(batch, frame(0, r.message(2, ping))...)
				}
				_, err = r.Write(batch)
				rest(ctx, pace)
			}
			if err != nil {
				return nil // cut, as it should be
			}
			strikes.Add(1)
		}
		return nil
	}))
}

// maxCrowd is the limit of a target whose keys come too often.
const maxCrowd = 40

// One key gets so many connections, and an SDK is told why it gets no more.
func TestAttack_connectionsOfOneKey(t *testing.T) {
	tg := aim(t, fmt.Sprintf("%s=%d", crowdEnv, maxCrowd))
	tg.work(t)
	endure(t, tg, solitary[2].name)
}

// held are the connections that crowd has been given.
var held struct {
	sync.Mutex
	conns []*raw
}

// crowd enters and stays.
func crowd(ctx context.Context, tg *target) error {
	r, err := tg.meet(ctx, tg.Frontend, "attacker")
	if err != nil {
		return nil
	}
	if r.command(r.initiate(sdkDealer)) != nil {
		return nil
	}
	body, err := r.read()
	switch {
	case err != nil:
		return nil
	case strings.HasPrefix(string(body), "\x05READY"):
		held.Lock()
		defer held.Unlock()
		if held.conns = append(held.conns, r); len(held.conns) > maxCrowd {
			return fmt.Errorf("the key has %d connections", len(held.conns))
		}
		return nil
	case len(body) > 7 && strings.HasPrefix(string(body[7:]), "300 "): // behind its length
		return r.expelled()
	}
	return fmt.Errorf("it got %q instead of ERROR 300", body)
}
