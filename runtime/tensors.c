/* SPDX-License-Identifier: MIT
 *
 * tensors.c - a model as a list of tensors with values, for those who look at numbers and not at what
 * they are for: a GGUF by its own table, whatever it calls its architecture, a checkpoint by the table of
 * names. Values are not checked: what is damaged is shown, not refused.
 */
#include "runtime/compare.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "quantize/floats.h"

static bool is_integer(enum dtype t)
{
	return t == DT_I8 || t == DT_I16 || t == DT_I32 || t == DT_I64;
}

bool tensor_readable(const struct tensor *t)
{
	return !t->gguf || codec_can_decode(t->blocks) || is_integer(t->blocks);
}

static struct tensor from_gguf(const struct gguf_tensor *g)
{
	struct tensor t = { .name = g->name, .type = dtype_info(g->dtype)->name, .blocks = g->dtype,
			    .n_matrices = 1, .rows = 1, .cols = g->n_dims ? g->shape[g->n_dims - 1] : 1,
			    .bytes = g->bytes, .gguf = g };

	if (g->n_dims > 1)
		t.rows = g->shape[g->n_dims - 2];
	for (unsigned d = 0; d + 2 < g->n_dims; d++)
		t.n_matrices *= g->shape[d];	/* gguf_read: all of them fit */
	return t;
}

static enum status list_gguf(struct tensors *l, struct log *notes, struct err *e)
{
	enum status st;

	l->is_gguf = true;
	TRY(gguf_set_open(&l->set, l->path, notes, e));
	l->v = mem_new(l->set.gguf.n_tensors, sizeof *l->v, "a list of tensors", e);
	if (!l->v)
		return e->status;
	for (; l->n < l->set.gguf.n_tensors; l->n++)
		l->v[l->n] = from_gguf(&l->set.gguf.tensors[l->n]);
out:
	return st;
}

/* Bytes of weights and scales of every matrix, and what they are stored as. */
static enum status measure_source(struct tensor *t, const struct model *m, struct err *e)
{
	struct log problems = { 0 };
	struct source_matrix s;
	bool found = true;
	uint64_t b0, b1;

	t->bytes = 0;
	for (uint64_t k = 0; k < t->n_matrices && found; k++)
		for (unsigned part = 0; part < t->weight->parts && found; part++) {
			source_bind(&s, &found, &m->ckpt, &m->arch, t->weight->want, k, part, &problems);
			if (!found)
				break;
			source_weight_range(&s.l, 0, s.l.rows * s.l.cols, &b0, &b1);
			t->bytes += b1;
			if (s.scale)
				t->bytes += u64_div_up(s.l.rows, s.l.block_rows) * s.l.scale_cols *
					    dtype_info(s.l.scale_type)->bytes;
			t->type = s.l.kind == SOURCE_FP4 ? "FP4" : s.l.kind == SOURCE_FP8 ? "FP8"
							 : dtype_info(s.l.type)->name;
		}
	log_close(&problems);
	return found ? OK : err_set(e, ERR_FORMAT, "%s: a matrix is missing (tensor %s); verify the download",
				    m->path, t->weight->want->name);
}

static enum status list_checkpoint(struct tensors *l, enum model_part part, const struct source_options *source, struct log *notes,
				   struct err *e)
{
	struct model *m = &l->model;
	enum status st;

	TRY(model_open_part(m, l->path, part, source, notes, e));
	l->v = mem_new(m->wants.n, sizeof *l->v, "a list of tensors", e);
	if (!l->v)
		return e->status;
	for (; l->n < m->wants.n; l->n++) {
		const struct weight *w = &m->weights[l->n];

		l->v[l->n] = (struct tensor){ .name = { w->want->name, strlen(w->want->name) }, .weight = w,
					      .n_matrices = w->n_matrices, .rows = w->rows, .cols = w->cols };
		TRY(measure_source(&l->v[l->n], m, e));
	}
out:
	return st;
}

static int compare_names(struct str a, struct str b)
{
	int d = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);

	return d ? d : (a.n > b.n) - (a.n < b.n);
}

static int by_name(const void *a, const void *b)
{
	const struct tensor *const *x = a, *const *y = b;

	return compare_names((*x)->name, (*y)->name);
}

enum status tensors_open(struct tensors *l, const char *path, enum model_part part, const struct source_options *source,
			 struct log *notes, struct err *e)
{
	struct stat info;
	enum status st;

	*l = TENSORS_NONE;
	if (stat(path, &info) != 0)
		return err_errno(e, "%s: cannot open the model", path);
	l->path = mem_strdup(path, e);
	if (!l->path)
		return e->status;
	TRY(path_is_source(path) ? list_checkpoint(l, part, source, notes, e) : list_gguf(l, notes, e));
	l->by_name = mem_new(l->n, sizeof *l->by_name, "a list of tensors", e);
	if (!l->by_name) {
		st = e->status;
		goto out;
	}
	for (size_t i = 0; i < l->n; i++)
		l->by_name[i] = &l->v[i];
	qsort(l->by_name, l->n, sizeof *l->by_name, by_name);
out:
	if (st != OK)
		tensors_close(l);
	return st;
}

