/* SPDX-License-Identifier: MIT
 *
 * codec_fp4.c - FP4 E2M1 codes under scales of a byte: MXFP4 (a power of two for 32), NVFP4 (an
 * unsigned E4M3 for 16).
 */
#include "quantize/codecs.h"

#include <math.h>

#include "quantize/floats.h"

/* ---- MXFP4: E8M0 e, then 16 bytes: low nibble element j, high nibble element j + 16 ---------*/

void decode_mxfp4(const uint8_t *b, size_t n, float *out)
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
void encode_mxfp4(const float *x, size_t n, uint8_t *b)
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

/* ---- NVFP4: 4 scales, then 8 bytes for each 16 values: low nibble element j, high j + 8 ---------
 * A scale is E4M3's magnitude without its sign bit's meaning, but that 0x7F, a NaN there, is zero
 * here, as in ggml; so is code 8, negative zero, plain zero. */

static float nvfp4_scale(uint8_t s)
{
	return s == 0x7F ? 0 : bits_f32(s & 0x78 ? ((s >> 3 & 15u) + 120) << 23 | (s & 7u) << 20
						 : f32_bits((float)(s & 7) * 0x1p-9f));
}

void decode_nvfp4(const uint8_t *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i += 64, b += 36)
		for (int s = 0; s < 4; s++, out += 16) {
			float d = nvfp4_scale(b[s]);

			for (int k = 0; k < 8; k++) {
				uint8_t pair = b[4 + 8 * s + k];

				out[k] = e2m1_values[(pair & 15) == 8 ? 0 : pair & 15] * d;
				out[k + 8] = e2m1_values[pair >> 4 == 8 ? 0 : pair >> 4] * d;
			}
		}
}
