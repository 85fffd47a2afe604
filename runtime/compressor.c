/* SPDX-License-Identifier: MIT
 *
 * compressor.c - rows that stand for blocks of positions, and the indexer that picks among them.
 *
 * Block b of ratio r covers positions r b .. r b + r - 1; each channel is a softmax-weighted mean
 * of the block's values, the weights gated per channel with a bias by place in the block. Ratio 4
 * overlaps: the block before takes part with the first half of the channels, the block itself with
 * the second half. A row is normed and turned to its block's first position; the indexer's rows
 * also pass a Hadamard transform. A row is visible from the block's last position on.
 */
#include "runtime/layer.h"

#include <math.h>
#include <stdlib.h>

struct compression {
	struct forward *f;
	const float *ape, *norm;
	struct products { const float *up, *gate, *up_low, *gate_low; }
		fresh, past;		/* of the batch; of the past, from position `first` on */
	float *rows;
	uint32_t ratio, first;
	size_t d, wide, n_blocks;	/* channels of a row, of a product; blocks of a sequence */
	size_t from, n_new;		/* blocks that the batch completes */
	bool indexer;
};

enum { MAX_POOLED = 256 };

/* Softmax-weighted mean of n values by n gates. */
static float pooled(const double *gate, const double *value, size_t n)
{
	double top = gate[0], sum = 0, out = 0;

	for (size_t i = 1; i < n; i++)
		top = gate[i] > top ? gate[i] : top;
	for (size_t i = 0; i < n; i++) {
		double p = exp(gate[i] - top);

		sum += p;
		out += p * value[i];
	}
	return (float)(out / sum);
}

/* Gate and value of a position's channel, of the batch or of the past. */
static void product(const struct compression *p, size_t seq, size_t pos, size_t channel, double *gate,
		    double *value)
{
	size_t start = p->f->pos;
	const struct products *from = pos >= start ? &p->fresh : &p->past;
	size_t row = pos >= start ? seq * p->f->n_new + pos - start : pos - p->first;

	*gate = wide_value(from->gate, from->gate_low, row * p->wide + channel);
	*value = wide_value(from->up, from->up_low, row * p->wide + channel);
}

/* Channel c of block b: the gates and values that take part, first those of the block before. */
static float pool_channel(const struct compression *p, size_t seq, size_t b, size_t c)
{
	bool overlap = ratio_overlaps(p->ratio);
	double gate[MAX_POOLED], value[MAX_POOLED];
	size_t n = 0;

	for (int half = overlap && b > 0 ? 0 : 1; half < 2; half++)
		for (size_t i = 0; i < p->ratio; i++, n++) {
			size_t pos = (b + (size_t)half - 1) * p->ratio + i;
			size_t ch = overlap && half ? c + p->d : c;

			product(p, seq, pos, ch, &gate[n], &value[n]);
			gate[n] += (double)p->ape[i * p->wide + ch];
		}
	return pooled(gate, value, n);
}

/* A row of block b in float32, all channels at a time. */
static void pool_row(const struct compression *p, size_t seq, size_t b, float *row)
{
	bool overlap = ratio_overlaps(p->ratio);
	const float *gate[MAX_POOLED], *value[MAX_POOLED], *bias[MAX_POOLED];
	size_t n = 0, start = p->f->pos;

	for (int half = overlap && b > 0 ? 0 : 1; half < 2; half++)
		for (size_t i = 0; i < p->ratio; i++, n++) {
			size_t pos = (b + (size_t)half - 1) * p->ratio + i, ch = overlap && half ? p->d : 0;
			const struct products *from = pos >= start ? &p->fresh : &p->past;
			size_t at = pos >= start ? seq * p->f->n_new + pos - start : pos - p->first;

			gate[n] = from->gate + at * p->wide + ch;
			value[n] = from->up + at * p->wide + ch;
			bias[n] = p->ape + i * p->wide + ch;
		}
	ops_pool(row, p->d, n, gate, bias, value);
}

