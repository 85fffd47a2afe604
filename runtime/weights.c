/* SPDX-License-Identifier: MIT
 *
 * weights.c - rows of one tensor, as blocks or float32, from a GGUF or from a checkpoint.
 *
 * Invariant: values are exact and finite; what a row gives does not depend on where it came from
 * beyond the numbers stored there. Reading is by pread into the caller's scratch, so any number
 * of threads may read one weight.
 */
#include "runtime/runtime.h"

#include <stdlib.h>
#include <string.h>

static enum status misfit(const struct want *w, const struct gguf_tensor *t, struct err *e)
{
	return err_set(e, ERR_FORMAT, "the shape of the tensor is not what the metadata demands (tensor %s, "
		       "%u dimensions, %llu in the fastest); it is not a deepseek4 file or it is damaged",
		       w->name, t->n_dims, (unsigned long long)t->shape[t->n_dims - 1]);
}

/* The tensor's dimensions against the want's; those of ggml that are 1, and a matrix seen as
 * groups of rows, are the same bytes. */
static enum status check_gguf(const struct weight *w, struct err *e)
{
	const struct gguf_tensor *t = w->tensor;
	const struct want *want = w->want;
	uint64_t rows = 1, want_rows = w->rows;
	enum role_class class = role_class(want->role);

	for (unsigned d = 0; d + 1 < t->n_dims; d++)
		if (!u64_mul(rows, t->shape[d], &rows))
			return misfit(want, t, e);
	if (!u64_mul(want_rows, w->n_matrices, &want_rows) || t->n_dims == 0 ||
	    t->shape[t->n_dims - 1] != w->cols || rows != want_rows ||
	    (class == CLASS_EXPERTS && t->n_dims != 3))
		return misfit(want, t, e);
	if (class == CLASS_IDS ? t->dtype != DT_I32 : !codec_can_decode(t->dtype))
		return err_set(e, ERR_UNSUPPORTED, "type %s cannot be read here (tensor %s)",
			       dtype_info(t->dtype)->name, want->name);
	return OK;
}

enum status weight_bind(struct weight *w, const struct model *m, enum role role, uint32_t layer,
			struct err *e)
{
	const struct want *want = wants_find(&m->wants, role, layer);
	unsigned first;

	if (!want)
		return err_set(e, ERR_FORMAT, "%s: no such tensor in this architecture (role %d, layer %u)",
			       m->path, (int)role, layer);
	first = role_class(role) == CLASS_EXPERTS ? 1 : 0;
	*w = (struct weight){ .model = m, .want = want, .n_matrices = first ? want->shape[0] : 1,
			      .rows = want->n_dims - first > 1 ? want->shape[first] : 1,
			      .cols = want->shape[want->n_dims - 1], .parts = want_parts(want) };
	if (!m->is_gguf)
		return OK;
	w->tensor = gguf_find_tensor(&m->gguf, want->name);
	if (!w->tensor)
		return err_set(e, ERR_FORMAT, "the tensor is missing (tensor %s)", want->name);
	return check_gguf(w, e);
}

static enum status room(uint8_t **p, size_t *cap, uint64_t want, struct err *e)
{
	void *q = *p;
	enum status st;

	if (want > SIZE_MAX)
		return err_set(e, ERR_NOMEM, "a row is too large");
	st = mem_grow(&q, cap, (size_t)want, 1, "rows of a weight", e);
	*p = q;
	return st;
}

static enum status not_finite(const struct weight *w, uint64_t matrix, uint64_t element, const char *what,
			      struct err *e)
{
	return err_set(e, ERR_FORMAT, "%s: %s (tensor %s, matrix %llu, row %llu, column %llu); the file is "
		       "damaged or was made from a damaged one, verify it", w->model->path, what,
		       w->want->name, (unsigned long long)matrix, (unsigned long long)(element / w->cols),
		       (unsigned long long)(element % w->cols));
}

static enum status gguf_rows(const struct weight *w, uint64_t row, uint64_t n_rows, struct rows *out,
			     struct weight_scratch *s, struct err *e)
{
	const struct gguf_tensor *t = w->tensor;
	uint64_t at, bytes;
	enum status st;

	if (!dtype_bytes(t->dtype, row, w->cols, &at) || !dtype_bytes(t->dtype, n_rows, w->cols, &bytes) ||
	    at > t->bytes || bytes > t->bytes - at)
		return err_set(e, ERR_FORMAT, "%s: rows are no whole blocks of %s (tensor %s)", w->model->path,
			       dtype_info(t->dtype)->name, w->want->name);
	TRY(room(&s->raw, &s->raw_cap, bytes, e));
	TRY(file_read(&w->model->file, s->raw, (size_t)bytes, t->off + at, e));
	*out = (struct rows){ t->dtype, s->raw };
	return OK;
out:
	return err_wrap(e, "tensor %s", w->want->name);
}

