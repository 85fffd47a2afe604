/* SPDX-License-Identifier: MIT
 *
 * codec_fp4.c - FP4 E2M1 codes under scales of a byte: MXFP4 (a power of two for 32), NVFP4 (an
 * unsigned E4M3 for 16).
 */
#include "quantize/codecs.h"

#include "quantize/floats.h"

/* ---- MXFP4: E8M0 e, then 16 bytes: low nibble element j, high nibble element j + 16 ---------*/

void decode_mxfp4(const uint8_t *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i += 32, b += 17, out += 32) {
		float d = e8m0_half_to_f32(b[0]);
		for (int k = 0; k < 16; k++) {
			/* doubled first: 0.5 * 2^-127 must not pass through a rounded product */
			out[k] = 2 * e2m1_values[b[1 + k] & 15] * d;
			out[k + 16] = 2 * e2m1_values[b[1 + k] >> 4] * d;
		}
	}
}

/* ---- NVFP4: 4 scales, then 8 bytes for each 16 values: low nibble element j, high j + 8 ---------
 * A scale is E4M3's magnitude without its sign bit's meaning, but that 0x7F, a NaN there, is zero
 * here, as in ggml; so is code 8, negative zero, plain zero. */

static float nvfp4_scale(uint8_t s)
{
	return s == 0x7F ? 0 : bits_f32(s & 0x78 ? ((s >> 3 & 15u) + 120) << 23 | (s & 7u) << 20
						 : f32_bits((float)(s & 7) * 0x1p-9f));
}

void decode_nvfp4(const uint8_t *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i += 64, b += 36)
		for (int s = 0; s < 4; s++, out += 16) {
			float d = nvfp4_scale(b[s]);

			for (int k = 0; k < 8; k++) {
				uint8_t pair = b[4 + 8 * s + k];

				out[k] = e2m1_values[(pair & 15) == 8 ? 0 : pair & 15] * d;
				out[k + 8] = e2m1_values[pair >> 4 == 8 ? 0 : pair >> 4] * d;
			}
		}
}
