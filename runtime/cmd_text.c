/* SPDX-License-Identifier: MIT
 *
 * cmd_text.c - the text that a model is run over, as token ids.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime/cmd.h"
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
static enum status encode(struct cmd_text *t, const struct vocab *v, const char *text, size_t n, struct err *e)
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

const char *cmd_text_path(const struct cmd_text *t)
{
	return t->ids_path ? t->ids_path : t->path;
}

enum status cmd_text_read(struct cmd_text *t, const struct model *m, const struct vocab *v, uint64_t max_memory,
			  struct err *e)
{
	const char *path = cmd_text_path(t);
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

char *cmd_text_sha256(const struct cmd_text *t, char hex[65])
{
	struct digest d = { .kind = DIGEST_SHA256 };

	memcpy(d.bytes, t->sha256, SHA256_BYTES);
	return digest_text(&d, hex);
}

void cmd_text_print(FILE *to, const struct cmd_text *t, const struct perplexity_plan *p, uint32_t n_ctx)
{
	char hex[65];

	fprintf(to, "%s: %s, %llu bytes, SHA-256 %s\n", t->ids_path ? "token ids" : "text", cli_escz(cmd_text_path(t)),
		(unsigned long long)t->bytes, cmd_text_sha256(t, hex));
	fprintf(to, "chunks: %llu of %u tokens out of %llu (%llu left over), %llu scored in each from position "
		"%llu on\n", (unsigned long long)p->n_chunks, n_ctx, (unsigned long long)t->n_ids,
		(unsigned long long)p->n_left_over, (unsigned long long)p->scored, (unsigned long long)p->first);
	if (t->bos == TOKEN_NONE)
		fprintf(to, "bos: none, the vocabulary adds none\n");
	else
		fprintf(to, "bos: token %u in place of the first of each chunk\n", t->bos);
}

void cmd_text_json(cJSON *doc, const struct cmd_text *t)
{
	cJSON *text = cJSON_AddObjectToObject(doc, "text");
	char hex[65];

	cJSON_AddStringToObject(text, "path", cli_escz(cmd_text_path(t)));
	cJSON_AddBoolToObject(text, "token_ids", t->ids_path != NULL);
	cJSON_AddNumberToObject(text, "bytes", (double)t->bytes);
	cJSON_AddStringToObject(text, "sha256", cmd_text_sha256(t, hex));
	cJSON_AddNumberToObject(text, "tokens", (double)t->n_ids);
}

void cmd_text_close(struct cmd_text *t)
{
	free(t->ids);
	t->ids = NULL;
}
