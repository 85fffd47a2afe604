/* SPDX-License-Identifier: MIT
 *
 * transfer.c - elements of a source matrix to blocks of a target type.
 *
 * Pairs that lose nothing have paths of their own that move bits and prove it as they go: FP4 to
 * MXFP4 (other nibble order, same codes and scales), FP8 to BF16 (3 mantissa bits and a power of
 * two always fit; the exponent is checked), plain to the same or a wider type. Everything else is
 * decoded to float32 and encoded. A NaN code stops the run with its position, whatever the path.
 */
#include "quantize/quantize.h"

#include <math.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "quantize/floats.h"

static const struct fault no_fault = { FAULT_NONE, 0 };

const char *fault_text(enum fault_kind k)
{
	switch (k) {
	case FAULT_NONE: return "no fault";
	case FAULT_NAN: return "a NaN";
	case FAULT_INFINITE: return "an infinite value";
	case FAULT_INEXACT: return "a value that the target type cannot hold exactly";
	case FAULT_RANGE: return "an expert id outside the model";
	case FAULT_DUPLICATE: return "an expert id twice in one row";
	}
	return "a fault";
}

/* A stretch of elements of one row that share a scale. */
struct stretch { uint64_t n, scale; };

static struct stretch next_stretch(const struct source_run *r, uint64_t e)
{
	const struct source_layout *l = r->l;
	uint64_t row = e / l->cols, col = e % l->cols;
	uint64_t end = u64_min(l->cols, (col / l->block_cols + 1) * l->block_cols);

	return (struct stretch){
		.n = u64_min(end - col, r->e1 - e),
		.scale = row / l->block_rows * l->scale_cols + col / l->block_cols - r->s0,
	};
}

/* Scale number i as float32; false if it is NaN. */
static bool scale_value(const struct source_run *r, uint64_t i, float *s)
{
	if (r->l->scale_type == DT_F8_E8M0) {
		*s = e8m0_to_f32(r->scale[i]);
		return r->scale[i] != 0xFF;
	}
	*s = bits_f32((uint32_t)load_le(r->scale + 4 * i, 4));
	return isfinite(*s);
}

static struct fault decode_fp8(const struct source_run *r, float *out)
{
	const uint8_t *w = r->weight;
	struct stretch t;
	float s;

	for (uint64_t e = r->e0; e < r->e1; e += t.n, w += t.n, out += t.n) {
		t = next_stretch(r, e);
		if (!scale_value(r, t.scale, &s))
			return (struct fault){ FAULT_NAN, e };
		for (uint64_t i = 0; i < t.n; i++) {
			if ((w[i] & 0x7F) == 0x7F)
				return (struct fault){ FAULT_NAN, e + i };
			out[i] = e4m3_to_f32(w[i]) * s;
		}
	}
	return no_fault;
}

static struct fault decode_fp4(const struct source_run *r, float *out)
{
	const uint8_t *w = r->weight;
	struct stretch t;
	float s;

	for (uint64_t e = r->e0; e < r->e1; e += t.n, out += t.n) {
		t = next_stretch(r, e);
		if (!scale_value(r, t.scale, &s))
			return (struct fault){ FAULT_NAN, e };
		for (uint64_t i = 0; i < t.n; i++) {
			uint8_t pair = w[(e - r->e0 + i) / 2];
			out[i] = e2m1_values[(e + i) & 1 ? pair >> 4 : pair & 15] * s;
		}
	}
	return no_fault;
}

struct fault source_decode(const struct source_run *r, float *out)
{
	size_t n = (size_t)(r->e1 - r->e0);

	if (r->l->kind == SOURCE_FP8)
		return decode_fp8(r, out);
	if (r->l->kind == SOURCE_FP4)
		return decode_fp4(r, out);
	codec_decode(r->l->type, r->weight, n, out);
	for (size_t i = 0; i < n; i++)
		if (isnan(out[i]))
			return (struct fault){ FAULT_NAN, r->e0 + i };
	return no_fault;
}

