/* SPDX-License-Identifier: MIT
 *
 * attention.c - one head of keys that are also the values, for all query heads.
 *
 * Position t sees the last `window` raw rows, itself included, and the compressed rows of blocks
 * that are complete (ratio 4: those that the indexer picked, once there are more than it may pick),
 * in one softmax with a sink per head that takes probability and gives nothing. Rows carry their
 * rotation as values too; the output is turned back by the query's position. Heads are worked
 * through in the groups of the output projection, so that only one group's queries are in memory.
 */
#include "runtime/layer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct attend {
	struct forward *f;
	uint32_t layer, ratio;
	size_t n_blocks, heads, first_head;	/* of a sequence; of a group; of this group */
	size_t n_kept;				/* rows before the batch's first that are at hand */
	bool picked;
	const float *sinks;			/* (n_head) */
	_Atomic size_t next;			/* share that nobody has taken */
};

/* ---- rows: of all tokens, then queries of those that are kept ---- */

struct norming { struct forward *f; const float *norm; uint32_t ratio; };

static void key_task(void *ctx, unsigned i, unsigned n)
{
	const struct norming *k = ctx;
	const struct forward *f = k->f;
	const struct arch *a = f->arch;
	size_t from, to, n_rot = a->n_rot;

	pool_share(f->n_tok, i, n, &from, &to);
	for (size_t t = from; t < to; t++) {
		float *kv = f->kv + t * a->head_dim;

		ops_rms_norm(kv, kv, k->norm, a->head_dim, (double)a->rms_eps);
		round_row(kv, a->head_dim, f->engine.official);
		round_rope(kv + a->head_dim - n_rot, f->rope[k->ratio != 0] + t % f->n_new * n_rot, n_rot / 2,
			   false, f->engine.official);
		round_key(kv, a->head_dim - n_rot, f->engine.official);
	}
}

static void query_task(void *ctx, unsigned i, unsigned n)
{
	const struct norming *k = ctx;
	const struct forward *f = k->f;
	size_t from, to, q_lora = f->arch->q_lora;

	pool_share(f->n_tok, i, n, &from, &to);
	for (size_t t = from; t < to; t++) {
		float *qa = f->qa + t * q_lora;

		ops_rms_norm(qa, qa, k->norm, q_lora, (double)f->arch->rms_eps);
		round_row(qa, q_lora, f->engine.official);
	}
}

/* x -> y (n_tok, width), each row normed by a small tensor and made ready by a task */
static enum status make_normed(struct forward *f, uint32_t layer, enum role product, enum role norm, float *y,
			       uint32_t width, void (*task)(void *ctx, unsigned i, unsigned n), struct err *e)
{
	struct norming k = { .f = f, .ratio = f->arch->ratio[layer] };
	float *weight = NULL;
	enum status st;

	TRY(linear_all(f, product, layer, f->x, f->arch->n_embd, y, width, e));
	k.norm = weight = small_load(f, norm, layer, width, e);
	st = weight ? engine_run(&f->engine, task, &k, e) : e->status;
out:
	free(weight);
	return st;
}

static enum status make_rows(struct forward *f, uint32_t layer, struct err *e)
{
	const struct arch *a = f->arch;
	bool picked = rows_are_picked(a, f->n_ctx, a->ratio[layer]);
	enum status st;

	TRY(make_normed(f, layer, ROLE_ATTN_KV, ROLE_ATTN_KV_NORM, f->kv, a->head_dim, key_task, e));
	if (a->ratio[layer])
		TRY(compress(f, layer, false, e));
	if (picked)
		TRY(compress(f, layer, true, e));
	leave_out(f);
	TRY(make_normed(f, layer, ROLE_ATTN_Q_A, ROLE_ATTN_Q_A_NORM, f->qa, a->q_lora, query_task, e));
	if (picked)
		TRY(index_pick(f, layer, e));
out:
	return st;
}

/* Raw rows that the past has: those that the batch's first token sees besides its own. */
static size_t rows_kept(const struct forward *f)
{
	return f->past ? (size_t)u64_min(f->past->pos, f->arch->window - 1) : 0;
}

