/* SPDX-License-Identifier: MIT
 *
 * weights.c - rows of one tensor, as blocks or float32, from a GGUF or from a checkpoint.
 *
 * Invariant: values are exact and finite; what a row gives does not depend on where it came from
 * beyond the numbers stored there. Reading is by pread into the caller's scratch, so any number
 * of threads may read one weight.
 */
#include "runtime/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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

static enum status bind(struct weight *w, const struct model *m, const struct want *want, struct err *e)
{
	unsigned first = role_class(want->role) == CLASS_EXPERTS ? 1 : 0;

	*w = (struct weight){ .model = m, .want = want, .n_matrices = first ? want->shape[0] : 1,
			      .rows = want->n_dims - first > 1 ? want->shape[first] : 1,
			      .cols = want->shape[want->n_dims - 1], .parts = want_parts(want) };
	if (!m->is_gguf)
		return OK;
	w->tensor = peer_find_tensor(&m->set.gguf, want->name);
	if (!w->tensor)
		return err_set(e, ERR_FORMAT, "the tensor is missing (tensor %s)", want->name);
	return check_gguf(w, e);
}

void weight_check(const struct model *m, const struct want *want, struct log *problems)
{
	struct weight w;
	struct err e;

	if (bind(&w, m, want, &e) != OK)
		log_add(problems, "%s", e.msg);
}

static size_t slot_of(enum role role, uint32_t layer)
{
	return (layer == LAYER_NONE ? 0 : (size_t)layer + 1) * ROLE_COUNT + (size_t)role;
}

size_t weight_index(const struct model *m, enum role role, uint32_t layer)
{
	size_t at = slot_of(role, layer);

	return at < m->n_weight_at && m->weight_at[at] ? m->weight_at[at] - 1 : SIZE_MAX;
}

enum status weight_bind(struct weight *w, const struct model *m, enum role role, uint32_t layer,
			struct err *e)
{
	size_t i = weight_index(m, role, layer);

	if (i == SIZE_MAX)
		return err_set(e, ERR_FORMAT, "%s: no such tensor in this architecture (role %d, layer %u)",
			       m->path, (int)role, layer);
	*w = m->weights[i];
	return OK;
}

/* ---- buffers ---- */

uint8_t *pages_new(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	(void)madvise(p, n, MADV_HUGEPAGE);	/* fewer misses of address translation; a hint only */
	return p;
}

void pages_free(uint8_t *p, size_t n)
{
	if (p)
		(void)munmap(p, n);
}

/* At least want bytes; what was there is lost. */
static enum status room(uint8_t **p, size_t *cap, uint64_t want, struct err *e)
{
	if (want <= *cap)
		return OK;
	pages_free(*p, *cap);
	*p = NULL;
	*cap = 0;
	if (!u64_round_up(want, DISK_ALIGN, &want) || want > SIZE_MAX || !(*p = pages_new((size_t)want)))
		return err_set(e, ERR_NOMEM, "no memory for %llu bytes of a weight's rows", (unsigned long long)want);
	*cap = (size_t)want;
	return OK;
}

/* n bytes at off of file number i, into a buffer of s. */
static enum status read_bytes(const struct weight *w, size_t i, uint64_t off, uint64_t n, uint8_t **buf,
			      size_t *cap, const uint8_t **at, const struct weight_scratch *s, struct err *e)
{
	const struct model *m = w->model;
	enum status st;

	TRY(room(buf, cap, n + 2 * DISK_ALIGN, e));
	TRY(disk_read(s->disk, i, m->is_gguf ? &m->set.files[i] : &m->ckpt.files[i].file, *buf, (size_t)n, off, at, e));
	store_count(m->store, n);
	return OK;
out:
	return err_wrap(e, "tensor %s", w->want->name);
}

/* The file that messages speak of. */
static const char *path_of(const struct weight *w)
{
	return w->tensor ? w->model->set.files[w->tensor->file].path : w->model->path;
}

static enum status not_finite(const struct weight *w, uint64_t matrix, uint64_t element, const char *what,
			      struct err *e)
{
	return err_set(e, ERR_FORMAT, "%s: %s (tensor %s, matrix %llu, row %llu, column %llu); the file is "
		       "damaged or was made from a damaged one, verify it", path_of(w), what,
		       w->want->name, (unsigned long long)matrix, (unsigned long long)(element / w->cols),
		       (unsigned long long)(element % w->cols));
}

static enum status gguf_rows(const struct weight *w, uint64_t row, uint64_t n_rows, struct rows *out,
			     struct weight_scratch *s, struct err *e)
{
	const struct gguf_tensor *t = w->tensor;
	uint64_t at, bytes;

