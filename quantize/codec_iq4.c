/* SPDX-License-Identifier: MIT
 *
 * codec_iq4.c - types of 32 values whose codes are numbers of a table, denser around zero:
 * IQ4_NL under a half each, IQ4_XS under 6-bit scales of one half for 256.
 */
#include "quantize/codecs.h"

#include "quantize/floats.h"

static void decode_nibbles(const uint8_t *q, float d, float *out)
{
	for (int k = 0; k < 16; k++) {
		out[k] = d * (float)iq4_values[q[k] & 15];
		out[k + 16] = d * (float)iq4_values[q[k] >> 4];
	}
}

/* ---- IQ4_NL: half d, nibbles; y = d table[code] ----------------------------------------------*/

void decode_iq4_nl(const uint8_t *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i += 32, b += 18, out += 32)
		decode_nibbles(b + 2, f16_to_f32((uint16_t)load_le(b, 2)), out);
}

/* ---- IQ4_XS: half d, 16 bits of high pairs, 4 bytes of low nibbles of the scales, 8 x nibbles ---
 * y = d (scale - 32) table[code] */

void decode_iq4_xs(const uint8_t *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i += 256, b += 136) {
		float d = f16_to_f32((uint16_t)load_le(b, 2));
		unsigned high = (unsigned)load_le(b + 2, 2);

		for (unsigned j = 0; j < 8; j++, out += 32) {
			unsigned s = (b[4 + j / 2] >> j % 2 * 4 & 15u) | (high >> 2 * j & 3u) << 4;

			decode_nibbles(b + 8 + 16 * j, d * (float)((int)s - 32), out);
		}
	}
}
