/* SPDX-License-Identifier: MIT
 *
 * test_quantize.c - numbers and blocks, against arithmetic done another way: ldexp in double for
 * every code and scale there is, published digests of conversions for the plain types, and the
 * property that no source value changes on a path called exact.
 */
#include <math.h>

#include "quantize/floats.h"
#include "quantize/quantize.h"
#include "tests/test.h"

static double e4m3(unsigned c)
{
	unsigned e = c >> 3 & 15, m = c & 7;
	double v = e ? ldexp(1 + m / 8.0, (int)e - 7) : ldexp(m, -9);

	return c & 0x80 ? -v : v;
}

static double e2m1(unsigned c)
{
	unsigned e = c >> 1 & 3, m = c & 1;
	double v = e ? ldexp(1 + m / 2.0, (int)e - 1) : m / 2.0;

	return c & 8 ? -v : v;
}

static bool same_bits(float a, float b)
{
	return f32_bits(a) == f32_bits(b);
}

static void fp8_codes_are_their_formula(void)
{
	for (unsigned c = 0; c < 256; c++)
		if ((c & 0x7F) != 0x7F)
			CHECKF(same_bits(e4m3_to_f32((uint8_t)c), (float)e4m3(c)), "code %u", c);
	CHECK(e4m3_to_f32(0x7E) == 448.0f);
	CHECK(f32_bits(e8m0_to_f32(0)) == 0x00400000);	/* 2^-127, not zero */
	for (unsigned b = 0; b < 255; b++)
		CHECKF(e8m0_to_f32((uint8_t)b) == (float)ldexp(1, (int)b - 127), "scale %u", b);
}

static void every_half_survives(void)
{
	for (unsigned h = 0; h < 65536; h++) {
		float f = f16_to_f32((uint16_t)h);
		if (isnan(f))
			CHECK(isnan(f16_to_f32(f32_to_f16(f))));
		else
			CHECKF(f32_to_f16(f) == h, "half %04x", h);
	}
	CHECK(f32_to_f16(65519.0f) == 0x7BFF && f32_to_f16(65520.0f) == 0x7C00);
	CHECK(f32_to_f16(0x1p-25f) == 0 && f32_to_f16(0x1.8p-25f) == 1);	/* ties to even; above half */
	CHECK(f32_to_bf16(1.00390625f) == 0x3F80 && f32_to_bf16(1.01171875f) == 0x3F82);
}

/* The published test vector: sums of four 16-bit draws of an LCG, every 97th times four. */
static void vector(float x[4096])
{
	uint32_t s = 1;

	for (int i = 0; i < 4096; i++) {
		uint32_t acc = 0;
		for (int k = 0; k < 4; k++) {
			s = s * 1664525u + 1013904223u;
			acc += s >> 16 & 0xFFFF;
		}
		x[i] = (float)((int32_t)acc - 131070) / 65536.0f;
		if (i % 97 == 0)
			x[i] *= 4;
	}
}

static void hex_of(const void *p, size_t n, char hex[65])
{
	struct sha256 h = { 0 };
	struct digest d = { .kind = DIGEST_SHA256 };
	struct err e;

	CHECK(sha256_open(&h, &e) == OK);
	sha256_start(&h);
	sha256_add(&h, p, n);
	sha256_end(&h, d.bytes);
	sha256_close(&h);
	digest_text(&d, hex);
}

static double nrmse(const float *x, const float *y, int n)
{
	double err = 0, sum = 0;

	for (int i = 0; i < n; i++) {
		err += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
		sum += (double)x[i] * x[i];
	}
	return sqrt(err / sum);
}

