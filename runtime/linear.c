/* SPDX-License-Identifier: MIT
 *
 * linear.c - products of activations with weights that are streamed from the file.
 *
 * Threads take a tile of rows at a time, whoever is free the next one, and multiply it, as it is in
 * the file, with every token (product.c), so that a weight is read once a batch whatever its size, and
 * the memory for it is a tile a thread. Where tokens are packed for that they are by all threads first, as many
 * at a time as their memory holds. Several products may run at once (those of a few experts), so that
 * there is less waiting for the slowest thread. With official activations the input of a quantized matrix is
 * rounded first (again, where several products share it: that changes nothing), and outputs after;
 * what is not rounded (hyper-connections, router, compressor) has low parts besides, as the roundings
 * that follow make a step of a last bit.
 */
#include "runtime/kernels.h"
#include "runtime/layer.h"

#include <stdlib.h>

enum status engine_open(struct engine *g, struct pool *pool, struct err *e)
{
	*g = (struct engine){ .pool = pool };
	if (kernels_init(e) != OK)
		return e->status;
	g->lanes = mem_new(pool->n, sizeof *g->lanes, "the threads' buffers", e);
	return g->lanes ? OK : e->status;
}

void engine_close(struct engine *g)
{
	for (unsigned i = 0; g->lanes && i < g->pool->n; i++) {
		weight_scratch_close(&g->lanes[i].scratch);
		free(g->lanes[i].tile);
		free(g->lanes[i].work);
		free(g->lanes[i].score);
		free(g->lanes[i].ranked);
	}
	free(g->lanes);
	free(g->packed);
	*g = (struct engine){ 0 };
}

/* The first error by tile, which is the same whoever took it: what is below a tile was taken before. */
static enum status first_error(const struct engine *g, struct err *e)
{
	const struct lane *first = NULL;

	for (unsigned i = 0; i < g->pool->n; i++)
		if (g->lanes[i].status != OK && (!first || g->lanes[i].tile_at < first->tile_at))
			first = &g->lanes[i];
	if (!first)
		return OK;
	*e = first->err;
	return e->status;
}

enum status engine_run(struct engine *g, void (*task)(void *ctx, unsigned i, unsigned n), void *ctx,
		       struct err *e)
{
	for (unsigned i = 0; i < g->pool->n; i++)
		g->lanes[i].status = OK, g->lanes[i].tile_at = 0;
	pool_run(g->pool, task, ctx);
	return first_error(g, e);
}

/* Products that run together, and which of their tokens are at work. */
struct job {
	struct engine *g;
	const struct linear *l; size_t n_l;	/* parts of what was asked for, as much as is held */
	enum product product[MOST_TOGETHER];
	size_t pass, n_passes;		/* share of each product's tokens */
	float *packed[MOST_TOGETHER];	/* these tokens, or NULL: they are multiplied as they are */
	size_t step;			/* rows of a tile */
	_Atomic size_t next;		/* tile */
};

/* Tokens [*t0, *t0 + n) of product i are at work. */
static size_t tokens_of(const struct job *j, size_t i, size_t *t0)
{
	size_t n = j->l[i].n;

	*t0 = n * j->pass / j->n_passes;
	return n * (j->pass + 1) / j->n_passes - *t0;
}

/* The same tokens as those of the product before? */
static bool shares_tokens(const struct job *j, size_t i)
{
	return i > 0 && j->l[i].x == j->l[i - 1].x;
}

static void round_task(void *ctx, unsigned i, unsigned n)
{
	const struct linear *l = ctx;
	size_t from, to;

	pool_share(l->n, i, n, &from, &to);
	for (size_t t = from; t < to; t++)
		round_fp8(l->rounded + t * l->x_stride, l->x + t * l->x_stride, (size_t)l->w->cols,
			  INPUT_BLOCK);
}

