/* SPDX-License-Identifier: MIT
 *
 * cmd_html.h - what the two reports as a page (perplexity --reference, compare) have in common, and what the commands
 * give them.
 */
#ifndef RUNTIME_CMD_HTML_H
#define RUNTIME_CMD_HTML_H

#include "report/html.h"
#include "runtime/cmd.h"
#include "runtime/compare.h"
#include "runtime/spread.h"

/* ---- cmd_html.c: where the figures come from ------------------------------------------------------*/

/* A table of what the headers say of a model; role: "Model", "Reference"; set: NULL for a checkpoint. */
void cmd_html_model(struct html *h, const char *role, const char *path, const struct gguf_set *set,
		    const struct checkpoint *ckpt);
/* A command that makes the page's figures again, quoted for a shell; NULL ends words. */
void cmd_html_command(struct html *h, const char *const *words);

/* ---- cmd_html_parity.c ---------------------------------------------------------------------------*/

/* All of it borrowed. */
struct html_parity {
	const struct model *m, *ref;
	const struct perplexity_options *o;
	const struct perplexity_plan *plan;
	const struct perplexity_result *result, *mtp;	/* mtp: NULL without --mtp */
	const struct text_ids *text;
	const struct vocab *vocab;	/* no tokens: ids alone are shown */
	const struct spread *spread;
	const char *gates;		/* what they said: "PPL increase 0.1 % (--max-ppl-increase 1)"; NULL without */
	bool within;
	const char *const *words;	/* of the command */
};
enum status cmd_html_parity(const struct html_parity *r, struct output *to, struct err *e) MUST_USE;

/* ---- cmd_html_spread.c: how differences are distributed ---------------------------------------------*/
void cmd_html_distributions(struct html *h, const struct html_parity *r);

/* ---- cmd_html_tokens.c: the worst positions, in their text -------------------------------------------*/
enum status cmd_html_worst(struct html *h, const struct html_parity *r, struct err *e) MUST_USE;

/* ---- cmd_html_compare.c --------------------------------------------------------------------------*/

/* Tensors of the same two types. */
struct type_total { const char *a, *b; size_t n; uint64_t a_bytes, b_bytes; struct error_sums sums; };
struct html_compare {
	const struct comparison *c;
	const struct type_total *totals; size_t n_totals;
	double most;			/* --max-relative-error; below 0 without */
	bool ok;
	const char *why;		/* not ok: the message */
	const char *const *words;
};
enum status cmd_html_compare(const struct html_compare *r, struct output *to, struct err *e) MUST_USE;

/* ---- cmd_html_maps.c: errors by kind and layer, by layer and expert ----------------------------------*/
enum status cmd_html_maps(struct html *h, const struct comparison *c, struct err *e) MUST_USE;

#endif
