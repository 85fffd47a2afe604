/* SPDX-License-Identifier: MIT
 *
 * cmd.h - what the commands that run a model report alike.
 */
#ifndef RUNTIME_CMD_H
#define RUNTIME_CMD_H

#include <cjson/cJSON.h>

#include "cli/cli.h"
#include "runtime/text.h"

/* ---- cmd_text.c ---- */

/* What the text is and how it divides: lines of text; an object "text". */
void cmd_text_print(FILE *to, const struct text_ids *t, const struct perplexity_plan *p, uint32_t n_ctx);
void cmd_text_json(cJSON *doc, const struct text_ids *t);
/* The estimate after one more chunk, as it comes: "[3]9.2081,"; on a line of its own where the progress is in the way. */
void cmd_show_chunk(struct cli *c, const struct progress *p, uint64_t number, double estimate);

/* ---- cmd.c: what --json and the page call alike ---- */

struct kld_percentile { double percent; const char *name, *key; };
enum { N_KLD_PERCENTILES = 7 };
extern const struct kld_percentile kld_percentiles[N_KLD_PERCENTILES];	/* the largest first */
const char *parity_state_name(size_t i, char buf[32]);	/* of hidden states: "embedding", "layer 3" */
double parity_ppl_increase(const struct parity *p);	/* in percent; exactly 0 for equal predictions */

/* ---- cmd_weights.c ---- */

/* Bytes of weights read and the time for it, of all models together; closed ones (no path) are passed
 * over. A line of text; an object "weights". */
void weights_print(FILE *to, const struct model *const *list, size_t n);
void weights_json(cJSON *doc, const struct model *const *list, size_t n);

#endif
