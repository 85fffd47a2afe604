/* SPDX-License-Identifier: MIT
 *
 * cmd_html_maps.c - errors as maps: what a tensor is by layer, and for each kind of stacked experts layer by expert.
 *
 * Which layer and what it is comes from names of the form blk.LAYER.KIND; what has another name is in the tables alone. Names
 * are a file's, so a map has at most so many layers, kinds and cells.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/plot.h"
#include "runtime/cmd_html.h"

enum { MOST_LAYERS = 1024, MOST_KINDS = 64, MOST_CELLS = 1 << 18, WORST = 12 };

/* The pairs of the layers: (n_kinds, n_layers), NULL where there is none. */
struct layers {
	struct str kind[MOST_KINDS];
	size_t n_kinds, n_layers;
	const struct pair **at;		/* owned: (MOST_KINDS, MOST_LAYERS) */
};

/* "blk.12.attn_kv.weight": 12 and "attn_kv". */
static bool split_name(struct str name, size_t *layer, struct str *kind)
{
	static const char tail[] = ".weight";
	size_t i = 4;

	if (name.n < 7 || memcmp(name.p, "blk.", 4) != 0)
		return false;
	for (*layer = 0; i < name.n && name.p[i] >= '0' && name.p[i] <= '9' && *layer < MOST_LAYERS; i++)
		*layer = *layer * 10 + (size_t)(name.p[i] - '0');
	if (i == 4 || *layer >= MOST_LAYERS || i + 1 >= name.n || name.p[i] != '.')
		return false;
	*kind = (struct str){ name.p + i + 1, name.n - i - 1 };
	if (kind->n >= sizeof tail && memcmp(kind->p + kind->n - (sizeof tail - 1), tail, sizeof tail - 1) == 0)
		kind->n -= sizeof tail - 1;
	return true;
}

static enum status sort_pairs(struct layers *l, const struct comparison *c, struct err *e)
{
	l->at = mem_new((size_t)MOST_KINDS * MOST_LAYERS, sizeof *l->at, "a map of tensors", e);
	if (!l->at)
		return e->status;
	for (size_t i = 0; i < c->n_pairs; i++) {
		struct str kind;
		size_t layer, k = 0;

		if (!c->pairs[i].same_shape || !split_name(c->pairs[i].a->name, &layer, &kind))
			continue;
		while (k < l->n_kinds && !str_eq(l->kind[k], kind))
			k++;
		if (k == MOST_KINDS)
			continue;
		if (k == l->n_kinds)
			l->kind[l->n_kinds++] = kind;
		l->at[k * MOST_LAYERS + layer] = &c->pairs[i];
		l->n_layers = layer + 1 > l->n_layers ? layer + 1 : l->n_layers;
	}
	return OK;
}

static void put_number(void *ctx, struct html *h, size_t i)
{
	(void)ctx;
	html_put(h, "%zu", i);
}

static void put_kind(void *ctx, struct html *h, size_t i)
{
	const struct layers *l = ctx;

	html_text(h, l->kind[i]);
}

/* ---- kinds by layer ---- */

static enum status put_kinds(struct html *h, struct layers *l, struct err *e)
{
	double *v = mem_new(l->n_kinds * l->n_layers, sizeof *v, "a map of tensors", e);
	struct heat map = { .label = "Relative error of each tensor, by kind and layer", .value = "relative error",
			    .equal = "equal", .columns = "layer", .row_word = "", .margin = 190, .n_rows = l->n_kinds,
			    .n_cols = l->n_layers, .v = v, .ctx = l, .row_name = put_kind, .col_name = put_number };

	if (!v)
		return e->status;
	for (size_t k = 0; k < l->n_kinds; k++)
		for (size_t i = 0; i < l->n_layers; i++) {
			const struct pair *p = l->at[k * MOST_LAYERS + i];

			v[k * l->n_layers + i] = p ? pair_relative(p) : (double)NAN;
		}
	html_section(h, "layers", "By kind and layer", "Relative error of each tensor in a layer. Point at a cell for its figure.");
	heat_put(h, &map);
	html_section_end(h);
	free(v);
	return OK;
}

/* ---- experts ---- */

struct expert { struct str kind; size_t layer; uint64_t expert; double relative; };
struct worst { struct expert v[WORST]; size_t n; };

