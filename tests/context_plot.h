/* SPDX-License-Identifier: MIT
 *
 * context_plot.h - the figure of tool_context: two panels over the context, one SVG file that is
 * readable on light and on dark pages.
 */
#ifndef TESTS_CONTEXT_PLOT_H
#define TESTS_CONTEXT_PLOT_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>

enum { PARTS = 4, MAX_POINTS = 16 };	/* what a token costs: see part_names */
static const char *const part_names[PARTS] = { "the same for every context", "window and picked rows",
					       "rows of 128 tokens", "index over rows of 4 tokens" };
struct point {
	uint32_t n;			/* tokens of context */
	double prefill;			/* tokens a second, since the point before */
	double ms;			/* of one thread for a decoded token, the lower quartile */
	double work[PARTS];		/* multiply-adds a token; [0] is 1 */
	uint64_t kv, resident;		/* bytes: the formula's, and those of pages in memory */
	uint64_t plain;			/* a row for each token and layer */
};
struct figure { const struct point *p; size_t n; double cost[PARTS]; /* ms a unit of work */ };

struct panel { double x, y, w, h, low, high; int log_scale; };	/* pixels; values of the y axis */

static double across(const struct figure *f, const struct panel *a, double n)
{
	double first = log2(f->p[0].n), last = log2(f->p[f->n - 1].n);

	return a->x + a->w * (log2(n) - first) / (last - first);
}

static double upward(const struct panel *a, double v)
{
	double part = a->log_scale ? log(v / a->low) / log(a->high / a->low) : (v - a->low) / (a->high - a->low);

	return a->y + a->h * (1 - part);
}

static void text(FILE *o, double x, double y, const char *anchor, const char *s)
{
	fprintf(o, "<text x='%.1f' y='%.1f' text-anchor='%s'>%s</text>\n", x, y, anchor, s);
}

static const char *amount(double v, char out[16])
{
	const char *unit = v >= 1 << 30 ? "G" : v >= 1 << 20 ? "M" : v >= 1 << 10 ? "k" : "";
	double d = v >= 1 << 30 ? v / (1 << 30) : v >= 1 << 20 ? v / (1 << 20) : v >= 1 << 10 ? v / (1 << 10) : v;

	snprintf(out, 16, "%g%s", d, unit);
	return out;
}

static void axes(FILE *o, const struct figure *f, const struct panel *a, const char *title)
{
	char s[16];

	fprintf(o, "<text x='%.1f' y='%.1f' class='title'>%s</text>\n", a->x, a->y - 14, title);
	for (size_t i = f->n > 9 ? (f->n - 1) % 2 : 0; i < f->n; i += f->n > 9 ? 2 : 1)
		text(o, across(f, a, f->p[i].n), a->y + a->h + 18, "middle", amount(f->p[i].n, s));
	text(o, a->x + a->w / 2, a->y + a->h + 36, "middle", "tokens of context");
	for (int i = 0; i <= 5; i++) {
		double v = a->log_scale ? a->low * pow(a->high / a->low, i / 5.0) : a->low + (a->high - a->low) * i / 5;
		double y = upward(a, v);

		fprintf(o, "<line x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f' class='grid'/>\n", a->x, a->x + a->w, y, y);
		text(o, a->x - 8, y + 4, "end", amount(v, s));
	}
}

static double up_to(const struct figure *f, const struct point *p, int part)
{
	double sum = 0;

	for (int k = 0; k <= part; k++)
		sum += f->cost[k] * p->work[k];
	return sum;
}

/* The fitted parts on top of each other, and what was measured. */
static void draw_cost(FILE *o, const struct figure *f, const struct panel *a)
{
	axes(o, f, a, "A decoded token, milliseconds of one thread");
	for (int k = PARTS - 1; k >= 0; k--) {	/* each covers the lower part of the one before */
		fprintf(o, "<path class='p%d' d='M%.1f %.1f", k, a->x, a->y + a->h);
		for (size_t i = 0; i < f->n; i++)
			fprintf(o, "L%.1f %.1f", across(f, a, f->p[i].n), upward(a, up_to(f, &f->p[i], k)));
		fprintf(o, "L%.1f %.1fZ'/>\n", a->x + a->w, a->y + a->h);
		fprintf(o, "<rect class='p%d' x='%.1f' y='%.1f' width='11' height='11'/>\n", k, a->x + 12,
			a->y + 26 + 17 * (PARTS - 1 - k));
		text(o, a->x + 29, a->y + 36 + 17 * (PARTS - 1 - k), "start", part_names[k]);
	}
	for (size_t i = 0; i < f->n; i++)
		fprintf(o, "<circle class='dot' cx='%.1f' cy='%.1f' r='4'/>\n", across(f, a, f->p[i].n),
			upward(a, f->p[i].ms));
	fprintf(o, "<circle class='dot' cx='%.1f' cy='%.1f' r='4'/>\n", a->x + 17.5, a->y + 14.5);
	text(o, a->x + 29, a->y + 19, "start", "measured; below, the fit");
}

