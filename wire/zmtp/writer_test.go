package zmtp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func nullLink(conn net.Conn, limits Limits) *Link {
	return newLink(conn, Security{Sealer: nullRecord{}, Opener: nullRecord{}}, limits.withDefaults())
}

func ignore(*Message) error { return nil }

// Whether a call may run again hangs on this: what a dying peer may have read
// counts as handed over, and what it cannot have read does not.
func TestLink_handedIsExactWhenAWriteFails(t *testing.T) {
	sizes := []int{100, 300, 1, 70000, 10}
	type end struct{ wire, stream int } // of each message
	var ends []end
	var at end
	for _, n := range sizes {
		at.wire += len(AppendFrameHeader(nil, 0, n)) + n
		at.stream += n
		ends = append(ends, at)
	}
	for _, room := range []int{0, 1, 101, 102, 103, 410, 411, 412, 414, 415, 60000, 70423, 70424, 70435, 70436} {
		l := nullLink(newNarrowConn(room), Limits{})
		l.mu.Lock() // so that all leaves in one batch
		for _, n := range sizes {
			l.queueLocked(0, make([]byte, n))
		}
		l.wakeLocked()
		if room >= at.wire {
			l.closing = true
		}
		l.mu.Unlock()
		if err := l.Run(ignore); room < at.wire && !errors.Is(err, ErrSlowPeer) {
			t.Fatalf("ended with %v", err)
		}
		want := 0
		for _, e := range ends {
			if e.wire <= room {
				want = e.stream
			}
		}
		if got := l.Handed(); got != uint64(want) {
			t.Errorf("%d bytes were taken, which hold %d of the stream; Handed is %d", room, want, got)
		}
	}
}

// A batch may not grow beyond the peer's message limit though each envelope is within it.
func TestLink_largeEnvelopeLeavesTheBatch(t *testing.T) {
	const limit = 1 << 20
	small := &Config{SocketType: "ROUTER", Mechanism: Null{}, Limits: Limits{MaxMessage: limit}}
	router, dealer := pair(t, small, &Config{SocketType: "DEALER", Mechanism: Null{}})
	var want []byte
	dealer.mu.Lock()
	dealer.writing = true // holds the write loop back
	dealer.mu.Unlock()
	for i, n := range []int{60000, limit, 10, 60000, 100000, 5} {
		b := bytes.Repeat([]byte{byte('a' + i)}, n)
		want = append(want, b...)
		if start, err := dealer.Append(func(dst []byte) []byte { return append(dst, b...) }); err != nil || start != uint64(len(want)-n) {
			t.Fatal(start, err)
		}
	}
	go dealer.loop()
	var got []byte
	ended := run(router, func(m *Message) error {
		got = append(got, m.Bytes()...)
		if len(got) == len(want) {
			router.Close(nil)
		}
		return nil
	})
	if err := <-ended; !errors.Is(err, ErrClosed) || !bytes.Equal(got, want) {
		t.Errorf("ended with %v after %d bytes of %d", err, len(got), len(want))
	}
	dealer.Close(nil)
	_ = dealer.Run(ignore)
}

// An envelope that cannot be built is its maker's defect, not the link's end.
func TestLink_panicInAppendLeavesTheQueueWhole(t *testing.T) {
	router, dealer := nullPair(t)
	func() {
		defer func() { _ = recover() }()
		_, _ = dealer.Append(func([]byte) []byte { panic("no method") })
	}()
	if err := dealer.Send([]byte("after")); err != nil {
		t.Fatal(err)
	}
	var got []byte
	err := router.Run(func(m *Message) error {
		if got = append(got, m.Bytes()...); string(got) == "after" {
			return io.EOF
		}
		return nil
	})
	if err != io.EOF || string(got) != "after" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestLink_peerThatReadsNothingIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := nullLink(stuckConn{newNarrowConn(0)}, Limits{MaxPending: 1000})
		ended := run(l, ignore)
		for range 11 {
			if err := l.Send(make([]byte, 100)); err != nil {
				t.Fatalf("cut after %d bytes: %v", l.Pending(), err)
			}
		}
		if err := l.Send(nil); err != nil {
			t.Errorf("a burst alone is not slowness: %v", err)
		}
		time.Sleep(stallBoundForTest + time.Millisecond)
		if err := l.Send(nil); !errors.Is(err, ErrSlowPeer) {
			t.Errorf("after a second: %v, want ErrSlowPeer", err)
		}
		if err := <-ended; !errors.Is(err, ErrSlowPeer) {
			t.Errorf("the link ended with %v", err)
		}
	})
}

const stallBoundForTest = time.Duration(stallBound)

