/* SPDX-License-Identifier: MIT
 *
 * perplexity.c - how well a model predicts a text, by llama-perplexity's method.
 *
 * The text is one run of ids, cut into chunks of n_ctx; what is left over is dropped. Each chunk
 * is run alone, its first token replaced by bos where the vocabulary asks for one, and positions
 * n_ctx / 2 .. n_ctx - 2 are scored, each on the token after it. PPL = exp(mean of -log p); its
 * error is that of the mean, carried through exp. Unlike llama-perplexity all sums are in double
 * and in index order, so the figures do not depend on threads or batches.
 *
 * An MTP block, if it is asked for, goes on from each batch's last states; its positions are the same
 * but for the last one, each scored on the token after the next.
 *
 * With a reference both models go through each batch in lockstep, layer l of the reference and then
 * layer l of the model, so neither needs to fit in memory and their states can be compared.
 */
#include "runtime/collect.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The next number of text at *at, or false at the end; UINT64_MAX for what is no number. */
static bool next_number(const char *text, size_t n, size_t *at, uint64_t *v)
{
	size_t i = *at;

	while (i < n && (text[i] == ' ' || (text[i] >= '\t' && text[i] <= '\r')))
		i++;
	*at = i;
	if (i == n)
		return false;
	for (*v = 0; i < n && text[i] >= '0' && text[i] <= '9' && *v < UINT32_MAX; i++)
		*v = *v * 10 + (uint64_t)(text[i] - '0');
	if (i == *at || (i < n && text[i] != ' ' && (text[i] < '\t' || text[i] > '\r')))
		*v = UINT64_MAX;
	*at = i;
	return true;
}

enum status perplexity_read_ids(const char *text, size_t n, uint32_t n_vocab, const char *path, uint32_t **ids,
				uint64_t *n_ids, struct err *e)
{
	size_t cap = 0, count = 0, at = 0, from = 0;
	void *p = NULL;
	uint64_t v = 0;
	enum status st;

	*ids = NULL;
	for (; next_number(text, n, &at, &v); from = at) {
		if (v >= n_vocab) {
			st = err_set(e, ERR_FORMAT, "%s: bytes %zu..%zu are no token id below %u; ids are "
				     "decimal numbers between white space", path, from, at, n_vocab);
			goto out;
		}
		TRY(mem_grow(&p, &cap, count + 1, sizeof(uint32_t), "token ids", e));
		((uint32_t *)p)[count++] = (uint32_t)v;
	}
	*ids = p;
	*n_ids = count;
	return OK;
out:
	free(p);
	return st;
}

/* Adds what one more model, and its MTP block or NULL, holds while a batch of this size runs. */
static bool add_model(uint64_t *sum, const struct model *m, const struct model *mtp, unsigned n_threads,
		      uint32_t n_ctx, uint64_t batch, uint64_t logits_rows)
{
	uint64_t logits, n_tok = batch * n_ctx, tiles = engine_bytes(n_threads, n_tok, &m->wants);

	if (mtp && (!u64_add(*sum, mtp_bytes(&mtp->arch, n_ctx, batch), sum) ||
		    !u64_add(*sum, model_header_bytes(mtp), sum)))
		return false;
	if (mtp && engine_bytes(n_threads, n_tok, &mtp->wants) > tiles)
		tiles = engine_bytes(n_threads, n_tok, &mtp->wants);
	return u64_add(*sum, forward_bytes(&m->arch, n_ctx, batch, n_threads), sum) &&
	       u64_mul(logits_rows, (uint64_t)m->arch.n_vocab * sizeof(float), &logits) &&
	       u64_add(*sum, logits, sum) &&
	       u64_add(*sum, model_header_bytes(m) + tiles, sum);
}

