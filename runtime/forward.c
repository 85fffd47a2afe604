/* SPDX-License-Identifier: MIT
 *
 * forward.c - DeepSeek-V4 over a batch: tokens to streams, layer after layer, streams to logits.
 *
 * Everything about the architecture that a shape needs is in struct arch; nothing is assumed of
 * sizes. All activations of a batch are in memory, weights never are: memory is what
 * forward_bytes says plus a tile for each thread.
 */
#include "runtime/layer.h"

#include <stdlib.h>
#include <string.h>

/* ---- memory: one list, for the sum and for the allocation ---- */

struct slot { void **at; uint64_t n, each; };
enum { MAX_SLOTS = 40 };

static uint64_t most(uint64_t a, uint64_t b) { return a > b ? a : b; }

static void add(struct slot *s, size_t *n, void *at, uint64_t count, uint64_t each, uint64_t bytes)
{
	if (!u64_mul(count, each, &count))
		count = UINT64_MAX;
	s[(*n)++] = (struct slot){ at, count, bytes };
}

struct widths { uint64_t channels, rows; bool picked; };

/* The widest layer decides: channels of a compressor's products, rows of a sequence. */
static struct widths widest(const struct arch *a, uint32_t n_ctx)
{
	struct widths w = { 0 };

	for (uint32_t l = 0; l < a->n_layer; l++) {
		uint32_t r = a->ratio[l];
		bool picked = rows_are_picked(a, n_ctx, r);
		uint64_t wide = picked ? most(a->head_dim, a->idx_dim) : a->head_dim;

		if (r == 0)
			continue;
		w.channels = most(w.channels, ratio_overlaps(r) ? 2 * wide : wide);
		w.rows = most(w.rows, n_ctx / r);
		w.picked |= picked;
	}
	return w;
}

/* What a batch is sized by. kept: the rows of former tokens are in a kv. */
struct shape { uint32_t n_ctx, n_new; uint64_t n_seq; unsigned n_threads; bool kept; };

enum { SCORE_ROWS = 8 };	/* a thread: between them threads wait for each other */

/* Tokens whose indexer scores are in memory together. */
static uint64_t score_rows(const struct shape *h)
{
	return u64_min(h->n_new * h->n_seq, SCORE_ROWS * (uint64_t)h->n_threads);
}

enum { FEW_PAIRS = 64 };	/* of few tokens several experts are computed at a time */

/* Pairs of a token and an expert whose activations are in memory together. */
static uint64_t n_pairs(const struct arch *a, const struct shape *h)
{
	uint64_t tok = h->n_new * h->n_seq;

	return most(tok, u64_min(tok * a->n_expert_used, FEW_PAIRS));
}

static uint64_t n_turn(const struct arch *a) { return most(a->n_rot, a->idx_dim); }

static size_t list_slots(struct forward *f, const struct arch *a, const struct shape *h, struct slot *s)
{
	struct widths w = widest(a, h->n_ctx);
	uint64_t tok = h->n_new * h->n_seq, f4 = sizeof(float), d = a->n_embd;
	uint64_t rows = h->kept ? 0 : w.rows * h->n_seq;
	uint64_t group = (uint64_t)(a->n_head / a->o_groups) * a->head_dim, hc = a->n_hc;
	uint64_t idx_tok = w.picked ? tok : 0, used = a->n_expert_used;
	size_t n = 0;

	add(s, &n, &f->ids, tok, 1, sizeof(uint32_t));
	add(s, &n, &f->stream, tok, hc * d, f4);
	add(s, &n, &f->x, tok, d, f4);
	add(s, &n, &f->y, tok, d, f4);
	add(s, &n, &f->mix, tok, (2 + hc) * hc, f4);
	add(s, &n, &f->post, tok, hc, sizeof(double));
	add(s, &n, &f->comb, tok, hc * hc, sizeof(double));
	add(s, &n, &f->low, tok, most(d, most((2 + hc) * hc, a->n_expert)), f4);
	for (int kind = 0; kind < 2; kind++) {
		add(s, &n, &f->freq[kind], a->n_rot / 2, 1, sizeof(double));
		add(s, &n, &f->rope[kind], h->n_new, a->n_rot, sizeof(double));
	}
	add(s, &n, &f->turn, h->n_threads, n_turn(a), sizeof(double));
	add(s, &n, &f->qa, tok, a->q_lora, f4);
	add(s, &n, &f->kv, tok, a->head_dim, f4);
	add(s, &n, &f->up, tok, w.channels, f4);
	add(s, &n, &f->gate, tok, w.channels, f4);
	add(s, &n, &f->up_low, tok, w.channels, f4);
	add(s, &n, &f->gate_low, tok, w.channels, f4);
	add(s, &n, &f->rows, rows, a->head_dim, f4);
	add(s, &n, &f->q, tok, group, f4);
	add(s, &n, &f->z, tok, (uint64_t)a->o_groups * a->o_lora, f4);
	add(s, &n, &f->idx_q, idx_tok, (uint64_t)a->idx_head * a->idx_dim, f4);
	add(s, &n, &f->idx_w, idx_tok, a->idx_head, f4);
	add(s, &n, &f->idx_rows, w.picked ? rows : 0, a->idx_dim, f4);
	add(s, &n, &f->idx_score, w.picked ? score_rows(h) : 0, w.rows, sizeof(double));
	add(s, &n, &f->pick, idx_tok, a->idx_topk, sizeof(uint32_t));
	add(s, &n, &f->router, tok, a->n_expert, f4);
	add(s, &n, &f->expert, tok, used, sizeof(uint32_t));
	add(s, &n, &f->expert_weight, tok, used, sizeof(double));
	add(s, &n, &f->order, tok, used, sizeof(uint32_t));
	add(s, &n, &f->first, (uint64_t)a->n_expert + 1, 1, sizeof(uint32_t));
	add(s, &n, &f->ex_x, n_pairs(a, h), d, f4);
	add(s, &n, &f->ex_y, n_pairs(a, h), d, f4);
	add(s, &n, &f->ex_gate, n_pairs(a, h), a->n_ff_exp, f4);
	add(s, &n, &f->ex_up, n_pairs(a, h), a->n_ff_exp, f4);
	return n;
}

