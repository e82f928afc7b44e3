package zmtp

import (
	"io"
	"testing"

	"github.com/servicetools/servicetools/wire/buffer"
)

// inPieces gives a piece of a stream, or a part of one, with each read.
type inPieces struct {
	pieces [][]byte
	given  int
	before func(given int) // is called before each read
}

func (s *inPieces) Read(b []byte) (int, error) {
	s.before(s.given)
	if len(s.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(b, s.pieces[0])
	if s.pieces[0] = s.pieces[0][n:]; len(s.pieces[0]) == 0 {
		s.pieces = s.pieces[1:]
	}
	s.given += n
	return n, nil
}

// watchHeld runs a link on pieces and tells how many bytes its read loop holds
// whenever it waits. The first message is shared until the end.
func watchHeld(pieces [][]byte, watch func(given, held int)) {
	src := &inPieces{pieces: pieces}
	l := newLink(readConn{Reader: src}, Security{Sealer: nullRecord{}, Opener: nullRecord{}}, Limits{}.withDefaults())
	src.before = func(given int) {
		held := len(l.reader.buf)
		if m := l.reader.message.large; m != nil {
			held += cap(m.Bytes)
		}
		watch(given, held)
	}
	var shared *buffer.Buffer
	n := 0
	_ = l.Run(func(m *Message) error {
		if n++; n == 1 {
			shared = m.Share()
		}
		return nil
	})
	shared.Release()
}

// announce is the header of a frame that need not come.
func announce(flags FrameFlags, size int) []byte { return AppendFrameHeader(nil, flags, size) }

// A frame's buffer grows with what has come of it, also behind a small frame.
func TestReader_growsAsBytesCome(t *testing.T) {
	for name, head := range map[string][]byte{"alone": nil, "behind a head": append(announce(FlagMore, 4), "head"...)} {
		t.Run(name, func(t *testing.T) {
			watchHeld([][]byte{append(head, announce(0, 16<<20)...), make([]byte, 9<<20)}, func(given, held int) {
				if held > 2*max(given, bufferRoom) {
					t.Errorf("%d bytes have come and %d are held", given, held)
				}
			})
		})
	}
}

// A link that had a large message needs no such buffer for small ones, even if it
// never rests between two of them.
func TestReader_holdsLittleForSmallMessages(t *testing.T) {
	large, small := frames(string(make([]byte, 8<<20))), frames("small")
	pieces := [][]byte{small, large, small[:1]}
	for range 5 {
		pieces = append(pieces, append(small[1:], small[0]))
	}
	watchHeld(pieces, func(given, held int) {
		if more := given - len(small) - len(large); more > 1 && held > maxPooled {
			t.Errorf("%d bytes behind the large message, %d are held", more, held)
		}
	})
}

// What came before makes a length no more than likely: it is believed when a part of
// the frame, or of a message in frames, is here.
func TestReader_believesNoLengthAtOnce(t *testing.T) {
	const size = 16<<20 - 100
	large := frames(string(make([]byte, size)))
	rest := make([]byte, 600)
	for name, pieces := range map[string][][]byte{
		"while it was quiet":    {frames("small"), large, frames("small"), append(announce(0, size), rest...), rest},
		"while it is shared":    {large, append(announce(0, size), rest...), rest},
		"of a message in parts": {large, frames("small"), append(announce(FlagMore, buffer.Large), make([]byte, buffer.Large)...)},
	} {
		t.Run(name, func(t *testing.T) {
			watchHeld(pieces, func(given, held int) {
				if more := given - len(large) - len(frames("small")); more > len(rest) && held > maxPooled {
					t.Errorf("%d bytes behind the large message, %d are held", more, held)
				}
			})
		})
	}
}
