package zmtp

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
)

// workingPair is a link that calls after behind each turn, and its peer. What comes is
// numbered, and has to come in order; each number is sent to got.
func workingPair(t *testing.T, after func(ours *Link)) (ours, peer *Link, got chan int, ended []<-chan error) {
	t.Helper()
	var l *Link
	ours, peer = pair(t, &Config{SocketType: "DEALER", Mechanism: Null{}, Turns: new(Turns), AfterTurn: func() { after(l) }},
		&Config{SocketType: "ROUTER", Mechanism: Null{}})
	l = ours
	got = make(chan int, 1000)
	next := 0 // owned by the goroutine that reads; ReadOn hands it on
	ended = append(ended, run(peer, ignore), run(ours, func(m *Message) error {
		for rest := m.Bytes(); len(rest) > 0; next++ {
			want := numbered(next, 20)(nil)
			if !bytes.HasPrefix(rest, want) {
				return fmt.Errorf("behind %d came %q", next-1, rest)
			}
			rest = rest[len(want):]
			got <- next
		}
		return nil
	}))
	return ours, peer, got, ended
}

func sendNumbered(t *testing.T, l *Link, n int) {
	t.Helper()
	if _, err := l.Append(numbered(n, 20)); err != nil {
		t.Error(err)
	}
}

func TestAfterTurn_anotherReadsOn(t *testing.T) {
	working, gate := make(chan struct{}), make(chan struct{})
	first := true
	ours, peer, got, ended := workingPair(t, func(*Link) {
		if first {
			first = false
			working <- struct{}{}
			<-gate
		}
	})
	ours.ReadOn() // nothing runs: nobody is relieved
	sendNumbered(t, peer, 0)
	<-working
	sendNumbered(t, peer, 1)
	if n := <-got; n != 0 {
		t.Fatalf("got message %d", n)
	}
	select {
	case n := <-got:
		t.Fatalf("message %d was read while AfterTurn ran", n)
	case <-time.After(20 * time.Millisecond): // on a busy host too short to find a defect, never too long
	}
	ours.ReadOn()
	ours.ReadOn() // the one who reads on now is not in AfterTurn
	if n := <-got; n != 1 {
		t.Fatalf("got message %d", n)
	}
	ours.Close(nil) // ends while the first goroutine still works
	if err := <-ended[1]; !errors.Is(err, ErrClosed) {
		t.Errorf("Run returned %v", err)
	}
	<-ended[0]
	close(gate)
}

func TestAfterTurn_endsItsGoroutine(t *testing.T) {
	ours, peer, got, ended := workingPair(t, func(*Link) { runtime.Goexit() })
	for n := range 20 {
		sendNumbered(t, peer, n)
		if <-got != n {
			t.Fatalf("message %d is missing", n)
		}
	}
	ours.Close(nil)
	for _, e := range ended {
		<-e
	}
}

func TestAfterTurn_panics(t *testing.T) {
	_, peer, _, ended := workingPair(t, func(*Link) { panic("defect") })
	sendNumbered(t, peer, 0)
	var of *PanicError
	if err := <-ended[1]; !errors.As(err, &of) || of.Value != "defect" {
		t.Errorf("Run returned %v", err)
	}
	<-ended[0]
}

// One who was relieved, and then returns or ends its goroutine, does not read again.
func TestAfterTurn_relievedReturnsLate(t *testing.T) {
	working, gates := make(chan int), make([]chan func(), 4)
	for i := range gates {
		gates[i] = make(chan func())
	}
	turn := 0
	ours, peer, got, ended := workingPair(t, func(*Link) {
		mine := turn
		turn++
		working <- mine
		(<-gates[mine])()
	})
	for n := range 3 {
		sendNumbered(t, peer, n)
		if <-got != n || <-working != n {
			t.Fatalf("turn %d did not come", n)
		}
		if n < 2 {
			ours.ReadOn()
		}
	}
	gates[0] <- func() {}
	gates[1] <- runtime.Goexit
	gates[2] <- func() {}
	sendNumbered(t, peer, 3)
	if <-got != 3 || <-working != 3 {
		t.Fatal("nobody reads on")
	}
	ours.Close(nil)
	gates[3] <- func() {}
	for _, e := range ended {
		<-e
	}
}

func TestAfterTurn_relievedPanics(t *testing.T) {
	working, gate := make(chan struct{}), make(chan struct{})
	ours, peer, _, ended := workingPair(t, func(*Link) {
		working <- struct{}{}
		<-gate
		panic("defect")
	})
	sendNumbered(t, peer, 0)
	<-working
	ours.ReadOn()
	close(gate)
	var of *PanicError
	if err := <-ended[1]; !errors.As(err, &of) {
		t.Errorf("Run returned %v", err)
	}
	<-ended[0]
}

// Who is relieved at any moment loses no message and reads none twice. That two never read
// at once is for the race detector to see.
func TestAfterTurn_relievedAtAnyMoment(t *testing.T) {
	const messages = 3000
	var relieving sync.WaitGroup
	ours, peer, got, ended := workingPair(t, func(ours *Link) {
		relieving.Go(ours.ReadOn)
		for range rand.IntN(4) {
			runtime.Gosched()
		}
	})
	for n := range messages {
		sendNumbered(t, peer, n)
		if n < 3 {
			continue // so many are on their way
		}
		if got := <-got; got != n-3 {
			t.Fatalf("got message %d, want %d", got, n-3)
		}
	}
	ours.Close(nil)
	for _, e := range ended {
		<-e
	}
	relieving.Wait()
	if ours.after.current == 0 {
		t.Error("nobody was ever relieved")
	}
}
