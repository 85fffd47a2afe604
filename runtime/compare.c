/* SPDX-License-Identifier: MIT
 *
 * compare.c - tensors of two models, paired by name, value by value.
 *
 * A tensor is cut into pieces of whole rows by its shape alone. Threads take pieces as they come; what a
 * piece gives is kept until those before it are merged, so no sum depends on who made it.
 */
#include "runtime/compare.h"

#include <math.h>
#include <regex.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 1 << 16, WAVE = 256 };	/* elements of a piece, about; pieces between two merges */

/* ---- pairing ---- */

static bool same_shape(const struct tensor *a, const struct tensor *b)
{
	return a->cols == b->cols && a->n_matrices * a->rows == b->n_matrices * b->rows;
}

static enum status add_pair(struct comparison *c, const struct tensor *a, const struct tensor *b, struct err *e)
{
	struct pair *p = &c->pairs[c->n_pairs++];
	const struct tensor *by = b->weight ? b : a;	/* a GGUF's rows can be counted either way */

	*p = (struct pair){ .a = a, .b = b, .same_shape = same_shape(a, b), .n_matrices = by->n_matrices,
			    .rows = by->rows, .cols = by->cols };
	c->n_other_shape += !p->same_shape;
	if (!p->same_shape)
		return OK;
	for (int k = 0; k < 2; k++)
		if (!tensor_readable(k ? b : a))
			return err_set(e, ERR_UNSUPPORTED, "%s: type %s cannot be decoded here (tensor %.*s); leave the "
				       "tensor out with --tensors", k ? c->b.path : c->a.path, (k ? b : a)->type,
				       (int)a->name.n, a->name.p);
	return OK;
}

/* Its name as a string, in buf. */
static const char *name_of(const struct tensor *t, char buf[GGUF_MAX_NAME + 1])
{
	memcpy(buf, t->name.p, t->name.n);	/* gguf_read: at most GGUF_MAX_NAME */
	buf[t->name.n] = 0;
	return buf;
}

static bool chosen(const regex_t *regex, const struct tensor *t)
{
	char name[GGUF_MAX_NAME + 1];

	return !regex || regexec(regex, name_of(t, name), 0, NULL, 0) == 0;
}

static enum status pair_tensors(struct comparison *c, const regex_t *regex, struct err *e)
{
	enum status st = OK;

	c->pairs = mem_new(c->a.n, sizeof *c->pairs, "the comparison", e);
	c->only_a = mem_new(c->a.n, sizeof *c->only_a, "the comparison", e);
	c->only_b = mem_new(c->b.n, sizeof *c->only_b, "the comparison", e);
	if (!c->pairs || !c->only_a || !c->only_b)
		return e->status;
	for (size_t i = 0; i < c->a.n && st == OK; i++) {
		const struct tensor *a = &c->a.v[i], *b = tensors_find(&c->b, a->name);

		if (!chosen(regex, a))
			continue;
		if (b)
			st = add_pair(c, a, b, e);
		else
			c->only_a[c->n_only_a++] = a;
	}
	for (size_t i = 0; i < c->b.n; i++)
		if (chosen(regex, &c->b.v[i]) && !tensors_find(&c->a, c->b.v[i].name))
			c->only_b[c->n_only_b++] = &c->b.v[i];
	return st;
}

/* The GGUFs first: what they hold decides which part of a checkpoint they are compared with. */
static enum status open_both(struct comparison *c, const struct compare_options *o, struct log *notes,
			     struct err *e)
{
	enum model_part part = o->mtp ? PART_MTP : PART_TRUNK;
	enum status st;

	TRY(tensors_open(&c->a, o->a, part, o->source, notes, e));
	if (tensors_are_mtp(&c->a))
		part = PART_MTP;
	TRY(tensors_open(&c->b, o->b, part, o->source, notes, e));
	if (!c->a.is_gguf && part == PART_TRUNK && tensors_are_mtp(&c->b)) {
		tensors_close(&c->a);
		TRY(tensors_open(&c->a, o->a, PART_MTP, o->source, notes, e));
	}
out:
	return st;
}