/* Those that the next token will see; the batch's attention is done. */
static void keep_rows(struct forward *f, uint32_t layer, size_t n_kept)
{
	size_t n = n_kept + f->n_rows, room = (size_t)u64_min(f->arch->window, f->n_ctx) - 1;

	if (f->past)
		kv_slide(f->past->layers[layer].raw, n_kept, f->kv, f->n_rows, n > room ? n - room : 0,
			 f->arch->head_dim);
}

/* ---- one group of heads ---- */

/* Runs of consecutive rows that a position sees, in the order in which they are summed. */
enum { BEFORE, NEW, COMPRESSED, RUNS };	/* raw ones of the past, of the batch; blocks */
struct seen { const float *rows; size_t n; };

static size_t count_seen(const struct seen seen[RUNS])
{
	return seen[BEFORE].n + seen[NEW].n + seen[COMPRESSED].n;
}

/* What token t of the batch sees; picked rows are gathered into room. */
static void rows_seen(const struct attend *g, size_t t, struct seen seen[RUNS], float *room)
{
	const struct forward *f = g->f;
	size_t i = t % f->n_new, at = f->pos + i, d = f->arch->head_dim, k = f->arch->idx_topk;
	size_t window = at + 1 < f->arch->window ? at + 1 : f->arch->window;
	size_t own = f->skipped + i, fresh = own + 1 < window ? own + 1 : window, before = window - fresh;
	size_t visible = rows_visible((uint32_t)at, g->ratio);
	const float *rows = NULL;

	seen[BEFORE] = (struct seen){ NULL, before };
	if (before)
		seen[BEFORE].rows = f->past->layers[g->layer].raw + (g->n_kept - before) * d;
	seen[NEW] = (struct seen){ f->kv + (t / f->n_new * f->n_rows + own + 1 - fresh) * d, fresh };
	if (visible)
		rows = layer_rows(f, g->layer, false) + t / f->n_new * g->n_blocks * d;
	if (g->picked && visible > k) {
		for (size_t p = 0; p < k; p++)
			memcpy(room + p * d, rows + f->pick[t * k + p] * d, d * sizeof(float));
		rows = room;
		visible = k;
	}
	seen[COMPRESSED] = (struct seen){ rows, visible };
}

/* The official order: the weights are rounded to bf16 before they are divided by their sum, which
 * is returned for the output; the sink is left out of the maximum. dot has room for all. */
static double weigh_official(const float *q, size_t d, const struct seen seen[RUNS], double *dot, float *weight,
			     double sink)
{
	double top = -INFINITY, sum = 0, scale = 1 / sqrt((double)d);
	size_t n = 0;

	for (int s = 0; s < RUNS; s++)
		for (size_t i = 0; i < seen[s].n; i++, n++) {
			dot[n] = ops_dot_wide(seen[s].rows + i * d, q, d) * scale;
			top = dot[n] > top ? dot[n] : top;
		}
	for (size_t i = 0; i < n; i++) {
		double p = exp(dot[i] - top);

		sum += p;
		weight[i] = round_bf16((float)p);
	}
	return sum + exp(sink - top);
}

/* A query's head: unit mean square, rotated. The official code takes every step in bf16. */
static void ready_query(const struct forward *f, float *q, const double *turn)
{
	size_t d = f->arch->head_dim, n_rot = f->arch->n_rot;
	double eps = (double)f->arch->rms_eps;

	if (f->engine.official) {
		double sum = 0;
		float mean, unit;

		for (size_t i = 0; i < d; i++)
			sum += (double)round_bf16(q[i] * q[i]);
		mean = round_bf16((float)(sum / (double)d));
		mean = round_bf16((float)((double)mean + eps));
		unit = round_bf16((float)(1 / sqrt((double)mean)));
		for (size_t i = 0; i < d; i++)
			q[i] = round_bf16(q[i] * unit);
	} else {
		ops_rms_norm(q, q, NULL, d, eps);
	}
	round_rope(q + d - n_rot, turn, n_rot / 2, false, f->engine.official);
}

