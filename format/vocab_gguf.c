/* SPDX-License-Identifier: MIT
 *
 * vocab_gguf.c - a vocabulary out of a GGUF's tokenizer.* keys.
 *
 * Every key is asked for with its type and its exact count: token_type has one entry a token, ids
 * are below the number of tokens. All text is copied, so that the vocabulary outlives the GGUF.
 * The rules for texts and merges are vocab_check's.
 */
#include "format/vocab.h"

#include <stdlib.h>
#include <string.h>

/* Key of an array with elements of that type, or an error that says what is wrong. */
static enum status find_array(const struct gguf_kv **kv, const struct gguf *g, const char *key,
			      enum gguf_type elem, uint64_t least, uint64_t most, const char *path,
			      struct err *e)
{
	*kv = gguf_find(g, key);
	if (!*kv)
		return err_set(e, ERR_FORMAT, "%s: %s: the key is missing", path, key);
	if ((*kv)->type != GGUF_ARR || (*kv)->elem != elem)
		return err_set(e, ERR_FORMAT, "%s: %s: not an array of %s", path, key,
			       elem == GGUF_STR ? "strings" : "32-bit integers");
	if ((*kv)->count < least || (*kv)->count > most)
		return err_set(e,
			       (*kv)->count > most && least != most ? ERR_UNSUPPORTED : ERR_FORMAT,
			       "%s: %s: %llu entries, expected %llu to %llu", path, key,
			       (unsigned long long)(*kv)->count, (unsigned long long)least,
			       (unsigned long long)most);
	return OK;
}

/* Copies the strings of kv: their bytes to *text (owned), where they lie to *list (owned). */
static enum status copy_strings(const struct gguf_kv *kv, char **text, struct str **list,
				const char *path, struct err *e)
{
	uint64_t at = 0;
	size_t used = 0;

	*list = mem_new((size_t)kv->count, sizeof **list, "the vocabulary", e);
	*text = mem_new((size_t)kv->data_bytes, 1, "the vocabulary", e);
	if (!*list || !*text)
		return ERR_NOMEM;
	for (uint64_t i = 0; i < kv->count; i++) {
		struct str s;
		if (!gguf_next_str(kv, &at, &s) || s.n > kv->data_bytes - used)
			return err_set(e, ERR_FORMAT, "%s: %.*s: entry %llu cannot be read", path,
				       (int)kv->key.n, kv->key.p, (unsigned long long)i);
		if (s.n)
			memcpy(*text + used, s.p, s.n);
		(*list)[i] = (struct str){ *text + used, s.n };
		used += s.n;
	}
	return OK;
}

static enum status read_types(struct vocab *v, const struct gguf_kv *kv, const char *path,
			      struct err *e)
{
	v->types = mem_new(v->n_tokens, 1, "token types", e);
	if (!v->types)
		return ERR_NOMEM;
	for (uint32_t i = 0; i < v->n_tokens; i++) {
		int64_t t = 0;
		if (!gguf_array_int(kv, i, &t) || t < 1 || t > 6)
			return err_set(e, ERR_FORMAT,
				       "%s: tokenizer.ggml.token_type: token %u has type %lld, "
				       "types are 1 to 6",
				       path, i, (long long)t);
		if (t == 2 || t == 6)
			return err_set(
				e, ERR_UNSUPPORTED,
				"%s: tokenizer.ggml.token_type: token %u has type "
				"%lld (unknown or byte), which byte-level vocabularies do not use",
				path, i, (long long)t);
		v->types[i] = (uint8_t)t;
	}
	return OK;
}

static enum status read_name(const struct gguf *g, const char *key, const char *known,
			     struct str *s, const char *path, struct err *e)
{
	char buf[160];

	if (!gguf_str(g, key, s))
		return err_set(e, ERR_FORMAT, "%s: %s: missing, or not a string", path, key);
	if (!peer_is_pre(*s, known))
		return err_set(e, ERR_UNSUPPORTED, "%s: %s is '%s': only '%s' is known", path, key,
			       vocab_show(buf, *s), known);
	return OK;
}

static bool ends_with(struct str s, const char *tail)
{
	size_t n = strlen(tail);

	return s.n >= n && memcmp(s.p + s.n - n, tail, n) == 0;
}

static bool starts_with(struct str s, const char *head)
{
	size_t n = strlen(head);

	return s.n >= n && memcmp(s.p, head, n) == 0;
}