static void types_agree_with_published_digests(void)
{
	static const struct { enum dtype t; const char *blocks, *values; } plain[] = {
		{ DT_BF16, "cdaeba8ff7ea0c8696280ffc9b0d7965507a74bc11fbbbd678eb1193381fb5ee",
		  "7eb273075838ac6c03c0762b505a79bdb05b8f91d2b287e3e9f32092ea17f1b0" },
		{ DT_F16, "9ac292615c1e4754ba4f7ee30a1b184ea9a50b0c279a9b6d4d9e98af39f684a2",
		  "ea4633cc80493df66f6715b470b3c3fae1a8f529a1cfaca429319ab986c87d64" },
	};
	static float x[4096], y[4096];
	static uint8_t b[4096 * 4];
	char hex[65];

	vector(x);
	hex_of(x, sizeof x, hex);
	CHECK(strcmp(hex, "2b40936ce3bc82a99c2b12b12059bba30d0f47d47ccbdc1350a35e703328a969") == 0);
	for (size_t i = 0; i < 2; i++) {
		codec_encode(plain[i].t, x, NULL, 4096, EFFORT_FAST, b);
		hex_of(b, 4096 * 2, hex);
		CHECKF(strcmp(hex, plain[i].blocks) == 0, "%s", hex);
		codec_decode(plain[i].t, b, 4096, y);
		hex_of(y, sizeof y, hex);
		CHECKF(strcmp(hex, plain[i].values) == 0, "%s", hex);
	}
}

/* Error on the same vector, beside the figure published for the reference encoder. */
static void encoders_are_no_worse_than_the_reference(void)
{
	static const struct { enum dtype t; double reference; } types[] = {
		{ DT_Q8_0, 0.006338 }, { DT_MXFP4, 0.121376 },
	};
	static float x[4096], y[4096];
	static uint8_t b[4096 * 2];

	vector(x);
	for (size_t i = 0; i < 2; i++) {
		codec_encode(types[i].t, x, NULL, 4096, EFFORT_FAST, b);
		codec_decode(types[i].t, b, 4096, y);
		CHECKF(nrmse(x, y, 4096) <= types[i].reference, "%s: %g", dtype_info(types[i].t)->name,
		       nrmse(x, y, 4096));
	}
}

static void q8_0_at_its_edges(void)
{
	float x[32] = { 0 }, y[32];
	uint8_t b[34];

	codec_encode(DT_Q8_0, x, NULL, 32, EFFORT_FAST, b);
	codec_decode(DT_Q8_0, b, 32, y);
	for (int i = 0; i < 32; i++)
		CHECK(y[i] == 0);
	x[3] = 1e30f;				/* beyond half's range: saturates, stays finite */
	x[4] = -1e30f;
	codec_encode(DT_Q8_0, x, NULL, 32, EFFORT_FAST, b);
	codec_decode(DT_Q8_0, b, 32, y);
	CHECK(y[3] == 127 * 65504.0f && y[4] == -y[3]);
	for (int i = 0; i < 32; i++)
		x[i] = (float)(i - 16) * 0.25f;
	codec_encode(DT_Q8_0, x, NULL, 32, EFFORT_FAST, b);
	codec_decode(DT_Q8_0, b, 32, y);
	for (int i = 0; i < 32; i++)
		CHECKF(fabsf(x[i] - y[i]) <= 4.0f / 127, "%g became %g", (double)x[i], (double)y[i]);
	/* by hand: scale 1 (amax 127), codes are the values */
	for (int i = 0; i < 32; i++)
		x[i] = (float)(i * 4 + 3 - (i == 0) * 130);
	codec_encode(DT_Q8_0, x, NULL, 32, EFFORT_FAST, b);
	CHECK(b[0] == 0x00 && b[1] == 0x3C && (int8_t)b[2] == -127 && (int8_t)b[33] == 127);
}

static struct source_layout fp4_layout(uint64_t rows, uint64_t cols)
{
	return (struct source_layout){ SOURCE_FP4, DT_I8, DT_F8_E8M0, rows, cols, 1, 32, cols / 32 };
}

static void mxfp4_nibbles_move_as_published(void)
{
	static const uint8_t h[16] = { 0x10, 0x32, 0x54, 0x76, 0x98, 0xBA, 0xDC, 0xFE,
				       0x10, 0x32, 0x54, 0x76, 0x98, 0xBA, 0xDC, 0xFE };
	static const uint8_t want[16] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
					  0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF };
	struct source_layout l = fp4_layout(1, 32);
	uint8_t scale = 120, out[17];
	struct source_run r = { &l, h, &scale, 0, 32, 0 };

	CHECK(transfer(&r, DT_MXFP4, out, NULL).kind == FAULT_NONE);
	CHECK(out[0] == 120 && memcmp(out + 1, want, 16) == 0);
}

