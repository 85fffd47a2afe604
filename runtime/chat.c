/* SPDX-License-Identifier: MIT
 *
 * chat.c - the encoding of one chat turn.
 *
 *	bos [prefix system] <｜User｜> user <｜Assistant｜> <think> or </think>
 *
 * Each turn mark is put in as an id. Texts are encoded apart from them and without control tokens,
 * so that no text can open a turn. Facts: the encoding that comes with DeepSeek's checkpoints.
 */
#include "runtime/run.h"

#include <stdlib.h>
#include <string.h>

/* These two texts are part of the models' interface: they were trained on them, byte for byte. */
static const char absolute_maximum[] =
	"Reasoning Effort: Absolute maximum with no shortcuts permitted.\n"
	"You MUST be very thorough in your thinking and comprehensively decompose the problem to resolve the "
	"root cause, rigorously stress-testing your logic against all potential paths, edge cases, and "
	"adversarial scenarios.\n"
	"Explicitly write out your entire deliberation process, documenting every intermediate step, considered "
	"alternative, and rejected hypothesis to ensure absolutely no assumption is left unchecked.\n\n";
static const char beyond_maximum[] =
	"Reasoning Effort: Beyond maximum — exhaustive, relentless, and uncompromising.\n"
	"You MUST reason with the utmost depth and rigor, leaving absolutely nothing to chance: exhaustively "
	"decompose the problem into its most fundamental components, trace every causal chain to its root, and "
	"resolve the underlying cause rather than any surface symptom.\n"
	"Do not stop reasoning until you have independently verified the solution from multiple angles and are "
	"certain that no assumption remains unchecked and no error remains undiscovered.\n\n";

struct str chat_prefix(enum chat_release release, enum chat_think think)
{
	if (think == CHAT_MAX && release == CHAT_0731)
		return STR(beyond_maximum);
	if (think == CHAT_MAX || (think == CHAT_HIGH && release == CHAT_0731))
		return STR(absolute_maximum);
	return STR("");
}

/* ---- the tokens ---------------------------------------------------------------------------*/

static enum status find_mark(const struct token_index *x, const struct vocab *v, const char *text,
			     bool makes_turns, const char *model, uint32_t *id, struct err *e)
{
	*id = token_index_find(x, (struct str){ text, strlen(text) });
	if (*id == TOKEN_NONE)
		return err_set(e, ERR_UNSUPPORTED, "%s: the vocabulary has no token %s, which the chat encoding "
			       "is made of; continue a plain text with --raw", model, text);
	if (makes_turns && v->types[*id] != TOKEN_CONTROL)
		return err_set(e, ERR_UNSUPPORTED, "%s: token %u, %s, is no control token in this vocabulary, so a "
			       "text could forge a turn; convert the model again, or use --raw", model, *id, text);
	return OK;
}

enum status chat_open(struct chat *c, const struct tokenizer *t, const char *model, struct err *e)
{
	struct token_index x = { 0 };
	enum status st;

	*c = (struct chat){ .t = t };
	TRY(token_index_build(&x, t->v->tokens, t->v->n_tokens, model, e));
	TRY(find_mark(&x, t->v, "<｜begin▁of▁sentence｜>", true, model, &c->bos, e));
	TRY(find_mark(&x, t->v, "<｜User｜>", true, model, &c->user, e));
	TRY(find_mark(&x, t->v, "<｜Assistant｜>", true, model, &c->assistant, e));
	TRY(find_mark(&x, t->v, "<think>", false, model, &c->think, e));
	TRY(find_mark(&x, t->v, "</think>", false, model, &c->end_think, e));
out:
	token_index_close(&x);
	return st;
}

/* ---- the turn -----------------------------------------------------------------------------*/

/* Prefix and system text are one text: merges may cross from one to the other. */
static enum status encode_system(const struct chat *c, const struct chat_turn *turn, uint32_t **ids, size_t *n,
				 struct err *e)
{
	struct str prefix = chat_prefix(turn->release, turn->think);
	uint64_t size;
	char *text;
	enum status st;