static void compress_task(void *ctx, unsigned i, unsigned n)
{
	const struct compression *p = ctx;
	const struct forward *f = p->f;
	size_t from, to, n_rot = f->arch->n_rot;
	double *turn = f->turn + i * f->n_turn;
	bool official = f->engine.official;

	pool_share(f->n_seq * p->n_new, i, n, &from, &to);
	for (size_t k = from; k < to; k++) {
		size_t seq = k / p->n_new, b = p->from + k % p->n_new;
		float *row = p->rows + (seq * p->n_blocks + b) * p->d;

		for (size_t c = 0; c < p->d && official; c++)
			row[c] = pool_channel(p, seq, b, c);
		if (!official)
			pool_row(p, seq, b, row);
		round_row(row, p->d, official);
		ops_rms_norm(row, row, p->norm, p->d, (double)f->arch->rms_eps);
		round_row(row, p->d, official);
		ops_rope_row(turn, f->freq[1], n_rot / 2, b * p->ratio);
		round_rope(row + p->d - n_rot, turn, n_rot / 2, false, official);
		if (p->indexer)
			round_hadamard(row, p->d, turn, official);
		else
			round_key(row, p->d - n_rot, official);
	}
}

/* The products that blocks after this batch need. */
static void keep_products(const struct compression *p, uint32_t layer)
{
	const struct forward *f = p->f;
	struct kv_layer *kept = &f->past->layers[layer];
	size_t n_kept = f->pos - p->first, drop = products_from(f->pos + f->n_new, p->ratio) - p->first;

	kv_slide(kept->up[p->indexer], n_kept, f->up, f->n_new, drop, p->wide);
	kv_slide(kept->gate[p->indexer], n_kept, f->gate, f->n_new, drop, p->wide);
	if (!f->engine.official)
		return;
	kv_slide(kept->up_low[p->indexer], n_kept, f->up_low, f->n_new, drop, p->wide);
	kv_slide(kept->gate_low[p->indexer], n_kept, f->gate_low, f->n_new, drop, p->wide);
}

enum status compress(struct forward *f, uint32_t layer, bool indexer, struct err *e)
{
	static const enum role roles[2][4] = {
		{ ROLE_COMP_KV, ROLE_COMP_GATE, ROLE_COMP_APE, ROLE_COMP_NORM },
		{ ROLE_IDX_COMP_KV, ROLE_IDX_COMP_GATE, ROLE_IDX_COMP_APE, ROLE_IDX_COMP_NORM },
	};
	const struct arch *a = f->arch;
	uint32_t ratio = a->ratio[layer];
	size_t d = indexer ? a->idx_dim : a->head_dim, wide = ratio_overlaps(ratio) ? 2 * d : d;
	struct compression p = { .f = f, .rows = layer_rows(f, layer, indexer), .ratio = ratio,
				 .first = products_from(f->pos, ratio), .d = d, .wide = wide,
				 .n_blocks = f->n_ctx / ratio, .from = f->pos / ratio,
				 .n_new = (f->pos + f->n_new) / ratio - f->pos / ratio, .indexer = indexer,
				 .fresh = { f->up, f->gate, if_official(f, f->up_low),
					    if_official(f, f->gate_low) } };
	float *ape = NULL, *norm = NULL;
	enum status st;

	if (p.n_blocks == 0)
		return OK;
	if (ratio > MAX_POOLED / 2)
		return err_set(e, ERR_UNSUPPORTED, "a compression ratio of %u is not known", ratio);
	TRY(linear_pairs(f, roles[indexer][0], layer, f->x, a->n_embd, f->up, f->up_low, wide, e));
	TRY(linear_pairs(f, roles[indexer][1], layer, f->x, a->n_embd, f->gate, f->gate_low, wide, e));
	if (!(ape = small_load(f, roles[indexer][2], layer, ratio * wide, e)) ||
	    !(norm = small_load(f, roles[indexer][3], layer, d, e))) {
		st = e->status;
		goto out;
	}
	p.ape = ape;
	p.norm = norm;
	if (f->past) {
		const struct kv_layer *k = &f->past->layers[layer];

		p.past = (struct products){ k->up[indexer], k->gate[indexer],
					    if_official(f, k->up_low[indexer]),
					    if_official(f, k->gate_low[indexer]) };
	}
	TRY(engine_run(&f->engine, compress_task, &p, e));
	if (f->past)
		keep_products(&p, layer);
out:
	free(ape);
	free(norm);
	return st;
}

/* ---- the indexer ---- */

/* Tokens [first, first + n) of the batch, as many as there are rows of scores. */
struct indexing { struct forward *f; const float *rows; uint32_t ratio; size_t n_blocks, first, n; };

