package curve

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// A record's box is the box of secretbox, whatever its size.
func TestRecordKey_isSecretbox(t *testing.T) {
	t.Parallel()
	random := rand.NewChaCha8([32]byte{1})
	var shared sharedKey
	_, _ = random.Read(shared[:])
	k := newRecordKey(&shared, prefixMessageServer)
	const piece = boxPiece + streamBlock - streamStart // the first one
	sizes := []int{0, 1, 31, 32, 33, 63, 64, 65, 255, 4096, boxPiece - 1, boxPiece, boxPiece + 1,
		piece - 1, piece, piece + 1, piece + boxPiece, piece + boxPiece + 1, 5*boxPiece + 77}
	for i, size := range sizes {
		plain := make([]byte, size)
		_, _ = random.Read(plain)
		short := random.Uint64()
		front := []byte("in front")[:i%9]
		want := shared.seal(slices.Clone(front), plain, shortNonce(prefixMessageServer, short))
		got := k.seal(slices.Clone(front), plain, short)
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes make another box", size)
			continue
		}
		box := got[len(front):]
		opened, err := k.open(slices.Clone(box), short)
		if err != nil || !bytes.Equal(opened, plain) {
			t.Errorf("the box of %d bytes does not open: %v", size, err)
		}
		if _, err := k.open(slices.Clone(box), short+1); err == nil {
			t.Errorf("the box of %d bytes opens under another nonce", size)
		}
	}
}

// A forged box leaves nothing of its content where it was opened.
func TestRecordKey_forgedBoxIsWiped(t *testing.T) {
	t.Parallel()
	k := newRecordKey(new(sharedKey), prefixMessageClient)
	plain := bytes.Repeat([]byte("content"), boxPiece/3)
	for _, at := range []int{0, boxOverhead, boxOverhead + boxPiece, len(plain) + boxOverhead - 1} {
		box := k.seal(nil, plain, 1)
		box[at] ^= 1
		if _, err := k.open(box, 1); err == nil {
			t.Fatalf("a box with byte %d flipped opens", at)
		}
		if bytes.ContainsFunc(box[boxOverhead:], func(r rune) bool { return r != 0 }) {
			t.Errorf("byte %d flipped: something of what was opened is left", at)
		}
	}
	for size := range boxOverhead {
		if _, err := k.open(make([]byte, size), 1); err == nil {
			t.Errorf("%d bytes open", size)
		}
	}
}