/* out = bf16 of (sum of score[i] row i) / sum, in double; channel blocks stay in registers */
static void mix_official(float *out, size_t d, const struct seen seen[RUNS], const float *score, double sum)
{
	enum { BLOCK = 8 };

	for (size_t c = 0; c < d; c += BLOCK) {
		size_t n = d - c < BLOCK ? d - c : BLOCK;
		double acc[BLOCK] = { 0 };
		const float *w = score;

		for (int s = 0; s < RUNS; s++)
			for (size_t i = 0; i < seen[s].n; i++, w++)
				for (size_t k = 0; k < n; k++)
					acc[k] += (double)*w * (double)seen[s].rows[i * d + c + k];
		for (size_t k = 0; k < n; k++)
			out[c + k] = round_bf16((float)(acc[k] / sum));
	}
}

/* q of one head -> its output, in the same place, turned back */
static void attend_official(struct lane *lane, const struct seen seen[RUNS], float *weight, size_t d, double sink,
			    float *q)
{
	double sum = weigh_official(q, d, seen, lane->score, weight, sink);

	mix_official(q, d, seen, weight, sum);
}

/* The same for several heads, the first of them `first`, in float32: one product for the scores. */
static void attend_f32(const struct attend *g, const struct seen seen[RUNS], float *score, float *q,
		       size_t first, size_t heads)
{
	size_t d = g->f->arch->head_dim, n_seen = count_seen(seen), done = 0;
	double scale = 1 / sqrt((double)d);

	for (int s = 0; s < RUNS; done += seen[s++].n) {
		struct matmul m = { .w = seen[s].rows, .rows = seen[s].n, .cols = d, .x = q, .n = heads,
				    .x_stride = d, .y = score + done, .y_stride = n_seen };

		if (m.rows)
			ops_matmul(&m);
	}
	for (size_t h = 0; h < heads; h++)
		ops_softmax(score + h * n_seen, n_seen, scale, (double)g->sinks[first + h]);
	memset(q, 0, heads * d * sizeof(float));
	done = 0;
	for (int s = 0; s < RUNS; done += seen[s++].n)	/* a row that is read serves all heads */
		ops_mix_heads(q, heads, d, seen[s].rows, score + done, n_seen, seen[s].n);
}

/* Heads [first, first + heads) of the group, of token t: queries to outputs. */
static void attend_heads(const struct attend *g, struct lane *lane, size_t t, size_t first, size_t heads)
{
	const struct forward *f = g->f;
	const struct arch *a = f->arch;
	size_t d = a->head_dim, n_rot = a->n_rot;
	const double *turn = f->rope[g->ratio != 0] + t % f->n_new * n_rot;
	float *q = f->q + (t * g->heads + first) * d;
	float *score = lane->work + (g->picked ? (size_t)a->idx_topk * d : 0);
	bool official = f->engine.official;
	struct seen seen[RUNS];

	first += g->first_head;
	rows_seen(g, t, seen, lane->work);
	for (size_t h = 0; h < heads; h++)
		ready_query(f, q + h * d, turn);
	for (size_t h = 0; h < heads && official; h++)
		attend_official(lane, seen, score, d, (double)g->sinks[first + h], q + h * d);
	if (!official)
		attend_f32(g, seen, score, q, first, heads);
	for (size_t h = 0; h < heads; h++)
		round_rope(q + h * d + d - n_rot, turn, n_rot / 2, true, official);
}

/* Shares are tokens; where there are fewer of them than threads, parts of a token's heads. */
static void attend_task(void *ctx, unsigned i, unsigned n)
{
	struct attend *g = ctx;
	size_t n_tok = g->f->n_tok, parts = n_tok < n ? (n + n_tok - 1) / n_tok : 1;
	size_t k, first, last;

	parts = parts < g->heads ? parts : g->heads;
	while ((k = atomic_fetch_add(&g->next, 1)) < n_tok * parts) {
		pool_share(g->heads, (unsigned)(k % parts), (unsigned)parts, &first, &last);
		attend_heads(g, &g->f->engine.lanes[i], k / parts, first, last - first);
	}
}

