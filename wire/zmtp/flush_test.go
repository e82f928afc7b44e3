package zmtp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/servicetools/servicetools/wire/buffer"
)

// numbered appends a number, and so many bytes after it.
func numbered(n, size int) func(dst []byte) []byte {
	return func(dst []byte) []byte {
		dst = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(dst, uint32(n)), uint32(size))
		return append(dst, bytes.Repeat([]byte{byte(n)}, size)...)
	}
}

// inOrder returns a handler that wants what numbered appends, each number once, and a
// channel that is closed when all have come.
func inOrder(t *testing.T, all int) (handle func(*Message) error, complete chan struct{}) {
	next := 0
	complete = make(chan struct{})
	return func(m *Message) error {
		for b := m.Bytes(); len(b) > 0; next++ {
			n, size := int(binary.BigEndian.Uint32(b)), int(binary.BigEndian.Uint32(b[4:]))
			if n != next || !bytes.Equal(b[8:8+size], bytes.Repeat([]byte{byte(n)}, size)) {
				t.Errorf("number %d came where %d was due, or is damaged", n, next)
				return errors.New("out of order")
			}
			b = b[8+size:]
		}
		if next == all {
			close(complete)
		}
		return nil
	}, complete
}

// countLoops counts the write loops that l begins from now on. It comes before Run.
func countLoops(l *Link) *atomic.Int64 {
	begun, loop := new(atomic.Int64), l.loop
	l.loop = func() {
		begun.Add(1)
		loop()
	}
	return begun
}

func TestFlush_writesInTheCallersGoroutine(t *testing.T) {
	router, dealer := nullPair(t)
	handle, complete := inOrder(t, 100)
	loops := countLoops(router)
	ended := []<-chan error{run(dealer, handle), run(router, ignore)}
	for n := range 100 {
		if _, err := router.AppendHeld(numbered(n, 10)); err != nil {
			t.Fatal(err)
		}
		if n%10 == 9 {
			router.Flush()
		}
	}
	<-complete
	if n := loops.Load(); n != 0 {
		t.Errorf("%d write loops began", n)
	}
	if got, want := router.Handed(), uint64(100*18); got != want {
		t.Errorf("Handed is %d, want %d", got, want)
	}
	router.Close(nil)
	for _, e := range ended {
		<-e
	}
}