static uint64_t shape_bytes(const struct arch *a, const struct shape *h)
{
	struct forward unused;
	struct slot s[MAX_SLOTS];
	uint64_t sum = 0, bytes, lane = 0;
	size_t n = list_slots(&unused, a, h, s);

	for (uint32_t l = 0; l < a->n_layer; l++) {
		struct room r = room_for_rows(a, h->n_ctx, a->ratio[l]);

		lane = most(lane, r.work * sizeof(float) + r.score * sizeof(double) +
			    r.ranked * sizeof(uint64_t));
	}
	lane += a->n_expert * (sizeof(double) + sizeof(uint64_t));
	if (!u64_mul(lane, h->n_threads, &sum))
		return UINT64_MAX;
	for (size_t i = 0; i < n; i++)
		if (!u64_mul(s[i].n, s[i].each, &bytes) || !u64_add(sum, bytes, &sum))
			return UINT64_MAX;
	return sum;
}

uint64_t forward_bytes(const struct arch *a, uint32_t n_ctx, uint64_t n_seq, unsigned n_threads)
{
	struct shape h = { n_ctx, n_ctx, n_seq, n_threads, false };

	return shape_bytes(a, &h);
}

uint64_t forward_step_bytes(const struct arch *a, uint32_t n_ctx, uint32_t max_new, unsigned n_threads)
{
	struct shape h = { n_ctx, max_new, 1, n_threads, true };

	return shape_bytes(a, &h);
}

static struct shape shape_of(const struct forward *f)
{
	return (struct shape){ f->n_ctx, f->max_new, f->max_seq, f->engine.pool->n, f->past != NULL };
}

static enum status allocate(struct forward *f, struct err *e)
{
	struct slot s[MAX_SLOTS];
	struct shape h = shape_of(f);
	size_t n = list_slots(f, f->arch, &h, s);

	f->score_rows = (size_t)score_rows(&h);
	f->n_turn = (size_t)n_turn(f->arch);
	f->n_pairs = (size_t)n_pairs(f->arch, &h);
	for (size_t i = 0; i < n; i++) {
		void *p = s[i].n > SIZE_MAX ? NULL : mem_new((size_t)s[i].n, (size_t)s[i].each,
							     "a batch's activations", e);
		if (!p)
			return err_set(e, ERR_NOMEM, "no memory for a batch's activations");
		memcpy(s[i].at, &p, sizeof p);	/* the slots are pointers of several types */
	}
	return OK;
}

static enum status open_shape(struct forward *f, struct pool *pool, struct err *e)
{
	const struct arch *a = f->arch;
	enum status st;

	/* tokens and (token, expert) pairs are numbered in 32 bits */
	if (a->n_hc > HYPER_MAX || (uint64_t)f->max_new * f->max_seq > UINT32_MAX / (2 + a->n_expert_used)) {
		*f = (struct forward){ 0 };
		return err_set(e, ERR_UNSUPPORTED, "%s: a batch of %u x %u tokens is too large", f->model->path,
			       f->max_seq, f->max_new);
	}
	TRY(engine_open(&f->engine, pool, e));
	TRY(allocate(f, e));
	for (int kind = 0; kind < 2; kind++)
		ops_rope_freqs(f->freq[kind], a, kind == 1);
out:
	if (st != OK)
		forward_close(f);
	return st;
}

