//go:build !purego

#include "textflag.h"

// Salsa20 on 16 blocks at once, with AVX-512: register Zi holds word i of the state of each.
// All is additions, rotations and XORs of whole registers, and shuffles that are
// the same for all data: the time depends on the length alone.

// One step of four quarter-rounds: b ^= (a + d) <<< r in each.
#define STEP(r, a0, d0, b0, a1, d1, b1, a2, d2, b2, a3, d3, b3) \
	VPADDD d0, a0, Z16; \
	VPADDD d1, a1, Z17; \
	VPADDD d2, a2, Z18; \
	VPADDD d3, a3, Z19; \
	VPROLD $r, Z16, Z16; \
	VPROLD $r, Z17, Z17; \
	VPROLD $r, Z18, Z18; \
	VPROLD $r, Z19, Z19; \
	VPXORD Z16, b0, b0; \
	VPXORD Z17, b1, b1; \
	VPXORD Z18, b2, b2; \
	VPXORD Z19, b3, b3

// Four quarter-rounds (a, b, c, d) at once.
#define QUARTERS(a0, b0, c0, d0, a1, b1, c1, d1, a2, b2, c2, d2, a3, b3, c3, d3) \
	STEP(7, a0, d0, b0, a1, d1, b1, a2, d2, b2, a3, d3, b3); \
	STEP(9, b0, a0, c0, b1, a1, c1, b2, a2, c2, b3, a3, c3); \
	STEP(13, c0, b0, d0, c1, b1, d1, c2, b2, d2, c3, b3, d3); \
	STEP(18, d0, c0, a0, d1, c1, a1, d2, c2, a2, d3, c3, a3)

// The 4x4 words of a, b, c, d in each quarter of 128 bits, rows for columns: d holds
// the words of its fourth block afterwards, c those of the third, and so on.
#define TRANSPOSE(a, b, c, d) \
	VPUNPCKLDQ b, a, Z16; \
	VPUNPCKHDQ b, a, Z17; \
	VPUNPCKLDQ d, c, Z18; \
	VPUNPCKHDQ d, c, Z19; \
	VPUNPCKLQDQ Z18, Z16, a; \
	VPUNPCKHQDQ Z18, Z16, b; \
	VPUNPCKLQDQ Z19, Z17, c; \
	VPUNPCKHQDQ Z19, Z17, d

// Blocks k, k+4, k+8 and k+12, whose quarters lie in a, b, c and d, are XORed with
// src and put into dst; at is 64 * k.
#define OUTPUT(at, a, b, c, d) \
	VSHUFI32X4 $0x44, b, a, Z16; \
	VSHUFI32X4 $0xEE, b, a, Z17; \
	VSHUFI32X4 $0x44, d, c, Z18; \
	VSHUFI32X4 $0xEE, d, c, Z19; \
	VSHUFI32X4 $0x88, Z18, Z16, a; \
	VSHUFI32X4 $0xDD, Z18, Z16, b; \
	VSHUFI32X4 $0x88, Z19, Z17, c; \
	VSHUFI32X4 $0xDD, Z19, Z17, d; \
	VPXORD (at+0)(SI), a, a; \
	VPXORD (at+256)(SI), b, b; \
	VPXORD (at+512)(SI), c, c; \
	VPXORD (at+768)(SI), d, d; \
	VMOVDQU32 a, (at+0)(DI); \
	VMOVDQU32 b, (at+256)(DI); \
	VMOVDQU32 c, (at+512)(DI); \
	VMOVDQU32 d, (at+768)(DI)

