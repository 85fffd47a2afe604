/* SPDX-License-Identifier: MIT
 *
 * test_runtime.c - the forward pass from files to log-probabilities.
 *
 * What the models of runtime_models.h must answer was computed by an independent implementation in
 * float64, written from the published code and run on the very files: `test_runtime DIR` leaves
 * them, and the token ids, in DIR.
 */
#include <fcntl.h>
#include <math.h>

#include "runtime/tokenizer.h"
#include "tests/runtime_models.h"

/* ---- running them ---- */

struct answer { struct perplexity_row rows[N_IDS]; size_t n; struct perplexity_result r; uint64_t batch, memory, weights; };

static enum status keep_row(void *ctx, const struct perplexity_row *r, struct err *e)
{
	struct answer *a = ctx;

	if (a->n == N_IDS)
		return err_set(e, ERR_USAGE, "more rows than tokens");
	a->rows[a->n++] = *r;
	return OK;
}

static bool stop_at_once(void *ctx, uint64_t done, const char *what)
{
	(void)ctx, (void)done, (void)what;
	return false;
}

struct how { uint32_t n_ctx, bos; unsigned threads; uint64_t max_memory; bool stop, official; };

static enum status ask(struct answer *out, const struct made *m, const char *path, struct how how, struct err *e)
{
	uint32_t ids[N_IDS];
	struct perplexity_options o = { .ids = ids, .n_ids = N_IDS, .n_ctx = how.n_ctx, .bos = how.bos,
					.max_memory = how.max_memory ? how.max_memory : 1 << 30, .path = "ids",
					.official = how.official };
	struct perplexity_sink sink = { .ctx = out, .row = keep_row, .go_on = how.stop ? stop_at_once : NULL };
	struct perplexity_plan plan;
	struct pool pool = { 0 };
	struct model model;
	struct log notes = { 0 };
	enum status st;

	*out = (struct answer){ 0 };
	for (size_t i = 0; i < N_IDS; i++)
		ids[i] = id_at(m, i);
	TRY(model_open(&model, path, &notes, e));
	TRY(pool_open(&pool, how.threads, e));
	TRY(perplexity_plan(&plan, &model, pool.n, &o, e));
	out->batch = plan.batch;
	out->memory = plan.memory;
	out->weights = plan.store[0];
	TRY(perplexity(&out->r, &model, &pool, &o, &plan, &sink, e));
out:
	pool_close(&pool);
	model_close(&model);
	log_close(&notes);
	return st;
}

static void same_rows(const struct answer *a, const struct answer *b, const char *what)
{
	CHECKF(a->n == b->n && a->n > 0, "%s: %zu and %zu rows", what, a->n, b->n);
	for (size_t i = 0; i < a->n && i < b->n; i++)
		CHECKF(memcmp(&a->rows[i].log_prob, &b->rows[i].log_prob, sizeof(double)) == 0 &&
		       a->rows[i].best == b->rows[i].best && a->rows[i].index == b->rows[i].index,
		       "%s: row %zu: %.17g and %.17g", what, i, a->rows[i].log_prob, b->rows[i].log_prob);
	CHECKF(a->r.ppl == b->r.ppl && a->r.error == b->r.error, "%s", what);
}

static void answers_are_the_independent_ones(void)
{
#include "tests/runtime_golden.h"
	struct err e = { 0 };

	for (size_t k = 0; k < sizeof golden / sizeof *golden; k++) {
		const struct golden *g = &golden[k];
		struct answer a;
		struct how how = { g->n_ctx, TOKEN_NONE, 2, 0, false, false };
		double worst = 0;

		CHECKF(ask(&a, &made[g->model], made[g->model].ckpt, how, &e) == OK, "%s", e.msg);
		CHECKF(fabs(a.r.ppl / g->ppl - 1) < 2e-6, "model %s, context %u: PPL %.9f, not %.9f",
		       made[g->model].name, g->n_ctx, a.r.ppl, g->ppl);
		for (size_t i = 0; i < N_ROWS; i++) {
			size_t at = i * a.n / N_ROWS;
			double d = fabs(a.rows[at].log_prob - g->rows[i].log_prob);

			CHECK(a.rows[at].index == g->rows[i].index && a.rows[at].token == g->rows[i].token &&
			      a.rows[at].best == g->rows[i].best);
			worst = d > worst ? d : worst;
		}
		CHECKF(worst < 2e-5, "model %s, context %u: %.3g off", made[g->model].name, g->n_ctx, worst);
	}
}

