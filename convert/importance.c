/* SPDX-License-Identifier: MIT
 *
 * importance.c - an importance matrix on its way into a conversion: whether it is of this model, which
 * tensors it speaks of, and what the output's metadata says of it.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "convert/plan.h"
#include "format/imatrix.h"

enum status importance_open(struct importance *m, const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	struct digest d;
	struct file f = FILE_NONE;
	enum status st;

	*m = (struct importance){ .name = slash ? slash + 1 : path };
	TRY(file_open(&f, AT_FDCWD, path, true, path, e));
	TRY(digest_file(&f, DIGEST_SHA256, &d, NULL, e));
	TRY(imatrix_open(&m->matrix, path, e));
	TRY(file_unchanged(&f, e));
	memcpy(m->sha256, d.bytes, SHA256_BYTES);
out:
	file_close(&f);
	if (st != OK)
		importance_close(m);
	return st;
}

void importance_close(struct importance *m)
{
	imatrix_close(m->matrix);
	*m = (struct importance){ 0 };
}

enum status importance_read(const struct importance *m, const struct plan_tensor *t, uint64_t matrix,
			    float *weights, bool *found, struct err *e)
{
	const struct want *w = &t->want;
	uint64_t n = w->n_dims > 2 ? w->shape[0] : 1;

	return imatrix_read(m->matrix, w->name, matrix, n, w->shape[w->n_dims - 1], weights, found, e);
}

/* Tensors that will be encoded with loss and those of them that the matrix knows. */
struct tally { size_t n, n_found; const char *first_missing; };

static enum status mark(struct plan *p, struct plan_output *out, float *scratch, struct tally *y, struct err *e)
{
	for (size_t i = 0; i < out->n_tensors; i++) {
		struct plan_tensor *t = &out->tensors[i];

		t->weighted = false;
		if (!t->encoded)
			continue;
		if (importance_read(p->importance, t, 0, scratch, &t->weighted, e) != OK)
			return e->status;
		y->n++;
		y->n_found += t->weighted;
		if (!t->weighted && !y->first_missing)
			y->first_missing = t->want.name;
	}
	return OK;
}

enum status plan_importance(struct plan *p, struct log *notes, struct err *e)
{
	struct tally y = { 0 };
	float *scratch;
	enum status st = OK;

	for (size_t o = 0; o < p->n_outputs; o++)
		for (size_t i = 0; i < p->out[o].n_tensors; i++) {
			const struct want *w = &p->out[o].tensors[i].want;
			uint64_t cols = w->shape[w->n_dims - 1];

			p->max_cols = cols > p->max_cols ? cols : p->max_cols;
		}
	scratch = mem_new((size_t)p->max_cols, sizeof *scratch, "importance of columns", e);
	if (!scratch)
		return e->status;
	for (size_t o = 0; o < p->n_outputs && st == OK; o++)
		st = mark(p, &p->out[o], scratch, &y, e);
	free(scratch);
	if (st != OK)
		return st;
	if (y.n == 0)
		log_add(notes, "%s: no tensor is encoded anew, so nothing asks for the importance matrix",
			p->importance->name);
	else if (y.n_found == 0)
		return err_set(e, ERR_MISMATCH, "%s: has no entry for any of the %zu tensors that are encoded (%s is the "
			       "first): it was made for another model; make one with `ingot calibrate`",
			       p->importance->name, y.n, y.first_missing);
	else if (y.n_found < y.n)
		log_add(notes, "%s: has no entry for %zu of the %zu tensors that are encoded (%s is the first); their "
			"columns count alike", p->importance->name, y.n - y.n_found, y.n, y.first_missing);
	return OK;
}

static struct str z(const char *s)
{
	return (struct str){ s, strlen(s) };
}

void importance_metadata(const struct importance *m, struct gguf_writer *w)
{
	struct imatrix_info info = imatrix_info(m->matrix);

	gguf_put_str(w, "quantize.imatrix.file", z(m->name));
	if (info.dataset.n)
		gguf_put_str(w, "quantize.imatrix.dataset", info.dataset);
	gguf_put_u32(w, "quantize.imatrix.entries_count", (uint32_t)info.n_tensors);
	if (info.n_chunks && info.n_chunks <= UINT32_MAX)
		gguf_put_u32(w, "quantize.imatrix.chunks_count", (uint32_t)info.n_chunks);
}
