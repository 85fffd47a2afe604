/* SPDX-License-Identifier: MIT
 *
 * cmd.c - `ingot perplexity`.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "runtime/cmd_html.h"

struct task {
	struct cli c;
	const char *model_path, *ref_path, *mtp_path, *logprobs_path, *activations, *html_path;
	bool mtp;
	double max_increase, max_kld;	/* gates; NAN: not asked for */
	uint64_t n_ctx, max_chunks;
	struct model m, ref, m_mtp, ref_mtp;	/* the latter with --mtp */
	struct log notes;
	struct text_ids text;
	struct perplexity_options o;
	struct perplexity_plan plan;
	struct perplexity_result result, mtp_result;
	struct progress progress;
	double seconds;			/* that the run took, from the first weight to the last score */
	FILE *logprobs;
	struct output html;		/* with --html; open from the start */
	struct spread spread;
};

static bool go_on(void *ctx, uint64_t done, const char *what)
{
	struct task *t = ctx;

	progress_update(&t->progress, done, what);
	return stop_signal == 0;
}

static void show_chunk(void *ctx, uint64_t number, double estimate)
{
	struct task *t = ctx;

	cmd_show_chunk(&t->c, &t->progress, number, estimate);
}

static enum status write_row(void *ctx, const struct perplexity_row *r, struct err *e)
{
	struct task *t = ctx;

	if (t->html_path)
		spread_add(&t->spread, r);
	if (t->logprobs && r->ahead == 1 && fprintf(t->logprobs, "%llu %u %.17g %u\n", (unsigned long long)r->index, r->token,
				   r->log_prob, r->best) < 0)
		return err_errno(e, "%s: cannot write", t->logprobs_path);
	return OK;
}

static void print_head(const struct task *t)
{
	const struct perplexity_plan *p = &t->plan;
	FILE *to = cli_out(&t->c);

	fprintf(to, "model: %s (%s), %s activations\n", cli_escz(t->model_path),
		t->m.is_gguf ? "GGUF" : "checkpoint", t->o.official ? "official" : "float32");
	if (t->ref_path)
		fprintf(to, "reference: %s (%s), in lockstep\n", cli_escz(t->ref_path),
			t->ref.is_gguf ? "GGUF" : "checkpoint");
	if (t->mtp)
		fprintf(to, "MTP block: %s, scored on the token after the next\n", cli_escz(t->m_mtp.path));
	cmd_text_print(to, &t->text, p, t->o.n_ctx);
	if (t->c.verbose)
		fprintf(to, "batches: %llu of up to %llu chunks, %u threads, %s kernels, %llu MiB of memory\n",
			(unsigned long long)p->n_batches, (unsigned long long)p->batch, t->c.threads,
			kernels_name(), (unsigned long long)(p->memory + (1 << 20) - 1) >> 20);
	fflush(to);
}

const struct kld_percentile kld_percentiles[N_KLD_PERCENTILES] = {
	{ 100, "maximum", "max" }, { 99.9, "99.9 %", "p99_9" }, { 99, "99 %", "p99" }, { 95, "95 %", "p95" }, { 90, "90 %", "p90" },
	{ 50, "median", "median" }, { 0, "minimum", "min" },
};