/* Memory of a run with this batch and this many rows of logits; UINT64_MAX if beyond counting. */
static uint64_t memory_for(const struct model *m, unsigned n_threads, const struct perplexity_options *o,
			   uint64_t batch, uint64_t logits_rows)
{
	uint64_t sum = o->collect ? o->collect->bytes : 0, rows, batch_ids, ids, token = sizeof(uint32_t);
	uint64_t parity = o->reference ? sizeof(double) * (o->mtp ? 2 : 1) : 0;

	if (o->per_layer)
		token += sizeof(struct layer_error);
	if (!u64_mul(logits_rows, sizeof(struct perplexity_row), &rows) ||
	    !u64_mul(batch, o->n_ctx * token, &batch_ids) ||
	    !u64_mul(o->n_ids, sizeof(uint32_t) + parity, &ids) ||
	    !u64_add(sum, rows, &sum) || !u64_add(sum, batch_ids, &sum) || !u64_add(sum, ids, &sum) ||
	    !add_model(&sum, m, o->mtp, n_threads, o->n_ctx, batch, logits_rows) ||
	    (o->reference && !add_model(&sum, o->reference, o->ref_mtp, n_threads, o->n_ctx, batch, logits_rows)))
		return UINT64_MAX;
	return sum;
}

static enum status plan_chunks(struct perplexity_plan *p, const struct model *m,
			       const struct perplexity_options *o, struct err *e)
{
	if (o->n_ctx < (o->mtp ? 5u : 4u))
		return err_set(e, ERR_USAGE, "a context of %u tokens scores none; %d is the least", o->n_ctx,
			       o->mtp ? 5 : 4);
	if (o->n_ctx > m->arch.n_ctx)
		return err_set(e, ERR_UNSUPPORTED, "%s: a context of %u tokens; the model has %u",
			       m->path, o->n_ctx, m->arch.n_ctx);
	if (o->reference && o->n_ctx > o->reference->arch.n_ctx)
		return err_set(e, ERR_UNSUPPORTED, "%s: a context of %u tokens; the reference has %u",
			       o->reference->path, o->n_ctx, o->reference->arch.n_ctx);
	p->n_chunks = o->n_ids / o->n_ctx;
	if (o->max_chunks && p->n_chunks > o->max_chunks)
		p->n_chunks = o->max_chunks;
	if (p->n_chunks == 0)
		return err_set(e, ERR_UNSUPPORTED, "%s: %llu tokens are less than one chunk of %u; take a "
			       "longer text or a smaller -c", o->path, (unsigned long long)o->n_ids, o->n_ctx);
	p->n_left_over = o->n_ids - p->n_chunks * o->n_ctx;
	p->first = o->n_ctx / 2;
	p->scored = o->n_ctx - 1 - p->first;
	return OK;
}

/* ---- memory: the batch, then weights ---- */

enum { WINDOW = 1 << 30 };		/* of weights that are streamed; more helps little */

/* The models whose weights a run takes, NULL where there is none. */
static void list_models(const struct model *m, const struct perplexity_options *o,
			const struct model *list[PERPLEXITY_MODELS])
{
	list[0] = m;
	list[1] = o->reference;
	list[2] = o->mtp;
	list[3] = o->ref_mtp;
}

static uint64_t sum_over(const struct model *m, const struct perplexity_options *o,
			 uint64_t (*bytes)(const struct model *m))
{
	const struct model *list[PERPLEXITY_MODELS];
	uint64_t n = 0;

	list_models(m, o, list);
	for (int i = 0; i < PERPLEXITY_MODELS; i++)
		if (list[i] && !u64_add(n, bytes(list[i]), &n))
			return UINT64_MAX;
	return n;
}

/* What weights get of the memory that a batch of one chunk leaves: all that they can take, if a
 * quarter remains; else they are read once a batch, and batches should be large. */
static uint64_t reserve(uint64_t least, uint64_t all, uint64_t left)
{
	uint64_t window = u64_min(left / 8, WINDOW);

	if (all <= left / 4 * 3)
		return all;
	return u64_min(all, window > least ? window : least);
}

/* Each model its least, then equal shares of the rest, then what others left. */
static void divide(struct perplexity_plan *p, const struct model *m, const struct perplexity_options *o,
		   uint64_t budget)
{
	const struct model *list[PERPLEXITY_MODELS];
	uint64_t rest = budget - sum_over(m, o, store_least), n = 0;

	list_models(m, o, list);
	for (int i = 0; i < PERPLEXITY_MODELS; i++) {
		p->store[i] = list[i] ? store_least(list[i]) : 0;
		n += list[i] != NULL;
	}
	for (int again = 0; again < 2; again++) {
		uint64_t part = again ? rest : rest / n;

		for (int i = 0; i < PERPLEXITY_MODELS; i++) {
			uint64_t more = list[i] ? u64_min(part, store_most(list[i]) - p->store[i]) : 0;

			more = u64_min(more, rest);
			p->store[i] += more;
			rest -= more;
		}
	}
}

