package hostile

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// pace is how long an attacker rests between two strikes. Attackers, broker and
// bystander share the processor here: without it the attackers' own arithmetic
// would be what is measured.
const pace = 10 * time.Millisecond

// swarm runs n attackers at once. Each strikes again and again until ctx ends.
func swarm(n int, strike func(ctx context.Context, t *testing.T, tg *target) error) attack {
	return func(ctx context.Context, t *testing.T, tg *target) error {
		var wg sync.WaitGroup
		found := make(chan error, n)
		for range n {
			wg.Go(func() {
				for ctx.Err() == nil {
					if err := strike(ctx, t, tg); err != nil && ctx.Err() == nil {
						found <- err
						return
					}
					rest(ctx, pace)
				}
			})
		}
		wg.Wait()
		close(found)
		return <-found
	}
}

// hold opens n connections, says something on each, and keeps them until ctx ends.
func hold(n int, say func(i int, conn net.Conn)) attack {
	return func(ctx context.Context, t *testing.T, tg *target) error {
		var conns []net.Conn
		for i := range n {
			conn, err := connect(ctx, tg.Frontend)
			if err != nil {
				break // ctx is over, or the backlog is full: no defect
			}
			say(i, conn)
			conns = append(conns, conn)
		}
		<-ctx.Done()
		for _, c := range conns {
			c.Close()
		}
		return nil
	}
}

// rest leaves the processor to the others between two strikes.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// bytesThen sends bytes on a new connection and wants to be expelled.
func bytesThen(b ...[]byte) func(context.Context, *testing.T, *target) error {
	return func(ctx context.Context, t *testing.T, tg *target) error {
		conn, err := connect(ctx, tg.Frontend)
		if err != nil {
			return nil
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(8 * time.Second))
		for _, part := range b {
			if _, err := conn.Write(part); err != nil {
				return nil
			}
		}
		got, err := io.ReadAll(conn)
		if isTimeout(err) && ctx.Err() == nil {
			return fmt.Errorf("%.20q is not expelled", b)
		}
		if len(got) > 64 {
			return fmt.Errorf("%.20q got %d bytes in answer", b, len(got))
		}
		return nil
	}
}

func size(flags byte, n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{flags}, n) }
