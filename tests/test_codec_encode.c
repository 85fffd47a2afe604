/* SPDX-License-Identifier: MIT
 *
 * test_codec_encode.c - encoders: never worse than the reference encoder on its published vector,
 * as good as trying every scale there is where the format has one scale, the same bytes always,
 * and sane at the ends of the number range.
 */
#include <math.h>

#include "quantize/floats.h"
#include "quantize/quantize.h"
#include "tests/test.h"

enum { N = 4096 };

/* reference: relative RMS error that ggml's encoder leaves on the vector. Digests of the blocks of
 * the vector: fast, best, best with weights. */
static const struct { enum dtype t; double reference; const char *fast, *best, *weighted; } types[] = {
	{ DT_Q8_0, 0.006338,
	  "0cd61712f4e8f868890e6e9a37ac88039587a1024ffef792b893de1cfa67421f",
	  "d2678c9ca0688cdfe2ee67e0e2ab1c78c1790adc5f925c56ab0998994090dd39",
	  "8bff10007e934f2b16170e2e38adae3130eefeff31c3f910c68414a8124ec866" },
	{ DT_MXFP4, 0.121376,
	  "8ca7ffaa10237daddf690e3cf86fe0bd8bbb05c8972be7689bd1bd7fd994d469",
	  "8ca7ffaa10237daddf690e3cf86fe0bd8bbb05c8972be7689bd1bd7fd994d469",
	  "02904014a19d6592083573953dcad94c3163b03b04b3beab175814c8161a5b05" },
	{ DT_NVFP4, 0.094328,
	  "b1b42b281ec6139c7db0a2fe4a492e01a3175c873937ec13d06e4dd3b715fe47",
	  "b1b42b281ec6139c7db0a2fe4a492e01a3175c873937ec13d06e4dd3b715fe47",
	  "c7b5f733e2f1dc094a84e707dbd585a0c0cb21abee98657d72f04e8965c06055" },
	{ DT_Q4_0, 0.100034,
	  "7708e4931a3874d9834cc1b5f2c43204a2423951390bf64358e0bb58b1da1da1",
	  "23311270950e6e71366734a392963e0f1efb6fd9abeb85a5ea388ee857218b6a",
	  "b46a5d429ede09508f0c4caeb7297e6d2361876d80716a206de4616f0b55a08c" },
	{ DT_Q4_1, 0.081484,
	  "70b66f95f5c17e2fc38f14c9136b126b58ed2ef02170f5db5b35ad2c0e233c8b",
	  "7e50571244891b9c8597e3e5cedc5c97f3c32b524db202b0c89d0a007ae4fd39",
	  "9bd1ad82b8e6b71d77167b4d72e15ac924269313d44bdfd7d5f663028ff66282" },
	{ DT_IQ4_NL, 0.083912,
	  "4328b4e81880a06b08b347f2df2632d83243e09b6709c13b22b47e6b8ece6d84",
	  "5d4d1de8c1de10d4642ca4bff90b2c509eb882a9f9768aa40f18c63d1eb20d8e",
	  "b3ad4515c6c8c0003a20efe4c0cd7a0c85c8f280d5b0aa91e0c196d0dbdf6527" },
	{ DT_IQ4_XS, 0.085025,
	  "8f1016f4f9e21e360e14aecfa98d663af44797861e3f8a25caee6d3018e427ef",
	  "7016a843bee623486119629f694d76d57ba0e3838285ea1e6490d9b11bf7187c",
	  "84f3e57ad62d55c01ac5435c03c8cc4b566be4e02b4e4c62216d1ba7fd4ea0e5" },
	{ DT_Q4_K, 0.076220,
	  "78505124f62619e5fe1cc63f269dddce6b167e4f8aa1796e88f0a30987964356",
	  "6a608ce342407d16148304b5ec434847a3397cc2cacb5423b61775a8e7798175",
	  "cfc415822296fb103e58f2e47eb9d36155ea5e5b38cbe102de3ec14c37d4b8c9" },
	{ DT_Q5_K, 0.038827,
	  "ddc1cae607c0d1f4b9eab2fd91c245718c738094bec067b257b77d3c220c74b6",
	  "c23f1ed520d00f677db3af018c20f5c6be773c0bdd703791ff987ae519252f50",
	  "79b5ee1bb8c78ef881746c56a96ae4624b69dee682111f8596ac28076a4a8d36" },
	{ DT_Q6_K, 0.019797,
	  "0ec1f0b436853d621731e7a0147d6f4d2969f301f660e9ec1abb30324488d59d",
	  "4476afd4b9c5a6a56cca13ee53fb8bc9e35ef164602280b300c2c1133105372b",
	  "82c988e0efaf58105a5ebaa5a2e8edd11bd333774630ec611a70d6a8086ae880" },
};
enum { N_TYPES = sizeof types / sizeof *types };