DATA lanes<>+0x00(SB)/4, $0
DATA lanes<>+0x04(SB)/4, $1
DATA lanes<>+0x08(SB)/4, $2
DATA lanes<>+0x0c(SB)/4, $3
DATA lanes<>+0x10(SB)/4, $4
DATA lanes<>+0x14(SB)/4, $5
DATA lanes<>+0x18(SB)/4, $6
DATA lanes<>+0x1c(SB)/4, $7
DATA lanes<>+0x20(SB)/4, $8
DATA lanes<>+0x24(SB)/4, $9
DATA lanes<>+0x28(SB)/4, $10
DATA lanes<>+0x2c(SB)/4, $11
DATA lanes<>+0x30(SB)/4, $12
DATA lanes<>+0x34(SB)/4, $13
DATA lanes<>+0x38(SB)/4, $14
DATA lanes<>+0x3c(SB)/4, $15
GLOBL lanes<>(SB), RODATA|NOPTR, $64

// func xorWide512(dst, src *byte, groups int, s *state)
TEXT ·xorWide512(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ groups+16(FP), CX
	MOVQ s+24(FP), AX
	VMOVDQU32 lanes<>(SB), Z31

group:
	VPBROADCASTD 0(AX), Z0
	VPBROADCASTD 4(AX), Z1
	VPBROADCASTD 8(AX), Z2
	VPBROADCASTD 12(AX), Z3
	VPBROADCASTD 16(AX), Z4
	VPBROADCASTD 20(AX), Z5
	VPBROADCASTD 24(AX), Z6
	VPBROADCASTD 28(AX), Z7
	VPADDD.BCST 32(AX), Z31, Z8
	VMOVDQA32 Z8, Z30
	VPBROADCASTD 36(AX), Z9
	VPBROADCASTD 40(AX), Z10
	VPBROADCASTD 44(AX), Z11
	VPBROADCASTD 48(AX), Z12
	VPBROADCASTD 52(AX), Z13
	VPBROADCASTD 56(AX), Z14
	VPBROADCASTD 60(AX), Z15
	MOVQ $10, DX

rounds:
	QUARTERS(Z0, Z4, Z8, Z12, Z5, Z9, Z13, Z1, Z10, Z14, Z2, Z6, Z15, Z3, Z7, Z11)
	QUARTERS(Z0, Z1, Z2, Z3, Z5, Z6, Z7, Z4, Z10, Z11, Z8, Z9, Z15, Z12, Z13, Z14)
	DECQ DX
	JNZ  rounds

	VPADDD.BCST 0(AX), Z0, Z0
	VPADDD.BCST 4(AX), Z1, Z1
	VPADDD.BCST 8(AX), Z2, Z2
	VPADDD.BCST 12(AX), Z3, Z3
	VPADDD.BCST 16(AX), Z4, Z4
	VPADDD.BCST 20(AX), Z5, Z5
	VPADDD.BCST 24(AX), Z6, Z6
	VPADDD.BCST 28(AX), Z7, Z7
	VPADDD Z30, Z8, Z8
	VPADDD.BCST 36(AX), Z9, Z9
	VPADDD.BCST 40(AX), Z10, Z10
	VPADDD.BCST 44(AX), Z11, Z11
	VPADDD.BCST 48(AX), Z12, Z12
	VPADDD.BCST 52(AX), Z13, Z13
	VPADDD.BCST 56(AX), Z14, Z14
	VPADDD.BCST 60(AX), Z15, Z15

	TRANSPOSE(Z0, Z1, Z2, Z3)
	TRANSPOSE(Z4, Z5, Z6, Z7)
	TRANSPOSE(Z8, Z9, Z10, Z11)
	TRANSPOSE(Z12, Z13, Z14, Z15)
	OUTPUT(0, Z0, Z4, Z8, Z12)
	OUTPUT(64, Z1, Z5, Z9, Z13)
	OUTPUT(128, Z2, Z6, Z10, Z14)
	OUTPUT(192, Z3, Z7, Z11, Z15)

	ADDL $16, 32(AX)
	ADDQ $1024, SI
	ADDQ $1024, DI
	DECQ CX
	JNZ  group

	// No keystream stays in a register: VZEROALL is for Z0 to Z15.
	VPXORD Z16, Z16, Z16
	VPXORD Z17, Z17, Z17
	VPXORD Z18, Z18, Z18
	VPXORD Z19, Z19, Z19
	VZEROALL
	RET