/* Every code under every scale, in every place of a block: source and MXFP4 are the same bits. */
static void fp4_keeps_every_value(void)
{
	struct source_layout l = fp4_layout(255, 64);
	static uint8_t w[255 * 32], s[255 * 2], out[255 * 2 * 17];
	static float from_source[255 * 64], from_blocks[255 * 64];
	uint32_t x = 7;

	for (size_t i = 0; i < sizeof w; i++) {
		x = x * 1664525u + 1013904223u;
		w[i] = i % 64 < 32 ? (uint8_t)(x >> 24) : (uint8_t)(i * 0x11);
	}
	for (size_t i = 0; i < sizeof s; i++)
		s[i] = (uint8_t)(i / 2);		/* 0 .. 254 */
	struct source_run r = { &l, w, s, 0, 255 * 64, 0 };
	CHECK(source_decode(&r, from_source).kind == FAULT_NONE);
	CHECK(transfer(&r, DT_MXFP4, out, NULL).kind == FAULT_NONE);
	codec_decode(DT_MXFP4, out, 255 * 64, from_blocks);
	CHECK(memcmp(from_source, from_blocks, sizeof from_source) == 0);
	for (unsigned i = 0; i < 255 * 64; i++) {
		unsigned code = i % 2 ? w[i / 2] >> 4 : w[i / 2] & 15;
		float want = (float)ldexp(e2m1(code), (int)s[i / 32] - 127);
		CHECKF(same_bits(from_source[i], want), "element %u", i);
	}
	/* a run from the middle, as a chunk that does not start at a row */
	struct source_run part = { &l, w + 96 * 16, s + 96, 96 * 32, 102 * 32, 96 };
	static uint8_t piece[6 * 17];
	CHECK(transfer(&part, DT_MXFP4, piece, NULL).kind == FAULT_NONE);
	CHECK(memcmp(piece, out + 96 * 17, sizeof piece) == 0);
}

static void fp4_group_of_128_repeats_its_scale(void)
{
	struct source_layout l = { SOURCE_FP4, DT_U8, DT_F8_E8M0, 2, 256, 1, 128, 2 };
	uint8_t w[256], s[4] = { 1, 2, 3, 4 }, out[16 * 17];

	memset(w, 0x21, sizeof w);
	struct source_run r = { &l, w, s, 0, 512, 0 };
	CHECK(transfer_is_exact(&l, DT_MXFP4));
	CHECK(transfer(&r, DT_MXFP4, out, NULL).kind == FAULT_NONE);
	for (int b = 0; b < 16; b++)
		CHECK(out[17 * b] == s[b / 4]);
}

static void fp8_to_bf16_is_exact_or_refused(void)
{
	struct source_layout l = { SOURCE_FP8, DT_F8_E4M3, DT_F8_E8M0, 1, 128, 128, 128, 1 };
	uint8_t w[128], out[256], scale;
	struct source_run r = { &l, w, &scale, 0, 128, 0 };

	for (unsigned b = 0; b < 255; b++)
		for (unsigned half = 0; half < 2; half++) {
			bool fits = true;
			scale = (uint8_t)b;
			for (unsigned i = 0; i < 127; i++)
				w[i] = (uint8_t)(half * 128 + i);
			w[127] = 0;
			for (unsigned i = 0; i < 128; i++) {
				double v = e4m3(w[i]) * ldexp(1, (int)b - 127);
				fits &= fabs(v) < ldexp(1, 128) && fmod(v, ldexp(1, -133)) == 0;
			}
			struct fault f = transfer(&r, DT_BF16, out, NULL);
			CHECKF((f.kind == FAULT_NONE) == fits, "scale %u: fault %d", b, (int)f.kind);
			if (f.kind != FAULT_NONE)
				CHECK(f.kind == FAULT_INEXACT);
			for (unsigned i = 0; fits && i < 128; i++) {
				float got = bf16_to_f32((uint16_t)load_le(out + 2 * i, 2));
				CHECKF(same_bits(got, (float)(e4m3(w[i]) * ldexp(1, (int)b - 127))),
				       "scale %u, code %u", b, w[i]);
			}
		}
}