static enum status too_small(const struct model *m, const struct perplexity_options *o, uint64_t all,
			     uint64_t least, struct err *e)
{
	return err_set(e, ERR_NOMEM, "%s: a chunk of %u tokens %sneeds %llu bytes of memory, --max-memory allows "
		       "%llu; give it more (%lluM) or a smaller -c (%llu of the bytes are for the weights at work in one "
		       "layer)", m->path, o->n_ctx, o->reference ? "in two models " : "", (unsigned long long)all,
		       (unsigned long long)o->max_memory, (unsigned long long)(all / (1 << 20) + 1),
		       (unsigned long long)least);
}

/* Memory of one chunk and the least of weights. p->logits_rows: as many as fit an eighth, or one. */
static uint64_t plan_least(struct perplexity_plan *p, const struct model *m, unsigned n_threads,
			   const struct perplexity_options *o, uint64_t *one)
{
	uint64_t row = (uint64_t)m->arch.n_vocab * sizeof(float) * (o->reference ? 2 : 1);
	uint64_t least = sum_over(m, o, store_least), all;

	p->logits_rows = u64_min(p->scored * p->n_chunks, o->max_memory / 8 / row);
	*one = memory_for(m, n_threads, o, 1, p->logits_rows);
	if (p->logits_rows == 0 || !u64_add(*one, least, &all) || all > o->max_memory) {
		p->logits_rows = 1;
		*one = memory_for(m, n_threads, o, 1, p->logits_rows);
	}
	return u64_add(*one, least, &all) ? all : UINT64_MAX;
}

static enum status plan_memory(struct perplexity_plan *p, const struct model *m, unsigned n_threads,
			       const struct perplexity_options *o, struct err *e)
{
	uint64_t least = sum_over(m, o, store_least), one, all, each, limit, left;

	all = plan_least(p, m, n_threads, o, &one);
	if (all > o->max_memory)
		return too_small(m, o, all, least, e);
	left = o->max_memory - one;
	left -= reserve(least, sum_over(m, o, store_most), left);
	each = memory_for(m, n_threads, o, 2, p->logits_rows) - one;
	limit = UINT32_MAX / (2 + m->arch.n_expert_used) / o->n_ctx;
	if (o->reference)
		limit = u64_min(limit, UINT32_MAX / (2 + o->reference->arch.n_expert_used) / o->n_ctx);
	p->batch = u64_min(p->n_chunks, u64_min(limit, 1 + left / each));
	if (p->batch == 0)
		return err_set(e, ERR_UNSUPPORTED, "%s: a chunk of %u tokens is too large", m->path, o->n_ctx);
	p->n_batches = u64_div_up(p->n_chunks, p->batch);
	p->batch = u64_div_up(p->n_chunks, p->n_batches);	/* evenly */
	p->logits_rows = u64_min(p->logits_rows, p->batch * p->scored);
	p->memory = memory_for(m, n_threads, o, p->batch, p->logits_rows);
	left = o->max_memory - p->memory;
	divide(p, m, o, left - u64_min(left - least, o->max_memory / 64));	/* some for the process itself */
	for (int i = 0; i < PERPLEXITY_MODELS; i++)
		p->memory += p->store[i];
	return OK;
}

enum status perplexity_plan(struct perplexity_plan *p, const struct model *m, unsigned n_threads,
			    const struct perplexity_options *o, struct err *e)
{
	enum status st;

	*p = (struct perplexity_plan){ 0 };
	if (o->reference)
		TRY(parity_check(m, o->reference, e));
	TRY(plan_chunks(p, m, o, e));
	TRY(plan_memory(p, m, n_threads, o, e));
	p->bytes = model_tensor_bytes(m) + (o->reference ? model_tensor_bytes(o->reference) : 0);
	if (o->mtp && o->mtp->is_gguf)		/* a checkpoint's are among those of its shards */
		p->bytes += model_tensor_bytes(o->mtp);
	p->bytes *= p->n_batches;
out:
	return st;
}

/* ---- the run ---- */

