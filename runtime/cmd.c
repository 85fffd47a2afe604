/* SPDX-License-Identifier: MIT
 *
 * cmd.c - `ingot perplexity`.
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cli/cli.h"
#include "runtime/runtime.h"
#include "runtime/tokenizer.h"

enum { TEXT_LIMIT = 1 << 30 };

struct task {
	struct cli c;
	const char *model_path, *text_path, *ids_path, *logprobs_path, *activations;
	uint64_t n_ctx, max_chunks;
	struct model m;
	struct log notes;
	uint32_t *ids;			/* owned */
	uint8_t sha256[SHA256_BYTES];	/* of the text or the ids as they are in the file */
	uint64_t text_bytes;
	struct perplexity_options o;
	struct perplexity_plan plan;
	struct perplexity_result result;
	struct progress progress;
	FILE *logprobs;
};

static enum status hash(const char *text, size_t n, uint8_t out[SHA256_BYTES], struct err *e)
{
	struct sha256 h = { 0 };
	enum status st = sha256_open(&h, e);

	if (st == OK) {
		sha256_start(&h);
		sha256_add(&h, text, n);
		sha256_end(&h, out);
	}
	sha256_close(&h);
	return st;
}

/* The whole text as ids; where the vocabulary adds a bos, one comes first. */
static enum status encode(struct task *t, const struct vocab *v, const char *text, size_t n, struct err *e)
{
	struct tokenizer tok = { 0 };
	uint32_t *ids = NULL;
	size_t n_ids = 0;
	bool bos = t->o.bos != TOKEN_NONE;
	enum status st;

	TRY(tokenizer_open(&tok, v, e));
	TRY(tokenizer_encode(&tok, text, n, false, &ids, &n_ids, e));
	t->ids = mem_new(n_ids + bos, sizeof *ids, "the text's tokens", e);
	if (!t->ids) {
		st = e->status;
		goto out;
	}
	t->ids[0] = t->o.bos;
	memcpy(t->ids + bos, ids, n_ids * sizeof *ids);
	t->o.n_ids = n_ids + bos;
out:
	free(ids);
	tokenizer_close(&tok);
	return st;
}

static enum status read_input(struct task *t, struct err *e)
{
	const char *path = t->ids_path ? t->ids_path : t->text_path;
	struct file f = FILE_NONE;
	struct vocab v = { 0 };
	char *text = NULL;
	bool found;
	size_t n;
	enum status st;

	TRY(model_vocab(&t->m, &v, &found, &t->notes, e));
	t->o.bos = found && v.add_bos ? v.bos : TOKEN_NONE;
	TRY(file_open(&f, AT_FDCWD, path, true, path, e));
	if (f.id.size > t->c.max_memory) {
		st = err_set(e, ERR_NOMEM, "%s: %llu bytes do not fit --max-memory (%llu)", path,
			     (unsigned long long)f.id.size, (unsigned long long)t->c.max_memory);
		goto out;
	}
	TRY(file_slurp(&f, TEXT_LIMIT, &text, &n, e));
	t->text_bytes = n;
	TRY(hash(text, n, t->sha256, e));
	if (t->ids_path)
		TRY(perplexity_read_ids(text, n, t->m.arch.n_vocab, path, &t->ids, &t->o.n_ids, e));
	else if (found)
		TRY(encode(t, &v, text, n, e));
	else
		st = err_set(e, ERR_FORMAT, "%s: no tokenizer in it; give the text as --token-ids",
			     t->model_path);
out:
	free(text);
	vocab_close(&v);
	file_close(&f);
	return st;
}

static bool go_on(void *ctx, uint64_t done, const char *what)
{
	struct task *t = ctx;

	progress_update(&t->progress, done, what);
	return stop_signal == 0;
}

static void show_chunk(void *ctx, uint64_t number, double estimate)
{
	struct task *t = ctx;

	fprintf(cli_out(&t->c), "[%llu]%.4f,", (unsigned long long)number, estimate);
	fflush(cli_out(&t->c));
}

static enum status write_row(void *ctx, const struct perplexity_row *r, struct err *e)
{
	struct task *t = ctx;

	if (t->logprobs && fprintf(t->logprobs, "%llu %u %.17g %u\n", (unsigned long long)r->index, r->token,
				   r->log_prob, r->best) < 0)
		return err_errno(e, "%s: cannot write", t->logprobs_path);
	return OK;
}

static char *sha_text(const struct task *t, char hex[65])
{
	struct digest d = { .kind = DIGEST_SHA256 };

	memcpy(d.bytes, t->sha256, SHA256_BYTES);
	return digest_text(&d, hex);
}

static void print_head(const struct task *t)
{
	const struct perplexity_plan *p = &t->plan;
	FILE *to = cli_out(&t->c);
	char hex[65];

	fprintf(to, "model: %s (%s), %s activations\n", cli_escz(t->model_path),
		t->m.is_gguf ? "GGUF" : "checkpoint", t->o.official ? "official" : "float32");
	fprintf(to, "%s: %s, %llu bytes, SHA-256 %s\n", t->ids_path ? "token ids" : "text",
		cli_escz(t->ids_path ? t->ids_path : t->text_path), (unsigned long long)t->text_bytes,
		sha_text(t, hex));
	fprintf(to, "chunks: %llu of %u tokens out of %llu (%llu left over), %llu scored in each from position "
		"%llu on\n", (unsigned long long)p->n_chunks, t->o.n_ctx, (unsigned long long)t->o.n_ids,
		(unsigned long long)p->n_left_over, (unsigned long long)p->scored,
		(unsigned long long)p->first);
	if (t->o.bos == TOKEN_NONE)
		fprintf(to, "bos: none, the vocabulary adds none\n");
	else
		fprintf(to, "bos: token %u in place of the first of each chunk\n", t->o.bos);
	if (t->c.verbose)
		fprintf(to, "batches: %llu of up to %llu chunks, %u threads, %llu MiB of memory\n",
			(unsigned long long)p->n_batches, (unsigned long long)p->batch, t->c.threads,
			(unsigned long long)(p->memory >> 20) + 1);
	fflush(to);
}

