//go:build !purego

package salsa

// vectors are those of this processor.
var vectors = vectorsHere()

// vectorsHere asks the processor for its vectors, and the operating system whether it
// saves their registers (Intel's manual, volume 1, 14.3 and 15.2).
// golang.org/x/sys/cpu would say it too, but wire imports only what it must.
func vectorsHere() vector {
	const (
		osxsave  = 1 << 27 // leaf 1, ECX
		avx2     = 1 << 5  // leaf 7, EBX
		avx512f  = 1 << 16 // leaf 7, EBX
		vbmi2    = 1 << 6  // leaf 7, ECX
		saved256 = 0x06    // XCR0: XMM, YMM
		saved512 = 0xe6    // and the masks, the upper halves, Z16 to Z31
	)
	if most, _, _, _ := cpuid(0, 0); most < 7 {
		return none
	}
	if _, _, c, _ := cpuid(1, 0); c&osxsave == 0 {
		return none
	}
	saved := xgetbv()
	_, b, c, _ := cpuid(7, 0)
	switch {
	// VBMI2 stands for Ice Lake, Zen 4 and later. It is not needed here, but the
	// processors before it lower their clock for vectors of 512 bits.
	case b&avx512f != 0 && c&vbmi2 != 0 && saved&saved512 == saved512:
		return bits512
	case b&avx2 != 0 && saved&saved256 == saved256:
		return bits256
	}
	return none
}

func xorGroups(dst, src *byte, groups int, s *state) {
	if vectors == bits512 {
		xorWide512(dst, src, groups, s)
	} else {
		xorWide256(dst, src, groups, s)
	}
}

// cpuid returns what the instruction CPUID says of a leaf.
func cpuid(leaf, part uint32) (a, b, c, d uint32)

// xgetbv returns the lower half of XCR0.
func xgetbv() uint32

// xorWide512 puts groups of 16 blocks of src, XORed with the keystream that begins
// in s, into dst. s is left at the block behind them.
//
//go:noescape
func xorWide512(dst, src *byte, groups int, s *state)

// xorWide256 is xorWide512 for groups of 8 blocks.
//
//go:noescape
func xorWide256(dst, src *byte, groups int, s *state)