static void keep(struct worst *w, const struct expert *x)
{
	size_t at = w->n;

	while (at > 0 && x->relative > w->v[at - 1].relative)
		at--;
	if (at == WORST)
		return;
	w->n += w->n < WORST;
	memmove(w->v + at + 1, w->v + at, (w->n - 1 - at) * sizeof *w->v);
	w->v[at] = *x;
}

static uint64_t most_experts(const struct layers *l, size_t kind)
{
	uint64_t most = 0;

	for (size_t i = 0; i < l->n_layers; i++) {
		const struct pair *p = l->at[kind * MOST_LAYERS + i];

		if (p && p->experts && p->n_matrices > most)
			most = p->n_matrices;
	}
	return most;
}

/* Cells of a kind's map; how many of them differ. */
static size_t fill(const struct layers *l, size_t kind, size_t n_cols, double *v, struct worst *w)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n_layers; i++) {
		const struct pair *p = l->at[kind * MOST_LAYERS + i];

		for (uint64_t x = 0; x < n_cols; x++) {
			struct expert one = { l->kind[kind], i, x, NAN };

			if (p && p->experts && x < p->n_matrices)
				one.relative = matrix_relative(&p->experts[x]);
			v[i * n_cols + x] = one.relative;
			if (one.relative > 0) {
				keep(w, &one);
				n++;
			}
		}
	}
	return n;
}

static enum status put_expert_map(struct html *h, const struct layers *l, size_t kind, uint64_t n_cols, struct worst *w,
				  struct err *e)
{
	struct heat map = { .label = "Relative error of each expert, by layer", .value = "relative error", .equal = "equal",
			    .columns = "expert", .row_word = "layer ", .margin = 34, .n_rows = l->n_layers,
			    .n_cols = (size_t)n_cols, .row_name = put_number, .col_name = put_number };
	uint64_t cells;
	double *v;

	html_put(h, "<h3><span class=\"name\">");
	html_text(h, l->kind[kind]);
	html_put(h, "</span>: layers down, experts across</h3>\n");
	if (!u64_mul(l->n_layers, n_cols, &cells) || cells > MOST_CELLS) {
		html_put(h, "<p class=\"about\">More than %d cells: --json has their figures.</p>\n", MOST_CELLS);
		return OK;
	}
	v = mem_new((size_t)cells, sizeof *v, "a map of experts", e);
	if (!v)
		return e->status;
	map.v = v;
	if (fill(l, kind, (size_t)n_cols, v, w))
		heat_put(h, &map);
	else
		html_put(h, "<p class=\"about\">Every expert of every layer is equal.</p>\n");
	free(v);
	return OK;
}

static void put_worst(struct html *h, const struct worst *w)
{
	static const char *const heads[] = { "kind", ">layer", ">expert", ">relative error", NULL };

	if (!w->n)
		return;
	html_put(h, "<h3>The largest errors of an expert</h3>\n");
	html_table(h, heads);
	for (size_t i = 0; i < w->n; i++) {
		html_put(h, "<tr><td><span class=\"name\">");
		html_text(h, w->v[i].kind);
		html_put(h, "</span></td><td class=\"n\">%zu</td><td class=\"n\">%llu</td><td class=\"n\">", w->v[i].layer,
			 (unsigned long long)w->v[i].expert);
		html_number(h, w->v[i].relative, 4);
		html_put(h, "</td></tr>\n");
	}
	html_table_end(h);
}

static enum status put_experts(struct html *h, const struct layers *l, struct err *e)
{
	struct worst w = { .n = 0 };
	enum status st = OK;
	bool begun = false;

	for (size_t k = 0; k < l->n_kinds; k++) {
		uint64_t n = most_experts(l, k);

		if (!n)
			continue;
		if (!begun)
			html_section(h, "experts", "Expert by expert", "Relative error of each expert’s matrix. One that stands "
				     "out was harder to quantize, or is damaged.");
		begun = true;
		TRY(put_expert_map(h, l, k, n, &w, e));
	}
	put_worst(h, &w);
	if (begun)
		html_section_end(h);
out:
	return st;
}

enum status cmd_html_maps(struct html *h, const struct comparison *c, struct err *e)
{
	struct layers l = { .n_kinds = 0 };
	enum status st;

	TRY(sort_pairs(&l, c, e));
	if (l.n_kinds) {
		TRY(put_kinds(h, &l, e));
		TRY(put_experts(h, &l, e));
	}
out:
	free(l.at);
	return st;
}