static void print_result(const struct task *t)
{
	FILE *to = cli_out(&t->c);
	const struct perplexity_result *r = &t->result;
	struct rusage u;

	fprintf(to, "\n");
	if (t->c.verbose) {
		fprintf(to, "PPL = %.17g, mean of -log p = %.17g, %llu tokens scored\n", r->ppl,
			r->nll / (double)r->n_scored, (unsigned long long)r->n_scored);
		if (getrusage(RUSAGE_SELF, &u) == 0)
			fprintf(to, "peak resident memory %ld MiB\n", u.ru_maxrss / 1024);
	}
	fprintf(to, "Final estimate: PPL = %.4f +/- %.5f\n", r->ppl, r->error);
}

static cJSON *result_json(const struct task *t)
{
	const struct perplexity_result *r = &t->result;
	cJSON *doc = cJSON_CreateObject(), *text = cJSON_AddObjectToObject(doc, "text");
	char hex[65];

	cJSON_AddStringToObject(doc, "model", cli_escz(t->model_path));
	cJSON_AddStringToObject(doc, "model_form", t->m.is_gguf ? "gguf" : "checkpoint");
	cJSON_AddStringToObject(doc, "activations", t->activations);
	cJSON_AddStringToObject(text, "path", cli_escz(t->ids_path ? t->ids_path : t->text_path));
	cJSON_AddBoolToObject(text, "token_ids", t->ids_path != NULL);
	cJSON_AddNumberToObject(text, "bytes", (double)t->text_bytes);
	cJSON_AddStringToObject(text, "sha256", sha_text(t, hex));
	cJSON_AddNumberToObject(text, "tokens", (double)t->o.n_ids);
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
	return doc;
}

static enum status measure(struct task *t, struct err *e)
{
	struct perplexity_sink sink = { .ctx = t, .go_on = go_on, .row = write_row, .chunk = show_chunk };
	struct pool pool = { 0 };
	enum status st;

	TRY(pool_open(&pool, t->c.threads, e));
	TRY(perplexity_plan(&t->plan, &t->m, pool.n, &t->o, e));
	print_head(t);
	progress_begin(&t->progress, &t->c, "perplexity", t->plan.bytes);
	st = perplexity(&t->result, &t->m, &pool, &t->o, &t->plan, &sink, e);
	progress_end(&t->progress);
out:
	pool_close(&pool);
	return st;
}

static enum status run(struct task *t, struct err *e)
{
	enum status st;

	TRY(cli_json_open(&t->c, e));
	TRY(model_open(&t->m, t->model_path, &t->notes, e));
	if (t->logprobs_path && !(t->logprobs = fopen(t->logprobs_path, "w"))) {
		st = err_errno(e, "%s: cannot create", t->logprobs_path);
		goto out;
	}
	TRY(read_input(t, e));
	t->o.ids = t->ids;
	t->o.path = t->ids_path ? t->ids_path : t->text_path;
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
out:
	cli_notes(&t->c, &t->notes);
	log_close(&t->notes);
	if (t->logprobs)
		fclose(t->logprobs);
	free(t->ids);
	model_close(&t->m);
	return st;
}

static enum status check_options(const struct task *t, struct err *e)
{
	if (!t->text_path == !t->ids_path)
		return err_set(e, ERR_USAGE, "perplexity: give a text, as -f TEXT or as --token-ids FILE; "
			       "`ingot help perplexity` lists the options");
	if (strcmp(t->activations, "f32") != 0 && strcmp(t->activations, "official") != 0)
		return err_set(e, ERR_USAGE, "perplexity: --activations is f32 or official, not '%s'",
			       t->activations);
	if (t->n_ctx < 4 || t->n_ctx > UINT32_MAX)
		return err_set(e, ERR_USAGE, "perplexity: a context of %llu tokens cannot be; 4 is the least",
			       (unsigned long long)t->n_ctx);
	return OK;
}

int cmd_perplexity(const struct command *self, int argc, char **argv)
{
	struct task t = { .m = MODEL_NONE, .n_ctx = 512, .activations = "f32" };
	const struct opt opts[] = {
		{ "file", 'f', OPT_STR, &t.text_path, "TEXT", "the text, UTF-8, up to 1 GiB" },
		{ "ctx-size", 'c', OPT_U64, &t.n_ctx, "N", "tokens of a chunk (512)" },
		{ "chunks", 0, OPT_U64, &t.max_chunks, "N", "only the first N chunks" },
		{ "activations", 0, OPT_STR, &t.activations, "KIND",
		  "f32 (default), or official: rounded as in DeepSeek's inference code" },
		{ "token-ids", 0, OPT_STR, &t.ids_path, "FILE", "white-space separated token ids in place of a text" },
		{ "logprobs", 0, OPT_STR, &t.logprobs_path, "FILE",
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
	cli_catch_signals();
	return run(&t, &e) == OK ? 0 : cli_fail(&e);
}
