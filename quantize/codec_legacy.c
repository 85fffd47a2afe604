/* SPDX-License-Identifier: MIT
 *
 * codec_legacy.c - types of 32 values under one half scale: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.
 *
 * Codes are always nearest for the scale as it is stored, not for the one before rounding to half.
 */
#include "quantize/codecs.h"

#include <math.h>

#include "quantize/floats.h"
#include "quantize/search.h"

static float half_at(const uint8_t *b)
{
	return f16_to_f32((uint16_t)load_le(b, 2));
}

/* ---- Q4_0: half d, nibbles; y = d (code - 8) ------------------------------------------------*/

void decode_q4_0(const uint8_t *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i += 32, b += 18, out += 32) {
		float d = half_at(b);

		for (int k = 0; k < 16; k++) {
			out[k] = (float)((b[2 + k] & 15) - 8) * d;
			out[k + 16] = (float)((b[2 + k] >> 4) - 8) * d;
		}
	}
}

void encode_q4_0(const float *x, const float *weight, size_t n, enum effort effort, uint8_t *b)
{
	static const struct grid grid = { -8, 7, false };

	for (size_t i = 0; i < n; i += 32, b += 18)
		scale_encode(x + i, weight ? weight + i : NULL, &grid, effort, b);
}

/* ---- Q4_1: half d, half m, nibbles; y = d code + m ------------------------------------------*/

void decode_q4_1(const uint8_t *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i += 32, b += 20, out += 32) {
		float d = half_at(b), m = half_at(b + 2);

		for (int k = 0; k < 16; k++) {
			out[k] = (float)(b[4 + k] & 15) * d + m;
			out[k + 16] = (float)(b[4 + k] >> 4) * d + m;
		}
	}
}

/* Both fields to halves one after the other, the minimum best for the scale as it is stored. */
static struct affine round_affine(const struct block *k, struct affine a, uint16_t *d, uint16_t *m)
{
	struct affine_sums s;

	*d = half_near(k, (double)a.d, &a.d);
	s = affine_sums(k->x, k->w, 32, 15, a);
	if (s.w > 0)
		a.m = (float)(((double)a.d * s.c - s.x) / s.w);
	*m = half_near(k, (double)-a.m, &a.m);
	a.m = -a.m;
	return a;
}

/* The search's scale and the halves about it, each with its best minimum: the best of 2 reach + 1. */
static void encode_q4_1_block(const struct block *k, bool thorough, uint8_t *b)
{
	int tries = thorough ? 32 : 8, phases = thorough ? 8 : 2, reach = thorough ? 4 : 0;
	struct affine a = affine_search(k->x, k->w, 32, 15, false, tries, phases), best = { 0, 0 };
	float least = INFINITY, step;
	uint16_t d, m;

	step = a.d * 0x1p-11f;
	for (int r = -reach; r <= reach; r++) {
		struct affine at = round_affine(k, (struct affine){ a.d + (float)r * step, a.m }, &d, &m);
		float loss = affine_loss(k->x, k->w, 32, 15, at);

		if (loss < least) {
			least = loss;
			best = at;
			store_le(b, 2, d);
			store_le(b + 2, 2, m);
		}
	}
	for (int i = 0; i < 16; i++)
		b[4 + i] = (uint8_t)(affine_code(k->x[i], 15, best) | affine_code(k->x[i + 16], 15, best) << 4);
}

void encode_q4_1(const float *x, const float *weight, size_t n, enum effort effort, uint8_t *b)
{
	struct block k;

	for (size_t i = 0; i < n; i += 32, b += 20) {
		block_load(&k, x + i, weight ? weight + i : NULL, 32);
		encode_q4_1_block(&k, effort == EFFORT_BEST, b);
	}
}

/* ---- Q5_0, Q5_1: as above, with bit 4 of code k in bit k of the 4 bytes before the nibbles ---*/

