/* SPDX-License-Identifier: MIT
 *
 * cmd_run.c - `ingot run`: a prompt goes through the model once, then one token after the other.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "runtime/cmd.h"
#include "runtime/run.h"

enum { PROMPT_LIMIT = 1 << 28, DEFAULT_NEW = 256, BATCH_MAX = 512, DEFAULT_SEED = 1 };

struct task {
	struct cli c;
	const char *model_path, *prompt, *prompt_path, *ids_path, *system, *think, *effort, *activations;
	bool raw, bos, print_ids, ignore_eos;
	uint64_t n_new, n_ctx, seed;	/* n_new, n_ctx 0: not given */
	double temp, top_p;
	struct model m;
	struct log notes;
	struct vocab v;
	bool have_vocab;
	struct tokenizer tok;
	struct sampler sampler;
	struct session session;
	struct textout out;
	struct progress progress;	/* of the prompt: weights pass once a batch */
	uint64_t passed, batch_bytes;	/* by whole batches, by one */
	enum chat_think mode;
	enum chat_release release;
	const char *why;		/* of the release; NULL: not a chat */
	uint32_t *prompt_ids, *new_ids;	/* owned; new_ids (n_new) */
	size_t n_prompt, n_done;
	uint32_t n_batch;
	uint64_t memory;
	char *text;			/* owned: the new tokens' bytes */
	size_t text_n, text_cap;
	float *logits;			/* owned (n_vocab) */
	const char *stop;		/* why it ended */
	double prompt_seconds, decode_seconds;
};

static const char *const modes[] = { "none", "low", "high", "max" };	/* by enum chat_think */

/* ---- the prompt ---------------------------------------------------------------------------*/

static enum status read_stdin(char **text, size_t *n, struct err *e)
{
	size_t cap = 0, got;
	void *p = NULL;
	enum status st;

	*n = 0;
	do {
		TRY(mem_grow(&p, &cap, *n + 65536, 1, "the prompt", e));
		*n += got = fread((char *)p + *n, 1, 65536, stdin);
		if (*n > PROMPT_LIMIT) {
			st = err_set(e, ERR_UNSUPPORTED, "standard input: a prompt of more than %d bytes", PROMPT_LIMIT);
			goto out;
		}
	} while (got);
	if (ferror(stdin)) {
		st = err_errno(e, "standard input: cannot read the prompt");
		goto out;
	}
	*text = p;
	return OK;
out:
	free(p);
	return st;
}

/* The prompt's bytes, owned by the caller. */
static enum status read_text(const struct task *t, char **text, size_t *n, struct err *e)
{
	const char *path = t->ids_path ? t->ids_path : t->prompt_path;

	if (!path) {
		*n = strlen(t->prompt);
		*text = mem_strdup(t->prompt, e);
		return *text ? OK : e->status;
	}
	if (strcmp(path, "-") == 0)
		return read_stdin(text, n, e);
	return text_read(path, PROMPT_LIMIT, t->c.max_memory, text, n, e);
}

static enum status encode_chat(struct task *t, struct str text, struct err *e)
{
	struct chat chat;
	struct chat_turn turn = { .user = text, .think = t->mode };
	enum status st;

	if (t->system)
		turn.system = (struct str){ t->system, strlen(t->system) };
	TRY(chat_open(&chat, &t->tok, t->model_path, e));
	if (t->effort) {
		t->release = strcmp(t->effort, "0731") == 0 ? CHAT_0731 : CHAT_PREVIEW;
		t->why = "by --effort";
	} else {
		TRY(chat_release_of(&t->m, &t->release, &t->why, e));
	}
	turn.release = t->release;
	TRY(chat_encode(&chat, &turn, &t->prompt_ids, &t->n_prompt, e));
out:
	return st;
}

static enum status encode_raw(struct task *t, struct str text, struct err *e)
{
	bool bos = t->bos || tokenizer_add_bos(&t->tok);
	uint32_t *ids = NULL;
	enum status st;