bool transfer_is_exact(const struct source_layout *l, enum dtype target)
{
	switch (l->kind) {
	case SOURCE_FP4:
		return (target == DT_MXFP4 && l->block_cols % 32 == 0) || target == DT_BF16 || target == DT_F32;
	case SOURCE_FP8:
		return target == DT_BF16 || target == DT_F32;
	case SOURCE_PLAIN:
		return target == l->type || (target == DT_F32 && codec_can_decode(l->type)) ||
		       (target == DT_BF16 && l->type == DT_MXFP4) || (target == DT_I32 && l->type == DT_I64);
	}
	return false;
}

/* 16 source bytes (elements 2j low, 2j+1 high) to MXFP4's 16 (element j low, j+16 high). */
static void repack_block(const uint8_t *h, uint8_t *q)
{
#if defined(__SSE2__)
	__m128i mask = _mm_set1_epi8(15);
	__m128i first = _mm_loadl_epi64((const __m128i *)(const void *)h);
	__m128i second = _mm_loadl_epi64((const __m128i *)(const void *)(h + 8));
	__m128i even = _mm_or_si128(_mm_and_si128(first, mask),
				    _mm_slli_epi16(_mm_and_si128(second, mask), 4));
	__m128i odd = _mm_or_si128(_mm_and_si128(_mm_srli_epi16(first, 4), mask),
				   _mm_andnot_si128(mask, second));
	_mm_storeu_si128((__m128i *)(void *)q, _mm_unpacklo_epi8(even, odd));
#else
	for (int k = 0; k < 8; k++) {
		q[2 * k] = (uint8_t)((h[k] & 15) | (h[8 + k] & 15) << 4);
		q[2 * k + 1] = (uint8_t)(h[k] >> 4 | (h[8 + k] & 0xF0));
	}
#endif
}

/* e0 is a multiple of 32 and block_cols too: one scale a target block. */
static struct fault fp4_to_mxfp4(const struct source_run *r, uint8_t *out)
{
	const uint8_t *w = r->weight;
	bool one_to_one = r->l->block_cols == 32 && r->l->scale_cols * 32 == r->l->cols;
	const uint8_t *scale = r->scale;

	for (uint64_t e = r->e0; e < r->e1; e += 32, w += 16, out += 17) {
		uint8_t s = one_to_one ? *scale++ : r->scale[next_stretch(r, e).scale];
		if (s == 0xFF)
			return (struct fault){ FAULT_NAN, e };
		out[0] = s;
		repack_block(w, out + 1);
	}
	return no_fault;
}

/* BF16 of every FP8 code; 0xFFFF, which no code has, for NaN. */
static void fp8_table(uint16_t table[256])
{
	for (unsigned c = 0; c < 256; c++)
		table[c] = (c & 0x7F) == 0x7F ? 0xFFFF : (uint16_t)(f32_bits(e4m3_to_f32((uint8_t)c)) >> 16);
}

/* BF16 of the FP8 codes c[n] times 2^k, or the position of the first NaN code (n if none). Every
 * exponent stays normal for k in [-117, 119], so adding k to the exponent field is exact. */
static uint64_t fp8_stretch_to_bf16(const uint16_t table[256], const uint8_t *c, uint64_t n, int k,
				    uint8_t *out)
{
	uint16_t step = (uint16_t)(k * 128);
	bool nan = false;

	for (uint64_t i = 0; i < n; i++) {
		uint16_t bits = table[c[i]];

		nan |= bits == 0xFFFF;
		bits = (uint16_t)(bits + (bits & 0x7FFF ? step : 0));
		store_le(out + 2 * i, 2, bits);
	}
	for (uint64_t i = 0; nan && i < n; i++)
		if (table[c[i]] == 0xFFFF)
			return i;
	return n;
}