/* Reads the bytes of rows [r0, r1) of a bound source matrix and describes them as a run. */
static enum status source_rows(const struct weight *w, const struct source_matrix *m, uint64_t e0, uint64_t e1,
			       struct source_run *run, struct weight_scratch *s, struct err *e)
{
	const struct source_file *files = w->model->ckpt.files;
	uint64_t b0, b1, s0, s1, size;
	enum status st;

	source_weight_range(&m->l, e0, e1, &b0, &b1);
	source_scale_range(&m->l, e0, e1, &s0, &s1);
	TRY(room(&s->raw, &s->raw_cap, b1 - b0, e));
	TRY(file_read(&files[m->weight->shard].file, s->raw, (size_t)(b1 - b0),
		      m->weight->off + m->weight_off + b0, e));
	if (m->scale) {
		size = dtype_info(m->l.scale_type)->bytes;
		TRY(room(&s->scale, &s->scale_cap, (s1 - s0) * size, e));
		TRY(file_read(&files[m->scale->shard].file, s->scale, (size_t)((s1 - s0) * size),
			      m->scale->off + m->scale_off + s0 * size, e));
	}
	*run = (struct source_run){ .l = &m->l, .weight = s->raw, .scale = s->scale,
				    .e0 = e0, .e1 = e1, .s0 = s0 };
	return OK;
out:
	return err_wrap(e, "tensor %s", w->want->name);
}

static enum status bind_source(const struct weight *w, uint64_t matrix, unsigned part,
			       struct source_matrix *m, struct err *e)
{
	struct log problems = { 0 };
	bool found;

	source_bind(m, &found, &w->model->ckpt, &w->model->arch, w->want, matrix, part, &problems);
	if (!found)
		err_set(e, ERR_FORMAT, "%s: %s", w->model->path, problems.text ? problems.text : "no such tensor");
	log_close(&problems);
	return found ? OK : e->status;
}

/* The GGUF type that rows of this layout are given as, first choice. */
static enum dtype raw_type(const struct source_layout *l)
{
	if (l->kind == SOURCE_PLAIN)
		return l->type;
	if (l->kind == SOURCE_FP8)
		return DT_BF16;
	return transfer_is_exact(l, DT_MXFP4) ? DT_MXFP4 : DT_F32;
}

/* A run to s->made. FP8 that BF16 cannot hold goes to float32, as does FP4 in odd blocks. */
static struct fault make_rows(const struct source_run *run, enum dtype *type, uint8_t *made)
{
	struct fault fault = { FAULT_INEXACT, run->e0 };

	if (*type != DT_F32)
		fault = transfer(run, *type, made, NULL);
	if (fault.kind == FAULT_INEXACT) {
		*type = DT_F32;
		fault = source_decode(run, (float *)(void *)made);
	}
	return fault;
}

static enum status source_raw(const struct weight *w, uint64_t matrix, uint64_t r0, uint64_t r1,
			      struct rows *out, struct weight_scratch *s, struct err *e)
{
	struct source_matrix m;
	struct source_run run;
	struct fault fault;
	enum status st;

	TRY(bind_source(w, matrix, 0, &m, e));
	TRY(source_rows(w, &m, r0 * w->cols, r1 * w->cols, &run, s, e));
	*out = (struct rows){ raw_type(&m.l), s->raw };
	if (m.l.kind == SOURCE_PLAIN)
		return OK;
	TRY(room(&s->made, &s->made_cap, (r1 - r0) * w->cols * sizeof(float), e));
	fault = make_rows(&run, &out->type, s->made);
	out->bytes = s->made;
	if (fault.kind != FAULT_NONE)
		st = not_finite(w, matrix, fault.element, fault_text(fault.kind), e);
out:
	return st;
}

/* Several source matrices side by side: float32, each part into its columns of every row. */
static enum status source_parts(const struct weight *w, uint64_t matrix, uint64_t r0, uint64_t r1,
				struct rows *out, struct weight_scratch *s, struct err *e)
{
	size_t cols = (size_t)(w->cols / w->parts), n_rows = (size_t)(r1 - r0);
	struct source_matrix m;
	struct source_run run;
	struct fault fault;
	void *p = s->part;
	float *all;
	enum status st;