static void figures_do_not_depend_on_threads_batches_or_form(void)
{
	struct answer one, other;
	struct err e = { 0 };

	for (int i = 0; i < 4; i++) {	/* each model, and each with official activations */
		const struct made *m = &made[i % 2];
		struct how how = { 80, 3, 1, 0, false, i >= 2 };

		CHECKF(ask(&one, m, m->ckpt, how, &e) == OK, "%s", e.msg);
		CHECK(one.batch == 4);
		how.threads = 2;
		CHECKF(ask(&other, m, m->gguf, how, &e) == OK, "%s", e.msg);
		same_rows(&one, &other, "checkpoint and GGUF");
		how.threads = 5;
		CHECKF(ask(&other, m, m->gguf, how, &e) == OK, "%s", e.msg);
		same_rows(&one, &other, "threads");
		how.threads = 1;
		how.max_memory = one.memory - one.weights;	/* what remains is for both */
		CHECKF(ask(&other, m, m->ckpt, how, &e) == OK, "%s", e.msg);
		CHECKF(other.batch < 4, "batch %llu", (unsigned long long)other.batch);
		same_rows(&one, &other, "batches");
	}
}

/* Nothing after a position may change what is predicted there. */
static void the_future_is_not_seen(void)
{
	struct answer whole, cut;
	struct err e = { 0 };
	struct how how = { 164, TOKEN_NONE, 2, 0, false, false };
	struct made m = made[0];

	CHECK(ask(&whole, &m, m.gguf, how, &e) == OK);
	how.n_ctx = 120;	/* the first chunk has the same tokens, fewer of them */
	CHECK(ask(&cut, &m, m.gguf, how, &e) == OK);
	for (size_t i = 0; i < cut.n && cut.rows[i].index < 120; i++)
		for (size_t k = 0; k < whole.n && whole.rows[k].index < 120; k++)
			CHECK(whole.rows[k].index != cut.rows[i].index ||
			      fabs(whole.rows[k].log_prob - cut.rows[i].log_prob) < 1e-9);
}

static void bos_replaces_the_first_token(void)
{
	struct answer without, with;
	struct err e = { 0 };
	struct how how = { 40, TOKEN_NONE, 2, 0, false, false };
	size_t changed = 0;

	CHECK(ask(&without, &made[0], made[0].gguf, how, &e) == OK);
	how.bos = id_at(&made[0], 0);	/* the first chunk has it already, the others not */
	CHECK(ask(&with, &made[0], made[0].gguf, how, &e) == OK);
	CHECK(with.n == 8 * 19 && without.n == with.n);
	for (size_t i = 0; i < with.n; i++) {
		CHECK(with.rows[i].token == without.rows[i].token);
		if (i < 19)
			CHECK(with.rows[i].log_prob == without.rows[i].log_prob);
		else
			changed += with.rows[i].log_prob != without.rows[i].log_prob;
	}
	CHECK(changed > 100);
}

/* The sample's first 1,536 tokens of held-out text. 79.681759 is the independent implementation's
 * answer with the same roundings, its sums in float64; without them it is 79.7122. */
static void official_activations(void)
{
	struct answer a = { 0 };
	struct model m;
	struct log notes = { 0 };
	struct vocab v = { 0 };
	struct tokenizer tok = { 0 };
	struct file f = FILE_NONE;
	struct pool pool = { 0 };
	struct perplexity_options o = { .n_ctx = 256, .max_chunks = 6, .bos = TOKEN_NONE,
					.max_memory = 1 << 30, .path = "held-out text" };
	struct perplexity_sink sink = { 0 };
	struct perplexity_plan plan;
	struct err e = { 0 };
	uint32_t *ids = NULL;
	char *text = NULL;
	size_t n = 0, n_ids = 0;
	bool found = false;
	enum status st;

	TRY(model_open(&m, "samples/v4-tiny", &notes, &e));
	TRY(model_vocab(&m, &v, &found, &notes, &e));
	TRY(tokenizer_open(&tok, &v, &e));
	TRY(file_open(&f, AT_FDCWD, "samples/heldout.txt", true, "samples/heldout.txt", &e));
	TRY(file_slurp(&f, 1 << 20, &text, &n, &e));
	TRY(tokenizer_encode(&tok, text, n, false, &ids, &n_ids, &e));
	o.ids = ids;
	o.n_ids = n_ids;
	TRY(pool_open(&pool, 2, &e));
	for (int official = 0; official < 2; official++) {
		o.official = official;
		TRY(perplexity_plan(&plan, &m, pool.n, &o, &e));
		TRY(perplexity(&a.r, &m, &pool, &o, &plan, &sink, &e));
		CHECK(a.r.n_scored == 6 * 127);
		if (official)
			CHECKF(fabs(a.r.ppl - 30.235155) < 1e-5, "PPL %.6f", a.r.ppl);
		else
			CHECKF(fabs(a.r.ppl - 30.2177) < 1e-4, "PPL %.6f", a.r.ppl);
	}
out:
	CHECKF(st == OK && found, "%s", e.msg);
	pool_close(&pool);
	free(ids);
	free(text);
	file_close(&f);
	tokenizer_close(&tok);
	vocab_close(&v);
	model_close(&m);
	log_close(&notes);
}

