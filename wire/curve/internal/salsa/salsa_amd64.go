//go:build !purego

package salsa

// fast is true on Ice Lake, Zen 4 and later, which have AVX512_VBMI2. It is not
// needed here, but the processors before it lower their clock for vectors of 512 bits.
var fast = hasVectors()

// hasVectors asks the processor for AVX512F and AVX512_VBMI2, and the operating
// system whether it saves the registers of 512 bits (Intel's manual, volume 1,
// 15.2). golang.org/x/sys/cpu would say it too, but wire imports only what it must.
func hasVectors() bool {
	const (
		osxsave = 1 << 27 // leaf 1, ECX
		f       = 1 << 16 // leaf 7, EBX
		vbmi2   = 1 << 6  // leaf 7, ECX
		saved   = 0xe6    // XCR0: XMM, YMM, the masks, the upper halves, Z16 to Z31
	)
	if most, _, _, _ := cpuid(0, 0); most < 7 {
		return false
	}
	if _, _, c, _ := cpuid(1, 0); c&osxsave == 0 || xgetbv()&saved != saved {
		return false
	}
	_, b, c, _ := cpuid(7, 0)
	return b&f != 0 && c&vbmi2 != 0
}

// cpuid returns what the instruction CPUID says of a leaf.
func cpuid(leaf, part uint32) (a, b, c, d uint32)

// xgetbv returns the lower half of XCR0.
func xgetbv() uint32

// xorGroups puts groups of blocks of src, XORed with the keystream that begins in s,
// into dst. s is left at the block behind them.
//
//go:noescape
func xorGroups(dst, src *byte, groups int, s *state)
