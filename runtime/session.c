/* SPDX-License-Identifier: MIT
 *
 * session.c - one sequence that grows: a prompt in batches, then token by token, through the same
 * forward pass that perplexity takes.
 */
#include "runtime/runtime.h"

uint64_t session_bytes(const struct arch *a, uint32_t n_ctx, uint32_t n_batch, unsigned n_threads)
{
	uint64_t sum = kv_bytes(a, n_ctx), batch;

	batch = forward_step_bytes(a, n_ctx, n_batch < n_ctx ? n_batch : n_ctx, n_threads);
	return u64_add(sum, batch, &sum) ? sum : UINT64_MAX;
}

uint64_t session_least(const struct model *m, uint32_t n_ctx, uint32_t n_batch, unsigned n_threads)
{
	uint64_t sum = session_bytes(&m->arch, n_ctx, n_batch, n_threads);
	uint64_t rest = model_header_bytes(m) + engine_bytes(n_threads, n_batch, &m->wants);

	return u64_add(sum, rest, &sum) && u64_add(sum, store_least(m), &sum) ? sum : UINT64_MAX;
}

/* *weights: what is left for the store. */
static enum status check_memory(const struct model *m, unsigned n_threads, uint32_t n_ctx, uint32_t n_batch,
				uint64_t max_memory, uint64_t *weights, struct err *e)
{
	uint64_t sum = session_least(m, n_ctx, n_batch, n_threads), least = store_least(m);

	if (sum <= max_memory) {
		uint64_t left = max_memory - sum;

		left -= u64_min(left, max_memory / 64);		/* some for the process itself */
		*weights = least + u64_min(left, store_most(m) - least);
		return OK;
	}
	return err_set(e, ERR_NOMEM, "%s: a context of %u tokens in batches of %u needs %llu bytes of memory "
		       "(%llu for the context, %llu for the weights at work in a layer), --max-memory allows %llu; "
		       "give it more (%lluM) or a smaller context or batch", m->path, n_ctx, n_batch,
		       (unsigned long long)sum, (unsigned long long)kv_bytes(&m->arch, n_ctx),
		       (unsigned long long)least, (unsigned long long)max_memory,
		       (unsigned long long)(sum / (1 << 20) + 1));
}

enum status session_open(struct session *s, const struct model *m, struct pool *pool, uint32_t n_ctx,
			 uint32_t n_batch, uint64_t max_memory, bool official, struct err *e)
{
	uint64_t weights = 0;
	enum status st;

	*s = (struct session){ 0 };
	if (n_ctx == 0 || n_batch == 0)
		return err_set(e, ERR_USAGE, "%s: a context of %u tokens in batches of %u holds none", m->path,
			       n_ctx, n_batch);
	if (n_ctx > m->arch.n_ctx)
		return err_set(e, ERR_UNSUPPORTED, "%s: a context of %u tokens; the model has %u", m->path,
			       n_ctx, m->arch.n_ctx);
	n_batch = n_batch < n_ctx ? n_batch : n_ctx;
	TRY(check_memory(m, pool->n, n_ctx, n_batch, max_memory, &weights, e));
	TRY(store_start(m, weights, e));
	store_pack(m);
	TRY(kv_open(&s->kv, &m->arch, n_ctx, e));
	TRY(forward_open_past(&s->f, m, pool, &s->kv, n_batch, e));
	s->f.engine.official = official;
out:
	if (st != OK)
		session_close(s);
	return st;
}

/* One batch through every layer; nobody asks for more than its last token. */
static enum status append(struct session *s, const uint32_t *ids, uint32_t n, struct err *e)
{
	enum status st;

	TRY(forward_step(&s->f, ids, n, e));
	for (uint32_t l = 0; l + 1 < s->f.arch->n_layer; l++)
		TRY(forward_layer(&s->f, l, e));
	TRY(forward_last_layer(&s->f, s->f.arch->n_layer - 1, n - 1, n, e));
	s->kv.pos += n;
out:
	return st;
}

/* What can be refused before anything is changed. */
static enum status check_ids(const struct session *s, const uint32_t *ids, uint32_t n, struct err *e)
{
	const struct forward *f = &s->f;

	if (s->failed)
		return err_set(e, ERR_USAGE, "%s: this sequence ended with an error", f->model->path);
	if (n == 0)
		return err_set(e, ERR_USAGE, "%s: no tokens to go on with", f->model->path);
	if (n > f->n_ctx - s->kv.pos)
		return err_set(e, ERR_UNSUPPORTED, "%s: %u tokens and %u more are beyond the context of %u",
			       f->model->path, s->kv.pos, n, f->n_ctx);
	for (uint32_t i = 0; i < n; i++)
		if (ids[i] >= f->arch->n_vocab)
			return err_set(e, ERR_FORMAT, "%s: token id %u at %u; the model has %u", f->model->path,
				       ids[i], s->kv.pos + i, f->arch->n_vocab);
	return OK;
}

enum status session_eval(struct session *s, const uint32_t *ids, uint32_t n, float *logits, struct err *e)
{
	uint32_t step = s->f.max_new, last = (n - 1) % step;
	enum status st;

	TRY(check_ids(s, ids, n, e));
	s->failed = true;
	for (uint32_t i = 0; i < n; i += step)
		TRY(append(s, ids + i, n - i < step ? n - i : step, e));
	if (logits) {
		TRY(forward_head(&s->f, last, last + 1, e));
		TRY(forward_logits(&s->f, 0, 1, logits, e));
	}
	s->failed = false;
out:
	return st;
}

uint32_t session_pos(const struct session *s)
{
	return s->kv.pos;
}

void session_close(struct session *s)
{
	forward_close(&s->f);
	kv_close(&s->kv);
	*s = (struct session){ 0 };
}
