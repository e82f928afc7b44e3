package zmtp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/servicetools/servicetools/wire/buffer"
)

// turned is a record layer that hides frames by turning their bits, and opens them
// in place behind a head of its own, as CURVE does.
type turned struct{ nullRecord }

const turnedHead = 40

func (turned) Open(outer FrameFlags, frame []byte) (FrameFlags, []byte, error) {
	body := frame[turnedHead:]
	for i := range body {
		body[i] ^= 0xff
	}
	return outer, body, nil
}

// hide returns the wire form of what turned opens.
func hide(flags FrameFlags, body []byte) []byte {
	b := append(AppendFrameHeader(nil, flags, turnedHead+len(body)), make([]byte, turnedHead)...)
	for _, c := range body {
		b = append(b, ^c)
	}
	return b
}

func bare(flags FrameFlags, body []byte) []byte {
	return append(AppendFrameHeader(nil, flags, len(body)), body...)
}

// kept is a message that somebody keeps.
type kept struct {
	content buffer.Content
	want    []byte
	until   int // the number of the message at which it is let go
}

// Messages that are kept stay as they were, whatever comes behind them and
// however it is cut, until others in other goroutines have let them go. Commands
// come between their frames, and the link ends in every way that it can.
func TestReader_keptMessagesStay(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, seed))
			security, wire := Security{Sealer: nullRecord{}, Opener: nullRecord{}}, bare
			if seed%2 == 1 {
				security.Opener, wire = turned{}, hide
			}
			var stream []byte
			var want [][]byte
			for range 150 {
				bodies := someFrames(random)
				for i, body := range bodies {
					flags := FlagMore
					if i == len(bodies)-1 {
						flags = 0
					}
					if random.IntN(8) == 0 {
						stream = append(stream, wire(FlagCommand, AppendCommand(nil, "ANY", make([]byte, random.IntN(2000))))...)
					}
					stream = append(stream, wire(flags, body)...)
				}
				want = append(want, bytes.Join(bodies, nil))
			}
			end := someEnds[seed%uint64(len(someEnds))]
			if end == io.ErrUnexpectedEOF {
				stream = append(stream, wire(FlagMore, make([]byte, 100))...)
				stream = append(stream, wire(0, make([]byte, 60<<10))[:random.IntN(60<<10)]...)
			}
			src := atMost{bytes.NewReader(stream), func() int { return 1 + random.IntN(1<<random.IntN(19)) }}
			l := newLink(readConn{Reader: src}, security, Limits{MaxMessage: 4 << 20}.withDefaults())
			var others sync.WaitGroup
			defer others.Wait()
			var all []kept
			n := 0
			err := l.Run(func(m *Message) error {
				if !bytes.Equal(m.Bytes(), want[n]) {
					return fmt.Errorf("message %d came changed", n)
				}
				memory := m.Share()
				defer memory.Release()
				if at := random.IntN(100); random.IntN(2) == 0 && len(m.Bytes()) > at { // as an envelope's body
					all = append(all, kept{buffer.Keep(m.Bytes()[at:], memory), want[n][at:], n + random.IntN(10)})
				}
				n++
				rest := all[:0]
				for _, k := range all {
					if k.until > n {
						rest = append(rest, k)
						continue
					}
					others.Go(func() {
						if !bytes.Equal(k.content.Bytes, k.want) {
							t.Errorf("a message was changed while it was kept, at message %d", k.until)
						}
						k.content.Release()
					})
				}
				all = rest
				switch {
				case n < len(want):
				case end == errPanic:
					panic(end)
				case end == errHandler:
					return end
				}
				return nil
			})
			var panicked *PanicError
			if !errors.Is(err, end) && (end != errPanic || !errors.As(err, &panicked)) || n != len(want) {
				t.Errorf("%d messages of %d: %v, not %v", n, len(want), err, end)
			}
			for _, k := range all {
				if !bytes.Equal(k.content.Bytes, k.want) {
					t.Error("a message did not outlive the link")
				}
				k.content.Release()
			}
		})
	}
}

var (
	errHandler = errors.New("the handler's")
	errPanic   = errors.New("the handler's panic")
	someEnds   = []error{io.EOF, io.ErrUnexpectedEOF, errHandler, errPanic, io.EOF}
)

// someFrames is one message: small, large, large behind small ones, or in pieces.
func someFrames(random *rand.Rand) [][]byte {
	some := func(most int) []byte {
		b := make([]byte, random.IntN(most))
		for i := 0; i < len(b); i += 1 + random.IntN(40) {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	switch random.IntN(8) {
	case 0:
		return [][]byte{some(400)}
	case 1:
		return [][]byte{some(200 << 10)}
	case 2:
		return [][]byte{some(100), some(70 << 10)}
	case 3:
		return [][]byte{some(100), some(2000), some(70 << 10)}
	case 4:
		return [][]byte{some(100), some(70 << 10), some(70 << 10), some(300 << 10)}
	case 5:
		return [][]byte{nil, some(20), nil, some(70 << 10)}
	case 6: // as many as there may be
		many := make([][]byte, 64)
		for i := range many {
			many[i] = some(1 + random.IntN(40))
		}
		many[63] = some(70 << 10)
		return many
	}
	return [][]byte{some(100), some(400), some(100)}
}

// A large frame behind a small one stays where it was read.
func TestReader_largeFrameIsNotCopied(t *testing.T) {
	head, body := []byte("head"), bytes.Repeat([]byte("body"), buffer.Large)
	stream := bytes.Repeat(append(append(AppendFrameHeader(nil, FlagMore, len(head)), head...),
		append(AppendFrameHeader(nil, 0, len(body)), body...)...), 4)
	l := newLink(readConn{Reader: bytes.NewReader(stream)}, Security{Sealer: nullRecord{}, Opener: nullRecord{}}, Limits{}.withDefaults())
	n := 0
	err := l.Run(func(m *Message) error {
		n++
		if n > 1 && m.large != l.reader.memory { // before that the buffer grew
			t.Errorf("message %d is not in the reader's buffer", n)
		}
		return nil
	})
	if err != io.EOF || n != 4 {
		t.Errorf("%d messages: %v", n, err)
	}
}
