/* SPDX-License-Identifier: MIT
 *
 * test_packed.c - BF16 rows that came from FP8 keep every bit in eight of them; rows that did not are left
 * as they were.
 */
#include <math.h>

#include "quantize/floats.h"
#include "quantize/quantize.h"
#include "tests/test.h"

enum { ROWS = 300, COLS = 384, N = ROWS * COLS, BLOCKS = N / 128 };
static uint16_t want[N];
static uint8_t rows[2 * N];
static float out[N];
static uint32_t state = 1;

static uint32_t bits(void)
{
	return (state = state * 1664525 + 1013904223) >> 8;
}

/* E4M3 numbers, any code but NaN, with a power of two for 128 by 128 of them. */
static void fill(int least, int most)
{
	int power[(ROWS + 127) / 128 * (COLS / 128)];

	for (size_t i = 0; i < sizeof power / sizeof *power; i++)
		power[i] = least + (int)(bits() % (uint32_t)(most - least + 1));
	for (size_t i = 0; i < N; i++) {
		uint8_t code = (uint8_t)((bits() & 0x80) | bits() % 0x7F);

		want[i] = f32_to_bf16((float)ldexp((double)e4m3_to_f32(code), power[i / COLS / 128 * (COLS / 128) + i % COLS / 128]));
	}
}

static bool packs(size_t n_rows, size_t cols)
{
	memcpy(rows, want, sizeof rows);
	return pack_rows(rows, n_rows, cols);
}

static bool comes_back(size_t n)
{
	codec_decode(DT_E4M3_128, rows, n, out);
	for (size_t i = 0; i < n; i++)
		if (f32_bits(out[i]) != (uint32_t)want[i] << 16)
			return false;
	return true;
}

static bool is_untouched(void)
{
	return memcmp(rows, want, sizeof rows) == 0;
}

/* No NaN is written, and scales only scale up. */
static bool is_sound(size_t n_blocks)
{
	for (size_t b = 0; b < n_blocks; b++) {
		for (size_t k = 0; k < 128; k++)
			if ((rows[129 * b + k] & 0x7F) == 0x7F)
				return false;
		if (rows[129 * b + 128] < 127)
			return false;
	}
	return true;
}

static void every_fp8_number_comes_back(void)
{
	static const int ranges[][2] = { { -14, -8 }, { -100, 6 }, { 0, 0 }, { 6, 6 }, { -111, -111 } };

	for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
		fill(ranges[i][0], ranges[i][1]);
		CHECKF(packs(ROWS, COLS) && comes_back(N), "2^%d to 2^%d", ranges[i][0], ranges[i][1]);
		CHECK(is_sound(BLOCKS));
		CHECK(packs(1, COLS) && comes_back(COLS));
	}
}

/* A tile's rows have one scale in a column, whatever blocks of small numbers they have. */
static void rows_share_scales(void)
{
	fill(-10, -10);
	for (size_t i = 3 * COLS; i < 4 * COLS; i++)
		want[i] = 0x8000;
	CHECK(packs(ROWS, COLS) && comes_back(N));
	for (size_t b = 0; b < BLOCKS; b++)
		CHECK(rows[129 * b + 128] == rows[129 * (b / 3 / 128 * 128 * 3 + b % 3) + 128]);
	CHECK(packs(131, 128) && comes_back(131 * 128));
	memset(want, 0, sizeof want);
	CHECK(packs(ROWS, COLS) && comes_back(N) && is_sound(BLOCKS));
	for (int power = -126; power < 15; power++) {	/* the largest mantissa at the top of the range is NaN's */
		want[5000] = f32_to_bf16((float)ldexp(1.875, power));
		CHECKF(packs(ROWS, COLS) && comes_back(N) && is_sound(BLOCKS), "1.875 * 2^%d", power);
	}
}

static void other_numbers_are_left_alone(void)
{
	static const uint16_t odd[] = { 0x3F81, 0x7F80, 0x7FC0, 0xFF80, 0x7F7F, 0x0001, 0x8080, 0x4788 };

	for (size_t k = 0; k < sizeof odd / sizeof *odd; k++)
		for (size_t at = 0; at < N; at += at < 600 ? 37 : 10007) {
			fill(-12, -8);
			want[at] = odd[k];
			CHECKF(!packs(ROWS, COLS) && is_untouched(), "%x at %zu", odd[k], at);
		}
	fill(-12, -8);
	CHECK(!packs(ROWS, 100) && is_untouched() && !packs(3, 129) && is_untouched() && packs(0, 128));
	fill(8, 8);	/* the scale leaves its byte */
	CHECK(!packs(ROWS, COLS) && is_untouched());
}

int main(void)
{
	RUN(every_fp8_number_comes_back);
	RUN(rows_share_scales);
	RUN(other_numbers_are_left_alone);
	return test_done();
}
