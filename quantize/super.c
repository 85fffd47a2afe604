/* SPDX-License-Identifier: MIT
 *
 * super.c - the search for blocks of 256 whose groups have small whole scales under one half.
 *
 * First each group's best real scale; then the half, from several that take the largest of those
 * to numbers near the end of the range; whole scales about their targets by the loss itself; and
 * the best half for the codes that came of it, again and again while the loss falls.
 */
#include "quantize/search.h"

#include <math.h>
#include <string.h>

/* How far a search goes. */
struct reach { int tries, phases, halves, radius, rounds; };

static struct reach reach_of(enum effort effort)
{
	return effort == EFFORT_BEST ? (struct reach){ 16, 8, 12, 2, 4 } : (struct reach){ 6, 2, 1, 1, 1 };
}

static int whole_near(double v, int lo, int hi)
{
	double r = floor(v + 0.5);

	return r > lo ? r < hi ? (int)r : hi : lo;
}

/* ---- one scale ------------------------------------------------------------------------------*/

/* Scales by loss within `radius` of target / d, in every group; their loss in all. */
static double pick_scales(const struct block *b, const struct super_kind *kind, const float *target, int radius,
			  struct super *s)
{
	double sum = 0;

	for (int j = 0; j < kind->n_groups; j++) {
		const float *x = b->x + j * kind->size, *w = b->w + j * kind->size;
		int middle = whole_near((double)target[j] / (double)s->d, kind->lo, kind->hi);
		float least = INFINITY;

		for (int q = middle - radius; q <= middle + radius; q++) {
			if (q < kind->lo || q > kind->hi)
				continue;
			float loss = scale_loss(x, w, kind->size, &kind->grid, s->d * (float)q);
			if (loss < least) {
				least = loss;
				s->scale[j] = q;
			}
		}
		sum += (double)least;
	}
	return sum;
}

/* The best half for the codes of s, then the best scales for that half. */
static bool improve(const struct block *b, const struct super_kind *kind, int radius, struct super *s, double *loss)
{
	struct super next = { 0 };
	double xc = 0, cc = 0;
	float target[16];

	for (int j = 0; j < kind->n_groups; j++) {
		double q = s->scale[j];
		struct scale_sums t = scale_sums(b->x + j * kind->size, b->w + j * kind->size, kind->size,
						 &kind->grid, s->d * (float)q);
		xc += q * t.xc;
		cc += q * q * t.cc;
		target[j] = s->d * (float)q;
	}
	if (!(cc > 0))
		return false;
	next.half = half_near(b, xc / cc, &next.d);
	if (next.half == s->half || next.d == 0)
		return false;
	double now = pick_scales(b, kind, target, radius, &next);
	if (!(now < *loss))
		return false;
	*loss = now;
	*s = next;
	return true;
}

void super_search(const struct block *b, const struct super_kind *kind, enum effort effort, struct super *s)
{
	struct reach reach = reach_of(effort);
	float target[16], most = 0;
	double least = INFINITY;

	memset(s, 0, sizeof *s);
	for (int j = 0; j < kind->n_groups; j++) {
		target[j] = scale_search(b->x + j * kind->size, b->w + j * kind->size, kind->size, &kind->grid,
					 reach.tries);
		most = fabsf(target[j]) > fabsf(most) ? target[j] : most;
	}
	for (int t = 0; t < reach.halves && most != 0; t++) {
		/* from the end of the range inwards, down to 3/4, either sign */
		double end = t % 2 ? kind->hi : kind->lo;
		struct super at = { 0 };
		at.half = half_near(b, (double)most / (end * (1 - 0.25 * (t / 2) / reach.halves * 2)), &at.d);
		if (at.d == 0)
			continue;
		double loss = pick_scales(b, kind, target, reach.radius, &at);
		for (int r = 0; r < reach.rounds && improve(b, kind, reach.radius, &at, &loss); r++)
			;
		if (loss < least) {
			least = loss;
			*s = at;
		}
	}
}

/* ---- scale and minimum ----------------------------------------------------------------------*/

enum { GROUPS = 8, SIZE = 32, MOST = 63 };

