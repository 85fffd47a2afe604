/* SPDX-License-Identifier: MIT
 *
 * codec.c - the GGUF types that this program reads and writes, one row of the table each; plain
 * numbers are here, types of blocks in codec_*.c by family.
 *
 * Arithmetic is float32 and float64 without contraction, in index order, so every compiler and
 * thread count gives the same bytes.
 */
#include "quantize/quantize.h"

#include "quantize/codecs.h"
#include "quantize/cpu.h"
#include "quantize/encoders.h"
#include "quantize/floats.h"

/* ---- sets of loops -------------------------------------------------------------------------*/

static const struct encoders *const sets[CPU_SETS] = {
	[CPU_SCALAR] = &encoders_scalar,
#if defined(__x86_64__)
	[CPU_AVX2] = &encoders_avx2,
	[CPU_AVX512] = &encoders_avx512,
#elif defined(__aarch64__)
	[CPU_NEON] = &encoders_neon,
#endif
};

static const struct encoders *in_use(void)
{
	return sets[cpu_set()];
}

/* ---- plain numbers -------------------------------------------------------------------------*/

static void decode_f32(const uint8_t *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i++)
		out[i] = bits_f32((uint32_t)load_le(b + 4 * i, 4));
}

static void encode_f32(const float *x, const float *weight, size_t n, enum effort effort, uint8_t *b)
{
	(void)weight, (void)effort;
	for (size_t i = 0; i < n; i++)
		store_le(b + 4 * i, 4, f32_bits(x[i]));
}

static void decode_f16(const uint8_t *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i++)
		out[i] = f16_to_f32((uint16_t)load_le(b + 2 * i, 2));
}

static void encode_f16(const float *x, const float *weight, size_t n, enum effort effort, uint8_t *b)
{
	(void)weight, (void)effort;
	for (size_t i = 0; i < n; i++)
		store_le(b + 2 * i, 2, f32_to_f16(x[i]));
}

static void decode_bf16(const uint8_t *b, size_t n, float *out)
{
	in_use()->bf16(b, n, out);
}

static void encode_bf16(const float *x, const float *weight, size_t n, enum effort effort, uint8_t *b)
{
	(void)weight, (void)effort;
	for (size_t i = 0; i < n; i++)
		store_le(b + 2 * i, 2, f32_to_bf16(x[i]));
}

/* ---- the table -----------------------------------------------------------------------------*/

static const struct codec { decode_fn *decode; encode_fn *encode; } codecs[DT_COUNT] = {
	[DT_F32] = { decode_f32, encode_f32 },
	[DT_F16] = { decode_f16, encode_f16 },
	[DT_BF16] = { decode_bf16, encode_bf16 },
	[DT_Q4_0] = { decode_q4_0, NULL },
	[DT_Q4_1] = { decode_q4_1, NULL },
	[DT_Q5_0] = { decode_q5_0, NULL },
	[DT_Q5_1] = { decode_q5_1, NULL },
	[DT_Q8_0] = { decode_q8_0, NULL },
	[DT_Q2_K] = { decode_q2_k, NULL },
	[DT_Q3_K] = { decode_q3_k, NULL },
	[DT_Q4_K] = { decode_q4_k, NULL },
	[DT_Q5_K] = { decode_q5_k, NULL },
	[DT_Q6_K] = { decode_q6_k, NULL },
	[DT_IQ4_NL] = { decode_iq4_nl, NULL },
	[DT_IQ4_XS] = { decode_iq4_xs, NULL },
	[DT_MXFP4] = { decode_mxfp4, NULL },
	[DT_NVFP4] = { decode_nvfp4, NULL },
	[DT_E4M3_128] = { decode_e4m3_128, NULL },
};

bool codec_can_decode(enum dtype t)
{
	return codecs[t].decode != NULL;
}

static encode_fn *encoder(enum dtype t)
{
	encode_fn *of_blocks = in_use()->of[t];

	return of_blocks ? of_blocks : codecs[t].encode;
}

bool codec_can_encode(enum dtype t)
{
	return encoder(t) != NULL;
}

void codec_decode(enum dtype t, const uint8_t *blocks, size_t n, float *out)
{
	codecs[t].decode(blocks, n, out);
}

static bool all_same(const float *w, size_t n)
{
	return memcmp(w, w + 1, (n - 1) * sizeof *w) == 0;
}

/* A block whose weights are equal is one without: only their ratios count. */
void codec_encode(enum dtype t, const float *x, const float *weight, size_t n, enum effort effort,
		  uint8_t *blocks)
{
	const struct dtype_info *info = dtype_info(t);
	encode_fn *encode = encoder(t);

	if (!weight) {
		encode(x, NULL, n, effort, blocks);
		return;
	}
	for (size_t i = 0, run; i < n; i += run) {
		bool equal = all_same(weight + i, info->block);

		for (run = info->block; i + run < n && all_same(weight + i + run, info->block) == equal; run += info->block)
			;
		encode(x + i, equal ? NULL : weight + i, run, effort, blocks + i / info->block * info->bytes);
	}
}

static size_t first_beyond(const float *x, size_t n, uint32_t top)
{
	size_t i = 0;

	if (in_use()->most_bits(x, n) <= top)
		return n;
	while ((f32_bits(x[i]) & 0x7FFFFFFF) <= top)
		i++;
	return i;
}

size_t codec_first_not_finite(const float *x, size_t n)
{
	return first_beyond(x, n, 0x7F7FFFFF);
}

size_t codec_first_nan(const float *x, size_t n)
{
	return first_beyond(x, n, 0x7F800000);
}
