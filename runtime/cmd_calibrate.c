/* SPDX-License-Identifier: MIT
 *
 * cmd_calibrate.c - `ingot calibrate`: the forward pass of `perplexity`, with a collector at its products.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime/cmd.h"
#include "runtime/collect.h"

enum { FEW_TOKENS = 100, NAMED = 16 };	/* fewer for an expert draws a warning; experts named in the text */

struct task {
	struct cli c;
	const char *model_path, *mtp_path, *out_path;
	bool mtp, force;
	uint64_t n_ctx, max_chunks;
	struct model m, m_mtp;
	struct log notes;
	struct text_ids text;
	struct perplexity_options o;
	struct perplexity_plan plan;
	struct perplexity_result result, mtp_result;
	struct collector collector;
	struct imatrix_tensor *tensors;	/* owned */
	struct imatrix_head head;
	struct imatrix_writer writer;
	uint64_t file_bytes;
	struct progress progress;
	double seconds;
};

/* ---- what came to the experts ---- */

/* Sums over layers; a layer's experts are counted at their common input. */
struct reach {
	uint64_t n_layers, n_experts, unreached, layers_short;	/* layers_short: with unreached ones */
	uint64_t least, most, tokens;
};

static bool is_router_site(const struct site *s) { return s->role == ROLE_GATE_EXPS; }

static struct reach reach_of(const struct collector *c)
{
	struct reach r = { .least = UINT64_MAX };

	for (size_t i = 0; i < c->n_sites; i++) {
		const struct site *s = &c->sites[i];
		uint64_t before = r.unreached;

		for (uint64_t k = 0; is_router_site(s) && k < s->n_matrices; k++) {
			r.least = u64_min(r.least, s->rows[k]);
			r.most = s->rows[k] > r.most ? s->rows[k] : r.most;
			r.tokens += s->rows[k];
			r.unreached += s->rows[k] == 0;
		}
		r.n_layers += is_router_site(s);
		r.n_experts += is_router_site(s) ? s->n_matrices : 0;
		r.layers_short += r.unreached > before;
	}
	return r;
}

static double mean_tokens(const struct reach *r) { return (double)r->tokens / (double)r->n_experts; }

/* "layer 3: 5, 17; layer 4: 1", the first few. */
static void print_unreached(FILE *to, const struct collector *c)
{
	unsigned named = 0;

	for (size_t i = 0; i < c->n_sites && named < NAMED; i++) {
		const struct site *s = &c->sites[i];
		bool first = true;

		for (uint64_t k = 0; is_router_site(s) && k < s->n_matrices && named < NAMED; k++) {
			if (s->rows[k])
				continue;
			if (first)
				fprintf(to, "%slayer %u:", named ? "; " : "  ", s->layer);
			fprintf(to, "%s %llu", first ? "" : ",", (unsigned long long)k);
			first = false;
			named++;
		}
	}
}

static void print_reach(FILE *to, const struct task *t)
{
	struct reach r = reach_of(&t->collector);

	fprintf(to, "experts: %llu in %llu layers, %llu to %llu tokens each, %.1f on average\n",
		(unsigned long long)r.n_experts, (unsigned long long)r.n_layers, (unsigned long long)r.least,
		(unsigned long long)r.most, mean_tokens(&r));
	if (!r.unreached)
		return;
	fprintf(to, "experts that no token reached: %llu, in %llu of %llu layers; their count is 0 in the file, and "
		"whoever reads it here takes the mean of the layer's other experts, by tokens\n",
		(unsigned long long)r.unreached, (unsigned long long)r.layers_short, (unsigned long long)r.n_layers);
	print_unreached(to, &t->collector);
	if (r.unreached > NAMED)
		fprintf(to, "; and %llu more (--json lists them)", (unsigned long long)(r.unreached - NAMED));
	fprintf(to, "\n");
}