enum status forward_open(struct forward *f, const struct model *m, struct pool *pool, uint32_t n_ctx,
			 uint32_t max_seq, struct err *e)
{
	*f = (struct forward){ .trunk = m, .model = m, .arch = &m->arch, .n_ctx = n_ctx, .max_new = n_ctx,
			       .max_seq = max_seq };
	return open_shape(f, pool, e);
}

enum status forward_open_past(struct forward *f, const struct model *m, struct pool *pool, struct kv *past,
			      uint32_t max_new, struct err *e)
{
	*f = (struct forward){ .trunk = m, .model = m, .arch = &m->arch, .past = past, .n_ctx = past->n_ctx,
			       .max_new = max_new, .max_seq = 1 };
	return open_shape(f, pool, e);
}

void forward_close(struct forward *f)
{
	struct slot s[MAX_SLOTS];
	struct shape h;
	size_t n;

	if (!f->engine.pool)
		return;
	h = shape_of(f);
	n = list_slots(f, f->arch, &h, s);

	for (size_t i = 0; i < n; i++) {
		void *p;

		memcpy(&p, s[i].at, sizeof p);
		free(p);
	}
	free(f->pair);
	engine_close(&f->engine);
	*f = (struct forward){ 0 };
}

/* ---- small helpers of the layer's files ---- */

float *small_load(struct forward *f, enum role role, uint32_t layer, uint64_t n, struct err *e)
{
	float *p = n > SIZE_MAX ? NULL : mem_new((size_t)n, sizeof *p, "a small tensor", e);

	if (p && weight_all(f->model, role, layer, p, n, &f->engine.lanes[0].scratch, e) != OK) {
		free(p);
		p = NULL;
	}
	return p;
}

/* Where x is rounded: in place, unless it is still needed as it is. Between the products of an
 * attention the experts' buffer is free, and as large as f->x. */
static float *place_to_round(struct forward *f, const float *x)
{
	return x == f->qa ? f->qa : x == f->z ? f->z : x == f->pair ? f->pair : f->ex_x;
}

enum status linear_all(struct forward *f, enum role role, uint32_t layer, const float *x, size_t x_stride,
		       float *y, size_t n, struct err *e)
{
	return linear_pairs(f, role, layer, x, x_stride, y, NULL, n, e);
}

enum status linear_pairs(struct forward *f, enum role role, uint32_t layer, const float *x, size_t x_stride,
			 float *y, float *y_low, size_t n, struct err *e)
{
	struct weight w;
	struct linear l = { .w = &w, .n_rows = n, .x = x, .n = f->n_tok, .x_stride = x_stride,
			    .rounded = place_to_round(f, x), .y = y, .y_low = y_low, .y_stride = n };
	enum status st;

	TRY(weight_bind(&w, f->model, role, layer, e));
	if (w.rows != n || w.cols != x_stride)
		return err_set(e, ERR_FORMAT, "%s: %llu x %llu where %zu x %zu belong (tensor %s)",
			       f->model->path, (unsigned long long)w.rows, (unsigned long long)w.cols, n,
			       x_stride, w.want->name);
	TRY(linear(&f->engine, &l, e));
out:
	return st;
}

/* Rows [from, from + n) of each sequence's n_new close up; the first of them come first. */
static void close_up(const struct forward *f, void *rows, size_t each, size_t from, size_t n)
{
	char *p = rows;

	for (size_t s = 0; s < f->n_seq; s++)
		memmove(p + s * n * each, p + (s * f->n_new + from) * each, n * each);
}

void leave_out(struct forward *f)
{
	const struct arch *a = f->arch;
	size_t from = f->keep_from, n = f->keep_to - from, s = a->n_hc;

	if (n == f->n_new)
		return;
	close_up(f, f->ids, sizeof *f->ids, from, n);
	close_up(f, f->x, a->n_embd * sizeof *f->x, from, n);
	close_up(f, f->stream, s * a->n_embd * sizeof *f->stream, from, n);
	close_up(f, f->post, s * sizeof *f->post, from, n);
	close_up(f, f->comb, s * s * sizeof *f->comb, from, n);
	for (int kind = 0; kind < 2; kind++)	/* all sequences share it */
		memmove(f->rope[kind], f->rope[kind] + from * a->n_rot, n * a->n_rot * sizeof(double));
	f->skipped = f->keep_from;
	f->pos += f->keep_from;
	f->n_new = (uint32_t)n;
	f->n_tok = f->n_seq * n;
	f->keep_from = 0;
	f->keep_to = f->n_new;
}

/* ---- the pass ---- */

struct embedding { struct forward *f; const struct weight *table; };

