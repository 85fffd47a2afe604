/* SPDX-License-Identifier: MIT
 *
 * perplexity.c - how a model predicts a text, alone or beside a reference.
 */
#include <string.h>

#include "library/library.h"
#include "runtime/text.h"

struct task {
	struct call *call;
	struct model model, ref;
	struct text_ids text;
	struct perplexity_options o;
	struct perplexity_plan plan;
};

static bool go_on(void *ctx, uint64_t done, const char *what)
{
	struct task *t = ctx;

	call_progress(t->call, done, t->plan.bytes, what);
	return !stop_asked(t->call->stop);
}

static enum status open_models(struct task *t, const char *model, const char *reference, struct err *e)
{
	enum status st;

	TRY(model_open_part(&t->model, model, PART_TRUNK, &t->call->from, &t->call->notes, e));
	if (reference) {
		TRY(model_open_part(&t->ref, reference, PART_TRUNK, &t->call->from, &t->call->notes, e));
		TRY(parity_check(&t->model, &t->ref, e));
		t->o.reference = &t->ref;
	}
out:
	return st;
}

static enum status measure(struct task *t, struct perplexity_result *r, struct err *e)
{
	const struct perplexity_sink sink = { .ctx = t, .go_on = go_on };
	struct pool pool = { 0 };
	enum status st;

	TRY(pool_open(&pool, t->call->run.threads, e));
	TRY(perplexity_plan(&t->plan, &t->model, pool.n, &t->o, e));
	call_step(t->call, "perplexity", t->plan.bytes);
	TRY(model_check(&t->model, e));
	if (t->o.reference)
		TRY(model_check(&t->ref, e));
	st = perplexity(r, &t->model, &pool, &t->o, &t->plan, &sink, e);
	if (st == ERR_STOPPED)
		err_stopped(e, t->call->stop, "");
out:
	pool_close(&pool);
	return st;
}

static void fill(struct ingot_perplexity_result *to, const struct task *t, const struct perplexity_result *r)
{
	const struct parity *p = &r->parity;

	*to = (struct ingot_perplexity_result){
		.n_tokens = t->text.n_ids, .n_chunks = t->plan.n_chunks, .n_scored = r->n_scored, .ppl = r->ppl,
		.ppl_error = r->error, .mean_nll = r->nll / (double)r->n_scored };
	if (!t->o.reference)
		return;
	to->ref_ppl = p->ref_ppl.mean;
	to->ref_ppl_error = p->ref_ppl.error;
	to->ratio = p->ratio.mean;
	to->ratio_error = p->ratio.error;
	to->kld = p->mean_kld.mean;
	to->kld_error = p->mean_kld.error;
	to->kld_max = parity_percentile(p, 100);
	to->kld_p99_9 = parity_percentile(p, 99.9);
	to->kld_p99 = parity_percentile(p, 99);
	to->kld_p95 = parity_percentile(p, 95);
	to->kld_median = parity_percentile(p, 50);
	to->same_top = p->same_best.mean;
	to->same_top_error = p->same_best.error;
	to->change_rms = p->rms_change.mean;
}

static enum status take_options(struct task *t, struct ingot_perplexity_options *g,
				const struct ingot_perplexity_options *options, struct err *e)
{
	enum { KNOWN = INGOT_OFFICIAL | INGOT_TOKEN_IDS };

	if (options_take(g, sizeof *g, options, e) != OK)
		return e->status;
	if (g->flags & ~(unsigned)KNOWN)
		return err_set(e, ERR_USAGE, "flags of a perplexity: 0x%x is none that libingot %s knows", g->flags, INGOT_VERSION);
	if (g->n_ctx == 0)
		g->n_ctx = 512;
	if (g->n_ctx < 4 || g->n_ctx > UINT32_MAX)
		return err_set(e, ERR_USAGE, "a context of %llu tokens cannot be; 4 is the least", (unsigned long long)g->n_ctx);
	t->o.n_ctx = (uint32_t)g->n_ctx;
	t->o.max_chunks = g->max_chunks;
	t->o.max_memory = t->call->run.max_memory;
	t->o.official = (g->flags & INGOT_OFFICIAL) != 0;
	return OK;
}

int ingot_perplexity(struct ingot_perplexity_result *r, const char *model, const char *text,
		     const struct ingot_perplexity_options *options, const struct ingot_run *run, struct ingot_error *e)
{
	struct call c;
	struct task t = { .call = &c, .model = MODEL_NONE, .ref = MODEL_NONE };
	struct ingot_perplexity_options g;
	struct perplexity_result result = { 0 };
	struct ingot_perplexity_result own;
	enum status st = call_open(&c, run);

	TRY(st);
	TRY(take_options(&t, &g, options, &c.err));
	if (g.flags & INGOT_TOKEN_IDS)
		t.text.ids_path = text;
	else
		t.text.path = text;
	TRY(open_models(&t, model, g.reference, &c.err));
	TRY(text_ids_read(&t.text, &t.o, &t.model, c.run.max_memory, &c.notes, &c.err));
	TRY(measure(&t, &result, &c.err));
	fill(&own, &t, &result);
	if (result_give(r, &own, sizeof own) != INGOT_OK)
		st = err_set(&c.err, ERR_USAGE, "the result's size is not set; zero it, then set size to its sizeof");
out:
	text_ids_close(&t.text);
	parity_close(&result.parity);
	model_close(&t.model);
	model_close(&t.ref);
	return call_close(&c, st, e);
}
