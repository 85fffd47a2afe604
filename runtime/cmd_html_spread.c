/* SPDX-License-Identifier: MIT
 *
 * cmd_html_spread.c - how the differences of two models are distributed over the positions, in three pictures.
 */
#include <math.h>
#include <stdio.h>

#include "report/plot.h"
#include "runtime/cmd_html.h"

/* ---- the divergence ---- */

enum { KLD_LEAST = -12, KLD_MOST = 3, KLD_STEPS = 6 /* a power of ten */, KLD_BINS = (KLD_MOST - KLD_LEAST) * KLD_STEPS };

/* Where a divergence stands, in bins from the power of ten `from`; bin 0 has what is below it. */
static double kld_bin(double kld, int from)
{
	double at = kld > 0 ? (log10(kld) - from) * KLD_STEPS + 1 : 0;

	return at < 1 ? 0 : at;
}

static void put_positions(struct html *h, uint64_t n, uint64_t of)
{
	html_count(h, n);
	html_put(h, " position%s, ", n == 1 ? "" : "s");
	html_number(h, 100.0 * (double)n / (double)of, 3);
	html_put(h, " %%");
}

static void put_kld_bars(struct plot *p, const uint64_t *count, size_t n_bins, int from, uint64_t n)
{
	for (size_t i = 0; i < n_bins; i++) {
		if (!count[i])
			continue;
		plot_bar_begin(p, (double)i, (double)i + 1, (double)count[i], i ? "" : "zero");
		if (i)
			html_number(p->h, pow(10, from + (double)(i - 1) / KLD_STEPS), 2);
		html_put(p->h, i ? " to " : "up to ");
		html_number(p->h, pow(10, from + (double)i / KLD_STEPS), 2);
		html_put(p->h, ": ");
		put_positions(p->h, count[i], n);
		plot_bar_end(p);
	}
}

static void put_kld_rules(struct plot *plot, const struct parity *p, int from)
{
	const struct { const char *name; double v; } rules[] = {
		{ "median", parity_percentile(p, 50) }, { "mean", p->mean_kld.mean }, { "99 %", parity_percentile(p, 99) },
		{ "99.9 %", parity_percentile(p, 99.9) },
	};
	char label[100], number[48];

	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
		snprintf(label, sizeof label, "%s %s", rules[i].name, html_number_text(number, rules[i].v, 2));
		plot_rule(plot, kld_bin(rules[i].v, from), label);
	}
}

static void put_kld_plot(struct html *h, const struct parity *p)
{
	uint64_t count[KLD_BINS + 1] = { 0 }, most = 0, low = 0;
	struct plot plot = { .h = h };
	int from = KLD_LEAST, to;
	size_t n_bins;
	char label[24];

	while (low < p->n && !(p->kld[low] >= pow(10, KLD_LEAST)))
		low++;
	if (low < p->n)
		from = (int)floor(log10(p->kld[low]));
	to = (int)ceil(log10(parity_percentile(p, 100)));
	from = from >= KLD_MOST ? KLD_MOST - 1 : from;
	to = to > KLD_MOST ? KLD_MOST : to <= from ? from + 1 : to;
	n_bins = (size_t)((to - from) * KLD_STEPS) + 1;
	for (uint64_t i = 0; i < p->n; i++) {
		size_t at = (size_t)kld_bin(p->kld[i], from);

		at = at < n_bins ? at : n_bins - 1;
		most = ++count[at] > most ? count[at] : most;
	}
	plot.x0 = low ? 0 : 1;
	plot.x1 = (double)n_bins;
	plot.y1 = (double)most;
	html_put(h, "<figure><h3>KL divergence at a position</h3>\n");
	plot_begin(&plot, "Histogram of the KL divergence, by powers of ten", 4);
	plot_y_ticks(&plot);
	for (int d = from; d <= to; d += to - from > 8 ? 2 : 1)
		plot_x_tick(&plot, (d - from) * KLD_STEPS + 1, plot_power(label, d));
	put_kld_bars(&plot, count, n_bins, from, p->n);
	put_kld_rules(&plot, p, from);
	plot_axes(&plot, "KL divergence, nats (logarithmic)", "positions");
	plot_end(&plot);
	html_put(h, "<figcaption>%d bins to a power of ten%s.</figcaption></figure>\n", KLD_STEPS,
		 low ? "; the grey bar has those below the first of them" : "");
}