static void line(FILE *o, const struct figure *f, const struct panel *a, const char *class, int plain)
{
	for (size_t i = 0; i < f->n; i++)
		fprintf(o, "%s%.1f %.1f", i ? "L" : "<path d='M", across(f, a, f->p[i].n),
			upward(a, (double)(plain ? f->p[i].plain : f->p[i].kv)));
	fprintf(o, "' class='%s'/>\n", class);
}

static void draw_bytes(FILE *o, const struct figure *f, const struct panel *a)
{
	axes(o, f, a, "State of a sequence, bytes");
	line(o, f, a, "plain", 1);
	line(o, f, a, "formula", 0);
	for (size_t i = 0; i < f->n; i++)
		fprintf(o, "<circle class='dot' cx='%.1f' cy='%.1f' r='4'/>\n", across(f, a, f->p[i].n),
			upward(a, (double)f->p[i].resident));
	fprintf(o, "<path class='plain' d='M%.1f %.1fh22'/><path class='formula' d='M%.1f %.1fh22'/>"
		"<circle class='dot' cx='%.1f' cy='%.1f' r='4'/>\n", a->x + 12, a->y + 15, a->x + 12, a->y + 32,
		a->x + 23, a->y + 49);
	text(o, a->x + 42, a->y + 19, "start", "a row for every token and layer");
	text(o, a->x + 42, a->y + 36, "start", "the formula");
	text(o, a->x + 42, a->y + 53, "start", "in memory");
}

/* The least of 1, 2, 4, 5, 8 times a power of ten that is not less. */
static double round_up(double v)
{
	static const double steps[] = { 1, 2, 4, 5, 8, 10 };
	double unit = pow(10, floor(log10(v)));
	int i = 0;

	while (i < 5 && steps[i] * unit < v)
		i++;
	return steps[i] * unit;
}

static void draw(FILE *o, const struct figure *f)
{
	double most = 0;
	struct panel cost = { 60, 50, 380, 260, 0, 0, 0 }, bytes = { 530, 50, 330, 260, 0, 0, 1 };

	for (size_t i = 0; i < f->n; i++)
		most = fmax(most, fmax(f->p[i].ms, up_to(f, &f->p[i], PARTS - 1)) *
				  (i < f->n / 2 ? 1.7 : 1));	/* the legend is above the left half */
	cost.high = round_up(most * 1.05 / 5) * 5;
	bytes.low = exp2(floor(log2(fmin((double)f->p[0].kv, (double)f->p[0].plain))));
	for (bytes.high = bytes.low; bytes.high < (double)f->p[f->n - 1].plain; bytes.high *= 32)
		;
	fprintf(o, "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 890 360' font-family='sans-serif' "
		"font-size='12'>\n<title>What a longer context costs</title>\n<style>\n"
		".bg{fill:#fff} text{fill:#24292f} .title{font-size:14px;font-weight:bold} .grid{stroke:#d8dee4}\n"
		".dot{fill:#24292f} .formula{fill:none;stroke:#0969da;stroke-width:2}\n"
		".plain{fill:none;stroke:#8c959f;stroke-width:2;stroke-dasharray:5 4}\n"
		".p0{fill:#ced6de} .p1{fill:#8fc1f5} .p2{fill:#f2b36b} .p3{fill:#b9a2ec}\n"
		"@media (prefers-color-scheme:dark){.bg{fill:#0d1117} text{fill:#e6edf3} .grid{stroke:#30363d}\n"
		".dot{fill:#f0f6fc} .formula{stroke:#4493f8} .plain{stroke:#848d97}\n"
		".p0{fill:#3d444d} .p1{fill:#1f5fa8} .p2{fill:#9a5b13} .p3{fill:#6a4cb0}}\n"
		"</style>\n<rect class='bg' width='890' height='360'/>\n");
	draw_cost(o, f, &cost);
	draw_bytes(o, f, &bytes);
	fprintf(o, "</svg>\n");
}

#endif
