/* SPDX-License-Identifier: MIT
 *
 * cmd_html_compare.c - `ingot compare --html`: the verdict, totals by types, maps of the errors, the worst tensors and
 * experts, what only one side has, where it comes from. The figures are those of --json.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/cmd_html.h"

enum { MOST_ROWS = 4096, MOST_NAMES = 500, MOST_WORST = 20 };

struct counts { size_t equal, other, odd; const struct pair *worst; };

static struct counts count_pairs(const struct comparison *c)
{
	struct counts n = { 0 };

	for (size_t i = 0; i < c->n_pairs; i++) {
		const struct pair *p = &c->pairs[i];

		n.equal += pair_equal(p);
		n.other += p->same_shape && !pair_equal(p);
		n.odd += isinf(pair_relative(p)) != 0;
		if (p->same_shape && (!n.worst || pair_relative(p) > pair_relative(n.worst)))
			n.worst = p;
	}
	return n;
}

/* ---- the verdict ---- */

static void say_difference(const struct html_compare *r, const struct counts *n, char *to, size_t cap)
{
	struct str worst = n->worst ? n->worst->a->name : STR("none");
	char number[48];

	html_number_text(number, n->worst ? pair_relative(n->worst) : 0, 3);
	snprintf(to, cap, "Of %zu tensors that both have, %zu are equal and %zu have other values. The largest relative error of a "
		 "tensor is %s, in %.*s.%s%s", r->c->n_pairs, n->equal, n->other, number, (int)worst.n, worst.p,
		 n->odd ? " Some values are no finite numbers." : "", r->most >= 0 ? "" : " No limit was asked for.");
}

static void put_verdict(struct html *h, const struct html_compare *r, const struct counts *n)
{
	const struct comparison *c = r->c;
	bool all_equal = n->equal == c->n_pairs && c->n_only_a + c->n_only_b == 0 && c->n_pairs;
	char text[12000];

	if (!r->ok)
		snprintf(text, sizeof text, "%s.", r->why);
	else if (all_equal)
		snprintf(text, sizeof text, "All %zu tensors of %s and %s hold the same values, to the last bit.", c->n_pairs,
			 c->a.path, c->b.path);
	else
		say_difference(r, n, text, sizeof text);
	if (!r->ok)
		html_verdict(h, HTML_BAD, "Outside what was asked for", text);
	else if (all_equal)
		html_verdict(h, HTML_GOOD, "Equal", text);
	else if (r->most >= 0)
		html_verdict(h, HTML_GOOD, "Within the limit", text);
	else
		html_verdict(h, HTML_NEUTRAL, "Not equal", text);
}

static void put_key(struct html *h, const char *name, const char *id, double v)
{
	html_put(h, "<div><dt>%s</dt><dd>", name);
	html_put(h, "<data id=\"%s\" value=\"%.17g\">", id, v);
	if (v == floor(v) && v >= 0 && v < 1e15)
		html_count(h, (uint64_t)v);
	else
		html_number(h, v, 3);
	html_put(h, "</data></dd></div>\n");
}

static void put_keys(struct html *h, const struct comparison *c, const struct counts *n)
{
	html_put(h, "<dl class=\"keys\">\n");
	put_key(h, "Tensors in both", "in_both", (double)c->n_pairs);
	put_key(h, "Equal", "equal", (double)n->equal);
	put_key(h, "Other values", "other_values", (double)n->other);
	put_key(h, "Other shape", "other_shape", (double)c->n_other_shape);
	put_key(h, "Only in one", "only_in_one", (double)(c->n_only_a + c->n_only_b));
	if (n->worst)
		put_key(h, "Largest relative error", "largest_relative", pair_relative(n->worst));
	html_put(h, "</dl>\n</header>\n<main>\n");
}

/* ---- totals ---- */

static void put_cell(struct html *h, double v, int digits)
{
	html_put(h, "<td class=\"n\">");
	html_number(h, v, digits);
	html_put(h, "</td>");
}

static void put_count_cell(struct html *h, uint64_t n)
{
	html_put(h, "<td class=\"n\">");
	html_count(h, n);
	html_put(h, "</td>");
}

