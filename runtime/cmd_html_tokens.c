/* SPDX-License-Identifier: MIT
 *
 * cmd_html_tokens.c - the positions with the largest divergence, each in its text.
 *
 * Tokens are any bytes: part of a character, markup, a letter that turns the line round. A run of tokens is shown as one
 * text, so that what together is a character is seen as one, and all of it goes through html_text.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/cmd_html.h"
#include "runtime/tokenizer.h"

enum { BEFORE = 48, AFTER = 12, OPEN = 6 /* positions shown at once; the rest unfolds */ };

struct view { struct html *h; const struct html_parity *r; struct tokenizer t; char *buf; };

/* Line ends and tabs as signs. */
static void put_bytes(struct html *h, const char *p, size_t n)
{
	for (size_t i = 0, end; i < n; i = end) {
		end = i + 1;
		if (p[i] == '\n') {
			html_put(h, "<span class=\"w\">↵</span>");
		} else if (p[i] == '\t') {
			html_put(h, "<span class=\"w\">⇥</span>");
		} else {
			while (end < n && p[end] != '\n' && p[end] != '\t')
				end++;
			html_text(h, (struct str){ p + i, end - i });
		}
	}
}

static enum status put_ids(struct view *v, const uint32_t *ids, size_t n, struct err *e)
{
	size_t len = 0, more;
	enum status st = OK;

	if (!v->r->vocab) {
		for (size_t i = 0; i < n; i++)
			html_put(v->h, "%s#%u", i ? " " : "", ids[i]);
		return OK;
	}
	for (size_t i = 0; i < n && st == OK; i++) {
		st = tokenizer_piece(&v->t, ids[i], v->buf + len, &more, e);
		len += more;
	}
	put_bytes(v->h, v->buf, len);
	return st;
}

static enum status put_text(struct view *v, const struct perplexity_row *r, struct err *e)
{
	const struct perplexity_options *o = v->r->o;
	uint64_t start = r->index - r->index % o->n_ctx, end = start + o->n_ctx;
	uint64_t from = r->index - start > BEFORE ? r->index - BEFORE : start, to = u64_min(r->index + 1 + AFTER, end);
	enum status st;

	html_put(v->h, "<p class=\"text\"><bdi>%s", from > start ? "… " : "");
	if (from == start && o->bos != TOKEN_NONE) {	/* what the models saw in place of the chunk's first token */
		TRY(put_ids(v, &o->bos, 1, e));
		from++;
	}
	TRY(put_ids(v, o->ids + from, (size_t)(r->index - from), e));
	html_put(v->h, "<mark>");
	TRY(put_ids(v, o->ids + r->index, 1, e));
	html_put(v->h, "</mark><span class=\"after\">");
	TRY(put_ids(v, o->ids + r->index + 1, (size_t)(to - r->index - 1), e));
	html_put(v->h, "%s</span></bdi></p>\n", to < end ? " …" : "");
out:
	return st;
}

static void put_share(struct html *h, double log_prob, const char *class)
{
	double p = exp(log_prob) > 1 ? 1 : exp(log_prob);

	html_put(h, "<td class=\"n\">");
	html_number(h, p * 100, 3);
	html_put(h, " %%</td><td><svg viewBox=\"0 0 120 13\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
		 "<rect class=\"track\" width=\"120\" height=\"13\"/><rect class=\"%s\" width=\"%.1f\" height=\"13\"/></svg></td>",
		 class, 120 * p);
}

static enum status put_choice(struct view *v, const char *what, uint32_t id, double by_ref, double by_model, struct err *e)
{
	enum status st;

	html_put(v->h, "<tr><th scope=\"row\">%s</th><td><span class=\"tok\"><bdi>", what);
	st = put_ids(v, &id, 1, e);
	html_put(v->h, "</bdi></span></td>");
	put_share(v->h, by_ref, "p-ref");
	put_share(v->h, by_model, "p-model");
	html_put(v->h, "</tr>\n");
	return st;
}

static enum status put_place(struct view *v, size_t i, struct err *e)
{
	const struct perplexity_row *r = &v->r->spread->worst[i];
	const struct perplexity_options *o = v->r->o;
	char key[32];
	enum status st;

	snprintf(key, sizeof key, "worst.%zu.kld", i);
	html_put(v->h, "<div class=\"place\">\n<h3>KL divergence ");
	html_value(v->h, key, r->kld, 4);
	html_put(v->h, " <span>· token %llu of the text (chunk %llu, place %llu)</span></h3>\n", (unsigned long long)r->index,
		 (unsigned long long)(r->index / o->n_ctx) + 1, (unsigned long long)(r->index % o->n_ctx));
	TRY(put_text(v, r, e));
	html_put(v->h, "<div class=\"wide\"><table>\n<thead><tr><th></th><th>token</th><th class=\"n\" colspan=\"2\">reference</th>"
		 "<th class=\"n\" colspan=\"2\">model</th></tr></thead>\n<tbody>\n");
	TRY(put_choice(v, "in the text", r->token, r->ref_log_prob, r->log_prob, e));
	TRY(put_choice(v, "reference’s first", r->ref_best, r->ref_best_log_prob, r->ref_best_by_model, e));
	TRY(put_choice(v, "model’s first", r->best, r->best_by_ref, r->best_log_prob, e));
	html_put(v->h, "</tbody></table></div>\n</div>\n");
out:
	return st;
}

enum status cmd_html_worst(struct html *h, const struct html_parity *r, struct err *e)
{
	struct view v = { .h = h, .r = r };
	enum status st = OK;
	size_t n = r->spread->n_worst;

	while (n > 0 && !(r->spread->worst[n - 1].kld > 0))
		n--;	/* what is equal is not bad */
	if (n == 0)
		return OK;
	if (r->vocab)
		TRY(tokenizer_open(&v.t, r->vocab, e));
	v.buf = mem_new(BEFORE + 1, TOKENIZER_MAX_PIECE, "text of tokens", e);
	if (!v.buf) {
		st = e->status;
		goto out;
	}
	html_section(h, "worst", "Where the two differ most", "The positions with the largest divergence, each with the text "
		     "before it, the token that came (marked) and what followed. ↵ is a line’s end, ⇥ a tab, \\x1B and "
		     "\\u{202E} are bytes and characters that would not be seen.");
	html_put(h, "<div class=\"two\">\n");
	for (size_t i = 0; i < n; i++) {
		if (i == OPEN)
			html_put(h, "</div>\n<details><summary>%zu more</summary>\n<div class=\"two\">\n", n - OPEN);
		TRY(put_place(&v, i, e));
	}
	html_put(h, "</div>\n%s", n > OPEN ? "</details>\n" : "");
	html_section_end(h);
out:
	tokenizer_close(&v.t);
	free(v.buf);
	return st;
}