static void print_parity(FILE *to, const struct perplexity_result *r)
{
	const struct parity *p = &r->parity;

	fprintf(to, "PPL of the reference  %.6f +/- %.6f\n", p->ref_ppl.mean, p->ref_ppl.error);
	fprintf(to, "PPL of the model      %.6f +/- %.6f\n", r->ppl, r->error);
	fprintf(to, "PPL ratio             %.6f +/- %.6f (model over reference)\n", p->ratio.mean, p->ratio.error);
	fprintf(to, "ln PPL ratio          %.6g +/- %.6g\n", p->ln_ratio.mean, p->ln_ratio.error);
	fprintf(to, "KL divergence of the model from the reference, over %llu positions\n",
		(unsigned long long)p->n);
	fprintf(to, "  mean                %.6g +/- %.6g\n", p->mean_kld.mean, p->mean_kld.error);
	for (size_t i = 0; i < N_KLD_PERCENTILES; i++)
		fprintf(to, "  %-18s  %.6g\n", kld_percentiles[i].name, parity_percentile(p, kld_percentiles[i].percent));
	fprintf(to, "same most likely token  %.3f +/- %.3f %%\n", p->same_best.mean * 100, p->same_best.error * 100);
	fprintf(to, "change of the correct token's probability: mean %.6f +/- %.6f %%, RMS %.6f +/- %.6f %%\n",
		p->change.mean * 100, p->change.error * 100, p->rms_change.mean * 100, p->rms_change.error * 100);
}

const char *parity_state_name(size_t i, char buf[32])
{
	if (i == 0)
		snprintf(buf, 32, "embedding");
	else
		snprintf(buf, 32, "layer %zu", i - 1);
	return buf;
}

enum { NO_STATE = -1 };
/* The first state whose relative error is above limit. */
static int first_above(const struct parity *p, double limit)
{
	for (size_t i = 0; i < p->n_layers; i++)
		if (!(layer_error_rms(&p->layers[i]) <= limit))
			return (int)i;
	return NO_STATE;
}

static void print_layers(FILE *to, const struct parity *p)
{
	int differs = first_above(p, 0), large = first_above(p, 1e-3);
	char name[32], other[32];

	if (!p->layers)
		return;
	fprintf(to, "hidden states after   relative RMS error   cosine            largest difference\n");
	for (size_t i = 0; i < p->n_layers; i++)
		fprintf(to, "  %-18s  %-19.6g  %-16.12f  %.6g\n", parity_state_name(i, name),
			layer_error_rms(&p->layers[i]), layer_error_cosine(&p->layers[i]), p->layers[i].max);
	if (differs == NO_STATE)
		fprintf(to, "first difference: none, the hidden states are equal after every layer\n");
	else
		fprintf(to, "first difference: %s; first above 0.001: %s\n", parity_state_name((size_t)differs, name),
			large == NO_STATE ? "none" : parity_state_name((size_t)large, other));
}

double parity_ppl_increase(const struct parity *p) { return expm1(p->ln_ratio.mean) * 100; }
static bool exceeds(double x, double limit) { return !isnan(limit) && !(x <= limit); }
static bool gated(const struct task *t) { return !isnan(t->max_increase) || !isnan(t->max_kld); }

/* What a gate says: "PPL increase 0.1 % (limit 0.5 %)". */
static const char *gate_text(const struct task *t, bool only_failed, char buf[300])
{
	const struct parity *p = &t->result.parity;
	double up = parity_ppl_increase(p), kld = p->mean_kld.mean;
	bool show_up = only_failed ? exceeds(up, t->max_increase) : !isnan(t->max_increase);
	bool show_kld = only_failed ? exceeds(kld, t->max_kld) : !isnan(t->max_kld);
	size_t n = 0;

	buf[0] = 0;
	if (show_up)
		n = (size_t)snprintf(buf, 300, "PPL increase %.6g %% (--max-ppl-increase %g%s", up, t->max_increase,
				     only_failed ? "" : ")");
	if (show_up && only_failed)
		n += (size_t)snprintf(buf + n, 300 - n, ", over by %.6g)", up - t->max_increase);
	if (show_kld)
		n += (size_t)snprintf(buf + n, 300 - n, "%smean KL divergence %.6g (--max-kld %g%s", n ? ", " : "",
				      kld, t->max_kld, only_failed ? "" : ")");
	if (show_kld && only_failed)
		snprintf(buf + n, 300 - n, ", over by %.6g)", kld - t->max_kld);
	return buf;
}

