/* SPDX-License-Identifier: MIT
 *
 * tool_imatrix.c - prints an importance matrix in the GGUF form as it is in the file, a line a matrix:
 * tensor, matrix, count, sum over its columns, sum over columns of column number (from 1) times sum.
 * Built on the reader of GGUF headers alone.
 */
#include "format/format.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const struct err *e)
{
	fprintf(stderr, "%s\n", e->msg);
	return 1;
}

static int print_tensor(const struct file *f, const struct gguf_tensor *t, const struct gguf_tensor *counts)
{
	uint64_t cols = t->shape[1];
	float *v = malloc((size_t)t->bytes), count;
	struct err e;

	if (!v || file_read(f, v, (size_t)t->bytes, t->off, &e) != OK)
		return fail(&e);
	for (uint64_t m = 0; m < t->shape[0]; m++) {
		double sum = 0, weighted = 0;

		if (file_read(f, &count, sizeof count, counts->off + m * sizeof count, &e) != OK)
			return fail(&e);
		for (uint64_t c = 0; c < cols; c++) {
			sum += (double)v[m * cols + c];
			weighted += (double)v[m * cols + c] * (double)(c + 1);
		}
		printf("%.*s %d %.9g %.9g %.9g\n", (int)(t->name.n - strlen(".in_sum2")), t->name.p, (int)m,
		       (double)count, sum, weighted);
	}
	free(v);
	return 0;
}

int main(int argc, char **argv)
{
	struct file f = FILE_NONE;
	struct gguf g = { 0 };
	struct err e;

	if (argc != 2)
		return 2;
	if (file_open(&f, AT_FDCWD, argv[1], true, argv[1], &e) != OK || gguf_read(&g, &f, NULL, &e) != OK)
		return fail(&e);
	for (size_t i = 0; i + 1 < g.n_tensors; i += 2) {	/* sums, then their counts */
		const struct gguf_tensor *t = &g.tensors[i];

		if (t->n_dims != 2 || t->dtype != DT_F32 || g.tensors[i + 1].shape[0] != t->shape[0] ||
		    print_tensor(&f, t, &g.tensors[i + 1]) != 0)
			return 1;
	}
	gguf_close(&g);
	file_close(&f);
	return 0;
}