/* ---- its tail ---- */

enum { TAIL_POINTS = 200 };

/* Share of positions above each divergence, down to one position; the largest ones are all there. */
static size_t tail_points(const struct parity *p, double xy[TAIL_POINTS][2])
{
	double span = log((double)p->n);
	uint64_t before = 0;
	size_t n = 0;

	for (size_t i = TAIL_POINTS; i-- > 0;) {	/* from all of them to the last, evenly in logarithms */
		uint64_t above = (uint64_t)llround(exp(span * (double)i / (TAIL_POINTS - 1)));
		double kld = p->kld[p->n - above];

		if (above == before || !(kld >= pow(10, KLD_LEAST)))
			continue;
		before = above;
		xy[n][0] = log10(kld);
		xy[n++][1] = log10((double)above / (double)p->n);
	}
	return n;
}

static void put_tail_plot(struct html *h, const struct parity *p)
{
	double xy[TAIL_POINTS][2];
	size_t n = tail_points(p, xy);
	struct plot plot = { .h = h, .y0 = -ceil(log10((double)p->n)) };
	char label[24];

	if (n == 0)
		return;
	plot.x0 = floor(xy[0][0]);
	plot.x1 = fmax(ceil(xy[n - 1][0]), plot.x0 + 1);
	html_put(h, "<figure><h3>Share of positions above a divergence</h3>\n");
	plot_begin(&plot, "Share of positions above a divergence, both logarithmic", 0);
	plot_y_decades(&plot);
	for (double d = plot.x0; d <= plot.x1; d += plot.x1 - plot.x0 > 8 ? 2 : 1)
		plot_x_tick(&plot, d, plot_power(label, (int)d));
	plot_line(&plot, xy[0], n);
	plot_axes(&plot, "KL divergence, nats (logarithmic)", "share at or above it");
	plot_end(&plot);
	html_put(h, "<figcaption>How heavy the tail is: its last point is one position, ");
	html_number(h, parity_percentile(p, 100), 3);
	html_put(h, ".</figcaption></figure>\n");
}

/* ---- the change of a probability ---- */

/* Powers of ten that the changes reach inwards and outwards. */
static size_t steps_used(const struct spread *s)
{
	size_t n = 1;

	for (size_t i = 1; i <= SPREAD_MIDDLE; i++)
		if (s->change[SPREAD_MIDDLE - i] || s->change[SPREAD_MIDDLE + i])
			n = i;
	return (n + SPREAD_PER_DECADE - 1) / SPREAD_PER_DECADE * SPREAD_PER_DECADE;
}

static void put_change_bars(struct plot *p, const struct spread *s, size_t steps)
{
	for (size_t i = SPREAD_MIDDLE - steps; i <= SPREAD_MIDDLE + steps; i++) {
		bool falls = i < SPREAD_MIDDLE;
		size_t at = falls ? SPREAD_MIDDLE - i : i - SPREAD_MIDDLE;

		if (!s->change[i])
			continue;
		plot_bar_begin(p, (double)i, (double)i + 1, (double)s->change[i], at == 0 ? "zero" : falls ? "down" : "up");
		if (at == 0) {
			html_put(p->h, "less than 10⁻⁶ either way");
		} else {
			html_put(p->h, "%s by ", falls ? "falls" : "rises");
			html_number(p->h, spread_edge(at - 1), 2);
			html_put(p->h, " to ");
			html_number(p->h, spread_edge(at), 2);
		}
		html_put(p->h, ": ");
		put_positions(p->h, s->change[i], s->n);
		plot_bar_end(p);
	}
}

static void put_change_ticks(struct plot *p, size_t steps)
{
	size_t decades = steps / SPREAD_PER_DECADE;
	char power[24], label[32];

	plot_x_tick(p, SPREAD_MIDDLE + 0.5, "0");
	for (size_t d = 1; d <= decades; d++) {
		double at = (double)(d * SPREAD_PER_DECADE);

		if (decades > 3 && (decades - d) % 2)
			continue;
		plot_power(power, (int)d - SPREAD_DECADES);
		plot_x_tick(p, SPREAD_MIDDLE + 1 + at, power);
		snprintf(label, sizeof label, "−%s", power);
		plot_x_tick(p, SPREAD_MIDDLE - at, label);
	}
}

