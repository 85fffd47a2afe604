/* SPDX-License-Identifier: MIT
 *
 * plot.c - a frame with axes, and bars, lines and dots in it.
 */
#include "report/plot.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { RULE_STEP = 15 };		/* height of a ruler's label */

static double x_at(const struct plot *p, double v)
{
	return p->left + (v - p->x0) / (p->x1 - p->x0) * (p->right - p->left);
}

static double y_at(const struct plot *p, double v)
{
	double y = p->bottom - (v - p->y0) / (p->y1 - p->y0) * (p->bottom - p->top);

	return y < p->top ? p->top : y > p->bottom ? p->bottom : y;
}

void plot_begin(struct plot *p, const char *label, unsigned rules)
{
	if (!(p->x1 > p->x0))
		p->x1 = p->x0 + 1;
	if (!(p->y1 > p->y0))
		p->y1 = p->y0 + 1;
	p->left = 64;
	p->right = PLOT_WIDTH - 10;
	p->top = 10 + RULE_STEP * (double)rules;
	p->bottom = PLOT_HEIGHT - 42;
	p->n_rules = 0;
	html_put(p->h, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n", PLOT_WIDTH, PLOT_HEIGHT, label);
}

void plot_x_tick(struct plot *p, double at, const char *label)
{
	double x = x_at(p, at);

	html_put(p->h, "<path class=\"tick\" d=\"M%.1f %.1fv4\"/><text x=\"%.1f\" y=\"%.1f\" class=\"mid\">%s</text>\n", x,
		 p->bottom, x, p->bottom + 17, label);
}

void plot_y_tick(struct plot *p, double at, const char *label)
{
	double y = y_at(p, at);

	html_put(p->h, "<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/><text x=\"%.1f\" y=\"%.1f\" class=\"end\">%s</text>\n",
		 p->left, y, p->right, p->left - 6, y + 4, label);
}

void plot_y_ticks(struct plot *p)
{
	double span = p->y1 - p->y0, step = pow(10, floor(log10(span / 4)));
	char buf[48];
	int decimals;

	step *= span / step >= 20 ? 5 : span / step >= 10 ? 2 : 1;
	decimals = step >= 1 ? 0 : (int)ceil(-log10(step) - 1e-9);
	for (int i = 0; i <= 40 && p->y0 + step * i <= p->y1 * (1 + 1e-9); i++) {
		double v = p->y0 + step * i;

		if (decimals > 5 || v >= 1e6)
			html_number_text(buf, v, 2);
		else
			snprintf(buf, sizeof buf, "%.*f", decimals, v);
		plot_y_tick(p, v, buf);
	}
}

const char *plot_power(char buf[24], int power)
{
	static const char *const raised[] = { "⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹" };
	int n = power < 0 ? -power : power;

	if (power == 0 || power == 1)
		snprintf(buf, 24, power ? "10" : "1");
	else
		snprintf(buf, 24, "10%s%s%s", power < 0 ? "⁻" : "", n > 9 ? raised[n / 10 % 10] : "", raised[n % 10]);
	return buf;
}

void plot_y_decades(struct plot *p)
{
	static const int parts[] = { 1, 2, 5 };
	double span = p->y1 - p->y0;
	char buf[48];

	for (int d = (int)floor(p->y0); d <= (int)ceil(p->y1); d++) {
		if (span > 8 && d % 2)
			continue;
		for (int k = 0; k < (span < 2.2 ? 3 : 1); k++) {
			double v = d + log10(parts[k]);

			if (v > p->y0 - 1e-9 && v < p->y1 + 1e-9)
				plot_y_tick(p, v, k ? html_number_text(buf, pow(10, v), 1) : plot_power(buf, d));
		}
	}
}

void plot_axes(struct plot *p, const char *x, const char *y)
{
	html_put(p->h, "<path class=\"axis\" d=\"M%.1f %.1fH%.1f\"/>", p->left, p->bottom, p->right);
	html_put(p->h, "<text x=\"%.1f\" y=\"%d\" class=\"mid name\">%s</text>", (p->left + p->right) / 2, PLOT_HEIGHT - 6, x);
	html_put(p->h, "<text transform=\"translate(12 %.1f) rotate(-90)\" class=\"mid name\">%s</text>\n",
		 (p->top + p->bottom) / 2, y);
}

void plot_bar_begin(struct plot *p, double from, double to, double y, const char *class)
{
	double a = x_at(p, from), b = x_at(p, to), top = y_at(p, y);

	if (y > p->y0 && top > p->bottom - 1.5)
		top = p->bottom - 1.5;
	html_put(p->h, "<rect class=\"bar %s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>", class, a + 0.5, top,
		 b - a > 2 ? b - a - 1 : b - a, p->bottom - top);
}

void plot_bar_end(struct plot *p)
{
	html_put(p->h, "</title></rect>\n");
}

void plot_rule(struct plot *p, double at, const char *label)
{
	double x = x_at(p, at), y = 14 + RULE_STEP * (double)p->n_rules++;
	bool left = x > (p->left + p->right) / 2;

	html_put(p->h, "<path class=\"rule\" d=\"M%.1f %.1fV%.1f\"/><text x=\"%.1f\" y=\"%.1f\" class=\"%s rule-name\">%s</text>\n",
		 x, y - 9, p->bottom, left ? x - 4 : x + 4, y, left ? "end" : "start", label);
}

void plot_dot_begin(struct plot *p, double x, double y)
{
	html_put(p->h, "<circle class=\"dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.2\"><title>", x_at(p, x), y_at(p, y));
}

void plot_dot_end(struct plot *p)
{
	html_put(p->h, "</title></circle>\n");
}

void plot_line(struct plot *p, const double *xy, size_t n)
{
	bool on = false;

	html_put(p->h, "<path class=\"line\" d=\"");
	for (size_t i = 0; i < n; i++) {
		if (isnan(xy[2 * i + 1])) {
			on = false;
			continue;
		}
		html_put(p->h, "%c%.1f %.1f", on ? 'L' : 'M', x_at(p, xy[2 * i]), y_at(p, xy[2 * i + 1]));
		on = true;
	}
	html_put(p->h, "\"/>\n");
}

void plot_band(struct plot *p, const double *xyy, size_t n)
{
	html_put(p->h, "<path class=\"band\" d=\"");
	for (size_t i = 0; i < n; i++)
		html_put(p->h, "%c%.1f %.1f", i ? 'L' : 'M', x_at(p, xyy[3 * i]), y_at(p, xyy[3 * i + 1]));
	for (size_t i = n; i-- > 0;)
		html_put(p->h, "L%.1f %.1f", x_at(p, xyy[3 * i]), y_at(p, xyy[3 * i + 2]));
	html_put(p->h, "Z\"/>\n");
}

void plot_end(struct plot *p)
{
	html_put(p->h, "</svg>\n");
}