static void fp8_blocks_find_their_scales(void)
{
	/* 5 x 70 in blocks of 2 x 32: partial blocks on both edges; F32 scales */
	struct source_layout l = { SOURCE_FP8, DT_F8_E4M3, DT_F32, 5, 70, 2, 32, 3 };
	uint8_t w[350], s[9 * 4];
	float out[350], part[350];
	struct source_run r = { &l, w, s, 0, 350, 0 };

	memset(w, 0x38, sizeof w);		/* 1.0 */
	for (unsigned i = 0; i < 9; i++)
		store_le(s + 4 * i, 4, f32_bits((float)(1 << i)));
	CHECK(source_decode(&r, out).kind == FAULT_NONE);
	for (unsigned i = 0; i < 350; i++)
		CHECKF(out[i] == (float)(1 << (i / 70 / 2 * 3 + i % 70 / 32)), "element %u", i);
	for (uint64_t e0 = 0; e0 < 350; e0 += 13) {
		uint64_t e1 = u64_min(e0 + 101, 350), s0, s1;
		source_scale_range(&l, e0, e1, &s0, &s1);
		CHECK(s1 <= 9);
		struct source_run run = { &l, w + e0, s + 4 * s0, e0, e1, s0 };
		CHECK(source_decode(&run, part).kind == FAULT_NONE);
		CHECK(memcmp(part, out + e0, (e1 - e0) * sizeof *out) == 0);
	}
}

static void nan_codes_are_named(void)
{
	struct source_layout l8 = { SOURCE_FP8, DT_F8_E4M3, DT_F8_E8M0, 4, 128, 128, 128, 1 };
	struct source_layout l4 = fp4_layout(2, 64);
	static float scratch[TRANSFER_SCRATCH];
	uint8_t w[512] = { 0 }, s[4] = { 120, 120, 120, 120 }, out[2048];
	struct source_run r8 = { &l8, w, s, 0, 512, 0 }, r4 = { &l4, w, s, 0, 128, 0 };
	static const enum dtype targets[] = { DT_BF16, DT_F32, DT_Q8_0 };

	w[300] = 0xFF;
	for (size_t i = 0; i < 3; i++) {
		struct fault f = transfer(&r8, targets[i], out, scratch);
		CHECKF(f.kind == FAULT_NAN && f.element == 300, "to %s: %d at %llu",
		       dtype_info(targets[i])->name, (int)f.kind, (unsigned long long)f.element);
	}
	s[2] = 0xFF;
	struct fault f = transfer(&r4, DT_MXFP4, out, scratch);
	CHECK(f.kind == FAULT_NAN && f.element == 64);
	f = transfer(&r4, DT_Q8_0, out, scratch);
	CHECK(f.kind == FAULT_NAN && f.element == 64);
	struct source_layout plain = { SOURCE_PLAIN, DT_BF16, DT_NONE, 1, 64, 0, 0, 0 };
	struct source_run rp = { &plain, w, NULL, 0, 64, 0 };
	memset(w, 0, sizeof w);
	w[2 * 40] = 1, w[2 * 40 + 1] = 0x7F;	/* 0x7F01 is finite; then NaN, then infinite */
	CHECK(transfer(&rp, DT_BF16, out, scratch).kind == FAULT_NONE);
	w[2 * 40] = 0x81;
	f = transfer(&rp, DT_BF16, out, scratch);
	CHECK(f.kind == FAULT_NAN && f.element == 40);
	w[2 * 40] = 0x80;
	f = transfer(&rp, DT_Q8_0, out, scratch);
	CHECK(f.kind == FAULT_INFINITE && f.element == 40);
}

/* What decoding would show, but for a NaN scale, which is bad whatever it scales. */
static size_t first_bad(enum dtype t, const uint8_t *b, size_t n)
{
	static float x[512];
	size_t bad;

	codec_decode(t, b, n, x);
	bad = codec_first_not_finite(x, n);
	for (size_t i = 0; t == DT_MXFP4 && i < n; i += 32)
		bad = b[i / 32 * 17] == 0xFF && i < bad ? i : bad;
	return bad;
}

