package zmtp

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// tiredSealer seals so many frames and no more, as one whose nonces are used up.
type tiredSealer struct {
	nullRecord
	left int
}

var errTired = errors.New("tired")

func (s *tiredSealer) Seal(dst []byte, flags FrameFlags, plain []byte) ([]byte, error) {
	if s.left == 0 {
		return dst, errTired
	}
	s.left--
	return s.nullRecord.Seal(dst, flags, plain)
}

// A frame that cannot be sealed ends its link, and was not handed over.
func TestLink_endsWhenItCannotSeal(t *testing.T) {
	for _, test := range []struct {
		name   string
		frames int // that are sealed
		size   int
	}{
		{"the first message", 0, 10}, {"the third", 2, 10}, {"within a large one", 1, 1 << 20}, {"at its end", 15, 1 << 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer theirs.Close()
			go func() { _, _ = io.Copy(io.Discard, theirs) }()
			l := newLink(ours, Security{Sealer: &tiredSealer{left: test.frames}, Opener: nullRecord{}}, Limits{}.withDefaults())
			ended := run(l, ignore)
			handed := uint64(0)
			for l.Cause() == nil {
				start, err := l.Append(func(dst []byte) []byte { return append(dst, make([]byte, test.size)...) })
				if err != nil {
					break
				}
				handed = start
				for l.Cause() == nil && l.Pending() > 0 {
					time.Sleep(time.Millisecond)
				}
			}
			if err := <-ended; err != errTired {
				t.Errorf("ended with %v", err)
			}
			if got := l.Handed(); got != handed {
				t.Errorf("Handed is %d, and what begins at %d was never sealed", got, handed)
			}
		})
	}
}

// secretive is a mechanism whose record layer counts how often it was wiped.
type secretive struct {
	Null
	during func() // the handshake
	wiped  *atomic.Int32
}

type secretRecord struct {
	nullRecord
	wiped *atomic.Int32
}

func (r secretRecord) Wipe() { r.wiped.Add(1) }

func (m secretive) Handshake(c Commands, local Metadata) (Security, error) {
	s, err := m.Null.Handshake(c, local)
	s.Sealer, s.Opener = secretRecord{wiped: m.wiped}, secretRecord{wiped: m.wiped}
	m.during()
	return s, err
}

// Keys are wiped however a connection ends, also one that never became a link.
func TestHandshake_wipesKeys(t *testing.T) {
	for _, test := range []struct {
		name string
		peer string // its socket type
		end  func(d *door)
	}{
		{"it is served", "DEALER", func(*door) {}},
		{"the socket type is wrong", "REP", func(*door) {}},
		{"the listener ends meanwhile", "DEALER", func(d *door) { d.stop() }},
		{"it is evicted meanwhile", "DEALER", func(d *door) {
			d.waiting.list.Front().Value.(*waiter).silent.Store(sinceEpoch() - 2*patience)
			d.waiting.evict()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var wiped atomic.Int32
			var d *door
			begin, met := make(chan struct{}), make(chan struct{})
			during := func() {
				<-begin
				test.end(d)
				close(met)
			}
			d = openDoor(t, &Config{SocketType: "ROUTER", Mechanism: secretive{during: during, wiped: &wiped}}, ListenLimits{})
			close(begin)
			l, err := Dial(context.Background(), d.endpoint, &Config{SocketType: test.peer, Mechanism: Null{}})
			if err == nil {
				l.Close(nil)
			}
			<-met
			d.stop()
			err = <-d.served
			d.served <- err
			if n := wiped.Load(); n != 2 {
				t.Errorf("the halves of the record layer were wiped %d times", n)
			}
		})
	}
}
