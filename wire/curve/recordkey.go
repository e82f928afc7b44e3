package curve

import (
	"encoding/binary"

	//lint:ignore SA1019 the parts of secretbox, for the reason that recordKey gives
	"golang.org/x/crypto/poly1305"

	"github.com/servicetools/servicetools/wire/curve/internal/salsa"
)

// recordKey seals and opens the MESSAGEs of one direction of a connection. Its
// boxes are those of secretbox (NaCl's crypto_box, XSalsa20 and Poly1305), made
// of the same parts, because secretbox takes a box in one piece:
//
//   - its assembly cannot be preempted, and a frame of 16 MiB took it 17 ms, for
//     which a garbage collection, and with it every other link, had to wait;
//   - it goes through the box twice, so that a large one leaves the cache between;
//   - it derives the key of XSalsa20 anew for each box, though the part of the nonce
//     that it depends on is the same for all of a direction;
//   - its Salsa20 knows no vectors beyond SSE2.
type recordKey [keySize]byte

// boxPiece is how much is sealed or opened at once: 25 to 70 us, and well within a
// core's cache. It is a multiple of Salsa20's block.
const boxPiece = 64 << 10

// What lies where in the keystream of a box: the one-time key of Poly1305, and
// from the middle of the first block on the key that the plain bytes are XORed with.
const (
	streamBlock = 64
	streamStart = 32
)

// newRecordKey returns the key for the boxes whose nonces begin with prefix.
func newRecordKey(shared *sharedKey, prefix string) (k recordKey) {
	var head [16]byte
	copy(head[:], prefix)
	salsa.HSalsa20((*[keySize]byte)(&k), &head, (*[keySize]byte)(shared))
	return k
}

// seal appends Box [plain] to dst, which must not overlap plain.
func (k *recordKey) seal(dst, plain []byte, short uint64) []byte {
	at := len(dst)
	dst = extend(dst, boxOverhead+len(plain))
	tag, sealed := dst[at:at+boxOverhead], dst[at+boxOverhead:]
	s := k.stream(short)
	mac := poly1305.New(s.macKey())
	for len(plain) > 0 {
		n := s.piece(len(plain))
		s.xor(sealed, plain[:n])
		_, _ = mac.Write(sealed[:n]) // never fails
		plain, sealed = plain[n:], sealed[n:]
	}
	mac.Sum(tag[:0])
	return dst
}

// open opens a box in place and returns what is in it. What a forged one held is
// wiped.
func (k *recordKey) open(box []byte, short uint64) ([]byte, error) {
	if len(box) < boxOverhead {
		return nil, errBox
	}
	tag, plain := box[:boxOverhead], box[boxOverhead:]
	s := k.stream(short)
	mac := poly1305.New(s.macKey())
	for rest := plain; len(rest) > 0; {
		piece := rest[:s.piece(len(rest))]
		_, _ = mac.Write(piece) // never fails
		s.xor(piece, piece)
		rest = rest[len(piece):]
	}
	if !mac.Verify(tag) {
		clear(plain)
		return nil, errBox
	}
	return plain, nil
}

// boxStream is the keystream of one box.
type boxStream struct {
	key     *recordKey
	counter [16]byte          // the short nonce, big-endian, and the block's number, little-endian
	first   [streamBlock]byte // block 0
	block   uint64            // the next one; 0 = the rest of first
}

func (k *recordKey) stream(short uint64) (s boxStream) {
	s.key = k
	binary.BigEndian.PutUint64(s.counter[:], short)
	salsa.XORKeyStream(s.first[:], s.first[:], &s.counter, (*[keySize]byte)(k))
	return s
}

// macKey is the one-time key of Poly1305.
func (s *boxStream) macKey() *[keySize]byte { return (*[keySize]byte)(s.first[:]) }

// piece returns how many of the next n bytes are done at once.
func (s *boxStream) piece(n int) int {
	if s.block == 0 {
		return min(n, streamBlock-streamStart+boxPiece)
	}
	return min(n, boxPiece)
}

// xor puts src, a piece, XORed with what follows in the keystream, into dst.
func (s *boxStream) xor(dst, src []byte) {
	n := 0
	if s.block == 0 {
		s.block = 1
		n = min(len(src), streamBlock-streamStart)
		for i := range n {
			dst[i] = src[i] ^ s.first[streamStart+i]
		}
	}
	binary.LittleEndian.PutUint64(s.counter[8:], s.block)
	salsa.XORKeyStream(dst[n:], src[n:], &s.counter, (*[keySize]byte)(s.key))
	s.block += boxPiece / streamBlock
}

// extend returns b with n more bytes, whose content is anything.
func extend(b []byte, n int) []byte {
	if total := len(b) + n; total <= cap(b) {
		return b[:total]
	}
	return append(b, make([]byte, n)...)
}
