package zmtp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// lentLink is a link that is lent, and what its user has to do for that. Its messages are
// numbers, each of which somebody may wait for.
type lentLink struct {
	*testing.T
	ours, peer *Link
	ended      chan error    // what Run of ours returns, then closed
	peerBusy   chan struct{} // the peer handles a message, and waits to be let go

	waits     atomic.Int64
	crowd     atomic.Bool
	waitEnded atomic.Bool
	inPlace   atomic.Int64 // numbers that a caller of ReadUntil read
	own       atomic.Int64 // numbers that the link's own goroutine read
	handled   func(n int)  // called for each number; nil = nobody asks; static

	mu      sync.Mutex
	next    int              // number to come; guarded by mu
	pending map[int]*pending // guarded by mu
}

// pending is the wait for a number, or for nothing that comes by the link.
type pending struct {
	over    atomic.Bool // the number came, or end was called
	counted atomic.Bool // in waits, or over
	came    chan struct{}
}

func newLentLink(t *testing.T, handled func(n int)) *lentLink {
	x := &lentLink{T: t, handled: handled, pending: make(map[int]*pending), ended: make(chan error, 1), peerBusy: make(chan struct{})}
	x.ours, x.peer = pair(t, &Config{SocketType: "DEALER", Mechanism: Null{}, Turns: new(Turns)}, &Config{SocketType: "ROUTER", Mechanism: Null{}})
	peerEnded := run(x.peer, func(*Message) error {
		x.peerBusy <- struct{}{}
		<-x.peerBusy
		return nil
	})
	go func() {
		x.ended <- x.ours.RunLent(x.handle, func() Waits {
			now := int(x.waits.Load())
			return Waits{now, x.crowd.Swap(now > 1) || x.waits.Load() > 1, x.waitEnded.Swap(false)}
		})
		close(x.ended)
	}()
	t.Cleanup(func() {
		x.ours.Close(nil)
		<-x.ended
		<-peerEnded
	})
	return x
}

func (x *lentLink) handle(m *Message) error {
	by := &x.own
	if strings.Contains(string(debug.Stack()), "ReadUntil") {
		by = &x.inPlace
	}
	for b := m.Bytes(); len(b) > 0; b = b[4:] {
		by.Add(1)
		if err := x.number(int(binary.BigEndian.Uint32(b))); err != nil {
			return err
		}
	}
	return nil
}

func (x *lentLink) number(n int) error {
	x.mu.Lock()
	due := x.next
	x.next++
	p := x.pending[n]
	x.mu.Unlock()
	if n != due {
		return fmt.Errorf("number %d came where %d was due", n, due)
	}
	if x.handled != nil {
		x.handled(n)
	}
	if p != nil {
		x.end(p)
	}
	return nil
}

// end ends a wait.
func (x *lentLink) end(p *pending) {
	p.over.Store(true)
	if p.counted.Swap(true) {
		x.waits.Add(-1)
		x.waitEnded.Store(true)
	}
	close(p.came)
}

// waitFor begins the wait for n, which is not sent yet, or is none.
func (x *lentLink) waitFor(n int) *pending {
	x.mu.Lock()
	defer x.mu.Unlock()
	p := &pending{came: make(chan struct{})}
	x.pending[n] = p
	return p
}

// count counts the wait, if it is not over.
func (x *lentLink) count(p *pending) <-chan struct{} {
	if !p.counted.Swap(true) {
		if x.waits.Add(1) > 1 {
			x.crowd.Store(true)
		}
		x.ours.Reclaim()
	}
	return p.came
}

// wait waits as a client does.
func (x *lentLink) wait(ctx context.Context, p *pending) {
	if x.ours.ReadUntil(ctx.Done(), p.over.Load, func() <-chan struct{} { return x.count(p) }) {
		return
	}
	select {
	case <-x.count(p):
	case <-ctx.Done():
	}
}

// readOn reads as long as it may.
func (x *lentLink) readOn() {
	x.ours.ReadUntil(nil, func() bool { return false }, func() <-chan struct{} { return nil })
}

