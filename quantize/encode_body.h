/* SPDX-License-Identifier: MIT
 *
 * encode_body.h - the encoders on vectors of VL lanes; included once by each encode_*.c, after these,
 * and never by anything else:
 *
 *   SET, VL			the table's name; lanes of a vector: 1, 4, 8 or 16
 *   vf, vi, vu			VL float, int32, uint32
 *   vs				VL pairs of int16
 *   less, more, iless, imore	a < b ? a : b, a > b ? a : b
 *   if_less(a, b, x, y)	a < b ? x : y
 *   at_least(a, b)		1 where a >= b, else 0
 *   to_int, to_float		int32 of a float, to nearest, ties to even; and back
 *   as_int, as_float		the same bits
 *   look_up32(table, i)	table[i], i in 0..31
 *   keep_below(out, v, top)	those of v that are at most top, in order; returns how many. Writes VL
 *   wide16(p)			int32 of VL little-endian uint16
 *   pair(p)			p[0], p[1] in every lane; and on pairs:
 *   smul, sless, smore, sadd	as their names say, in 16 bits
 *   sround(a, b)		(a b + 2^14) / 2^15 rounded down
 *   sdot(a, b)			a[0] b[0] + a[1] b[1] as int32
 *   near_iq4(a)		IQ4's level nearest to each of -128..127
 *   put16, put8(p, a)		the low bytes of VL int32
 *   most_of, sum_of(v)		of 16 lanes; sums 8, 4, 2 and 1 apart
 *   first_at(v, x)		first of 16 lanes that is at least x; x is one of them
 *   to_half, from_half		IEEE half, ties to even; put_halves(p, v) of VL, returns what they are worth
 *
 * Invariant: every set gives the same bits. Lanes are sixteen candidates for the same block; 16 / VL vectors
 * hold them. A candidate's sums go over whole numbers, or over values in ascending order, so nothing
 * depends on VL. Where lanes are values, sums are trees of sixteen lanes (sum_of). There is no fused
 * multiply-add, and the build has no contraction.
 *
 * The search for a block's scale works on 11-bit copies of its values (encode_groups.h); codes are
 * made from the values themselves, at the scale as it is stored. Blocks of less than LEAST are zeros.
 */
#include <math.h>

#include "quantize/candidates.h"
#include "quantize/floats.h"

#if defined(SCALAR) || defined(SMALL_CODE)
#define INLINE static inline
#define UNROLL
#else
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define PASTE2(a, b) a##b
#define PASTE(a, b) PASTE2(a, b)
#define LEAST 0x1p-60f
#define HALF_MOST 65504.0f

enum { LANES = 16, PER = LANES / VL };

/* ---- vectors ---- */

INLINE vf load(const float *p)
{
	vf v;

	memcpy(&v, p, sizeof v);
	return v;
}

INLINE void store(float *p, vf v)
{
	memcpy(p, &v, sizeof v);
}

INLINE vf splat(float x)
{
	return x - (vf){ 0 };
}

INLINE vi isplat(int32_t x)
{
	return x - (vi){ 0 };
}

INLINE vf fabs_of(vf v)
{
	return as_float(as_int(v) & 0x7FFFFFFF);
}

/* The largest magnitude of n values, a multiple of 16. */
INLINE float largest(const float *x, int n)
{
	vf m[PER];

	UNROLL for (int p = 0; p < PER; p++)
		m[p] = fabs_of(load(x + p * VL));
	for (int i = LANES; i < n; i += LANES)
		UNROLL for (int p = 0; p < PER; p++)
			m[p] = more(fabs_of(load(x + i + p * VL)), m[p]);
	return most_of(m);
}

/* 1 / d, and 0 where that would leave float32. */
INLINE float inverse_of(float d)
{
	return fabsf(d) > 0x1p-120f ? 1 / d : 0;
}

INLINE vf inverses(vf d)
{
	vf tiny = splat(0x1p-120f), size = fabs_of(d);

	return if_less(size, tiny, splat(0), 1 / if_less(size, tiny, splat(1), d));
}

INLINE void put_le16(uint8_t *b, uint16_t h)
{
	b[0] = (uint8_t)h, b[1] = (uint8_t)(h >> 8);
}

/* The finite half nearest to d; no negative zero. */
INLINE uint16_t half_near(float d, float *value)
{
	uint16_t h = to_half(d > HALF_MOST ? HALF_MOST : d < -HALF_MOST ? -HALF_MOST : d);

	h = h == 0x8000 ? 0 : h;
	*value = from_half(h);
	return h;
}

INLINE vf halves_near(uint16_t *p, vf d)
{
	return put_halves(p, less(more(d, splat(-HALF_MOST)), splat(HALF_MOST)));
}

/* One encoder of the two that `call` is with and without weights; without, it may move the pointer to them but
 * reads nothing there: the values stand in. */
#define BY_WEIGHT(name, call) \
	static void name(const float *x, const float *weight, size_t n, enum effort effort, uint8_t *b) \
	{ \
		bool thorough = effort == EFFORT_BEST; \
		if (weight) \
			call(x, weight, true, thorough, n, b); \
		else \
			call(x, x, false, thorough, n, b); \
	}

#include "quantize/encode_groups.h"
#include "quantize/encode_scale.h"
#include "quantize/encode_super.h"
#include "quantize/encode_pair.h"
#include "quantize/encode_fp4.h"

/* ---- what stands before an encoder -------------------------------------------------------------*/

static void bf16_values(const uint8_t *b, size_t n, float *out)
{
	size_t i = 0;

	for (; i + VL <= n; i += VL)
		store(out + i, as_float((vi)((vu)wide16(b + 2 * i) << 16)));
	for (; i < n; i++)
		out[i] = bf16_to_f32((uint16_t)load_le(b + 2 * i, 2));
}

static uint32_t most_bits(const float *x, size_t n)
{
	vi most[PER] = { 0 };
	uint32_t all[LANES], top = 0;
	size_t i = 0;

	for (; i + LANES <= n; i += LANES)
		UNROLL for (int p = 0; p < PER; p++)
			most[p] = imore(as_int(load(x + i + (size_t)(p * VL))) & 0x7FFFFFFF, most[p]);
	memcpy(all, most, sizeof all);
	for (int l = 0; l < LANES; l++)
		top = all[l] > top ? all[l] : top;
	for (; i < n; i++)
		top = (f32_bits(x[i]) & 0x7FFFFFFF) > top ? f32_bits(x[i]) & 0x7FFFFFFF : top;
	return top;
}

const struct encoders PASTE(encoders_, SET) = { .bf16 = bf16_values, .most_bits = most_bits, .of = {
	[DT_Q8_0] = to_q8_0,
	[DT_Q4_0] = to_q4_0,
	[DT_IQ4_NL] = to_iq4_nl,
	[DT_Q4_K] = to_q4_k,
	[DT_Q5_K] = to_q5_k,
	[DT_Q4_1] = to_q4_1,
	[DT_MXFP4] = to_mxfp4,
	[DT_NVFP4] = to_nvfp4,
	[DT_Q6_K] = to_q6_k,
	[DT_IQ4_XS] = to_iq4_xs,
} };