/* y + y_low = the sum: a double as two floats, for what is not rounded. */
static void product_pairs(const struct matmul *m, float *y_low)
{
	for (size_t t = 0; t < m->n; t++)
		for (size_t r = 0; r < m->rows; r++) {
			double sum = ops_dot_wide(m->w + r * m->cols, m->x + t * m->x_stride, m->cols);
			float y = (float)sum;

			m->y[t * m->y_stride + r] = y;
			y_low[t * m->y_stride + r] = (float)(sum - (double)y);
		}
}

/* Rows [r0, r1) of a matrix by all tokens, with official activations: lanes in double. */
static enum status multiply_wide(const struct linear *l, enum product product, uint64_t r0, uint64_t r1,
				 struct lane *lane)
{
	struct matmul m = { .w = lane->tile, .rows = (size_t)(r1 - r0), .cols = (size_t)l->w->cols,
			    .x = product == PRODUCT_QUANTIZED ? l->rounded : l->x, .n = l->n,
			    .x_stride = l->x_stride, .y = l->y + r0, .y_stride = l->y_stride, .wide = true };
	enum status st;

	TRY(weight_rows(l->w, l->matrix, l->row0 + r0, l->row0 + r1, lane->tile, &lane->scratch, &lane->err));
	if (l->y_low)
		product_pairs(&m, l->y_low + r0);
	else
		ops_matmul(&m);
	for (size_t t = 0; t < m.n && product != PRODUCT_F32; t++)
		round_bf16_run(m.y + t * m.y_stride, m.rows);
out:
	return st;
}

static enum status multiply(const struct job *j, size_t i, uint64_t r0, uint64_t r1, struct lane *lane)
{
	const struct linear *l = &j->l[i];
	size_t t0, n = tokens_of(j, i, &t0);
	struct raw_product p = { .n_rows = (size_t)(r1 - r0), .cols = (size_t)l->w->cols,
				 .x = l->x + t0 * l->x_stride, .n = n, .x_stride = l->x_stride,
				 .y = l->y + t0 * l->y_stride + r0, .y_stride = l->y_stride };
	const struct kernels *k = kernels();
	struct rows rows;
	enum status st;

	if (j->g->official)
		return multiply_wide(l, j->product[i], r0, r1, lane);
	TRY(weight_raw(l->w, l->matrix, l->row0 + r0, l->row0 + r1, &rows, &lane->scratch, &lane->err));
	p.type = rows.type;
	p.rows = rows.bytes;
	p.packed = product_packs(k, p.type, (size_t)l->n_rows, l->n) ? j->packed[i] : NULL;
	product_by(k, &p, lane->tile);
out:
	return st;
}

/* Tile at: of which matrix, and from which row on. False after the last. */
static bool find_tile(const struct job *j, size_t at, size_t *i, uint64_t *r0, uint64_t *r1)
{
	for (*i = 0; *i < j->n_l; ++*i) {
		uint64_t rows = j->l[*i].n_rows, tiles = u64_div_up(rows, j->step);

		if (at < tiles) {
			*r0 = at * j->step;
			*r1 = u64_min(rows, *r0 + j->step);
			return true;
		}
		at -= (size_t)tiles;
	}
	return false;
}

static size_t tile_floats(const struct engine *g, size_t cols)
{
	return g->official ? product_rows(cols) * cols : product_room(cols);
}

static void linear_task(void *ctx, unsigned i, unsigned n)
{
	struct job *j = ctx;
	struct lane *lane = &j->g->lanes[i];
	void *p = lane->tile;
	uint64_t r0, r1;
	size_t at, of;

	(void)n;
	lane->status = mem_grow(&p, &lane->tile_cap, tile_floats(j->g, (size_t)j->l->w->cols), sizeof(float),
				"a tile of weights", &lane->err);
	lane->tile = p;
	while (lane->status == OK && find_tile(j, at = atomic_fetch_add(&j->next, 1), &of, &r0, &r1)) {
		lane->tile_at = at;
		lane->status = multiply(j, of, r0, r1, lane);
	}
}