static void ready_task(void *ctx, unsigned i, unsigned n)
{
	const struct indexing *x = ctx;
	const struct forward *f = x->f;
	size_t from, to, heads = f->arch->idx_head, d = f->arch->idx_dim, n_rot = f->arch->n_rot;
	double scale = 1 / sqrt((double)d) / sqrt((double)heads);
	bool official = f->engine.official;

	pool_share(f->n_tok, i, n, &from, &to);
	for (size_t t = from; t < to; t++) {
		const double *turn = f->rope[1] + t % f->n_new * n_rot;
		float *q = f->idx_q + t * heads * d, *weight = f->idx_w + t * heads;

		for (size_t h = 0; h < heads; h++) {
			round_rope(q + h * d + d - n_rot, turn, n_rot / 2, false, official);
			round_hadamard(q + h * d, d, f->turn + i * f->n_turn, official);
			if (official)
				weight[h] = round_bf16((float)((double)weight[h] * scale));
		}
	}
}

/* score[b] = sum over heads of weight * relu(query . row b), in head order; rows [from, from + n) */
static void score_rows(const struct indexing *x, size_t t, size_t from, size_t n, float *dots, double *score)
{
	const struct forward *f = x->f;
	size_t heads = f->arch->idx_head, d = f->arch->idx_dim;
	double scale = 1 / sqrt((double)d) / sqrt((double)heads);
	bool official = f->engine.official;
	const float *weight = f->idx_w + t * heads;
	struct matmul m = { .w = x->rows + (t / f->n_new * x->n_blocks + from) * d, .rows = n, .cols = d,
			    .x = f->idx_q + t * heads * d, .n = heads, .x_stride = d, .y = dots,
			    .y_stride = n, .wide = official };

	ops_matmul(&m);
	round_row(dots, heads * n, official);
	for (size_t b = 0; b < n; b++) {
		double sum = 0;

		for (size_t h = 0; h < heads; h++) {
			double dot = (double)dots[h * n + b];

			dot = dot > 0 ? dot : 0;
			sum += official ? (double)round_bf16((float)(dot * (double)weight[h])) :
					  dot * (double)weight[h] * scale;
		}
		score[from + b] = official ? (double)round_bf16((float)sum) : sum;
	}
}

/* Rows that token t sees if it has to choose, else 0. */
static size_t rows_to_score(const struct indexing *x, size_t t)
{
	size_t visible = rows_visible(x->f->pos + (uint32_t)(t % x->f->n_new), x->ratio);

	return visible > x->f->arch->idx_topk ? visible : 0;
}

static void score_task(void *ctx, unsigned i, unsigned n)
{
	const struct indexing *x = ctx;
	size_t from, to, tiles = (x->n_blocks + INDEX_TILE - 1) / INDEX_TILE;

	pool_share(x->n * tiles, i, n, &from, &to);
	for (size_t k = from; k < to; k++) {
		size_t row = k / tiles, first = k % tiles * INDEX_TILE, visible = rows_to_score(x, x->first + row);
		size_t left = first < visible ? visible - first : 0;

		if (left)
			score_rows(x, x->first + row, first, left < INDEX_TILE ? left : INDEX_TILE,
				   x->f->engine.lanes[i].work, x->f->idx_score + row * x->n_blocks);
	}
}

static void pick_task(void *ctx, unsigned i, unsigned n)
{
	const struct indexing *x = ctx;
	const struct forward *f = x->f;
	size_t from, to, k = f->arch->idx_topk;

	pool_share(x->n, i, n, &from, &to);
	for (size_t row = from; row < to; row++) {
		size_t t = x->first + row, visible = rows_to_score(x, t);

		if (visible)
			ops_top_k(f->idx_score + row * x->n_blocks, visible, k, f->engine.lanes[i].ranked,
				  f->pick + t * k);
	}
}

enum status index_pick(struct forward *f, uint32_t layer, struct err *e)
{
	const struct arch *a = f->arch;
	struct indexing x = { .f = f, .rows = layer_rows(f, layer, true), .ratio = a->ratio[layer],
			      .n_blocks = f->n_ctx / a->ratio[layer] };
	enum status st;

	if (rows_to_score(&x, f->n_new - 1) == 0)
		return OK;	/* all rows are seen by all: there is nothing to choose */
	TRY(linear_all(f, ROLE_IDX_Q_B, layer, f->qa, a->q_lora, f->idx_q, (size_t)a->idx_head * a->idx_dim, e));
	TRY(linear_all(f, ROLE_IDX_PROJ, layer, f->x, a->n_embd, f->idx_w, a->idx_head, e));
	TRY(engine_run(&f->engine, ready_task, &x, e));
	for (; x.first < f->n_tok; x.first += x.n) {
		x.n = (size_t)u64_min(f->score_rows, f->n_tok - x.first);
		TRY(engine_run(&f->engine, score_task, &x, e));
		TRY(engine_run(&f->engine, pick_task, &x, e));
	}
out:
	return st;
}
