/* SPDX-License-Identifier: MIT
 *
 * text.c - the text that a model is run over, as token ids.
 */
#include "runtime/text.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/tokenizer.h"

enum { TEXT_LIMIT = 1 << 30 };

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
static enum status encode(struct text_ids *t, const struct vocab *v, const char *text, size_t n, struct err *e)
{
	struct tokenizer tok = { 0 };
	uint32_t *ids = NULL;
	size_t n_ids = 0;
	bool bos = t->bos != TOKEN_NONE;
	enum status st;

	TRY(tokenizer_open(&tok, v, e));
	TRY(tokenizer_encode(&tok, text, n, false, &ids, &n_ids, e));
	t->ids = mem_new(n_ids + bos, sizeof *ids, "the text's tokens", e);
	if (!t->ids) {
		st = e->status;
		goto out;
	}
	t->ids[0] = t->bos;
	memcpy(t->ids + bos, ids, n_ids * sizeof *ids);
	t->n_ids = n_ids + bos;
out:
	free(ids);
	tokenizer_close(&tok);
	return st;
}

const char *text_ids_path(const struct text_ids *t)
{
	return t->ids_path ? t->ids_path : t->path;
}

/* The model's vocabulary, which a reference shares; *found false where the model carries none. */
static enum status open_vocab(struct vocab *v, bool *found, const struct model *m, const struct model *reference,
			      struct log *notes, struct err *e)
{
	struct vocab ref = { 0 };
	bool ref_found = false;
	enum status st;

	TRY(model_vocab(m, v, found, notes, e));
	if (*found && reference)
		TRY(model_vocab(reference, &ref, &ref_found, notes, e));
	if (ref_found)
		TRY(parity_check_vocab(v, m->path, &ref, reference->path, e));
out:
	vocab_close(&ref);
	return st;
}

static enum status read_ids(struct text_ids *t, const struct model *m, const struct vocab *v, uint64_t max_memory,
			    struct err *e)
{
	const char *path = text_ids_path(t);
	char *text = NULL;
	size_t n;
	enum status st;

	t->bos = v && v->add_bos ? v->bos : TOKEN_NONE;
	TRY(text_read(path, TEXT_LIMIT, max_memory, &text, &n, e));
	t->bytes = n;
	TRY(hash(text, n, t->sha256, e));
	if (t->ids_path)
		TRY(perplexity_read_ids(text, n, m->arch.n_vocab, path, &t->ids, &t->n_ids, e));
	else if (v)
		TRY(encode(t, v, text, n, e));
	else
		st = err_set(e, ERR_FORMAT, "%s: no tokenizer in it; give the text as --token-ids", m->path);
out:
	free(text);
	return st;
}

enum status text_ids_read(struct text_ids *t, struct perplexity_options *o, const struct model *m, uint64_t max_memory,
			  struct log *notes, struct err *e)
{
	struct vocab v = { 0 };
	bool found = false;
	enum status st;

	TRY(open_vocab(&v, &found, m, o->reference, notes, e));
	TRY(read_ids(t, m, found ? &v : NULL, max_memory, e));
	o->ids = t->ids;
	o->n_ids = t->n_ids;
	o->bos = t->bos;
	o->path = text_ids_path(t);
out:
	vocab_close(&v);
	return st;
}

void text_ids_close(struct text_ids *t)
{
	free(t->ids);
	t->ids = NULL;
}