/* Groups of tokens of the products that have their own, one product's after the other's. */
static void pack_task(void *ctx, unsigned thread, unsigned n_threads)
{
	const struct job *j = ctx;
	size_t t0, from, to;

	for (size_t i = 0; i < j->n_l; i++) {
		const struct linear *l = &j->l[i];
		struct raw_product p = { .cols = (size_t)l->w->cols, .n = tokens_of(j, i, &t0), .x_stride = l->x_stride };

		p.x = l->x + t0 * l->x_stride;
		if (!j->packed[i] || shares_tokens(j, i))
			continue;
		pool_share(product_groups(kernels(), p.n), (thread + (unsigned)i) % n_threads, n_threads, &from, &to);
		for (size_t k = from; k < to; k++)
			product_pack(kernels(), &p, k, j->packed[i]);
	}
}

/* ---- which tokens, which tiles ---- */

enum { PACKED_FLOATS = 2 << 20, FEWEST_PACKED = 6 * TILE_TOKENS, TILES_A_THREAD = 16, RUNS_A_THREAD = 2 };

size_t linear_most_tokens(size_t cols)
{
	size_t n = PACKED_FLOATS / (cols ? product_packed(1, cols) : 1);

	return n > FEWEST_PACKED ? n : FEWEST_PACKED;
}

/* What its rows will be; what is not held and from a checkpoint does without packed tokens if it must. */
static bool wants_packed(const struct job *j, const struct linear *l)
{
	const struct weight *w = l->w;
	enum dtype type = w->held.rows.bytes ? w->held.rows.type : w->tensor ? w->tensor->dtype : DT_MXFP4;

	return !j->g->official && product_packs(kernels(), type, (size_t)l->n_rows, l->n);
}

/* Small enough that no thread waits long for another's last one. Rows in memory by few tokens are read at the
 * speed of memory, which likes long runs: two a thread. */
static size_t rows_of_tile(const struct job *j, bool packs)
{
	size_t most = product_rows((size_t)j->l->w->cols), n = 0, tiles = TILES_A_THREAD;
	bool held = !packs && !j->g->official;

	for (size_t i = 0; i < j->n_l; i++) {
		n += (size_t)j->l[i].n_rows;
		held &= j->l[i].w->held.rows.bytes != NULL;
	}
	if (held) {
		most = n;
		tiles = RUNS_A_THREAD;
	}
	n = n / j->g->pool->n / tiles / TILE_ROWS * TILE_ROWS;
	return n < TILE_ROWS ? TILE_ROWS : n < most ? n : most;
}

/* Places for the packed tokens of a pass, none where no product of these tokens wants them. */
static enum status place_packed(struct job *j, struct err *e)
{
	size_t cols = (size_t)j->l->w->cols, n = 0, each, at[MOST_TOGETHER];
	struct engine *g = j->g;
	void *p = g->packed;
	enum status st;

	for (size_t i = 0; i < j->n_l; i++) {
		each = (j->l[i].n + j->n_passes - 1) / j->n_passes;
		at[i] = shares_tokens(j, i) ? at[i - 1] : n;
		n += shares_tokens(j, i) ? 0 : each;
	}
	TRY(mem_grow(&p, &g->packed_cap, product_packed(n, cols) + PRODUCT_ALIGN, sizeof(float), "packed tokens", e));
	for (size_t i = 0; i < j->n_l; i++)
		j->packed[i] = product_aligned(p) + product_packed(at[i], cols);
out:
	g->packed = p;
	return st;
}

static enum status run_tiles(struct job *j, struct err *e)
{
	atomic_store(&j->next, 0);
	return engine_run(j->g, linear_task, j, e);
}

/* All rows of the job by all tokens. */
static enum status run_tokens(struct job *j, struct err *e)
{
	size_t most = linear_most_tokens((size_t)j->l->w->cols);
	bool packs = false;
	enum status st;

