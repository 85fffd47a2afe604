/* SPDX-License-Identifier: MIT
 *
 * codec_iq4.c - types of 32 values whose codes are numbers of a table, denser around zero:
 * IQ4_NL under a half each, IQ4_XS under 6-bit scales of one half for 256.
 */
#include "quantize/codecs.h"

#include "quantize/floats.h"
#include "quantize/search.h"

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

void encode_iq4_nl(const float *x, const float *weight, size_t n, enum effort effort, uint8_t *b)
{
	static const struct grid grid = { 0, 15, true };

	for (size_t i = 0; i < n; i += 32, b += 18)
		scale_encode(x + i, weight ? weight + i : NULL, &grid, effort, b);
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

void encode_iq4_xs(const float *x, const float *weight, size_t n, enum effort effort, uint8_t *b)
{
	static const struct super_kind kind = { { 0, 15, true }, 8, 32, -32, 31 };
	struct block k;
	struct super s;

	for (size_t i = 0; i < n; i += 256, b += 136) {
		block_load(&k, x + i, weight ? weight + i : NULL, 256);
		super_search(&k, &kind, effort, &s);
		memset(b, 0, 136);
		store_le(b, 2, s.half);
		for (int v = 0; v < 256; v++) {
			int j = v / 32;
			float d = s.d * (float)s.scale[j], inverse = scale_inverse(d);
			unsigned stored = (unsigned)(s.scale[j] + 32), c = grid_code(&kind.grid, k.x[v] * inverse);

			b[8 + 16 * j + v % 16] |= (uint8_t)(v % 32 < 16 ? c : c << 4);
			if (v % 32 == 0) {
				b[4 + j / 2] |= (uint8_t)((stored & 15) << j % 2 * 4);
				b[2 + j / 4] |= (uint8_t)(stored >> 4 << j % 4 * 2);
			}
		}
	}
}