struct run {
	const struct perplexity_options *o;
	const struct perplexity_plan *p;
	const struct perplexity_sink *sink;
	struct perplexity_result *r;	/* the one of these logits */
	uint32_t ahead;			/* 1, or 2 while the MTP block is scored */
	struct forward f, ref;		/* ref only with a reference */
	uint32_t *ids;			/* owned: the batch's, with bos in place */
	float *logits, *ref_logits;	/* owned: (logits_rows, n_vocab) */
	struct layer_error *tokens;	/* owned: of the batch's tokens, or NULL */
	struct perplexity_row *rows;	/* owned: (logits_rows) */
	size_t n_rows;			/* of the logits at hand */
	uint64_t first_chunk, done;
	char what[40];
};

/* Of any token, from that of one. */
static double log_prob_from(const float *z, uint32_t id, uint32_t known, double log_prob)
{
	return (double)z[id] - (double)z[known] + log_prob;
}

static void score_task(void *ctx, unsigned i, unsigned n)
{
	struct run *x = ctx;
	size_t from, to, n_vocab = x->f.arch->n_vocab;

	pool_share(x->n_rows, i, n, &from, &to);
	for (size_t k = from; k < to; k++) {
		struct perplexity_row *r = &x->rows[k];
		const float *z = x->logits + k * n_vocab;

		r->log_prob = ops_log_prob(z, n_vocab, r->token, &r->best);
		r->best_log_prob = log_prob_from(z, r->best, r->token, r->log_prob);
		if (!x->o->reference)
			continue;
		const float *ref = x->ref_logits + k * n_vocab;

		r->ref_log_prob = ops_log_prob(ref, n_vocab, r->token, &r->ref_best);
		r->ref_best_log_prob = log_prob_from(ref, r->ref_best, r->token, r->ref_log_prob);
		r->best_by_ref = log_prob_from(ref, r->best, r->token, r->ref_log_prob);
		r->ref_best_by_model = log_prob_from(z, r->ref_best, r->token, r->log_prob);
		r->kld = parity_kld(ref, z, n_vocab);
	}
}

static enum status take_pair(struct run *x, const struct perplexity_row *row, struct err *e)
{
	struct parity_row pair = { row->ref_log_prob, row->log_prob, row->kld, row->best == row->ref_best };

	if (!isfinite(row->ref_log_prob) || !isfinite(row->kld))
		return err_set(e, ERR_UNSUPPORTED, "%s: the forward pass left the range of float32 (token %llu "
			       "of the text)", x->ref.model->path, (unsigned long long)row->index);
	parity_add(&x->r->parity, &pair);
	return OK;
}

static enum status take_row(struct run *x, const struct perplexity_row *row, struct err *e)
{
	uint64_t n;

	if (!isfinite(row->log_prob))
		return err_set(e, ERR_UNSUPPORTED, "%s: the forward pass left the range of float32 (token %llu "
			       "of the text)", x->f.model->path, (unsigned long long)row->index);
	if (x->o->reference && take_pair(x, row, e) != OK)
		return e->status;
	x->r->nll -= row->log_prob;
	x->r->nll2 += row->log_prob * row->log_prob;
	n = ++x->r->n_scored;
	if (n % x->p->scored == 0 && x->ahead == 1 && x->sink->chunk)
		x->sink->chunk(x->sink->ctx, n / x->p->scored, exp(x->r->nll / (double)n));
	return x->sink->row ? x->sink->row(x->sink->ctx, row, e) : OK;
}

/* Packed rows [from, from + n) of the batch: logits, log-probabilities, sums. */
static enum status score(struct run *x, size_t from, size_t n, struct err *e)
{
	uint64_t each = x->p->scored + 1 - x->ahead;
	enum status st;

	for (size_t k = 0; k < n; k++) {
		uint64_t chunk = x->first_chunk + (from + k) / each;
		uint64_t at = chunk * x->o->n_ctx + x->p->first + (from + k) % each + x->ahead;

		x->rows[k] = (struct perplexity_row){ .index = at, .ahead = x->ahead, .token = x->o->ids[at] };
	}
	x->n_rows = n;
	if (x->o->reference)
		TRY(forward_logits(&x->ref, from, n, x->ref_logits, e));
	TRY(forward_logits(&x->f, from, n, x->logits, e));
	TRY(engine_run(&x->f.engine, score_task, x, e));
	for (size_t k = 0; k < n; k++)
		TRY(take_row(x, &x->rows[k], e));
out:
	return st;
}

