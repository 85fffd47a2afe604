/* SPDX-License-Identifier: MIT
 *
 * error.h - how far numbers moved: sums over pairs of float32, and what follows from them.
 *
 * A zeroed struct is empty. Sums are taken in the order of the elements, so whoever adds the same
 * runs and merges them in the same order gets the same bits, whatever thread did it.
 */
#ifndef QUANTIZE_ERROR_H
#define QUANTIZE_ERROR_H

#include "quantize/quantize.h"

/* x is the source, y what became of it, d = y - x. A pair with a NaN or an infinite value is counted
 * and left out of the sums. */
struct error_sums {
	uint64_t n;			/* finite pairs */
	uint64_t x_nan, x_inf, y_nan, y_inf;
	uint64_t saturated;		/* of a block type: see codec_saturated */
	double xx, yy, xy, dd;		/* sums of x*x, y*y, x*y, d*d */
	double max;			/* the largest |d| */
	double worst;			/* the largest sum of d*d over sum of x*x of one block; infinite
					 * where only zeros moved */
	uint64_t max_at, worst_at;	/* the element; the first element of the block */
};
/* Adds n pairs whose first is element `at` of its tensor; blocks of `block` pairs, counted from the
 * first (0: no worst block). */
void error_add(struct error_sums *s, const float *x, const float *y, size_t n, size_t block, uint64_t at);
/* Adds the sums of later elements. (Of another tensor: then both positions mean nothing any more.) */
void error_merge(struct error_sums *s, const struct error_sums *later);
double error_rms(const struct error_sums *s);		/* root of the mean d*d; 0 for no pair */
double error_relative(const struct error_sums *s);	/* error_rms over the source's; 0 if nothing moved */
double error_cosine(const struct error_sums *s);	/* 1 where both are zeros, 0 where one is */

/* How many of x[n] lie further outside the values that their blocks could hold than half the last
 * step: no code was left for them. n is a whole number of blocks; 0 for plain types. */
uint64_t codec_saturated(enum dtype t, const uint8_t *blocks, size_t n, const float *x);

#endif
