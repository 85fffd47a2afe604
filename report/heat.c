/* SPDX-License-Identifier: MIT
 *
 * heat.c - a map of cells. A small map has a rectangle and a title a cell; a large one a path for each step of colour, in
 * which neighbours are one, and a title a row: 61 layers of 384 experts stay a quarter of a megabyte.
 */
#include "report/plot.h"

#include <math.h>

enum { STEPS = 9, WIDEST = 880, MOST_TITLES = 6000, MARGIN_TOP = 4, MARGIN_BOTTOM = 34 };
enum { EQUAL = -1, ABSENT = -2, WRONG = -3 };	/* in place of a step */

struct grid { const struct heat *m; double low, high; int cell_w, cell_h, left; };

/* The least and the largest value above 0, in logarithms; at least a quarter apart, so that equals look alike. */
static void find_range(struct grid *g)
{
	double low = INFINITY, high = -INFINITY, middle;

	for (size_t i = 0; i < g->m->n_rows * g->m->n_cols; i++) {
		double v = g->m->v[i];

		if (!(v > 0) || isinf(v))
			continue;
		low = fmin(low, log10(v));
		high = fmax(high, log10(v));
	}
	if (isinf(low))
		low = high = 0;
	middle = (low + high) / 2;
	g->low = fmin(low, middle - log10(1.25) / 2);
	g->high = fmax(high, middle + log10(1.25) / 2);
}

static size_t x_of(const struct grid *g, size_t col)
{
	return (size_t)g->left + col * (size_t)g->cell_w;
}

static size_t y_of(const struct grid *g, size_t row)
{
	return MARGIN_TOP + row * (size_t)g->cell_h;
}

static int step_of(const struct grid *g, double v)
{
	int step;

	if (isnan(v))
		return ABSENT;
	if (v == 0)
		return EQUAL;
	if (v < 0 || isinf(v))
		return WRONG;
	step = (int)floor((log10(v) - g->low) / (g->high - g->low) * STEPS);
	return step < 0 ? 0 : step >= STEPS ? STEPS - 1 : step;
}

static int step_at(const struct grid *g, size_t row, size_t col)
{
	return step_of(g, g->m->v[row * g->m->n_cols + col]);
}

static void put_class(struct html *h, int step)
{
	if (step >= 0)
		html_put(h, "class=\"s%d\"", step);
	else
		html_put(h, "class=\"%s\"", step == EQUAL ? "same" : "wrong");
}

static void put_value(struct html *h, const struct heat *m, double v)
{
	if (v == 0)
		html_put(h, "%s", m->equal);
	else if (v < 0 || isinf(v))
		html_put(h, "values that are no finite numbers");
	else
		html_number(h, v, 3);
}

/* ---- cells ---- */

static void put_cells(struct html *h, const struct grid *g)
{
	const struct heat *m = g->m;

	for (size_t r = 0; r < m->n_rows; r++)
		for (size_t c = 0; c < m->n_cols; c++) {
			int step = step_at(g, r, c);

			if (step == ABSENT)
				continue;
			html_put(h, "<rect ");
			put_class(h, step);
			html_put(h, " x=\"%zu\" y=\"%zu\" width=\"%d\" height=\"%d\"><title>", x_of(g, c), y_of(g, r),
				 g->cell_w - (g->cell_w > 5), g->cell_h - 1);
			html_put(h, "%s", m->row_word);
			m->row_name(m->ctx, h, r);
			html_put(h, ", %s ", m->columns);
			m->col_name(m->ctx, h, c);
			html_put(h, ": ");
			put_value(h, m, m->v[r * m->n_cols + c]);
			html_put(h, "</title></rect>\n");
		}
}

/* All cells of one step: runs of neighbours in a row. */
static void put_step(struct html *h, const struct grid *g, int step)
{
	const struct heat *m = g->m;

	html_put(h, "<path ");
	put_class(h, step);
	html_put(h, " d=\"");
	for (size_t r = 0; r < m->n_rows; r++)
		for (size_t c = 0, end; c < m->n_cols; c = end) {
			end = c + 1;
			if (step_at(g, r, c) != step)
				continue;
			while (end < m->n_cols && step_at(g, r, end) == step)
				end++;
			html_put(h, "M%zu %zuh%zuv%dh-%zuz", x_of(g, c), y_of(g, r), x_of(g, end) - x_of(g, c),
				 g->cell_h - 1, x_of(g, end) - x_of(g, c));
		}
	html_put(h, "\"/>\n");
}

/* A row's extremes, under the pointer. */
static void put_row_title(struct html *h, const struct grid *g, size_t r)
{
	const struct heat *m = g->m;
	const double *v = m->v + r * m->n_cols;
	size_t n = 0, n_equal = 0, n_wrong = 0, worst = 0;

	for (size_t c = 0; c < m->n_cols; c++) {
		int step = step_at(g, r, c);

		n += step != ABSENT;
		n_equal += step == EQUAL;
		n_wrong += step == WRONG;
		if (step >= 0 && !(v[c] <= v[worst]))
			worst = c;
	}
	html_put(h, "<rect class=\"over-row\" x=\"%d\" y=\"%zu\" width=\"%zu\" height=\"%d\"><title>", g->left,
		 y_of(g, r), m->n_cols * (size_t)g->cell_w, g->cell_h);
	html_put(h, "%s", m->row_word);
	m->row_name(m->ctx, h, r);
	html_put(h, ": %zu cells, %zu %s, %zu with bad values", n, n_equal, m->equal, n_wrong);
	if (n > n_equal + n_wrong) {
		html_put(h, "; largest in %s ", m->columns);
		m->col_name(m->ctx, h, worst);
		html_put(h, ": ");
		html_number(h, v[worst], 3);
	}
	html_put(h, "</title></rect>\n");
}

