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

/* Codes and loss of n elements at scale d; infinite if a value of the result is. */
static double e2m1_try(const float *x, const float *w, int n, float d, uint8_t *codes)
{
	float inverse = 1 / d;
	double sum = 0;

	for (int k = 0; k < n; k++) {
		codes[k] = e2m1_nearest(d < 0x1p-120f ? x[k] / d : x[k] * inverse);
		double diff = (double)(e2m1_values[codes[k]] * d) - (double)x[k];
		sum += w ? (double)w[k] * (diff * diff) : diff * diff;
	}
	return sum;
}

/* What values beyond the grid alone lose at scale d, and more at any smaller one. */
static double e2m1_cut(const float *x, const float *w, int n, float d)
{
	double sum = 0, over;

	for (int k = 0; k < n; k++) {
		over = fabs((double)x[k]) - 6 * (double)d;
		if (over > 0)
			sum += (w ? (double)w[k] : 1) * (over * over);
	}
	return sum;
}

static bool all_zero(const float *w, int n)
{
	for (int k = 0; k < n; k++)
		if (w[k] != 0)
			return false;
	return true;
}

/* All exponents that can be best are tried, downwards. Above the first all values are below twice
 * the scale, where a doubled grid has only some of the same numbers; under the last what is cut
 * off loses more than the best. */
void encode_mxfp4(const float *x, const float *weight, size_t n, enum effort effort, uint8_t *b)
{
	(void)effort;
	for (size_t i = 0; i < n; i += 32, b += 17, x += 32) {
		const float *w = weight && !all_zero(weight + i, 32) ? weight + i : NULL;
		uint8_t codes[32], best[32] = { 0 };
		float amax = 0;
		double least = INFINITY;
		int best_e = 0, e;

		for (int k = 0; k < 32; k++)
			amax = fabsf(x[k]) > amax ? fabsf(x[k]) : amax;
		e = amax > 0 ? ilogbf(amax) + 127 : -1;
		for (e = e > 254 ? 254 : amax > 0 && e < 0 ? 0 : e; e >= 0; e--) {
			float d = e8m0_to_f32((uint8_t)e);
			if (e2m1_cut(x, w, 32, d) >= least)
				break;
			double err = e2m1_try(x, w, 32, d, codes);
			if (err < least) {
				least = err;
				best_e = e;
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

/* 16 values: from the first scale that reaches the largest with half the grid, downwards as above. */
static uint8_t encode_nvfp4_group(const float *x, const float *w, uint8_t best[16])
{
	uint8_t codes[16], best_s = 0;
	float amax = 0;
	double least = INFINITY;

	for (int k = 0; k < 16; k++)
		amax = fabsf(x[k]) > amax ? fabsf(x[k]) : amax;
	memset(best, 0, 16);
	for (int s = 0x7E; s > 0 && amax > 0; s--) {
		float d = nvfp4_scale((uint8_t)s);
		if (s > 1 && d > amax)
			continue;
		if (e2m1_cut(x, w, 16, d) >= least)
			break;
		double err = e2m1_try(x, w, 16, d, codes);
		if (err < least) {
			least = err;
			best_s = (uint8_t)s;
			memcpy(best, codes, 16);
		}
	}
	return best_s;
}

void encode_nvfp4(const float *x, const float *weight, size_t n, enum effort effort, uint8_t *b)
{
	(void)effort;
	for (size_t i = 0; i < n; i += 64, b += 36)
		for (size_t s = 0; s < 4; s++) {
			const float *w = weight ? weight + i + 16 * s : NULL;
			uint8_t best[16];

			b[s] = encode_nvfp4_group(x + i + 16 * s, w && !all_zero(w, 16) ? w : NULL, best);
			for (size_t k = 0; k < 8; k++)
				b[4 + 8 * s + k] = (uint8_t)(best[k] | best[k + 8] << 4);
		}
}
