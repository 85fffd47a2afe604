/* SPDX-License-Identifier: MIT
 *
 * cpu.h - which instruction set the inner loops use, of the codecs and of the runtime: chosen once for
 * all of them. Every set gives the same bits.
 */
#ifndef QUANTIZE_CPU_H
#define QUANTIZE_CPU_H

#include "format/base.h"

enum cpu_set { CPU_SCALAR, CPU_AVX2, CPU_AVX512, CPU_NEON, CPU_SETS };
const char *cpu_name(enum cpu_set s);	/* as in INGOT_KERNELS */
/* Whether this build has the set, and this processor and system can run it. */
bool cpu_built(enum cpu_set s);
bool cpu_can(enum cpu_set s);

/* Takes the set that the environment variable INGOT_KERNELS names, if there is one. Errors (ERR_USAGE):
 * a name that this build does not have, a set that this processor cannot run. */
enum status cpu_choose(struct err *e) MUST_USE;
/* The set in use: the chosen one, else the widest that can run. Any thread. */
enum cpu_set cpu_set(void);

#endif