static uint32_t seed;
static uint32_t draw(void)
{
	seed = seed * 1664525u + 1013904223u;
	return seed >> 16;
}

static float bell(void)
{
	int32_t sum = -131070;

	for (int k = 0; k < 4; k++)
		sum += (int32_t)draw();
	return (float)sum / 65536.0f;
}

/* The published test vector: sums of four 16-bit draws of an LCG, every 97th times four. */
static void vector(float x[N])
{
	seed = 1;
	for (int i = 0; i < N; i++)
		x[i] = bell() * (i % 97 == 0 ? 4.0f : 1.0f);
}

static void weights(float w[N])
{
	seed = 2;
	for (int i = 0; i < N; i++)
		w[i] = (float)(1 + draw() % 1000) * (i % 7 == 0 ? 8.0f : 1.0f);
}

static double loss(const float *x, const float *y, const float *w, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (w ? (double)w[i] : 1) * ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
	return sum;
}

static double encoded_loss(enum dtype t, const float *x, const float *w, size_t n, enum effort effort)
{
	static uint8_t b[2 * N];
	static float y[N];

	codec_encode(t, x, w, n, effort, b);
	codec_decode(t, b, n, y);
	return loss(x, y, w, n);
}

static void check_digest(enum dtype t, const float *x, const float *w, enum effort effort, const char *want)
{
	static uint8_t b[2 * N];
	struct sha256 h = { 0 };
	struct digest d = { .kind = DIGEST_SHA256 };
	struct err e;
	char hex[65];

	codec_encode(t, x, w, N, effort, b);
	CHECK(sha256_open(&h, &e) == OK);
	sha256_start(&h);
	sha256_add(&h, b, (size_t)N / dtype_info(t)->block * dtype_info(t)->bytes);
	sha256_end(&h, d.bytes);
	sha256_close(&h);
	digest_text(&d, hex);
	CHECKF(strcmp(hex, want) == 0, "%s, %s%s: %s", dtype_info(t)->name, effort == EFFORT_BEST ? "best" : "fast",
	       w ? ", weighted" : "", hex);
}

static void bytes_are_pinned(void)
{
	static float x[N], w[N];

	vector(x);
	weights(w);
	for (size_t i = 0; i < N_TYPES; i++) {
		check_digest(types[i].t, x, NULL, EFFORT_FAST, types[i].fast);
		check_digest(types[i].t, x, NULL, EFFORT_BEST, types[i].best);
		check_digest(types[i].t, x, w, EFFORT_BEST, types[i].weighted);
	}
}

static void never_worse_than_the_reference(void)
{
	static float x[N], zero[N];

	vector(x);
	for (size_t i = 0; i < N_TYPES; i++) {
		double norm = loss(x, zero, NULL, N), fast, best;

		fast = sqrt(encoded_loss(types[i].t, x, NULL, N, EFFORT_FAST) / norm);
		best = sqrt(encoded_loss(types[i].t, x, NULL, N, EFFORT_BEST) / norm);
		CHECKF(fast <= types[i].reference, "%s: %g", dtype_info(types[i].t)->name, fast);
		CHECKF(best <= fast, "%s: %g after %g", dtype_info(types[i].t)->name, best, fast);
	}
}

/* A block with its scale set to the given bits and each code the nearest of all: the loss, by
 * decoding every code under that scale. n values share the scale, whose place in a block is at. */