static struct affine pair_at(const struct pair_super *s, int j)
{
	return (struct affine){ s->d * (float)s->scale[j], s->m * (float)s->min[j] };
}

static double pick_pairs(const struct block *b, int top, const struct affine *target, int radius,
			 struct pair_super *s)
{
	double sum = 0;

	for (int j = 0; j < GROUPS; j++) {
		int mid_d = s->d > 0 ? whole_near((double)target[j].d / (double)s->d, 0, MOST) : 0;
		int mid_m = s->m > 0 ? whole_near((double)target[j].m / (double)s->m, 0, MOST) : 0;
		float least = INFINITY;

		for (int p = mid_d - radius; p <= mid_d + radius; p++)
			for (int q = mid_m - radius; q <= mid_m + radius; q++) {
				if (p < 0 || p > MOST || q < 0 || q > MOST)
					continue;
				struct affine a = { s->d * (float)p, s->m * (float)q };
				float loss = affine_loss(b->x + j * SIZE, b->w + j * SIZE, SIZE, top, a);
				if (loss < least) {
					least = loss;
					s->scale[j] = p;
					s->min[j] = q;
				}
			}
		sum += (double)least;
	}
	return sum;
}

/* The best pair of halves for the codes of s: two linear equations; then the best minimum for the
 * scale as it was rounded. */
static void best_halves(const struct block *b, int top, const struct pair_super *s, struct pair_super *next)
{
	double cc = 0, cm = 0, mm = 0, xc = 0, xm = 0, det, m;

	for (int j = 0; j < GROUPS; j++) {
		double p = s->scale[j], q = s->min[j];
		struct affine_sums t = affine_sums(b->x + j * SIZE, b->w + j * SIZE, SIZE, top, pair_at(s, j));
		cc += p * p * t.cc;
		cm += p * q * t.c;
		mm += q * q * t.w;
		xc += p * t.xc;
		xm += q * t.x;
	}
	det = cc * mm - cm * cm;
	next->half_d = half_near(b, det > 1e-9 * cc * mm ? (xc * mm - xm * cm) / det : cc > 0 ? xc / cc : 0, &next->d);
	m = mm > 0 ? ((double)next->d * cm - xm) / mm : 0;
	next->half_m = half_near(b, m > 0 ? m : 0, &next->m);
}

static bool improve_pair(const struct block *b, int top, int radius, struct pair_super *s, double *loss)
{
	struct pair_super next = { 0 };
	struct affine target[GROUPS];
	double now;

	best_halves(b, top, s, &next);
	if ((next.half_d == s->half_d && next.half_m == s->half_m) || !(next.d > 0))
		return false;
	for (int j = 0; j < GROUPS; j++)
		target[j] = pair_at(s, j);
	now = pick_pairs(b, top, target, radius, &next);
	if (!(now < *loss))
		return false;
	*loss = now;
	*s = next;
	return true;
}

void pair_search(const struct block *b, int top, enum effort effort, struct pair_super *s)
{
	struct reach reach = reach_of(effort);
	struct affine target[GROUPS];
	float most_d = 0, most_m = 0;
	double least = INFINITY;

	memset(s, 0, sizeof *s);
	for (int j = 0; j < GROUPS; j++) {
		target[j] = affine_search(b->x + j * SIZE, b->w + j * SIZE, SIZE, top, true, reach.tries, reach.phases);
		most_d = target[j].d > most_d ? target[j].d : most_d;
		most_m = target[j].m > most_m ? target[j].m : most_m;
	}
	for (int t = 0; t < (reach.halves + 2) / 3; t++) {
		struct pair_super at = { 0 };
		double end = MOST - 4 * t;
		at.half_d = half_near(b, (double)most_d / end, &at.d);
		at.half_m = half_near(b, (double)most_m / end, &at.m);
		double loss = pick_pairs(b, top, target, effort == EFFORT_BEST ? 2 : 0, &at);
		for (int r = 0; r < reach.rounds && improve_pair(b, top, 1, &at, &loss); r++)
			;
		if (loss < least) {
			least = loss;
			*s = at;
		}
	}
}