/* All tokenizer.ggml.*_token_id, those unknown here among them: an id is an index some day. */
static enum status check_ids(const struct vocab *v, const struct gguf *g, const char *path,
			     struct err *e)
{
	for (size_t i = 0; i < g->n_kv; i++) {
		struct str k = g->kv[i].key;
		char key[128];
		uint64_t id;
		if (!starts_with(k, "tokenizer.ggml.") || !ends_with(k, "_token_id"))
			continue;
		if (k.n >= sizeof key)
			return err_set(e, ERR_UNSUPPORTED, "%s: a tokenizer key of %zu bytes", path,
				       k.n);
		memcpy(key, k.p, k.n);
		key[k.n] = 0;
		if (!gguf_u64(g, key, &id))
			return err_set(e, ERR_FORMAT, "%s: %s: not an unsigned integer", path, key);
		if (id >= v->n_tokens)
			return err_set(e, ERR_FORMAT,
				       "%s: %s: id %llu is not below the number of tokens, %u",
				       path, key, (unsigned long long)id, v->n_tokens);
	}
	return OK;
}

static enum status read_bool(const struct gguf *g, const char *key, bool *v, const char *path,
			     struct err *e)
{
	if (gguf_find(g, key) && !gguf_bool(g, key, v))
		return err_set(e, ERR_FORMAT, "%s: %s: not a boolean", path, key);
	return OK;
}

static uint32_t id_of(const struct gguf *g, const char *key)
{
	uint64_t id;

	return gguf_u64(g, key, &id) ? (uint32_t)id : TOKEN_NONE;
}

static enum status read_template(struct vocab *v, const struct gguf *g, const char *path,
				 struct err *e)
{
	const char *key = "tokenizer.chat_template";
	struct str s;

	if (!gguf_find(g, key))
		return OK;
	if (!gguf_str(g, key, &s))
		return err_set(e, ERR_FORMAT, "%s: %s: not a string", path, key);
	v->template_text = mem_new(s.n + 1, 1, "the chat template", e);
	if (!v->template_text)
		return ERR_NOMEM;
	if (s.n)
		memcpy(v->template_text, s.p, s.n);
	v->chat_template = (struct str){ v->template_text, s.n };
	return OK;
}

static enum status read_lists(struct vocab *v, const struct gguf *g, const char *path,
			      struct err *e)
{
	const struct gguf_kv *kv;
	enum status st;

	TRY(find_array(&kv, g, "tokenizer.ggml.tokens", GGUF_STR, 1, VOCAB_MAX_TOKENS, path, e));
	TRY(copy_strings(kv, &v->text, &v->tokens, path, e));
	v->n_tokens = (uint32_t)kv->count;
	TRY(find_array(&kv, g, "tokenizer.ggml.token_type", GGUF_I32, v->n_tokens, v->n_tokens,
		       path, e));
	TRY(read_types(v, kv, path, e));
	TRY(find_array(&kv, g, "tokenizer.ggml.merges", GGUF_STR, 0, VOCAB_MAX_MERGES, path, e));
	TRY(copy_strings(kv, &v->text2, &v->merges, path, e));
	v->n_merges = (uint32_t)kv->count;
	/* never read, but a wrong one shows a broken writer */
	kv = gguf_find(g, "tokenizer.ggml.scores");
	if (kv && (kv->type != GGUF_ARR || kv->elem != GGUF_F32 || kv->count != v->n_tokens))
		st = err_set(e, ERR_FORMAT,
			     "%s: tokenizer.ggml.scores: not one 32-bit float a token", path);
out:
	return st;
}

enum status vocab_from_gguf(struct vocab *v, const struct gguf *g, const char *path, struct err *e)
{
	struct str s;
	enum status st;

	*v = (struct vocab){ .bos = TOKEN_NONE, .eos = TOKEN_NONE, .pad = TOKEN_NONE };
	TRY(read_name(g, "tokenizer.ggml.model", "gpt2", &s, path, e));
	TRY(read_name(g, "tokenizer.ggml.pre", VOCAB_PRE, &s, path, e));
	memcpy(v->pre, s.p, s.n);	/* of a name that is known: it fits */
	TRY(read_lists(v, g, path, e));
	TRY(check_ids(v, g, path, e));
	v->bos = id_of(g, "tokenizer.ggml.bos_token_id");
	v->eos = id_of(g, "tokenizer.ggml.eos_token_id");
	v->pad = id_of(g, "tokenizer.ggml.padding_token_id");
	TRY(read_bool(g, "tokenizer.ggml.add_bos_token", &v->add_bos, path, e));
	TRY(read_bool(g, "tokenizer.ggml.add_eos_token", &v->add_eos, path, e));
	TRY(read_template(v, g, path, e));
	TRY(vocab_check(v, path, e));
out:
	if (st != OK)
		vocab_close(v);
	return st;
}
