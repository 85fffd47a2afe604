/* SPDX-License-Identifier: MIT
 *
 * perplexity.c - how well a model predicts a text, by llama-perplexity's method.
 *
 * The text is one run of ids, cut into chunks of n_ctx; what is left over is dropped. Each chunk
 * is run alone, its first token replaced by bos where the vocabulary asks for one, and positions
 * n_ctx / 2 .. n_ctx - 2 are scored, each on the token after it. PPL = exp(mean of -log p); its
 * error is that of the mean, carried through exp. Unlike llama-perplexity all sums are in double
 * and in index order, so the figures do not depend on threads or batches.
 */
#include "runtime/runtime.h"

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

/* Memory of a run with this batch and this many rows of logits; UINT64_MAX if beyond counting. */
static uint64_t memory_for(const struct model *m, unsigned n_threads, const struct perplexity_options *o,
			   uint64_t batch, uint64_t logits_rows)
{
	uint64_t sum = forward_bytes(&m->arch, o->n_ctx, batch, n_threads), logits, ids;

	if (!u64_mul(logits_rows, (uint64_t)m->arch.n_vocab * sizeof(float) + sizeof(struct perplexity_row),
		     &logits) ||
	    !u64_mul(batch, (uint64_t)o->n_ctx * sizeof(uint32_t), &ids) || !u64_add(sum, logits, &sum) ||
	    !u64_add(sum, ids, &sum) || !u64_add(sum, o->n_ids * sizeof(uint32_t), &sum) ||
	    !u64_add(sum, model_header_bytes(m) + engine_bytes(n_threads, &m->wants), &sum))
		return UINT64_MAX;
	return sum;
}

