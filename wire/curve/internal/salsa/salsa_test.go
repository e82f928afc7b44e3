package salsa

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	//lint:ignore SA1019 what is compared
	"golang.org/x/crypto/salsa20/salsa"
)

// same fails the test if XORKeyStream is not that of x/crypto. It tries all vectors by
// itself, for a fuzz target runs in processes that know no loop around it.
func same(t *testing.T, src []byte, counter *[16]byte, key *[KeySize]byte) {
	t.Helper()
	want := make([]byte, len(src))
	was := *counter
	salsa.XORKeyStream(want, src, counter, key)
	eachVector(func(v vector) {
		got := make([]byte, len(src)+1)
		XORKeyStream(got[:len(src)], src, counter, key)
		if !bytes.Equal(got[:len(src)], want) || got[len(src)] != 0 {
			t.Fatalf("%d bytes from %x, groups of %d: the stream is another one, or exceeds them", len(src), *counter, v)
		}
		in := bytes.Clone(src)
		XORKeyStream(in, in, counter, key)
		if !bytes.Equal(in, want) {
			t.Fatalf("%d bytes from %x, groups of %d: in place, the stream is another one", len(src), *counter, v)
		}
		if *counter != was {
			t.Fatalf("%d bytes, groups of %d: the counter was changed", len(src), v)
		}
	})
}

func TestXORKeyStream_isThatOfXCrypto(t *testing.T) {
	random := rand.NewChaCha8([32]byte{7})
	var key [KeySize]byte
	var counter [16]byte
	group := bits512.size()
	for _, size := range []int{0, 1, 63, 64, 65, 192, 193, 500, 511, 512, 513, 700, group - 1, group, group + 1, 2*group - 1, 2 * group, 5*group + 130, 64 << 10} {
		for _, block := range []uint64{0, 1, 17, math.MaxUint32 - 83, math.MaxUint32 - 1, 1 << 32, math.MaxUint64 - 3} {
			_, _ = random.Read(key[:])
			_, _ = random.Read(counter[:8])
			binary.LittleEndian.PutUint64(counter[8:], block)
			src := make([]byte, size)
			_, _ = random.Read(src)
			same(t, src, &counter, &key)
		}
	}
}

func FuzzXORKeyStream(f *testing.F) {
	f.Add([]byte("key"), []byte("nonce"), uint64(1), uint16(3000), byte(7))
	f.Fuzz(func(t *testing.T, k, n []byte, block uint64, size uint16, fill byte) {
		var key [KeySize]byte
		var counter [16]byte
		copy(key[:], k)
		copy(counter[:8], n)
		binary.LittleEndian.PutUint64(counter[8:], block)
		same(t, bytes.Repeat([]byte{fill}, int(size)), &counter, &key)
	})
}

func BenchmarkXORKeyStream(b *testing.B) {
	eachVector(func(v vector) {
		for _, size := range []int{64, 128, 192, 256, 320, 512, 1000, 64 << 10} {
			b.Run(fmt.Sprintf("groups of %d/%d", v, size), func(b *testing.B) {
				var key [KeySize]byte
				var counter [16]byte
				src := make([]byte, size)
				b.SetBytes(int64(size))
				for b.Loop() {
					XORKeyStream(src, src, &counter, &key)
				}
			})
		}
	})
}