static void warn_if_short(struct task *t)
{
	struct reach r = reach_of(&t->collector);
	const struct arch *a = &t->m.arch;

	if (mean_tokens(&r) < FEW_TOKENS)
		log_add(&t->notes, "%s: the text is short: %.1f tokens came to an expert on average; fewer than %d are a weak "
			"estimate, a text of %llu tokens gives as many", text_ids_path(&t->text),
			mean_tokens(&r), FEW_TOKENS,
			(unsigned long long)u64_div_up((uint64_t)FEW_TOKENS * a->n_expert, a->n_expert_used));
}

static cJSON *unreached_json(const struct collector *c)
{
	cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; i < c->n_sites; i++) {
		const struct site *s = &c->sites[i];
		cJSON *layer, *experts = NULL;

		for (uint64_t k = 0; is_router_site(s) && k < s->n_matrices; k++) {
			if (s->rows[k])
				continue;
			if (!experts) {
				layer = cJSON_CreateObject();
				cJSON_AddItemToArray(list, layer);
				cJSON_AddNumberToObject(layer, "layer", s->layer);
				experts = cJSON_AddArrayToObject(layer, "experts");
			}
			cJSON_AddItemToArray(experts, cJSON_CreateNumber((double)k));
		}
	}
	return list;
}

static void add_reach(cJSON *doc, const struct task *t)
{
	struct reach r = reach_of(&t->collector);
	cJSON *o = cJSON_AddObjectToObject(doc, "experts");

	cJSON_AddNumberToObject(o, "layers", (double)r.n_layers);
	cJSON_AddNumberToObject(o, "experts", (double)r.n_experts);
	cJSON_AddNumberToObject(o, "least_tokens", (double)r.least);
	cJSON_AddNumberToObject(o, "most_tokens", (double)r.most);
	cJSON_AddNumberToObject(o, "mean_tokens", mean_tokens(&r));
	cJSON_AddNumberToObject(o, "unreached", (double)r.unreached);
	cJSON_AddStringToObject(o, "unreached_get", "mean of the layer's other experts, by tokens");
	cJSON_AddItemToObject(o, "unreached_experts", unreached_json(&t->collector));
}

/* ---- the report ---- */

enum { N_MODELS = 2 };
#define MODELS(t) { &(t)->m, &(t)->m_mtp }

static double tokens_run(const struct task *t) { return (double)t->plan.n_chunks * (double)t->o.n_ctx; }

static void print_head(const struct task *t)
{
	const struct perplexity_plan *p = &t->plan;
	FILE *to = cli_out(&t->c);

	fprintf(to, "model: %s (%s)\n", cli_escz(t->model_path), t->m.is_gguf ? "GGUF" : "checkpoint");
	if (t->mtp)
		fprintf(to, "MTP block: %s\n", cli_escz(t->m_mtp.path));
	cmd_text_print(to, &t->text, p, t->o.n_ctx);
	if (t->c.verbose)
		fprintf(to, "batches: %llu of up to %llu chunks, %u threads, %s kernels, %llu MiB of memory, %llu of them "
			"for the sums\n", (unsigned long long)p->n_batches, (unsigned long long)p->batch, t->c.threads,
			kernels_name(), (unsigned long long)(p->memory + (1 << 20) - 1) >> 20,
			(unsigned long long)(t->collector.bytes + (1 << 20) - 1) >> 20);
	fflush(to);
}

static void print_result(const struct task *t)
{
	const struct model *const models[N_MODELS] = MODELS(t);
	FILE *to = cli_out(&t->c);

	fprintf(to, "\n");
	if (t->mtp)
		fprintf(to, "MTP block, second next token: PPL = %.4f +/- %.5f over %llu tokens\n", t->mtp_result.ppl,
			t->mtp_result.error, (unsigned long long)t->mtp_result.n_scored);
	print_reach(to, t);
	if (t->c.verbose) {
		fprintf(to, "run: %.0f tokens in %.2f s, %.2f tokens/s\n", tokens_run(t), t->seconds,
			t->seconds > 0 ? tokens_run(t) / t->seconds : 0);
		weights_print(to, models, N_MODELS);
	}
	fprintf(to, "Final estimate: PPL = %.4f +/- %.5f\n", t->result.ppl, t->result.error);
	fprintf(to, "%s: importance of %zu tensors from %.0f tokens, %llu bytes\n", cli_escz(t->out_path),
		t->head.n_tensors, tokens_run(t), (unsigned long long)t->file_bytes);
}