static enum status plan_chunks(struct perplexity_plan *p, const struct model *m,
			       const struct perplexity_options *o, struct err *e)
{
	if (o->n_ctx < 4)
		return err_set(e, ERR_USAGE, "a context of %u tokens scores none; 4 is the least", o->n_ctx);
	if (o->n_ctx > m->arch.n_ctx)
		return err_set(e, ERR_UNSUPPORTED, "%s: a context of %u tokens; the model has %u",
			       m->path, o->n_ctx, m->arch.n_ctx);
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

enum status perplexity_plan(struct perplexity_plan *p, const struct model *m, unsigned n_threads,
			    const struct perplexity_options *o, struct err *e)
{
	uint64_t row = (uint64_t)m->arch.n_vocab * sizeof(float), one, each, limit;
	enum status st;

	*p = (struct perplexity_plan){ 0 };
	TRY(plan_chunks(p, m, o, e));
	/* an eighth for logits, the rest for the batch; one row of logits where that is too much */
	p->logits_rows = u64_min(p->scored * p->n_chunks, o->max_memory / 8 / row);
	if (p->logits_rows == 0 || memory_for(m, n_threads, o, 1, p->logits_rows) > o->max_memory)
		p->logits_rows = 1;
	one = memory_for(m, n_threads, o, 1, p->logits_rows);
	if (one > o->max_memory)
		return err_set(e, ERR_NOMEM, "%s: a chunk of %u tokens needs %llu bytes of memory, --max-memory "
			       "allows %llu; give it more (%lluM) or a smaller -c", m->path, o->n_ctx,
			       (unsigned long long)one, (unsigned long long)o->max_memory,
			       (unsigned long long)(one / (1 << 20) + 1));
	each = memory_for(m, n_threads, o, 2, p->logits_rows) - one;
	limit = UINT32_MAX / (2 + m->arch.n_expert_used) / o->n_ctx;
	p->batch = u64_min(p->n_chunks, u64_min(limit, 1 + (o->max_memory - one) / each));
	if (p->batch == 0)
		return err_set(e, ERR_UNSUPPORTED, "%s: a chunk of %u tokens is too large", m->path, o->n_ctx);
	p->n_batches = u64_div_up(p->n_chunks, p->batch);
	p->batch = u64_div_up(p->n_chunks, p->n_batches);	/* evenly */
	p->logits_rows = u64_min(p->logits_rows, p->batch * p->scored);
	p->memory = memory_for(m, n_threads, o, p->batch, p->logits_rows);
	p->bytes = p->n_batches * model_tensor_bytes(m);
out:
	return st;
}

/* ---- the run ---- */

struct run {
	const struct perplexity_options *o;
	const struct perplexity_plan *p;
	const struct perplexity_sink *sink;
	struct perplexity_result *r;
	struct forward f;
	uint32_t *ids;			/* owned: the batch's, with bos in place */
	float *logits;			/* owned: (logits_rows, n_vocab) */
	struct perplexity_row *rows;	/* owned: (logits_rows) */
	size_t n_rows;			/* of the logits at hand */
	uint64_t first_chunk, done;
	char what[40];
};

static void score_task(void *ctx, unsigned i, unsigned n)
{
	struct run *x = ctx;
	size_t from, to, n_vocab = x->f.arch->n_vocab;

	pool_share(x->n_rows, i, n, &from, &to);
	for (size_t k = from; k < to; k++)
		x->rows[k].log_prob = ops_log_prob(x->logits + k * n_vocab, n_vocab, x->rows[k].token,
						   &x->rows[k].best);
}

static enum status take_row(struct run *x, const struct perplexity_row *row, struct err *e)
{
	uint64_t n;

	if (!isfinite(row->log_prob))
		return err_set(e, ERR_UNSUPPORTED, "%s: the forward pass left the range of float32 (token %llu "
			       "of the text)", x->f.model->path, (unsigned long long)row->index);
	x->r->nll -= row->log_prob;
	x->r->nll2 += row->log_prob * row->log_prob;
	n = ++x->r->n_scored;
	if (n % x->p->scored == 0 && x->sink->chunk)
		x->sink->chunk(x->sink->ctx, n / x->p->scored, exp(x->r->nll / (double)n));
	return x->sink->row ? x->sink->row(x->sink->ctx, row, e) : OK;
}

/* Packed rows [from, from + n) of the batch: logits, log-probabilities, sums. */
static enum status score(struct run *x, size_t from, size_t n, struct err *e)
{
	enum status st;

	for (size_t k = 0; k < n; k++) {
		uint64_t chunk = x->first_chunk + (from + k) / x->p->scored;
		uint64_t at = chunk * x->o->n_ctx + x->p->first + (from + k) % x->p->scored + 1;

		x->rows[k] = (struct perplexity_row){ .index = at, .token = x->o->ids[at] };
	}
	x->n_rows = n;
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
	uint64_t steps = x->p->n_batches * (x->f.arch->n_layer + 1);

	return !x->sink->go_on || x->sink->go_on(x->sink->ctx, x->p->bytes / steps * x->done, x->what);
}

static enum status run_batch(struct run *x, uint32_t n_seq, struct err *e)
{
	uint32_t n_ctx = x->o->n_ctx;
	size_t n = (size_t)(n_seq * x->p->scored), step = (size_t)x->p->logits_rows;
	enum status st;

	memcpy(x->ids, x->o->ids + x->first_chunk * n_ctx, (size_t)n_seq * n_ctx * sizeof *x->ids);
	for (size_t s = 0; s < n_seq && x->o->bos != TOKEN_NONE; s++)
		x->ids[s * n_ctx] = x->o->bos;
	TRY(forward_start(&x->f, x->ids, n_seq, e));
	for (uint32_t l = 0; l < x->f.arch->n_layer; l++) {
		snprintf(x->what, sizeof x->what, "layer %u of %u", l + 1, x->f.arch->n_layer);
		TRY(forward_layer(&x->f, l, e));
		x->done++;
	}
	snprintf(x->what, sizeof x->what, "output");
	TRY(forward_head(&x->f, (uint32_t)x->p->first, n_ctx - 1, e));
	for (size_t from = 0; from < n; from += step)
		TRY(score(x, from, n - from < step ? n - from : step, e));
	x->done++;
out:
	return st;
}

static void finish(struct perplexity_result *r)
{
	double n = (double)r->n_scored, mean = r->nll / n, variance = r->nll2 / n - mean * mean;

	r->ppl = exp(mean);
	r->error = r->n_scored > 1 && variance > 0 ? sqrt(variance / (n - 1)) * r->ppl : 0;
}

enum status perplexity(struct perplexity_result *r, const struct model *m, struct pool *pool,
		       const struct perplexity_options *o, const struct perplexity_plan *p,
		       const struct perplexity_sink *sink, struct err *e)
{
	struct run x = { .o = o, .p = p, .sink = sink, .r = r };
	enum status st;

	*r = (struct perplexity_result){ 0 };
	TRY(forward_open(&x.f, m, pool, o->n_ctx, (uint32_t)p->batch, e));
	x.f.engine.official = o->official;
	x.f.engine.tick = tick;
	x.f.engine.tick_ctx = &x;
	x.ids = mem_new((size_t)p->batch * o->n_ctx, sizeof *x.ids, "the batch's ids", e);
	x.rows = mem_new((size_t)p->logits_rows, sizeof *x.rows, "scored rows", e);
	x.logits = mem_new((size_t)p->logits_rows * m->arch.n_vocab, sizeof *x.logits, "logits", e);
	if (!x.ids || !x.rows || !x.logits) {
		st = ERR_NOMEM;
		goto out;
	}
	for (; x.first_chunk < p->n_chunks; x.first_chunk += p->batch)
		TRY(run_batch(&x, (uint32_t)u64_min(p->batch, p->n_chunks - x.first_chunk), e));
	TRY(model_unchanged(m, e));
	finish(r);
out:
	forward_close(&x.f);
	free(x.ids);
	free(x.rows);
	free(x.logits);
	return st;
}