static void codes_of_5_bits(const uint8_t *b, int code[32])
{
	uint32_t high = (uint32_t)load_le(b, 4);

	for (int k = 0; k < 16; k++) {
		code[k] = (b[4 + k] & 15) | (int)(high >> k & 1) << 4;
		code[k + 16] = b[4 + k] >> 4 | (int)(high >> (k + 16) & 1) << 4;
	}
}

void decode_q5_0(const uint8_t *b, size_t n, float *out)
{
	int code[32];

	for (size_t i = 0; i < n; i += 32, b += 22, out += 32) {
		float d = half_at(b);

		codes_of_5_bits(b + 2, code);
		for (int k = 0; k < 32; k++)
			out[k] = (float)(code[k] - 16) * d;
	}
}

void decode_q5_1(const uint8_t *b, size_t n, float *out)
{
	int code[32];

	for (size_t i = 0; i < n; i += 32, b += 24, out += 32) {
		float d = half_at(b), m = half_at(b + 2);

		codes_of_5_bits(b + 4, code);
		for (int k = 0; k < 32; k++)
			out[k] = (float)code[k] * d + m;
	}
}

/* ---- Q8_0: half d, int8 q[32]; y = d q ------------------------------------------------------*/

void decode_q8_0(const uint8_t *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i += 32, b += 34, out += 32) {
		float d = half_at(b);

		for (int k = 0; k < 32; k++)
			out[k] = d * (float)(int8_t)b[2 + k];
	}
}

static void q8_0_codes(const float *x, float d, uint8_t *b)
{
	float inverse = d > 0 ? 1.0f / d : 0;

	for (int k = 0; k < 32; k++) {
		float q = x[k] * inverse;
		q = q > 127.0f ? 127.0f : q < -127.0f ? -127.0f : q;
		b[k] = (uint8_t)(int8_t)roundf(q);
	}
}

/* What values beyond 127 d alone lose, and more at any smaller d. */
static float q8_0_cut(const struct block *k, float d)
{
	float sum = 0;

	for (int i = 0; i < 32; i++) {
		float over = fabsf(k->x[i]) - 127 * d;
		sum += over > 0 ? k->w[i] * (over * over) : 0;
	}
	return sum;
}

/* Best: halves from 1/8 above the one that takes the largest value to 127, where the loss is
 * beyond what luck of rounding takes back, down to where what is cut off loses more than the best. */
static uint16_t q8_0_scale(const float *x, const float *weight, uint16_t h)
{
	static const struct grid grid = { -127, 127, false };
	uint32_t last = h + h % 1024 / 8u + 128u;
	struct block k;
	float least = INFINITY;
	uint16_t best = h;

	block_load(&k, x, weight, 32);
	for (uint32_t at = last < 0x7BFF ? last : 0x7BFF; at > 0; at--) {
		float d = (float)((double)f16_to_f32((uint16_t)at) / k.unit);
		if (q8_0_cut(&k, d) >= least)
			break;
		float loss = scale_loss(k.x, k.w, 32, &grid, d);
		if (loss < least) {
			least = loss;
			best = (uint16_t)at;
		}
	}
	return best;
}

void encode_q8_0(const float *x, const float *weight, size_t n, enum effort effort, uint8_t *b)
{
	for (size_t i = 0; i < n; i += 32, b += 34, x += 32) {
		float amax = 0;
		for (int k = 0; k < 32; k++)
			amax = fabsf(x[k]) > amax ? fabsf(x[k]) : amax;
		uint16_t h = f32_to_f16(amax / 127.0f);
		if (h >= 0x7C00)
			h = 0x7BFF;	/* beyond half's range: the largest finite scale */
		if (effort == EFFORT_BEST && amax > 0)
			h = q8_0_scale(x, weight ? weight + i : NULL, h);
		store_le(b, 2, h);
		q8_0_codes(x, f16_to_f32(h), b + 2);
	}
}