// send has the peer send n.
func (x *lentLink) send(n int) {
	if _, err := x.peer.Append(func(dst []byte) []byte { return binary.BigEndian.AppendUint32(dst, uint32(n)) }); err != nil {
		x.Error(err)
	}
}

// call has the peer send n, and waits for it.
func (x *lentLink) call(n int) {
	p := x.waitFor(n)
	x.send(n)
	x.wait(x.Context(), p)
}

func (x *lentLink) eventually(what string, met func() bool) {
	x.Helper()
	for end := time.Now().Add(10 * time.Second); !met(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			x.Fatalf("it never comes that %s", what)
		}
	}
}

func (x *lentLink) heldBy(holder uint32) bool { return x.ours.lending.holder.Load() == holder }

func (x *lentLink) hungUp() bool {
	x.ours.mu.Lock()
	defer x.ours.mu.Unlock()
	return x.ours.source.hungUp()
}

// alone has one goroutine at a time wait, from number n on, until it reads by itself, and
// returns the number to come.
func (x *lentLink) alone(n int) int {
	x.Helper()
	before := x.inPlace.Load()
	for end := time.Now().Add(10 * time.Second); x.inPlace.Load() == before; n++ {
		if time.Now().After(end) {
			x.Fatal("the link is never lent")
		}
		x.call(n)
	}
	return n
}

// idle is alone until nobody reads, and nobody will because of the time.
func (x *lentLink) idle(n int) int {
	x.Helper()
	frozen := func() bool {
		d := &x.ours.lending
		d.mu.Lock()
		defer d.mu.Unlock()
		if !x.heldBy(heldByNone) {
			return false
		}
		d.timer.Stop()
		d.set = true // nobody sets it again
		return true
	}
	for n = x.alone(n); !frozen(); n = x.alone(n) {
	}
	return n
}

// reading is one who waits for p and reads.
func (x *lentLink) reading(p *pending) (done chan struct{}) {
	x.Helper()
	done = make(chan struct{})
	go func() { defer close(done); x.wait(x.Context(), p) }()
	x.eventually("who waits reads", func() bool { return x.heldBy(heldByWaiter) })
	return done
}

func TestReadUntil_whoWaitsAloneReads(t *testing.T) {
	x := newLentLink(t, nil)
	n := x.alone(0)
	if n < quietTurns {
		t.Errorf("the link was lent after %d turns", n)
	}
	before := x.inPlace.Load()
	for range 100 {
		x.call(n)
		n++
	}
	if x.inPlace.Load() == before {
		t.Error("none of 100 numbers was read by who waited for it")
	}
}

// What comes while nobody waits is read soon, by a goroutine of the link's own.
func TestReadUntil_nobodyComes(t *testing.T) {
	x := newLentLink(t, nil)
	n := x.alone(0)
	p := x.waitFor(n)
	x.send(n)
	<-p.came
	x.eventually("the link's own goroutine reads", func() bool { return x.heldBy(heldByOwn) })
}

// While who comes for it has something else to do, the link's own goroutine reads; it leaves
// the link again to one who waits.
func TestReadUntil_whoIsBusyIsReadFor(t *testing.T) {
	x := newLentLink(t, nil)
	n := x.idle(0)
	x.eventually("who never has to wait does not read", func() bool {
		p := x.waitFor(n)
		x.send(n)
		time.Sleep(200 * time.Microsecond) // it comes meanwhile
		x.wait(t.Context(), p)
		n++
		return x.heldBy(heldByOwn)
	})
	for range 3 * quietTurns {
		p := x.waitFor(n)
		x.send(n)
		<-p.came
		n++
		x.ours.lending.mu.Lock()
		if !x.heldBy(heldByOwn) {
			t.Error("the link was left, while nobody waited for anything")
		}
		x.ours.lending.mu.Unlock()
	}
	x.alone(n)
}

