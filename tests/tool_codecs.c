/* SPDX-License-Identifier: MIT
 *
 * tool_codecs.c - how fast blocks are made of BF16 values, by type, effort and instruction set, beside
 * what memory allows in the same run: reading the values and writing as many bytes as the blocks take.
 *
 *   tool_codecs [THREADS]	default 1; 4 MiB of values a thread and pass
 *
 * The whole way of transfer(): decode, find what is not finite, encode. Each figure is the best of
 * several passes. Passes or fails nothing.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quantize/cpu.h"
#include "quantize/floats.h"
#include "quantize/quantize.h"

enum { MOST_THREADS = 64, PIECE = 4096 };
static const size_t N = 1 << 21;

struct task {
	enum dtype type;
	enum effort effort;
	size_t n, out_bytes;
	uint8_t *values, *out;
	float *scratch;
	uint64_t sum;
};

static unsigned n_threads = 1;

static double run(struct task *t, void *(*f)(void *), int passes)
{
	pthread_t id[MOST_THREADS];
	double best = 1e9;

	for (int pass = 0; pass < passes; pass++) {
		double took = -clock_seconds();

		for (unsigned i = 0; i < n_threads; i++)
			if (pthread_create(&id[i], NULL, f, &t[i]))
				exit(1);
		for (unsigned i = 0; i < n_threads; i++)
			pthread_join(id[i], NULL);
		took += clock_seconds();
		best = took < best ? took : best;
	}
	return best;
}

static void *convert(void *arg)
{
	struct task *t = arg;
	const struct dtype_info *info = dtype_info(t->type);

	for (size_t i = 0; i < t->n; i += PIECE) {
		codec_decode(DT_BF16, t->values + 2 * i, PIECE, t->scratch);
		if (codec_first_not_finite(t->scratch, PIECE) < PIECE)
			exit(1);
		codec_encode(t->type, t->scratch, NULL, PIECE, t->effort, t->out + i / info->block * info->bytes);
	}
	return NULL;
}

/* The traffic alone: all values read, as many bytes written as there would be. */
static void *move(void *arg)
{
	struct task *t = arg;
	const uint64_t *v = (const uint64_t *)(const void *)t->values;
	uint64_t s[4] = { 0 };

	for (size_t i = 0; i < t->n / 4; i += 4)
		for (size_t k = 0; k < 4; k++)
			s[k] ^= v[i + k];
	t->sum = s[0] ^ s[1] ^ s[2] ^ s[3];
	memset(t->out, (int)(t->sum & 255), t->out_bytes);
	return NULL;
}

static void fill(struct task *t)
{
	uint32_t seed = 1;

	t->values = malloc(2 * N);
	t->out = malloc(4 * N);
	t->scratch = malloc(PIECE * sizeof *t->scratch);
	if (!t->values || !t->out || !t->scratch)
		exit(1);
	memset(t->out, 0, 4 * N);
	for (size_t i = 0; i < N; i++) {
		float sum = -2;

		for (int k = 0; k < 4; k++)	/* about normal */
			sum += (float)((seed = seed * 1664525u + 1013904223u) >> 16) * 0x1p-16f;
		store_le(t->values + 2 * i, 2, f32_to_bf16(0.03f * sum));
	}
}

static void measure(struct task *t, enum dtype type, enum effort effort)
{
	const struct dtype_info *info = dtype_info(type);
	size_t n = effort == EFFORT_BEST || cpu_set() == CPU_SCALAR ? N / 16 : N;
	double took, bytes = 2.0 * (double)N + (double)(N / info->block * info->bytes);

	for (unsigned i = 0; i < n_threads; i++) {
		t[i].type = type, t[i].effort = effort, t[i].n = n;
		t[i].out_bytes = N / info->block * info->bytes;
	}
	took = run(t, convert, 3);
	printf("%-7s %-7s %-5s %8.1f M values/s %7.2f GB/s of BF16, %6.2f GB/s in and out\n", cpu_name(cpu_set()), info->name,
	       effort == EFFORT_BEST ? "best" : "fast", 1e-6 * n_threads * (double)n / took,
	       2e-9 * n_threads * (double)n / took, 1e-9 * n_threads * bytes * ((double)n / (double)N) / took);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static const enum dtype types[] = { DT_Q8_0, DT_Q4_0, DT_Q4_1, DT_MXFP4, DT_NVFP4, DT_IQ4_NL, DT_IQ4_XS, DT_Q4_K,
					    DT_Q5_K, DT_Q6_K };
	static struct task t[MOST_THREADS];
	struct err e;

	n_threads = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1;
	n_threads = n_threads < 1 ? 1 : n_threads > MOST_THREADS ? MOST_THREADS : n_threads;
	for (unsigned i = 0; i < n_threads; i++) {
		fill(&t[i]);
		t[i].n = N, t[i].out_bytes = N / 32 * 34;
	}
	printf("%u threads; Q8_0's traffic alone: %.2f GB/s\n", n_threads,
	       1e-9 * n_threads * (2.0 * (double)N + (double)t[0].out_bytes) / run(t, move, 5));
	for (int s = 0; s < CPU_SETS; s++) {
		if (!cpu_built((enum cpu_set)s) || !cpu_can((enum cpu_set)s))
			continue;
		setenv("INGOT_KERNELS", cpu_name((enum cpu_set)s), 1);
		if (cpu_choose(&e) != OK)
			return 1;
		for (size_t i = 0; i < sizeof types / sizeof *types; i++)
			for (int effort = EFFORT_FAST; effort <= EFFORT_BEST; effort++)
				measure(t, types[i], (enum effort)effort);
	}
	return 0;
}