static void put_total(struct html *h, const struct type_total *t, size_t i)
{
	const struct { const char *key; double v; int digits; } figures[] = {
		{ "rms", error_rms(&t->sums), 4 }, { "relative", error_relative(&t->sums), 4 }, { "largest", t->sums.max, 4 },
	};
	char key[64];

	html_put(h, "<tr><th scope=\"row\">");
	html_textz(h, t->a);
	html_put(h, " → ");
	html_textz(h, t->b);
	html_put(h, "</th>");
	put_count_cell(h, t->n);
	put_count_cell(h, t->a_bytes);
	put_count_cell(h, t->b_bytes);
	for (size_t k = 0; k < sizeof figures / sizeof *figures; k++) {
		html_put(h, "<td class=\"n\">");
		snprintf(key, sizeof key, "types.%zu.%s", i, figures[k].key);
		html_value(h, key, figures[k].v, figures[k].digits);
		html_put(h, "</td>");
	}
	put_cell(h, t->sums.dd > 0 ? 1 - error_cosine(&t->sums) : 0, 2);
	html_put(h, "</tr>\n");
}

static void put_totals(struct html *h, const struct html_compare *r)
{
	static const char *const heads[] = { "A → B", ">tensors", ">bytes of A", ">bytes of B", ">RMS error", ">relative",
					     ">largest", ">1 − cosine", NULL };

	html_section(h, "types", "By types", "What A stores a value as, and what B does. The relative error is the root of the "
		     "sum of squared differences over that of A’s squares.");
	html_table(h, heads);
	for (size_t i = 0; i < r->n_totals; i++)
		put_total(h, &r->totals[i], i);
	html_table_end(h);
	html_section_end(h);
}

/* ---- tensors ---- */

static void put_place(struct html *h, const struct pair *p, uint64_t row, uint64_t col, bool whole_row)
{
	html_put(h, " <small>at ");
	if (p->n_matrices > 1)
		html_put(h, "%llu, ", (unsigned long long)(row / p->rows));
	html_put(h, "%llu", (unsigned long long)(row % p->rows));
	if (!whole_row)
		html_put(h, ", %llu", (unsigned long long)col);
	html_put(h, "</small></td>");
}

static void put_errors(struct html *h, const struct pair *p)
{
	const struct error_sums *s = &p->sums;

	put_cell(h, error_rms(s), 3);
	put_cell(h, pair_relative(p), 3);
	put_cell(h, s->dd > 0 ? 1 - error_cosine(s) : 0, 2);
	html_put(h, "<td class=\"n\">");
	html_number(h, s->max, 3);
	put_place(h, p, s->max_at / p->cols, s->max_at % p->cols, false);
	html_put(h, "<td class=\"n\">");
	html_number(h, p->worst_row, 3);
	put_place(h, p, p->worst_row_at, 0, true);
	html_put(h, "<td class=\"n\">");
	html_number(h, sqrt(s->worst), 3);
	put_place(h, p, s->worst_at / p->cols, s->worst_at % p->cols, false);
	put_count_cell(h, s->saturated);
	put_count_cell(h, s->x_nan + s->x_inf);
	put_count_cell(h, s->y_nan + s->y_inf);
}

static void put_pair(struct html *h, const struct pair *p)
{
	html_put(h, "<tr><th scope=\"row\"><span class=\"name\">");
	html_text(h, p->a->name);
	html_put(h, "</span></th><td class=\"types\">");
	html_textz(h, p->a->type);
	html_put(h, " → ");
	html_textz(h, p->b->type);
	html_put(h, "</td>");
	if (!p->same_shape)
		html_put(h, "<td colspan=\"9\">shapes differ</td>");
	else if (pair_equal(p) || !p->rows || !p->cols)
		html_put(h, "<td colspan=\"9\">equal</td>");
	else
		put_errors(h, p);
	html_put(h, "</tr>\n");
}

