package broker

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/servicetools/servicetools/wire/zmtp"
)

// A peer is dead when it has been silent for three intervals, to the
// millisecond, however many others there are; those that live stay.
func TestLinks_silentPeersEndInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval, peers = 5 * time.Second, 20
		var l links
		ctx := t.Context()
		go l.watch(ctx, interval)
		type end struct {
			after time.Duration // since its last byte
			cause error
		}
		ends := make(chan end, peers)
		for i := range peers {
			ours, theirs := pipe(t)
			server := make(chan *zmtp.Link, 1)
			go func() {
				link, err := zmtp.Handshake(ctx, ours, &zmtp.Config{SocketType: "ROUTER", Mechanism: zmtp.Null{Admit: admitAll}})
				if err != nil {
					t.Error(err)
				}
				server <- link
			}()
			_, err := zmtp.Handshake(ctx, theirs, &zmtp.Config{SocketType: "DEALER", Mechanism: zmtp.Null{}})
			if err != nil {
				t.Fatal(err)
			}
			link := <-server
			if !l.add(link, identity{}, peers) {
				t.Fatal("the books are full")
			}
			go func() {
				cause := link.Run(func(*zmtp.Message) error { return nil })
				ends <- end{time.Since(link.LastRead()), cause}
				l.remove(link)
			}()
			go func() { // lives for a while, then hangs: its kernel still takes what comes
				for range i {
					time.Sleep(interval * 2 / 3)
					_, _ = theirs.Write([]byte("\x04\x07\x04PING\x00\x00")) // never fails
				}
			}()
			go func() { _, _ = io.Copy(io.Discard, theirs) }()
			time.Sleep(137 * time.Millisecond)
		}
		for range peers {
			e := <-ends
			if !errors.Is(e.cause, zmtp.ErrSilent) || e.after < deadAfter*interval || e.after > deadAfter*interval+time.Millisecond {
				t.Errorf("a link ended %v after its last byte, in %v", e.after, e.cause)
			}
		}
		synctest.Wait()
		if l.len() != 0 || len(l.beats) != 0 {
			t.Errorf("%d links are left, %d beats", l.len(), len(l.beats))
		}
	})
}

func admitAll(zmtp.Metadata) (any, error) { return nil, nil }

// buffered is an end of a pipe that takes what is written at once, as a kernel does.
type buffered struct {
	net.Conn
	written chan []byte
}

func pipe(t *testing.T) (a, b net.Conn) {
	x, y := net.Pipe()
	t.Cleanup(func() { x.Close(); y.Close() })
	return newBuffered(t, x), newBuffered(t, y)
}

func newBuffered(t *testing.T, c net.Conn) net.Conn {
	b := &buffered{c, make(chan []byte, 1000)}
	go func() {
		for {
			select {
			case p := <-b.written:
				_, _ = c.Write(p) // the other end may be gone
			case <-t.Context().Done():
				return
			}
		}
	}()
	return b
}

func (b *buffered) Write(p []byte) (int, error) {
	b.written <- append([]byte(nil), p...)
	return len(p), nil
}