static void put_change_plot(struct html *h, const struct spread *s)
{
	size_t steps = steps_used(s);
	uint64_t most = 0, up = 0, down = 0;
	struct plot plot = { .h = h, .x0 = (double)(SPREAD_MIDDLE - steps), .x1 = (double)(SPREAD_MIDDLE + 1 + steps) };

	for (size_t i = 0; i < SPREAD_BINS; i++) {
		most = s->change[i] > most ? s->change[i] : most;
		*(i < SPREAD_MIDDLE ? &down : &up) += i == SPREAD_MIDDLE ? 0 : s->change[i];
	}
	plot.y1 = (double)most;
	html_put(h, "<figure><h3>Change of the correct token’s probability</h3>\n");
	plot_begin(&plot, "Histogram of the change of the correct token’s probability, by powers of ten to both sides", 0);
	plot_y_ticks(&plot);
	put_change_ticks(&plot, steps);
	put_change_bars(&plot, s, steps);
	plot_axes(&plot, "model less reference (logarithmic to both sides)", "positions");
	plot_end(&plot);
	html_put(h, "<figcaption>Probability falls at ");
	html_count(h, down);
	html_put(h, " positions, rises at ");
	html_count(h, up);
	html_put(h, "; %d bins to a power of ten.</figcaption></figure>\n", SPREAD_PER_DECADE);
}

/* ---- by place in the chunk ---- */

static size_t place_points(const struct spread *s, double xyy[SPREAD_PLACES][3], double xy[SPREAD_PLACES][2], double *most)
{
	size_t n = 0;

	*most = 0;
	for (size_t i = 0; i < SPREAD_PLACES; i++) {
		double count = (double)s->n_place[i], mean, var, error;
		uint64_t from, to;

		if (!s->n_place[i])
			continue;
		spread_place(s, i, &from, &to);
		mean = s->kld_place[i].sum / count;
		var = s->kld_place[i].sum2 / count - mean * mean;
		error = count > 1 && var > 0 ? sqrt(var / (count - 1)) : 0;
		xy[n][0] = xyy[n][0] = (double)(from + to - 1) / 2;
		xy[n][1] = mean;
		xyy[n][1] = mean - error > 0 ? mean - error : 0;
		xyy[n][2] = mean + error;
		*most = mean + error > *most ? mean + error : *most;
		n++;
	}
	return n;
}

static void put_place_plot(struct html *h, const struct html_parity *r)
{
	const struct spread *s = r->spread;
	double xyy[SPREAD_PLACES][3], xy[SPREAD_PLACES][2], most;
	struct plot plot = { .h = h, .x0 = (double)s->first, .x1 = (double)(s->first + s->scored) };
	size_t n = place_points(s, xyy, xy, &most);
	char label[32];

	plot.y1 = most;
	html_put(h, "<figure><h3>Divergence by place in the chunk</h3>\n");
	plot_begin(&plot, "Mean KL divergence by place in the chunk", 0);
	plot_y_ticks(&plot);
	for (int i = 0; i <= 4; i++) {
		double at = floor(plot.x0 + (plot.x1 - plot.x0) * i / 4);

		snprintf(label, sizeof label, "%.0f", at);
		plot_x_tick(&plot, at, label);
	}
	plot_band(&plot, xyy[0], n);
	plot_line(&plot, xy[0], n);
	for (size_t i = 0; i < n; i++) {
		plot_dot_begin(&plot, xy[i][0], xy[i][1]);
		html_put(h, "about token %.0f: mean ", xy[i][0]);
		html_number(h, xy[i][1], 3);
		plot_dot_end(&plot);
	}
	plot_axes(&plot, "tokens before the one that is predicted", "mean KL divergence, nats");
	plot_end(&plot);
	html_put(h, "<figcaption>Does the error grow with the context? The band is a standard error to both sides."
		 "</figcaption></figure>\n");
}

void cmd_html_distributions(struct html *h, const struct html_parity *r)
{
	const struct parity *p = &r->result->parity;

	if (!(parity_percentile(p, 100) > 0))
		return;	/* nothing that could be distributed */
	html_section(h, "distributions", "How it is distributed",
		     "A mean hides where the differences are. Point at a bar for its figures.");
	html_put(h, "<div class=\"two\">\n");
	put_kld_plot(h, p);
	put_tail_plot(h, p);
	put_change_plot(h, r->spread);
	put_place_plot(h, r);
	html_put(h, "</div>\n");
	html_section_end(h);
}