static void put_pairs(struct html *h, const struct pair *const *v, size_t n)
{
	static const char *const heads[] = { "tensor", "types", ">RMS", ">relative", ">1 − cosine", ">largest", ">worst row",
					     ">worst block", ">cut off", ">not finite, A", ">B", NULL };

	html_table(h, heads);
	for (size_t i = 0; i < n; i++)
		put_pair(h, v[i]);
	html_table_end(h);
}

static int by_error(const void *a, const void *b)
{
	const struct pair *const *x = a, *const *y = b;
	double p = pair_relative(*x), q = pair_relative(*y);

	return p != q ? (p < q) - (p > q) : (*x > *y) - (*x < *y);	/* of equals, in the file's order */
}

static enum status put_tensors(struct html *h, const struct comparison *c, struct err *e)
{
	const struct pair **v = mem_new(c->n_pairs, sizeof *v, "a list of tensors", e);
	size_t n = 0;

	if (!v)
		return e->status;
	for (; n < c->n_pairs; n++)
		v[n] = &c->pairs[n];
	html_section(h, "tensors", "Tensor by tensor", "Places are matrix (where there are several), row, column, from 0. Cut "
		     "off are values that their block had no code for.");
	qsort(v, n, sizeof *v, by_error);
	if (n && pair_relative(v[0]) > 0) {
		size_t worst = 0;

		while (worst < n && worst < MOST_WORST && pair_relative(v[worst]) > 0)
			worst++;
		html_put(h, "<h3>The %zu with the largest relative error</h3>\n", worst);
		put_pairs(h, v, worst);
	}
	for (n = 0; n < c->n_pairs; n++)
		v[n] = &c->pairs[n];
	html_put(h, "<details><summary>All %zu, in the order of A</summary>\n", n);
	put_pairs(h, v, n < MOST_ROWS ? n : MOST_ROWS);
	html_put(h, n > MOST_ROWS ? "<p>And %zu more; --json has all.</p></details>\n" : "</details>\n", n - MOST_ROWS);
	html_section_end(h);
	free(v);
	return OK;
}

/* ---- what one side lacks ---- */

static void put_names(struct html *h, const char *path, const struct tensor *const *v, size_t n)
{
	if (!n)
		return;
	html_put(h, "<details><summary>%zu only in ", n);
	html_textz(h, path);
	html_put(h, "</summary><p>");
	for (size_t i = 0; i < n && i < MOST_NAMES; i++) {
		html_put(h, "%s<span class=\"name\">", i ? ", " : "");
		html_text(h, v[i]->name);
		html_put(h, "</span>");
	}
	html_put(h, "%s</p></details>\n", n > MOST_NAMES ? " and others; --json has all" : "");
}

static void put_missing(struct html *h, const struct comparison *c)
{
	if (c->n_only_a + c->n_only_b == 0)
		return;
	html_section(h, "missing", "On one side alone", NULL);
	put_names(h, c->a.path, c->only_a, c->n_only_a);
	put_names(h, c->b.path, c->only_b, c->n_only_b);
	html_section_end(h);
}

enum status cmd_html_compare(const struct html_compare *r, struct output *to, struct err *e)
{
	const struct tensors *a = &r->c->a, *b = &r->c->b;
	struct counts n = count_pairs(r->c);
	struct html h = { 0 };
	enum status st;

	html_begin(&h, "tensors of two models");
	put_verdict(&h, r, &n);
	put_keys(&h, r->c, &n);
	put_totals(&h, r);
	TRY(cmd_html_maps(&h, r->c, e));
	TRY(put_tensors(&h, r->c, e));
	put_missing(&h, r->c);
	html_section(&h, "provenance", "Where this comes from", NULL);
	html_put(&h, "<div class=\"two\">\n");
	cmd_html_model(&h, "A", a->path, a->is_gguf ? &a->set : NULL, &a->model.ckpt);
	cmd_html_model(&h, "B", b->path, b->is_gguf ? &b->set : NULL, &b->model.ckpt);
	html_put(&h, "</div>\n");
	cmd_html_command(&h, r->words);
	html_section_end(&h);
	html_end(&h);
	st = html_write(&h, to, e);
out:
	html_close(&h);
	return st;
}
