/* SPDX-License-Identifier: MIT
 *
 * kernels.c - the sets of inner loops; which is used, quantize/cpu.c decides once.
 */
#include "runtime/kernels.h"

#include "quantize/cpu.h"

#if defined(__x86_64__)
const struct kernels *const kernels_all[] = { &kernels_avx512, &kernels_avx2, &kernels_scalar, NULL };
static const struct kernels *const by_set[CPU_SETS] = {
	[CPU_SCALAR] = &kernels_scalar, [CPU_AVX2] = &kernels_avx2, [CPU_AVX512] = &kernels_avx512,
};
#elif defined(__aarch64__)
const struct kernels *const kernels_all[] = { &kernels_neon, &kernels_scalar, NULL };
static const struct kernels *const by_set[CPU_SETS] = { [CPU_SCALAR] = &kernels_scalar, [CPU_NEON] = &kernels_neon };
#else
const struct kernels *const kernels_all[] = { &kernels_scalar, NULL };
static const struct kernels *const by_set[CPU_SETS] = { [CPU_SCALAR] = &kernels_scalar };
#endif

bool kernels_usable(const struct kernels *k)
{
	for (int s = 0; s < CPU_SETS; s++)
		if (by_set[s] == k)
			return cpu_can((enum cpu_set)s);
	return false;
}

/* A load that spreads one float over a vector is cheaper than making the bits of a scale. */
#define SCALE(e) ((e) < 64 ? 0x1p-127f : (e) < 128 ? 0x1p-63f : (e) < 192 ? 0x1p1f : 0x1p65f) * (float)(1ull << (e) % 64)
#define FOUR(e) SCALE(e), SCALE(e + 1), SCALE(e + 2), SCALE(e + 3)
#define SIXTEEN(e) FOUR(e), FOUR(e + 4), FOUR(e + 8), FOUR(e + 12)
#define SIXTY_FOUR(e) SIXTEEN(e), SIXTEEN(e + 16), SIXTEEN(e + 32), SIXTEEN(e + 48)
const float kernel_scales[256] = { SIXTY_FOUR(0), SIXTY_FOUR(64), SIXTY_FOUR(128), SIXTY_FOUR(192) };

/* Few scales are in use at a time, so that their rows are near; a load is cheaper than a multiplication. */
#define HALF_ROW(s) 0.0f * (s), 0.5f * (s), 1.0f * (s), 1.5f * (s), 2.0f * (s), 3.0f * (s), 4.0f * (s), 6.0f * (s)
#define ROW(e) { HALF_ROW(SCALE(e)), HALF_ROW(-(SCALE(e))) }
#define FOUR_ROWS(e) ROW(e), ROW(e + 1), ROW(e + 2), ROW(e + 3)
#define SIXTEEN_ROWS(e) FOUR_ROWS(e), FOUR_ROWS(e + 4), FOUR_ROWS(e + 8), FOUR_ROWS(e + 12)
#define SIXTY_FOUR_ROWS(e) SIXTEEN_ROWS(e), SIXTEEN_ROWS(e + 16), SIXTEEN_ROWS(e + 32), SIXTEEN_ROWS(e + 48)
_Alignas(64) const float kernel_mxfp4[256][16] = { SIXTY_FOUR_ROWS(0), SIXTY_FOUR_ROWS(64), SIXTY_FOUR_ROWS(128),
						   SIXTY_FOUR_ROWS(192) };

const struct kernels *kernels(void)
{
	return by_set[cpu_set()];
}

enum status kernels_init(struct err *e)
{
	return cpu_choose(e);
}

const char *kernels_name(void)
{
	return kernels()->name;
}
