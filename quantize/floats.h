/* SPDX-License-Identifier: MIT
 *
 * floats.h - single numbers: IEEE half, bfloat16, FP8 E4M3FN, E8M0, FP4 E2M1 <-> float32.
 *
 * Sources: IEEE 754 (half), OCP OFP8 (E4M3: bias 7, no infinity, 0x7F and 0xFF are NaN), OCP
 * Microscaling v1.0 (E8M0: 2^(b-127), 0xFF is NaN, 0 is 2^-127 and not zero; E2M1).
 * Conversions to a narrower type round to nearest, ties to even; subnormals are kept.
 */
#ifndef QUANTIZE_FLOATS_H
#define QUANTIZE_FLOATS_H

#include <stdint.h>
#include <string.h>

static inline uint32_t f32_bits(float f)
{
	uint32_t u;
	memcpy(&u, &f, 4);
	return u;
}

static inline float bits_f32(uint32_t u)
{
	float f;
	memcpy(&f, &u, 4);
	return f;
}

static inline float bf16_to_f32(uint16_t h)
{
	return bits_f32((uint32_t)h << 16);
}

static inline uint16_t f32_to_bf16(float f)
{
	uint32_t u = f32_bits(f);

	if ((u & 0x7FFFFFFF) > 0x7F800000)
		return (uint16_t)(u >> 16 | 0x40);	/* NaN stays NaN, quiet */
	return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

static inline float f16_to_f32(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = h >> 10 & 31, man = h & 0x3FF;

	if (exp == 31)
		return bits_f32(sign | 0x7F800000 | man << 13);
	if (exp == 0) {
		float f = (float)man * 0x1p-24f;
		return bits_f32(f32_bits(f) | sign);
	}
	return bits_f32(sign | (exp + 112) << 23 | man << 13);
}

static inline uint16_t f32_to_f16(float f)
{
	uint32_t u = f32_bits(f), sign = u >> 16 & 0x8000, a = u & 0x7FFFFFFF;

	if (a > 0x7F800000)
		return (uint16_t)(sign | 0x7E00 | (a >> 13 & 0x3FF));
	if (a >= 0x477FF000)			/* rounds to 65536 or more */
		return (uint16_t)(sign | 0x7C00);
	if (a < 0x38800000) {			/* subnormal half: 0.5 is where a float's ulp is 2^-24 */
		float t = bits_f32(a) + 0.5f;
		return (uint16_t)(sign | (f32_bits(t) - 0x3F000000));
	}
	a += 0xC8000FFF + (a >> 13 & 1);	/* exponent - 112, and round */
	return (uint16_t)(sign | a >> 13);
}

/* 2^(b-127) for b in 0..254. */
static inline float e8m0_to_f32(uint8_t b)
{
	return bits_f32(b ? (uint32_t)b << 23 : 0x00400000);
}

/* 2^(b-128): what MXFP4's doubled integers are multiplied with. */
static inline float e8m0_half_to_f32(uint8_t b)
{
	return bits_f32(b < 2 ? 0x00200000u << b : (uint32_t)(b - 1) << 23);
}

/* Code 0..255 but the NaN codes. */
static inline float e4m3_to_f32(uint8_t c)
{
	uint32_t sign = (uint32_t)(c & 0x80) << 24, exp = c >> 3 & 15, man = c & 7;

	if (exp == 0)
		return bits_f32(f32_bits((float)man * 0x1p-9f) | sign);
	return bits_f32(sign | (exp + 120) << 23 | man << 20);
}

/* E2M1 by code: sign in bit 3; code 8 is negative zero. */
static const float e2m1_values[16] = { 0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,	6.0f,
				       -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f };

#endif