static cJSON *result_json(const struct task *t)
{
	const struct model *const models[N_MODELS] = MODELS(t);
	cJSON *doc = cJSON_CreateObject();

	cJSON_AddStringToObject(doc, "model", cli_escz(t->model_path));
	cJSON_AddStringToObject(doc, "model_form", t->m.is_gguf ? "gguf" : "checkpoint");
	cJSON_AddStringToObject(doc, "output", cli_escz(t->out_path));
	cJSON_AddNumberToObject(doc, "output_bytes", (double)t->file_bytes);
	cJSON_AddNumberToObject(doc, "tensors", (double)t->head.n_tensors);
	cmd_text_json(doc, &t->text);
	cJSON_AddNumberToObject(doc, "context", t->o.n_ctx);
	cJSON_AddNumberToObject(doc, "chunks", (double)t->plan.n_chunks);
	cJSON_AddNumberToObject(doc, "tokens", tokens_run(t));
	cJSON_AddNumberToObject(doc, "left_over", (double)t->plan.n_left_over);
	add_reach(doc, t);
	cJSON_AddNumberToObject(doc, "batches", (double)t->plan.n_batches);
	cJSON_AddNumberToObject(doc, "memory_bytes", (double)t->plan.memory);
	cJSON_AddNumberToObject(doc, "sums_bytes", (double)t->collector.bytes);
	cJSON_AddNumberToObject(doc, "ppl", t->result.ppl);
	cJSON_AddNumberToObject(doc, "ppl_error", t->result.error);
	cJSON_AddNumberToObject(doc, "seconds", t->seconds);
	weights_json(doc, models, N_MODELS);
	return doc;
}

/* ---- the run ---- */

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

/* The file's names and sizes; its place on the disk is taken. A text is named without its folder, so
 * that the same text gives the same bytes wherever it lies. */
static enum status begin_output(struct task *t, char hex[65], struct err *e)
{
	const char *path = text_ids_path(&t->text), *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	struct collector *c = &t->collector;

	t->tensors = mem_new(c->n_tensors, sizeof *t->tensors, "names of tensors", e);
	if (!t->tensors)
		return e->status;
	for (size_t i = 0; i < c->n_tensors; i++) {
		const struct site *s = &c->sites[c->tensors[i].site];

		t->tensors[i] = (struct imatrix_tensor){ c->tensors[i].name, s->n_matrices, s->cols };
	}
	t->head = (struct imatrix_head){
		.dataset = { name, strlen(name) }, .text_sha256 = { sha256_text(t->text.sha256, hex), 64 },
		.n_chunks = (uint32_t)t->plan.n_chunks, .chunk_tokens = t->o.n_ctx, .tensors = t->tensors,
		.n_tensors = c->n_tensors, .matrix = collector_matrix, .ctx = c,
	};
	if (t->plan.n_chunks > UINT32_MAX)
		return err_set(e, ERR_UNSUPPORTED, "%s: more than 2^32 chunks; take fewer with --chunks", path);
	return imatrix_begin(&t->writer, t->out_path, t->force, &t->head, e);
}

static enum status measure(struct task *t, struct err *e)
{
	struct perplexity_sink sink = { .ctx = t, .go_on = go_on, .chunk = show_chunk };
	struct perplexity_result r[2] = { { 0 } };
	struct pool pool = { 0 };
	char hex[65];
	enum status st;

