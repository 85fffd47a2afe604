/* SPDX-License-Identifier: MIT
 *
 * moe.c - the feed-forward half of a layer: which experts a token goes to, and what they give.
 *
 * A token's experts come from a table by its id (the first layers) or are the best by affinity
 * plus a bias that counts for the choice alone. Affinity is sqrt(softplus(logit)); the weights of
 * the chosen sum to the routed scale. Tokens are gathered by expert, so an expert's matrices are
 * read once a batch and only where a token wants them; a few experts are computed at a time;
 * contributions are added in order of expert number. The clamp of SwiGLU holds for the shared expert too.
 */
#include "runtime/layer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct routing {
	struct forward *f;
	const float *bias;		/* (n_expert), NULL where the table decides */
	uint64_t *ranked;		/* a run of n_expert for each thread */
	double *score;
};

static void route_token(const struct routing *r, size_t t, uint64_t *ranked, double *score)
{
	const struct forward *f = r->f;
	const struct arch *a = f->arch;
	size_t k = a->n_expert_used;
	uint32_t *ids = f->expert + t * k;
	double *weight = f->expert_weight + t * k, sum = 0;
	const float *logit = f->router + t * a->n_expert, *low = if_official(f, f->low);

	low = low ? low + t * a->n_expert : NULL;

	if (r->bias) {
		for (size_t x = 0; x < a->n_expert; x++)
			score[x] = sqrt(ops_softplus(wide_value(logit, low, x))) + (double)r->bias[x];
		ops_top_k(score, a->n_expert, k, ranked, ids);
	}
	for (size_t i = 0; i < k; i++)
		sum += weight[i] = sqrt(ops_softplus(wide_value(logit, low, ids[i])));
	for (size_t i = 0; i < k; i++) {
		weight[i] = (a->norm_topk ? weight[i] / sum : weight[i]) * (double)a->routed_scale;
		if (!f->engine.official)
			weight[i] = (double)(float)weight[i];
	}
}

static void route_task(void *ctx, unsigned i, unsigned n)
{
	const struct routing *r = ctx;
	size_t from, to, n_expert = r->f->arch->n_expert;

	pool_share(r->f->n_tok, i, n, &from, &to);
	for (size_t t = from; t < to; t++)
		route_token(r, t, r->ranked + i * n_expert, r->score + i * n_expert);
}

/* The table's row of every token. */
static enum status look_up(struct forward *f, uint32_t layer, struct err *e)
{
	struct weight table;
	enum status st;

	TRY(weight_bind(&table, f->model, ROLE_ROUTER_IDS, layer, e));
	for (size_t t = 0; t < f->n_tok; t++)
		TRY(weight_ids(&table, f->ids[t], f->expert + t * f->arch->n_expert_used,
			       &f->engine.lanes[0].scratch, e));
out:
	return st;
}

static enum status route(struct forward *f, uint32_t layer, struct err *e)
{
	const struct arch *a = f->arch;
	struct routing r = { .f = f };
	size_t n = (size_t)f->engine.pool->n * a->n_expert;
	float *bias = NULL;
	enum status st;

	TRY(linear_pairs(f, ROLE_ROUTER, layer, f->x, a->n_embd, f->router, f->low, a->n_expert, e));
	if (layer < a->n_hash_layer)
		TRY(look_up(f, layer, e));
	else if (!(bias = small_load(f, ROLE_ROUTER_BIAS, layer, a->n_expert, e)))
		return e->status;
	r.bias = bias;
	r.ranked = mem_new(n, sizeof *r.ranked, "routing", e);
	r.score = mem_new(n, sizeof *r.score, "routing", e);
	st = r.ranked && r.score ? engine_run(&f->engine, route_task, &r, e) : e->status;
out:
	free(bias);
	free(r.ranked);
	free(r.score);
	return st;
}

