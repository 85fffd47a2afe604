/* SPDX-License-Identifier: MIT
 *
 * cmd_html_parity.c - `ingot perplexity --reference --html`: the verdict, the figures, how they are distributed, layers,
 * the worst positions, where all of it comes from. The figures are those of --json, under the same names.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/plot.h"
#include "runtime/cmd_html.h"

static double lowest(const struct parity *p) { return parity_percentile(p, 0); }
static double highest(const struct parity *p) { return parity_percentile(p, 100); }

static bool equal_layers(const struct parity *p)
{
	for (size_t i = 0; i < p->n_layers; i++)
		if (!(layer_error_rms(&p->layers[i]) <= 0))
			return false;
	return true;
}

static bool is_lossless(const struct parity *p)
{
	return lowest(p) == 0 && highest(p) == 0 && p->ln_ratio.mean == 0 && p->n_same == p->n && equal_layers(p);
}

/* ---- the verdict ---- */

static void say_lossless(const struct html_parity *r, char *to, size_t cap)
{
	const struct parity *p = &r->result->parity;

	snprintf(to, cap, "%s predicts exactly what its reference %s predicts: at all %llu scored positions the KL "
		 "divergence is 0 and both perplexities are %.6f%s.", r->m->path, r->ref->path, (unsigned long long)p->n,
		 r->result->ppl, p->layers ? ", and the hidden states are equal after every layer" : "");
}

static void say_difference(const struct html_parity *r, char *to, size_t cap)
{
	const struct parity *p = &r->result->parity;
	double up = parity_ppl_increase(p);
	bool shown = fabs(p->ln_ratio.mean) > 2 * p->ln_ratio.error;
	char kld[48], error[48];

	html_number_text(kld, p->mean_kld.mean, 3);
	html_number_text(error, p->mean_kld.error, 2);
	snprintf(to, cap, "Mean KL divergence from the reference %s ± %s over %llu positions; perplexity %.4f against %.4f, "
		 "%.3g %% %s, which is %s than twice its standard error%s; the most likely token is the same at %.2f %%.", kld,
		 error, (unsigned long long)p->n, r->result->ppl, p->ref_ppl.mean, fabs(up), up < 0 ? "lower" : "higher",
		 shown ? "more" : "less", shown ? "" : " (no change of perplexity is shown)", p->same_best.mean * 100);
}

static void put_verdict(struct html *h, const struct html_parity *r)
{
	bool lossless = is_lossless(&r->result->parity);
	const struct parity *p = &r->result->parity;
	char text[12000];
	size_t n = 0;

	if (r->gates)
		n = (size_t)snprintf(text, 400, "%s. ", r->gates);	/* gate_text: at most 300 bytes */
	if (lossless)
		say_lossless(r, text + n, sizeof text - n);
	else if (r->gates)
		snprintf(text + n, sizeof text - n, "Not lossless: the most likely token is the same at %.2f %% of %llu positions.",
			 p->same_best.mean * 100, (unsigned long long)p->n);
	else
		say_difference(r, text + n, sizeof text - n);
	if (r->gates && !r->within)
		html_verdict(h, HTML_BAD, "Outside the gates", text);
	else if (lossless)
		html_verdict(h, HTML_GOOD, "Lossless on this text", text);
	else if (r->gates)
		html_verdict(h, HTML_GOOD, "Within the gates", text);
	else
		html_verdict(h, HTML_NEUTRAL, "Not lossless", text);
}

/* ---- figures ---- */

static void put_key(struct html *h, const char *name, double v, int digits, const char *unit, const char *small)
{
	html_put(h, "<div><dt>%s</dt><dd>", name);
	html_number(h, v, digits);
	html_put(h, "%s<small>%s</small></dd></div>\n", unit, small);
}

