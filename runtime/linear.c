/* SPDX-License-Identifier: MIT
 *
 * linear.c - products of activations with weights that are streamed from the file.
 *
 * Each thread takes a fixed share of the rows and multiplies a tile of them at a time, as they are in
 * the file, with every token (product.c), so that a weight is read once a batch whatever its size, and
 * the memory for it is a tile a thread. With official activations the input of a quantized matrix is
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
	*g = (struct engine){ 0 };
}

enum status engine_run(struct engine *g, void (*task)(void *ctx, unsigned i, unsigned n), void *ctx,
		       struct err *e)
{
	for (unsigned i = 0; i < g->pool->n; i++)
		g->lanes[i].status = OK;
	pool_run(g->pool, task, ctx);
	for (unsigned i = 0; i < g->pool->n; i++)
		if (g->lanes[i].status != OK) {
			*e = g->lanes[i].err;
			return e->status;
		}
	return OK;
}

struct job { struct engine *g; const struct linear *l; enum product product; };

static void round_task(void *ctx, unsigned i, unsigned n)
{
	const struct job *j = ctx;
	const struct linear *l = j->l;
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

/* Rows [r0, r1) of the matrix by all tokens, with official activations: lanes in double. */
static enum status multiply_wide(const struct job *j, uint64_t r0, uint64_t r1, struct lane *lane)
{
	const struct linear *l = j->l;
	struct matmul m = { .w = lane->tile, .rows = (size_t)(r1 - r0), .cols = (size_t)l->w->cols,
			    .x = j->product == PRODUCT_QUANTIZED ? l->rounded : l->x, .n = l->n,
			    .x_stride = l->x_stride, .y = l->y + r0, .y_stride = l->y_stride, .wide = true };
	enum status st;

	TRY(weight_rows(l->w, l->matrix, l->row0 + r0, l->row0 + r1, lane->tile, &lane->scratch, &lane->err));
	if (l->y_low)
		product_pairs(&m, l->y_low + r0);
	else
		ops_matmul(&m);
	for (size_t t = 0; t < m.n && j->product != PRODUCT_F32; t++)
		round_bf16_run(m.y + t * m.y_stride, m.rows);
out:
	return st;
}

static enum status multiply(const struct job *j, uint64_t r0, uint64_t r1, struct lane *lane)
{
	const struct linear *l = j->l;
	struct raw_product p = { .n_rows = (size_t)(r1 - r0), .cols = (size_t)l->w->cols, .x = l->x, .n = l->n,
				 .x_stride = l->x_stride, .y = l->y + r0, .y_stride = l->y_stride };
	struct rows rows;
	enum status st;

	if (j->g->official)
		return multiply_wide(j, r0, r1, lane);
	TRY(weight_raw(l->w, l->matrix, l->row0 + r0, l->row0 + r1, &rows, &lane->scratch, &lane->err));
	p.type = rows.type;
	p.rows = rows.bytes;
	product_by(kernels(), &p, lane->tile);
out:
	return st;
}

static void linear_task(void *ctx, unsigned i, unsigned n)
{
	const struct job *j = ctx;
	struct lane *lane = &j->g->lanes[i];
	size_t from, to, cols = (size_t)j->l->w->cols, step = product_rows(cols);
	void *p = lane->tile;

	pool_share((size_t)j->l->n_rows, i, n, &from, &to);
	if (from == to)
		return;
	lane->status = mem_grow(&p, &lane->tile_cap, product_room(cols), sizeof(float),
				"a tile of weights", &lane->err);
	lane->tile = p;
	for (uint64_t r = from; r < to && lane->status == OK; r += step)
		lane->status = multiply(j, r, u64_min(to, r + step), lane);
}

/* All its rows, as many at a time as are in memory. */
static enum status held_rows(struct engine *g, enum product product, const struct linear *l, struct err *e)
{
	struct weight w = *l->w;
	struct linear part = *l;
	struct job j = { g, &part, product };
	uint64_t last = l->row0 + l->n_rows, end;
	enum status st = OK;

	part.w = &w;
	for (; part.row0 < last && st == OK; part.row0 = end) {
		TRY(weight_hold(&w, l->matrix, part.row0, last, &end, e));
		part.n_rows = end - part.row0;
		part.y = l->y + (part.row0 - l->row0);
		part.y_low = l->y_low ? l->y_low + (part.row0 - l->row0) : NULL;
		st = engine_run(g, linear_task, &j, e);
		weight_release(&w);
	}
out:
	return st;
}

enum status linear(struct engine *g, const struct linear *l, struct err *e)
{
	struct job j = { g, l, g->official ? product_of(l->w->want->role) : PRODUCT_F32 };
	enum status st;

	if (l->n == 0)
		return OK;
	if (g->tick && !g->tick(g->tick_ctx))
		return err_set(e, ERR_STOPPED, "stopped; run it again from the start");
	if (j.product == PRODUCT_QUANTIZED)
		TRY(engine_run(g, round_task, &j, e));
	if (g->see)
		TRY(g->see(g->see_ctx, l, j.product == PRODUCT_QUANTIZED ? l->rounded : l->x, e));
	TRY(held_rows(g, j.product, l, e));
out:
	return st;
}

uint64_t engine_bytes(unsigned n_threads, const struct wants *wants)
{
	uint64_t most = 0;

	for (size_t i = 0; i < wants->n; i++) {
		uint64_t cols = wants->w[i].shape[wants->w[i].n_dims - 1];
		/* the tile; its rows as they are in the file, or repacked, scales and all */
		uint64_t bytes = product_room((size_t)cols) * sizeof(float) + product_rows((size_t)cols) * cols * 9;

		most = bytes > most ? bytes : most;
	}
	return n_threads * (sizeof(struct lane) + most);
}