// However busily a peer reads, what waits for it is bounded.
func TestLink_backlogIsBoundedForABusyPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := nullLink(stuckConn{newNarrowConn(0)}, Limits{MaxPending: 1000})
		ended := run(l, ignore)
		n := 0
		for l.Send(make([]byte, 100)) == nil {
			n++
		}
		if n < maxBacklog*1000/101 || n > (maxBacklog+1)*1000/101+1 {
			t.Errorf("%d messages of 100 bytes were taken with a bound of %d bytes", n, maxBacklog*1000)
		}
		if err := <-ended; !errors.Is(err, ErrSlowPeer) {
			t.Errorf("the link ended with %v", err)
		}
	})
}

func TestLink_writeThatStallsCutsThePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		l := nullLink(ours, Limits{WriteWait: 10 * time.Second})
		ended := run(l, ignore)
		if err := l.Send([]byte("x")); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := <-ended; !errors.Is(err, ErrSlowPeer) || time.Since(began) != 10*time.Second {
			t.Errorf("ended with %v after %v", err, time.Since(began))
		}
	})
}

// A large message may take longer than WriteWait as long as the peer reads it.
func TestLink_slowButSteadyReaderIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		l := nullLink(ours, Limits{WriteWait: 10 * time.Second})
		ended := run(l, ignore)
		if err := l.Send(make([]byte, 2<<20)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 64<<10)
		for range 32 { // 32 KiB/s: 8 s for each write
			time.Sleep(2 * time.Second)
			if _, err := io.ReadFull(theirs, b); err != nil {
				t.Fatal(err)
			}
		}
		theirs.Close()
		if err := <-ended; errors.Is(err, ErrSlowPeer) {
			t.Errorf("ended with %v", err)
		}
	})
}

// A flood of PINGs from a peer that does not read is not answered without bound.
func TestLink_pingFloodIsNotAnsweredWithoutBound(t *testing.T) {
	ping := append([]byte{FlagCommandByte, 23}, AppendPing(nil, 0, []byte("sixteen bytes ..."))...)
	conn := &floodConn{stuckConn: stuckConn{newNarrowConn(0)}, flood: bytes.NewReader(bytes.Repeat(ping, 20000)), read: make(chan struct{})}
	l := nullLink(conn, Limits{})
	ended := run(l, ignore)
	<-conn.read
	if n := l.Pending(); n > 2*maxPongBacklog {
		t.Errorf("%d bytes of PONG wait for 20,000 PINGs", n)
	}
	l.Close(nil)
	<-ended
}

// FlagCommandByte is the flags byte of a short command frame.
const FlagCommandByte = byte(FlagCommand)

// floodConn is read to its end and takes nothing.
type floodConn struct {
	stuckConn
	flood *bytes.Reader
	read  chan struct{}
}

func (c *floodConn) Read(b []byte) (int, error) {
	if n, _ := c.flood.Read(b); n > 0 {
		return n, nil
	}
	close(c.read)
	return c.stuckConn.Read(b)
}

// Senders, heartbeats and closers of one link may meet in any order.
func TestLink_concurrencySafety(t *testing.T) {
	for i := range 20 {
		router, dealer := nullPair(t)
		a, b := run(router, func(m *Message) error { return router.Send(bytes.Clone(m.Bytes())) }), run(dealer, ignore)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for j := range 50 {
					_ = dealer.Send([]byte("frame"), make([]byte, 1000*j))
					_, _ = dealer.Append(func(dst []byte) []byte { return fmt.Appendf(dst, "envelope %d", j) })
					dealer.Beat(time.Now(), 0, time.Hour)
					_, _, _, _ = dealer.Pending(), dealer.Handed(), dealer.LastRead(), dealer.Cause()
				}
			})
		}
		wg.Go(func() {
			if i%2 == 0 {
				dealer.Finish()
			}
			router.Close(nil)
		})
		wg.Wait()
		dealer.Close(nil)
		<-a
		<-b
	}
}

// Finish delivers all that was queued, and waits for the peer's end.
func TestLink_finishDeliversWhatIsQueued(t *testing.T) {
	router, dealer := nullPair(t)
	n := 0
	routerEnded := run(router, func(m *Message) error { n += len(m.Bytes()); return nil })
	for range 100 {
		if err := dealer.Send(make([]byte, 50000)); err != nil {
			t.Fatal(err)
		}
	}
	dealer.Finish()
	if err := dealer.Send(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("a message after Finish: %v", err)
	}
	dealerEnded := run(dealer, ignore)
	if err := <-routerEnded; err != io.EOF || n != 100*50000 {
		t.Errorf("the peer got %d bytes and ended with %v", n, err)
	}
	if err := <-dealerEnded; err != io.EOF {
		t.Errorf("the finished link ended with %v", err)
	}
}

// A peer that does not close its side holds a finished link for a second.
func TestLink_finishDoesNotWaitForEver(t *testing.T) {
	ours, _ := connected(t)
	l := nullLink(ours, Limits{})
	l.Finish()
	if err := l.Run(ignore); !errors.Is(err, ErrClosed) {
		t.Errorf("ended with %v", err)
	}
}

// sipConn is read by a peer that takes four seconds for each write.
type sipConn struct{ *narrowConn }