	if (bos && t->v.bos == TOKEN_NONE)
		return err_set(e, ERR_UNSUPPORTED, "%s: the vocabulary names no bos token; leave --bos out",
			       t->model_path);
	TRY(tokenizer_encode(&t->tok, text.p, text.n, false, &ids, &t->n_prompt, e));
	t->prompt_ids = mem_new(t->n_prompt + bos, sizeof *ids, "the prompt's tokens", e);
	if (!t->prompt_ids) {
		st = e->status;
		goto out;
	}
	t->prompt_ids[0] = t->v.bos;
	memcpy(t->prompt_ids + bos, ids, t->n_prompt * sizeof *ids);
	t->n_prompt += bos;
out:
	free(ids);
	return st;
}

static enum status read_prompt(struct task *t, struct err *e)
{
	char *text = NULL;
	uint64_t n_ids = 0;
	size_t n;
	enum status st;

	TRY(model_vocab(&t->m, &t->v, &t->have_vocab, &t->notes, e));
	if (t->have_vocab)
		TRY(tokenizer_open(&t->tok, &t->v, e));
	else if (!t->ids_path || !t->print_ids)
		TRY(err_set(e, ERR_FORMAT, "%s: no tokenizer in it; give the prompt as --token-ids and ask for "
			    "--print-ids", t->model_path));
	TRY(read_text(t, &text, &n, e));
	if (t->ids_path) {
		TRY(perplexity_read_ids(text, n, t->m.arch.n_vocab, t->ids_path, &t->prompt_ids, &n_ids, e));
		t->n_prompt = (size_t)n_ids;
	} else {
		TRY((t->raw ? encode_raw : encode_chat)(t, (struct str){ text, n }, e));
	}
	if (t->n_prompt == 0)
		st = err_set(e, ERR_UNSUPPORTED, "%s: an empty prompt; a plain text may start with --bos",
			     t->model_path);
out:
	free(text);
	return st;
}

/* ---- what is needed -----------------------------------------------------------------------*/

/* How many tokens, in how large a context: all that is asked for must fit. */
static enum status plan_context(struct task *t, struct err *e)
{
	uint64_t limit = t->n_ctx ? t->n_ctx : t->m.arch.n_ctx, n_new = t->n_new ? t->n_new : DEFAULT_NEW;

	if (limit > t->m.arch.n_ctx)
		return err_set(e, ERR_UNSUPPORTED, "%s: a context of %llu tokens; the model has %u", t->model_path,
			       (unsigned long long)limit, t->m.arch.n_ctx);
	if (!t->n_new && t->n_prompt < limit)
		n_new = u64_min(n_new, limit - t->n_prompt);
	if (t->n_prompt > limit || n_new > limit - t->n_prompt)
		return err_set(e, ERR_UNSUPPORTED, "%s: %zu tokens of prompt and %llu new ones are more than the "
			       "%s of %llu; take a shorter prompt%s", t->model_path, t->n_prompt,
			       (unsigned long long)n_new, t->n_ctx ? "--ctx-size" : "model's context",
			       (unsigned long long)limit, t->n_new ? " or a smaller -n" : "");
	t->n_new = n_new;
	t->n_ctx = t->n_prompt + n_new;
	return OK;
}

/* What stays in memory beside the session. */
static uint64_t own_bytes(const struct task *t)
{
	uint64_t n = sampler_bytes(t->m.arch.n_vocab) + (uint64_t)t->m.arch.n_vocab * sizeof(float);

	n += (uint64_t)t->v.n_tokens * 40 + (uint64_t)t->v.n_merges * 40;	/* texts and tables, about */
	return n + t->n_ctx * sizeof(uint32_t) + t->n_new * 8;
}

/* All of it for this batch; UINT64_MAX if beyond counting. */
static uint64_t all_bytes(const struct task *t, unsigned n_threads)
{
	uint64_t n = session_bytes(&t->m.arch, (uint32_t)t->n_ctx, t->n_batch, n_threads);

	return u64_add(n, store_least(&t->m), &n) &&
	       u64_add(n, own_bytes(t) + model_header_bytes(&t->m) + engine_bytes(n_threads, t->n_batch, &t->m.wants), &n)
		? n : UINT64_MAX;
}

