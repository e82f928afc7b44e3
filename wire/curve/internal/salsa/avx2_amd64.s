//go:build !purego

#include "textflag.h"

// Salsa20 on 8 blocks at once, with AVX2: a register holds one word of the state of
// each. The 16 words and two scratch registers, Y14 and Y15, are two too many:
// words 8 and 13 share their registers with 2 and 7, and those that are not in use
// lie in the frame, each word i at 32*i(SP). The time depends on the length alone.

#define W0 Y0
#define W1 Y1
#define W3 Y2
#define W4 Y3
#define W5 Y4
#define W6 Y5
#define W9 Y6
#define W10 Y7
#define W11 Y8
#define W12 Y9
#define W14 Y10
#define W15 Y11
#define W8 Y12
#define W2 Y12
#define W13 Y13
#define W7 Y13

// b ^= (a + d) <<< r
#define STEP(l, r, a, d, b) \
	VPADDD d, a, Y14; \
	VPSLLD $l, Y14, Y15; \
	VPSRLD $r, Y14, Y14; \
	VPXOR  Y15, b, b; \
	VPXOR  Y14, b, b

// Two quarter-rounds (a, b, c, d) at once.
#define QUARTERS(a0, b0, c0, d0, a1, b1, c1, d1) \
	STEP(7, 25, a0, d0, b0); \
	STEP(7, 25, a1, d1, b1); \
	STEP(9, 23, b0, a0, c0); \
	STEP(9, 23, b1, a1, c1); \
	STEP(13, 19, c0, b0, d0); \
	STEP(13, 19, c1, b1, d1); \
	STEP(18, 14, d0, c0, a0); \
	STEP(18, 14, d1, c1, a1)

#define EXCHANGE(out0, at0, out1, at1, in0, from0, in1, from1) \
	VMOVDQU out0, (32*at0)(SP); \
	VMOVDQU out1, (32*at1)(SP); \
	VMOVDQU (32*from0)(SP), in0; \
	VMOVDQU (32*from1)(SP), in1

// The state's word i is added to w, which goes to the frame.
#define FINISH(i, w) \
	VPBROADCASTD (4*i)(AX), Y14; \
	VPADDD       Y14, w, w; \
	VMOVDQU      w, (32*i)(SP)

// Words i to i+7 of all blocks, rows for columns, XORed with src and put into dst,
// whose blocks they begin at byte 4*i of.
#define HALF(i) \
	VMOVDQU (32*(i+0))(SP), Y0; \
	VMOVDQU (32*(i+1))(SP), Y1; \
	VMOVDQU (32*(i+2))(SP), Y2; \
	VMOVDQU (32*(i+3))(SP), Y3; \
	VMOVDQU (32*(i+4))(SP), Y4; \
	VMOVDQU (32*(i+5))(SP), Y5; \
	VMOVDQU (32*(i+6))(SP), Y6; \
	VMOVDQU (32*(i+7))(SP), Y7; \
	TRANSPOSE(Y0, Y1, Y2, Y3); \
	TRANSPOSE(Y4, Y5, Y6, Y7); \
	OUTPUT(4*i, Y0, Y4); \
	OUTPUT(4*i+64, Y1, Y5); \
	OUTPUT(4*i+128, Y2, Y6); \
	OUTPUT(4*i+192, Y3, Y7)

#define TRANSPOSE(a, b, c, d) \
	VPUNPCKLDQ  b, a, Y8; \
	VPUNPCKHDQ  b, a, Y9; \
	VPUNPCKLDQ  d, c, Y10; \
	VPUNPCKHDQ  d, c, Y11; \
	VPUNPCKLQDQ Y10, Y8, a; \
	VPUNPCKHQDQ Y10, Y8, b; \
	VPUNPCKLQDQ Y11, Y9, c; \
	VPUNPCKHQDQ Y11, Y9, d

