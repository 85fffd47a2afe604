/* SPDX-License-Identifier: MIT
 *
 * test_error.c - sums over pairs against numbers that can be checked by hand, and values beyond the
 * last code of every block type.
 */
#include <math.h>

#include "quantize/error.h"
#include "tests/test.h"

static void sums_are_those_of_the_definition(void)
{
	const float x[6] = { 3, 4, 0, -2, 1, 1 }, y[6] = { 3, 3, 0, -2, 1, 3 };
	struct error_sums s = { 0 };

	error_add(&s, x, y, 6, 2, 100);
	CHECK(s.n == 6 && s.xx == 31 && s.yy == 32 && s.xy == 29 && s.dd == 5);
	CHECK(s.max == 2 && s.max_at == 105);
	CHECK(s.worst == 2 && s.worst_at == 104);	/* 4 over 1 + 1; the first block has 1 over 25 */
	CHECK(fabs(error_rms(&s) - sqrt(5.0 / 6)) < 1e-15);
	CHECK(fabs(error_relative(&s) - sqrt(5.0 / 31)) < 1e-15);
	CHECK(fabs(error_cosine(&s) - 29 / sqrt(31.0 * 32)) < 1e-15);
}

static void what_is_not_finite_is_counted_apart(void)
{
	const float x[4] = { NAN, 1, INFINITY, 2 }, y[4] = { 1, NAN, -INFINITY, 2 };
	struct error_sums s = { 0 };

	error_add(&s, x, y, 4, 4, 0);
	CHECK(s.n == 1 && s.dd == 0 && s.xx == 4);
	CHECK(s.x_nan == 1 && s.y_nan == 1 && s.x_inf == 1 && s.y_inf == 1);
	CHECK(error_rms(&s) == 0 && error_relative(&s) == 0 && error_cosine(&s) == 1);
}

static void nothing_and_zeros(void)
{
	const float zero[2] = { 0, 0 }, one[2] = { 0, 1 };
	struct error_sums s = { 0 };

	CHECK(error_rms(&s) == 0 && error_relative(&s) == 0 && error_cosine(&s) == 1);
	error_add(&s, zero, one, 2, 2, 0);
	CHECK(isinf(error_relative(&s)) && error_cosine(&s) == 0 && isinf(s.worst));
}

/* Runs added one by one and merged give the bits of one long run, if cut at blocks. */
static void merging_is_adding(void)
{
	float x[512], y[512];
	struct error_sums part[2] = { { 0 }, { 0 } }, all = { 0 }, two = { 0 };

	for (int i = 0; i < 512; i++) {
		x[i] = sinf((float)i);
		y[i] = x[i] + 0.01f * cosf((float)(7 * i));
	}
	error_add(&part[0], x, y, 256, 32, 0);
	error_add(&part[1], x + 256, y + 256, 256, 32, 256);
	error_merge(&all, &part[0]);
	error_merge(&all, &part[1]);
	error_add(&two, x, y, 512, 32, 0);
	CHECK(all.n == two.n && fabs(all.dd - two.dd) < 1e-15 && all.max == two.max);
	CHECK(all.max_at == two.max_at && all.worst == two.worst && all.worst_at == two.worst_at);
}

/* A block whose codes reach from low to high: what is beyond by more than half a step was cut off. */
static void values_beyond_the_last_code(void)
{
	static const enum dtype types[] = { DT_Q4_0, DT_Q4_1, DT_Q8_0, DT_Q4_K, DT_Q5_K, DT_Q6_K, DT_IQ4_NL,
					    DT_IQ4_XS, DT_MXFP4, DT_NVFP4 };

	for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
		const struct dtype_info *info = dtype_info(types[k]);
		uint8_t block[256];
		float x[256], y[256];

		for (unsigned i = 0; i < info->block; i++)
			x[i] = (float)(i % 16) - 8;
		codec_encode(types[k], x, NULL, info->block, EFFORT_BEST, block);
		codec_decode(types[k], block, info->block, y);
		CHECKF(codec_saturated(types[k], block, info->block, y) == 0, "%s: its own values", info->name);
		y[5] = 100;
		y[info->block - 1] = -100;
		CHECKF(codec_saturated(types[k], block, info->block, y) == 2, "%s: two beyond", info->name);
	}
}

static void the_edge_is_half_a_step(void)
{
	uint8_t block[18] = { 0x00, 0x3C };	/* Q4_0, d = 1: -8..7 */
	float x[32] = { 7.5f, 7.51f, -8.5f, -8.51f };

	CHECK(codec_saturated(DT_Q4_0, block, 32, x) == 2);
	block[1] = 0xBC;			/* d = -1: -7..8 */
	x[0] = 8.5f, x[1] = 8.51f, x[2] = -7.5f, x[3] = -7.51f;
	CHECK(codec_saturated(DT_Q4_0, block, 32, x) == 2);
	block[1] = 0;
	CHECK(codec_saturated(DT_Q4_0, block, 32, x) == 0);
	CHECK(codec_saturated(DT_BF16, block, 8, x) == 0);
}

int main(void)
{
	RUN(sums_are_those_of_the_definition);
	RUN(what_is_not_finite_is_counted_apart);
	RUN(nothing_and_zeros);
	RUN(merging_is_adding);
	RUN(values_beyond_the_last_code);
	RUN(the_edge_is_half_a_step);
	return test_done();
}