static bool within_gates(const struct task *t)
{
	return !exceeds(parity_ppl_increase(&t->result.parity), t->max_increase) &&
	       !exceeds(t->result.parity.mean_kld.mean, t->max_kld);
}

static void print_mtp(FILE *to, const struct task *t)
{
	const struct perplexity_result *r = &t->mtp_result;
	const struct parity *p = &r->parity;

	fprintf(to, "MTP block, second next token: PPL = %.4f +/- %.5f over %llu tokens\n", r->ppl, r->error,
		(unsigned long long)r->n_scored);
	if (t->ref_path)
		fprintf(to, "  of the reference %.6f +/- %.6f, ratio %.6f +/- %.6f, KL divergence mean %.6g, maximum "
			"%.6g, same most likely token %.3f %%\n", p->ref_ppl.mean, p->ref_ppl.error, p->ratio.mean,
			p->ratio.error, p->mean_kld.mean, parity_percentile(p, 100), p->same_best.mean * 100);
}

enum { N_MODELS = 4 };
#define MODELS(t) { &(t)->m, &(t)->ref, &(t)->m_mtp, &(t)->ref_mtp }

static double tokens_run(const struct task *t)
{
	return (double)t->plan.n_chunks * (double)t->o.n_ctx;
}

static void print_result(const struct task *t)
{
	const struct model *const models[N_MODELS] = MODELS(t);
	FILE *to = cli_out(&t->c);
	const struct perplexity_result *r = &t->result;
	struct rusage u;
	char buf[300];

	fprintf(to, "\n");
	if (t->ref_path) {
		print_parity(to, r);
		print_layers(to, &r->parity);
	}
	if (t->mtp)
		print_mtp(to, t);
	if (t->ref_path && gated(t) && within_gates(t))
		fprintf(to, "within the gates: %s\n", gate_text(t, false, buf));
	if (t->c.verbose) {
		fprintf(to, "PPL = %.17g, mean of -log p = %.17g, %llu tokens scored\n", r->ppl,
			r->nll / (double)r->n_scored, (unsigned long long)r->n_scored);
		fprintf(to, "run: %.0f tokens in %.2f s, %.2f tokens/s\n", tokens_run(t), t->seconds,
			t->seconds > 0 ? tokens_run(t) / t->seconds : 0);
		weights_print(to, models, N_MODELS);
		if (getrusage(RUSAGE_SELF, &u) == 0)
			fprintf(to, "peak resident memory %ld MiB\n", u.ru_maxrss / 1024);
	}
	fprintf(to, "Final estimate: PPL = %.4f +/- %.5f\n", r->ppl, r->error);
}

static void add_estimate(cJSON *to, const char *name, struct estimate x)
{
	cJSON *o = cJSON_AddObjectToObject(to, name);

	cJSON_AddNumberToObject(o, "mean", x.mean);
	cJSON_AddNumberToObject(o, "error", x.error);
}

static void add_layers(cJSON *to, const struct parity *p)
{
	cJSON *list = cJSON_AddArrayToObject(to, "layers");
	int first[2] = { first_above(p, 0), first_above(p, 1e-3) };
	const char *const names[2] = { "first_difference", "first_above_0_001" };
	char name[32];

	for (size_t i = 0; i < p->n_layers; i++) {
		cJSON *o = cJSON_CreateObject();

		cJSON_AddStringToObject(o, "after", parity_state_name(i, name));
		cJSON_AddNumberToObject(o, "relative_rms_error", layer_error_rms(&p->layers[i]));
		cJSON_AddNumberToObject(o, "cosine", layer_error_cosine(&p->layers[i]));
		cJSON_AddNumberToObject(o, "max_difference", p->layers[i].max);
		cJSON_AddItemToArray(list, o);
	}
	for (int i = 0; i < 2; i++) {
		if (first[i] == NO_STATE)
			cJSON_AddNullToObject(to, names[i]);
		else
			cJSON_AddStringToObject(to, names[i], parity_state_name((size_t)first[i], name));
	}
}