/* The largest batch for the prompt that memory allows; the state and one token must fit. */
static enum status plan_memory(struct task *t, unsigned n_threads, struct err *e)
{
	t->n_batch = (uint32_t)u64_min(t->n_prompt, BATCH_MAX);
	while (t->n_batch > 1 && all_bytes(t, n_threads) > t->c.max_memory)
		t->n_batch /= 2;
	t->memory = all_bytes(t, n_threads);
	if (t->memory <= t->c.max_memory) {	/* the rest is for weights, as far as there are any */
		t->memory += u64_min(t->c.max_memory - t->memory, store_most(&t->m) - store_least(&t->m));
		return OK;
	}
	return err_set(e, ERR_NOMEM, "%s: %llu tokens of context need %llu bytes of memory, --max-memory allows "
		       "%llu; give it more (%lluM), or take a shorter prompt or a smaller -n", t->model_path,
		       (unsigned long long)t->n_ctx, (unsigned long long)t->memory,
		       (unsigned long long)t->c.max_memory, (unsigned long long)(t->memory / (1 << 20) + 1));
}

static void print_head(const struct task *t, unsigned n_threads)
{
	if (!t->c.verbose || t->c.quiet)
		return;
	fprintf(stderr, "model: %s (%s), %s activations, %u threads\n", cli_escz(t->model_path),
		t->m.is_gguf ? "GGUF" : "checkpoint", t->activations, n_threads);
	if (t->why)
		fprintf(stderr, "chat encoding of the %s models (%s), think %s\n",
			t->release == CHAT_0731 ? "0731 and 0813" : "preview", t->why, modes[t->mode]);
	fprintf(stderr, "prompt: %zu tokens, in batches of %u; up to %llu new ones; %llu MiB of memory\n",
		t->n_prompt, t->n_batch, (unsigned long long)t->n_new, (unsigned long long)(t->memory + (1 << 20) - 1) >> 20);
	if (t->temp > 0)
		fprintf(stderr, "sampled: temperature %g, top-p %g, seed %llu\n", t->temp, t->top_p,
			(unsigned long long)t->seed);
	else
		fprintf(stderr, "greedy\n");
}

/* ---- the run ------------------------------------------------------------------------------*/

static bool go_on(void *ctx)
{
	struct task *t = ctx;
	const struct forward *f = &t->session.f;
	char what[40];

	if (t->progress.active) {
		snprintf(what, sizeof what, "layer %u of %u", f->layer + 1, f->arch->n_layer);
		progress_update(&t->progress, t->passed + t->batch_bytes / f->arch->n_layer * f->layer, what);
	}
	return stop_signal == 0;
}

static enum status write_out(const char *text, size_t n, FILE *to, struct err *e)
{
	char escaped[4 * TEXTOUT_MAX];

	if (isatty(fileno(to))) {
		n = textout_escape(text, n, escaped);
		text = escaped;
	}
	if (fwrite(text, 1, n, to) != n || fflush(to) != 0)
		return err_errno(e, "standard output: cannot write");
	return OK;
}

static enum status add_text(struct task *t, const char *text, size_t n, struct err *e)
{
	void *p = t->text;
	enum status st;

	TRY(mem_grow(&p, &t->text_cap, t->text_n + n, 1, "the text", e));
	t->text = p;
	memcpy(t->text + t->text_n, text, n);
	t->text_n += n;
out:
	return st;
}

static enum status show(struct task *t, uint32_t id, struct err *e)
{
	char piece[TOKENIZER_MAX_PIECE], text[TEXTOUT_MAX];
	FILE *to = cli_out(&t->c);
	size_t n = 0;
	enum status st = OK;

	if (t->have_vocab) {
		TRY(tokenizer_piece(&t->tok, id, piece, &n, e));
		TRY(add_text(t, piece, n, e));
	}
	if (t->print_ids) {
		if (fprintf(to, "%u\n", id) < 0 || fflush(to) != 0)
			return err_errno(e, "standard output: cannot write");
		return OK;
	}
	n = textout_put(&t->out, piece, n, text);
	TRY(write_out(text, n, to, e));
out:
	return st;
}

static enum status prefill(struct task *t, struct err *e)
{
	uint64_t bytes = t->batch_bytes = model_tensor_bytes(&t->m), n_batches = u64_div_up(t->n_prompt, t->n_batch);
	double start = clock_seconds();
	enum status st = OK;