const struct tensor *tensors_find(const struct tensors *l, struct str name)
{
	size_t from = 0, to = l->n;

	while (from < to) {
		size_t mid = from + (to - from) / 2;
		int d = compare_names(name, l->by_name[mid]->name);

		if (d == 0)
			return l->by_name[mid];
		*(d < 0 ? &to : &from) = d < 0 ? mid : mid + 1;
	}
	return NULL;
}

bool tensors_are_mtp(const struct tensors *l)
{
	struct str arch;
	uint64_t n_mtp = 0;

	return l->is_gguf && gguf_str(&l->set.gguf, "general.architecture", &arch) && str_is(arch, "deepseek4") &&
	       gguf_u64(&l->set.gguf, "deepseek4.nextn_predict_layers", &n_mtp) && n_mtp &&
	       !tensors_find(l, STR("blk.0.attn_norm.weight"));
}

void tensors_close(struct tensors *l)
{
	free(l->v);
	free(l->by_name);
	gguf_set_close(&l->set);
	model_close(&l->model);
	free(l->path);
	*l = TENSORS_NONE;
}

/* ---- values ---- */

void tensor_scratch_close(struct tensor_scratch *s)
{
	weight_scratch_close(&s->weight);
	free(s->raw);
	*s = (struct tensor_scratch){ 0 };
}

static enum status not_exact(const struct tensors *l, const struct tensor *t, int64_t v, struct err *e)
{
	return err_set(e, ERR_UNSUPPORTED, "%s: the integer %lld is compared as a float32, which does not hold it "
		       "(tensor %.*s); leave the tensor out with --tensors", l->path, (long long)v,
		       (int)t->name.n, t->name.p);
}

/* Signed little-endian integers as float32; one that is not held exactly is an error. */
static enum status integers(const struct tensors *l, const struct tensor *t, const uint8_t *raw, uint64_t n,
			    float *out, struct err *e)
{
	unsigned width = dtype_info(t->blocks)->bytes, shift = 64 - 8 * width;

	for (uint64_t i = 0; i < n; i++) {
		int64_t v = (int64_t)(load_le(raw + i * width, width) << shift) >> shift;

		out[i] = (float)v;
		if (v < -(1 << 24) || v > 1 << 24)
			return not_exact(l, t, v, e);
	}
	return OK;
}

static enum status gguf_values(const struct tensors *l, const struct tensor *t, uint64_t row, uint64_t n_rows,
			       float *out, const uint8_t **blocks, struct tensor_scratch *s, struct err *e)
{
	uint64_t at, bytes, n = n_rows * t->cols;
	void *p = s->raw;
	enum status st;

	if (!dtype_bytes(t->blocks, row, t->cols, &at) || !dtype_bytes(t->blocks, n_rows, t->cols, &bytes) ||
	    at > t->bytes || bytes > t->bytes - at)
		return err_set(e, ERR_FORMAT, "%s: rows are no whole blocks of %s (tensor %.*s)", l->path, t->type,
			       (int)t->name.n, t->name.p);
	TRY(mem_grow(&p, &s->cap, (size_t)bytes, 1, "rows of a tensor", e));
	s->raw = p;
	TRY(file_read(&l->set.files[t->gguf->file], s->raw, (size_t)bytes, t->gguf->off + at, e));
	if (is_integer(t->blocks))
		return integers(l, t, s->raw, n, out, e);
	codec_decode(t->blocks, s->raw, (size_t)n, out);
	*blocks = s->raw;
out:
	return st;
}

static enum status id_values(const struct tensor *t, uint64_t r0, uint64_t r1, float *out,
			     struct tensor_scratch *s, struct err *e)
{
	void *p = s->raw;
	uint32_t *ids;
	enum status st;

	TRY(mem_grow(&p, &s->cap, (size_t)t->cols * sizeof *ids, 1, "rows of a tensor", e));
	s->raw = p;
	ids = p;
	for (uint64_t r = r0; r < r1; r++) {
		TRY(weight_ids(t->weight, r, ids, &s->weight, e));
		for (uint64_t c = 0; c < t->cols; c++)
			*out++ = (float)ids[c];
	}
out:
	return st;
}

enum status tensor_values(const struct tensors *l, const struct tensor *t, uint64_t matrix, uint64_t r0,
			  uint64_t r1, float *out, const uint8_t **blocks, struct tensor_scratch *s,
			  struct err *e)
{
	*blocks = NULL;
	if (t->gguf)
		return gguf_values(l, t, matrix * t->rows + r0, r1 - r0, out, blocks, s, e);
	if (role_class(t->weight->want->role) == CLASS_IDS)
		return id_values(t, r0, r1, out, s, e);
	return weight_values(t->weight, matrix, r0, r1, out, &s->weight, e);
}