static bool tick(void *ctx)
{
	const struct run *x = ctx;
	uint64_t steps = x->p->n_batches * (x->f.arch->n_layer + (x->o->mtp ? 2 : 1));

	return !x->sink->go_on || x->sink->go_on(x->sink->ctx, x->p->bytes / steps * x->done, x->what);
}

static void compare_task(void *ctx, unsigned i, unsigned n)
{
	struct run *x = ctx;
	size_t from, to, each = (size_t)x->f.arch->n_hc * x->f.arch->n_embd;

	pool_share(x->f.n_tok, i, n, &from, &to);
	for (size_t t = from; t < to; t++)
		layer_error_of(&x->tokens[t], x->ref.stream + t * each, x->f.stream + t * each, each);
}

/* The streams as they are now; a sum a token, and those in index order. */
static enum status compare(struct run *x, size_t state, struct err *e)
{
	enum status st;

	if (!x->tokens)
		return OK;
	TRY(engine_run(&x->f.engine, compare_task, x, e));
	for (size_t t = 0; t < x->f.n_tok; t++)
		layer_error_add(&x->r->parity.layers[state], &x->tokens[t]);
out:
	return st;
}

/* Of the last layer only positions that are scored are wanted, but where all are looked at. */
static enum status run_layer(struct run *x, struct forward *f, uint32_t l, struct err *e)
{
	bool all = x->o->per_layer || x->o->collect || x->o->mtp || l + 1 < f->arch->n_layer;

	return all ? forward_layer(f, l, e) :
		     forward_last_layer(f, l, (uint32_t)x->p->first, x->o->n_ctx - 1, e);
}

/* From ids to the last layer, the reference a step ahead. */
static enum status run_layers(struct run *x, uint32_t n_seq, struct err *e)
{
	enum status st;

	if (x->o->reference)
		TRY(forward_start(&x->ref, x->ids, n_seq, e));
	TRY(forward_start(&x->f, x->ids, n_seq, e));
	TRY(compare(x, 0, e));
	for (uint32_t l = 0; l < x->f.arch->n_layer; l++) {
		snprintf(x->what, sizeof x->what, "layer %u of %u", l + 1, x->f.arch->n_layer);
		if (x->o->reference)
			TRY(run_layer(x, &x->ref, l, e));
		TRY(run_layer(x, &x->f, l, e));
		TRY(compare(x, (size_t)l + 1, e));
		x->done++;
	}
out:
	return st;
}

/* Streams at hand -> scored rows, each on the token `ahead` of it. */
static enum status score_batch(struct run *x, uint32_t n_seq, uint32_t ahead, struct err *e)
{
	uint32_t first = (uint32_t)x->p->first, end = x->o->n_ctx - ahead;
	size_t n = (size_t)n_seq * (end - first), step = (size_t)x->p->logits_rows;
	enum status st;

	x->ahead = ahead;
	if (x->o->reference)
		TRY(forward_head(&x->ref, first, end, e));
	TRY(forward_head(&x->f, first, end, e));
	for (size_t from = 0; from < n; from += step)
		TRY(score(x, from, n - from < step ? n - from : step, e));
	x->done++;
out:
	return st;
}

static enum status run_mtp(struct run *x, uint32_t n_seq, struct err *e)
{
	enum status st;

	snprintf(x->what, sizeof x->what, "MTP block");
	if (x->o->reference)
		TRY(forward_mtp(&x->ref, x->o->ref_mtp, e));
	TRY(forward_mtp(&x->f, x->o->mtp, e));
	x->r++;
	st = score_batch(x, n_seq, 2, e);
	x->r--;
out:
	return st;
}

static enum status run_batch(struct run *x, uint32_t n_seq, struct err *e)
{
	uint32_t n_ctx = x->o->n_ctx;
	enum status st;

	memcpy(x->ids, x->o->ids + x->first_chunk * n_ctx, (size_t)n_seq * n_ctx * sizeof *x->ids);
	for (size_t s = 0; s < n_seq && x->o->bos != TOKEN_NONE; s++)
		x->ids[s * n_ctx] = x->o->bos;
	TRY(run_layers(x, n_seq, e));
	snprintf(x->what, sizeof x->what, "output");
	if (x->o->collect) {
		TRY(forward_head(&x->f, 0, n_ctx, e));
		TRY(collector_output(x->o->collect, x->f.x, x->f.n_tok, e));
	}
	TRY(score_batch(x, n_seq, 1, e));
	if (x->o->mtp)
		TRY(run_mtp(x, n_seq, e));
out:
	return st;
}