	if (!dtype_bytes(t->dtype, row, w->cols, &at) || !dtype_bytes(t->dtype, n_rows, w->cols, &bytes) ||
	    at > t->bytes || bytes > t->bytes - at)
		return err_set(e, ERR_FORMAT, "%s: rows are no whole blocks of %s (tensor %s)", path_of(w),
			       dtype_info(t->dtype)->name, w->want->name);
	out->type = t->dtype;
	return read_bytes(w, t->file, t->off + at, bytes, &s->raw, &s->raw_cap, &out->bytes, s, e);
}

/* Reads the bytes of rows [r0, r1) of a bound source matrix and describes them as a run. */
static enum status source_rows(const struct weight *w, const struct source_matrix *m, uint64_t e0, uint64_t e1,
			       struct source_run *run, struct weight_scratch *s, struct err *e)
{
	const uint8_t *weight, *scale = NULL;
	uint64_t b0, b1, s0, s1, size;
	enum status st;

	source_weight_range(&m->l, e0, e1, &b0, &b1);
	source_scale_range(&m->l, e0, e1, &s0, &s1);
	TRY(read_bytes(w, m->weight->shard, m->weight->off + m->weight_off + b0, b1 - b0, &s->raw, &s->raw_cap,
		       &weight, s, e));
	if (m->scale) {
		size = dtype_info(m->l.scale_type)->bytes;
		TRY(read_bytes(w, m->scale->shard, m->scale->off + m->scale_off + s0 * size, (s1 - s0) * size,
			       &s->scale, &s->scale_cap, &scale, s, e));
	}
	*run = (struct source_run){ .l = &m->l, .weight = weight, .scale = scale, .e0 = e0, .e1 = e1, .s0 = s0 };
out:
	return st;
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

/* The GGUF type that rows of this layout are given as, first choice: only powers of two scale FP8
 * to numbers that BF16 holds. */
static enum dtype raw_type(const struct source_layout *l)
{
	if (l->kind == SOURCE_PLAIN)
		return l->type;
	if (l->kind == SOURCE_FP8)
		return l->scale_type == DT_F8_E8M0 ? DT_BF16 : DT_F32;
	return transfer_is_exact(l, DT_MXFP4) ? DT_MXFP4 : DT_F32;
}

static enum status make(const struct source_run *run, enum dtype type, struct fault *fault,
			struct weight_scratch *s, struct err *e)
{
	uint64_t bytes;
	enum status st;

