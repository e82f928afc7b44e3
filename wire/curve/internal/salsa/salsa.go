// Package salsa is the XORKeyStream of golang.org/x/crypto/salsa20/salsa, and
// three times as fast for what is long on processors that have AVX-512: with
// the SSE2 of x/crypto, Salsa20 is three quarters of the cost of a large box.
// (docs/adr/0010-salsa20-in-avx-512.md)
package salsa

import (
	"encoding/binary"
	"math"

	//lint:ignore SA1019 Salsa20 is what CURVE is made of
	"golang.org/x/crypto/salsa20/salsa"
)

// KeySize is the length of a key, in bytes.
const KeySize = 32

const (
	blockSize = 64
	wide      = 16 // blocks that are made at once, a group
	groupSize = wide * blockSize
)

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
	if !fast || len(src) <= few*blockSize || first >= math.MaxUint32-uint64(len(src)/blockSize+wide) {
		salsa.XORKeyStream(dst, src, counter, key)
		return
	}
	s := stateOf(counter, key)
	if groups := len(src) / groupSize; groups > 0 {
		n := groups * groupSize
		xorGroups(&dst[:n][0], &src[0], groups, &s)
		dst, src = dst[n:], src[n:]
	}
	if len(src) <= few*blockSize {
		next := *counter
		binary.LittleEndian.PutUint64(next[8:], uint64(s[counterLow]))
		salsa.XORKeyStream(dst, src, &next, key)
	} else {
		var group [groupSize]byte
		copy(group[:], src)
		xorGroups(&group[0], &group[0], 1, &s)
		copy(dst[:len(src)], group[:])
		clear(group[:])
	}
	clear(s[:])
}

// few is how many blocks SSE2 makes as fast as AVX-512 makes a whole group.
const few = 1

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