static void add_gates(cJSON *to, const struct task *t)
{
	cJSON *o = cJSON_AddObjectToObject(to, "gates");

	if (!isnan(t->max_increase))
		cJSON_AddNumberToObject(o, "max_ppl_increase_percent", t->max_increase);
	if (!isnan(t->max_kld))
		cJSON_AddNumberToObject(o, "max_kld", t->max_kld);
	cJSON_AddBoolToObject(o, "within", within_gates(t));
}

/* doc.parity, returned */
static cJSON *add_parity(cJSON *doc, const struct parity *p)
{
	cJSON *o = cJSON_AddObjectToObject(doc, "parity"), *kld;

	add_estimate(o, "reference_ppl", p->ref_ppl);
	add_estimate(o, "ppl_ratio", p->ratio);
	add_estimate(o, "ln_ppl_ratio", p->ln_ratio);
	cJSON_AddNumberToObject(o, "ppl_increase_percent", parity_ppl_increase(p));
	kld = cJSON_AddObjectToObject(o, "kl_divergence");
	cJSON_AddNumberToObject(kld, "positions", (double)p->n);
	cJSON_AddNumberToObject(kld, "mean", p->mean_kld.mean);
	cJSON_AddNumberToObject(kld, "error", p->mean_kld.error);
	for (size_t i = 0; i < N_KLD_PERCENTILES; i++)
		cJSON_AddNumberToObject(kld, kld_percentiles[i].key, parity_percentile(p, kld_percentiles[i].percent));
	add_estimate(o, "same_top_share", p->same_best);
	add_estimate(o, "probability_change", p->change);
	add_estimate(o, "probability_change_rms", p->rms_change);
	if (p->layers)
		add_layers(o, p);
	return o;
}

static void add_reference(cJSON *doc, const struct task *t)
{
	cJSON *o;

	cJSON_AddStringToObject(doc, "reference", cli_escz(t->ref_path));
	cJSON_AddStringToObject(doc, "reference_form", t->ref.is_gguf ? "gguf" : "checkpoint");
	o = add_parity(doc, &t->result.parity);
	if (gated(t))
		add_gates(o, t);
}

static void add_mtp(cJSON *doc, const struct task *t)
{
	const struct perplexity_result *r = &t->mtp_result;
	cJSON *o = cJSON_AddObjectToObject(doc, "mtp");

	cJSON_AddStringToObject(o, "path", cli_escz(t->m_mtp.path));
	cJSON_AddNumberToObject(o, "scored", (double)r->n_scored);
	cJSON_AddNumberToObject(o, "mean_nll", r->nll / (double)r->n_scored);
	cJSON_AddNumberToObject(o, "second_next_ppl", r->ppl);
	cJSON_AddNumberToObject(o, "second_next_ppl_error", r->error);
	if (t->ref_path)
		add_parity(o, &r->parity);
}

static cJSON *result_json(const struct task *t)
{
	const struct model *const models[N_MODELS] = MODELS(t);
	const struct perplexity_result *r = &t->result;
	cJSON *doc = cJSON_CreateObject();

	cJSON_AddStringToObject(doc, "model", cli_escz(t->model_path));
	cJSON_AddStringToObject(doc, "model_form", t->m.is_gguf ? "gguf" : "checkpoint");
	cJSON_AddStringToObject(doc, "activations", t->activations);
	cmd_text_json(doc, &t->text);
	cJSON_AddNumberToObject(doc, "context", t->o.n_ctx);
	cJSON_AddNumberToObject(doc, "chunks", (double)t->plan.n_chunks);
	cJSON_AddNumberToObject(doc, "first_scored", (double)t->plan.first);
	cJSON_AddNumberToObject(doc, "scored_per_chunk", (double)t->plan.scored);
	cJSON_AddNumberToObject(doc, "left_over", (double)t->plan.n_left_over);
	if (t->o.bos == TOKEN_NONE)
		cJSON_AddNullToObject(doc, "bos");
	else
		cJSON_AddNumberToObject(doc, "bos", t->o.bos);
	cJSON_AddNumberToObject(doc, "batches", (double)t->plan.n_batches);
	cJSON_AddNumberToObject(doc, "memory_bytes", (double)t->plan.memory);
	cJSON_AddNumberToObject(doc, "scored", (double)r->n_scored);
	cJSON_AddNumberToObject(doc, "mean_nll", r->nll / (double)r->n_scored);
	cJSON_AddNumberToObject(doc, "ppl", r->ppl);
	cJSON_AddNumberToObject(doc, "ppl_error", r->error);
	cJSON_AddNumberToObject(doc, "seconds", t->seconds);
	weights_json(doc, models, N_MODELS);
	if (t->ref_path)
		add_reference(doc, t);
	if (t->mtp)
		add_mtp(doc, t);
	return doc;
}

