/* SPDX-License-Identifier: MIT
 *
 * tool_kernels.c - how fast each set of inner loops is, beside two ceilings of the same machine
 * measured in the same run: fused multiply-adds in registers, and reading memory.
 *
 *   tool_kernels [THREADS]	products at a V4-Flash expert's width (4096); default 1
 *
 * Each figure is the best of several passes. Passes or fails nothing.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "runtime/kernels.h"


enum { COLS = 4096, ROWS = 2048, MOST_TOKENS = 192, MOST_THREADS = 64, PASSES = 4 };

static unsigned n_threads = 1;

static double now(void)
{
	struct timespec t;

	clock_gettime(n_threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- one job in every thread ---- */

struct task {
	const struct kernels *k;
	enum dtype type;
	size_t tokens, passes;
	uint8_t *rows;			/* several matrices, so that they come from memory */
	size_t matrix_bytes, n_matrices;
	float *x, *y, *room, *packed;
	double work;
};

static double run_threads(struct task *t, void *(*f)(void *))
{
	pthread_t id[MOST_THREADS];
	double best = 1e9;

	for (int pass = 0; pass < PASSES; pass++) {
		double from = now(), took;

		for (unsigned i = 0; i < n_threads; i++)
			if (pthread_create(&id[i], NULL, f, &t[i]))
				exit(1);
		for (unsigned i = 0; i < n_threads; i++)
			pthread_join(id[i], NULL);
		took = now() - from;
		best = took < best ? took : best;
	}
	return best;
}

static void *multiply(void *arg)
{
	struct task *t = arg;

	for (size_t pass = 0; pass < t->passes; pass++)
		for (size_t r = 0; r < ROWS; r += product_rows(COLS)) {
			size_t row_bytes = t->matrix_bytes / ROWS;
			struct raw_product p = { .type = t->type, .n_rows = product_rows(COLS), .cols = COLS,
					     .rows = t->rows + pass % t->n_matrices * t->matrix_bytes + r * row_bytes,
					     .x = t->x, .n = t->tokens, .x_stride = COLS, .y = t->y + r, .y_stride = ROWS };

			if (product_packs(t->k, p.type, ROWS, p.n))
				p.packed = t->packed;
			for (size_t g = 0; p.packed && r == 0 && g < product_groups(t->k, p.n); g++)
				product_pack(t->k, &p, g, t->packed);
			product_by(t->k, &p, t->room);
		}
	return NULL;
}

static void *sum_words(void *arg)
{
	struct task *t = arg;
	const uint64_t *p = (const uint64_t *)(void *)t->rows;
	size_t n = t->matrix_bytes * t->n_matrices / 8;
	uint64_t s[8] = { 0 };

	for (size_t i = 0; i + 8 <= n; i += 8)
		for (int k = 0; k < 8; k++)
			s[k] ^= p[i + (size_t)k];
	t->work += (double)(s[0] ^ s[1] ^ s[2] ^ s[3] ^ s[4] ^ s[5] ^ s[6] ^ s[7]);
	return NULL;
}

/* A tile whose operands are in the first-level cache: as near to registers alone as this needs. */
static void *peak(void *arg)
{
	struct task *t = arg;
	struct tile s = { .n_x = t->k->tokens, .cols = 256, .acc = t->room, .first = true };

	for (size_t i = 0; i < TILE_ROWS; i++)
		s.w[i] = t->x + i * s.cols;
	for (size_t i = 0; i < s.n_x; i++)
		s.x[i] = t->x + (TILE_ROWS + i) * s.cols;
	for (size_t i = 0; i < t->passes; i++)
		t->k->tile(&s);
	return NULL;
}

/* ---- the table ---- */