struct room room_for_rows(const struct arch *a, uint32_t n_ctx, uint32_t ratio)
{
	bool picked = rows_are_picked(a, n_ctx, ratio);
	uint64_t blocks = ratio ? n_ctx / ratio : 0, heads = a->n_head / a->o_groups;
	uint64_t seen = u64_min(a->window, n_ctx) + (picked ? a->idx_topk : blocks);
	uint64_t attend = heads * seen + (picked ? (uint64_t)a->idx_topk * a->head_dim : 0);
	uint64_t index = picked ? a->idx_head * u64_min(blocks, INDEX_TILE) : 0;

	/* score: one head's with official activations */
	return (struct room){ attend > index ? attend : index, seen, picked ? blocks : 0 };
}

static enum status lane_room(struct forward *f, uint32_t layer, struct err *e)
{
	struct room r = room_for_rows(f->arch, f->n_ctx, f->arch->ratio[layer]);
	enum status st = OK;

	for (unsigned i = 0; i < f->engine.pool->n; i++) {
		struct lane *lane = &f->engine.lanes[i];
		void *work = lane->work, *score = lane->score, *ranked = lane->ranked;

		st = mem_grow(&work, &lane->work_cap, r.work, sizeof(float), "attention", e);
		lane->work = work;
		if (st == OK)
			st = mem_grow(&score, &lane->score_cap, r.score, sizeof(double), "attention", e);
		lane->score = score;
		if (st == OK)
			st = mem_grow(&ranked, &lane->ranked_cap, r.ranked, sizeof(uint64_t), "attention", e);
		lane->ranked = ranked;
		if (st != OK)
			break;
	}
	return st;
}

enum status attention(struct forward *f, uint32_t layer, struct err *e)
{
	const struct arch *a = f->arch;
	uint32_t ratio = a->ratio[layer];
	struct attend g = { .f = f, .layer = layer, .ratio = ratio, .n_blocks = ratio ? f->n_ctx / ratio : 0,
			    .heads = a->n_head / a->o_groups, .n_kept = rows_kept(f),
			    .picked = rows_are_picked(a, f->n_ctx, ratio) };
	size_t group = g.heads * a->head_dim, z_stride = (size_t)a->o_groups * a->o_lora;
	struct weight q_b, out_a;
	float *sinks = NULL;
	enum status st;

	TRY(lane_room(f, layer, e));
	TRY(make_rows(f, layer, e));
	TRY(weight_bind(&q_b, f->model, ROLE_ATTN_Q_B, layer, e));
	TRY(weight_bind(&out_a, f->model, ROLE_ATTN_OUTPUT_A, layer, e));
	sinks = small_load(f, ROLE_ATTN_SINKS, layer, a->n_head, e);
	if (!sinks)
		return e->status;
	g.sinks = sinks;
	for (uint32_t i = 0; i < a->o_groups; i++) {
		struct linear in = { .w = &q_b, .row0 = i * group, .n_rows = group, .x = f->qa, .n = f->n_tok,
				     .x_stride = a->q_lora, .rounded = f->qa, .y = f->q, .y_stride = group };
		struct linear out = { .w = &out_a, .row0 = (uint64_t)i * a->o_lora, .n_rows = a->o_lora,
				      .x = f->q, .n = f->n_tok, .x_stride = group,
				      .y = f->z + (size_t)i * a->o_lora, .y_stride = z_stride };

		g.first_head = i * g.heads;
		atomic_store(&g.next, 0);
		TRY(linear(&f->engine, &in, e));
		TRY(engine_run(&f->engine, attend_task, &g, e));
		TRY(linear(&f->engine, &out, e));
	}
	TRY(linear_all(f, ROLE_ATTN_OUTPUT_B, layer, f->z, z_stride, f->y, a->n_embd, e));
	keep_rows(f, layer, g.n_kept);
out:
	free(sinks);
	return st;
}