/* What damage can be known before the run. */
static enum status check_models(const struct task *t, struct err *e)
{
	enum status st;

	TRY(model_check(&t->m, e));
	if (t->mtp)
		TRY(model_check(&t->m_mtp, e));
	if (t->ref_path)
		TRY(model_check(&t->ref, e));
	if (t->mtp && t->ref_path)
		TRY(model_check(&t->ref_mtp, e));
out:
	return st;
}

static enum status measure(struct task *t, struct err *e)
{
	struct perplexity_sink sink = { .ctx = t, .go_on = go_on, .row = write_row, .chunk = show_chunk };
	struct perplexity_result r[2] = { { 0 } };
	struct pool pool = { 0 };
	enum status st;

	TRY(kernels_init(e));
	TRY(pool_open(&pool, t->c.threads, e));
	TRY(perplexity_plan(&t->plan, &t->m, pool.n, &t->o, e));
	TRY(check_models(t, e));
	t->spread = (struct spread){ .n_ctx = t->o.n_ctx, .first = t->plan.first, .scored = t->plan.scored };
	print_head(t);
	progress_begin(&t->progress, &t->c, "perplexity", t->plan.bytes);
	t->seconds = -clock_seconds();
	st = perplexity(r, &t->m, &pool, &t->o, &t->plan, &sink, e);
	t->seconds += clock_seconds();
	progress_end(&t->progress);
	t->result = r[0];
	t->mtp_result = r[1];
out:
	pool_close(&pool);
	return st;
}

static enum status open_models(struct task *t, struct err *e)
{
	const struct source_options *from = cli_source(&t->c, NULL);
	enum status st;

	TRY(model_open_part(&t->m, t->model_path, PART_TRUNK, from, &t->notes, e));
	if (t->mtp) {
		TRY(mtp_open(&t->m_mtp, &t->m, t->mtp_path, &t->notes, e));
		t->o.mtp = &t->m_mtp;
	}
	if (!t->ref_path)
		return OK;
	TRY(model_open_part(&t->ref, t->ref_path, PART_TRUNK, from, &t->notes, e));
	TRY(parity_check(&t->m, &t->ref, e));
	t->o.reference = &t->ref;
	if (t->mtp) {
		TRY(mtp_open(&t->ref_mtp, &t->ref, NULL, &t->notes, e));
		t->o.ref_mtp = &t->ref_mtp;
	}
out:
	return st;
}

/* ---- the page ---- */

enum { MOST_WORDS = 32 };