	if (!dtype_bytes(type, 1, run->e1 - run->e0, &bytes))
		return err_set(e, ERR_FORMAT, "rows are no whole blocks of %s", dtype_info(type)->name);
	TRY(room(&s->made, &s->made_cap, bytes, e));
	*fault = type == DT_F32 ? source_decode(run, (float *)(void *)s->made) : transfer(run, type, s->made, NULL);
out:
	return st;
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
	*out = (struct rows){ raw_type(&m.l), run.weight };
	if (m.l.kind == SOURCE_PLAIN)
		return OK;
	TRY(make(&run, out->type, &fault, s, e));
	if (fault.kind == FAULT_INEXACT) {	/* a scale at the end of the range */
		out->type = DT_F32;
		TRY(make(&run, out->type, &fault, s, e));
	}
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

enum status weight_fetch(const struct weight *w, uint64_t matrix, uint64_t r0, uint64_t r1, struct rows *out,
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

enum status weight_kept(const struct weight *w, uint64_t matrix, uint64_t n_rows, uint64_t *bytes, bool *made,
			struct err *e)
{
	enum dtype type = w->tensor ? w->tensor->dtype : DT_F32;
	struct source_matrix m;
	enum status st = OK;

	*made = !w->tensor && w->parts > 1;
	if (!w->tensor && w->parts == 1) {
		TRY(bind_source(w, matrix, 0, &m, e));
		type = raw_type(&m.l);
		*made = m.l.kind != SOURCE_PLAIN;
	}
	if (!dtype_bytes(type, n_rows, w->cols, bytes))
		st = err_set(e, ERR_FORMAT, "%s: rows are no whole blocks of %s (tensor %s)", path_of(w),
			     dtype_info(type)->name, w->want->name);
out:
	return st;
}

enum status weight_raw(const struct weight *w, uint64_t matrix, uint64_t r0, uint64_t r1, struct rows *out,
		       struct weight_scratch *s, struct err *e)
{
	uint64_t skip;

	if (!w->held.rows.bytes || matrix != w->held.matrix || r0 < w->held.r0 || r1 > w->held.r1 ||
	    !dtype_bytes(w->held.rows.type, r0 - w->held.r0, w->cols, &skip))
		return weight_fetch(w, matrix, r0, r1, out, s, e);
	*out = (struct rows){ w->held.rows.type, w->held.rows.bytes + skip };
	return OK;
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

/* Elements [e0, r->e1) of a run. */
static struct source_run rest_of(const struct source_run *r, uint64_t e0)
{
	struct source_run rest = *r;
	uint64_t b0, b1, s1;

	source_weight_range(r->l, r->e0, e0, &b0, &b1);
	rest.e0 = e0;
	rest.weight += b1 - b0;
	source_scale_range(r->l, e0, r->e1, &rest.s0, &s1);
	if (r->scale)
		rest.scale += (rest.s0 - r->s0) * dtype_info(r->l->scale_type)->bytes;
	return rest;
}

/* source_decode, but that it goes on after a fault: NaN where there is no number. */
static void decode_all(const struct source_run *r, float *out)
{
	uint64_t e = r->e0;

	while (e < r->e1) {
		struct source_run rest = rest_of(r, e);
		struct fault f = source_decode(&rest, out + (e - r->e0));
		uint64_t n = 1;

		if (f.kind == FAULT_NONE || r->l->kind == SOURCE_PLAIN)
			return;
		if (r->l->kind == SOURCE_FP4)	/* it is the scale's, and pairs stay whole */
			n = r->l->block_cols - f.element % r->l->cols % r->l->block_cols;
		for (e = f.element; n && e < r->e1; n--)
			out[e++ - r->e0] = NAN;
	}
}

enum status weight_values(const struct weight *w, uint64_t matrix, uint64_t r0, uint64_t r1, float *out,
			  struct weight_scratch *s, struct err *e)
{
	size_t cols = (size_t)(w->cols / w->parts), n_rows = (size_t)(r1 - r0);
	struct source_matrix m;
	struct source_run run;
	struct rows rows;
	void *p = s->part;
	enum status st;

	if (w->tensor) {
		TRY(gguf_rows(w, matrix * w->rows + r0, r1 - r0, &rows, s, e));
		codec_decode(rows.type, rows.bytes, n_rows * cols, out);
		return OK;
	}
	TRY(mem_grow(&p, &s->part_cap, n_rows * cols, sizeof(float), "rows of a weight", e));
	s->part = p;
	for (unsigned part = 0; part < w->parts; part++) {
		TRY(bind_source(w, matrix, part, &m, e));
		TRY(source_rows(w, &m, r0 * cols, r1 * cols, &run, s, e));
		decode_all(&run, s->part);
		for (size_t r = 0; r < n_rows; r++)
			memcpy(out + r * w->cols + part * cols, s->part + r * cols, cols * sizeof(float));
	}
out:
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
	for (uint64_t r = 0, end; r < w.rows; r = end) {
		TRY(weight_hold(&w, 0, r, w.rows, &end, e));
		st = weight_rows(&w, 0, r, end, out + r * w.cols, s, e);
		weight_release(&w);
		if (st != OK)
			break;
	}
out:
	return st;
}

static enum status gguf_ids(const struct weight *w, uint64_t row, uint32_t *ids, struct weight_scratch *s,
			    struct err *e)
{
	uint64_t bytes = w->cols * 4;
	const uint8_t *at;
	enum status st;

	TRY(read_bytes(w, w->tensor->file, w->tensor->off + row * bytes, bytes, &s->raw, &s->raw_cap, &at, s, e));
	for (size_t i = 0; i < w->cols; i++) {
		ids[i] = (uint32_t)load_le(at + 4 * i, 4);
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
	pages_free(s->raw, s->raw_cap);
	pages_free(s->scale, s->scale_cap);
	pages_free(s->made, s->made_cap);
	free(s->part);
	*s = (struct weight_scratch){ 0 };
}

/* ---- all of a model ---- */

enum status weights_open(struct model *m, struct err *e)
{
	enum status st = OK;

	m->n_weight_at = ((size_t)m->arch.n_layer + 2) * ROLE_COUNT;
	m->weight_at = mem_new(m->n_weight_at, sizeof *m->weight_at, "the table of weights", e);
	m->weights = mem_new(m->wants.n, sizeof *m->weights, "the table of weights", e);
	if (!m->weight_at || !m->weights)
		return e->status;
	for (size_t i = 0; i < m->wants.n; i++) {
		const struct want *want = &m->wants.w[i];

		TRY(bind(&m->weights[i], m, want, e));
		m->weight_at[slot_of(want->role, want->layer)] = (uint32_t)i + 1;
	}
	TRY(store_new(&m->store, m, STORE_PIECE, e));
out:
	return st;
}