/* Every stream of every token begins as its embedding. */
static void embed_task(void *ctx, unsigned i, unsigned n)
{
	const struct embedding *x = ctx;
	struct forward *f = x->f;
	struct lane *lane = &f->engine.lanes[i];
	size_t from, to, d = f->arch->n_embd, n_hc = f->arch->n_hc;

	pool_share(f->n_tok, i, n, &from, &to);
	for (size_t t = from; t < to && lane->status == OK; t++) {
		float *stream = f->stream + t * n_hc * d;
		uint32_t id = f->ids[t];

		lane->status = weight_rows(x->table, 0, id, (uint64_t)id + 1, stream, &lane->scratch, &lane->err);
		for (size_t j = 1; j < n_hc; j++)
			memcpy(stream + j * d, stream, d * sizeof(float));
	}
}

static enum status embed_tokens(struct forward *f, struct err *e)
{
	struct weight table;
	struct embedding x = { f, &table };
	enum status st;

	TRY(weight_bind(&table, f->model, ROLE_EMBED, LAYER_NONE, e));
	for (size_t t = 0; t < f->n_tok; t++)
		if (f->ids[t] >= table.rows)
			return err_set(e, ERR_FORMAT, "%s: token id %u at %zu; the model has %llu",
				       f->model->path, f->ids[t], t, (unsigned long long)table.rows);
	TRY(engine_run(&f->engine, embed_task, &x, e));
out:
	return st;
}

static enum status start(struct forward *f, const uint32_t *ids, uint32_t n_seq, uint32_t pos, uint32_t n_new,
			 struct err *e)
{
	size_t n_rot = f->arch->n_rot;

	f->model = f->trunk;
	f->arch = &f->trunk->arch;
	f->n_seq = n_seq;
	f->pos = pos;
	f->n_new = n_new;
	f->keep_from = f->skipped = 0;
	f->keep_to = f->n_rows = n_new;
	f->n_tok = (size_t)n_seq * n_new;
	memcpy(f->ids, ids, f->n_tok * sizeof *ids);
	for (int kind = 0; kind < 2; kind++)
		for (size_t i = 0; i < n_new; i++)
			ops_rope_row(f->rope[kind] + i * n_rot, f->freq[kind], n_rot / 2, pos + i);
	return embed_tokens(f, e);
}

enum status forward_start(struct forward *f, const uint32_t *ids, uint32_t n_seq, struct err *e)
{
	if (n_seq > f->max_seq || f->past)
		return err_set(e, ERR_USAGE, "%u sequences in a batch of %u", n_seq, f->past ? 0 : f->max_seq);
	return start(f, ids, n_seq, 0, f->n_ctx, e);
}

enum status forward_step(struct forward *f, const uint32_t *ids, uint32_t n_new, struct err *e)
{
	if (!f->past || n_new == 0 || n_new > f->max_new || n_new > f->n_ctx - f->past->pos)
		return err_set(e, ERR_USAGE, "%u tokens at once; a batch has room for %u", n_new, f->max_new);
	return start(f, ids, 1, f->past->pos, n_new, e);
}

enum status forward_layer(struct forward *f, uint32_t layer, struct err *e)
{
	enum status st;

	f->layer = layer;
	feed_layer(f, layer);
	TRY(hyper_pre(f, HYPER_ATTN, layer, e));
	TRY(attention(f, layer, e));
	TRY(hyper_post(f, e));
	TRY(hyper_pre(f, HYPER_FFN, layer, e));
	TRY(experts(f, layer, e));
	TRY(hyper_post(f, e));
	return OK;
out:
	return st;
}

enum status forward_last_layer(struct forward *f, uint32_t layer, uint32_t from, uint32_t to, struct err *e)
{
	if (from >= to || to > f->n_new)
		return err_set(e, ERR_USAGE, "%s: tokens %u..%u of a batch of %u", f->model->path, from, to, f->n_new);
	f->keep_from = from;
	f->keep_to = to;
	return forward_layer(f, layer, e);
}

enum status forward_head(struct forward *f, uint32_t from, uint32_t to, struct err *e)
{
	if (from < f->skipped || to > f->skipped + f->n_new)
		return err_set(e, ERR_USAGE, "%s: tokens %u..%u of a batch that kept %u..%u", f->model->path, from, to,
			       f->skipped, f->skipped + f->n_new);
	feed_layer(f, LAYER_NONE);
	return hyper_head(f, from - f->skipped, to - f->skipped, e);
}

enum status forward_logits(struct forward *f, size_t row, size_t n, float *logits, struct err *e)
{
	const struct arch *a = f->arch;
	struct weight w;
	struct linear l = { .w = &w, .n_rows = a->n_vocab, .x = f->x + row * a->n_embd, .n = n,
			    .x_stride = a->n_embd, .y = logits, .y_stride = a->n_vocab };
	enum status st;

	feed_layer(f, LAYER_NONE);
	TRY(weight_bind(&w, f->model, ROLE_OUTPUT, LAYER_NONE, e));
	TRY(linear(&f->engine, &l, e));
out:
	return st;
}