/* A command that gives the same figures: what decides them, in a fixed order. numbers: room for what is printed. */
static void list_words(const struct task *t, const char *words[MOST_WORDS], char numbers[4][32])
{
	const struct { const char *name, *value; } pairs[] = {
		{ "--reference", t->ref_path }, { "-f", t->text.path }, { "--token-ids", t->text.ids_path }, { "-c", numbers[0] },
		{ "--chunks", t->max_chunks ? numbers[1] : NULL }, { "--mtp-model", t->mtp_path },
		{ "--activations", t->o.official ? "official" : NULL },
		{ "--max-ppl-increase", isnan(t->max_increase) ? NULL : numbers[2] },
		{ "--max-kld", isnan(t->max_kld) ? NULL : numbers[3] },
	};
	size_t n = 0;

	snprintf(numbers[0], 32, "%llu", (unsigned long long)t->n_ctx);
	snprintf(numbers[1], 32, "%llu", (unsigned long long)t->max_chunks);
	snprintf(numbers[2], 32, "%.12g", t->max_increase);
	snprintf(numbers[3], 32, "%.12g", t->max_kld);
	words[n++] = "ingot";
	words[n++] = "perplexity";
	words[n++] = t->model_path;
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
		if (pairs[i].value) {
			words[n++] = pairs[i].name;
			words[n++] = pairs[i].value;
		}
	if (t->o.per_layer)
		words[n++] = "--per-layer";
	if (t->mtp && !t->mtp_path)
		words[n++] = "--mtp";
	words[n] = NULL;
}

static enum status write_page(struct task *t, struct err *e)
{
	const char *words[MOST_WORDS];
	char numbers[4][32], gates[300];
	struct vocab v = { 0 };	/* read again: while the models run, its memory is theirs */
	bool found;
	enum status st;
	struct html_parity page = {
		.m = &t->m, .ref = &t->ref, .o = &t->o, .plan = &t->plan, .result = &t->result,
		.mtp = t->mtp ? &t->mtp_result : NULL, .text = &t->text,
		.spread = &t->spread, .gates = gated(t) ? gate_text(t, false, gates) : NULL, .within = within_gates(t),
		.words = words,
	};

	if (!t->html_path)
		return OK;
	list_words(t, words, numbers);
	TRY(model_vocab(&t->m, &v, &found, NULL, e));
	page.vocab = found ? &v : NULL;
	st = cmd_html_parity(&page, &t->html, e);
out:
	vocab_close(&v);
	return st;
}

static enum status run(struct task *t, struct err *e)
{
	enum status st;
	char buf[300];

	TRY(cli_json_open(&t->c, e));
	if (t->html_path)
		TRY(html_reserve(&t->html, t->html_path, e));
	TRY(open_models(t, e));
	if (t->logprobs_path && !(t->logprobs = fopen(t->logprobs_path, "w"))) {
		st = err_errno(e, "%s: cannot create", t->logprobs_path);
		goto out;
	}
	TRY(text_ids_read(&t->text, &t->o, &t->m, t->c.max_memory, &t->notes, e));
	t->o.n_ctx = (uint32_t)t->n_ctx;
	t->o.max_chunks = t->max_chunks;
	t->o.max_memory = t->c.max_memory;
	t->o.official = strcmp(t->activations, "official") == 0;
	TRY(measure(t, e));
	if (t->logprobs) {
		int bad = ferror(t->logprobs) | fclose(t->logprobs);

		t->logprobs = NULL;
		if (bad) {
			st = err_errno(e, "%s: cannot write", t->logprobs_path);
			goto out;
		}
	}
	print_result(t);
	TRY(cli_json_write(&t->c, result_json(t), e));
	TRY(write_page(t, e));
	if (t->ref_path && !within_gates(t))
		st = err_set(e, ERR_MISMATCH, "%s: outside the gates, against %s: %s; choose finer types, or allow more",
			     t->model_path, t->ref_path, gate_text(t, true, buf));
out:
	cli_notes(&t->c, &t->notes);
	log_close(&t->notes);
	if (t->logprobs)
		fclose(t->logprobs);
	output_abandon(&t->html);
	text_ids_close(&t->text);
	parity_close(&t->result.parity);
	parity_close(&t->mtp_result.parity);
	model_close(&t->m);
	model_close(&t->ref);
	model_close(&t->m_mtp);
	model_close(&t->ref_mtp);
	return st;
}

