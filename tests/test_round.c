/* SPDX-License-Identifier: MIT
 *
 * test_round.c - the roundings of activations: published goldens, hand-made cases, properties.
 */
#include <math.h>
#include <string.h>

#include "runtime/layer.h"
#include "tests/test.h"

struct pair { double from, to; };

#define CHECK_PAIRS(f, list) \
	for (size_t i = 0; i < sizeof(list) / sizeof *(list); i++) \
		for (int sign = 1; sign >= -1; sign -= 2) \
			CHECKF((double)f((float)(sign * list[i].from)) == sign * list[i].to, "%.17g: %.17g, not %.17g", \
			       list[i].from, (double)f((float)(sign * list[i].from)), sign * list[i].to)

static void e4m3(void)
{
	static const struct pair list[] = {
		{ 0.1, 0.1015625 }, { 17.3, 18 }, { 0x1p-10, 0 }, { 0.0029296875, 0.00390625 }, { 464, 448 },
		{ 1.0625, 1 }, { 1.1875, 1.25 }, { 448, 448 }, { 1e30, 448 }, { 0, 0 }, { 0x1p-9, 0x1p-9 },
		{ 0x1.8p-10, 0x1p-9 }, { 0x1.Fp-7, 0x1p-6 }, { 0x1.1p-6, 0x1p-6 }, { 0x1p-149, 0 },
		{ 432, 448 }, { 431.9, 416 }, { 272, 256 }, { 240, 240 }, { 248, 256 },
	};

	CHECK_PAIRS(round_e4m3, list);
	CHECK(signbit(round_e4m3(-0.0f)) && !signbit(round_e4m3(0.0f)));
	CHECK(isnan(round_e4m3(NAN)));
}

static void e2m1(void)
{
	static const struct pair list[] = {
		{ .25, 0 }, { .26, .5 }, { .5, .5 }, { .75, 1 }, { .74, .5 }, { 1.25, 1 }, { 1.26, 1.5 },
		{ 1.75, 2 }, { 2.5, 2 }, { 2.6, 3 }, { 3.5, 4 }, { 5, 4 }, { 5.01, 6 }, { 6, 6 }, { 100, 6 },
	};

	CHECK_PAIRS(round_e2m1, list);
	CHECK(isnan(round_e2m1(NAN)));
}

static void bf16(void)
{
	static const struct pair list[] = {
		{ 1, 1 }, { 0x1.01p0, 0x1p0 }, { 0x1.03p0, 0x1.04p0 }, { 0x1.010002p0, 0x1.02p0 },
		{ 0x1.02p0, 0x1.02p0 }, { 0x1.FFp0, 2 }, { 0x1p-149, 0 }, { 0x1.FFFFFEp127, INFINITY },
		{ 0x1p-133, 0x1p-133 }, { 0x1p-134, 0 }, { 0x1.8p-133, 0x1p-132 },
	};
	float run[3] = { 0x1.01p0f, -0x1.03p0f, 5 };

	CHECK_PAIRS(round_bf16, list);
	CHECK(isnan(round_bf16(NAN)) && isinf(round_bf16(-INFINITY)));
	round_bf16_run(run, 2);
	CHECK(run[0] == 1 && run[1] == -0x1.04p0f && run[2] == 5);
}

static void scales(void)
{
	static const struct pair fp8[] = {
		{ 448, 1 }, { 448.0001, 2 }, { 1, 0x1p-8 }, { 3, 0x1p-7 }, { 1e-4, 0x1p-22 }, { 1e-9, 0x1p-22 },
		{ 0, 0x1p-22 }, { 224, 0.5 }, { 1.75, 0x1p-8 }, { 1.751, 0x1p-7 },
	};
	static const struct pair fp4[] = {
		{ 6, 1 }, { 6.01, 2 }, { 3, 0.5 }, { 0.1, 0x1p-5 }, { 12, 2 }, { 0, 0x1p-126 },
	};

	for (size_t i = 0; i < sizeof fp8 / sizeof *fp8; i++)
		CHECKF((double)round_scale_fp8((float)fp8[i].from) == fp8[i].to, "%g: %g", fp8[i].from,
		       (double)round_scale_fp8((float)fp8[i].from));
	for (size_t i = 0; i < sizeof fp4 / sizeof *fp4; i++)
		CHECKF((double)round_scale_fp4((float)fp4[i].from) == fp4[i].to, "%g: %g", fp4[i].from,
		       (double)round_scale_fp4((float)fp4[i].from));
}

/* Each block has its own scale, a short one at the end as well. */
static void blocks(void)
{
	float x[5] = { 448, 17.3f, 1, 0.0029296875f, 17.3f }, y[5], z[40];

	round_fp8(y, x, 5, 2);
	CHECK(y[0] == 448 && y[1] == 18);
	CHECK(y[2] == 1 && y[3] == 0.0029296875f);	/* 0.75 in units of 2^-8: exact */
	CHECK(y[4] == 18);				/* 17.3 * 2^4 = 276.8 -> 288 */
	for (int i = 0; i < 40; i++)
		z[i] = i < 32 ? 6 : 0.026f;
	z[1] = 2.5f;
	round_fp4(z, z, 40);
	CHECK(z[0] == 6 && z[1] == 2 && z[32] == 0.0234375f && z[39] == z[32]);	/* 3.3 -> 3, times 2^-7 */
	memset(x, 0, sizeof x);
	round_fp8(x, x, 5, 128);
	CHECK(x[0] == 0 && x[4] == 0);
	x[1] = INFINITY;
	round_fp8(x, x, 5, 128);
	CHECK(isnan(x[0]) && isnan(x[1]));		/* not silently something finite */
}

static uint32_t next(uint32_t *s)
{
	*s = *s * 1664525u + 1013904223u;
	return *s;
}

/* Again changes nothing; never further away than half a step of the scaled format. */
static void properties(void)
{
	uint32_t seed = 5;

	for (int round = 0; round < 2000; round++) {
		float x[128], y[128], z[128], most = 0;
		int e = (int)(next(&seed) >> 24) % 40 - 30;

		for (int i = 0; i < 128; i++) {
			x[i] = ldexpf((float)(int32_t)next(&seed), e - 31);
			most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
		}
		round_fp8(y, x, 128, 128);
		round_fp8(z, y, 128, 128);
		CHECK(memcmp(y, z, sizeof y) == 0);
		for (int i = 0; i < 128; i++)
			CHECK(fabsf(y[i] - x[i]) <= fmaxf(fabsf(x[i]) / 16, fmaxf(most, 1e-4f) * 0x1p-17f) * 1.0001f);
		round_fp4(y, x, 128);
		round_fp4(z, y, 128);
		CHECK(memcmp(y, z, sizeof y) == 0);
	}
}

static void products(void)
{
	size_t n[3] = { 0 };

	for (int r = 0; r < ROLE_COUNT; r++)
		n[product_of((enum role)r)]++;
	CHECK(n[PRODUCT_QUANTIZED] == 12 && n[PRODUCT_BF16] == 2);
	CHECK(product_of(ROLE_ATTN_OUTPUT_A) == PRODUCT_BF16 && product_of(ROLE_ATTN_OUTPUT_B) == PRODUCT_QUANTIZED);
	CHECK(product_of(ROLE_ROUTER) == PRODUCT_F32 && product_of(ROLE_OUTPUT) == PRODUCT_F32);
}

int main(void)
{
	RUN(e4m3);
	RUN(e2m1);
	RUN(bf16);
	RUN(scales);
	RUN(blocks);
	RUN(properties);
	RUN(products);
	return test_done();
}