// Somebody who waits without reading has the link's own goroutine read: at once, or when the
// one who reads leaves.
func TestReadUntil_anotherWaits(t *testing.T) {
	x := newLentLink(t, nil)
	n := x.idle(0)
	p := x.waitFor(n)
	x.count(p)
	if x.heldBy(heldByNone) {
		t.Error("nobody reads while somebody waits")
	}
	x.send(n)
	<-p.came
	n = x.idle(n + 1)
	first, second := x.waitFor(n), x.waitFor(n+1)
	done := x.reading(first)
	x.count(second)
	x.send(n)
	<-done
	if !x.heldBy(heldByOwn) {
		t.Errorf("the link is held by %d while somebody waits", x.ours.lending.holder.Load())
	}
	x.send(n + 1)
	<-second.came
}

func TestReadUntil_crowd(t *testing.T) {
	x := newLentLink(t, nil)
	n := x.idle(0)
	x.crowd.Store(true)
	x.call(n)
	if !x.heldBy(heldByOwn) {
		t.Error("the link was left to nobody after a crowd")
	}
}

func TestReadUntil_interrupted(t *testing.T) {
	x := newLentLink(t, nil)
	n := x.idle(0)
	for range 50 { // the next one must not see the deadline of the one before
		p := x.waitFor(-1)
		done := x.reading(p)
		x.end(p)
		x.ours.Interrupt()
		<-done
		x.ours.Interrupt() // nobody is there any more
		x.call(n)
		n++
	}
}

// One that waits for long is let go, to wait for other things as well.
func TestReadUntil_waitsForLong(t *testing.T) {
	x := newLentLink(t, nil)
	n := x.alone(0)
	for range 3 {
		x.readOn()
		x.call(n)
		n = x.alone(n + 1)
	}
	p := x.waitFor(n)
	done := x.reading(p)
	x.eventually("the link's own goroutine reads", func() bool { return x.heldBy(heldByOwn) })
	x.send(n)
	<-done
}

// One that was promised the link, and gives up, does not get it.
func TestReadUntil_givesUpAPromise(t *testing.T) {
	x := newLentLink(t, nil)
	n := x.alone(0)
	x.eventually("the link's own goroutine reads", func() bool { return x.heldBy(heldByOwn) })
	x.ours.lending.offered.Store(true)
	givenUp := make(chan struct{})
	close(givenUp)
	x.ours.ReadUntil(givenUp, func() bool { return false }, func() <-chan struct{} { return nil })
	x.ours.lending.mu.Lock()
	if x.ours.lending.next {
		t.Error("it is still the next one")
	}
	x.ours.lending.mu.Unlock()
	x.call(n)
}

var errBoom = errors.New("boom")

// However a lent link ends, Run says why, and who waits is let go.
func TestReadUntil_linkEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		ours bool // the end is this side's doing
		end  func(x *lentLink, n int)
		want func(err error) bool
	}{
		{"closed", true, func(x *lentLink, _ int) { x.ours.Close(errBoom) }, func(err error) bool { return errors.Is(err, errBoom) }},
		{"finished", true, func(x *lentLink, _ int) { x.ours.Finish() }, func(err error) bool { return err == io.EOF || errors.Is(err, ErrClosed) }},
		{"by the peer", false, func(x *lentLink, _ int) { x.peer.Close(nil) }, Left},
		{"by the handler", false, func(x *lentLink, n int) { x.send(n + 1) }, func(err error) bool { return strings.Contains(err.Error(), "was due") }},
		{"by a panic", false, func(x *lentLink, n int) { x.send(n) }, func(err error) bool { return errors.As(err, new(*PanicError)) }},
	} {
		for _, reads := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/a waiter reads=%v", c.name, reads), func(t *testing.T) {
				var last atomic.Int64
				last.Store(-1)
				x := newLentLink(t, func(n int) {
					if int64(n) == last.Load() {
						panic("defect")
					}
				})
				n := x.alone(0)
				if reads { // until the end, however long that takes
					n = x.idle(n)
				}
				last.Store(int64(n))
				done := make(chan struct{})
				if reads {
					go func() { defer close(done); x.readOn() }()
					x.eventually("who waits reads", func() bool { return x.heldBy(heldByWaiter) })
				} else {
					close(done)
				}
				c.end(x, n)
				if c.ours && x.heldBy(heldByNone) {
					t.Error("nobody reads to see the end")
				}
				if err := <-x.ended; !c.want(err) {
					t.Errorf("Run returned %v", err)
				}
				<-done
				x.readOn() // nothing is left to read
			})
		}
	}
}

