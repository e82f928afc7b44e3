package bench

import (
	"bytes"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"
)

// load is what a Go client keeps in flight during one cell: a slot for each
// call, each with a payload of its own that no other slot has.
type load struct {
	cell  Cell
	slots []slot

	answered atomic.Int64  // slots that have had an answer
	whole    chan struct{} // closed when each slot has had one

	phase   atomic.Int32  // of the phases below
	wanted  int           // answers of one timed slot in the window, which waits for them
	counted chan struct{} // closed when a slot has had as many
	once    sync.Once     // closes counted
}

const (
	warming int32 = iota
	measuring
	over
)

// slot is the place of one call in flight. It belongs to the goroutine that
// makes its calls.
type slot struct {
	payload []byte
	turn    uint32
	sent    time.Time // zero if this slot is not timed
	timed   bool

	calls, wrong int64
	latency      []time.Duration
}

// timedSlots bounds the slots that are timed: asking the clock for each of
// 300,000 calls a second would be part of the measurement.
const timedSlots = 100

// wanted returns the answers of one timed slot that the window waits for. The call with the
// second of them has begun and ended in the window, so each side has worked. In a deep
// queue a slot's second turn comes only after all others have had theirs, and each
// side is busy at any time: there one answer will do.
func wanted(c Cell) int {
	if c.InFlight >= deepLoad {
		return 1
	}
	return 2
}

const deepLoad = 10_000 // calls in flight

func newLoad(c Cell, wanted int) *load {
	l := &load{cell: c, slots: make([]slot, c.InFlight), wanted: wanted, whole: make(chan struct{}), counted: make(chan struct{})}
	pattern := make([]byte, c.Size)
	for i := range pattern {
		pattern[i] = byte(i * 7)
	}
	stride := max(1, c.InFlight/timedSlots)
	for i := range l.slots {
		s := &l.slots[i]
		s.payload = bytes.Clone(pattern)
		s.timed = i%stride == 0
		if len(s.payload) >= 8 {
			binary.LittleEndian.PutUint32(s.payload, uint32(i))
		}
	}
	return l
}

// next returns the payload of the slot's next call.
func (s *slot) next() []byte {
	s.turn++
	if len(s.payload) >= 8 {
		binary.LittleEndian.PutUint32(s.payload[4:], s.turn)
	}
	if s.timed {
		s.sent = time.Now()
	}
	return s.payload
}

// ended takes the answer of the slot's call.
func (l *load) ended(s *slot, answer []byte) {
	wrong := !bytes.Equal(answer, s.payload)
	if s.turn == 1 && l.answered.Add(1) == int64(len(l.slots)) {
		close(l.whole)
	}
	if l.phase.Load() != measuring {
		if wrong {
			s.wrong++ // a wrong answer counts at any time
		}
		return
	}
	s.calls++
	if wrong {
		s.wrong++
	}
	if s.timed {
		if s.calls == int64(l.wanted) {
			l.once.Do(func() { close(l.counted) })
		}
		s.latency = append(s.latency, time.Since(s.sent))
	}
}

// done reports whether the slot makes no further call.
func (l *load) done() bool { return l.phase.Load() == over }

// report adds up the slots after all of them have ended.
func (l *load) report(measured time.Duration) *Report {
	r := &Report{Seconds: measured.Seconds()}
	var latency []float64
	for i := range l.slots {
		s := &l.slots[i]
		r.Calls += s.calls
		r.Wrong += s.wrong
		for _, d := range s.latency {
			latency = append(latency, float64(d)/1e3)
		}
	}
	r.P50, r.P99 = quantiles(latency)
	return r
}
