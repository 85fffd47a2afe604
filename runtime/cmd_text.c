/* SPDX-License-Identifier: MIT
 *
 * cmd_text.c - what is said of the text that a model is run over.
 */
#include "runtime/cmd.h"

void cmd_text_print(FILE *to, const struct text_ids *t, const struct perplexity_plan *p, uint32_t n_ctx)
{
	char hex[65];

	fprintf(to, "%s: %s, %llu bytes, SHA-256 %s\n", t->ids_path ? "token ids" : "text", cli_escz(text_ids_path(t)),
		(unsigned long long)t->bytes, sha256_text(t->sha256, hex));
	fprintf(to, "chunks: %llu of %u tokens out of %llu (%llu left over), %llu scored in each from position "
		"%llu on\n", (unsigned long long)p->n_chunks, n_ctx, (unsigned long long)t->n_ids,
		(unsigned long long)p->n_left_over, (unsigned long long)p->scored, (unsigned long long)p->first);
	if (t->bos == TOKEN_NONE)
		fprintf(to, "bos: none, the vocabulary adds none\n");
	else
		fprintf(to, "bos: token %u in place of the first of each chunk\n", t->bos);
}

void cmd_text_json(cJSON *doc, const struct text_ids *t)
{
	cJSON *text = cJSON_AddObjectToObject(doc, "text");
	char hex[65];

	cJSON_AddStringToObject(text, "path", cli_escz(text_ids_path(t)));
	cJSON_AddBoolToObject(text, "token_ids", t->ids_path != NULL);
	cJSON_AddNumberToObject(text, "bytes", (double)t->bytes);
	cJSON_AddStringToObject(text, "sha256", sha256_text(t->sha256, hex));
	cJSON_AddNumberToObject(text, "tokens", (double)t->n_ids);
}

void cmd_show_chunk(struct cli *c, const struct progress *p, uint64_t number, double estimate)
{
	fprintf(cli_out(c), "[%llu]%.4f,", (unsigned long long)number, estimate);
	if (progress_shares_terminal(p))
		fputc('\n', cli_out(c));
	fflush(cli_out(c));
}