// An Interrupt does not shorten the time that a finished link gives its peer, and is not held
// up by it.
func TestReadUntil_interruptedWhenFinished(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // who reads runs only when this goroutine waits
	for _, c := range []struct {
		name string
		do   func(x *lentLink, p *pending)
	}{
		{"after", func(x *lentLink, p *pending) {
			x.ours.Finish()
			x.ours.Interrupt() // for nothing
			runtime.Gosched()
			x.end(p)
			x.ours.Interrupt()
		}},
		{"just before", func(x *lentLink, p *pending) {
			x.end(p)
			x.ours.Interrupt()
			x.ours.Finish()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			const rounds = 4
			late := 0
			for range rounds {
				x := newLentLink(t, nil)
				x.idle(0)
				p := x.waitFor(-1)
				done := x.reading(p)
				if _, err := x.ours.Append(func(dst []byte) []byte { return append(dst, 1) }); err != nil {
					t.Fatal(err)
				}
				<-x.peerBusy // it sees the end when it is let go
				began := time.Now()
				c.do(x, p)
				<-done
				if x.ours.Cause() != nil { // a busy host may take as long as the linger
					late++
				}
				x.peerBusy <- struct{}{}
				if err := <-x.ended; err != io.EOF && time.Since(began) < linger {
					t.Errorf("Run returned %v before the linger was over", err)
				}
			}
			if late == rounds {
				t.Error("who reads is let go only when the link has ended")
			}
		})
	}
}

// What is said when the peer has hung up, and nobody has read that, is not handed over,
// whoever is about to read; what the peer had said before is handled.
func TestReadUntil_peerHangsUpWhileNobodyReads(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // a goroutine that is started runs only when this one waits
	for name, say := range map[string]func(x *lentLink){
		"Flush":          func(x *lentLink) { x.ours.Flush() },
		"the write loop": func(x *lentLink) { x.ours.Wake() },
		"Flush, behind a Reclaim": func(x *lentLink) {
			x.ours.Reclaim()
			x.ours.Flush()
		},
		"the write loop, beside a waiter": func(x *lentLink) {
			x.ours.Wake()
			x.readOn()
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := newLentLink(t, nil)
			n := x.idle(0)
			handed := x.ours.Handed()
			x.send(n)
			x.peer.Finish()
			x.eventually("the peer has hung up", x.hungUp)
			if _, err := x.ours.AppendHeld(func(dst []byte) []byte { return append(dst, 1) }); err != nil {
				t.Fatal(err)
			}
			say(x)
			if err := <-x.ended; err != io.EOF {
				t.Errorf("Run returned %v", err)
			}
			if x.ours.Handed() != handed {
				t.Error("what was written to a peer that had hung up counts as handed over")
			}
			if x.next != n+1 {
				t.Errorf("of the peer's last words, %d were handled", x.next-n)
			}
		})
	}
}

