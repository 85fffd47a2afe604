/* SPDX-License-Identifier: MIT
 *
 * finite.c - whether blocks hold finite values only, from their scales and exponents, undecoded.
 *
 * A value is not finite where its exponent field is all ones (plain numbers), a half scale's of its
 * block is (one makes every value of the block infinite or NaN, and no finite half times small
 * integers leaves float32), or its E8M0 scale is NaN or so large that 6 times it may leave float32
 * (MXFP4): those rare blocks are decoded and looked at.
 */
#include "quantize/quantize.h"

#include <string.h>

#include "quantize/floats.h"

/* Numbers of `width` bytes: their exponent field, and its lowest bit. */
struct field { unsigned width; uint64_t exponent, lowest; };

/* Eight bytes at a time: all ones plus the lowest bit carries into the sign, which was masked off. */
static bool all_ones(const struct field *f, const uint8_t *b)
{
	uint64_t sign = f->exponent + f->lowest, v;

	memcpy(&v, b, 8);
	return (((v & f->exponent) + f->lowest) & sign & ~f->exponent) != 0;
}

static size_t plain(const struct field *f, const uint8_t *b, size_t n)
{
	enum { STEP = 8 };
	size_t bytes = n * f->width, at = 0;

	for (bool bad = false; at + 8 * STEP <= bytes && !bad; at += bad ? 0 : 8 * STEP)
		for (size_t k = 0; k < STEP; k++)
			bad |= all_ones(f, b + at + 8 * k);
	for (size_t i = at / f->width; i < n; i++) {
		uint8_t one[8] = { 0 };

		memcpy(one, b + i * f->width, f->width);
		if (all_ones(f, one))
			return i;
	}
	return n;
}

/* Types whose scales are halves: in which bytes of the block the high bytes of the halves are. */
static size_t under_halves(const struct dtype_info *t, unsigned at, unsigned also, const uint8_t *b, size_t n)
{
	for (size_t i = 0; i < n; i += t->block, b += t->bytes)
		if ((b[at] & 0x7C) == 0x7C || (b[also] & 0x7C) == 0x7C)
			return i;
	return n;
}

static size_t mxfp4(const uint8_t *b, size_t n)
{
	enum { SAFE = 252 };		/* 6 * 2^(252 - 127) is below 2^128 */
	float x[32];

	for (size_t i = 0; i < n; i += 32, b += 17) {
		if (b[0] <= SAFE)
			continue;
		if (b[0] == 0xFF)
			return i;
		codec_decode(DT_MXFP4, b, 32, x);
		size_t bad = codec_first_not_finite(x, 32);
		if (bad < 32)
			return i + bad;
	}
	return n;
}

size_t codec_first_bad(enum dtype t, const uint8_t *blocks, size_t n)
{
	static const struct field bf16 = { 2, 0x7F807F807F807F80, 0x0080008000800080 };
	static const struct field f16 = { 2, 0x7C007C007C007C00, 0x0400040004000400 };
	static const struct field f32 = { 4, 0x7F8000007F800000, 0x0080000000800000 };
	const struct dtype_info *info = dtype_info(t);

	switch (t) {
	case DT_BF16: return plain(&bf16, blocks, n);
	case DT_F16: return plain(&f16, blocks, n);
	case DT_F32: return plain(&f32, blocks, n);
	case DT_Q4_0: case DT_Q5_0: case DT_Q8_0: case DT_IQ4_NL: case DT_IQ4_XS:
		return under_halves(info, 1, 1, blocks, n);
	case DT_Q4_1: case DT_Q5_1: case DT_Q4_K: case DT_Q5_K:
		return under_halves(info, 1, 3, blocks, n);
	case DT_Q2_K: return under_halves(info, 81, 83, blocks, n);
	case DT_Q3_K: return under_halves(info, 109, 109, blocks, n);
	case DT_Q6_K: return under_halves(info, 209, 209, blocks, n);
	case DT_MXFP4: return mxfp4(blocks, n);
	case DT_NVFP4: return n;	/* no scale is a NaN, and 6 times the largest is 2880 */
	default: return 0;		/* no rule, no trust */
	}
}
