/* SPDX-License-Identifier: MIT
 *
 * deep_tokens.c - the vocabulary in a GGUF's keys: types and counts of its arrays, texts, merges, special ids,
 * the chat template's digest. Every finding is listed, where vocab_from_gguf stops at the first.
 *
 * Rules on texts hold for byte-level vocabularies (model "gpt2", which DeepSeek's is); of others the
 * arrays and the ids are looked at.
 */
#include "verify/deep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/utf8.h"
#include "format/vocab.h"

struct words {
	struct deep_report *r;
	const struct gguf *g;
	struct str *tokens;		/* owned; into the header */
	uint32_t n;
	bool byte_level;
};

/* The array of that key if it is one of elem; a line if it is something else. NULL: nothing to go on. */
static const struct gguf_kv *array_of(struct words *w, const char *key, enum gguf_type elem, const char *what)
{
	const struct gguf_kv *kv = gguf_find(w->g, key);

	if (!kv || (kv->type == GGUF_ARR && kv->elem == elem))
		return kv;
	log_add(&w->r->bad, "metadata %s: is not an array of %s; a reader that takes it for one reads other memory", key, what);
	return NULL;
}

static const struct gguf_kv *one_a_token(struct words *w, const char *key, enum gguf_type elem, const char *what)
{
	const struct gguf_kv *kv = array_of(w, key, elem, what);

	if (!kv || kv->count == w->n)
		return kv;
	log_add(&w->r->bad, "metadata %s: %llu entries for %u tokens", key, (unsigned long long)kv->count, w->n);
	return NULL;
}

/* <0xNN>, two upper-case hex digits: the text of a token that stands for a byte. */
static bool is_byte_text(struct str t)
{
	static const char hex[] = "0123456789ABCDEF";

	return t.n == 6 && memcmp(t.p, "<0x", 3) == 0 && memchr(hex, t.p[3], 16) && memchr(hex, t.p[4], 16) && t.p[5] == '>';
}

static void check_text(struct words *w, uint32_t id, struct str t)
{
	char shown[160];

	if (t.n == 0)
		log_add(&w->r->bad, "token %u: its text is empty", id);
	else if (t.n > VOCAB_MAX_TEXT)
		log_add(&w->r->bad, "token %u: its text has %zu bytes, more than %d", id, t.n, VOCAB_MAX_TEXT);
	else if (!utf8_valid(t.p, t.n) || memchr(t.p, 0, t.n))
		log_add(&w->r->bad, "token %u ('%s'): its text is no UTF-8, or has a NUL", id, vocab_show(shown, t));
}

static enum status check_tokens(struct words *w, struct err *e)
{
	const struct gguf_kv *kv = array_of(w, "tokenizer.ggml.tokens", GGUF_STR, "strings");
	uint64_t at = 0;

	if (!kv)
		return OK;
	if (kv->count > VOCAB_MAX_TOKENS || kv->count == 0) {
		log_add(&w->r->bad, "metadata tokenizer.ggml.tokens: %llu tokens, 1 to %d are possible",
			(unsigned long long)kv->count, VOCAB_MAX_TOKENS);
		return OK;
	}
	if (!(w->tokens = mem_new((size_t)kv->count, sizeof *w->tokens, "the vocabulary", e)))
		return e->status;
	for (; w->n < kv->count && gguf_next_str(kv, &at, &w->tokens[w->n]); w->n++)
		if (w->byte_level)
			check_text(w, w->n, w->tokens[w->n]);
	w->r->n_tokens = w->n;
	return OK;
}

static void check_types(struct words *w)
{
	enum { BYTE = 6 };
	const struct gguf_kv *kv = one_a_token(w, "tokenizer.ggml.token_type", GGUF_I32, "32-bit integers");

	for (uint32_t i = 0; kv && i < w->n; i++) {
		int64_t type = 0;
		char shown[160];

		if (!gguf_array_int(kv, i, &type) || type < 1 || type > BYTE)
			log_add(&w->r->bad, "token %u: type %lld, types are 1 to %d", i, (long long)type, BYTE);
		else if (type == BYTE && !is_byte_text(w->tokens[i]))
			log_add(&w->r->bad, "token %u ('%s'): stands for a byte, but is not of the form <0xNN>", i,
				vocab_show(shown, w->tokens[i]));
	}
	one_a_token(w, "tokenizer.ggml.scores", GGUF_F32, "32-bit floats");
}

