package workersdk

import (
	"bytes"
	"testing"

	"github.com/servicetools/servicetools/wire/buffer"
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
	if len(s.calls) != 0 {
		t.Error("the record of a stream was left, whose items may still be asked for")
	}
}

// Small memory with one owner is used again; all else goes where it came from.
func TestSpare_bodies(t *testing.T) {
	small := func() buffer.Content { return buffer.Keep([]byte("small"), nil) }
	var s spare
	b := small()
	first := b.Memory
	s.release(&b)
	if b.Memory != nil || b.Bytes != nil {
		t.Errorf("%+v is left of what was released", b)
	}
	if again := s.keep([]byte("another"), nil); again.Memory != first || string(again.Bytes) != "another" {
		t.Errorf("kept %q in other memory", again.Bytes)
	}

	shared := small()
	owner := shared.Memory.Hold()
	s.release(&shared)
	large := buffer.Keep(make([]byte, buffer.Small+100), nil)
	s.release(&large)
	s.release(&buffer.Content{})
	if len(s.bodies) != 0 {
		t.Errorf("%d bodies were left", len(s.bodies))
	}
	if owner.Shared() || string(owner.Bytes) != "small" {
		t.Errorf("the other owner has %q", owner.Bytes)
	}
	b = small()
	s.release(&b)
	long := bytes.Repeat([]byte{7}, buffer.Small+1)
	if kept := s.keep(long, nil); !bytes.Equal(kept.Bytes, long) || len(s.bodies) != 1 {
		t.Errorf("a body of %d bytes was kept as %d, and %d are left", len(long), len(kept.Bytes), len(s.bodies))
	}
}

// What lies in a spare is bounded, and goes while it is not needed.
func TestSpare_bounds(t *testing.T) {
	var s, mine spare
	for range maxSpare + 10 {
		b := buffer.Keep([]byte{1}, nil)
		s.leaveCall(new(call))
		s.release(&b)
	}
	if len(s.calls) != maxSpare || len(s.bodies) != maxSpare {
		t.Errorf("%d records and %d bodies, want %d", len(s.calls), len(s.bodies), maxSpare)
	}
	mine.takeFrom(&s)
	mine.call()
	mine.call()
	mine.takeFrom(&s)
	if len(mine.calls) != stockUp || len(mine.bodies) != stockUp {
		t.Errorf("%d records and %d bodies were fetched, want %d", len(mine.calls), len(mine.bodies), stockUp)
	}
	if len(s.calls) != maxSpare-stockUp-2 || len(s.bodies) != maxSpare-stockUp {
		t.Errorf("%d records and %d bodies are left", len(s.calls), len(s.bodies))
	}
	for range 11 {
		s.trim()
	}
	mine.takeFrom(&s)
	if s.calls != nil || s.bodies != nil {
		t.Errorf("%d records and %d bodies are left for ever", len(s.calls), len(s.bodies))
	}
}