static enum status check_options(const struct task *t, struct err *e)
{
	if (!t->text.path == !t->text.ids_path)
		return err_set(e, ERR_USAGE, "perplexity: give a text, as -f TEXT or as --token-ids FILE; "
			       "`ingot help perplexity` lists the options");
	if (strcmp(t->activations, "f32") != 0 && strcmp(t->activations, "official") != 0)
		return err_set(e, ERR_USAGE, "perplexity: --activations is f32 or official, not '%s'",
			       t->activations);
	if (!t->ref_path && (t->o.per_layer || gated(t) || t->html_path))
		return err_set(e, ERR_USAGE, "perplexity: --per-layer, --html, --max-ppl-increase and --max-kld compare "
			       "with a --reference; name one");
	if (t->max_increase < 0 || t->max_kld < 0)
		return err_set(e, ERR_USAGE, "perplexity: a gate below 0 would fail a model that is equal to its "
			       "reference; 0 is the least");
	if (t->n_ctx < 4 || t->n_ctx > UINT32_MAX)
		return err_set(e, ERR_USAGE, "perplexity: a context of %llu tokens cannot be; 4 is the least",
			       (unsigned long long)t->n_ctx);
	return OK;
}

int cmd_perplexity(const struct command *self, int argc, char **argv)
{
	struct task t = { .m = MODEL_NONE, .ref = MODEL_NONE, .m_mtp = MODEL_NONE, .ref_mtp = MODEL_NONE,
			  .html = OUTPUT_NONE, .n_ctx = 512, .activations = "f32", .max_increase = NAN, .max_kld = NAN };
	const struct opt opts[] = {
		{ "file", 'f', OPT_STR, &t.text.path, "TEXT", "the text, UTF-8, plain or packed (FILE:MEMBER names one)" },
		{ "ctx-size", 'c', OPT_U64, &t.n_ctx, "N", "tokens of a chunk (512)" },
		{ "chunks", 0, OPT_U64, &t.max_chunks, "N", "only the first N chunks" },
		{ "reference", 0, OPT_SOURCE, &t.ref_path, "MODEL", "run this one beside it and compare" },
		{ "per-layer", 0, OPT_FLAG, &t.o.per_layer, NULL, "also compare the hidden states after each layer" },
		{ "max-ppl-increase", 0, OPT_DOUBLE, &t.max_increase, "PCT",
		  "gate: fail if the PPL is over the reference's by more than PCT percent" },
		{ "max-kld", 0, OPT_DOUBLE, &t.max_kld, "X", "gate: fail if the mean KL divergence is above X" },
		{ "html", 0, OPT_OUT, &t.html_path, "FILE", "with --reference: also write a report to look at, one page" },
		{ "mtp", 0, OPT_FLAG, &t.mtp, NULL, "also measure the MTP block, on the token after the next" },
		{ "mtp-model", 0, OPT_STR, &t.mtp_path, "FILE", "that block's file, if it is not mtp-NAME beside the model" },
		{ "activations", 0, OPT_STR, &t.activations, "f32|official",
		  "official: rounded as in DeepSeek's inference code (default f32)" },
		{ "token-ids", 0, OPT_STR, &t.text.ids_path, "FILE", "white-space separated token ids in place of a text" },
		{ "logprobs", 0, OPT_OUT, &t.logprobs_path, "FILE",
		  "write a line per scored token: index, id, log probability, most likely id" },
		{ NULL, 0, OPT_FLAG, NULL, NULL, NULL },
	};
	struct err e = { 0 };
	char **args;
	int n, code = cli_parse(&t.c, self, opts, argc, argv, 1, 1, &args, &n);

	if (code >= 0)
		return code;
	if (check_options(&t, &e) != OK)
		return cli_fail(&e);
	t.model_path = args[0];
	t.mtp |= t.mtp_path != NULL;
	cli_catch_signals();
	return run(&t, &e) == OK ? 0 : cli_fail(&e);
}