static void bad_blocks_are_found_undecoded(void)
{
	static const enum dtype plain[] = { DT_F16, DT_BF16, DT_F32 };
	uint8_t b[160 * 4];

	for (size_t k = 0; k < 3; k++)		/* each high half there is, at a place that moves on */
		for (uint32_t bits = 0; bits < 65536; bits++) {
			unsigned size = dtype_info(plain[k])->bytes;
			size_t n = 1 + bits % 157, at = bits * 31 % n;

			memset(b, bits & 1 ? 0x3B : 0xBB, sizeof b);
			store_le(b + at * size + size - 2, 2, bits);
			CHECKF(codec_first_bad(plain[k], b, n) == first_bad(plain[k], b, n), "%s %x of %zu",
			       dtype_info(plain[k])->name, bits, n);
		}
	for (unsigned scale = 0; scale < 256; scale++)
		for (unsigned code = 0; code < 256; code++) {
			memset(b, 0x11, 3 * 17);
			b[17] = (uint8_t)scale;
			b[18 + code % 16] = (uint8_t)code;
			CHECKF(codec_first_bad(DT_MXFP4, b, 96) == first_bad(DT_MXFP4, b, 96), "%u %u", scale, code);
		}
	for (uint32_t half = 0; half < 65536; half++) {
		memset(b, 0x11, 3 * 34);
		store_le(b + 34, 2, half);
		CHECKF(codec_first_bad(DT_Q8_0, b, 96) == first_bad(DT_Q8_0, b, 96), "%x", half);
	}
}

static void plain_types_widen_exactly(void)
{
	static const enum dtype sources[] = { DT_BF16, DT_F16 };
	static float scratch[TRANSFER_SCRATCH];
	static uint8_t w[65536 * 2], out[65536 * 4];

	for (unsigned i = 0; i < 65536; i++)
		store_le(w + 2 * i, 2, i);
	for (size_t k = 0; k < 2; k++) {
		struct source_layout l = { SOURCE_PLAIN, sources[k], DT_NONE, 1, 0x7C00, 0, 0, 0 };
		struct source_run r = { &l, w, NULL, 0, 0x7C00, 0 };	/* the positive finite ones of F16 */
		CHECK(transfer(&r, DT_F32, out, scratch).kind == FAULT_NONE);
		for (unsigned i = 0; i < 0x7C00; i++) {
			float want = k ? (i < 1024 ? (float)ldexp(i, -24)
						   : (float)ldexp(1 + (i & 1023) / 1024.0, (int)(i >> 10) - 15))
				       : bits_f32(i << 16);
			CHECKF(load_le(out + 4 * i, 4) == f32_bits(want), "%u", i);
		}
	}
}

static void ids_are_checked(void)
{
	struct source_layout l = { SOURCE_PLAIN, DT_I64, DT_NONE, 4, 3, 0, 0, 0 };
	uint8_t w[12 * 8], out[12 * 4];
	struct source_run r = { &l, w, NULL, 0, 12, 0 };

	for (unsigned i = 0; i < 12; i++)
		store_le(w + 8 * i, 8, i % 7);
	CHECK(transfer_ids(&r, 7, out).kind == FAULT_NONE);
	CHECK(load_le(out + 4 * 9, 4) == 2);
	struct fault f = transfer_ids(&r, 6, out);
	CHECK(f.kind == FAULT_RANGE && f.element == 6);
	store_le(w + 8 * 5, 8, (uint64_t)-1);
	f = transfer_ids(&r, 7, out);
	CHECK(f.kind == FAULT_RANGE && f.element == 5);
	store_le(w + 8 * 5, 8, 3);	/* row 1 is now 3, 4, 3 */
	f = transfer_ids(&r, 7, out);
	CHECK(f.kind == FAULT_DUPLICATE && f.element == 5);
}