/* ---- what is around them ---- */

static void put_names(struct html *h, const struct grid *g)
{
	const struct heat *m = g->m;
	size_t rows = g->cell_h >= 11 ? 1 : (size_t)(11 / g->cell_h) + 1;
	size_t cols = 1;
	int y = MARGIN_TOP + (int)m->n_rows * g->cell_h;

	while (cols * (size_t)g->cell_w < (m->n_cols > 100 ? 30u : 22u))	/* a label's room */
		cols *= 2;
	for (size_t r = 0; r < m->n_rows; r += rows) {
		html_put(h, "<text class=\"end\" x=\"%d\" y=\"%.1f\">", g->left - 6,
			 MARGIN_TOP + (double)r * g->cell_h + g->cell_h / 2.0 + 4);
		m->row_name(m->ctx, h, r);
		html_put(h, "</text>\n");
	}
	for (size_t c = 0; c < m->n_cols; c += cols) {
		html_put(h, "<text class=\"mid\" x=\"%.1f\" y=\"%d\">", g->left + ((double)c + 0.5) * g->cell_w, y + 13);
		m->col_name(m->ctx, h, c);
		html_put(h, "</text>\n");
	}
	html_put(h, "<text class=\"mid name\" x=\"%.1f\" y=\"%d\">%s</text>\n", g->left + (double)m->n_cols * g->cell_w / 2, y + 29,
		 m->columns);
}

static void put_legend(struct html *h, const struct grid *g, bool any, bool any_equal, bool any_wrong)
{
	html_put(h, "<p class=\"legend\">");
	if (any) {
		html_put(h, "<span>%s</span> <span>", g->m->value);
		html_number(h, pow(10, g->low), 2);
		html_put(h, "</span><svg width=\"144\" height=\"12\" aria-hidden=\"true\">");
		for (int i = 0; i < STEPS; i++)
			html_put(h, "<rect class=\"s%d\" x=\"%d\" width=\"16\" height=\"12\"/>", i, 16 * i);
		html_put(h, "</svg><span>");
		html_number(h, pow(10, g->high), 2);
		html_put(h, " (logarithmic)</span>");
	}
	if (any_equal)
		html_put(h, " <span><svg width=\"12\" height=\"12\" aria-hidden=\"true\"><rect class=\"same\" width=\"12\" "
			 "height=\"12\"/></svg> %s</span>", g->m->equal);
	if (any_wrong)
		html_put(h, " <span><svg width=\"12\" height=\"12\" aria-hidden=\"true\"><rect class=\"wrong\" width=\"12\" "
			 "height=\"12\"/></svg> not finite</span>");
	html_put(h, "</p>\n");
}

static void put_map(struct html *h, const struct grid *g)
{
	const struct heat *m = g->m;
	size_t width = (size_t)g->left + m->n_cols * (size_t)g->cell_w + 12;
	size_t height = MARGIN_TOP + m->n_rows * (size_t)g->cell_h + MARGIN_BOTTOM;

	html_put(h, "<div class=\"wide\" tabindex=\"0\">\n<svg class=\"heat\" width=\"%zu\" height=\"%zu\" role=\"img\" "
		 "aria-label=\"%s\">\n", width, height, m->label);
	if (m->n_rows * m->n_cols <= MOST_TITLES) {
		put_cells(h, g);
	} else {
		for (int step = WRONG; step < STEPS; step++)
			if (step != ABSENT)
				put_step(h, g, step);
		for (size_t r = 0; r < m->n_rows; r++)
			put_row_title(h, g, r);
	}
	put_names(h, g);
	html_put(h, "</svg></div>\n");
}

void heat_put(struct html *h, const struct heat *m)
{
	struct grid g = { .m = m, .left = m->margin };
	bool any = false, any_equal = false, any_wrong = false;

	find_range(&g);
	g.cell_w = m->n_cols ? WIDEST / (int)(m->n_cols < WIDEST ? m->n_cols : WIDEST) : 1;
	g.cell_w = g.cell_w > 26 ? 26 : g.cell_w < 2 ? 2 : g.cell_w;
	g.cell_h = m->n_rows > 45 ? 9 : m->n_rows > 30 || m->n_cols > 64 ? 14 : 17;
	for (size_t i = 0; i < m->n_rows * m->n_cols; i++) {
		any |= step_of(&g, m->v[i]) >= 0;
		any_equal |= step_of(&g, m->v[i]) == EQUAL;
		any_wrong |= step_of(&g, m->v[i]) == WRONG;
	}
	html_put(h, "<figure class=\"map\">\n");
	put_legend(h, &g, any, any_equal, any_wrong);
	put_map(h, &g);
	html_put(h, "</figure>\n");
}