	progress_begin(&t->progress, &t->c, "prompt", bytes * n_batches);
	for (size_t at = 0; at < t->n_prompt && st == OK; at += t->n_batch) {
		size_t n = t->n_prompt - at < t->n_batch ? t->n_prompt - at : t->n_batch;

		st = session_eval(&t->session, t->prompt_ids + at, (uint32_t)n,
				  at + n == t->n_prompt ? t->logits : NULL, e);
		t->passed += bytes;
	}
	progress_end(&t->progress);
	t->prompt_seconds = clock_seconds() - start;
	return st;
}

static enum status decode(struct task *t, struct err *e)
{
	double start = clock_seconds();
	enum status st = OK;
	uint32_t id;

	t->stop = "length";
	while (t->n_done < t->n_new) {
		TRY(sampler_pick(&t->sampler, t->logits, &id, e));
		if (id == t->v.eos && !t->ignore_eos) {
			t->stop = "eos";
			break;
		}
		t->new_ids[t->n_done++] = id;
		TRY(show(t, id, e));
		if (stop_signal)
			TRY(err_set(e, ERR_STOPPED, "stopped"));
		if (t->n_done < t->n_new)
			TRY(session_eval(&t->session, &id, 1, t->logits, e));
	}
out:
	t->decode_seconds = clock_seconds() - start;
	return st;
}

/* What was held back, and an end of line for a person. */
static enum status end_text(struct task *t, struct err *e)
{
	char text[TEXTOUT_MAX];
	FILE *to = cli_out(&t->c);
	size_t n = textout_end(&t->out, text);
	enum status st;

	if (t->print_ids)
		return OK;
	TRY(write_out(text, n, to, e));
	if (t->n_done && isatty(fileno(to)))
		TRY(write_out("\n", 1, to, e));
out:
	return st;
}

static double rate(size_t n, double seconds) { return n && seconds > 0 ? (double)n / seconds : 0; }
/* Tokens that went through the model one by one: the last is not fed back. */
static size_t n_decoded(const struct task *t) { return t->n_done ? t->n_done - 1 : 0; }

static void print_figures(const struct task *t)
{
	const struct model *m = &t->m;
	struct rusage u;

	if (!t->c.verbose || t->c.quiet)
		return;
	fprintf(stderr, "prompt: %zu tokens in %.2f s, %.2f tokens/s\n", t->n_prompt, t->prompt_seconds,
		rate(t->n_prompt, t->prompt_seconds));
	fprintf(stderr, "decode: %zu tokens in %.2f s, %.2f tokens/s; ended by %s\n", t->n_done, t->decode_seconds,
		rate(n_decoded(t), t->decode_seconds), t->stop);
	weights_print(stderr, &m, 1);
	if (getrusage(RUSAGE_SELF, &u) == 0)
		fprintf(stderr, "peak resident memory %ld MiB\n", u.ru_maxrss / 1024);
}

static void add_ids(cJSON *doc, const char *name, const uint32_t *ids, size_t n)
{
	cJSON *list = cJSON_AddArrayToObject(doc, name);

	for (size_t i = 0; i < n; i++)
		cJSON_AddItemToArray(list, cJSON_CreateNumber(ids[i]));
}

static enum status add_result_text(const struct task *t, cJSON *doc, struct err *e)
{
	char *text;

	if (!t->have_vocab)
		return OK;
	text = textout_json(t->text, t->text_n, e);
	if (!text)
		return e->status;
	cJSON_AddStringToObject(doc, "text", text);
	free(text);
	return OK;
}

static enum status write_json(struct task *t, struct err *e)
{
	const struct model *m = &t->m;
	cJSON *doc = cJSON_CreateObject();

