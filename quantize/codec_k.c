/* SPDX-License-Identifier: MIT
 *
 * codec_k.c - types of 256 values in groups of 16 or 32, whose scales (and minimums) are small
 * integers under one half (or two): Q2_K, Q3_K, Q4_K, Q5_K, Q6_K.
 */
#include "quantize/codecs.h"

#include "quantize/floats.h"

static float half_at(const uint8_t *b)
{
	return f16_to_f32((uint16_t)load_le(b, 2));
}

/* ---- Q2_K: 16 bytes of scale | min << 4; 64 bytes of codes; half d, half dmin -----------------
 * Value 128 h + 32 k + l has bits 2k of byte 32 h + l; y = d scale code - dmin min. */

void decode_q2_k(const uint8_t *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i += 256, b += 84, out += 256) {
		float d = half_at(b + 80), dmin = half_at(b + 82);

		for (unsigned v = 0; v < 256; v++) {
			unsigned code = b[16 + v / 128 * 32 + v % 32] >> v / 32 % 4 * 2 & 3u, sc = b[v / 16];

			out[v] = d * (float)(sc & 15) * (float)code - dmin * (float)(sc >> 4);
		}
	}
}

/* ---- Q3_K: 32 bytes of high bits, 64 of low, 12 of scales, half d -----------------------------
 * Low bits as Q2_K; bit 4 h + k of byte l is the third, and without it the code is 4 lower. Scale
 * j: 4 bits in the nibbles of bytes 0..7, two in bytes 8..11, less 32; y = d scale code. */

static int q3_scale(const uint8_t sc[12], unsigned j)
{
	unsigned low = j < 8 ? sc[j] & 15u : sc[j - 8] >> 4;

	return (int)(low | (sc[8 + j % 4] >> j / 4 * 2 & 3u) << 4) - 32;
}

void decode_q3_k(const uint8_t *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i += 256, b += 110, out += 256) {
		float d = half_at(b + 108);

		for (unsigned v = 0; v < 256; v++) {
			int code = b[32 + v / 128 * 32 + v % 32] >> v / 32 % 4 * 2 & 3;

			code -= b[v % 32] >> v / 32 & 1 ? 0 : 4;
			out[v] = d * (float)q3_scale(b + 96, v / 16) * (float)code;
		}
	}
}

/* ---- Q4_K, Q5_K: half d, half dmin, 12 bytes of scales and minimums; then (Q5_K) 32 bytes of high
 * bits, bit j of byte l for value 32 j + l; 128 bytes of nibbles: byte 32 p + l has values
 * 64 p + l and 64 p + 32 + l; y = d scale code - dmin min, per 32. */

static void decode_k_group(const uint8_t *b, const uint8_t *high, const uint8_t *low, unsigned j, float *out)
{
	float d = half_at(b) * (float)k_scale(b + 4, j), m = half_at(b + 2) * (float)k_min(b + 4, j);

	low += j / 2 * 32;
	for (int l = 0; l < 32; l++) {
		unsigned code = low[l] >> j % 2 * 4 & 15u;

		code |= high ? (high[l] >> j & 1u) << 4 : 0;
		out[l] = d * (float)code - m;
	}
}

void decode_q4_k(const uint8_t *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i += 256, b += 144, out += 256)
		for (unsigned j = 0; j < 8; j++)
			decode_k_group(b, NULL, b + 16, j, out + 32 * j);
}

void decode_q5_k(const uint8_t *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i += 256, b += 176, out += 256)
		for (unsigned j = 0; j < 8; j++)
			decode_k_group(b, b + 16, b + 48, j, out + 32 * j);
}

/* ---- Q6_K: 128 bytes of low nibbles, 64 of high pairs of bits, 16 int8 scales, half d ---------
 * Value 128 h + 32 k + l: nibble k / 2 of byte 64 h + 32 (k % 2) + l, bits 2k of byte 32 h + l;
 * y = d scale (code - 32), per 16. */

void decode_q6_k(const uint8_t *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i += 256, b += 210, out += 256) {
		float d = half_at(b + 208);

		for (unsigned v = 0; v < 256; v++) {
			unsigned h = v / 128, k = v / 32 % 4, l = v % 32;
			unsigned low = b[64 * h + 32 * (k % 2) + l] >> k / 2 * 4 & 15u;
			unsigned high = b[128 + 32 * h + l] >> 2 * k & 3u;

			out[v] = d * (float)(int8_t)b[192 + v / 16] * (float)((int)(low | high << 4) - 32);
		}
	}
}