enum status compare_open(struct comparison *c, const struct compare_options *o, struct log *notes,
			 struct err *e)
{
	char why[200];
	regex_t regex;
	int code;
	enum status st;

	*c = (struct comparison){ .a = TENSORS_NONE, .b = TENSORS_NONE };
	if (o->tensors && (code = regcomp(&regex, o->tensors, REG_EXTENDED | REG_NOSUB)) != 0) {
		regerror(code, &regex, why, sizeof why);
		return err_set(e, ERR_USAGE, "--tensors: '%s' is no regular expression: %s", o->tensors, why);
	}
	st = open_both(c, o, notes, e);
	if (st == OK)
		st = pair_tensors(c, o->tensors ? &regex : NULL, e);
	if (st == OK && o->tensors && !c->n_pairs && !c->n_only_a && !c->n_only_b)
		st = err_set(e, ERR_USAGE, "--tensors: '%s' matches no tensor's name", o->tensors);
	if (o->tensors)
		regfree(&regex);
	return st;
}

/* ---- pieces ---- */

struct piece { struct error_sums sums; double worst_row; uint64_t worst_row_at; };
struct worker {
	struct tensor_scratch scratch[2];
	float *values;			/* owned: rows of a, and of b */
	struct err err;
	uint64_t failed;		/* the piece of err; UINT64_MAX: none */
};
struct work {
	const struct comparison *c;
	const struct pair *p;
	uint64_t piece_rows, per_matrix, first;	/* of the wave */
	unsigned n;			/* pieces of the wave */
	_Atomic unsigned next;
	struct piece *pieces;		/* (WAVE) */
	struct worker *workers;
	uint64_t room;			/* floats of either half of values */
};

static uint64_t rows_at_once(uint64_t cols)
{
	return cols && cols < PIECE ? PIECE / cols : 1;
}

/* Blocks are those of the side that has some, the target's first. */
static size_t block_of(const struct pair *p)
{
	uint16_t a = p->a->blocks ? dtype_info(p->a->blocks)->block : 1;
	uint16_t b = p->b->blocks ? dtype_info(p->b->blocks)->block : 1;

	return b > 1 ? b : a > 1 ? a : 32;
}

static enum status do_piece(const struct work *w, struct worker *me, uint64_t number, struct piece *out)
{
	const struct pair *p = w->p;
	uint64_t matrix = number / w->per_matrix, r0 = number % w->per_matrix * w->piece_rows;
	uint64_t r1 = u64_min(r0 + w->piece_rows, p->rows), n = (r1 - r0) * p->cols;
	float *x = me->values, *y = x + w->room;
	const uint8_t *blocks_a, *blocks_b;
	struct tensor a = *p->a, b = *p->b;
	enum status st;

	a.rows = b.rows = p->rows;	/* matrices are counted alike */
	TRY(tensor_values(&w->c->a, &a, matrix, r0, r1, x, &blocks_a, &me->scratch[0], &me->err));
	TRY(tensor_values(&w->c->b, &b, matrix, r0, r1, y, &blocks_b, &me->scratch[1], &me->err));
	*out = (struct piece){ .worst_row = -1 };
	for (uint64_t r = r0; r < r1; r++, x += p->cols, y += p->cols) {
		struct error_sums row = { 0 };
		double relative;

		error_add(&row, x, y, (size_t)p->cols, block_of(p), (matrix * p->rows + r) * p->cols);
		relative = error_relative(&row);
		if (relative > out->worst_row) {
			out->worst_row = relative;
			out->worst_row_at = matrix * p->rows + r;
		}
		error_merge(&out->sums, &row);
	}
	if (blocks_b && out->sums.max > 0)	/* what is equal was held */
		out->sums.saturated += codec_saturated(b.blocks, blocks_b, (size_t)n, me->values);
out:
	return st;
}