// Half of a block and of the fourth behind it.
#define OUTPUT(at, a, b) \
	VPERM2I128 $0x20, b, a, Y8; \
	VPERM2I128 $0x31, b, a, Y9; \
	VPXOR      (at+0)(SI), Y8, Y8; \
	VPXOR      (at+256)(SI), Y9, Y9; \
	VMOVDQU    Y8, (at+0)(DI); \
	VMOVDQU    Y9, (at+256)(DI)

// Words i to i+3 in the frame.
#define FORGET(i) \
	VMOVDQU Y0, (32*(i+0))(SP); \
	VMOVDQU Y0, (32*(i+1))(SP); \
	VMOVDQU Y0, (32*(i+2))(SP); \
	VMOVDQU Y0, (32*(i+3))(SP)

DATA octet<>+0x00(SB)/4, $0
DATA octet<>+0x04(SB)/4, $1
DATA octet<>+0x08(SB)/4, $2
DATA octet<>+0x0c(SB)/4, $3
DATA octet<>+0x10(SB)/4, $4
DATA octet<>+0x14(SB)/4, $5
DATA octet<>+0x18(SB)/4, $6
DATA octet<>+0x1c(SB)/4, $7
GLOBL octet<>(SB), RODATA|NOPTR, $32

// func xorWide256(dst, src *byte, groups int, s *state)
TEXT ·xorWide256(SB), 0, $512-32
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ groups+16(FP), CX
	MOVQ s+24(FP), AX

group:
	VPBROADCASTD 0(AX), W0
	VPBROADCASTD 4(AX), W1
	VPBROADCASTD 8(AX), Y14
	VMOVDQU      Y14, (32*2)(SP)
	VPBROADCASTD 12(AX), W3
	VPBROADCASTD 16(AX), W4
	VPBROADCASTD 20(AX), W5
	VPBROADCASTD 24(AX), W6
	VPBROADCASTD 28(AX), Y14
	VMOVDQU      Y14, (32*7)(SP)
	VPBROADCASTD 32(AX), W8
	VPADDD       octet<>(SB), W8, W8
	VPBROADCASTD 36(AX), W9
	VPBROADCASTD 40(AX), W10
	VPBROADCASTD 44(AX), W11
	VPBROADCASTD 48(AX), W12
	VPBROADCASTD 52(AX), W13
	VPBROADCASTD 56(AX), W14
	VPBROADCASTD 60(AX), W15
	MOVQ         $10, DX

rounds:
	QUARTERS(W0, W4, W8, W12, W5, W9, W13, W1)
	EXCHANGE(W8, 8, W13, 13, W2, 2, W7, 7)
	QUARTERS(W10, W14, W2, W6, W15, W3, W7, W11)
	QUARTERS(W0, W1, W2, W3, W5, W6, W7, W4)
	EXCHANGE(W2, 2, W7, 7, W8, 8, W13, 13)
	QUARTERS(W10, W11, W8, W9, W15, W12, W13, W14)
	DECQ DX
	JNZ  rounds

	VPADDD octet<>(SB), W8, W8
	FINISH(0, W0)
	FINISH(1, W1)
	FINISH(3, W3)
	FINISH(4, W4)
	FINISH(5, W5)
	FINISH(6, W6)
	FINISH(8, W8)
	FINISH(9, W9)
	FINISH(10, W10)
	FINISH(11, W11)
	FINISH(12, W12)
	FINISH(13, W13)
	FINISH(14, W14)
	FINISH(15, W15)
	VMOVDQU (32*2)(SP), W2
	VMOVDQU (32*7)(SP), W7
	FINISH(2, W2)
	FINISH(7, W7)
	HALF(0)
	HALF(8)

	ADDL $8, 32(AX)
	ADDQ $512, SI
	ADDQ $512, DI
	DECQ CX
	JNZ  group

	// No keystream stays in a register or in the frame.
	VZEROALL
	FORGET(0)
	FORGET(4)
	FORGET(8)
	FORGET(12)
	RET