/* Texts that occur twice, and merges of what is no token. */
static enum status check_merges(struct words *w, const char *path, struct err *e)
{
	const struct gguf_kv *kv = array_of(w, "tokenizer.ggml.merges", GGUF_STR, "strings");
	struct token_index x = { 0 };
	struct merge_ids ids;
	struct str merge;
	uint64_t at = 0;
	char shown[160];

	if (token_index_build(&x, w->tokens, w->n, path, e) != OK) {
		if (e->status != ERR_FORMAT)
			return e->status;
		log_add(&w->r->bad, "%s; merges were not looked at", e->msg + strlen(path) + 2);
		return OK;
	}
	for (uint64_t i = 0; kv && i < kv->count && gguf_next_str(kv, &at, &merge); i++)
		if (!merge_find(&x, merge, &ids))
			log_add(&w->r->bad, "merge %llu ('%s'): not two tokens that make a third", (unsigned long long)i,
				vocab_show(shown, merge));
	token_index_close(&x);
	return OK;
}

static bool is_id_key(struct str k)
{
	static const char head[] = "tokenizer.ggml.", tail[] = "_token_id";

	return k.n > sizeof head + sizeof tail && memcmp(k.p, head, sizeof head - 1) == 0 &&
	       memcmp(k.p + k.n - (sizeof tail - 1), tail, sizeof tail - 1) == 0;
}

/* Ids that are given, and those that llama.cpp takes for a byte-level vocabulary where none is. */
static void check_ids(struct words *w)
{
	enum { ABSENT = 11 };
	static const char *const defaulted[] = { "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id" };

	for (size_t i = 0; i < w->g->n_kv; i++) {
		const struct gguf_kv *kv = &w->g->kv[i];
		char key[128];
		uint64_t id;

		if (!is_id_key(kv->key) || kv->key.n >= sizeof key)
			continue;
		snprintf(key, sizeof key, "%.*s", (int)kv->key.n, kv->key.p);
		if (!gguf_u64(w->g, key, &id))
			log_add(&w->r->bad, "metadata %s: is no unsigned integer", key);
		else if (id >= w->n)
			log_add(&w->r->bad, "metadata %s: id %llu, there are %u tokens", key, (unsigned long long)id, w->n);
	}
	for (size_t i = 0; w->byte_level && i < 2; i++)
		if (!gguf_find(w->g, defaulted[i]) && w->n <= ABSENT)
			log_add(&w->r->bad, "metadata %s: is missing, and the %d that readers take then is past the %u tokens",
				defaulted[i], ABSENT, w->n);
}

enum status deep_template(struct deep_report *r, struct str text, struct err *e)
{
	struct digest d = { .kind = DIGEST_SHA256 };
	struct sha256 h = { 0 };

	if (sha256_open(&h, e) != OK)
		return e->status;
	sha256_start(&h);
	sha256_add(&h, text.p, text.n);
	sha256_end(&h, d.bytes);
	sha256_close(&h);
	digest_text(&d, r->template_sha256);
	r->template_bytes = text.n;
	if (!utf8_valid(text.p, text.n))
		log_add(&r->odd, "metadata tokenizer.chat_template: is no UTF-8");
	return OK;
}

static enum status check_template(struct words *w, struct err *e)
{
	struct str s;

	if (!gguf_find(w->g, "tokenizer.chat_template"))
		return OK;
	if (gguf_str(w->g, "tokenizer.chat_template", &s))
		return deep_template(w->r, s, e);
	log_add(&w->r->bad, "metadata tokenizer.chat_template: is not a string");
	return OK;
}

enum status deep_tokens(struct deep_report *r, const struct gguf *g, const char *path, struct err *e)
{
	struct words w = { .r = r, .g = g };
	struct str model = { 0 };
	enum status st;

	w.byte_level = gguf_str(g, "tokenizer.ggml.model", &model) && str_is(model, "gpt2");
	TRY(check_template(&w, e));
	TRY(check_tokens(&w, e));
	if (w.n == 0) {
		if (r->model && !gguf_find(g, "tokenizer.ggml.tokens"))
			log_add(&r->odd, "metadata tokenizer.ggml.tokens: is missing, so no text can be read");
		goto out;
	}
	check_types(&w);
	check_ids(&w);
	if (w.byte_level)
		st = check_merges(&w, path, e);
out:
	free(w.tokens);
	return st;
}
