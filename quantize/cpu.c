/* SPDX-License-Identifier: MIT
 *
 * cpu.c - which instruction set the inner loops use: see cpu.h.
 */
#include "quantize/cpu.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

static const char *const names[CPU_SETS] = {
	[CPU_SCALAR] = "scalar", [CPU_AVX2] = "avx2", [CPU_AVX512] = "avx512", [CPU_NEON] = "neon",
};

const char *cpu_name(enum cpu_set s)
{
	return names[s];
}

#if defined(__x86_64__)
#define BUILT "avx512, avx2 or scalar"
bool cpu_built(enum cpu_set s)
{
	return s != CPU_NEON;
}

static bool has_f16c(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

/* __builtin_cpu_supports also asks the system whether it saves the wide registers. */
bool cpu_can(enum cpu_set s)
{
	bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();

	if (s == CPU_AVX512)
		return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
		       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
	return s == CPU_SCALAR || (s == CPU_AVX2 && avx2);
}
#else
#if defined(__aarch64__)
#define BUILT "neon or scalar"
#else
#define BUILT "scalar"
#endif
bool cpu_built(enum cpu_set s)
{
	return s == CPU_SCALAR || (s == CPU_NEON && BUILT[0] == 'n');
}

bool cpu_can(enum cpu_set s)
{
	return cpu_built(s);
}
#endif

/* One more than the set; written with what every thread would write, so that the order does not matter. */
static _Atomic int in_use;

enum cpu_set cpu_set(void)
{
	static const enum cpu_set widest_first[] = { CPU_AVX512, CPU_AVX2, CPU_NEON };
	int known = atomic_load_explicit(&in_use, memory_order_relaxed);
	enum cpu_set s = CPU_SCALAR;

	if (known)
		return (enum cpu_set)(known - 1);
	for (size_t i = sizeof widest_first / sizeof *widest_first; i-- > 0;)
		if (cpu_can(widest_first[i]))
			s = widest_first[i];
	atomic_store_explicit(&in_use, (int)s + 1, memory_order_relaxed);
	return s;
}

enum status cpu_choose(struct err *e)
{
	const char *name = getenv("INGOT_KERNELS");

	if (!name || !*name)
		return OK;
	for (int s = 0; s < CPU_SETS; s++) {
		if (!cpu_built((enum cpu_set)s) || strcmp(names[s], name) != 0)
			continue;
		if (!cpu_can((enum cpu_set)s))
			return err_set(e, ERR_USAGE, "INGOT_KERNELS is '%s', which this processor cannot run; "
				       "leave it out to have the widest that it can", name);
		atomic_store_explicit(&in_use, s + 1, memory_order_relaxed);
		return OK;
	}
	return err_set(e, ERR_USAGE, "INGOT_KERNELS is '%s', which this program does not have; it may be %s",
		       name, BUILT);
}
