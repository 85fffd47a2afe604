/* SPDX-License-Identifier: MIT
 *
 * kernels_avx512.c - the inner loops for AVX-512 (F, BW, DQ, VL), compiled with those flags.
 */
#include "runtime/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "quantize/floats.h"

#define SET avx512
#define SET_NAME "avx512"
enum { VL = 16 };
#define SET_TOKENS 6
#define FEW 8
#define FEW_BF16 24
#define FEW_MXFP4 8
enum { ACC = 24, MIX_HEADS = 8 };
typedef __m512 vf;
typedef uint32_t vu __attribute__((vector_size(64)));

static inline vf fused(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
static inline vf less(vf a, vf b) { return _mm512_min_ps(a, b); }
static inline vf more(vf a, vf b) { return _mm512_max_ps(a, b); }
static inline __m256 low(vf v) { return _mm512_castps512_ps256(v); }
static inline __m256 high(vf v) { return _mm512_extractf32x8_ps(v, 1); }

static inline void unpack_f32(const uint8_t *b, vf out[2])
{
	out[0] = _mm512_loadu_ps(b);
	out[1] = _mm512_loadu_ps(b + 64);
}

static inline void unpack_f16(const uint8_t *b, vf out[2])
{
	out[0] = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)b));
	out[1] = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(b + 32)));
}

static inline void unpack_bf16(const uint8_t *b, vf out[2])
{
	__m512i p = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)b));
	__m512i q = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(b + 32)));

	out[0] = _mm512_castsi512_ps(_mm512_slli_epi32(p, 16));
	out[1] = _mm512_castsi512_ps(_mm512_slli_epi32(q, 16));
}

static inline void unpack_q8_0(const uint8_t *b, vf out[2])
{
	uint16_t half;
	vf d;

	memcpy(&half, b, 2);
	d = _mm512_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(half)));
	out[0] = d * _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)(b + 2))));
	out[1] = d * _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)(b + 18))));
}

/* The sixteen values of a scale are a table that is permuted. */
static inline void unpack_mxfp4(const uint8_t *b, vf out[2])
{
	vf scaled = _mm512_load_ps(kernel_mxfp4[b[0]]);
	__m512i q = _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)(b + 1)));

	out[0] = _mm512_permutexvar_ps(q, scaled);	/* the low four bits count */
	out[1] = _mm512_permutexvar_ps(_mm512_srli_epi32(q, 4), scaled);
}

static inline void unpack_e4m3(const uint8_t *b, vf out[2])
{
	for (int i = 0; i < 2; i++) {
		__m512i q = _mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)(b + 16 * i)));

		q = _mm512_and_si512(_mm512_slli_epi32(q, 20), _mm512_set1_epi32((int)0x87F00000));
		out[i] = _mm512_castsi512_ps(q);
	}
}

#define SET_HALVES

/* Columns k and 16 + k side by side. */
static inline void words_bf16(const uint8_t *b, vu out[1])
{
	static const uint16_t zip[32] = { 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23,
					  8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31 };

	out[0] = (vu)_mm512_permutexvar_epi16(_mm512_loadu_si512(zip), _mm512_loadu_si512(b));
}

static __attribute__((noinline)) __m512i words_at_the_ends(const uint8_t *b)
{
	vf w[2];

	unpack_mxfp4(b, w);
	return _mm512_or_si512(_mm512_srli_epi32(_mm512_castps_si512(w[0]), 16), _mm512_castps_si512(w[1]));
}

/* The values by code are a table of BF16 numbers, twice, for a permutation looks at five bits of a code and the
 * next one's first; the scale is added to their exponents, where none of them leaves the normal numbers. */
static inline void words_mxfp4(const uint8_t *b, vu out[1])
{
	static const uint16_t values[32] = {
		0x0000, 0x3F00, 0x3F80, 0x3FC0, 0x4000, 0x4040, 0x4080, 0x40C0,
		0x8000, 0xBF00, 0xBF80, 0xBFC0, 0xC000, 0xC040, 0xC080, 0xC0C0,
		0x0000, 0x3F00, 0x3F80, 0x3FC0, 0x4000, 0x4040, 0x4080, 0x40C0,
		0x8000, 0xBF00, 0xBF80, 0xBFC0, 0xC000, 0xC040, 0xC080, 0xC0C0,
	};
	const __mmask32 not_zero = 0xFEFEFEFE;
	__m512i table = _mm512_loadu_si512(values), q;

	if (b[0] < 2 || b[0] > 252) {
		out[0] = (vu)words_at_the_ends(b);
		return;
	}
	q = _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)(b + 1)));
	q = _mm512_or_si512(q, _mm512_slli_epi32(q, 12));	/* the upper code to the upper half */
	table = _mm512_mask_add_epi16(table, not_zero, table, _mm512_set1_epi16((short)((b[0] - 127) * 128)));
	out[0] = (vu)_mm512_permutexvar_epi16(q, table);
}

#include "runtime/kernels_body.h"
#endif