static void task(void *ctx, unsigned i, unsigned n)
{
	struct work *w = ctx;
	struct worker *me = &w->workers[i];
	unsigned k;

	(void)n;
	while ((k = atomic_fetch_add(&w->next, 1)) < w->n && me->failed == UINT64_MAX)
		if (do_piece(w, me, w->first + k, &w->pieces[k]) != OK)
			me->failed = w->first + k;
}

/* The error of the earliest piece, whoever had it. */
static enum status first_error(const struct work *w, unsigned n_workers, struct err *e)
{
	uint64_t first = UINT64_MAX;

	for (unsigned i = 0; i < n_workers; i++)
		if (w->workers[i].failed < first) {
			first = w->workers[i].failed;
			*e = w->workers[i].err;
		}
	return first == UINT64_MAX ? OK : e->status;
}

static void merge(struct pair *p, const struct piece *piece, uint64_t matrix)
{
	const struct error_sums *s = &piece->sums;

	error_merge(&p->sums, s);
	if (p->experts) {
		p->experts[matrix].xx += s->xx;
		p->experts[matrix].dd += s->dd;
		p->experts[matrix].odd += s->x_nan + s->x_inf + s->y_nan + s->y_inf;
	}
	if (piece->worst_row > p->worst_row) {
		p->worst_row = piece->worst_row;
		p->worst_row_at = piece->worst_row_at;
	}
}

static enum status compare_pair(struct work *w, struct pair *p, struct pool *pool,
				const struct compare_options *o, struct err *e)
{
	uint64_t total;
	enum status st;

	w->p = p;
	w->piece_rows = rows_at_once(p->cols);
	w->per_matrix = u64_div_up(p->rows, w->piece_rows);
	total = p->cols ? w->per_matrix * p->n_matrices : 0;
	for (w->first = 0; w->first < total; w->first += w->n) {
		w->n = (unsigned)u64_min(WAVE, total - w->first);
		atomic_store(&w->next, 0);
		pool_run(pool, task, w);
		st = first_error(w, pool->n, e);
		if (st != OK)
			return st;
		for (unsigned k = 0; k < w->n; k++)
			merge(p, &w->pieces[k], (w->first + k) / w->per_matrix);
		if (stop_asked(o->stop))
			return err_stopped(e, o->stop, "");
	}
	return OK;
}

/* ---- experts ---- */

static bool is_experts(const struct pair *p)
{
	static const char part[] = "_exps.";

	return p->same_shape && p->n_matrices > 1 && memmem(p->a->name.p, p->a->name.n, part, sizeof part - 1);
}

/* Sums an expert, where the tensors together leave most of --max-memory. */
static enum status open_experts(struct comparison *c, uint64_t max_memory, struct err *e)
{
	uint64_t n = 0, bytes = UINT64_MAX;

	for (size_t i = 0; i < c->n_pairs; i++)
		if (is_experts(&c->pairs[i]) && !u64_add(n, c->pairs[i].n_matrices, &n))
			n = UINT64_MAX;
	if (!u64_mul(n, sizeof(struct matrix_error), &bytes) || bytes > max_memory / 4)
		return err_set(e, ERR_NOMEM, "%s: the errors of %llu experts need more than a quarter of --max-memory; "
			       "give it more, or take fewer tensors with --tensors", c->a.path, (unsigned long long)n);
	for (size_t i = 0; i < c->n_pairs; i++) {
		struct pair *p = &c->pairs[i];

		if (is_experts(p) && !(p->experts = mem_new((size_t)p->n_matrices, sizeof *p->experts, "errors of experts", e)))
			return e->status;
	}
	return OK;
}

double pair_relative(const struct pair *p)
{
	const struct error_sums *s = &p->sums;

	if (!p->same_shape)
		return -1;
	return s->x_nan | s->x_inf | s->y_nan | s->y_inf ? (double)INFINITY : error_relative(s);
}

double matrix_relative(const struct matrix_error *m)
{
	return m->odd ? (double)INFINITY : m->dd > 0 ? sqrt(m->dd / m->xx) : 0;
}