	TRY(kernels_init(e));
	TRY(pool_open(&pool, t->c.threads, e));
	TRY(perplexity_plan(&t->plan, &t->m, pool.n, &t->o, e));
	TRY(begin_output(t, hex, e));
	TRY(collector_start(&t->collector, t->out_path, e));
	TRY(model_check(&t->m, e));
	if (t->mtp)
		TRY(model_check(&t->m_mtp, e));
	print_head(t);
	progress_begin(&t->progress, &t->c, "calibrate", t->plan.bytes);
	t->seconds = -clock_seconds();
	st = perplexity(r, &t->m, &pool, &t->o, &t->plan, &sink, e);
	t->seconds += clock_seconds();
	progress_end(&t->progress);
	t->result = r[0];
	t->mtp_result = r[1];
	t->file_bytes = t->writer.size;
	if (st == OK)
		st = imatrix_end(&t->writer, e);
out:
	pool_close(&pool);
	return st;
}

static enum status run(struct task *t, struct err *e)
{
	enum status st;

	TRY(cli_json_open(&t->c, e));
	TRY(model_open_part(&t->m, t->model_path, PART_TRUNK, cli_source(&t->c, t->out_path), &t->notes, e));
	if (t->mtp) {
		TRY(mtp_open(&t->m_mtp, &t->m, t->mtp_path, &t->notes, e));
		t->o.mtp = &t->m_mtp;
	}
	TRY(text_ids_read(&t->text, &t->o, &t->m, t->c.max_memory, &t->notes, e));
	TRY(collector_open(&t->collector, &t->m, t->o.mtp, e));
	t->o.collect = &t->collector;
	t->o.n_ctx = (uint32_t)t->n_ctx;
	t->o.max_chunks = t->max_chunks;
	t->o.max_memory = t->c.max_memory;
	TRY(measure(t, e));
	warn_if_short(t);
	print_result(t);
	TRY(cli_json_write(&t->c, result_json(t), e));
out:
	cli_notes(&t->c, &t->notes);
	log_close(&t->notes);
	imatrix_abandon(&t->writer);
	free(t->tensors);
	collector_close(&t->collector);
	text_ids_close(&t->text);
	model_close(&t->m);
	model_close(&t->m_mtp);
	return st;
}

static enum status check_options(const struct task *t, struct err *e)
{
	if (!t->text.path == !t->text.ids_path)
		return err_set(e, ERR_USAGE, "calibrate: give a text, as -f TEXT or as --token-ids FILE; "
			       "`ingot help calibrate` lists the options");
	if (!t->out_path)
		return err_set(e, ERR_USAGE, "calibrate: name the file to write, with -o");
	if (t->n_ctx < 4 || t->n_ctx > UINT32_MAX)
		return err_set(e, ERR_USAGE, "calibrate: a context of %llu tokens cannot be; 4 is the least",
			       (unsigned long long)t->n_ctx);
	return OK;
}

int cmd_calibrate(const struct command *self, int argc, char **argv)
{
	struct task t = { .m = MODEL_NONE, .m_mtp = MODEL_NONE, .writer = IMATRIX_WRITER_NONE,
			  .collector = COLLECTOR_NONE, .n_ctx = 512 };
	const struct opt opts[] = {
		{ "output", 'o', OPT_OUT, &t.out_path, "OUT.gguf", "the importance matrix to write" },
		{ "file", 'f', OPT_STR, &t.text.path, "TEXT", "the text, UTF-8, plain or packed (FILE:MEMBER names one)" },
		{ "token-ids", 0, OPT_STR, &t.text.ids_path, "FILE", "white-space separated token ids in place of a text" },
		{ "ctx-size", 'c', OPT_U64, &t.n_ctx, "N", "tokens of a chunk (512)" },
		{ "chunks", 0, OPT_U64, &t.max_chunks, "N", "only the first N chunks" },
		{ "mtp", 0, OPT_FLAG, &t.mtp, NULL, "also the MTP block's tensors" },
		{ "mtp-model", 0, OPT_STR, &t.mtp_path, "FILE", "that block's file, if it is not mtp-NAME beside the model" },
		{ "force", 0, OPT_FLAG, &t.force, NULL, "replace an existing OUT.gguf when the new one is complete" },
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