func (c sipConn) Write(b []byte) (int, error) {
	select {
	case <-time.After(4 * time.Second):
		return len(b), nil
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

// A peer that reads just fast enough not to be cut does not hold a finished
// link for longer than finishWait.
func TestLink_finishIsBoundedForASlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := nullLink(sipConn{newNarrowConn(0)}, Limits{})
		ended := run(l, ignore)
		if err := l.Send(make([]byte, 8*maxWrite)); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		l.Finish()
		err := <-ended
		if took := time.Since(start); !errors.Is(err, ErrSlowPeer) || took > finishWait+linger {
			t.Errorf("ended after %v with %v, want ErrSlowPeer within %v", took, err, finishWait+linger)
		}
	})
}

// What a peer sends after Finish is dropped, and a PING among it does not end
// the wait in which the peer reads what was written last.
func TestLink_finishedLinkTakesNoMessage(t *testing.T) {
	router, dealer := nullPair(t)
	handled := 0
	routerEnded := run(router, func(*Message) error { handled++; return nil })
	router.Finish()
	if err := dealer.sendCommand(AppendPing(nil, 10, nil)); err != nil {
		t.Fatal(err)
	}
	if err := dealer.Send([]byte("late")); err != nil {
		t.Fatal(err)
	}
	dealer.Finish()
	dealerEnded := run(dealer, ignore)
	if err := <-routerEnded; err != io.EOF || handled != 0 {
		t.Errorf("the finished link took %d messages and ended with %v, want EOF", handled, err)
	}
	<-dealerEnded
}

// The steady state of a busy link costs no garbage.
func TestLink_doesNotAllocate(t *testing.T) {
	if raceDetector {
		t.Log("not counted: the race detector makes pools allocate")
		return
	}
	router, dealer := nullPair(t)
	small, large := make([]byte, 100), make([]byte, 40000)
	_ = run(router, func(m *Message) error {
		if m.Len() == 3 {
			return router.Send(m.Frame(0), m.Frame(1), m.Frame(2))
		}
		_, err := router.Append(func(dst []byte) []byte { return append(dst, m.Bytes()...) })
		return err
	})
	back := make(chan struct{}, 1)
	dealerEnded := run(dealer, func(*Message) error { back <- struct{}{}; return nil })
	for name, send := range map[string]func() error{
		"plain": func() error { return dealer.Send(small[:8], nil, small) },
		"compact": func() error {
			_, err := dealer.Append(func(dst []byte) []byte { return append(dst, small...) })
			return err
		},
		"40000 B": func() error {
			_, err := dealer.Append(func(dst []byte) []byte { return append(dst, large...) })
			return err
		},
		"40000 B in frames": func() error { return dealer.Send(small[:8], nil, large) },
	} {
		if n := testing.AllocsPerRun(500, func() {
			if err := send(); err != nil {
				t.Fatal(err)
			}
			<-back
		}); n > 0.5 { // a garbage collection may empty the pools meanwhile
			t.Errorf("%s: %v allocations a message there and back", name, n)
		}
	}
	router.Close(nil)
	<-dealerEnded
}

func BenchmarkLink_there(b *testing.B) {
	for _, size := range []int{100, 60 << 10, 1 << 20} {
		b.Run(byteCount(size), func(b *testing.B) {
			router, dealer := nullPair(b)
			left, done := b.N, make(chan struct{})
			ended := run(router, func(m *Message) error {
				left -= len(m.Bytes()) / size
				if left == 0 {
					close(done)
				}
				return nil
			})
			body := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for range b.N {
				for dealer.Pending() > 4<<20 {
					time.Sleep(10 * time.Microsecond)
				}
				if _, err := dealer.Append(func(dst []byte) []byte { return append(dst, body...) }); err != nil {
					b.Fatal(err)
				}
			}
			<-done
			router.Close(nil)
			<-ended
		})
	}
}

func BenchmarkLink_thereAndBack(b *testing.B) {
	router, dealer := nullPair(b)
	_ = run(router, func(m *Message) error { return router.Send(m.Bytes()) })
	back := make(chan struct{}, 1)
	ended := run(dealer, func(*Message) error { back <- struct{}{}; return nil })
	body := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		if err := dealer.Send(body); err != nil {
			b.Fatal(err)
		}
		<-back
	}
	router.Close(nil)
	<-ended
}

func BenchmarkHandshake_null(b *testing.B) {
	ln, err := Listen("tcp://127.0.0.1:0", &Config{SocketType: "ROUTER", Mechanism: Null{}}, ListenLimits{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- ln.Serve(ctx, func(l *Link) { _ = l.Run(ignore) }) }()
	b.ReportAllocs()
	for b.Loop() {
		l, err := Dial(ctx, "tcp://"+ln.Addr().String(), &Config{SocketType: "DEALER", Mechanism: Null{}})
		if err != nil {
			b.Fatal(err)
		}
		l.Close(nil)
	}
	cancel()
	<-served
}
