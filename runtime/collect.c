/* SPDX-License-Identifier: MIT
 *
 * collect.c - sums of squared inputs, by column and by expert.
 *
 * Invariant: a column's sum is one double to which squares (exact in double) are added in the order of
 * the text's tokens, by one thread. Threads share columns, and batches follow each other, so neither
 * their number nor their size shows in a bit of the result.
 *
 * Memory holds the sums of one layer, so that it does not grow with the model; the others' are in a
 * scratch file (eight bytes a column and expert: 0.5 GB for Flash), which is read and written once a
 * layer and batch, beside which the layer's weights are some hundred times as much.
 *
 * Matrices that meet the same input share its sums, which are taken at one of them. Two inputs have
 * more rows than there are tokens: wo_a (one matrix for every group of heads, each with its own
 * columns of the heads' outputs; the file has one mean for all), and the MTP block's eh_proj, whose
 * embedding half is multiplied once and stands in every stream, and whose other half once for each.
 */
#include "runtime/collect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- which inputs there are ---- */

/* The matrix at which an input is taken; the role itself where it is not shared. */
static enum role taken_at(enum role r)
{
	switch (r) {
	case ROLE_ATTN_KV: case ROLE_COMP_KV: case ROLE_COMP_GATE:
	case ROLE_IDX_PROJ: case ROLE_IDX_COMP_KV: case ROLE_IDX_COMP_GATE:
		return ROLE_ATTN_Q_A;
	case ROLE_IDX_Q_B:
		return ROLE_ATTN_Q_B;
	case ROLE_UP_EXPS:
		return ROLE_GATE_EXPS;
	case ROLE_UP_SHEXP:
		return ROLE_GATE_SHEXP;
	default:
		return r;
	}
}

static bool is_collected(const struct want *w)
{
	enum role_class class = role_class(w->role);

	if ((class != CLASS_MATRIX && class != CLASS_EXPERTS) || w->role == ROLE_EMBED)
		return false;
	return !w->mtp || w->layer != LAYER_NONE;	/* the MTP block shares the trunk's output matrix */
}

/* A layer's run of sums; the output matrix's comes first. */
static uint32_t layer_place(uint32_t layer) { return layer == LAYER_NONE ? 0 : layer + 1; }

/* at: sums of its layer so far, raised by its own. */
static enum status add_site(struct collector *c, const struct model *m, const struct want *w, uint64_t *at,
			    struct err *e)
{
	struct site *s = &c->sites[c->n_sites];
	uint64_t n;

	*s = (struct site){ .role = w->role, .layer = w->layer, .n_matrices = w->n_dims == 3 ? w->shape[0] : 1,
			    .cols = w->shape[w->n_dims - 1], .at = (size_t)*at,
			    .rows_per_token = w->role == ROLE_ATTN_OUTPUT_A ? m->arch.o_groups : 1 };
	if (!u64_mul(s->n_matrices, s->cols, &n) || !u64_add(*at, n, at) || *at > SIZE_MAX / sizeof(double))
		return err_set(e, ERR_NOMEM, "%s: no memory for the sums of tensor %s", m->path, w->name);
	c->n_sites++;
	c->most = *at > c->most ? *at : c->most;
	c->bytes += s->n_matrices * sizeof *s->rows;
	if (layer_place(s->layer) >= c->n_layers)
		c->n_layers = layer_place(s->layer) + 1;
	return OK;
}

static uint32_t find_site(const struct collector *c, enum role r, uint32_t layer)
{
	for (size_t i = c->n_sites; i-- > 0;)	/* a layer's are the last ones */
		if (c->sites[i].role == r && c->sites[i].layer == layer)
			return (uint32_t)i;
	return UINT32_MAX;
}

/* The sites of one model, then the tensors that share them. */
static enum status list_model(struct collector *c, int which, struct err *e)
{
	const struct model *m = c->models[which];
	uint32_t layer = LAYER_NONE;
	uint64_t at = 0;
	enum status st;

	c->site_at[which] = mem_new(m->wants.n, sizeof(uint32_t), "inputs", e);
	if (!c->site_at[which])
		return e->status;
	for (size_t i = 0; i < m->wants.n; i++) {
		const struct want *w = &m->wants.w[i];

		if (!is_collected(w) || taken_at(w->role) != w->role)
			continue;
		at = w->layer == layer ? at : 0;	/* a layer's tensors follow each other */
		layer = w->layer;
		TRY(add_site(c, m, w, &at, e));
		c->site_at[which][i] = (uint32_t)c->n_sites;
	}
	for (size_t i = 0; i < m->wants.n; i++) {
		const struct want *w = &m->wants.w[i];
		struct collected *t = &c->tensors[c->n_tensors];

		if (!is_collected(w))
			continue;
		memcpy(t->name, w->name, sizeof t->name);
		t->site = find_site(c, taken_at(w->role), w->layer);
		c->n_tensors++;
	}
	st = OK;
out:
	return st;
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct collected *)a)->name, ((const struct collected *)b)->name);
}

enum status collector_open(struct collector *c, const struct model *m, const struct model *mtp, struct err *e)
{
	size_t n = m->wants.n + (mtp ? mtp->wants.n : 0);
	enum status st;