/* A run that begins inside a row: each element under its own column's importance. */
static void importance_belongs_to_columns(void)
{
	enum { ROWS = 3, COLS = 512, N = ROWS * COLS };
	static float x[N], importance[COLS], scratch[TRANSFER_SCRATCH];
	static uint8_t got[N / 32 * 18], want[N / 32 * 18], plain[N / 32 * 18];
	struct source_layout l = { SOURCE_PLAIN, DT_F32, DT_NONE, ROWS, COLS, 0, 0, 0 };
	struct source_run r = { &l, (const uint8_t *)(x + 256), NULL, 256, N, 0 };
	struct encoding how = { EFFORT_BEST, importance };

	for (unsigned i = 0; i < N; i++)
		x[i] = sinf((float)i * 1.7f) + 0.3f * cosf((float)i * 0.1f);
	for (unsigned i = 0; i < COLS; i++)
		importance[i] = (float)(1 + i * 7 % 31);
	CHECK(transfer_as(&r, DT_Q4_0, &how, got, scratch).kind == FAULT_NONE);
	for (unsigned i = 256; i < N; i += 32)
		codec_encode(DT_Q4_0, x + i, importance + i % COLS, 32, EFFORT_BEST, want + (i - 256) / 32 * 18);
	CHECK(memcmp(got, want, (N - 256) / 32 * 18) == 0);
	how.importance = NULL;
	CHECK(transfer_as(&r, DT_Q4_0, &how, plain, scratch).kind == FAULT_NONE);
	CHECK(memcmp(got, plain, (N - 256) / 32 * 18) != 0);
}

/* Blocks stay as they are or are decoded; what is in them must be finite, whatever the path. */
static void blocks_are_a_source(void)
{
	enum { N = 2 * 256 };
	static float x[N], back[N], scratch[TRANSFER_SCRATCH];
	static uint8_t q4[N / 256 * 144], out[N * 4];
	struct source_layout l = { SOURCE_PLAIN, DT_Q4_K, DT_NONE, 1, N, 0, 0, 0 };
	struct source_run r = { &l, q4, NULL, 0, N, 0 };

	for (unsigned i = 0; i < N; i++)
		x[i] = sinf((float)i);
	codec_encode(DT_Q4_K, x, NULL, N, EFFORT_FAST, q4);
	codec_decode(DT_Q4_K, q4, N, back);
	CHECK(transfer_is_exact(&l, DT_Q4_K) && transfer_is_exact(&l, DT_F32) && !transfer_is_exact(&l, DT_Q8_0));
	CHECK(transfer(&r, DT_Q4_K, out, scratch).kind == FAULT_NONE && memcmp(out, q4, sizeof q4) == 0);
	CHECK(transfer(&r, DT_F32, out, scratch).kind == FAULT_NONE && memcmp(out, back, sizeof back) == 0);
	CHECK(transfer(&r, DT_Q8_0, out, scratch).kind == FAULT_NONE);
	store_le(q4 + 144, 2, 0x7E00);		/* the second block's scale */
	struct fault f = transfer(&r, DT_Q4_K, out, scratch);
	CHECK(f.kind == FAULT_NAN && f.element == 256);
	f = transfer(&r, DT_Q8_0, out, scratch);
	CHECK(f.kind == FAULT_NAN && f.element == 256);
	l.type = DT_I32;			/* no number for a product: copied, whatever it is */
	r.e1 = 4;
	memset(q4, 0xFF, 16);
	CHECK(transfer(&r, DT_I32, out, scratch).kind == FAULT_NONE && memcmp(out, q4, 16) == 0);
}

int main(void)
{
	RUN(fp8_codes_are_their_formula);
	RUN(every_half_survives);
	RUN(types_agree_with_published_digests);
	RUN(encoders_are_no_worse_than_the_reference);
	RUN(q8_0_at_its_edges);
	RUN(mxfp4_nibbles_move_as_published);
	RUN(fp4_keeps_every_value);
	RUN(fp4_group_of_128_repeats_its_scale);
	RUN(fp8_to_bf16_is_exact_or_refused);
	RUN(fp8_blocks_find_their_scales);
	RUN(nan_codes_are_named);
	RUN(bad_blocks_are_found_undecoded);
	RUN(plain_types_widen_exactly);
	RUN(ids_are_checked);
	RUN(importance_belongs_to_columns);
	RUN(blocks_are_a_source);
	return test_done();
}