	TRY(room(&s->made, &s->made_cap, (r1 - r0) * w->cols * sizeof(float), e));
	TRY(mem_grow(&p, &s->part_cap, n_rows * cols, sizeof(float), "rows of a weight", e));
	s->part = p;
	all = (float *)(void *)s->made;
	for (unsigned part = 0; part < w->parts; part++) {
		TRY(bind_source(w, matrix, part, &m, e));
		TRY(source_rows(w, &m, r0 * cols, r1 * cols, &run, s, e));
		fault = source_decode(&run, s->part);
		if (fault.kind != FAULT_NONE)
			return not_finite(w, matrix, fault.element / cols * w->cols + part * cols +
					  fault.element % cols, fault_text(fault.kind), e);
		for (size_t r = 0; r < n_rows; r++)
			memcpy(all + r * w->cols + part * cols, s->part + r * cols, cols * sizeof(float));
	}
	*out = (struct rows){ DT_F32, s->made };
out:
	return st;
}

enum status weight_raw(const struct weight *w, uint64_t matrix, uint64_t r0, uint64_t r1, struct rows *out,
		       struct weight_scratch *s, struct err *e)
{
	size_t n = (size_t)((r1 - r0) * w->cols), bad;
	enum status st;

	if (w->tensor)
		TRY(gguf_rows(w, matrix * w->rows + r0, r1 - r0, out, s, e));
	else if (w->parts > 1)
		TRY(source_parts(w, matrix, r0, r1, out, s, e));
	else
		TRY(source_raw(w, matrix, r0, r1, out, s, e));
	bad = codec_first_bad(out->type, out->bytes, n);
	if (bad < n)
		return not_finite(w, matrix, r0 * w->cols + bad, "a value that is not finite", e);
out:
	return st;
}

enum status weight_rows(const struct weight *w, uint64_t matrix, uint64_t r0, uint64_t r1, float *out,
			struct weight_scratch *s, struct err *e)
{
	struct rows rows;
	enum status st = weight_raw(w, matrix, r0, r1, &rows, s, e);

	if (st == OK)
		codec_decode(rows.type, rows.bytes, (size_t)((r1 - r0) * w->cols), out);
	return st;
}

enum status weight_all(const struct model *m, enum role role, uint32_t layer, float *out, uint64_t n,
		       struct weight_scratch *s, struct err *e)
{
	struct weight w;
	enum status st;

	TRY(weight_bind(&w, m, role, layer, e));
	if (w.rows * w.cols != n || w.n_matrices != 1)
		return err_set(e, ERR_FORMAT, "%s: %llu values where %llu belong (tensor %s)", m->path,
			       (unsigned long long)(w.rows * w.cols), (unsigned long long)n, w.want->name);
	TRY(weight_rows(&w, 0, 0, w.rows, out, s, e));
out:
	return st;
}

static enum status gguf_ids(const struct weight *w, uint64_t row, uint32_t *ids, struct weight_scratch *s,
			    struct err *e)
{
	uint64_t bytes = w->cols * 4;
	enum status st;

	TRY(room(&s->raw, &s->raw_cap, bytes, e));
	TRY(file_read(&w->model->file, s->raw, (size_t)bytes, w->tensor->off + row * bytes, e));
	for (size_t i = 0; i < w->cols; i++) {
		ids[i] = (uint32_t)load_le(s->raw + 4 * i, 4);
		if (ids[i] >= w->model->arch.n_expert)
			return not_finite(w, 0, row * w->cols + i, fault_text(FAULT_RANGE), e);
		for (size_t k = 0; k < i; k++)
			if (ids[k] == ids[i])
				return not_finite(w, 0, row * w->cols + i, fault_text(FAULT_DUPLICATE), e);
	}
out:
	return st;
}

enum status weight_ids(const struct weight *w, uint64_t row, uint32_t *ids, struct weight_scratch *s,
		       struct err *e)
{
	struct source_matrix m;
	struct source_run run;
	struct fault fault;
	void *p = s->part;
	enum status st;

	if (w->tensor)
		return gguf_ids(w, row, ids, s, e);
	TRY(bind_source(w, 0, 0, &m, e));
	TRY(source_rows(w, &m, row * w->cols, (row + 1) * w->cols, &run, s, e));
	TRY(mem_grow(&p, &s->part_cap, (size_t)w->cols, sizeof(float), "a row of ids", e));
	s->part = p;
	fault = transfer_ids(&run, w->model->arch.n_expert, (uint8_t *)(void *)s->part);
	if (fault.kind != FAULT_NONE)
		return not_finite(w, 0, fault.element, fault_text(fault.kind), e);
	for (size_t i = 0; i < w->cols; i++)
		ids[i] = (uint32_t)load_le((uint8_t *)(void *)s->part + 4 * i, 4);
out:
	return st;
}

void weight_scratch_close(struct weight_scratch *s)
{
	free(s->raw);
	free(s->scale);
	free(s->made);
	free(s->part);
	*s = (struct weight_scratch){ 0 };
}