/* ---- refusals ---- */

static void refusals(void)
{
	const struct made *m = &made[0];
	struct answer a;
	struct err e = { 0 };
	struct how how = { 40, TOKEN_NONE, 2, 0, false, false };

	how.n_ctx = 331;
	CHECK(ask(&a, m, m->gguf, how, &e) == ERR_UNSUPPORTED && strstr(e.msg, "331"));
	how.n_ctx = 3;
	CHECK(ask(&a, m, m->gguf, how, &e) == ERR_USAGE);
	how.n_ctx = 5000;
	CHECK(ask(&a, m, m->gguf, how, &e) == ERR_UNSUPPORTED && strstr(e.msg, "4096"));
	how.n_ctx = 40;
	how.max_memory = 200000;
	CHECK(ask(&a, m, m->gguf, how, &e) == ERR_NOMEM && strstr(e.msg, "--max-memory"));
	how.max_memory = 0;
	how.bos = m->a.n_vocab;
	CHECK(ask(&a, m, m->gguf, how, &e) == ERR_FORMAT && strstr(e.msg, "token id"));
	how.bos = TOKEN_NONE;
	how.stop = true;
	CHECK(ask(&a, m, m->gguf, how, &e) == ERR_STOPPED);
	how.stop = false;
	CHECK(ask(&a, m, "/nonexistent/model", how, &e) == ERR_IO);
}

static void damaged_files_are_refused_by_name(void)
{
	static const char *const names[] = { "blk.0.ffn_gate_tid2eid.weight", "blk.3.attn_sinks.weight",
					     "blk.2.attn_kv.weight", "output.weight", "token_embd.weight" };
	const struct made *m = &made[0];
	struct how how = { 160, TOKEN_NONE, 2, 0, false, false };
	struct wants wants = { 0 };
	struct model opened;
	struct log notes = { 0 };
	struct answer a;
	struct err e = { 0 };
	char path[300];

	snprintf(path, sizeof path, "%s/damaged.gguf", dir);
	CHECK(wants_build(&wants, &m->a, PART_TRUNK, &e) == OK);
	CHECK(model_open(&opened, m->gguf, &notes, &e) == OK);
	for (size_t i = 0; i < 5; i++) {	/* a NaN, or an expert -1, where the run comes by */
		write_gguf(m, &opened.arch, &wants, path, NULL, names[i]);
		e = (struct err){ 0 };
		CHECKF(ask(&a, m, path, how, &e) == ERR_FORMAT && strstr(e.msg, names[i]), "%s: %s", names[i], e.msg);
	}
	for (size_t i = 0; i < 5; i++) {
		write_gguf(m, &opened.arch, &wants, path, names[i], NULL);
		e = (struct err){ 0 };
		CHECKF(ask(&a, m, path, how, &e) == ERR_FORMAT && strstr(e.msg, names[i]), "%s: %s", names[i], e.msg);
	}
	model_close(&opened);
	wants_close(&wants);
	log_close(&notes);
}

static void ids_as_text(void)
{
	static const char *const bad[] = { "1 2 x", "1,2", "-1", "50", "4294967296", "1 99999999999999999999999",
					   "1\0002" };
	uint32_t *ids = NULL;
	uint64_t n = 9;
	struct err e = { 0 };

	CHECK(perplexity_read_ids(" 0\t49\r\n\n7 ", 10, 50, "f", &ids, &n, &e) == OK);
	CHECK(n == 3 && ids && ids[0] == 0 && ids[1] == 49 && ids[2] == 7);
	free(ids);
	CHECK(perplexity_read_ids("", 0, 50, "f", &ids, &n, &e) == OK && n == 0);
	free(ids);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		size_t len = i == 6 ? 3 : strlen(bad[i]);

		CHECKF(perplexity_read_ids(bad[i], len, 50, "f", &ids, &n, &e) == ERR_FORMAT, "%s", bad[i]);
		CHECK(ids == NULL && strncmp(e.msg, "f: bytes ", 9) == 0);
	}
}

int main(int argc, char **argv)
{
	if (argc > 1)
		snprintf(dir, sizeof dir, "%s", argv[1]);
	else if (!mkdtemp(dir))
		return 1;
	make_models();
	if (argc > 1)
		return test_bad_checks != 0;
	RUN(answers_are_the_independent_ones);
	RUN(figures_do_not_depend_on_threads_batches_or_form);
	RUN(the_future_is_not_seen);
	RUN(bos_replaces_the_first_token);
	RUN(official_activations);
	RUN(refusals);
	RUN(damaged_files_are_refused_by_name);
	RUN(ids_as_text);
	remove_all();
	return test_done();
}
