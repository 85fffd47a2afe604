/* SPDX-License-Identifier: MIT
 *
 * encode_avx512.c - the encoders for AVX-512 (F, BW, DQ, VL), compiled with those flags.
 */
#include "quantize/encoders.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define SET avx512
enum { VL = 16 };
typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));
typedef uint32_t vu __attribute__((vector_size(64)));
typedef int16_t vs __attribute__((vector_size(64)));

static inline vf less(vf a, vf b) { return (vf)_mm512_min_ps((__m512)a, (__m512)b); }
static inline vf more(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
static inline vi to_int(vf a) { return (vi)_mm512_cvtps_epi32((__m512)a); }
static inline vi as_int(vf a) { return (vi)a; }
static inline vf as_float(vi a) { return (vf)a; }
static inline vf to_float(vi a) { return (vf)_mm512_cvtepi32_ps((__m512i)a); }
static inline vi imore(vi a, vi b) { return (vi)_mm512_max_epi32((__m512i)a, (__m512i)b); }
static inline vi iless(vi a, vi b) { return (vi)_mm512_min_epi32((__m512i)a, (__m512i)b); }

static inline vf if_less(vf a, vf b, vf x, vf y)
{
	return (vf)_mm512_mask_blend_ps(_mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ), (__m512)y, (__m512)x);
}

static inline vi at_least(vf a, vf b)
{
	return (vi)_mm512_maskz_set1_epi32(_mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GE_OQ), 1);
}

static inline vf look_up32(const float *table, vi at)
{
	return (vf)_mm512_permutex2var_ps(_mm512_loadu_ps(table), (__m512i)at, _mm512_loadu_ps(table + 16));
}

static inline unsigned keep_below(float *out, vf v, float top)
{
	__mmask16 m = _mm512_cmp_ps_mask((__m512)v, _mm512_set1_ps(top), _CMP_LE_OQ);

	_mm512_storeu_ps(out, _mm512_maskz_compress_ps(m, (__m512)v));
	return (unsigned)__builtin_popcount(m);
}

static inline vi wide16(const uint8_t *p)
{
	return (vi)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p));
}

static inline vs pair(const int16_t *p)
{
	int32_t two;

	memcpy(&two, p, 4);
	return (vs)_mm512_set1_epi32(two);
}

static inline vs smul(vs a, vs b) { return a * b; }
static inline vs sadd(vs a, vs b) { return a + b; }
static inline vs sround(vs a, vs b) { return (vs)_mm512_mulhrs_epi16((__m512i)a, (__m512i)b); }
static inline vs sless(vs a, vs b) { return (vs)_mm512_min_epi16((__m512i)a, (__m512i)b); }
static inline vs smore(vs a, vs b) { return (vs)_mm512_max_epi16((__m512i)a, (__m512i)b); }
static inline vi sdot(vs a, vs b) { return (vi)_mm512_madd_epi16((__m512i)a, (__m512i)b); }

/* The level that is nearest to each v, -128..127: in a cell of eight numbers at most one level ends. */
static inline vs near_iq4(vs v)
{
	__m512i cell = _mm512_srli_epi16(_mm512_add_epi16((__m512i)v, _mm512_set1_epi16(128)), 3);
	__m512i below = _mm512_permutexvar_epi16(cell, _mm512_loadu_si512(iq4_below));
	__m512i above = _mm512_permutexvar_epi16(cell, _mm512_loadu_si512(iq4_above));
	__m512i from = _mm512_permutexvar_epi16(cell, _mm512_loadu_si512(iq4_from));

	return (vs)_mm512_mask_blend_epi16(_mm512_cmpge_epi16_mask((__m512i)v, from), below, above);
}

static inline void put16(int16_t *p, vi a) { _mm256_storeu_si256((void *)p, _mm512_cvtepi32_epi16((__m512i)a)); }
static inline void put8(uint8_t *p, vi a) { _mm_storeu_si128((void *)p, _mm512_cvtepi32_epi8((__m512i)a)); }

static inline float most_of(const vf v[1])
{
	return _mm512_reduce_max_ps((__m512)v[0]);
}

static inline float sum_of(const vf v[1])
{
	__m256 a = _mm256_add_ps(_mm512_castps512_ps256((__m512)v[0]), _mm512_extractf32x8_ps((__m512)v[0], 1));
	__m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));

	b = _mm_add_ps(b, _mm_movehl_ps(b, b));
	return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}

static inline unsigned first_at(const vf v[1], float x)
{
	return (unsigned)__builtin_ctz(_mm512_cmp_ps_mask((__m512)v[0], _mm512_set1_ps(x), _CMP_GE_OQ));
}

static inline uint16_t to_half(float x) { return _cvtss_sh(x, 0); }
static inline float from_half(uint16_t h) { return _cvtsh_ss(h); }

static inline vf put_halves(uint16_t *p, vf x)
{
	__m256i h = _mm512_cvtps_ph((__m512)x, 0);

	_mm256_storeu_si256((void *)p, h);
	return (vf)_mm512_cvtph_ps(h);
}

#include "quantize/encode_body.h"
#endif
