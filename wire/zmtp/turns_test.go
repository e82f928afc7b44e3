package zmtp

import (
	"bytes"
	"errors"
	"sync"
	"testing"
	"time"
)

// relay connects two pairs: what comes from sender's peer is passed on to receiver's,
// by two links with the same Turns.
type relay struct {
	turns             Turns
	in, out           *Link // ours
	sender, receiver  *Link // their peers
	ended             []<-chan error
	handling, goAhead chan struct{} // if not nil, the handler tells and waits
}

func newRelay(t *testing.T) *relay {
	r := &relay{}
	ours := &Config{SocketType: "ROUTER", Mechanism: Null{}, Turns: &r.turns}
	theirs := &Config{SocketType: "DEALER", Mechanism: Null{}}
	r.in, r.sender = pair(t, ours, theirs)
	r.out, r.receiver = pair(t, ours, theirs)
	return r
}

func (r *relay) run(received func(*Message) error) {
	r.ended = append(r.ended, run(r.out, ignore), run(r.sender, ignore), run(r.receiver, received),
		run(r.in, func(m *Message) error {
			_, err := r.out.Append(func(dst []byte) []byte { return append(dst, m.Bytes()...) })
			if r.handling != nil {
				r.handling <- struct{}{}
				<-r.goAhead
			}
			return err
		}))
}

func (r *relay) end() {
	r.in.Close(nil)
	r.out.Close(nil)
	for _, e := range r.ended {
		<-e
	}
}

func TestTurns_writeWithoutAWriteLoop(t *testing.T) {
	r := newRelay(t)
	handle, complete := inOrder(t, 50)
	loops := countLoops(r.out)
	r.run(handle)
	for n := range 50 {
		if _, err := r.sender.Append(numbered(n, 100)); err != nil {
			t.Fatal(err)
		}
	}
	<-complete
	if n := loops.Load(); n != 0 {
		t.Errorf("%d write loops began for what a turn could write", n)
	}
	r.end()
}

// While a handler is stuck, others write what it has left, and their own.
func TestTurns_aHandlerThatDoesNotReturn(t *testing.T) {
	r := newRelay(t)
	r.handling, r.goAhead = make(chan struct{}), make(chan struct{})
	received := make(chan []byte, 1)
	r.run(func(m *Message) error {
		received <- bytes.Clone(m.Bytes())
		return nil
	})
	other, peer := pair(t, &Config{SocketType: "ROUTER", Mechanism: Null{}, Turns: &r.turns}, &Config{SocketType: "DEALER", Mechanism: Null{}})
	echoed := make(chan struct{}, 1)
	ended := []<-chan error{
		run(other, func(m *Message) error { return other.Send(m.Bytes()) }),
		run(peer, func(*Message) error { echoed <- struct{}{}; return nil }),
	}
	if err := r.sender.Send([]byte("stuck")); err != nil {
		t.Fatal(err)
	}
	<-r.handling
	if err := peer.Send([]byte("x")); err != nil {
		t.Fatal(err)
	}
	<-echoed
	if got := <-received; string(got) != "stuck" {
		t.Errorf("received %q", got)
	}
	close(r.goAhead)
	r.end()
	other.Close(nil)
	for _, e := range ended {
		<-e
	}
}

// A turn ends with its link, also by a panic.
func TestTurns_endWithTheLink(t *testing.T) {
	for name, fail := range map[string]func() error{
		"an error": func() error { return errors.New("enough") },
		"a panic":  func() error { panic("boom") },
	} {
		var turns Turns
		link, peer := pair(t, &Config{SocketType: "ROUTER", Mechanism: Null{}, Turns: &turns}, &Config{SocketType: "DEALER", Mechanism: Null{}})
		ended, left := run(link, func(*Message) error { return fail() }), run(peer, ignore)
		if err := peer.Send([]byte("x")); err != nil {
			t.Fatal(err)
		}
		<-ended
		<-left
		if turns.active != 0 || len(turns.ready) != 0 {
			t.Errorf("after %s %d turns are under way, and %d links ready", name, turns.active, len(turns.ready))
		}
	}
}

// In a crowd, of which each link has few turns, write loops gather.
func TestTurns_crowd(t *testing.T) {
	r := newRelay(t)
	handle, complete := inOrder(t, 2)
	loops := countLoops(r.out)
	r.run(handle)
	send := func(n int) {
		if _, err := r.sender.Append(numbered(n, 10)); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the message", func() bool { return r.out.Handed() == uint64((n+1)*18) })
	}
	send(0)
	if r.in.crowded.Load() || loops.Load() != 0 {
		t.Error("a link is crowded at its first turn")
	}
	var others sync.WaitGroup
	for range crowd {
		others.Go(func() {
			r.turns.begin()
			r.turns.end(false)
		})
	}
	others.Wait()
	send(1)
	if !r.in.crowded.Load() || loops.Load() != 1 {
		t.Errorf("a link is not crowded with %d turns between two of its own, or was not left to its write loop", crowd)
	}
	<-complete
	r.end()
}

// A link that is heard of only when some turn ends would be given up by its peer if no
// turn did: heartbeats do not wait for the turns of others.
func TestTurns_heartbeatsBesideAHandlerThatDoesNotReturn(t *testing.T) {
	r := newRelay(t)
	r.handling, r.goAhead = make(chan struct{}), make(chan struct{})
	r.run(ignore)
	if err := r.sender.Send([]byte("stuck")); err != nil {
		t.Fatal(err)
	}
	<-r.handling
	r.receiver.Ping(time.Second) // which r.out answers
	waitFor(t, "the PONG, behind what lay before it", func() bool { return r.out.Handed() > uint64(len("stuck")) })
	close(r.goAhead)
	r.end()
}
