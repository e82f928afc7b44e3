// Package salsa is the XORKeyStream of golang.org/x/crypto/salsa20/salsa with wider
// vectors: for what is long it is five times as fast on processors that have AVX-512,
// twice as fast with AVX2. With the SSE2 of x/crypto, Salsa20 is three quarters
// of the cost of a large box. (docs/adr/0010-wider-salsa20.md)
package salsa

import (
	"encoding/binary"
	"math"

	//lint:ignore SA1019 Salsa20 is what CURVE is made of
	"golang.org/x/crypto/salsa20/salsa"
)

// KeySize is the length of a key, in bytes.
const KeySize = 32

const blockSize = 64

// vector is a kind of registers, by the number of blocks that they make at once, a
// group.
type vector int

const (
	none    vector = 0
	bits256 vector = 8
	bits512 vector = 16
)

// size is that of a group, in bytes.
func (v vector) size() int { return int(v) * blockSize }

// HSalsa20 puts the key that XSalsa20 derives from key and the first 16 bytes of a
// nonce into out.
func HSalsa20(out *[KeySize]byte, nonce *[16]byte, key *[KeySize]byte) {
	salsa.HSalsa20(out, nonce, key, &salsa.Sigma)
}

// XORKeyStream puts src, XORed with the keystream of key from counter on, into
// dst. The two are the same memory or do not overlap. counter is the nonce, and the
// number of the first block in little-endian order.
func XORKeyStream(dst, src []byte, counter *[16]byte, key *[KeySize]byte) {
	first := binary.LittleEndian.Uint64(counter[8:])
	if vectors == none || len(src) <= few*blockSize || first > math.MaxUint32-uint64(len(src)/blockSize)-uint64(bits512) {
		salsa.XORKeyStream(dst, src, counter, key)
		return
	}
	s := stateOf(counter, key)
	if groups := len(src) / vectors.size(); groups > 0 {
		n := groups * vectors.size()
		xorGroups(&dst[:n][0], &src[0], groups, &s)
		dst, src = dst[n:], src[n:]
	}
	if len(src) <= few*blockSize {
		next := *counter
		binary.LittleEndian.PutUint64(next[8:], uint64(s[counterLow]))
		salsa.XORKeyStream(dst, src, &next, key)
	} else {
		var group [int(bits512) * blockSize]byte
		copy(group[:], src)
		xorGroups(&group[0], &group[0], 1, &s)
		copy(dst[:len(src)], group[:])
		clear(group[:])
	}
	clear(s[:])
}

// few is how many blocks SSE2 makes about as fast as wider vectors make a group.
const few = 2

// state is the input of Salsa20, in its order.
type state [16]uint32

// counterLow is where the low half of the block's number is. The high half stays 0 here.
const counterLow = 8

func stateOf(counter *[16]byte, key *[KeySize]byte) state {
	word := func(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[4*i:]) }
	sigma := salsa.Sigma[:]
	return state{
		word(sigma, 0), word(key[:], 0), word(key[:], 1), word(key[:], 2),
		word(key[:], 3), word(sigma, 1), word(counter[:], 0), word(counter[:], 1),
		word(counter[:], 2), 0, word(sigma, 2), word(key[:], 4),
		word(key[:], 5), word(key[:], 6), word(key[:], 7), word(sigma, 3),
	}
}
