/* SPDX-License-Identifier: MIT
 *
 * packed.c - BF16 rows that came from FP8, as the eight bits a number that they hold.
 *
 * A block is 128 E4M3 codes, never a NaN, and the exponent byte e of their scale: a value is
 *
 *	the float32 with sign and magnitude of the code in bits 31 and 26..20, times 2^(e - 127)
 *
 * which is the code's number times 2^(e - 247). Packing chooses the least e that holds the largest
 * value of TILE_ROWS rows in a block's columns: with it every value fits that fits with a larger one,
 * and FP8's own scale, of 128 by 128 values, is one that fits. So rows of a tile share their scales, which
 * products make use of; nothing relies on it. e is 127 or more: scaling up loses no low bits.
 * Whether a block holds its values is not reasoned but looked at, number by number; where one does not
 * come back, what was packed is unpacked again.
 */
#include "quantize/codecs.h"
#include "quantize/floats.h"

enum { BLOCK = 128, IN = 2 * BLOCK, BYTES = BLOCK + 1, TILE_ROWS = 128, LEAST = 127, MOST = 254 };

static float scale_of(unsigned e) { return bits_f32((uint32_t)e << 23); }	/* 2^(e - 127), e > 0 */

static uint32_t code_bits(uint8_t c)
{
	return (uint32_t)(c & 0x80) << 24 | (uint32_t)(c & 0x7F) << 20;
}

void decode_e4m3_128(const uint8_t *b, size_t n, float *out)
{
	for (size_t i = 0; i < n; i += BLOCK, b += BYTES) {
		float scale = e8m0_to_f32(b[BLOCK]);

		for (size_t k = 0; k < BLOCK; k++)
			out[i + k] = bits_f32(code_bits(b[k])) * scale;
	}
}

/* The least exponent byte that holds magnitudes up to that of these bits of a BF16: 448 is 1.75 * 2^8. */
static unsigned least_scale(unsigned top)
{
	unsigned e = (top >> 7) + 247 - 127 - 8 + ((top & 0x7F) > 0x60);

	return e < LEAST ? LEAST : e;
}

/* The largest magnitude in one block's columns of n_rows rows of row_bytes. */
static unsigned largest(const uint8_t *b, uint64_t n_rows, uint64_t row_bytes)
{
	int16_t top[BLOCK] = { 0 }, x[BLOCK];
	int most = 0;

	for (uint64_t r = 0; r < n_rows; r++) {
		memcpy(x, b + r * row_bytes, sizeof x);
		for (int k = 0; k < BLOCK; k++) {
			int16_t a = x[k] & 0x7FFF;

			top[k] = a > top[k] ? a : top[k];
		}
	}
	for (int k = 0; k < BLOCK; k++)
		most = top[k] > most ? top[k] : most;
	return (unsigned)most;
}

/* One block, in place or elsewhere; false, with nothing written, if a value does not come back. */
static bool pack_block(const uint8_t *from, unsigned e, uint8_t *to)
{
	float scale = scale_of(e), inverse = e < MOST ? scale_of(MOST - e) : 0x1p-127f;
	uint8_t code[BLOCK];
	uint16_t x[BLOCK];
	uint32_t bad = 0;

	memcpy(x, from, sizeof x);
	for (int k = 0; k < BLOCK; k++) {
		uint32_t bits = (uint32_t)x[k] << 16, small = f32_bits(bits_f32(bits) * inverse);

		code[k] = (uint8_t)(small >> 20 | (bits >> 24 & 0x80));
		bad |= bits ^ f32_bits(bits_f32(small & 0x87F00000) * scale);
	}
	if (bad)
		return false;
	memcpy(to, code, BLOCK);
	to[BLOCK] = (uint8_t)e;
	return true;
}

/* The last of n blocks first, so that none is overwritten before it is read. */
static void unpack_blocks(uint8_t *rows, uint64_t n)
{
	float x[BLOCK];

	while (n-- > 0) {
		decode_e4m3_128(rows + n * BYTES, BLOCK, x);
		for (unsigned k = 0; k < BLOCK; k++) {
			uint16_t half = f32_to_bf16(x[k]);

			memcpy(rows + n * IN + 2 * k, &half, 2);
		}
	}
}

bool pack_rows(uint8_t *rows, uint64_t n_rows, uint64_t cols)
{
	uint64_t in_row = cols / BLOCK, n = n_rows * in_row;

	if (cols % BLOCK)
		return false;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t row = i / in_row, first = i - row % TILE_ROWS * in_row;	/* the tile's, in this column */
		unsigned e = first < i ? rows[first * BYTES + BLOCK] :
			     least_scale(largest(rows + i * IN, u64_min(n_rows - row, TILE_ROWS), in_row * IN));

		if (e > MOST || !pack_block(rows + i * IN, e, rows + i * BYTES)) {
			unpack_blocks(rows, i);
			return false;
		}
	}
	return true;
}