	j->n_passes = 1;
	for (size_t i = 0; i < j->n_l; i++) {
		j->packed[i] = NULL;
		packs |= wants_packed(j, &j->l[i]);
	}
	j->step = rows_of_tile(j, packs);
	if (packs) {
		j->n_passes = (j->l->n + most - 1) / most;	/* 1 if tokens differ */
		TRY(place_packed(j, e));
	}
	for (j->pass = 0; j->pass < j->n_passes; j->pass++) {
		if (packs)
			TRY(engine_run(j->g, pack_task, j, e));
		TRY(run_tiles(j, e));
	}
	st = OK;
out:
	return st;
}

/* Holds rows from `done` on of each matrix, *end of them by all. */
static enum status hold(struct weight *w, const struct linear *l, size_t n_l, uint64_t done, uint64_t *end,
			struct err *e)
{
	uint64_t last;
	enum status st = OK;

	*end = l->n_rows;
	for (size_t i = 0; i < n_l && st == OK; i++) {
		uint64_t row0 = l[i].row0;

		st = weight_hold(&w[i], l[i].matrix, row0 + done, row0 + l[i].n_rows, &last, e);
		*end = u64_min(*end, last - row0);
	}
	return st;
}

/* All rows, as many at a time as are in memory. */
static enum status held_rows(struct job *j, const struct linear *l, struct err *e)
{
	struct weight w[MOST_TOGETHER];
	struct linear part[MOST_TOGETHER];
	enum status st = OK;

	for (size_t i = 0; i < j->n_l; i++)
		w[i] = *l[i].w;
	j->l = part;
	for (uint64_t done = 0, end; done < l->n_rows && st == OK; done = end) {
		st = hold(w, l, j->n_l, done, &end, e);
		for (size_t i = 0; i < j->n_l; i++) {
			part[i] = l[i];
			part[i].w = &w[i];
			part[i].row0 += done;
			part[i].n_rows = end - done;
			part[i].y += done;
			part[i].y_low = l[i].y_low ? l[i].y_low + done : NULL;
		}
		if (st == OK)
			st = run_tokens(j, e);
		for (size_t i = 0; i < j->n_l; i++)
			weight_release(&w[i]);
	}
	return st;
}

enum status linear_together(struct engine *g, const struct linear *l, size_t n, struct err *e)
{
	struct job j = { .g = g, .l = l, .n_l = n };
	enum status st;

	if (l->n == 0)
		return OK;
	if (g->tick && !g->tick(g->tick_ctx))
		return err_set(e, ERR_STOPPED, "stopped; run it again from the start");
	for (size_t i = 0; i < n; i++) {
		struct linear round = l[i];

		j.product[i] = g->official ? product_of(l[i].w->want->role) : PRODUCT_F32;
		if (j.product[i] == PRODUCT_QUANTIZED && !shares_tokens(&j, i))
			TRY(engine_run(g, round_task, &round, e));
		if (g->see)
			TRY(g->see(g->see_ctx, &l[i], j.product[i] == PRODUCT_QUANTIZED ? l[i].rounded : l[i].x, e));
	}
	TRY(held_rows(&j, l, e));
out:
	return st;
}

enum status linear(struct engine *g, const struct linear *l, struct err *e)
{
	return linear_together(g, l, 1, e);
}

uint64_t engine_bytes(unsigned n_threads, uint64_t n_tok, const struct wants *wants)
{
	uint64_t most = 0, packed = 0;

	for (size_t i = 0; i < wants->n; i++) {
		uint64_t cols = wants->w[i].shape[wants->w[i].n_dims - 1], rows = product_rows((size_t)cols);
		/* the tile; its rows as they are in the file, or repacked, scales and all */
		uint64_t tile = rows * cols > product_room((size_t)cols) ? rows * cols : product_room((size_t)cols);
		uint64_t bytes = tile * sizeof(float) + rows * cols * 9;

		most = bytes > most ? bytes : most;
		bytes = u64_min(n_tok, linear_most_tokens((size_t)cols));
		bytes = (product_packed((size_t)bytes, (size_t)cols) + PRODUCT_ALIGN) * sizeof(float);
		packed = bytes > packed ? bytes : packed;
	}
	return n_threads * (sizeof(struct lane) + most) + packed;
}