static void put_keys(struct html *h, const struct html_parity *r)
{
	const struct parity *p = &r->result->parity;
	char a[48], small[100];

	html_put(h, "<dl class=\"keys\">\n");
	snprintf(small, sizeof small, "± %s", html_number_text(a, p->ref_ppl.error, 2));
	put_key(h, "PPL of the reference", p->ref_ppl.mean, 6, "", small);
	snprintf(small, sizeof small, "± %s", html_number_text(a, r->result->error, 2));
	put_key(h, "PPL of the model", r->result->ppl, 6, "", small);
	snprintf(small, sizeof small, "± %s, paired", html_number_text(a, p->ratio.error, 2));
	put_key(h, "Ratio", p->ratio.mean, 6, "", small);
	snprintf(small, sizeof small, "± %s", html_number_text(a, p->mean_kld.error, 2));
	put_key(h, "Mean KL divergence", p->mean_kld.mean, 4, "", small);
	snprintf(small, sizeof small, "largest %s", html_number_text(a, highest(p), 3));
	put_key(h, "99 % of divergences below", parity_percentile(p, 99), 3, "", small);
	snprintf(small, sizeof small, "± %s %%", html_number_text(a, p->same_best.error * 100, 2));
	put_key(h, "Same most likely token", p->same_best.mean * 100, 4, " %", small);
	html_put(h, "</dl>\n</header>\n<main>\n");
}

static void put_estimate(struct html *h, const char *name, const char *key, struct estimate x, double unit)
{
	char id[120];

	html_put(h, "<tr><th scope=\"row\">%s</th><td class=\"n\">", name);
	snprintf(id, sizeof id, "%s.mean", key);
	html_put(h, "<data id=\"%s\" value=\"%.17g\">", id, x.mean);
	html_number(h, x.mean * unit, 6);
	html_put(h, "</data>%s</td><td class=\"pm\">± ", unit == 100 ? " %" : "");
	snprintf(id, sizeof id, "%s.error", key);
	html_put(h, "<data id=\"%s\" value=\"%.17g\">", id, x.error);
	html_number(h, x.error * unit, 2);
	html_put(h, "</data></td></tr>\n");
}

static void put_ppl_table(struct html *h, const struct parity *p, struct estimate model, const char *prefix)
{
	const struct { const char *name, *key; struct estimate v; double unit; } rows[] = {
		{ "PPL of the reference", "reference_ppl", p->ref_ppl, 1 },
		{ "PPL of the model", "model_ppl", model, 1 },
		{ "Ratio, model over reference", "ppl_ratio", p->ratio, 1 },
		{ "ln of the ratio", "ln_ppl_ratio", p->ln_ratio, 1 },
		{ "Same most likely token", "same_top_share", p->same_best, 100 },
		{ "Change of the correct token’s probability", "probability_change", p->change, 100 },
		{ "RMS of that change", "probability_change_rms", p->rms_change, 100 },
	};
	static const char *const heads[] = { "Perplexity", ">estimate", "standard error", NULL };
	char key[80];

	html_table(h, heads);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		snprintf(key, sizeof key, "%s.%s", prefix, rows[i].key);
		put_estimate(h, rows[i].name, key, rows[i].v, rows[i].unit);
	}
	html_table_end(h);
}

static void put_kld_table(struct html *h, const struct parity *p, const char *prefix)
{
	char key[80], over[48];
	const char *const heads[] = { "KL divergence, nats", over, "standard error", NULL };

	snprintf(over, sizeof over, ">over %llu positions", (unsigned long long)p->n);
	html_table(h, heads);
	html_put(h, "<tr><th scope=\"row\">mean</th><td class=\"n\">");
	snprintf(key, sizeof key, "%s.kl_divergence.mean", prefix);
	html_value(h, key, p->mean_kld.mean, 6);
	html_put(h, "</td><td class=\"pm\">± ");
	snprintf(key, sizeof key, "%s.kl_divergence.error", prefix);
	html_value(h, key, p->mean_kld.error, 2);
	html_put(h, "</td></tr>\n");
	for (size_t i = 0; i < N_KLD_PERCENTILES; i++) {
		const struct kld_percentile *k = &kld_percentiles[i];

		snprintf(key, sizeof key, "%s.kl_divergence.%s", prefix, k->key);
		html_put(h, "<tr><th scope=\"row\">%s</th><td class=\"n\">", k->name);
		html_value(h, key, parity_percentile(p, k->percent), 5);
		html_put(h, "</td><td></td></tr>\n");
	}
	html_table_end(h);
}

