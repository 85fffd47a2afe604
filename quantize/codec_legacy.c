/* SPDX-License-Identifier: MIT
 *
 * codec_legacy.c - types of 32 values under one half scale: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.
 *
 * Codes are always nearest for the scale as it is stored, not for the one before rounding to half.
 */
#include "quantize/codecs.h"

#include "quantize/floats.h"

static float half_at(const uint8_t *b)
{
	return f16_to_f32((uint16_t)load_le(b, 2));
}

/* ---- Q4_0: half d, nibbles; y = d (code - 8) ------------------------------------------------*/

void decode_q4_0(const uint8_t *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i += 32, b += 18, out += 32) {
		float d = half_at(b);

		for (int k = 0; k < 16; k++) {
			out[k] = (float)((b[2 + k] & 15) - 8) * d;
			out[k + 16] = (float)((b[2 + k] >> 4) - 8) * d;
		}
	}
}

/* ---- Q4_1: half d, half m, nibbles; y = d code + m ------------------------------------------*/

void decode_q4_1(const uint8_t *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i += 32, b += 20, out += 32) {
		float d = half_at(b), m = half_at(b + 2);

		for (int k = 0; k < 16; k++) {
			out[k] = (float)(b[4 + k] & 15) * d + m;
			out[k + 16] = (float)(b[4 + k] >> 4) * d + m;
		}
	}
}

/* ---- Q5_0, Q5_1: as above, with bit 4 of code k in bit k of the 4 bytes before the nibbles ---*/

static void codes_of_5_bits(const uint8_t *b, int code[32])
{
	uint32_t high = (uint32_t)load_le(b, 4);

	for (int k = 0; k < 16; k++) {
		code[k] = (b[4 + k] & 15) | (int)(high >> k & 1) << 4;
		code[k + 16] = b[4 + k] >> 4 | (int)(high >> (k + 16) & 1) << 4;
	}
}

void decode_q5_0(const uint8_t *b, size_t n, float *out)
{
	int code[32];

	for (size_t i = 0; i < n; i += 32, b += 22, out += 32) {
		float d = half_at(b);

		codes_of_5_bits(b + 2, code);
		for (int k = 0; k < 32; k++)
			out[k] = (float)(code[k] - 16) * d;
	}
}

void decode_q5_1(const uint8_t *b, size_t n, float *out)
{
	int code[32];

	for (size_t i = 0; i < n; i += 32, b += 24, out += 32) {
		float d = half_at(b), m = half_at(b + 2);

		codes_of_5_bits(b + 4, code);
		for (int k = 0; k < 32; k++)
			out[k] = (float)code[k] * d + m;
	}
}

/* ---- Q8_0: half d, int8 q[32]; y = d q ------------------------------------------------------*/

void decode_q8_0(const uint8_t *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i += 32, b += 34, out += 32) {
		float d = half_at(b);

		for (int k = 0; k < 32; k++)
			out[k] = d * (float)(int8_t)b[2 + k];
	}
}