	*c = COLLECTOR_NONE;
	c->models[0] = m;
	c->models[1] = mtp;
	c->sites = mem_new(n, sizeof *c->sites, "inputs", e);
	c->tensors = mem_new(n, sizeof *c->tensors, "names of tensors", e);
	if (!c->sites || !c->tensors) {
		st = e->status;
		goto out;
	}
	for (int i = 0; i < COLLECT_MODELS; i++)
		if (c->models[i])
			TRY(list_model(c, i, e));
	qsort(c->tensors, c->n_tensors, sizeof *c->tensors, compare);
	c->bytes += c->most * sizeof *c->sums;
	return OK;
out:
	collector_close(c);
	return st;
}

enum status collector_start(struct collector *c, const char *beside, struct err *e)
{
	uint64_t all;

	if (!u64_mul(c->most * sizeof *c->sums, c->n_layers, &all))
		return err_set(e, ERR_IO, "%s: no room for the sums", beside);
	for (size_t i = 0; i < c->n_sites; i++)
		if (!(c->sites[i].rows = mem_new((size_t)c->sites[i].n_matrices, sizeof(uint64_t), "counts of tokens", e)))
			return e->status;
	c->sums = mem_new((size_t)c->most, sizeof *c->sums, "sums of squares", e);
	return c->sums ? scratch_open(&c->scratch, beside, all, e) : e->status;
}

void collector_close(struct collector *c)
{
	for (size_t i = 0; i < c->n_sites; i++)
		free(c->sites[i].rows);
	for (int i = 0; i < COLLECT_MODELS; i++)
		free(c->site_at[i]);
	free(c->sites);
	free(c->tensors);
	free(c->sums);
	scratch_close(&c->scratch);
	*c = COLLECTOR_NONE;
}

/* ---- adding ---- */

/* The sums of this place's layer are those in memory. */
static enum status turn_to(struct collector *c, uint32_t place, struct err *e)
{
	size_t bytes = (size_t)c->most * sizeof *c->sums;
	enum status st;

	if (c->layer == place)
		return OK;
	TRY(scratch_write(&c->scratch, c->sums, bytes, (uint64_t)c->layer * bytes, e));
	TRY(scratch_read(&c->scratch, c->sums, bytes, (uint64_t)place * bytes, e));
	c->layer = place;
out:
	return st;
}

struct addition { double *sums; const float *x; size_t cols, n, stride; };
enum { CHUNK = 16, SMALL = 1 << 14 };	/* columns of a share; values that one thread adds by itself */

static void add_columns(const struct addition *a, size_t from, size_t to)
{
	for (size_t t = 0; t < a->n; t++) {
		const float *restrict x = a->x + t * a->stride;
		double *restrict sum = a->sums;

		for (size_t c = from; c < to; c++)
			sum[c] += (double)x[c] * (double)x[c];
	}
}

static void add_task(void *ctx, unsigned i, unsigned n)
{
	const struct addition *a = ctx;
	size_t from, to;

	pool_share((a->cols + CHUNK - 1) / CHUNK, i, n, &from, &to);
	add_columns(a, from * CHUNK, to * CHUNK < a->cols ? to * CHUNK : a->cols);
}

static enum status add_rows(struct collector *c, struct site *s, uint64_t matrix, const float *x, size_t n,
			    size_t stride, struct err *e)
{
	struct addition a = { c->sums + s->at + matrix * s->cols, x, (size_t)s->cols, n, stride };
	enum status st = turn_to(c, layer_place(s->layer), e);

	if (st != OK)
		return st;
	s->rows[matrix] += n;
	if (a.cols * n <= SMALL)
		add_columns(&a, 0, a.cols);
	else
		pool_run(c->pool, add_task, &a);
	return OK;
}

enum status collector_see(void *ctx, const struct linear *l, const float *x, struct err *e)
{
	struct collector *c = ctx;
	const struct model *m = l->w->model;
	uint32_t at = 0;
	struct site *s;

	for (int i = 0; i < COLLECT_MODELS && !at; i++)
		if (c->models[i] == m)
			at = c->site_at[i][l->w->want - m->wants.w];
	if (!at)
		return OK;
	s = &c->sites[at - 1];
	/* rows of a matrix that are multiplied group by group meet the same input, but for wo_a's */
	if (s->role == ROLE_OUTPUT || (l->row0 != 0 && s->rows_per_token == 1))
		return OK;
	return add_rows(c, s, l->matrix, x, l->n, l->x_stride, e);
}

enum status collector_output(struct collector *c, const float *x, size_t n, struct err *e)
{
	struct site *s = &c->sites[find_site(c, ROLE_OUTPUT, LAYER_NONE)];

	return add_rows(c, s, 0, x, n, (size_t)s->cols, e);
}

/* ---- what is written ---- */

enum status collector_matrix(void *ctx, size_t tensor, uint64_t matrix, float *sums, float *count, struct err *e)
{
	struct collector *c = ctx;
	const struct site *s = &c->sites[c->tensors[tensor].site];
	const double *from = c->sums + s->at + matrix * s->cols;
	uint64_t streams = s->role == ROLE_MTP_EH_PROJ ? c->models[1]->arch.n_hc : 0;
	double each = (double)s->rows_per_token;
	enum status st = turn_to(c, layer_place(s->layer), e);

	for (uint64_t i = 0; i < s->cols && st == OK; i++)
		sums[i] = (float)(streams && i < s->cols / 2 ? from[i] * (double)streams : from[i] / each);
	*count = (float)(streams ? s->rows[matrix] / (1 + streams) * streams : s->rows[matrix] / s->rows_per_token);
	return st;
}
