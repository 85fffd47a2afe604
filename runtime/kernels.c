/* SPDX-License-Identifier: MIT
 *
 * kernels.c - which set of inner loops this processor runs; decided once.
 */
#include "runtime/kernels.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

static bool has_f16c(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

/* __builtin_cpu_supports also asks the system whether it saves the wide registers. */
bool kernels_usable(const struct kernels *k)
{
	bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();

	if (k == &kernels_avx512)
		return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
		       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
	return k == &kernels_scalar || avx2;
}

#define KERNEL_NAMES "avx512, avx2 or scalar"
const struct kernels *const kernels_all[] = { &kernels_avx512, &kernels_avx2, &kernels_scalar, NULL };
#else
bool kernels_usable(const struct kernels *k)
{
	(void)k;
	return true;
}

#if defined(__aarch64__)
#define KERNEL_NAMES "neon or scalar"
const struct kernels *const kernels_all[] = { &kernels_neon, &kernels_scalar, NULL };
#else
#define KERNEL_NAMES "scalar"
const struct kernels *const kernels_all[] = { &kernels_scalar, NULL };
#endif
#endif

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

/* Written once with what every thread would write, so that the order does not matter. */
static _Atomic(const struct kernels *) in_use;

const struct kernels *kernels(void)
{
	const struct kernels *k = atomic_load_explicit(&in_use, memory_order_relaxed);

	if (k)
		return k;
	for (size_t i = 0; !k; i++)
		if (kernels_usable(kernels_all[i]))
			k = kernels_all[i];
	atomic_store_explicit(&in_use, k, memory_order_relaxed);
	return k;
}

enum status kernels_init(struct err *e)
{
	const char *name = getenv("INGOT_KERNELS");

	if (!name || !*name)
		return OK;
	for (size_t i = 0; kernels_all[i]; i++) {
		if (strcmp(kernels_all[i]->name, name) != 0)
			continue;
		if (!kernels_usable(kernels_all[i]))
			return err_set(e, ERR_USAGE, "INGOT_KERNELS is '%s', which this processor cannot run; "
				       "leave it out to have the widest that it can", name);
		atomic_store_explicit(&in_use, kernels_all[i], memory_order_relaxed);
		return OK;
	}
	return err_set(e, ERR_USAGE, "INGOT_KERNELS is '%s', which this program does not have; it may be %s",
		       name, KERNEL_NAMES);
}

const char *kernels_name(void)
{
	return kernels()->name;
}
