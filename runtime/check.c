/* SPDX-License-Identifier: MIT
 *
 * check.c - what a long run can know of its weights before it starts: every value of the small tensors
 * and of the routers, every row of the tables of expert ids, the scales of FP8 matrices. Together
 * well under a hundredth of a model. The values of large matrices are checked as they are read.
 */
#include "runtime/runtime.h"

#include <math.h>
#include <stdlib.h>

struct check {
	const struct model *m;
	struct weight_scratch s;
	float *tile;			/* owned */
	size_t tile_cap;
	uint8_t *scales;		/* owned */
	size_t scales_cap;
};

/* All rows, a tile at a time: weight_rows refuses what is not finite. */
static enum status check_values(struct check *c, const struct weight *w, struct err *e)
{
	uint64_t step = TILE_FLOATS / w->cols ? TILE_FLOATS / w->cols : 1;
	void *p = c->tile;
	enum status st;

	TRY(mem_grow(&p, &c->tile_cap, (size_t)(u64_min(step, w->rows) * w->cols), sizeof *c->tile,
		     "a tile of weights", e));
	c->tile = p;
	for (uint64_t r = 0; r < w->rows; r += step)
		TRY(weight_rows(w, 0, r, u64_min(w->rows, r + step), c->tile, &c->s, e));
out:
	return st;
}

static enum status check_ids(struct check *c, const struct weight *w, struct err *e)
{
	uint32_t *ids = mem_new((size_t)w->cols, sizeof *ids, "a row of expert ids", e);
	enum status st = ids ? OK : e->status;

	for (uint64_t r = 0; r < w->rows && st == OK; r++)
		st = weight_ids(w, r, ids, &c->s, e);
	free(ids);
	return st;
}

/* The first of n scales that is no number; n if there is none. */
static size_t first_bad(const uint8_t *p, size_t n, enum dtype type)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t bits = type == DT_F8_E8M0 ? 0 : (uint32_t)load_le(p + 4 * i, 4);

		if (type == DT_F8_E8M0 ? p[i] == 0xFF : (bits & 0x7F800000) == 0x7F800000)
			return i;
	}
	return n;
}

/* The scales of one FP8 matrix of a checkpoint: one for 128 x 128 values. */
static enum status check_scales(struct check *c, const struct source_matrix *m, struct err *e)
{
	const struct file *f = &c->m->ckpt.files[m->scale->shard].file;
	size_t size = dtype_info(m->l.scale_type)->bytes, n, bad;
	uint64_t s0, s1, bytes;
	void *p = c->scales;
	enum status st;

	source_scale_range(&m->l, 0, m->l.rows * m->l.cols, &s0, &s1);
	if (!u64_mul(s1, size, &bytes) || bytes > SIZE_MAX)
		return err_set(e, ERR_NOMEM, "%s: too many scales (tensor %s)", f->path, m->scale->name);
	TRY(mem_grow(&p, &c->scales_cap, (size_t)bytes, 1, "scales", e));
	c->scales = p;
	TRY(file_read(f, c->scales, (size_t)bytes, m->scale->off + m->scale_off, e));
	n = (size_t)s1;
	bad = first_bad(c->scales, n, m->l.scale_type);
	if (bad < n)
		return err_set(e, ERR_FORMAT, "%s: a scale that is not a number (tensor %s, row %llu, column %llu); "
			       "the file is damaged, verify it and download it again", f->path, m->scale->name,
			       (unsigned long long)(bad / m->l.scale_cols),
			       (unsigned long long)(bad % m->l.scale_cols));
out:
	return st;
}

static enum status check_matrix(struct check *c, const struct want *w, struct err *e)
{
	uint64_t n = role_class(w->role) == CLASS_EXPERTS ? w->shape[0] : 1;
	enum status st = OK;

	if (c->m->is_gguf)
		return OK;
	for (uint64_t i = 0; i < n * want_parts(w) && st == OK; i++) {
		struct log problems = { 0 };
		struct source_matrix m;
		bool found;

		source_bind(&m, &found, &c->m->ckpt, &c->m->arch, w, i / want_parts(w),
			    (unsigned)(i % want_parts(w)), &problems);
		if (!found)
			st = err_set(e, ERR_FORMAT, "%s: %s", c->m->path, problems.text ? problems.text : w->name);
		else if (m.l.kind == SOURCE_FP8 && m.scale)
			st = check_scales(c, &m, e);
		log_close(&problems);
	}
	return st;
}

static enum status check_want(struct check *c, const struct want *want, struct err *e)
{
	enum role_class class = role_class(want->role);
	struct weight w;
	enum status st;

	if (class == CLASS_MATRIX || class == CLASS_EXPERTS)
		return check_matrix(c, want, e);
	TRY(weight_bind(&w, c->m, want->role, want->layer, e));
	TRY(class == CLASS_IDS ? check_ids(c, &w, e) : check_values(c, &w, e));
out:
	return st;
}

enum status model_check(const struct model *m, struct err *e)
{
	struct check c = { .m = m };
	enum status st = OK;

	for (size_t i = 0; i < m->wants.n && st == OK; i++)
		st = check_want(&c, &m->wants.w[i], e);
	weight_scratch_close(&c.s);
	free(c.tile);
	free(c.scales);
	return st;
}
