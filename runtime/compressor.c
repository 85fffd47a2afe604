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
	float *rows;
	uint32_t ratio;
	size_t d, wide, n_blocks;	/* channels of a row, of a product; blocks of a sequence */
	bool indexer;
};

enum { MAX_POOLED = 256 };

/* Softmax-weighted mean of n values by n gates, in double. */
static float pooled(const double *gate, const float *value, size_t n)
{
	double top = gate[0], sum = 0, out = 0;

	for (size_t i = 1; i < n; i++)
		top = gate[i] > top ? gate[i] : top;
	for (size_t i = 0; i < n; i++) {
		double p = exp(gate[i] - top);

		sum += p;
		out += p * (double)value[i];
	}
	return (float)(out / sum);
}

/* Channel c of block b: the gates and values that take part, first those of the block before. */
static float pool_channel(const struct compression *p, size_t seq, size_t b, size_t c)
{
	const struct forward *f = p->f;
	bool overlap = ratio_overlaps(p->ratio);
	double gate[MAX_POOLED];
	float value[MAX_POOLED];
	size_t n = 0;

	for (int half = overlap && b > 0 ? 0 : 1; half < 2; half++)
		for (size_t i = 0; i < p->ratio; i++, n++) {
			size_t t = seq * f->n_ctx + (b + (size_t)half - 1) * p->ratio + i;
			size_t ch = overlap && half ? c + p->d : c;

			gate[n] = (double)f->gate[t * p->wide + ch] + (double)p->ape[i * p->wide + ch];
			value[n] = f->up[t * p->wide + ch];
		}
	return pooled(gate, value, n);
}

static void compress_task(void *ctx, unsigned i, unsigned n)
{
	const struct compression *p = ctx;
	const struct forward *f = p->f;
	size_t from, to, n_rot = f->arch->n_rot;
	bool official = f->engine.official;

	pool_share(f->n_seq * p->n_blocks, i, n, &from, &to);
	for (size_t k = from; k < to; k++) {
		size_t b = k % p->n_blocks;
		float *row = p->rows + k * p->d;

		for (size_t c = 0; c < p->d; c++)
			row[c] = pool_channel(p, k / p->n_blocks, b, c);
		round_row(row, p->d, official);
		ops_rms_norm(row, row, p->norm, p->d, (double)f->arch->rms_eps);
		round_row(row, p->d, official);
		round_rope(row + p->d - n_rot, f->rope[1] + b * p->ratio * n_rot, n_rot / 2, false, official);
		if (p->indexer) {
			ops_hadamard(row, p->d);
			round_index(row, p->d, official);
		} else {
			round_key(row, p->d - n_rot, official);
		}
	}
}

enum status compress(struct forward *f, uint32_t layer, bool indexer, float *rows, struct err *e)
{
	static const enum role roles[2][4] = {
		{ ROLE_COMP_KV, ROLE_COMP_GATE, ROLE_COMP_APE, ROLE_COMP_NORM },
		{ ROLE_IDX_COMP_KV, ROLE_IDX_COMP_GATE, ROLE_IDX_COMP_APE, ROLE_IDX_COMP_NORM },
	};
	const struct arch *a = f->arch;
	uint32_t ratio = a->ratio[layer];
	size_t d = indexer ? a->idx_dim : a->head_dim, wide = ratio_overlaps(ratio) ? 2 * d : d;
	struct compression p = { .f = f, .rows = rows, .ratio = ratio, .d = d, .wide = wide,
				 .n_blocks = f->n_ctx / ratio, .indexer = indexer };
	float *ape = NULL, *norm = NULL;
	enum status st;

	if (p.n_blocks == 0)
		return OK;
	if (ratio > MAX_POOLED / 2)
		return err_set(e, ERR_UNSUPPORTED, "a compression ratio of %u is not known", ratio);
	TRY(linear_all(f, roles[indexer][0], layer, f->x, a->n_embd, f->up, wide, e));
	TRY(linear_all(f, roles[indexer][1], layer, f->x, a->n_embd, f->gate, wide, e));
	if (!(ape = small_load(f, roles[indexer][2], layer, ratio * wide, e)) ||
	    !(norm = small_load(f, roles[indexer][3], layer, d, e))) {
		st = e->status;
		goto out;
	}
	p.ape = ape;
	p.norm = norm;
	TRY(engine_run(&f->engine, compress_task, &p, e));
out:
	free(ape);
	free(norm);
	return st;
}

/* ---- the indexer ---- */

struct indexing { struct forward *f; uint32_t ratio; size_t n_blocks; };

/* score[b] = sum over heads of weight * relu(query . row b), in head order */
static void score_rows(const struct indexing *x, size_t t, size_t visible, struct lane *lane)
{
	const struct forward *f = x->f;
	size_t heads = f->arch->idx_head, d = f->arch->idx_dim, at = t % f->n_ctx, n_rot = f->arch->n_rot;
	double scale = 1 / sqrt((double)d) / sqrt((double)heads);
	bool official = f->engine.official;
	float *q = f->idx_q + t * heads * d;
	float *weight = f->idx_w + t * heads;
	struct matmul m = { .w = f->idx_rows + t / f->n_ctx * x->n_blocks * d, .rows = visible, .cols = d,
			    .x = q, .n = heads, .x_stride = d, .y = lane->work, .y_stride = visible,
			    .wide = official };

	for (size_t h = 0; h < heads; h++) {
		round_rope(q + h * d + d - n_rot, f->rope[1] + at * n_rot, n_rot / 2, false, official);
		ops_hadamard(q + h * d, d);
		round_index(q + h * d, d, official);
	}
	ops_matmul(&m);
	round_row(lane->work, heads * visible, official);
	for (size_t h = 0; h < heads && official; h++)
		weight[h] = round_bf16((float)((double)weight[h] * scale));
	for (size_t b = 0; b < visible; b++) {
		double sum = 0;

		for (size_t h = 0; h < heads; h++) {
			double dot = (double)lane->work[h * visible + b];

			dot = dot > 0 ? dot : 0;
			sum += official ? (double)round_bf16((float)(dot * (double)weight[h])) :
					  dot * (double)weight[h] * scale;
		}
		lane->score[b] = official ? (double)round_bf16((float)sum) : sum;
	}
}

static void pick_task(void *ctx, unsigned i, unsigned n)
{
	const struct indexing *x = ctx;
	const struct forward *f = x->f;
	struct lane *lane = &x->f->engine.lanes[i];
	size_t from, to, k = f->arch->idx_topk;

	pool_share(f->n_tok, i, n, &from, &to);
	for (size_t t = from; t < to; t++) {
		size_t visible = rows_visible((uint32_t)(t % f->n_ctx), x->ratio);

		if (visible <= k)
			continue;	/* all of them are seen: there is nothing to choose */
		score_rows(x, t, visible, lane);
		ops_top_k(lane->score, visible, k, lane->ranked, f->pick + t * k);
	}
}

enum status index_pick(struct forward *f, uint32_t layer, struct err *e)
{
	const struct arch *a = f->arch;
	struct indexing x = { f, a->ratio[layer], f->n_ctx / a->ratio[layer] };
	enum status st;

	TRY(compress(f, layer, true, f->idx_rows, e));
	TRY(linear_all(f, ROLE_IDX_Q_B, layer, f->qa, a->q_lora, f->idx_q, (size_t)a->idx_head * a->idx_dim, e));
	TRY(linear_all(f, ROLE_IDX_PROJ, layer, f->x, a->n_embd, f->idx_w, a->idx_head, e));
	TRY(engine_run(&f->engine, pick_task, &x, e));
out:
	return st;
}
