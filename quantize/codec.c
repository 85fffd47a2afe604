/* SPDX-License-Identifier: MIT
 *
 * codec.c - the GGUF types that this program reads and writes, one row of the table each.
 *
 * Block layouts are ggml's: see the comment above each pair. Multi-byte fields are little-endian;
 * a half is IEEE. Arithmetic is float32 without contraction, in index order, so every compiler
 * and thread count gives the same bytes.
 */
#include "quantize/quantize.h"

#include <math.h>

#include "quantize/floats.h"

/* ---- plain numbers -------------------------------------------------------------------------*/

static void decode_f32(const uint8_t *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i++)
		out[i] = bits_f32((uint32_t)load_le(b + 4 * i, 4));
}

static void encode_f32(const float *x, size_t n, uint8_t *b)
{
	for (size_t i = 0; i < n; i++)
		store_le(b + 4 * i, 4, f32_bits(x[i]));
}

static void decode_f16(const uint8_t *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i++)
		out[i] = f16_to_f32((uint16_t)load_le(b + 2 * i, 2));
}

static void encode_f16(const float *x, size_t n, uint8_t *b)
{
	for (size_t i = 0; i < n; i++)
		store_le(b + 2 * i, 2, f32_to_f16(x[i]));
}

static void decode_bf16(const uint8_t *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i++)
		out[i] = bf16_to_f32((uint16_t)load_le(b + 2 * i, 2));
}

static void encode_bf16(const float *x, size_t n, uint8_t *b)
{
	for (size_t i = 0; i < n; i++)
		store_le(b + 2 * i, 2, f32_to_bf16(x[i]));
}

/* ---- Q8_0: half d, int8 q[32]; y = d q ------------------------------------------------------*/

static void decode_q8_0(const uint8_t *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i += 32, b += 34, out += 32) {
		float d = f16_to_f32((uint16_t)load_le(b, 2));
		for (int k = 0; k < 32; k++)
			out[k] = d * (float)(int8_t)b[2 + k];
	}
}

/* The codes are nearest for the scale as it is stored, not for the one before rounding to half. */
static void encode_q8_0(const float *x, size_t n, uint8_t *b)
{
	for (size_t i = 0; i < n; i += 32, b += 34, x += 32) {
		float amax = 0;
		for (int k = 0; k < 32; k++)
			amax = fabsf(x[k]) > amax ? fabsf(x[k]) : amax;
		uint16_t h = f32_to_f16(amax / 127.0f);
		if (h >= 0x7C00)
			h = 0x7BFF;	/* beyond half's range: the largest finite scale */
		float d = f16_to_f32(h), inverse = d > 0 ? 1.0f / d : 0;
		store_le(b, 2, h);
		for (int k = 0; k < 32; k++) {
			float q = x[k] * inverse;
			q = q > 127.0f ? 127.0f : q < -127.0f ? -127.0f : q;
			b[2 + k] = (uint8_t)(int8_t)roundf(q);
		}
	}
}

/* ---- MXFP4: E8M0 e, then 16 bytes: low nibble element j, high nibble element j + 16 ---------*/

static void decode_mxfp4(const uint8_t *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i += 32, b += 17, out += 32) {
		float d = e8m0_half_to_f32(b[0]);
		for (int k = 0; k < 16; k++) {
			/* doubled first: 0.5 * 2^-127 must not pass through a rounded product */
			out[k] = 2 * e2m1_values[b[1 + k] & 15] * d;
			out[k + 16] = 2 * e2m1_values[b[1 + k] >> 4] * d;
		}
	}
}

/* Nearest E2M1 code to v, ties to the even code; sign of v. */
static uint8_t e2m1_nearest(float v)
{
	static const float above[7] = { 0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f };
	float a = fabsf(v);
	uint8_t c = 0;

	for (int i = 0; i < 7; i++)
		c = (uint8_t)(c + (a > above[i] || (a == above[i] && (i & 1))));
	return (uint8_t)(c | (v < 0 && c ? 8 : 0));
}

static float mxfp4_try(const float *x, int e, uint8_t codes[32])
{
	float d = e8m0_to_f32((uint8_t)e), sum = 0;

	for (int k = 0; k < 32; k++) {
		codes[k] = e2m1_nearest(x[k] / d);
		float diff = e2m1_values[codes[k]] * d - x[k];
		sum += diff * diff;
	}
	return sum;
}

/* All exponents that can be best are tried: from the one where the largest value is saturated by
 * a third to the one where it falls to the middle of the grid. */
static void encode_mxfp4(const float *x, size_t n, uint8_t *b)
{
	for (size_t i = 0; i < n; i += 32, b += 17, x += 32) {
		uint8_t codes[32], best[32] = { 0 };
		float amax = 0, least = INFINITY;
		int e = 0, best_e = 0, first;

		for (int k = 0; k < 32; k++)
			amax = fabsf(x[k]) > amax ? fabsf(x[k]) : amax;
		first = amax > 0 ? ilogbf(amax) - 3 + 127 : 0;
		for (e = first; amax > 0 && e <= first + 3; e++) {
			int at = e < 0 ? 0 : e > 254 ? 254 : e;
			float err = mxfp4_try(x, at, codes);
			if (err < least) {
				least = err;
				best_e = at;
				memcpy(best, codes, 32);
			}
		}
		b[0] = (uint8_t)best_e;
		for (int k = 0; k < 16; k++)
			b[1 + k] = (uint8_t)(best[k] | best[k + 16] << 4);
	}
}

/* ---- the table -----------------------------------------------------------------------------*/

struct codec {
	void (*decode)(const uint8_t *blocks, size_t n, float *out);
	void (*encode)(const float *x, size_t n, uint8_t *blocks);
};
static const struct codec codecs[DT_COUNT] = {
	[DT_F32] = { decode_f32, encode_f32 },
	[DT_F16] = { decode_f16, encode_f16 },
	[DT_BF16] = { decode_bf16, encode_bf16 },
	[DT_Q8_0] = { decode_q8_0, encode_q8_0 },
	[DT_MXFP4] = { decode_mxfp4, encode_mxfp4 },
};

bool codec_can_decode(enum dtype t)
{
	return codecs[t].decode != NULL;
}

bool codec_can_encode(enum dtype t)
{
	return codecs[t].encode != NULL;
}

void codec_decode(enum dtype t, const uint8_t *blocks, size_t n, float *out)
{
	codecs[t].decode(blocks, n, out);
}

void codec_encode(enum dtype t, const float *x, size_t n, uint8_t *blocks)
{
	codecs[t].encode(x, n, blocks);
}

size_t codec_first_not_finite(const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((f32_bits(x[i]) & 0x7F800000) == 0x7F800000)
			return i;
	return n;
}