/* ---- all of them ---- */

/* Threads that --max-memory has room for, each with a run of values of either side and what they are
 * decoded from; room: floats of a run. */
static enum status count_workers(const struct comparison *c, const struct compare_options *o, unsigned *n,
				 uint64_t *room, struct err *e)
{
	uint64_t bytes;

	*room = 1;
	for (size_t i = 0; i < c->n_pairs; i++) {
		uint64_t cols = c->pairs[i].cols, run = rows_at_once(cols) * cols;

		if (c->pairs[i].same_shape && run > *room)
			*room = run;
	}
	if (!u64_mul(*room, 2 * sizeof(float) + 3 * sizeof(double), &bytes) || bytes > o->max_memory)
		return err_set(e, ERR_NOMEM, "a thread needs memory for rows of %llu values, --max-memory allows %llu "
			       "bytes; give it more", (unsigned long long)*room, (unsigned long long)o->max_memory);
	*n = o->threads ? o->threads : 1;
	if (o->max_memory / bytes < *n)
		*n = (unsigned)(o->max_memory / bytes);
	return OK;
}

static enum status open_workers(struct work *w, unsigned n, struct err *e)
{
	w->pieces = mem_new(WAVE, sizeof *w->pieces, "the comparison", e);
	w->workers = mem_new(n, sizeof *w->workers, "threads", e);
	if (!w->pieces || !w->workers)
		return e->status;
	for (unsigned i = 0; i < n; i++) {
		w->workers[i].failed = UINT64_MAX;
		w->workers[i].values = mem_new((size_t)w->room, 2 * sizeof(float), "rows of tensors", e);
		if (!w->workers[i].values)
			return e->status;
	}
	return OK;
}

static enum status check_unchanged(const struct tensors *l, struct err *e)
{
	return l->is_gguf ? gguf_set_unchanged(&l->set, e) : model_unchanged(&l->model, e);
}

enum status compare_run(struct comparison *c, const struct compare_options *o, struct err *e)
{
	struct work w = { .c = c };
	struct pool pool = { 0 };
	char name[GGUF_MAX_NAME + 1];
	uint64_t done = 0, total = 0;
	unsigned n = 0;
	enum status st;

	TRY(count_workers(c, o, &n, &w.room, e));
	TRY(open_experts(c, o->max_memory, e));
	TRY(pool_open(&pool, n, e));
	n = pool.n;
	TRY(open_workers(&w, n, e));
	for (size_t i = 0; i < c->n_pairs; i++)
		total += c->pairs[i].b->bytes;
	for (size_t i = 0; i < c->n_pairs; done += c->pairs[i++].b->bytes) {
		if (o->progress)
			o->progress(o->arg, done, total, name_of(c->pairs[i].a, name));
		if (c->pairs[i].same_shape)
			TRY(compare_pair(&w, &c->pairs[i], &pool, o, e));
	}
	TRY(check_unchanged(&c->a, e));
	TRY(check_unchanged(&c->b, e));
out:
	for (unsigned i = 0; w.workers && i < n; i++) {
		tensor_scratch_close(&w.workers[i].scratch[0]);
		tensor_scratch_close(&w.workers[i].scratch[1]);
		free(w.workers[i].values);
	}
	free(w.workers);
	free(w.pieces);
	pool_close(&pool);
	return st;
}

bool pair_equal(const struct pair *p)
{
	const struct error_sums *s = &p->sums;

	return p->same_shape && s->max == 0 && !(s->x_nan | s->x_inf | s->y_nan | s->y_inf);
}

void compare_close(struct comparison *c)
{
	tensors_close(&c->a);
	tensors_close(&c->b);
	for (size_t i = 0; i < c->n_pairs; i++)
		free(c->pairs[i].experts);
	free(c->pairs);
	free(c->only_a);
	free(c->only_b);
	*c = (struct comparison){ .a = TENSORS_NONE, .b = TENSORS_NONE };
}
