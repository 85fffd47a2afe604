/* SPDX-License-Identifier: MIT
 *
 * encoders.h - private to quantize/: the encoders of block types, once for each instruction set, and
 * what of the codecs' other loops is worth vectors. encode_body.h has their order of operations; every set
 * gives the same bits.
 */
#ifndef QUANTIZE_ENCODERS_H
#define QUANTIZE_ENCODERS_H

#include "quantize/codecs.h"

/* of[t]: the encoder of a type of blocks, else NULL. bf16: decodes. most_bits: the largest of the numbers'
 * bits without their signs. */
struct encoders {
	decode_fn *bf16;
	uint32_t (*most_bits)(const float *x, size_t n);
	encode_fn *of[DT_COUNT];
};
extern const struct encoders encoders_scalar, encoders_avx2, encoders_avx512, encoders_neon;

/* IQ4's levels by cells of eight: cell i begins at 8 i - 128. Whole numbers have the level below up to (not
 * with) `from`, then the level above. */
static const int16_t iq4_below[32] = {
	-127, -127, -104, -104, -104, -83, -83, -65, -65, -49, -49, -35, -35, -22, -10, -10,
	1, 13, 13, 25, 38, 38, 53, 53, 69, 69, 89, 89, 89, 113, 113, 113,
};
static const int16_t iq4_from[32] = {
	-128, -115, -112, -104, -93, -88, -74, -72, -57, -56, -42, -40, -28, -24, -16, -4,
	7, 8, 19, 24, 32, 46, 48, 61, 64, 79, 80, 88, 101, 104, 112, 120,
};
static const int16_t iq4_above[32] = {
	-127, -104, -104, -104, -83, -83, -65, -65, -49, -49, -35, -35, -22, -22, -10, 1,
	13, 13, 25, 25, 38, 53, 53, 69, 69, 89, 89, 89, 113, 113, 113, 113,
};
/* The same as bytes: 128 more, the last number before `from` and 128 more, and the step between levels. */
static const uint8_t iq4_below_128[32] = {
	1, 1, 24, 24, 24, 45, 45, 63, 63, 79, 79, 93, 93, 106, 118, 118,
	129, 141, 141, 153, 166, 166, 181, 181, 197, 197, 217, 217, 217, 241, 241, 241,
};
static const uint8_t iq4_last_128[32] = {
	0, 12, 15, 23, 34, 39, 53, 55, 70, 71, 85, 87, 99, 103, 111, 123,
	134, 135, 146, 151, 159, 173, 175, 188, 191, 206, 207, 215, 228, 231, 239, 247,
};
static const uint8_t iq4_step[32] = {
	0, 23, 0, 0, 21, 0, 18, 0, 16, 0, 14, 0, 13, 0, 0, 11,
	12, 0, 12, 0, 0, 15, 0, 16, 0, 20, 0, 0, 24, 0, 0, 0,
};
/* Real numbers: the code at a cell's start, where in the cell the next begins, and both levels. */
static const float iq4_code[32] = {
	0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 7, 7,
	8, 9, 9, 10, 11, 11, 12, 12, 13, 13, 14, 14, 14, 15, 15, 15,
};
static const float iq4_next[32] = {
	1000, -115.5f, 1000, 1000, -93.5f, 1000, -74, 1000, -57, 1000, -42, 1000, -28.5f, -16, 1000, -4.5f,
	7, 1000, 19, 31.5f, 1000, 45.5f, 1000, 61, 1000, 79, 1000, 1000, 101, 1000, 1000, 1000,
};
static const float iq4_low[32] = {
	-127, -127, -104, -104, -104, -83, -83, -65, -65, -49, -49, -35, -35, -22, -10, -10,
	1, 13, 13, 25, 38, 38, 53, 53, 69, 69, 89, 89, 89, 113, 113, 113,
};
static const float iq4_high[32] = {
	-104, -104, -83, -83, -83, -65, -65, -49, -49, -35, -35, -22, -22, -10, 1, 1,
	13, 25, 25, 38, 53, 53, 69, 69, 89, 89, 113, 113, 113, 113, 113, 113,
};

#endif