	cJSON_AddStringToObject(doc, "model", cli_escz(t->model_path));
	cJSON_AddStringToObject(doc, "model_form", t->m.is_gguf ? "gguf" : "checkpoint");
	cJSON_AddStringToObject(doc, "activations", t->activations);
	if (t->why) {
		cJSON_AddStringToObject(doc, "think", modes[t->mode]);
		cJSON_AddStringToObject(doc, "release", t->release == CHAT_0731 ? "0731" : "preview");
	}
	cJSON_AddNumberToObject(doc, "temperature", t->temp);
	cJSON_AddNumberToObject(doc, "top_p", t->top_p);
	cJSON_AddNumberToObject(doc, "seed", (double)t->seed);
	cJSON_AddNumberToObject(doc, "context", (double)t->n_ctx);
	cJSON_AddNumberToObject(doc, "memory_bytes", (double)t->memory);
	add_ids(doc, "prompt_ids", t->prompt_ids, t->n_prompt);
	add_ids(doc, "ids", t->new_ids, t->n_done);
	cJSON_AddStringToObject(doc, "stop", t->stop);
	cJSON_AddNumberToObject(doc, "prompt_seconds", t->prompt_seconds);
	cJSON_AddNumberToObject(doc, "prompt_tokens_per_second", rate(t->n_prompt, t->prompt_seconds));
	cJSON_AddNumberToObject(doc, "decode_seconds", t->decode_seconds);
	cJSON_AddNumberToObject(doc, "decode_tokens_per_second", rate(n_decoded(t), t->decode_seconds));
	weights_json(doc, &m, 1);
	if (add_result_text(t, doc, e) != OK) {
		cJSON_Delete(doc);
		return e->status;
	}
	return cli_json_write(&t->c, doc, e);
}

/* Prompt and new tokens; what is there when a signal comes is kept and shown. */
static enum status generate(struct task *t, struct err *e)
{
	struct err later = { 0 };
	enum status st;

	t->stop = "length";
	st = prefill(t, e);
	if (st == OK)
		st = decode(t, e);
	if (st != OK && st != ERR_STOPPED)
		return st;
	if (st == ERR_STOPPED) {
		t->stop = "signal";
		err_set(e, ERR_STOPPED, "stopped after %zu of %llu tokens", t->n_done, (unsigned long long)t->n_new);
	}
	if (end_text(t, &later) != OK || write_json(t, &later) != OK) {
		*e = later;
		return e->status;
	}
	print_figures(t);
	return st;
}

static enum status open_run(struct task *t, struct pool *pool, struct err *e)
{
	bool official = strcmp(t->activations, "official") == 0;
	enum status st;

	TRY(plan_context(t, e));
	TRY(plan_memory(t, pool->n, e));
	TRY(model_check(&t->m, e));
	t->new_ids = mem_new((size_t)t->n_new, sizeof *t->new_ids, "the new tokens", e);
	t->logits = mem_new(t->m.arch.n_vocab, sizeof *t->logits, "logits", e);
	if (!t->new_ids || !t->logits)
		return e->status;
	TRY(sampler_open(&t->sampler, t->m.arch.n_vocab, t->temp, t->top_p, t->seed, e));
	TRY(session_open(&t->session, &t->m, pool, (uint32_t)t->n_ctx, t->n_batch,
			 t->c.max_memory - own_bytes(t), official, e));
	t->session.f.engine.tick = go_on;
	t->session.f.engine.tick_ctx = t;
out:
	return st;
}

static enum status run(struct task *t, struct err *e)
{
	struct pool pool = { 0 };
	enum status st;

	TRY(cli_json_open(&t->c, e));
	TRY(model_open_part(&t->m, t->model_path, PART_TRUNK, cli_source(&t->c, NULL), &t->notes, e));
	TRY(read_prompt(t, e));
	cli_notes(&t->c, &t->notes);
	log_close(&t->notes);
	TRY(pool_open(&pool, t->c.threads, e));
	TRY(open_run(t, &pool, e));
	print_head(t, pool.n);
	TRY(generate(t, e));
out:
	cli_notes(&t->c, &t->notes);
	log_close(&t->notes);
	session_close(&t->session);
	pool_close(&pool);
	sampler_close(&t->sampler);
	tokenizer_close(&t->tok);
	vocab_close(&t->v);
	free(t->prompt_ids);
	free(t->new_ids);
	free(t->logits);
	free(t->text);
	model_close(&t->m);
	return st;
}

/* ---- the command line ---------------------------------------------------------------------*/

