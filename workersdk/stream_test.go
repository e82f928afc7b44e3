package workersdk

import (
	"testing"

	"github.com/servicetools/servicetools/wire/message"
)

func TestWorker_streamSurvivesARestart(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	start(t, b, newLab(), nil)
	p := b.worker()
	p.callWith(message.Envelope{ID: 1, Flags: message.FlagStream}, "count", 30)
	for range 16 {
		p.want(message.KindPart, 1)
	}
	p.send(message.Envelope{Kind: message.KindGrant, ID: 1, Sequence: 20}) // items 0 to 3 are consumed
	for range 4 {
		p.want(message.KindPart, 1)
	}
	b.kill()
	b = newScripted(t, b.addr, 2, nil)
	p = b.worker()
	if e := p.next(); e.Kind != message.KindProgress || e.Flags&message.FlagClaim == 0 {
		t.Fatalf("got %v", e.Kind)
	}
	p.want(message.KindCapacity, 4)
	p.send(message.Envelope{Kind: message.KindGrant, Flags: message.FlagOrigin, Origin: origin(1), Sequence: 16}) // the caller is back
	for i := uint64(4); i < 20; i++ {
		if e := p.next(); e.Kind != message.KindPart || e.Sequence != i || e.Origin != origin(1) || e.Body[0] != byte(i) {
			t.Fatalf("got %v %d, want part %d again", e.Kind, e.Sequence, i)
		}
	}
	p.send(message.Envelope{Kind: message.KindGrant, Flags: message.FlagOrigin, Origin: origin(1), Sequence: 100})
	for i := uint64(20); i < 30; i++ {
		if e := p.next(); e.Kind != message.KindPart || e.Sequence != i {
			t.Fatalf("got %v %d, want part %d", e.Kind, e.Sequence, i)
		}
	}
	if e := p.next(); e.Kind != message.KindResult || e.Origin != origin(1) {
		t.Errorf("got %v", e.Kind)
	}
}

// large is the size of items of which StreamBytes holds between four and five.
const large = message.StreamBytes/4 - 64

// items waits for those of stream 1, and that no other comes behind them.
func (p *peer) items(from, to uint64) {
	p.t.Helper()
	for i := from; i < to; i++ {
		if e := p.next(); e.Kind != message.KindPart || e.Sequence != i || len(e.Body) < large {
			p.t.Fatalf("got %v %d of %d bytes, want item %d", e.Kind, e.Sequence, len(e.Body), i)
		}
	}
	p.call(9, "add", 1, 1)
	p.result(9)
}

// The bytes of what the client has not consumed are bounded, too, and all of it
// survives a restart.
func TestWorker_streamOfLargeItems(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	start(t, b, newLab(), nil)
	p := b.worker()
	p.callWith(message.Envelope{ID: 1, Flags: message.FlagStream}, "blobs", 10, large)
	p.items(0, 5)
	p.send(message.Envelope{Kind: message.KindGrant, ID: 1, Sequence: message.StreamWindow + 1}) // one is consumed
	p.items(5, 6)
	b.kill()
	b = newScripted(t, b.addr, 2, nil)
	p = b.worker()
	e := p.next()
	for e.Kind == message.KindResult { // of add
		e = p.next()
	}
	if e.Flags&message.FlagClaim == 0 || e.Origin != origin(1) {
		t.Fatalf("got %v of %v, want the claim of 1", e.Kind, e.Origin)
	}
	p.want(message.KindCapacity, 4)
	grant := func(consumed uint64) {
		p.send(message.Envelope{Kind: message.KindGrant, Flags: message.FlagOrigin, Origin: origin(1), Sequence: message.StreamWindow + consumed})
	}
	grant(0) // the caller is back
	p.items(1, 6)
	grant(3)
	p.items(6, 8)
	grant(8)
	for i := uint64(8); i < 10; i++ {
		p.want(message.KindPart, 1)
	}
	if e := p.next(); e.Kind != message.KindResult || e.Origin != origin(1) {
		t.Errorf("got %v", e.Kind)
	}
}

// A stream that runs again sends what the client has consumed already; nobody
// needs it, and it counts for nothing.
func TestWorker_streamThatRunsAgain(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	start(t, b, newLab(), nil)
	p := b.worker()
	p.callWith(message.Envelope{ID: 1, Flags: message.FlagStream, Attempt: 2}, "blobs", 16, large)
	p.send(message.Envelope{Kind: message.KindGrant, ID: 1, Sequence: message.StreamWindow + 10})
	p.items(0, 15)
	p.send(message.Envelope{Kind: message.KindGrant, ID: 1, Sequence: message.StreamWindow + 11})
	p.want(message.KindPart, 1)
	p.want(message.KindResult, 1)
}