// Nor is what somebody says who has just read the peer's last words, and leaves the link to one
// that has not read the end yet.
func TestReadUntil_peerHangsUpWithItsLastWords(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // the goroutine that is started runs only when this one waits
	for _, recalled := range []bool{true, false} {
		t.Run(fmt.Sprintf("recalled=%v", recalled), func(t *testing.T) {
			var x *lentLink
			var last atomic.Int64
			last.Store(-1)
			x = newLentLink(t, func(n int) {
				if int64(n) == last.Load() {
					x.eventually("the peer has hung up", x.hungUp)
				}
			})
			n := x.idle(0)
			p := x.waitFor(n)
			handed := make(chan uint64, 2)
			go func() {
				x.wait(t.Context(), p)
				handed <- x.ours.Handed()
				if _, err := x.ours.AppendHeld(func(dst []byte) []byte { return append(dst, 1) }); err == nil {
					x.ours.Flush()
				}
				handed <- x.ours.Handed()
			}()
			x.eventually("who waits has found nothing", func() bool { return x.heldBy(heldByWaiter) && !x.ours.source.unread.Load() })
			x.ours.lending.recalled.Store(recalled)
			last.Store(int64(n))
			x.send(n)
			x.peer.Finish()
			if before, after := <-handed, <-handed; before != after {
				t.Error("what was written to a peer that had hung up counts as handed over")
			}
			if err := <-x.ended; !Left(err) && !errors.Is(err, ErrClosed) {
				t.Errorf("Run returned %v", err)
			}
		})
	}
}

// If the peer is found to have hung up while one reads its last words, another one reads the end.
func TestReadUntil_hangUpIsFoundBesideAWaiter(t *testing.T) {
	x := newLentLink(t, nil)
	n := x.idle(0)
	p := x.waitFor(n)
	x.send(n)
	x.peer.Finish()
	x.eventually("the peer has hung up", x.hungUp)
	said := false
	x.ours.ReadUntil(nil, func() bool {
		if !said { // it holds the link, and has not read yet
			said = true
			_, _ = x.ours.AppendHeld(func(dst []byte) []byte { return append(dst, 1) })
			x.ours.Flush()
		}
		return p.over.Load()
	}, nil)
	if x.heldBy(heldByNone) {
		t.Error("nobody reads the end")
	}
	x.ours.Reclaim() // for the test to end
	if err := <-x.ended; err != io.EOF {
		t.Errorf("Run returned %v", err)
	}
}

// A goroutine that leaves a link which is being closed leaves it to one that reads its end.
func TestReadUntil_closedWhileReading(t *testing.T) {
	var x *lentLink
	var last atomic.Int64
	last.Store(-1)
	x = newLentLink(t, func(n int) {
		if int64(n) == last.Load() {
			x.ours.Close(errBoom)
		}
	})
	n := x.idle(0)
	p := x.waitFor(n)
	done := x.reading(p)
	last.Store(int64(n))
	x.send(n)
	<-done
	if err := <-x.ended; !errors.Is(err, errBoom) {
		t.Errorf("Run returned %v", err)
	}
}

// Goroutines that wait in every way, alone and together, and give up, are all told, and no
// number is lost or read twice.
func TestReadUntil_underPressure(t *testing.T) {
	x := newLentLink(t, nil)
	n := x.alone(0)
	inPlace, own := x.inPlace.Load(), x.own.Load()
	for end := n + 6000; n < end; {
		together := 1
		if rand.N(200) == 0 {
			together = 1 + rand.N(5)
		}
		var round sync.WaitGroup
		for range together {
			p := x.waitFor(n)
			n++
			kind := rand.N(40)
			round.Go(func() {
				switch kind {
				case 0: // waits without reading
					<-x.count(p)
				case 1: // gives up, and comes again
					ctx, cancel := context.WithTimeout(t.Context(), rand.N(200*time.Microsecond))
					defer cancel()
					x.wait(ctx, p)
				case 2: // is interrupted for nothing
					x.ours.Interrupt()
				}
				x.wait(t.Context(), p)
			})
		}
		for i := n - together; i < n; i++ {
			x.send(i)
		}
		round.Wait()
		if rand.N(1000) == 0 {
			time.Sleep(3 * lookAfter) // until the link's own goroutine reads
		}
	}
	if x.waits.Load() != 0 {
		t.Errorf("%d are said to wait in the end", x.waits.Load())
	}
	inPlace, own = x.inPlace.Load()-inPlace, x.own.Load()-own
	t.Logf("read by who waited: %d, by the link's own goroutine: %d", inPlace, own)
	if inPlace == 0 || own == 0 {
		t.Error("one of them never read")
	}
}
