/* SPDX-License-Identifier: MIT
 *
 * vocab.c - the rules every vocabulary keeps, lookup by text, and the way into a GGUF.
 *
 * vocab_json.c reads a checkpoint's files, vocab_gguf.c reads a GGUF; both end in vocab_check, so
 * that what follows (convert, tokenizer) meets one kind of vocabulary: every id has a text of its
 * own, every merge joins two tokens into a third, special ids are ids.
 */
#include "format/vocab.h"

#include "format/utf8.h"

#include <stdlib.h>
#include <string.h>

char *vocab_show(char buf[160], struct str s)
{
	return escape_text(buf, 160, s.p ? s.p : "", s.n);
}

static int compare(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int c = n ? memcmp(a.p, b.p, n) : 0;

	return c ? c : (a.n > b.n) - (a.n < b.n);
}

static int compare_ids(const void *a, const void *b, void *tokens)
{
	const struct str *t = tokens;

	return compare(t[*(const uint32_t *)a], t[*(const uint32_t *)b]);
}

enum status token_index_build(struct token_index *x, const struct str *tokens, uint32_t n,
			      const char *path, struct err *e)
{
	char buf[160];

	*x = (struct token_index){ .n = n, .tokens = tokens };
	x->ids = mem_new(n, sizeof *x->ids, "an index of tokens", e);
	if (!x->ids)
		return e->status;
	for (uint32_t i = 0; i < n; i++)
		x->ids[i] = i;
	qsort_r(x->ids, n, sizeof *x->ids, compare_ids, (void *)(uintptr_t)tokens);
	for (uint32_t i = 1; i < n; i++) {
		uint32_t a = x->ids[i - 1], b = x->ids[i];
		if (str_eq(tokens[a], tokens[b])) {
			token_index_close(x);
			return err_set(e, ERR_FORMAT,
				       "%s: token '%s': ids %u and %u have the same text", path,
				       vocab_show(buf, tokens[b]), a < b ? a : b, a < b ? b : a);
		}
	}
	return OK;
}

uint32_t token_index_find(const struct token_index *x, struct str text)
{
	uint32_t lo = 0, hi = x->n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		int c = compare(x->tokens[x->ids[mid]], text);
		if (c == 0)
			return x->ids[mid];
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return TOKEN_NONE;
}

void token_index_close(struct token_index *x)
{
	free(x->ids);
	*x = (struct token_index){ 0 };
}

bool merge_find(const struct token_index *x, struct str merge, struct merge_ids *ids)
{
	char joined[VOCAB_MAX_TEXT];
	const char *space = memchr(merge.p, ' ', merge.n);
	size_t left, right;

	if (!space || merge.n - 1 > sizeof joined)
		return false;
	left = (size_t)(space - merge.p);
	right = merge.n - left - 1;
	if (left == 0 || right == 0 || memchr(space + 1, ' ', right))
		return false;
	memcpy(joined, merge.p, left);
	memcpy(joined + left, space + 1, right);
	ids->left = token_index_find(x, (struct str){ merge.p, left });
	ids->right = token_index_find(x, (struct str){ space + 1, right });
	ids->merged = token_index_find(x, (struct str){ joined, left + right });
	return ids->left != TOKEN_NONE && ids->right != TOKEN_NONE && ids->merged != TOKEN_NONE;
}

static enum status check_texts(const struct vocab *v, const char *path, struct err *e)
{
	char buf[160];

	for (uint32_t i = 0; i < v->n_tokens; i++) {
		struct str t = v->tokens[i];
		if (t.n == 0)
			return err_set(e, ERR_FORMAT, "%s: token %u: its text is empty", path, i);
		if (t.n > VOCAB_MAX_TEXT)
			return err_set(e, ERR_UNSUPPORTED,
				       "%s: token %u ('%s'...): %zu bytes of text, at most "
				       "%d are read",
				       path, i, vocab_show(buf, (struct str){ t.p, 32 }), t.n,
				       VOCAB_MAX_TEXT);
		if (memchr(t.p, 0, t.n) || !utf8_valid(t.p, t.n))
			return err_set(e, ERR_FORMAT,
				       "%s: token %u ('%s'): not UTF-8 text without NUL", path, i,
				       vocab_show(buf, t));
	}
	return OK;
}

static enum status check_special(const char *what, uint32_t id, uint32_t n, const char *path,
				 struct err *e)
{
	if (id == TOKEN_NONE || id < n)
		return OK;
	return err_set(e, ERR_FORMAT, "%s: %s token: id %u is not below the number of tokens, %u",
		       path, what, id, n);
}

enum status vocab_check(const struct vocab *v, const char *path, struct err *e)
{
	char buf[160];
	struct token_index x = { 0 };
	struct merge_ids ids;
	enum status st;

	TRY(check_texts(v, path, e));
	TRY(check_special("bos", v->bos, v->n_tokens, path, e));
	TRY(check_special("eos", v->eos, v->n_tokens, path, e));
	TRY(check_special("padding", v->pad, v->n_tokens, path, e));
	TRY(token_index_build(&x, v->tokens, v->n_tokens, path, e));
	for (uint32_t i = 0; i < v->n_merges && st == OK; i++)
		if (!merge_find(&x, v->merges[i], &ids))
			st = err_set(e, ERR_FORMAT,
				     "%s: merge %u ('%s'): not two tokens that make a third", path,
				     i, vocab_show(buf, v->merges[i]));
out:
	token_index_close(&x);
	return st;
}

static void put_id(struct gguf_writer *w, const char *key, uint32_t id)
{
	if (id != TOKEN_NONE)
		gguf_put_u32(w, key, id);
}

void vocab_to_gguf(const struct vocab *v, struct gguf_writer *w)
{
	size_t off;

	gguf_put_str(w, "tokenizer.ggml.model", STR("gpt2"));
	gguf_put_str(w, "tokenizer.ggml.pre", (struct str){ v->pre, strlen(v->pre) });
	gguf_put_strings(w, "tokenizer.ggml.tokens", v->n_tokens);
	for (uint32_t i = 0; i < v->n_tokens; i++)
		gguf_put_item(w, v->tokens[i]);
	off = gguf_put_array(w, "tokenizer.ggml.token_type", GGUF_I32, NULL, v->n_tokens);
	for (uint32_t i = 0; i < v->n_tokens && w->err.status == OK; i++)
		store_le(w->buf + off + 4 * (size_t)i, 4, v->types[i]);
	gguf_put_strings(w, "tokenizer.ggml.merges", v->n_merges);
	for (uint32_t i = 0; i < v->n_merges; i++)
		gguf_put_item(w, v->merges[i]);
	put_id(w, "tokenizer.ggml.bos_token_id", v->bos);
	put_id(w, "tokenizer.ggml.eos_token_id", v->eos);
	put_id(w, "tokenizer.ggml.padding_token_id", v->pad);
	gguf_put_bool(w, "tokenizer.ggml.add_bos_token", v->add_bos);
	gguf_put_bool(w, "tokenizer.ggml.add_eos_token", v->add_eos);
	if (v->chat_template.n)
		gguf_put_str(w, "tokenizer.chat_template", v->chat_template);
}

void vocab_close(struct vocab *v)
{
	free(v->text);
	free(v->text2);
	free(v->tokens);
	free(v->types);
	free(v->merges);
	free(v->owned_strings);
	free(v->template_text);
	*v = (struct vocab){ .bos = TOKEN_NONE, .eos = TOKEN_NONE, .pad = TOKEN_NONE };
}