// A stream that has ended is told to another broker like one that runs, except
// that it takes no slot: its outcome means nothing without the items that the
// client has not seen.
func TestWorker_endedStreamSurvivesARestart(t *testing.T) {
	for _, late := range []bool{false, true} {
		leakCheck(t)
		b := newScripted(t, "127.0.0.1:0", 1, nil)
		b.mute = true
		l := newLab()
		w := start(t, b, l, nil)
		p := b.worker()
		p.callWith(message.Envelope{ID: 1, Flags: message.FlagStream}, "count", 16)
		for range 16 {
			p.want(message.KindPart, 1)
		}
		p.want(message.KindResult, 1)
		w.mu.Lock()
		o := w.kept.list[0]
		if late { // as if the method returned only behind the claim
			w.kept = kept{spare: &w.spare}
			w.calls.Put(1, o.stream)
		}
		w.mu.Unlock()
		b.kill()
		b = newScripted(t, b.addr, 2, nil)
		p = b.worker()
		if busy := p.register.Busy; busy == 1 != late {
			t.Errorf("got busy %d", busy)
		}
		p.claims(1, !late)
		if late {
			p.want(message.KindCapacity, 4)
			w.finish(o.stream, o.body, nil)
			p.claims(1, true)
		}
		b.kill() // before the caller has asked: the next broker is told as well
		b = newScripted(t, b.addr, 3, nil)
		p = b.worker()
		p.claims(1, true)
		for token := range uint64(4) { // it takes no slot
			p.call(10+token, "gate", "x")
			receive(t, l.entered, "the method")
		}
		p.send(message.Envelope{Kind: message.KindGrant, Flags: message.FlagOrigin, Origin: origin(1), Sequence: 16})
		for i := range uint64(16) {
			if e := p.next(); e.Kind != message.KindPart || e.Sequence != i || e.Origin != origin(1) {
				t.Fatalf("got %v %d, want part %d again", e.Kind, e.Sequence, i)
			}
		}
		if e := p.next(); e.Kind != message.KindResult || e.Origin != origin(1) {
			t.Fatalf("got %v %q", e.Kind, e.Body)
		}
		w.mu.Lock()
		if w.ended != 0 || w.busyLocked() != 4 {
			t.Errorf("%d ended calls, %d run", w.ended, w.busyLocked())
		}
		w.mu.Unlock()
		close(l.open)
	}
}

// Nobody asks for the stream: its slot is free again.
func TestWorker_endedStreamThatNobodyAsksFor(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	b.mute = true
	w := start(t, b, newLab(), nil)
	p := b.worker()
	p.callWith(message.Envelope{ID: 1, Flags: message.FlagStream}, "count", 3)
	for range 3 {
		p.want(message.KindPart, 1)
	}
	p.want(message.KindResult, 1)
	b.kill()
	b = newScripted(t, b.addr, 2, nil)
	p = b.worker()
	p.claims(1, true)
	p.send(message.Envelope{Kind: message.KindCancel, Flags: message.FlagOrigin, Origin: origin(1)})
	if e := p.next(); e.Kind != message.KindError || e.Origin != origin(1) {
		t.Fatalf("got %v", e.Kind)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.claimed) + w.strays + w.ended; n != 0 {
		t.Errorf("%d slots are taken by nothing", n)
	}
}

// The same for one that still runs when it is cancelled.
func TestWorker_claimedStreamThatNobodyAsksFor(t *testing.T) {
	leakCheck(t)
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	start(t, b, newLab(), nil)
	p := b.worker()
	p.callWith(message.Envelope{ID: 1, Flags: message.FlagStream}, "count", 30)
	for range 16 {
		p.want(message.KindPart, 1)
	}
	b.kill()
	b = newScripted(t, b.addr, 2, nil)
	p = b.worker()
	p.claims(1, false)
	p.want(message.KindCapacity, 4)
	p.send(message.Envelope{Kind: message.KindCancel, Flags: message.FlagOrigin, Origin: origin(1)})
	if e := p.next(); e.Kind != message.KindError || e.Origin != origin(1) {
		t.Fatalf("got %v", e.Kind)
	}
}

// claims waits for the claim of a call, which takes a slot unless it has ended.
func (p *peer) claims(number uint64, ended bool) {
	p.t.Helper()
	want := message.FlagOrigin | message.FlagClaim
	if ended {
		want |= message.FlagEnded
	}
	if e := p.next(); e.Kind != message.KindProgress || e.Flags != want || e.Origin != origin(number) {
		p.t.Fatalf("got %v of %v with flags %b, want the claim of %d", e.Kind, e.Origin, e.Flags, number)
	}
}
