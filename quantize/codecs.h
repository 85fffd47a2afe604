/* SPDX-License-Identifier: MIT
 *
 * codecs.h - private to quantize/: the decoders and encoders that codec.c's table names, one file
 * for each family of types. Each takes n elements, a whole number of the type's blocks.
 *
 * Layouts are ggml's: multi-byte fields are little-endian, a half is IEEE, "nibbles" of 32 values
 * are 16 bytes whose low halves are values 0..15 and high halves 16..31. Decoders multiply and add
 * in float32 in ggml's order, so that both read the same bits.
 */
#ifndef QUANTIZE_CODECS_H
#define QUANTIZE_CODECS_H

#include "quantize/quantize.h"

typedef void decode_fn(const uint8_t *blocks, size_t n, float *out);
/* weight: of each element's squared error, or NULL. */
typedef void encode_fn(const float *x, const float *weight, size_t n, enum effort effort, uint8_t *blocks);

decode_fn decode_q4_0, decode_q4_1, decode_q5_0, decode_q5_1, decode_q8_0;	/* codec_legacy.c */
decode_fn decode_q2_k, decode_q3_k, decode_q4_k, decode_q5_k, decode_q6_k;	/* codec_k.c */
decode_fn decode_iq4_nl, decode_iq4_xs;						/* codec_iq4.c */
decode_fn decode_mxfp4, decode_nvfp4;						/* codec_fp4.c */
decode_fn decode_e4m3_128;							/* packed.c */

/* Scale and minimum number j (0..7) of the 12 bytes in which Q4_K and Q5_K keep them, 6 bits each. */
static inline unsigned k_scale(const uint8_t sc[12], unsigned j)
{
	return j < 4 ? sc[j] & 63u : (sc[j + 4] & 15u) | (sc[j - 4] & 0xC0u) >> 2;
}

static inline unsigned k_min(const uint8_t sc[12], unsigned j)
{
	return j < 4 ? sc[j + 4] & 63u : sc[j + 4] >> 4 | (sc[j] & 0xC0u) >> 2;
}

/* What the 16 codes of IQ4_NL and IQ4_XS stand for. */
static const int8_t iq4_values[16] = { -127, -104, -83, -65, -49, -35, -22, -10,
				       1,    13,   25,	38,  53,  69,  89,  113 };

#endif