/* Pairs (token, place) by expert, tokens ascending within one: a counting sort. */
static void sort_pairs(struct forward *f)
{
	size_t n = f->n_tok * f->arch->n_expert_used, n_expert = f->arch->n_expert;
	uint32_t at = 0;

	memset(f->first, 0, (n_expert + 1) * sizeof *f->first);
	for (size_t i = 0; i < n; i++)
		f->first[f->expert[i]]++;
	for (size_t x = 0; x <= n_expert; x++) {	/* counts to starts */
		uint32_t count = f->first[x];

		f->first[x] = at;
		at += count;
	}
	for (size_t i = 0; i < n; i++)
		f->order[f->first[f->expert[i]]++] = (uint32_t)i;
	for (size_t x = n_expert; x > 0; x--)		/* each start moved on to the next one's */
		f->first[x] = f->first[x - 1];
	f->first[0] = 0;
}

/* ---- some experts, or the shared one ---- */

struct expert {
	struct forward *f;
	const uint32_t *pairs;		/* NULL for the shared expert: all tokens, weight 1 */
	size_t n;			/* tokens, with repetition: rows of the buffers */
	uint32_t first, last;		/* experts [first, last) */
};

static void gather_task(void *ctx, unsigned i, unsigned n)
{
	const struct expert *x = ctx;
	struct forward *f = x->f;
	size_t from, to, d = f->arch->n_embd, k = f->arch->n_expert_used;

	pool_share(x->n, i, n, &from, &to);
	for (size_t p = from; p < to; p++)
		memcpy(f->ex_x + p * d, f->x + x->pairs[p] / k * d, d * sizeof(float));
}

/* gate = weight * silu(min(gate, limit)) * clamp(up, -limit, limit), in double and then bf16 */
static void activate_official(float *gate, const float *up, size_t n, float limit, double weight)
{
	for (size_t c = 0; c < n; c++) {
		float g = gate[c] > limit ? limit : gate[c];
		float u = up[c] > limit ? limit : up[c] < -limit ? -limit : up[c];

		gate[c] = (float)((double)g * ops_sigmoid((double)g) * (double)u * weight);
	}
	round_bf16_run(gate, n);
}

static void activate_task(void *ctx, unsigned i, unsigned n)
{
	const struct expert *x = ctx;
	struct forward *f = x->f;
	size_t from, to, ff = f->arch->n_ff_exp;
	float limit = f->arch->swiglu_limit > 0 ? f->arch->swiglu_limit : INFINITY;

	pool_share(x->n, i, n, &from, &to);
	for (size_t p = from; p < to; p++) {
		double weight = x->pairs ? f->expert_weight[x->pairs[p]] : 1;

		if (f->engine.official)
			activate_official(f->ex_gate + p * ff, f->ex_up + p * ff, ff, limit, weight);
		else
			ops_swiglu(f->ex_gate + p * ff, f->ex_up + p * ff, ff, limit, (float)weight);
	}
}

/* y + low += v; the last one's sum is then rounded */
static void add_wide(float *y, float *low, const float *v, size_t n, bool last)
{
	for (size_t c = 0; c < n; c++) {
		double sum = wide_value(y, low, c) + (double)v[c];

		y[c] = last ? round_bf16((float)sum) : (float)sum;
		low[c] = (float)(sum - (double)y[c]);
	}
}

/* Shares are channels: a token's experts are added in their order. */
static void add_task(void *ctx, unsigned i, unsigned n)
{
	const struct expert *x = ctx;
	struct forward *f = x->f;
	size_t from, to, d = f->arch->n_embd, k = f->arch->n_expert_used;
	const float one = 1;

	pool_share(d, i, n, &from, &to);
	for (size_t p = 0; p < x->n && from < to; p++) {
		size_t at = (x->pairs ? x->pairs[p] / k : p) * d + from;

		if (f->engine.official)
			add_wide(f->y + at, f->low + at, f->ex_y + p * d + from, to - from, !x->pairs);
		else
			ops_mix(f->y + at, to - from, f->ex_y + p * d + from, &one, 1);
	}
}

/* Products of each expert's tokens with n of its matrices, all at once. */
static enum status multiply(const struct expert *x, const struct linear *like, size_t n, struct err *e)
{
	struct linear l[MOST_TOGETHER];
	const struct forward *f = x->f;
	size_t row = 0, n_l = 0;

