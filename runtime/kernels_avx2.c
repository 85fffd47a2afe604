/* SPDX-License-Identifier: MIT
 *
 * kernels_avx2.c - the inner loops for AVX2 with FMA and F16C, compiled with those flags.
 */
#include "runtime/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "quantize/floats.h"

#define SET avx2
#define SET_NAME "avx2"
enum { VL = 8 };
#define SET_TOKENS 3
#define FEW 48
#define FEW_BF16 48
#define FEW_MXFP4 48
enum { ACC = 8, MIX_HEADS = 4 };
typedef __m256 vf;
typedef uint32_t vu __attribute__((vector_size(32)));

static inline vf fused(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
static inline vf less(vf a, vf b) { return _mm256_min_ps(a, b); }
static inline vf more(vf a, vf b) { return _mm256_max_ps(a, b); }
static inline __m128 low(vf v) { return _mm256_castps256_ps128(v); }
static inline __m128 high(vf v) { return _mm256_extractf128_ps(v, 1); }
static inline __m128i eight_bytes(const uint8_t *b) { return _mm_loadl_epi64((const void *)b); }

static inline void unpack_f32(const uint8_t *b, vf out[4])
{
	for (int i = 0; i < 4; i++)
		memcpy(&out[i], b + 32 * i, 32);
}

static inline void unpack_f16(const uint8_t *b, vf out[4])
{
	for (int i = 0; i < 4; i++)
		out[i] = _mm256_cvtph_ps(_mm_loadu_si128((const void *)(b + 16 * i)));
}

static inline void unpack_bf16(const uint8_t *b, vf out[4])
{
	for (int i = 0; i < 4; i++) {
		__m256i p = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(b + 16 * i)));

		out[i] = _mm256_castsi256_ps(_mm256_slli_epi32(p, 16));
	}
}

static inline void unpack_q8_0(const uint8_t *b, vf out[4])
{
	uint16_t half;
	vf d;

	memcpy(&half, b, 2);
	d = _mm256_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(half)));
	for (int i = 0; i < 4; i++)
		out[i] = d * _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight_bytes(b + 2 + 8 * i)));
}

/* Magnitudes by the low three bits from a table, times the scale; the fourth bit is the sign. */
static inline vf code_values(__m256i q, vf scaled)
{
	__m256i sign = _mm256_slli_epi32(_mm256_and_si256(q, _mm256_set1_epi32(8)), 28);

	return _mm256_xor_ps(_mm256_permutevar8x32_ps(scaled, q), _mm256_castsi256_ps(sign));
}

static inline void unpack_mxfp4(const uint8_t *b, vf out[4])
{
	vf scaled = _mm256_load_ps(kernel_mxfp4[b[0]]);

	for (int i = 0; i < 2; i++) {
		__m256i q = _mm256_cvtepu8_epi32(eight_bytes(b + 1 + 8 * i));

		out[i] = code_values(q, scaled);
		out[2 + i] = code_values(_mm256_srli_epi32(q, 4), scaled);
	}
}

static inline void unpack_e4m3(const uint8_t *b, vf out[4])
{
	for (int i = 0; i < 4; i++) {
		__m256i q = _mm256_cvtepi8_epi32(eight_bytes(b + 8 * i));

		q = _mm256_and_si256(_mm256_slli_epi32(q, 20), _mm256_set1_epi32((int)0x87F00000));
		out[i] = _mm256_castsi256_ps(q);
	}
}

#include "runtime/kernels_body.h"
#endif
