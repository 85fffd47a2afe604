/* SPDX-License-Identifier: MIT
 *
 * test_encode_sets.c - the encoders of each instruction set that this processor has give the bytes of
 * the plain ones: all types, both efforts, with and without weights, over kinds of values that try what
 * vectors do differently: ties, ends of ranges, zeros, subnormal numbers, single large values.
 */
#include <math.h>

#include "quantize/cpu.h"
#include "quantize/encoders.h"
#include "tests/test.h"

enum { N = 3 * 256, KINDS = 14 };

static const struct { enum cpu_set set; const struct encoders *e; } sets[] = {
#if defined(__x86_64__)
	{ CPU_AVX2, &encoders_avx2 }, { CPU_AVX512, &encoders_avx512 },
#elif defined(__aarch64__)
	{ CPU_NEON, &encoders_neon },
#endif
	{ CPU_SCALAR, &encoders_scalar },
};

static uint32_t seed;
static uint32_t draw(void)
{
	seed = seed * 1664525u + 1013904223u;
	return seed >> 16;
}

static float bell(void)
{
	int32_t sum = -131070;

	for (int k = 0; k < 4; k++)
		sum += (int32_t)draw();
	return (float)sum / 65536.0f;
}

static void fill(int kind, float x[N])
{
	static const float units[] = { 0.02f, 1, 1e-5f, 6e-8f, 1e-30f, 1e-44f, 1e4f, 1e20f, 1.7e38f };

	for (int i = 0; i < N; i++) {
		float v = bell();

		switch (kind) {
		case 9: x[i] = 0; break;
		case 10: x[i] = 0.37f; break;					/* all the same */
		case 11: x[i] = v * v * v * v * (v < 0 ? -1 : 1); break;	/* heavy tails */
		case 12: x[i] = i % 40 == 7 ? -3 : 0; break;			/* a few alone */
		case 13: x[i] = (float)((int)draw() % 17 - 8) * 0.125f; break;	/* ties */
		default: x[i] = v * units[kind]; break;
		}
	}
}

static void fill_weights(int kind, float w[N])
{
	for (int i = 0; i < N; i++)
		w[i] = kind == 0 ? (float)(1 + draw() % 100) : kind == 1 ? expf(4 * bell()) * 1e-30f
		     : kind == 2 ? (draw() % 3 ? 0 : 1e30f) : i / 16 % 3 ? 0 : 1;
}

static void check(enum dtype t, enum effort effort, const float *x, const float *w, int kind, int weights)
{
	static uint8_t want[5 * N], got[5 * N];
	const struct dtype_info *info = dtype_info(t);
	size_t bytes = (size_t)N / info->block * info->bytes;

	encoders_scalar.of[t](x, w, N, effort, want);
	for (size_t s = 0; s + 1 < sizeof sets / sizeof *sets; s++) {
		if (!cpu_can(sets[s].set))
			continue;
		memset(got, 0xAA, sizeof got);
		sets[s].e->of[t](x, w, N, effort, got);
		CHECKF(memcmp(want, got, bytes) == 0, "%s, %s, effort %d, values %d, weights %d", info->name,
		       cpu_name(sets[s].set), (int)effort, kind, weights);
		CHECK(got[bytes] == 0xAA);
	}
}

static void every_set_is_scalar(void)
{
	static float x[N], w[N];
	int n_types = 0;

	for (int t = 0; t < DT_COUNT; t++) {
		if (!encoders_scalar.of[t])
			continue;
		n_types++;
		for (int kind = 0; kind < KINDS; kind++) {
			seed = (uint32_t)kind;
			fill(kind, x);
			for (int weights = 0; weights < 5; weights++) {
				fill_weights(weights, w);
				check((enum dtype)t, EFFORT_FAST, x, weights < 4 ? w : NULL, kind, weights);
				if (kind < 3 || weights == kind % 5)
					check((enum dtype)t, EFFORT_BEST, x, weights < 4 ? w : NULL, kind, weights);
			}
		}
	}
	CHECK(n_types == 10);
}

/* Blocks do not depend on what is encoded with them. */
static void division_does_not_matter(void)
{
	static uint8_t whole[5 * N], part[5 * N];
	static float x[N], w[N];

	fill(0, x);
	fill_weights(0, w);
	for (int i = 256; i < 320; i++)
		w[i] = 1;		/* blocks of equal weights between others */
	for (int t = 0; t < DT_COUNT; t++) {
		const struct dtype_info *info = dtype_info((enum dtype)t);
		size_t per = info->block;

		if (!encoders_scalar.of[t])
			continue;
		codec_encode((enum dtype)t, x, w, N, EFFORT_FAST, whole);
		for (size_t i = 0; i < N; i += per)
			codec_encode((enum dtype)t, x + i, w + i, per, EFFORT_FAST, part + i / per * info->bytes);
		CHECKF(memcmp(whole, part, N / per * info->bytes) == 0, "%s", info->name);
	}
}

/* The sets in use are those that INGOT_KERNELS names, for codecs too. */
static void forcing_a_set(void)
{
	struct err e;

	for (size_t s = 0; s < sizeof sets / sizeof *sets; s++) {
		setenv("INGOT_KERNELS", cpu_name(sets[s].set), 1);
		CHECK(cpu_can(sets[s].set) ? cpu_choose(&e) == OK && cpu_set() == sets[s].set
					   : cpu_choose(&e) == ERR_USAGE);
	}
	setenv("INGOT_KERNELS", "mmx", 1);
	CHECK(cpu_choose(&e) == ERR_USAGE && strstr(e.msg, "mmx") && cpu_set() == CPU_SCALAR);
	unsetenv("INGOT_KERNELS");
}

int main(void)
{
	RUN(every_set_is_scalar);
	RUN(division_does_not_matter);
	RUN(forcing_a_set);
	return test_done();
}
