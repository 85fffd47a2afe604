/* SPDX-License-Identifier: MIT
 *
 * encode_avx2.c - the encoders for AVX2 with F16C, compiled with those flags.
 */
#include "quantize/encoders.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define SET avx2
enum { VL = 8 };
typedef float vf __attribute__((vector_size(32)));
typedef int32_t vi __attribute__((vector_size(32)));
typedef uint32_t vu __attribute__((vector_size(32)));
typedef int16_t vs __attribute__((vector_size(32)));

static inline vf less(vf a, vf b) { return (vf)_mm256_min_ps((__m256)a, (__m256)b); }
static inline vf more(vf a, vf b) { return (vf)_mm256_max_ps((__m256)a, (__m256)b); }
static inline vi to_int(vf a) { return (vi)_mm256_cvtps_epi32((__m256)a); }
static inline vi as_int(vf a) { return (vi)a; }
static inline vf as_float(vi a) { return (vf)a; }
static inline vf to_float(vi a) { return (vf)_mm256_cvtepi32_ps((__m256i)a); }
static inline vi imore(vi a, vi b) { return (vi)_mm256_max_epi32((__m256i)a, (__m256i)b); }
static inline vi iless(vi a, vi b) { return (vi)_mm256_min_epi32((__m256i)a, (__m256i)b); }

static inline vf if_less(vf a, vf b, vf x, vf y)
{
	return (vf)_mm256_blendv_ps((__m256)y, (__m256)x, _mm256_cmp_ps((__m256)a, (__m256)b, _CMP_LT_OQ));
}

static inline vi at_least(vf a, vf b) { return (vi)(a >= b) & 1; }

static inline vf look_up32(const float *table, vi at)
{
	return (vf)_mm256_i32gather_ps(table, (__m256i)at, 4);
}

static inline unsigned keep_below(float *out, vf v, float top)
{
	unsigned n = 0;

	for (int m = _mm256_movemask_ps((__m256)(v <= top)); m; m &= m - 1)
		out[n++] = v[__builtin_ctz((unsigned)m)];
	return n;
}

static inline vi wide16(const uint8_t *p)
{
	return (vi)_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)p));
}

static inline vs pair(const int16_t *p)
{
	int32_t two;

	memcpy(&two, p, 4);
	return (vs)_mm256_set1_epi32(two);
}

static inline vs smul(vs a, vs b) { return a * b; }
static inline vs sadd(vs a, vs b) { return a + b; }
static inline vs sround(vs a, vs b) { return (vs)_mm256_mulhrs_epi16((__m256i)a, (__m256i)b); }
static inline vs sless(vs a, vs b) { return (vs)_mm256_min_epi16((__m256i)a, (__m256i)b); }
static inline vs smore(vs a, vs b) { return (vs)_mm256_max_epi16((__m256i)a, (__m256i)b); }
static inline vi sdot(vs a, vs b) { return (vi)_mm256_madd_epi16((__m256i)a, (__m256i)b); }

/* The level that is nearest to each v, -128..127: in a cell of eight numbers at most one level ends. */
static inline __m256i look_up(const uint8_t *table, __m256i cell)
{
	__m256i low = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)table));
	__m256i high = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)(table + 16)));
	/* a byte whose top bit is set yields 0: bits 4 and up of the cell choose the half */
	__m256i in_low = _mm256_add_epi16(cell, _mm256_set1_epi16((short)0x8070));
	__m256i in_high = _mm256_add_epi16(cell, _mm256_set1_epi16((short)0x8FF0));

	return _mm256_or_si256(_mm256_shuffle_epi8(low, in_low), _mm256_shuffle_epi8(high, in_high));
}

static inline vs near_iq4(vs v)
{
	__m256i at = _mm256_add_epi16((__m256i)v, _mm256_set1_epi16(128)), cell = _mm256_srli_epi16(at, 3);
	__m256i below = look_up(iq4_below_128, cell), from = look_up(iq4_last_128, cell);
	__m256i step = look_up(iq4_step, cell);
	__m256i up = _mm256_and_si256(_mm256_cmpgt_epi16(at, from), step);

	return (vs)_mm256_sub_epi16(_mm256_add_epi16(below, up), _mm256_set1_epi16(128));
}

static inline void put16(int16_t *p, vi a)
{
	__m256i v = (__m256i)a;

	_mm_storeu_si128((void *)p, _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)));
}

static inline void put8(uint8_t *p, vi a)
{
	const __m256i lowest = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
						-1, -1, -1, -1, 0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1);
	__m256i v = _mm256_shuffle_epi8((__m256i)a, lowest);

	_mm_storel_epi64((void *)p, _mm_or_si128(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)));
}

static inline float most_of(const vf v[2])
{
	__m256 a = _mm256_max_ps((__m256)v[0], (__m256)v[1]);
	__m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));

	b = _mm_max_ps(b, _mm_movehl_ps(b, b));
	return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}

static inline float sum_of(const vf v[2])
{
	__m256 a = _mm256_add_ps((__m256)v[0], (__m256)v[1]);
	__m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));

	b = _mm_add_ps(b, _mm_movehl_ps(b, b));
	return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}

static inline unsigned first_at(const vf v[2], float x)
{
	__m256 at = _mm256_set1_ps(x);
	int low = _mm256_movemask_ps(_mm256_cmp_ps((__m256)v[0], at, _CMP_GE_OQ));
	int high = _mm256_movemask_ps(_mm256_cmp_ps((__m256)v[1], at, _CMP_GE_OQ));

	return (unsigned)__builtin_ctz((unsigned)(low | high << 8));
}

static inline uint16_t to_half(float x) { return _cvtss_sh(x, 0); }
static inline float from_half(uint16_t h) { return _cvtsh_ss(h); }

static inline vf put_halves(uint16_t *p, vf x)
{
	__m128i h = _mm256_cvtps_ph((__m256)x, 0);

	_mm_storeu_si128((void *)p, h);
	return (vf)_mm256_cvtph_ps(h);
}

#include "quantize/encode_body.h"
#endif