	if (!u64_add(prefix.n, turn->system.n, &size) || size > SIZE_MAX)
		return err_set(e, ERR_NOMEM, "the system text is too long");
	text = mem_new((size_t)size, 1, "the system text", e);
	if (!text)
		return e->status;
	memcpy(text, prefix.p, prefix.n);
	if (turn->system.n)
		memcpy(text + prefix.n, turn->system.p, turn->system.n);
	st = tokenizer_encode(c->t, text, (size_t)size, false, ids, n, e);
	free(text);
	return st;
}

enum status chat_encode(const struct chat *c, const struct chat_turn *turn, uint32_t **ids, size_t *n_ids,
			struct err *e)
{
	uint32_t *system = NULL, *user = NULL, *to;
	size_t n_system = 0, n_user = 0;
	enum status st;

	*ids = NULL;
	*n_ids = 0;
	TRY(encode_system(c, turn, &system, &n_system, e));
	TRY(tokenizer_encode(c->t, turn->user.p, turn->user.n, false, &user, &n_user, e));
	to = mem_new(n_system + n_user + 4, sizeof *to, "the prompt's tokens", e);
	if (!to) {
		st = e->status;
		goto out;
	}
	to[0] = c->bos;
	memcpy(to + 1, system, n_system * sizeof *to);
	to[1 + n_system] = c->user;
	memcpy(to + 2 + n_system, user, n_user * sizeof *to);
	to[2 + n_system + n_user] = c->assistant;
	to[3 + n_system + n_user] = turn->think == CHAT_NONE ? c->end_think : c->think;
	*ids = to;
	*n_ids = n_system + n_user + 4;
out:
	free(system);
	free(user);
	return st;
}

/* ---- which release ------------------------------------------------------------------------*/

static bool has(struct str s, const char *word)
{
	return s.n && memmem(s.p, s.n, word, strlen(word)) != NULL;
}

static bool names_0731(const struct gguf *g)
{
	static const char *const keys[] = { "general.name", "general.basename", "general.version",
					    "general.finetune", "general.source.url",
					    "general.source.repo_url" };
	struct str s;

	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (gguf_str(g, keys[i], &s) && (has(s, "0731") || has(s, "0813")))
			return true;
	return false;
}

static bool dropped_dspark(const struct gguf *g)
{
	const struct gguf_kv *kv = gguf_find(g, "ingot.dropped");
	uint64_t at = 0;
	struct str s;

	if (!kv || kv->type != GGUF_ARR || kv->elem != GGUF_STR)
		return false;
	while (gguf_next_str(kv, &at, &s))
		if (has(s, "DSpark"))
			return true;
	return false;
}

static enum status config_says(const struct model *m, bool *dspark, struct err *e)
{
	const struct source_file *f = checkpoint_file(&m->ckpt, "config.json");
	struct config c = { 0 };
	char *text = NULL;
	size_t n;
	enum status st = OK;

	*dspark = false;
	if (!f)
		return OK;
	TRY(file_slurp(&f->file, CONFIG_LIMIT, &text, &n, e));
	TRY(config_open(&c, text, n, f->file.path, e));
	*dspark = config_has(&c, "dspark_block_size") || config_has(&c, "dspark_target_layer_ids");
	TRY(config_close(&c, e));
out:
	free(text);
	return st;
}

static const char *gguf_says(const struct gguf *g)
{
	struct str template;

	if (names_0731(g))
		return "its metadata names it";
	if (dropped_dspark(g))
		return "ingot.dropped lists DSpark modules";
	if (gguf_str(g, "tokenizer.chat_template", &template) && has(template, "Beyond maximum"))
		return "its chat template has the later prefix";
	return NULL;
}

/* The releases of 0731 and 0813 came with DSpark modules (three entries more in the list of ratios),
 * the previews with one MTP block. What the encoding needs to know is written nowhere else. */
enum status chat_release_of(const struct model *m, enum chat_release *r, const char **why, struct err *e)
{
	bool dspark = false;

	*why = NULL;
	if (!m->is_gguf && config_says(m, &dspark, e) != OK)
		return e->status;
	if (dspark)
		*why = "config.json describes DSpark modules";
	else if (m->arch.n_ratio >= m->arch.n_layer + 3)
		*why = "its list of compression ratios counts DSpark modules";
	else if (m->is_gguf)
		*why = gguf_says(&m->set.gguf);
	*r = *why ? CHAT_0731 : CHAT_PREVIEW;
	if (!*why)
		*why = "nothing in it says that it is a later one";
	return OK;
}