static void put_figures(struct html *h, const struct html_parity *r)
{
	html_section(h, "figures", "Perplexity and divergence", "Both models read the same tokens. Standard errors are those of "
		     "the mean over positions; that of the ratio is of paired differences, in which what both find hard "
		     "cancels. The divergence is that of the model’s distribution from the reference’s over all tokens.");
	html_put(h, "<div class=\"two\">\n<div>\n");
	put_ppl_table(h, &r->result->parity, (struct estimate){ r->result->ppl, r->result->error }, "parity");
	html_put(h, "</div>\n<div>\n");
	put_kld_table(h, &r->result->parity, "parity");
	html_put(h, "</div>\n</div>\n");
	html_section_end(h);
}

/* ---- layers ---- */

static void put_layer_dots(struct plot *plot, const struct parity *p, double *xy)
{
	char name[32];

	for (size_t i = 0; i < p->n_layers; i++) {
		double rms = layer_error_rms(&p->layers[i]);

		xy[2 * i] = (double)i;
		xy[2 * i + 1] = rms > 0 && isfinite(rms) ? log10(rms) : (double)NAN;
	}
	plot_line(plot, xy, p->n_layers);
	for (size_t i = 0; i < p->n_layers; i++) {
		if (isnan(xy[2 * i + 1]))
			continue;
		plot_dot_begin(plot, xy[2 * i], xy[2 * i + 1]);
		html_put(plot->h, "%s: relative RMS error ", parity_state_name(i, name));
		html_number(plot->h, layer_error_rms(&p->layers[i]), 3);
		plot_dot_end(plot);
	}
}

static enum status put_layer_plot(struct html *h, const struct parity *p, struct err *e)
{
	struct plot plot = { .h = h, .x0 = -0.4, .x1 = (double)p->n_layers - 0.6, .y0 = INFINITY, .y1 = -INFINITY };
	double *xy = mem_new(p->n_layers, 2 * sizeof *xy, "a picture of the layers", e);
	char label[32];

	if (!xy)
		return e->status;
	for (size_t i = 0; i < p->n_layers; i++) {
		double rms = layer_error_rms(&p->layers[i]);

		if (rms > 0 && isfinite(rms)) {
			plot.y0 = fmin(plot.y0, floor(log10(rms)));
			plot.y1 = fmax(plot.y1, ceil(log10(rms) + 1e-9));
		}
	}
	if (plot.y1 < plot.y0)
		plot.y0 = plot.y1 = 0;	/* no error is a finite number */
	html_put(h, "<figure><h3>Relative error of the hidden states</h3>\n");
	plot_begin(&plot, "Relative RMS error of the hidden states after each layer, logarithmic", 0);
	plot_y_decades(&plot);
	for (size_t i = 0; i < p->n_layers; i += (p->n_layers + 11) / 12) {
		snprintf(label, sizeof label, "%zu", i ? i - 1 : 0);
		plot_x_tick(&plot, (double)i, i ? label : "in");
	}
	put_layer_dots(&plot, p, xy);
	plot_axes(&plot, "after layer (in: the embedding)", "RMS error over RMS value");
	plot_end(&plot);
	html_put(h, "</figure>\n");
	free(xy);
	return OK;
}

static void put_layer_table(struct html *h, const struct parity *p)
{
	static const char *const heads[] = { "after", ">relative RMS error", ">1 − cosine", ">largest difference", NULL };
	char name[32], key[80];

	html_put(h, "<div><details%s><summary>%zu states as numbers</summary>\n", p->n_layers <= 12 ? " open" : "", p->n_layers);
	html_table(h, heads);
	for (size_t i = 0; i < p->n_layers; i++) {
		html_put(h, "<tr><th scope=\"row\">%s</th><td class=\"n\">", parity_state_name(i, name));
		snprintf(key, sizeof key, "parity.layers.%zu.relative_rms_error", i);
		html_value(h, key, layer_error_rms(&p->layers[i]), 4);
		html_put(h, "</td><td class=\"n\">");
		html_number(h, 1 - layer_error_cosine(&p->layers[i]), 2);
		html_put(h, "</td><td class=\"n\">");
		html_number(h, p->layers[i].max, 3);
		html_put(h, "</td></tr>\n");
	}
	html_table_end(h);
	html_put(h, "</details></div>\n");
}

static enum status put_layers(struct html *h, const struct parity *p, struct err *e)
{
	bool equal = equal_layers(p);
	enum status st = OK;