static double loss_at_scale(enum dtype t, uint32_t scale, const float *x, const float *w, int n)
{
	const struct dtype_info *info = dtype_info(t);
	int n_codes = t == DT_Q8_0 ? 255 : 16;
	float value[255], y[64];
	uint8_t b[36];
	double sum = 0;

	for (int c = 0; c < n_codes; c++) {
		memset(b, t == DT_Q8_0 ? c - 127 : c * 0x11, sizeof b);
		store_le(b, t == DT_MXFP4 || t == DT_NVFP4 ? 1 : 2, scale);
		codec_decode(t, b, info->block, y);
		value[c] = y[0];
	}
	for (int i = 0; i < n; i++) {
		double least = INFINITY;
		for (int c = 0; c < n_codes; c++) {
			double e = (double)x[i] - (double)value[c];
			least = e * e < least ? e * e : least;
		}
		sum += (double)w[i] * least;
	}
	return sum;
}

/* Blocks of one scale at EFFORT_BEST against every scale that can be stored; Q8_0, whose search
 * stops above the plain choice, against all within a factor of 1.5 and with 2 % of allowance. */
static void no_scale_is_better(void)
{
	static const struct { enum dtype t; int n, n_blocks; } cases[] = {
		{ DT_Q4_0, 32, 4 }, { DT_IQ4_NL, 32, 4 }, { DT_Q8_0, 32, 2 }, { DT_MXFP4, 32, 200 },
		{ DT_NVFP4, 16, 200 },
	};
	float x[64], w[64];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (int k = 0; k < cases[i].n_blocks; k++) {
			bool narrow = cases[i].t == DT_MXFP4 || cases[i].t == DT_NVFP4;
			float unit = k % 4 == 1 ? 0x1p-17f : k % 4 == 2 ? 1e3f : 1, amax = 0;
			double best = INFINITY, got;

			seed = (uint32_t)(100 * i + (size_t)k);
			for (int v = 0; v < 64; v++) {
				x[v] = v < cases[i].n ? bell() * unit * (v % 11 ? 1 : 3) : 0;
				w[v] = k % 2 ? 1 : (float)(1 + draw() % 64);
				amax = fabsf(x[v]) > amax ? fabsf(x[v]) : amax;
			}
			for (uint32_t s = 0; s < (narrow ? 255 : 65536); s++) {
				float d = f16_to_f32((uint16_t)s);
				if (!narrow && (s & 0x7C00) == 0x7C00)
					continue;
				if (cases[i].t == DT_Q8_0 && !(d > amax / 190 && d < amax / 85))
					continue;
				if (cases[i].t == DT_NVFP4 && s > 0x7F)
					break;
				double at = loss_at_scale(cases[i].t, s, x, w, cases[i].n);
				best = at < best ? at : best;
			}
			got = encoded_loss(cases[i].t, x, w, dtype_info(cases[i].t)->block, EFFORT_BEST);
			CHECKF(got <= best * (cases[i].t == DT_Q8_0 ? 1.02 : 1 + 1e-5), "%s, block %d: %g, least %g", dtype_info(cases[i].t)->name, k,
			       got, best);
		}
}

/* Q4_1 has two scales: against a grid of both about the plain choice. */
static void q4_1_is_near_the_least(void)
{
	float x[32];
	double sum = 0, least_sum = 0;

	for (uint32_t k = 0; k < 20; k++) {
		float lo = 9, hi = -9;
		double best = INFINITY;

		seed = k;
		for (int v = 0; v < 32; v++) {
			x[v] = bell();
			lo = x[v] < lo ? x[v] : lo;
			hi = x[v] > hi ? x[v] : hi;
		}
		for (int p = 0; p < 60; p++)
			for (int q = 0; q < 60; q++) {
				double d = (double)(hi - lo) / 15 * (0.75 + 0.4 * p / 60), at = 0;
				double m = (double)lo + d * (q - 20) / 30;
				for (int v = 0; v < 32; v++) {
					double c = rint(((double)x[v] - m) / d);
					c = c < 0 ? 0 : c > 15 ? 15 : c;
					at += ((double)x[v] - d * c - m) * ((double)x[v] - d * c - m);
				}
				best = at < best ? at : best;
			}
		sum += encoded_loss(DT_Q4_1, x, NULL, 32, EFFORT_BEST);
		least_sum += best;
	}
	CHECKF(sum < least_sum * 1.02, "%g, least %g", sum, least_sum);
}