/* Any scale: through double, which holds every product of FP8 and float exactly. */
static struct fault fp8_exactly(const uint8_t *c, uint64_t n, float s, uint64_t e, enum dtype target,
				uint8_t *out)
{
	for (uint64_t i = 0; i < n; i++) {
		if ((c[i] & 0x7F) == 0x7F)
			return (struct fault){ FAULT_NAN, e + i };
		double v = (double)e4m3_to_f32(c[i]) * (double)s;
		float f = (float)v;
		if ((double)f != v || (target == DT_BF16 && (f32_bits(f) & 0xFFFF)))
			return (struct fault){ FAULT_INEXACT, e + i };
		if (target == DT_BF16)
			store_le(out + 2 * i, 2, f32_bits(f) >> 16);
		else
			store_le(out + 4 * i, 4, f32_bits(f));
	}
	return no_fault;
}

static struct fault fp8_to_float(const struct source_run *r, enum dtype target, uint8_t *out)
{
	uint64_t width = dtype_info(target)->bytes;
	const uint8_t *w = r->weight;
	uint16_t table[256];
	struct stretch t;
	float s;

	fp8_table(table);
	for (uint64_t e = r->e0; e < r->e1; e += t.n, w += t.n, out += t.n * width) {
		t = next_stretch(r, e);
		if (!scale_value(r, t.scale, &s))
			return (struct fault){ FAULT_NAN, e };
		uint32_t bits = f32_bits(s);
		int k = (int)(bits >> 23 & 0xFF) - 127;
		if (target == DT_BF16 && (bits & 0x807FFFFF) == 0 && k >= -117 && k <= 119) {
			uint64_t bad = fp8_stretch_to_bf16(table, w, t.n, k, out);
			if (bad < t.n)
				return (struct fault){ FAULT_NAN, e + bad };
		} else {
			struct fault f = fp8_exactly(w, t.n, s, e, target, out);
			if (f.kind != FAULT_NONE)
				return f;
		}
	}
	return no_fault;
}

/* Encodes elements [e, e + n) row by row: columns have an importance, elements have none. */
static void encode_rows(const struct source_layout *l, const struct encoding *how, enum dtype target,
			const float *x, uint64_t e, uint64_t n, uint8_t *out)
{
	const struct dtype_info *info = dtype_info(target);

	if (!how->importance) {
		codec_encode(target, x, NULL, (size_t)n, how->effort, out);
		return;
	}
	for (uint64_t part; n > 0; n -= part, e += part, x += part) {
		uint64_t col = e % l->cols;

		part = u64_min(n, l->cols - col);
		codec_encode(target, x, how->importance + col, (size_t)part, how->effort, out);
		out += part / info->block * info->bytes;
	}
}

/* Through float32. exact: the encoded blocks must hold every value as it was. */
static struct fault by_value(const struct source_run *r, enum dtype target, const struct encoding *how,
			     bool exact, uint8_t *out, float *scratch)
{
	const struct dtype_info *info = dtype_info(target);

	for (uint64_t e = r->e0, n; e < r->e1; e += n) {
		uint64_t b0, b1, s0, s1;

		n = u64_min(r->e1 - e, TRANSFER_SCRATCH);
		source_weight_range(r->l, r->e0, e, &b0, &b1);
		source_scale_range(r->l, e, e + n, &s0, &s1);
		struct source_run part = {
			.l = r->l, .weight = r->weight + (b1 - b0), .e0 = e, .e1 = e + n, .s0 = s0,
			.scale = r->scale ? r->scale + (s0 - r->s0) * dtype_info(r->l->scale_type)->bytes : NULL,
		};
		struct fault f = source_decode(&part, scratch);
		if (f.kind != FAULT_NONE)
			return f;
		size_t bad = exact ? n : codec_first_not_finite(scratch, (size_t)n);
		if (bad < n)
			return (struct fault){ FAULT_INFINITE, e + bad };
		encode_rows(r->l, how, target, scratch, e, n, out);
		for (uint64_t i = 0; exact && target == DT_BF16 && i < n; i++)
			if (f32_bits(scratch[i]) & 0xFFFF)
				return (struct fault){ FAULT_INEXACT, e + i };
		out += n / info->block * info->bytes;
	}
	return no_fault;
}

