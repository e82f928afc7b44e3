package hostile

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// assault is one attack, by its name in the table.
type assault struct {
	name   string
	strike attack
}

// attack is what an attacker does until it is done or ctx ends. What it returns
// is a defect of the target; that its own connections end is none.
type attack func(ctx context.Context, tg *target) error

// aside is how attackers run: on what the others leave of the processors
// (SCHED_IDLE). In life an attacker has a machine of its own; here it shares one
// with the broker and the bystander, and its own arithmetic must not be what is
// measured.
var aside = []string{"chrt", "-i", "0"}

// attackers is the process of an attack.
type attackers struct{ *child }

// report is what attackers say at the end.
type report struct {
	Strikes int64 // while the bystander was watched
	Defect  string
}

// threaten starts the process of an attack, which waits for its command.
func (tg *target) threaten(t *testing.T, name string) attackers {
	t.Helper()
	a := attackers{spawn(t, aside, attackEnv+"="+name)}
	described, err := json.Marshal(tg)
	if err != nil {
		t.Fatal(err)
	}
	a.tell(t, string(described))
	a.hear(t, new(bool))
	return a
}

// strikes counts what the attackers of this process did.
var strikes atomic.Int64

// strike is the process of an attack: it reads the target, then two lines, to
// begin and to end.
func strike(name string) error {
	all := slices.Concat(unauthenticated, byClients, byWorkers, solitary)
	i := slices.IndexFunc(all, func(a assault) bool { return a.name == name })
	if i < 0 {
		return fmt.Errorf("there is no attack %q", name)
	}
	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	var tg target
	in.Scan()
	if err := errors.Join(json.Unmarshal(in.Bytes(), &tg), tg.load(), out.Encode(true)); err != nil {
		return err
	}
	in.Scan()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var r report
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		in.Scan()
		r.Strikes = strikes.Load()
		cancel()
	}()
	err := all[i].strike(ctx, &tg)
	<-ended
	if err != nil {
		r.Defect = err.Error()
	}
	return out.Encode(r)
}

// pace is how long an attacker rests between two strikes.
const pace = 10 * time.Millisecond

// swarm runs n attackers at once. Each strikes again and again until ctx ends,
// and once in any case, however busy the machine is.
func swarm(n int, strike func(ctx context.Context, tg *target) error) attack {
	return func(ctx context.Context, tg *target) error {
		var wg sync.WaitGroup
		found := make(chan error, n)
		for range n {
			wg.Go(func() {
				during := context.WithoutCancel(ctx)
				for {
					if err := strike(during, tg); err != nil && during.Err() == nil {
						found <- err
						return
					}
					strikes.Add(1)
					during = ctx
					if rest(ctx, pace); ctx.Err() != nil {
						return
					}
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
	return func(ctx context.Context, tg *target) error {
		var conns []net.Conn
		for i := range n {
			conn, err := connect(ctx, tg.Frontend)
			if err != nil {
				break // ctx is over, or the backlog is full: no defect
			}
			say(i, conn)
			conns = append(conns, conn)
			strikes.Add(1)
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
func bytesThen(b ...[]byte) func(context.Context, *target) error {
	return func(ctx context.Context, tg *target) error {
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