static void finish(struct perplexity_result *r)
{
	double n = (double)r->n_scored, mean = r->nll / n, variance = r->nll2 / n - mean * mean;

	r->ppl = exp(mean);
	r->error = r->n_scored > 1 && variance > 0 ? sqrt(variance / (n - 1)) * r->ppl : 0;
	parity_finish(&r->parity);
}

/* One of the models over the run's batches; two that are compared round alike. */
static enum status open_forward(struct run *x, struct forward *f, const struct model *m, struct pool *pool,
				struct err *e)
{
	if (forward_open(f, m, pool, x->o->n_ctx, (uint32_t)x->p->batch, e) != OK)
		return e->status;
	f->engine.official = x->o->official;
	f->engine.tick = tick;
	f->engine.tick_ctx = x;
	return OK;
}

static enum status open_run(struct run *x, const struct model *m, struct pool *pool, struct err *e)
{
	const struct perplexity_options *o = x->o;
	size_t batch = (size_t)x->p->batch, rows = (size_t)x->p->logits_rows;
	enum status st;

	TRY(open_forward(x, &x->f, m, pool, e));
	if (o->collect) {
		o->collect->pool = pool;
		x->f.engine.see = collector_see;
		x->f.engine.see_ctx = o->collect;
	}
	x->ids = mem_new(batch * o->n_ctx, sizeof *x->ids, "the batch's ids", e);
	x->rows = mem_new(rows, sizeof *x->rows, "scored rows", e);
	x->logits = mem_new(rows * m->arch.n_vocab, sizeof *x->logits, "logits", e);
	if (!x->ids || !x->rows || !x->logits)
		return ERR_NOMEM;
	if (!o->reference)
		return OK;
	TRY(open_forward(x, &x->ref, o->reference, pool, e));
	x->ref_logits = mem_new(rows * m->arch.n_vocab, sizeof *x->logits, "logits", e);
	if (o->per_layer)
		x->tokens = mem_new(batch * o->n_ctx, sizeof *x->tokens, "errors of tokens", e);
	if (!x->ref_logits || (o->per_layer && !x->tokens))
		return ERR_NOMEM;
	TRY(parity_open(&x->r->parity, x->p->n_chunks * x->p->scored, o->per_layer ? m->arch.n_layer : 0, e));
	if (o->mtp)
		TRY(parity_open(&x->r[1].parity, x->p->n_chunks * (x->p->scored - 1), 0, e));
out:
	return st;
}

enum status perplexity(struct perplexity_result *r, const struct model *m, struct pool *pool,
		       const struct perplexity_options *o, const struct perplexity_plan *p,
		       const struct perplexity_sink *sink, struct err *e)
{
	struct run x = { .o = o, .p = p, .sink = sink, .r = r };
	const struct model *list[PERPLEXITY_MODELS];
	unsigned n_results = o->mtp ? 2 : 1;
	enum status st;

	for (unsigned i = 0; i < n_results; i++)
		r[i] = (struct perplexity_result){ 0 };
	TRY(open_run(&x, m, pool, e));
	list_models(m, o, list);
	for (int i = 0; i < PERPLEXITY_MODELS; i++)
		if (list[i])
			TRY(store_start(list[i], p->store[i], e));
	for (; x.first_chunk < p->n_chunks; x.first_chunk += p->batch)
		TRY(run_batch(&x, (uint32_t)u64_min(p->batch, p->n_chunks - x.first_chunk), e));
	for (int i = 0; i < PERPLEXITY_MODELS; i++)
		if (list[i])
			TRY(model_unchanged(list[i], e));
	for (unsigned i = 0; i < n_results; i++)
		finish(&r[i]);
out:
	forward_close(&x.f);
	forward_close(&x.ref);
	free(x.ids);
	free(x.rows);
	free(x.logits);
	free(x.ref_logits);
	free(x.tokens);
	for (unsigned i = 0; i < n_results && st != OK; i++)
		parity_close(&r[i].parity);
	return st;
}