/* The largest of the numbers' bits without their signs. */
static uint32_t largest_bits(const uint8_t *p, uint64_t n, uint64_t width)
{
	uint16_t most16 = 0;
	uint32_t most32 = 0;

	if (width == 2)
		for (uint64_t i = 0; i < n; i++) {
			uint16_t v;
			memcpy(&v, p + 2 * i, 2);
			v &= 0x7FFF;
			most16 = v > most16 ? v : most16;
		}
	else
		for (uint64_t i = 0; i < n; i++) {
			uint32_t v;
			memcpy(&v, p + 4 * i, 4);
			v &= 0x7FFFFFFF;
			most32 = v > most32 ? v : most32;
		}
	return width == 2 ? most16 : most32;
}

static struct fault copy_plain(const struct source_run *r, uint8_t *out)
{
	uint64_t n = r->e1 - r->e0, width = dtype_info(r->l->type)->bytes;
	uint32_t top = r->l->type == DT_BF16 ? 0x7F80 : r->l->type == DT_F16 ? 0x7C00 : 0x7F800000;

	memcpy(out, r->weight, n * width);
	if (largest_bits(out, n, width) > top)
		for (uint64_t i = 0; i < n; i++)
			if (largest_bits(out + i * width, 1, width) > top)
				return (struct fault){ FAULT_NAN, r->e0 + i };
	return no_fault;
}

/* Blocks (or numbers that no product takes) as they are; those that can be read must be finite. */
static struct fault copy_blocks(const struct source_run *r, uint8_t *out)
{
	const struct dtype_info *info = dtype_info(r->l->type);
	uint64_t n = r->e1 - r->e0, bad = n;
	float x[256];

	memcpy(out, r->weight, n / info->block * info->bytes);
	if (codec_can_decode(r->l->type))
		bad = codec_first_bad(r->l->type, out, (size_t)n);
	if (bad == n)
		return no_fault;
	bad -= bad % info->block;
	codec_decode(r->l->type, out + bad / info->block * info->bytes, info->block, x);
	bad += codec_first_not_finite(x, info->block) % info->block;
	return (struct fault){ isnan(x[bad % info->block]) ? FAULT_NAN : FAULT_INFINITE, r->e0 + bad };
}

struct fault transfer(const struct source_run *r, enum dtype target, uint8_t *out, float *scratch)
{
	return transfer_as(r, target, &(struct encoding){ .effort = EFFORT_FAST }, out, scratch);
}

struct fault transfer_as(const struct source_run *r, enum dtype target, const struct encoding *how,
			 uint8_t *out, float *scratch)
{
	bool exact = transfer_is_exact(r->l, target);

	if (r->l->kind == SOURCE_FP4 && target == DT_MXFP4 && exact)
		return fp4_to_mxfp4(r, out);
	if (r->l->kind == SOURCE_FP8 && exact)
		return fp8_to_float(r, target, out);
	if (r->l->kind == SOURCE_PLAIN && target == r->l->type)
		return target == DT_F32 || target == DT_BF16 || target == DT_F16 ? copy_plain(r, out)
										 : copy_blocks(r, out);
	return by_value(r, target, how, exact, out, scratch);
}

struct fault transfer_ids(const struct source_run *r, uint32_t n_expert, uint8_t *out)
{
	uint64_t width = dtype_info(r->l->type)->bytes, cols = r->l->cols;

	for (uint64_t e = r->e0; e < r->e1; e++) {
		const uint8_t *at = r->weight + (e - r->e0) * width;
		uint64_t id = load_le(at, (unsigned)width);	/* a negative id is a huge one */
		uint64_t before = u64_min(e % cols, e - r->e0);

		if (id >= n_expert)
			return (struct fault){ FAULT_RANGE, e };
		for (uint64_t k = 1; k <= before; k++)
			if (load_le(at - k * width, (unsigned)width) == id)
				return (struct fault){ FAULT_DUPLICATE, e };
		store_le(out + (e - r->e0) * 4, 4, id);
	}
	return no_fault;
}
