/* SPDX-License-Identifier: MIT
 *
 * round.c - the roundings of activations in DeepSeek's inference code, on float32 in memory.
 *
 * Activations there are bf16; what enters the product with an FP8 or FP4 weight is rounded to E4M3
 * in blocks that share a power of two, and cached rows pass through E4M3 (keys) or E2M1 (indexer)
 * on their way. All results here are float32 that hold the rounded value exactly.
 * Invariant: nearest, ties to even, from the bits of a float32 alone; rounding twice is rounding
 * once; what is not finite stays so or becomes NaN, so that a run that left the range is noticed.
 * Which products round is a matter of the tensor's role in the official layout (FP8 and FP4 become
 * other types in a GGUF), so that a checkpoint and its GGUF answer alike.
 */
#include "runtime/layer.h"

#include <math.h>
#include <string.h>

static uint32_t bits_of(float x)
{
	uint32_t u;

	memcpy(&u, &x, sizeof u);
	return u;
}

static float float_of(uint32_t u)
{
	float x;

	memcpy(&x, &u, sizeof x);
	return x;
}

/* Drops the n low bits of a finite float's pattern; a carry moves on to the next binade. */
static uint32_t drop_bits(uint32_t u, unsigned n)
{
	return (u + ((1u << (n - 1)) - 1) + (u >> n & 1)) >> n << n;
}

float round_bf16(float x)
{
	return isnan(x) ? x : float_of(drop_bits(bits_of(x), 16));
}

void round_bf16_run(float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = round_bf16(x[i]);
}

/* A small float: fraction bits, the largest value, the smallest normal one. */
struct small { unsigned fraction; float most, normal; };
static const struct small e4m3 = { 3, 448, 0x1p-6f }, e2m1 = { 1, 6, 1 };

static float round_small(const struct small *s, float x)
{
	uint32_t sign = bits_of(x) & 0x80000000u;
	/* numbers from here on are whole steps of the subnormals apart, so adding it rounds */
	float a = fabsf(x), anchor = s->normal * (float)(1u << (23 - s->fraction));

	if (isnan(x))
		return x;
	if (a > s->most)
		a = s->most;
	if (a < s->normal)
		a = (a + anchor) - anchor;
	else
		a = float_of(drop_bits(bits_of(a), 23 - s->fraction));
	return float_of(bits_of(a) | sign);
}

float round_e4m3(float x)
{
	return round_small(&e4m3, x);
}

float round_e2m1(float x)
{
	return round_small(&e2m1, x);
}

/* 2^ceil(log2(most_abs * inverse)) of the float32 product: its exponent, one more if any bit of
 * the fraction is set. The smallest magnitudes of the callers keep this and 1 / it normal. */
static float power_above(float most_abs, float inverse)
{
	uint32_t u = bits_of(most_abs * inverse);

	return float_of(((u >> 23) + ((u & 0x7FFFFF) != 0)) << 23);
}

float round_scale_fp8(float most_abs)
{
	return power_above(most_abs > 1e-4f ? most_abs : 1e-4f, 1.0f / 448);
}

float round_scale_fp4(float most_abs)
{
	return power_above(most_abs > 6 * 0x1p-126f ? most_abs : 6 * 0x1p-126f, 1.0f / 6);
}

static float largest(const float *x, size_t n)
{
	float m = 0;

	for (size_t i = 0; i < n; i++)
		m = fabsf(x[i]) > m ? fabsf(x[i]) : m;
	return m;
}

void round_fp8(float *y, const float *x, size_t n, size_t block)
{
	for (size_t from = 0; from < n; from += block) {
		size_t to = n - from < block ? n : from + block;
		float s = round_scale_fp8(largest(x + from, to - from)), inverse = 1 / s;

		for (size_t i = from; i < to; i++)
			y[i] = round_e4m3(x[i] * inverse) * s;
	}
}

void round_fp4(float *y, const float *x, size_t n)
{
	for (size_t from = 0; from < n; from += FP4_BLOCK) {
		size_t to = n - from < FP4_BLOCK ? n : from + FP4_BLOCK;
		float s = round_scale_fp4(largest(x + from, to - from)), inverse = 1 / s;

		for (size_t i = from; i < to; i++)
			y[i] = round_bf16(round_e2m1(x[i] * inverse) * s);
	}
}

/* ---- which products, and which rows ---- */

enum product product_of(enum role role)
{
	switch (role) {
	case ROLE_ATTN_Q_A:
	case ROLE_ATTN_Q_B:
	case ROLE_ATTN_KV:
	case ROLE_ATTN_OUTPUT_B:
	case ROLE_IDX_Q_B:
	case ROLE_GATE_EXPS:
	case ROLE_UP_EXPS:
	case ROLE_DOWN_EXPS:
	case ROLE_GATE_SHEXP:
	case ROLE_UP_SHEXP:
	case ROLE_DOWN_SHEXP:
	case ROLE_MTP_EH_PROJ:
		return PRODUCT_QUANTIZED;
	case ROLE_ATTN_OUTPUT_A:	/* FP8 in the file, but multiplied as bf16 */
	case ROLE_IDX_PROJ:
		return PRODUCT_BF16;
	default:	/* compressors, router, streams, output */
		return PRODUCT_F32;
	}
}

void round_row(float *x, size_t n, bool official)
{
	if (official)
		round_bf16_run(x, n);
}

void round_rope(float *x, const double *cos_sin, size_t n_pairs, bool inverse, bool official)
{
	if (!official) {
		ops_rope(x, cos_sin, n_pairs, inverse);
		return;
	}
	for (size_t i = 0; i < n_pairs; i++) {
		double c = cos_sin[2 * i], s = inverse ? -cos_sin[2 * i + 1] : cos_sin[2 * i + 1];
		double a = (double)x[2 * i], b = (double)x[2 * i + 1];

		x[2 * i] = round_bf16((float)(a * c - b * s));
		x[2 * i + 1] = round_bf16((float)(a * s + b * c));
	}
}

void round_key(float *row, size_t n_plain, bool official)
{
	if (!official)
		return;
	round_fp8(row, row, n_plain, KEY_BLOCK);
	round_bf16_run(row, n_plain);
}

void round_hadamard(float *row, size_t n, double *wide, bool official)
{
	double scale = 1 / sqrt((double)n);

	if (!official) {
		ops_hadamard(row, n);
		return;
	}
	for (size_t i = 0; i < n; i++)
		wide[i] = (double)row[i];
	for (size_t h = 1; h < n; h *= 2)
		for (size_t i = 0; i < n; i++) {
			double a = wide[i], b = wide[i ^ h];

			if (i & h)
				continue;
			wide[i] = a + b;
			wide[i ^ h] = a - b;
		}
	for (size_t i = 0; i < n; i++)
		row[i] = round_bf16((float)(wide[i] * scale));
	round_fp4(row, row, n);
}