	for (uint32_t i = x->first; i < x->last; i++) {
		size_t tokens = x->pairs ? f->first[i + 1] - f->first[i] : x->n;

		for (size_t k = 0; k < n && tokens; k++) {
			l[n_l] = like[k];
			l[n_l].matrix = i;
			l[n_l].n = tokens;
			l[n_l].x += row * like[k].x_stride;
			l[n_l].rounded += row * like[k].x_stride;
			l[n_l++].y += row * like[k].y_stride;
		}
		row += tokens;
	}
	return linear_together(&x->f->engine, l, n_l, e);
}

static enum status run_experts(struct expert *x, const struct weight *gate, const struct weight *up,
			       const struct weight *down, struct err *e)
{
	struct forward *f = x->f;
	size_t d = f->arch->n_embd, ff = f->arch->n_ff_exp;
	struct linear in[2] = { { .w = gate, .n_rows = ff, .x_stride = d, .x = x->pairs ? f->ex_x : f->x,
				  .rounded = f->ex_x, .y = f->ex_gate, .y_stride = ff } };
	struct linear out = { .w = down, .n_rows = d, .x_stride = ff, .x = f->ex_gate, .rounded = f->ex_gate,
			      .y = f->ex_y, .y_stride = d };
	enum status st;

	in[1] = in[0];
	in[1].w = up;
	in[1].y = f->ex_up;
	if (x->pairs)
		TRY(engine_run(&f->engine, gather_task, x, e));
	TRY(multiply(x, in, 2, e));
	TRY(engine_run(&f->engine, activate_task, x, e));
	TRY(multiply(x, &out, 1, e));
	TRY(engine_run(&f->engine, add_task, x, e));
out:
	return st;
}

/* The end of a run of experts from i on that go together: their tokens fit the buffers, their matrices memory. */
static uint32_t together(const struct forward *f, uint32_t i, uint64_t n_experts)
{
	const struct arch *a = f->arch;
	size_t most = linear_most_tokens(a->n_embd > a->n_ff_exp ? a->n_embd : a->n_ff_exp);
	uint32_t end = i + 1, used = f->first[end] > f->first[i];

	most = most < f->n_pairs ? most : f->n_pairs;
	for (; end < a->n_expert; end++) {
		used += f->first[end + 1] > f->first[end];
		if (f->first[end + 1] - f->first[i] > most || used > n_experts)
			break;
	}
	return end;
}

static enum status routed(struct forward *f, uint32_t layer, struct err *e)
{
	struct weight gate, up, down;
	uint64_t n;
	enum status st;

	TRY(weight_bind(&gate, f->model, ROLE_GATE_EXPS, layer, e));
	TRY(weight_bind(&up, f->model, ROLE_UP_EXPS, layer, e));
	TRY(weight_bind(&down, f->model, ROLE_DOWN_EXPS, layer, e));
	n = u64_min(MOST_TOGETHER, u64_min(weight_holds(&gate), weight_holds(&up))) / 2;
	for (uint32_t i = 0, end; i < f->arch->n_expert; i = end) {
		struct expert x = { .f = f, .pairs = f->order + f->first[i], .first = i };

		end = together(f, i, n);
		x.last = end;
		x.n = f->first[end] - f->first[i];
		if (x.n)
			TRY(run_experts(&x, &gate, &up, &down, e));
	}
out:
	return st;
}

static enum status shared(struct forward *f, uint32_t layer, struct err *e)
{
	struct expert x = { .f = f, .n = f->n_tok, .last = 1 };
	struct weight gate, up, down;
	enum status st;

	TRY(weight_bind(&gate, f->model, ROLE_GATE_SHEXP, layer, e));
	TRY(weight_bind(&up, f->model, ROLE_UP_SHEXP, layer, e));
	TRY(weight_bind(&down, f->model, ROLE_DOWN_SHEXP, layer, e));
	TRY(run_experts(&x, &gate, &up, &down, e));
out:
	return st;
}

enum status experts(struct forward *f, uint32_t layer, struct err *e)
{
	const struct arch *a = f->arch;
	enum status st;

	TRY(route(f, layer, e));
	sort_pairs(f);
	feed_experts(f, layer);
	memset(f->y, 0, f->n_tok * a->n_embd * sizeof(float));
	if (f->engine.official)
		memset(f->low, 0, f->n_tok * a->n_embd * sizeof(float));
	TRY(routed(f, layer, e));
	TRY(shared(f, layer, e));
out:
	return st;
}
