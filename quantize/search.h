/* SPDX-License-Identifier: MIT
 *
 * search.h - private to quantize/: what the encoders that search have in common.
 *
 * An encoder copies a block into `struct block`, scaled by a power of two so that no square leaves
 * float32, searches there, and rounds scales to halves in the source's own units. Losses are
 * weighted sums of squares over 16 lanes (element i in lane i mod 16), added in halves: the order
 * that vector code of any width can keep.
 */
#ifndef QUANTIZE_SEARCH_H
#define QUANTIZE_SEARCH_H

#include <math.h>

#include "quantize/codecs.h"

/* x and w (at most 1; all 1 without weights) of n elements, n a multiple of 16; values are x times
 * unit. zero: nothing but zeros. */
struct block { float x[256], w[256]; int n; double unit; bool zero; };
void block_load(struct block *b, const float *x, const float *weight, int n);
/* The finite half nearest to d (in the block's units), and what it is worth there. */
uint16_t half_near(const struct block *b, double d, float *value);

/* Values that codes stand for: the whole numbers lo..hi, or iq4_values. Code 0 is lo. */
struct grid { int lo, hi; bool iq4; };
/* The grid's number nearest to v, which may be far outside; ties are even (whole numbers) or up. */
float grid_near(const struct grid *g, float v);
unsigned grid_code(const struct grid *g, float v);

/* 1 / d, and 0 where that would leave float32. */
static inline float scale_inverse(float d)
{
	return fabsf(d) > 0x1p-120f ? 1 / d : 0;
}

/* Loss of n elements at scale d, each with its nearest code. */
float scale_loss(const float *x, const float *w, int n, const struct grid *g, float d);
/* Sums over those codes c: w x c and w c c. The scale of least loss for them is xc / cc. */
struct scale_sums { double xc, cc; };
struct scale_sums scale_sums(const float *x, const float *w, int n, const struct grid *g, float d);
/* The scale, of either sign and real, of least loss among `tries` spread evenly for each sign, each
 * followed by the best scale for its codes. */
float scale_search(const float *x, const float *w, int n, const struct grid *g, int tries);
/* The half of least loss for all of a block of 32: every assignment of codes that any scale
 * makes is visited, so nothing is better. */
uint16_t scale_exact(const struct block *b, const struct grid *g, float *value);
/* A block of 32 as half and nibbles: Q4_0, IQ4_NL. */
void scale_encode(const float *x, const float *weight, const struct grid *g, enum effort effort, uint8_t *b);

/* y = d code - m, codes 0..top. */
struct affine { float d, m; };
float affine_loss(const float *x, const float *w, int n, int top, struct affine a);
unsigned affine_code(float x, int top, struct affine a);
/* Sums over the nearest codes c: w c, w c c, w x c; and of w and w x. */
struct affine_sums { double w, x, c, cc, xc; };
struct affine_sums affine_sums(const float *x, const float *w, int n, int top, struct affine a);
/* Scale d >= 0 and minimum of small loss, real; m >= 0 if below is set. tries scales are begun
 * with, at `phases` minimums each. */
struct affine affine_search(const float *x, const float *w, int n, int top, bool below, int tries, int phases);

/* ---- super.c: groups under small whole scales of one half for all ---------------------------*/

/* n_groups groups of `size`, each with a scale in lo..hi: IQ4_XS, Q6_K. */
struct super_kind { struct grid grid; int n_groups, size, lo, hi; };
struct super { uint16_t half; float d; int scale[16]; };
void super_search(const struct block *b, const struct super_kind *kind, enum effort effort, struct super *s);

/* 8 groups of 32 with scale and minimum in 0..63 each, y = d scale code - m min: Q4_K, Q5_K. */
struct pair_super { uint16_t half_d, half_m; float d, m; int scale[8], min[8]; };
void pair_search(const struct block *b, int top, enum effort effort, struct pair_super *s);

#endif
