/* SPDX-License-Identifier: MIT
 *
 * cmd.h - what the commands that run a model report alike.
 */
#ifndef RUNTIME_CMD_H
#define RUNTIME_CMD_H

#include <cjson/cJSON.h>

#include "cli/cli.h"
#include "runtime/runtime.h"

/* ---- cmd_text.c ---- */

/* The text of -f or --token-ids; the caller sets one of the paths. */
struct cmd_text {
	const char *path, *ids_path;
	uint32_t *ids;			/* owned */
	uint64_t n_ids, bytes;
	uint32_t bos;			/* comes in front of the text and of each chunk, or TOKEN_NONE */
	uint8_t sha256[SHA256_BYTES];	/* of the text or the ids as they are in the file */
};
/* v: the model's vocabulary, NULL where it has none. */
enum status cmd_text_read(struct cmd_text *t, const struct model *m, const struct vocab *v, uint64_t max_memory,
			  struct err *e) MUST_USE;
const char *cmd_text_path(const struct cmd_text *t);
char *cmd_text_sha256(const struct cmd_text *t, char hex[65]);
/* What the text is and how it divides: lines of text; an object "text". */
void cmd_text_print(FILE *to, const struct cmd_text *t, const struct perplexity_plan *p, uint32_t n_ctx);
void cmd_text_json(cJSON *doc, const struct cmd_text *t);
void cmd_text_close(struct cmd_text *t);

/* ---- cmd.c: what --json and the page call alike ---- */

struct kld_percentile { double percent; const char *name, *key; };
enum { N_KLD_PERCENTILES = 7 };
extern const struct kld_percentile kld_percentiles[N_KLD_PERCENTILES];	/* the largest first */
double parity_ppl_increase(const struct parity *p);	/* in percent; exactly 0 for equal predictions */

/* ---- cmd_weights.c ---- */

/* Bytes of weights read and the time for it, of all models together; closed ones (no path) are passed
 * over. A line of text; an object "weights". */
void weights_print(FILE *to, const struct model *const *list, size_t n);
void weights_json(cJSON *doc, const struct model *const *list, size_t n);

#endif