static enum status take_mode(struct task *t, struct err *e)
{
	if (!t->think || strcmp(t->think, "none") == 0)
		t->mode = CHAT_NONE;
	else if (strcmp(t->think, "low") == 0)
		t->mode = CHAT_LOW;
	else if (strcmp(t->think, "high") == 0)
		t->mode = CHAT_HIGH;
	else if (strcmp(t->think, "max") == 0)
		t->mode = CHAT_MAX;
	else
		return err_set(e, ERR_USAGE, "run: --think is none, low, high or max, not '%s'", t->think);
	return OK;
}

static enum status check_options(struct task *t, struct err *e)
{
	if (!!t->prompt + !!t->prompt_path + !!t->ids_path != 1)
		return err_set(e, ERR_USAGE, "run: give one prompt, as -p TEXT, -f FILE (- is standard input) or "
			       "--token-ids FILE; `ingot help run` lists the options");
	if ((t->raw || t->ids_path) && (t->think || t->system || t->effort))
		return err_set(e, ERR_USAGE, "run: --think, --system and --effort belong to the chat encoding, which "
			       "--raw and --token-ids leave out");
	if (t->bos && !t->raw)
		return err_set(e, ERR_USAGE, "run: --bos goes with --raw; the chat encoding has its own");
	if (t->effort && strcmp(t->effort, "preview") != 0 && strcmp(t->effort, "0731") != 0)
		return err_set(e, ERR_USAGE, "run: --effort is preview or 0731, not '%s'", t->effort);
	if (strcmp(t->activations, "f32") != 0 && strcmp(t->activations, "official") != 0)
		return err_set(e, ERR_USAGE, "run: --activations is f32 or official, not '%s'", t->activations);
	if (t->n_new > UINT32_MAX || t->n_ctx > UINT32_MAX)
		return err_set(e, ERR_USAGE, "run: -n and --ctx-size are below %u", UINT32_MAX);
	if (!(t->temp >= 0) || !(t->top_p >= 0 && t->top_p <= 1))
		return err_set(e, ERR_USAGE, "run: --temp is 0 or more, --top-p from 0 to 1");
	return take_mode(t, e);
}

int cmd_run(const struct command *self, int argc, char **argv)
{
	struct task t = { .m = MODEL_NONE, .activations = "f32", .top_p = 1, .seed = DEFAULT_SEED,
			  .v = { .eos = TOKEN_NONE } };
	const struct opt opts[] = {
		{ "prompt", 'p', OPT_TEXT, &t.prompt, "TEXT", "the prompt" },
		{ "file", 'f', OPT_STR, &t.prompt_path, "FILE", "the prompt from a file (- is standard input)" },
		{ "token-ids", 0, OPT_STR, &t.ids_path, "FILE", "the prompt as white-space separated token ids, as they are" },
		{ "predict", 'n', OPT_U64, &t.n_new, "N", "new tokens at most (256, or what the context leaves)" },
		{ "think", 0, OPT_STR, &t.think, "none|low|high|max", "how much to reason first (default none)" },
		{ "system", 0, OPT_TEXT, &t.system, "TEXT", "a system text before the prompt" },
		{ "effort", 0, OPT_STR, &t.effort, "preview|0731",
		  "release whose words ask for high and max (default: as the model's files say)" },
		{ "raw", 0, OPT_FLAG, &t.raw, NULL, "no chat encoding: continue the text" },
		{ "bos", 0, OPT_FLAG, &t.bos, NULL, "with --raw, a bos token first" },
		{ "temp", 0, OPT_DOUBLE, &t.temp, "T", "temperature; 0 (default): the most likely token" },
		{ "top-p", 0, OPT_DOUBLE, &t.top_p, "P", "draw from the likeliest tokens of this share (1)" },
		{ "seed", 0, OPT_U64, &t.seed, "N", "of the draws (1): the same seed, the same text" },
		{ "ctx-size", 'c', OPT_U64, &t.n_ctx, "N", "room for prompt and new tokens (what they need)" },
		{ "activations", 0, OPT_STR, &t.activations, "f32|official",
		  "official: rounded as in DeepSeek's inference code (default f32)" },
		{ "print-ids", 0, OPT_FLAG, &t.print_ids, NULL, "token ids, one a line, in place of text" },
		{ "ignore-eos", 0, OPT_FLAG, &t.ignore_eos, NULL, "go on after the end-of-sentence token" },
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
