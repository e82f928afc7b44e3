package workersdk

import (
	"bytes"
	"testing"
	"unsafe"

	"github.com/servicetools/servicetools/wire/buffer"
	"github.com/servicetools/servicetools/wire/message"
)

// A record begins anew, and one whose context was given out is not used again.
func TestSpare_calls(t *testing.T) {
	var s spare
	c := &call{worker: &Worker{}, token: 7, fenced: true}
	c.stopLocked(errCancel)
	s.leaveCall(c)
	if again := s.call(); again != c {
		t.Error("the record was not used again")
	}
	if c.context.stopped.Load() || c.cause != nil || c.fenced || c.token != 0 || c.worker != nil {
		t.Error("the record still knows the last call")
	}
	c.worker, c.token = &Worker{}, 8
	c.open()
	c.context.close()
	s.leaveCall(c)
	if again := s.call(); again == c || c.token != 8 {
		t.Error("a record was used again whose context the method may have kept")
	}
	s.leaveCall(&call{flow: newFlow()})
	if len(s.calls.list) != 0 {
		t.Error("the record of a stream was left, whose items may still be asked for")
	}
}

// A record is four cache lines at most, and begins at one: Go's memory of 256 bytes does.
func TestCall_size(t *testing.T) {
	if n := unsafe.Sizeof(call{}); n > 256 {
		t.Errorf("a record has %d bytes", n)
	}
}

// Small memory with one owner is used again; all else goes where it came from.
func TestSpare_bodies(t *testing.T) {
	small := func() buffer.Content { return buffer.Keep([]byte("small"), nil) }
	var s spare
	b := small()
	first := b.Memory
	s.leaveBody(&b)
	if b.Memory != nil || b.Bytes != nil {
		t.Errorf("%+v is left of what was given up", b)
	}
	if again := s.body([]byte("another"), nil); again.Memory != first || string(again.Bytes) != "another" {
		t.Errorf("kept %q in other memory", again.Bytes)
	}

	shared := small()
	owner := shared.Memory.Hold()
	s.leaveBody(&shared)
	large := buffer.Keep(make([]byte, buffer.MinRoom+100), nil)
	s.leaveBody(&large)
	s.leaveBody(&buffer.Content{})
	if len(s.bodies.list) != 0 {
		t.Errorf("%d bodies were left", len(s.bodies.list))
	}
	if owner.Shared() || string(owner.Bytes) != "small" {
		t.Errorf("the other owner has %q", owner.Bytes)
	}
	b = small()
	s.leaveBody(&b)
	long := bytes.Repeat([]byte{7}, buffer.MinRoom+1)
	if kept := s.body(long, nil); !bytes.Equal(kept.Bytes, long) || len(s.bodies.list) != 1 {
		t.Errorf("a body of %d bytes was kept as %d, and %d are left", len(long), len(kept.Bytes), len(s.bodies.list))
	}
}

// What lies in a stack is bounded, and half of what lay idle goes with each trim.
func TestSpare_bounds(t *testing.T) {
	var s, mine spare
	for range maxSpare + 10 {
		b := buffer.Keep([]byte{1}, nil)
		s.leaveCall(new(call))
		s.leaveBody(&b)
	}
	want := func(of *spare, n int, when string) {
		t.Helper()
		if c, b := len(of.calls.list), len(of.bodies.list); c != n || b != n {
			t.Errorf("%s: %d records and %d bodies, want %d", when, c, b, n)
		}
	}
	want(&s, maxSpare, "full")
	if !mine.low() {
		t.Error("a stock of nothing is not low")
	}
	mine.fetch(&s)
	want(&mine, stock, "fetched")
	want(&s, maxSpare-stock, "behind that")
	if mine.low() {
		t.Error("a whole stock is low")
	}
	for range stock/2 + 1 {
		mine.call()
		mine.body(nil, nil)
	}
	if !mine.low() {
		t.Error("less than half of a stock is not low")
	}
	s.trim() // notes how many lie there
	s.trim()
	want(&s, (maxSpare-stock)/2, "half of it was idle")
	mine.fetch(&s)
	want(&mine, stock, "fetched again")
	for range 11 {
		s.trim()
	}
	want(&s, 0, "after a while")
}

// What one call has left the next one uses, also if it has failed.
func TestSpare_isUsed(t *testing.T) {
	b := newScripted(t, "127.0.0.1:0", 1, nil)
	w := start(t, b, newLab(), nil)
	p := b.worker()
	p.call(1, "echo", "hello")
	p.want(message.KindResult, 1)
	p.call(2, "panic", "oops")
	p.want(message.KindError, 2)
	p.call(3, "echo", "hello")
	p.want(message.KindResult, 3)
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.spare.calls.list) + len(w.conn.spare.calls.list); n != 1 {
		t.Errorf("there are %d records after three calls, want that of the first one", n)
	}
}
