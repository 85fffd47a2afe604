/* SPDX-License-Identifier: MIT
 *
 * imatrix_write.c - writes importance matrices in the GGUF form (imatrix.c), one matrix after the
 * other, so that memory is one row of sums and the counts.
 */
#include "format/imatrix.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 32 };

static uint64_t put_part(struct gguf_writer *w, const char *name, const char *part, uint64_t n, uint64_t cols)
{
	const uint64_t shape[2] = { n, cols };
	char full[GGUF_MAX_NAME + 2];	/* one byte more than a name may have: too long stays too long */

	snprintf(full, sizeof full, "%s.%s", name, part);
	return gguf_put_tensor(w, full, DT_F32, 2, shape);
}

static void put_header(struct gguf_writer *g, struct imatrix_writer *w)
{
	const struct imatrix_head *h = w->h;

	gguf_put_str(g, "general.type", STR("imatrix"));
	gguf_put_strings(g, "imatrix.datasets", 1);
	gguf_put_item(g, h->dataset);
	gguf_put_u32(g, "imatrix.chunk_count", h->n_chunks);
	gguf_put_u32(g, "imatrix.chunk_size", h->chunk_tokens);
	gguf_put_str(g, "imatrix.tool", STR("ingot " INGOT_VERSION));
	gguf_put_str(g, "imatrix.text_sha256", h->text_sha256);
	for (size_t i = 0; i < h->n_tensors; i++) {
		const struct imatrix_tensor *t = &h->tensors[i];

		w->off[2 * i] = put_part(g, t->name, "in_sum2", t->n_matrices, t->cols);
		w->off[2 * i + 1] = put_part(g, t->name, "counts", t->n_matrices, 1);
	}
}

/* Sums and counts of tensor i. */
static enum status write_tensor(struct imatrix_writer *w, size_t i, float *sums, float *counts, struct err *e)
{
	const struct imatrix_tensor *t = &w->h->tensors[i];
	uint64_t at = w->data_off + w->off[2 * i], row = t->cols * sizeof *sums;
	enum status st = OK;

	for (uint64_t k = 0; k < t->n_matrices; k++) {
		TRY(w->h->matrix(w->h->ctx, i, k, sums, &counts[k], e));
		for (uint64_t c = 0; c < t->cols; c++)
			if (!isfinite(sums[c]))
				return err_set(e, ERR_UNSUPPORTED, "%s: the sums of squared inputs left the range of "
					       "float32 (tensor %s, matrix %llu, column %llu)", w->out.path, t->name,
					       (unsigned long long)k, (unsigned long long)c);
		TRY(output_write(&w->out, sums, (size_t)row, at + k * row, e));
	}
	st = output_write(&w->out, counts, (size_t)t->n_matrices * sizeof *counts, w->data_off + w->off[2 * i + 1], e);
out:
	return st;
}

static enum status write_data(struct imatrix_writer *w, struct err *e)
{
	uint64_t cols = 1, n = 1;
	float *sums, *counts;
	enum status st = OK;

	for (size_t i = 0; i < w->h->n_tensors; i++) {
		cols = cols > w->h->tensors[i].cols ? cols : w->h->tensors[i].cols;
		n = n > w->h->tensors[i].n_matrices ? n : w->h->tensors[i].n_matrices;
	}
	sums = mem_new((size_t)cols, sizeof *sums, "a row of sums", e);
	counts = mem_new((size_t)n, sizeof *counts, "counts of tokens", e);
	if (!sums || !counts)
		st = e->status;
	for (size_t i = 0; i < w->h->n_tensors && st == OK; i++)
		st = write_tensor(w, i, sums, counts, e);
	free(sums);
	free(counts);
	return st;
}

enum status imatrix_begin(struct imatrix_writer *w, const char *path, bool force, const struct imatrix_head *h,
			  struct err *e)
{
	struct gguf_writer g;
	enum status st;

	*w = IMATRIX_WRITER_NONE;
	w->h = h;
	gguf_writer_open(&g, ALIGNMENT);
	if (!(w->off = mem_new(2 * h->n_tensors, sizeof *w->off, "places of tensors", e))) {
		st = e->status;
		goto out;
	}
	put_header(&g, w);
	TRY(gguf_writer_finish(&g, &w->size, e));
	w->data_off = g.len;
	TRY(output_open(&w->out, path, w->size, force, LEFTOVER_REPLACE, e));
	TRY(output_write(&w->out, g.buf, g.len, 0, e));
out:
	gguf_writer_close(&g);
	if (st != OK)
		imatrix_abandon(w);
	return st;
}

enum status imatrix_end(struct imatrix_writer *w, struct err *e)
{
	enum status st = write_data(w, e);

	if (st == OK)
		st = output_commit(&w->out, e);
	imatrix_abandon(w);
	return st;
}

void imatrix_abandon(struct imatrix_writer *w)
{
	output_abandon(&w->out);
	free(w->off);
	*w = IMATRIX_WRITER_NONE;
}