/* Values that blocks can hold come back as they were. */
static void values_of_the_format_are_kept(void)
{
	static const enum dtype one_scale[] = { DT_Q4_0, DT_IQ4_NL, DT_MXFP4, DT_NVFP4, DT_Q8_0 };
	static uint8_t b[2 * N];
	static float x[N], y[N];

	for (size_t i = 0; i < 5; i++) {
		enum dtype t = one_scale[i];

		vector(x);
		codec_encode(t, x, NULL, N, EFFORT_BEST, b);
		codec_decode(t, b, N, x);
		codec_encode(t, x, NULL, N, EFFORT_BEST, b);
		codec_decode(t, b, N, y);
		CHECKF(loss(x, y, NULL, N) == 0, "%s: %g", dtype_info(t)->name, loss(x, y, NULL, N));
	}
}

static void weights_count_by_their_ratios(void)
{
	static uint8_t plain[2 * N], other[2 * N];
	static float x[N], w[N], zero[N];

	vector(x);
	for (size_t i = 0; i < N_TYPES; i++) {
		enum dtype t = types[i].t;
		size_t bytes = (size_t)N / dtype_info(t)->block * dtype_info(t)->bytes;

		for (int k = 0; k < N; k++)
			w[k] = 0x1p-100f;
		codec_encode(t, x, NULL, N, EFFORT_BEST, plain);
		codec_encode(t, x, w, N, EFFORT_BEST, other);
		CHECKF(memcmp(plain, other, bytes) == 0, "%s", dtype_info(t)->name);
		codec_encode(t, x, zero, N, EFFORT_BEST, other);
		CHECKF(memcmp(plain, other, bytes) == 0, "%s", dtype_info(t)->name);
		weights(w);
		double with = encoded_loss(t, x, w, N, EFFORT_BEST), without;
		codec_decode(t, plain, N, zero);
		without = loss(x, zero, w, N);
		memset(zero, 0, sizeof zero);
		CHECKF(with < without, "%s: %g, unweighted %g", dtype_info(t)->name, with, without);
		without = encoded_loss(t, x, w, N, EFFORT_FAST);
		CHECKF(with <= without, "%s: %g, fast %g", dtype_info(t)->name, with, without);
	}
}

static void range_ends_are_finite(void)
{
	static const float units[] = { 0, 1e-45f, 1e-38f, 1e-30f, 1e-12f, 6e-8f, 1e-6f, 1e4f, 1e6f, 1e20f, 3e38f };
	static uint8_t b[2 * N];
	static float x[N], y[N], zero[N];

	for (size_t i = 0; i < N_TYPES; i++)
		for (size_t u = 0; u < sizeof units / sizeof *units; u++)
			for (int effort = EFFORT_FAST; effort <= EFFORT_BEST; effort++) {
				seed = 3;
				for (int k = 0; k < 512; k++)
					x[k] = (float)((int)draw() - 32768) / 32768.0f * units[u];
				codec_encode(types[i].t, x, NULL, 512, (enum effort)effort, b);
				codec_decode(types[i].t, b, 512, y);
				CHECK(codec_first_bad(types[i].t, b, 512) == 512);
				CHECK(codec_first_not_finite(y, 512) == 512);
				CHECKF(loss(x, y, NULL, 512) <= loss(x, zero, NULL, 512), "%s at %g: %g of %g",
				       dtype_info(types[i].t)->name, (double)units[u], loss(x, y, NULL, 512),
				       loss(x, zero, NULL, 512));
			}
}

/* One large value, the rest of its block or group zeros or equal: what searches divide by is zero. */
static void lone_values_are_kept(void)
{
	static float x[N];

	for (size_t i = 0; i < N_TYPES; i++)
		for (int kind = 0; kind < 4; kind++) {
			for (int k = 0; k < 256; k++)
				x[k] = kind == 0 ? (k == 37 ? -1.5f : 0) : kind == 1 ? 1.5f : kind == 2 ? -1.5f
				     : k == 37 ? 1.5f : 0;
			double got = encoded_loss(types[i].t, x, NULL, 256, EFFORT_BEST);
			CHECKF(got < 256 * 2.25 * 1e-3 && (kind % 3 || got < 0.01), "%s, kind %d: %g",
			       dtype_info(types[i].t)->name, kind, got);
		}
}

int main(void)
{
	RUN(bytes_are_pinned);
	RUN(never_worse_than_the_reference);
	RUN(no_scale_is_better);
	RUN(q4_1_is_near_the_least);
	RUN(values_of_the_format_are_kept);
	RUN(weights_count_by_their_ratios);
	RUN(range_ends_are_finite);
	RUN(lone_values_are_kept);
	return test_done();
}