/* Small exponents in any type; of DT_E4M3_128 normal numbers of both signs, and scales that rows share. */
static void fill_rows(struct task *t, enum dtype type)
{
	size_t n = t->matrix_bytes * t->n_matrices;
	uint32_t s = 1;

	for (size_t i = 0; i < n; i++) {
		s = s * 1664525 + 1013904223;
		t->rows[i] = (uint8_t)(type == DT_E4M3_128 ? (s >> 24) % 0xBF | 0x20 : s >> 27);
	}
	for (size_t i = E4M3_BLOCK; type == DT_E4M3_128 && i < n; i += E4M3_BYTES)
		t->rows[i] = 235;
}

static void fill(struct task *t, size_t matrix_bytes, size_t n_matrices)
{
	uint32_t s = 1;

	t->matrix_bytes = matrix_bytes;
	t->n_matrices = n_matrices;
	t->rows = malloc(matrix_bytes * n_matrices);
	t->x = malloc((size_t)MOST_TOKENS * COLS * sizeof(float));
	t->y = malloc((size_t)MOST_TOKENS * ROWS * sizeof(float));
	t->packed = aligned_alloc(64, (size_t)MOST_TOKENS * COLS * sizeof(float));
	t->room = malloc(product_room(COLS) * sizeof(float));
	if (!t->rows || !t->x || !t->y || !t->room || !t->packed)
		exit(1);
	fill_rows(t, DT_F32);
	for (size_t i = 0; i < (size_t)MOST_TOKENS * COLS; i++)
		t->x[i] = (float)(int32_t)(s = s * 1664525 + 1013904223) * 0x1p-31f;
}

static void show(struct task *t, const struct kernels *k)
{
	static const enum dtype types[] = { DT_MXFP4, DT_Q8_0, DT_E4M3_128, DT_BF16, DT_F32 };
	static const size_t tokens[] = { 1, 2, 4, 6, 12, 24, 192 };
	uint64_t bytes = 0;

	for (unsigned i = 0; i < n_threads; i++)
		t[i].k = k, t[i].passes = 20000;
	printf("%-7s tile in the first-level cache %6.1f GMAC/s\n", k->name, 1e-9 * n_threads * 20000 * TILE_ROWS *
	       k->tokens * 256 / run_threads(t, peak));
	for (size_t j = 0; j < sizeof types / sizeof *types; j++)
		for (size_t m = 0; m < sizeof tokens / sizeof *tokens; m++) {
			size_t size = t[0].matrix_bytes * t[0].n_matrices, passes;
			double took;

			if (!dtype_bytes(types[j], ROWS, COLS, &bytes))
				return;
			passes = tokens[m] > 24 ? 1 : tokens[m] > 4 ? 4 : size / bytes;
			for (unsigned i = 0; i < n_threads; i++) {
				t[i].type = types[j], t[i].tokens = tokens[m], t[i].passes = passes;
				t[i].matrix_bytes = bytes, t[i].n_matrices = size / bytes;
				if (m == 0)
					fill_rows(&t[i], types[j]);
			}
			took = run_threads(t, multiply);
			printf("%-7s %-8s %3zu tokens %7.1f GMAC/s %7.2f GB/s of weights\n", k->name,
			       dtype_info(types[j])->name, tokens[m],
			       1e-9 * n_threads * (double)passes * ROWS * COLS * (double)tokens[m] / took,
			       1e-9 * n_threads * (double)passes * (double)bytes / took);
		}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static struct task t[MOST_THREADS];

	n_threads = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1;
	n_threads = n_threads < 1 ? 1 : n_threads > MOST_THREADS ? MOST_THREADS : n_threads;
	for (unsigned i = 0; i < n_threads; i++)
		fill(&t[i], (size_t)ROWS * COLS * 4, 4);
	printf("%u threads; memory read %.2f GB/s\n", n_threads, 1e-9 * n_threads *
	       (double)(t[0].matrix_bytes * t[0].n_matrices) / run_threads(t, sum_words));
	for (size_t i = 0; kernels_all[i]; i++)
		if (kernels_usable(kernels_all[i]) && kernels_all[i] != &kernels_scalar)
			show(t, kernels_all[i]);
	return 0;
}
