/* SPDX-License-Identifier: MIT
 *
 * plot.h - pictures in a page, as SVG: a frame with axes and what is drawn in it, and a map of cells.
 *
 * Colours come from the page's style sheet, by class, so a picture is right in light, dark and print. Whatever has a
 * title shows it under the pointer. Labels are the caller's own text (html_put's rule).
 */
#ifndef REPORT_PLOT_H
#define REPORT_PLOT_H

#include "report/html.h"

/* ---- plot.c -------------------------------------------------------------------------------------*/

enum { PLOT_WIDTH = 500, PLOT_HEIGHT = 300 };
struct plot {
	struct html *h;
	double left, right, top, bottom;	/* the frame, in the picture */
	double x0, x1, y0, y1;			/* what it shows; logarithms where an axis has them */
	unsigned n_rules;
};
/* A figure whose label says what it shows; the fields x0..y1 are set. rules: how many rulers will be labelled. */
void plot_begin(struct plot *p, const char *label, unsigned rules);
void plot_x_tick(struct plot *p, double at, const char *label);
void plot_y_tick(struct plot *p, double at, const char *label);
/* Ticks at 1, 2 or 5 times a power of ten, four to eight of them. */
void plot_y_ticks(struct plot *p);
/* The axis holds log10 of its values: ticks at powers of ten, and at 2 and 5 times them where there are few. */
void plot_y_decades(struct plot *p);
void plot_axes(struct plot *p, const char *x, const char *y);
/* From the bottom to y; class "" or one of the style sheet's. A bar that has any height is seen. */
void plot_bar_begin(struct plot *p, double from, double to, double y, const char *class);
void plot_bar_end(struct plot *p);		/* between them: the title's text */
/* A vertical ruler with a label at the top. */
void plot_rule(struct plot *p, double at, const char *label);
void plot_dot_begin(struct plot *p, double x, double y);
void plot_dot_end(struct plot *p);
/* A line through points (x, y)[n]; one whose y is NaN interrupts it. */
void plot_line(struct plot *p, const double *xy, size_t n);
/* Between low and high at each x: (x, low, high)[n]. */
void plot_band(struct plot *p, const double *xyy, size_t n);
void plot_end(struct plot *p);
/* "10⁻³"; buf of 24 bytes, returned. */
const char *plot_power(char buf[24], int power);

/* ---- heat.c --------------------------------------------------------------------------------------*/

/* A map of rows by columns, coloured by the logarithm of a value: nine steps from the least to the largest. 0 means
 * equal, infinity or less than nothing that a value is bad, NaN that there is no such cell. */
struct heat {
	const char *label;		/* what it shows, for those who do not see it */
	const char *value, *equal;	/* legend: "relative error"; what 0 means */
	const char *columns;		/* axis below: "expert" */
	const char *row_word;		/* before a row's name in titles: "layer ", or "" */
	int margin;			/* room for the rows' names, in pixels */
	size_t n_rows, n_cols;
	const double *v;		/* borrowed: (n_rows, n_cols) */
	void *ctx;
	void (*row_name)(void *ctx, struct html *h, size_t row);	/* escaped by the callee */
	void (*col_name)(void *ctx, struct html *h, size_t col);
};
void heat_put(struct html *h, const struct heat *m);

#endif