	if (!p->layers)
		return OK;
	html_section(h, "layers", "Layer by layer", equal ? "The hidden states of both models are equal after every layer, at "
		     "every token of every chunk." : "How far the residual streams of the two models are apart after each layer, "
		     "over all tokens of all chunks: the root of the mean squared difference over that of the reference’s "
		     "values.");
	if (!equal) {
		html_put(h, "<div class=\"two\">\n");
		TRY(put_layer_plot(h, p, e));
		put_layer_table(h, p);
		html_put(h, "</div>\n");
	}
	html_section_end(h);
out:
	return st;
}

/* ---- where it comes from ---- */

static void put_model(struct html *h, const char *role, const struct model *m)
{
	cmd_html_model(h, role, m->path, m->is_gguf ? &m->set : NULL, &m->ckpt);
}

static void put_text(struct html *h, const struct html_parity *r)
{
	const struct perplexity_plan *p = r->plan;
	char hex[65];

	html_put(h, "<div>\n<h3>Text and method</h3>\n<table>\n");
	html_row(h, r->text->ids_path ? "Token ids" : "Text");
	html_put(h, "<span class=\"name\">");
	html_textz(h, text_ids_path(r->text));
	html_put(h, "</span><br>%llu bytes, SHA-256 <span class=\"hash\">%s</span>", (unsigned long long)r->text->bytes,
		 sha256_text(r->text->sha256, hex));
	html_row_end(h);
	html_row(h, "Chunks");
	html_put(h, "%llu of %u tokens, out of %llu; %llu left over", (unsigned long long)p->n_chunks, r->o->n_ctx,
		 (unsigned long long)r->o->n_ids, (unsigned long long)p->n_left_over);
	html_row_end(h);
	html_row(h, "Scored");
	html_put(h, "%llu tokens of each chunk, from place %llu on", (unsigned long long)p->scored, (unsigned long long)p->first);
	html_row_end(h);
	html_row(h, "First token");
	if (r->o->bos == TOKEN_NONE)
		html_put(h, "the text’s own");
	else
		html_put(h, "token %u in its place, in each chunk", r->o->bos);
	html_row_end(h);
	html_row(h, "Activations");
	html_put(h, "%s", r->o->official ? "rounded as in DeepSeek’s inference code" : "float32");
	html_row_end(h);
	html_put(h, "</table>\n</div>\n");
}

static void put_provenance(struct html *h, const struct html_parity *r)
{
	html_section(h, "provenance", "Where this comes from", NULL);
	html_put(h, "<div class=\"two\">\n");
	put_model(h, "Reference", r->ref);
	put_model(h, "Model", r->m);
	put_text(h, r);
	if (r->mtp) {
		put_model(h, "MTP block of the reference", r->o->ref_mtp);
		put_model(h, "MTP block of the model", r->o->mtp);
	}
	html_put(h, "</div>\n");
	cmd_html_command(h, r->words);
	html_section_end(h);
}

/* ---- all of it ---- */

static void put_mtp(struct html *h, const struct html_parity *r)
{
	if (!r->mtp)
		return;
	html_section(h, "mtp", "The MTP block, on the token after the next", NULL);
	html_put(h, "<div class=\"two\">\n<div>\n");
	put_ppl_table(h, &r->mtp->parity, (struct estimate){ r->mtp->ppl, r->mtp->error }, "mtp.parity");
	html_put(h, "</div>\n<div>\n");
	put_kld_table(h, &r->mtp->parity, "mtp.parity");
	html_put(h, "</div>\n</div>\n");
	html_section_end(h);
}

enum status cmd_html_parity(const struct html_parity *r, struct output *to, struct err *e)
{
	struct html h = { 0 };
	enum status st;

	html_begin(&h, "perplexity against a reference");
	put_verdict(&h, r);
	put_keys(&h, r);
	put_figures(&h, r);
	cmd_html_distributions(&h, r);
	TRY(put_layers(&h, &r->result->parity, e));
	TRY(cmd_html_worst(&h, r, e));
	put_mtp(&h, r);
	put_provenance(&h, r);
	html_end(&h);
	st = html_write(&h, to, e);
out:
	html_close(&h);
	return st;
}