// narrowed is a pair whose connection holds little that the peer has not read.
func narrowed(t *testing.T) (router, dealer *Link) {
	router, dealer = nullPair(t)
	for _, err := range []error{
		router.conn.(*net.TCPConn).SetWriteBuffer(4 << 10),
		dealer.conn.(*net.TCPConn).SetReadBuffer(4 << 10),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return router, dealer
}

// What the kernel does not take at once, since the peer does not read, the write
// loop writes, in order and exactly once, also behind a deadline that is long over.
func TestFlush_leavesTheRestToTheWriteLoop(t *testing.T) {
	router, dealer := narrowed(t)
	router.limits.WriteWait = 20 * time.Second
	const all = 60
	handle, complete := inOrder(t, all)
	ended := run(router, ignore)
	for n := range all {
		if n == all/2 {
			if router.Pending() == 0 {
				t.Fatal("the kernel took all of it")
			}
			run(dealer, handle)
			waitFor(t, "the write loop to have caught up", func() bool {
				router.mu.Lock()
				defer router.mu.Unlock()
				return router.idleLocked() && (!router.writing || router.resting)
			})
			if err := router.conn.SetWriteDeadline(time.Now().Add(-time.Second)); err != nil {
				t.Fatal(err)
			}
			router.writer.bounded = true // as a write leaves it that had to wait
		}
		if _, err := router.AppendHeld(numbered(n, 3000)); err != nil {
			t.Fatal(err)
		}
		router.Flush()
	}
	<-complete
	if got, want := router.Handed(), uint64(all*3008); got != want {
		t.Errorf("Handed is %d, want %d", got, want)
	}
	router.Close(nil)
	<-ended
}

// waitFor waits until done.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// A peer that reads nothing is cut by the write loop that Flush has woken, and counts
// as having got what is wholly written, no more.
func TestFlush_peerThatNeverReads(t *testing.T) {
	router, _ := narrowed(t)
	router.limits.WriteWait = 50 * time.Millisecond
	ended := run(router, ignore)
	var total uint64
	for n := 0; ; n++ {
		start, err := router.AppendHeld(numbered(n, 3000))
		if err != nil {
			break
		}
		total = start + 3008
		router.Flush()
		time.Sleep(100 * time.Microsecond)
	}
	if err := <-ended; !errors.Is(err, ErrSlowPeer) {
		t.Errorf("the link ended with %v", err)
	}
	if handed := router.Handed(); handed == 0 || handed >= total {
		t.Errorf("%d bytes of %d count as handed over", handed, total)
	}
}

// Whoever appends, holds back, flushes and finishes at the same time: all arrives,
// in order.
func TestFlush_besideTheWriteLoop(t *testing.T) {
	for range 20 {
		router, dealer := nullPair(t)
		const all = 3000
		handle, complete := inOrder(t, all)
		ended := []<-chan error{run(dealer, handle), run(router, ignore)}
		var order sync.Mutex
		next := 0
		var senders sync.WaitGroup
		for how := range 4 {
			senders.Go(func() {
				for i := 0; ; i++ {
					order.Lock()
					n := next
					next++
					if n >= all {
						order.Unlock()
						return
					}
					var err error
					if how == 0 {
						_, err = router.Append(numbered(n, n%50))
					} else {
						_, err = router.AppendHeld(numbered(n, n%50))
					}
					order.Unlock()
					if err != nil {
						t.Error(err)
					}
					switch {
					case how == 2:
						router.FlushSoon()
					case i%(how+1) == how:
						router.Flush()
					}
				}
			})
		}
		senders.Wait()
		router.Finish()
		<-complete
		dealer.Close(nil)
		for _, e := range ended {
			<-e
		}
	}
}

// Large bodies that the kernel does not take at once, with others behind them, from
// many goroutines: all arrives, in order.
func TestFlush_largeBodies(t *testing.T) {
	router, dealer := nullPair(t)
	if err := router.conn.(*net.TCPConn).SetWriteBuffer(16 << 10); err != nil {
		t.Fatal(err)
	}
	const all = 300
	handle, complete := inOrder(t, all)
	ended := []<-chan error{run(dealer, handle), run(router, ignore)}
	var order sync.Mutex
	next := 0
	var senders sync.WaitGroup
	for range 4 {
		senders.Go(func() {
			for {
				order.Lock()
				n := next
				next++
				if n >= all {
					order.Unlock()
					return
				}
				var err error
				if n%3 == 0 {
					_, err = router.AppendHeld(numbered(n, 10))
				} else {
					memory := buffer.Get(40_000)
					memory.Bytes = numbered(n, 40_000)(memory.Bytes)
					_, err = router.AppendSharedHeld(func(dst []byte) []byte { return append(dst, memory.Bytes[:8]...) }, memory.Bytes[8:], memory)
					memory.Release()
				}
				order.Unlock()
				if err != nil {
					t.Error(err)
				}
				router.Flush()
			}
		})
	}
	senders.Wait()
	router.Finish()
	<-complete
	dealer.Close(nil)
	for _, e := range ended {
		<-e
	}
	if router.writer.lent != nil || router.writer.rest != nil {
		t.Error("the link that has ended holds the memory of others")
	}
}

func TestFlushSoon_bounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := pipe(t, Limits{})
		ended := live(ours)
		var got atomic.Int64
		var reading sync.WaitGroup
		reading.Go(func() {
			for b := make([]byte, 64<<10); ; {
				n, err := theirs.Read(b)
				if got.Add(int64(n)); err != nil {
					return
				}
			}
		})
		hold := func(size int) {
			if _, err := ours.AppendHeld(numbered(0, size)); err != nil {
				t.Error(err)
			}
			ours.FlushSoon()
			synctest.Wait()
		}
		hold(10)
		time.Sleep(lateness / 2)
		if hold(10); got.Load() != 0 {
			t.Errorf("%d bytes left at once", got.Load())
		}
		time.Sleep(lateness / 2)
		if synctest.Wait(); got.Load() != 2+36 {
			t.Errorf("%d bytes left after %v, want 38", got.Load(), lateness)
		}
		if hold(muchLate); got.Load() < muchLate {
			t.Errorf("%d bytes left of more than may wait", got.Load())
		}
		ours.Close(nil)
		<-ended
		reading.Wait()
	})
}

// A link that is held back when it ends is not written to, and leaves no timer.
func TestFlush_afterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := pipe(t, Limits{})
		ended := live(ours)
		if _, err := ours.AppendHeld(numbered(0, 10)); err != nil {
			t.Fatal(err)
		}
		ours.FlushSoon()
		theirs.Close()
		if err := <-ended; !errors.Is(err, io.EOF) {
			t.Errorf("ended with %v", err)
		}
		ours.Flush()
		time.Sleep(2 * lateness)
		if ours.Handed() != 0 {
			t.Errorf("%d bytes were handed over", ours.Handed())
		}
	})
}

// A link that is finished is so once: who flushes later does not make it wait longer
// for its peer's end.
func TestFlush_afterFinish(t *testing.T) {
	router, _ := nullPair(t)
	began := time.Now()
	ended := run(router, ignore)
	router.Finish()
	for {
		select {
		case err := <-ended:
			if took := time.Since(began); !errors.Is(err, ErrClosed) || took > linger+500*time.Millisecond {
				t.Errorf("it ended with %v after %v, want %v after %v", err, took, ErrClosed, linger)
			}
			return
		case <-time.After(linger / 4):
			router.Flush()
		}
	}
}

// A write loop that rested, and is told to end while Flush writes in its place, still
// learns which messages end in what Flush leaves to it: they count as handed.
func TestFlush_besideAWriteLoopThatRetires(t *testing.T) {
	router, dealer := narrowed(t)
	var total uint64
	for n := range 20 {
		start, err := router.AppendHeld(numbered(n, 3000))
		if err != nil {
			t.Fatal(err)
		}
		total = start + 3008
	}
	router.mu.Lock()
	router.writer.marks = make([]mark, 0, 2*maxKept) // of when it was busy
	router.writing = true                            // it waits for flushing to end
	router.flushLocked()
	if !router.behind {
		t.Fatal("the kernel has taken all")
	}
	go router.loop()
	router.mu.Unlock()
	handle, complete := inOrder(t, 20)
	ended := []<-chan error{run(dealer, handle), run(router, ignore)}
	<-complete
	router.Close(nil)
	for _, e := range ended {
		<-e
	}
	if router.Handed() != total {
		t.Errorf("Handed is %d, want %d", router.Handed(), total)
	}
}
