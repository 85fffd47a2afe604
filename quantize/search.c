/* SPDX-License-Identifier: MIT
 *
 * search.c - blocks in units of their own, grids, and losses at a scale: see search.h.
 */
#include "quantize/search.h"

#include <math.h>

#include "quantize/floats.h"

enum { LANES = 16 };

static float lanes_sum(float p[LANES])
{
	for (int half = LANES / 2; half > 0; half /= 2)
		for (int l = 0; l < half; l++)
			p[l] += p[l + half];
	return p[0];
}

static float largest(const float *x, int n)
{
	float most = 0;

	for (int i = 0; i < n; i++)
		most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
	return most;
}

/* Smaller units than 2^-100 need not be told apart: the least half scale is 2^-24. */
void block_load(struct block *b, const float *x, const float *weight, int n)
{
	float most = largest(x, n), heaviest = weight ? largest(weight, n) : 0;
	int e = most > 0x1p-100f ? ilogbf(most) : -100;
	double inverse = ldexp(1, -e), w_inverse = heaviest > 0 ? ldexp(1, -1 - ilogbf(heaviest)) : 0;

	b->n = n;
	b->unit = ldexp(1, e);
	b->zero = most == 0;
	for (int i = 0; i < n; i++) {
		b->x[i] = (float)((double)x[i] * inverse);
		b->w[i] = heaviest > 0 ? (float)((double)weight[i] * w_inverse) : 1;
	}
}

uint16_t half_near(const struct block *b, double d, float *value)
{
	double v = d * b->unit;
	uint16_t h = f32_to_f16((float)(v > 65504 ? 65504 : v < -65504 ? -65504 : v));

	h = h == 0x8000 ? 0 : h;
	*value = (float)((double)f16_to_f32(h) / b->unit);
	return h;
}

/* Adding 1.5 * 2^23 leaves no bits for a fraction: the sum is rounded as any other. */
static float whole(float v)
{
	const float big = 12582912.0f;

	return v + big - big;
}

static float clamp(float v, float lo, float hi)
{
	v = v > lo ? v : lo;
	return v < hi ? v : hi;
}

static unsigned iq4_code(float v)
{
	static const float above[15] = { -115.5f, -93.5f, -74, -57, -42, -28.5f, -16, -4.5f,
					 7, 19, 31.5f, 45.5f, 61, 79, 101 };
	unsigned c = v >= above[7] ? 8 : 0;

	c += v >= above[c + 3] ? 4 : 0;
	c += v >= above[c + 1] ? 2 : 0;
	return c + (v >= above[c] ? 1 : 0);
}

float grid_near(const struct grid *g, float v)
{
	return g->iq4 ? (float)iq4_values[iq4_code(v)] : whole(clamp(v, (float)g->lo, (float)g->hi));
}

unsigned grid_code(const struct grid *g, float v)
{
	return g->iq4 ? iq4_code(v) : (unsigned)((int)grid_near(g, v) - g->lo);
}

/* iq4 is a constant where these are called, so that the loops have no branch and become vectors. */
static inline float near_in(bool iq4, float lo, float hi, float v)
{
	return iq4 ? (float)iq4_values[iq4_code(v)] : whole(clamp(v, lo, hi));
}

static inline float loss_in(bool iq4, const float *x, const float *w, int n, const struct grid *g, float d)
{
	float p[LANES] = { 0 }, inverse = scale_inverse(d), lo = (float)g->lo, hi = (float)g->hi;

	for (int i = 0; i < n; i += LANES)
		for (int l = 0; l < LANES; l++) {
			float v = x[i + l], e = v - d * near_in(iq4, lo, hi, v * inverse);

			p[l] += w[i + l] * (e * e);
		}
	return lanes_sum(p);
}

float scale_loss(const float *x, const float *w, int n, const struct grid *g, float d)
{
	return g->iq4 ? loss_in(true, x, w, n, g, d) : loss_in(false, x, w, n, g, d);
}

static inline struct scale_sums sums_in(bool iq4, const float *x, const float *w, int n, const struct grid *g,
					float d)
{
	float xc[LANES] = { 0 }, cc[LANES] = { 0 };
	float inverse = scale_inverse(d), lo = (float)g->lo, hi = (float)g->hi;

	for (int i = 0; i < n; i += LANES)
		for (int l = 0; l < LANES; l++) {
			float c = near_in(iq4, lo, hi, x[i + l] * inverse), wc = w[i + l] * c;

			xc[l] += wc * x[i + l];
			cc[l] += wc * c;
		}
	return (struct scale_sums){ (double)lanes_sum(xc), (double)lanes_sum(cc) };
}

struct scale_sums scale_sums(const float *x, const float *w, int n, const struct grid *g, float d)
{
	return g->iq4 ? sums_in(true, x, w, n, g, d) : sums_in(false, x, w, n, g, d);
}

float scale_search(const float *x, const float *w, int n, const struct grid *g, int tries)
{
	float top = g->iq4 ? 127 : (float)-g->lo, most = largest(x, n), best = 0;
	double most_gain = 0;

	for (int t = 0; t < 2 * tries && most > 0; t++) {
		/* the largest value at 0.8 to 1.2 times the grid's end */
		float at = top * (0.8f + 0.4f * ((float)(t / 2) + 0.5f) / (float)tries);
		struct scale_sums s = scale_sums(x, w, n, g, (t % 2 ? most : -most) / at);

		if (s.cc > 0 && s.xc * s.xc > most_gain * s.cc) {
			most_gain = s.xc * s.xc / s.cc;
			best = (float)(s.xc / s.cc);
		}
	}
	return best;
}

/* ---- every assignment of codes that a scale can make ------------------------------------------
 * With s = 1 / d going up from 0, an element's code moves one step where s x passes a midpoint of
 * the grid. Between such events codes stand still, and the best half is the one nearest to xc / cc. */

struct sweep {
	const struct block *b;
	const struct grid *g;
	float sign;			/* of the scale; the values are multiplied with it instead */
	double gain;			/* what the best half takes from the loss at scale 0 */
	uint16_t half;
	float value;
};

enum { MAX_EVENTS = 32 * 15 };

static float level(const struct grid *g, int code)
{
	return g->iq4 ? iq4_values[code] : (float)(g->lo + code);
}

/* Shell's sort, ascending. */
static void sort_events(uint64_t *a, int n)
{
	static const int gaps[] = { 132, 57, 23, 10, 4, 1 };

	for (size_t k = 0; k < sizeof gaps / sizeof *gaps; k++)
		for (int i = gaps[k]; i < n; i++) {
			uint64_t v = a[i];
			int j = i;

			for (; j >= gaps[k] && a[j - gaps[k]] > v; j -= gaps[k])
				a[j] = a[j - gaps[k]];
			a[j] = v;
		}
}

/* Beyond 1 / this scale the loss of values that are cut off alone is more than `loss`. */
static float least_scale(const struct sweep *s, double loss)
{
	double least = 0;

	for (int i = 0; i < s->b->n; i++) {
		double v = (double)(s->sign * s->b->x[i]), w = (double)s->b->w[i];
		double end = (double)level(s->g, v < 0 ? 0 : s->g->hi - s->g->lo);
		double d = w > 0 ? (fabs(v) - sqrt(loss / w)) / fabs(end) : 0;

		least = d > least ? d : least;
	}
	return (float)(least * 0.99999);
}

/* Events as (s as float bits) << 32 | element, ordered. */
static int list_events(const struct sweep *s, int zero, float least, uint64_t *events)
{
	int n = 0, last = s->g->hi - s->g->lo;

	for (int i = 0; i < s->b->n; i++) {
		float v = s->sign * s->b->x[i];
		int step = v < 0 ? -1 : 1;

		for (int c = zero; v != 0 && c + step >= 0 && c + step <= last; c += step) {
			float at = 0.5f * (level(s->g, c) + level(s->g, c + step));

			if (fabsf(at) * least > fabsf(v))
				break;
			float t = at / v;
			if (!(t < 0x1p100f))
				break;
			events[n++] = (uint64_t)f32_bits(t) << 32 | (uint64_t)i;
		}
	}
	sort_events(events, n);
	return n;
}

static void consider(struct sweep *s, double xc, double cc)
{
	float value;

	if (xc <= 0 || xc * xc <= s->gain * cc)
		return;
	uint16_t half = half_near(s->b, (double)s->sign * xc / cc, &value);
	double d = (double)(s->sign * value), gain = d * (2 * xc - d * cc);
	if (gain > s->gain) {
		s->gain = gain;
		s->half = half;
		s->value = value;
	}
}

static void sweep_sign(struct sweep *s, double at_zero)
{
	uint64_t events[MAX_EVENTS];
	int8_t code[32], zero = (int8_t)(s->g->iq4 ? 8 : -s->g->lo);
	double xc = 0, cc = 0, first = (double)level(s->g, zero);
	int n = list_events(s, zero, least_scale(s, at_zero - s->gain), events);

	for (int i = 0; i < s->b->n; i++) {
		code[i] = zero;
		xc += (double)s->b->w[i] * (double)(s->sign * s->b->x[i]) * first;
		cc += (double)s->b->w[i] * first * first;
	}
	consider(s, xc, cc);
	for (int k = 0; k < n; k++) {
		int i = (int)(events[k] & 31);
		double v = (double)(s->sign * s->b->x[i]), w = (double)s->b->w[i];
		double old = (double)level(s->g, code[i]), now;

		code[i] = (int8_t)(code[i] + (v < 0 ? -1 : 1));
		now = (double)level(s->g, code[i]);
		xc += w * v * (now - old);
		cc += w * (now * now - old * old);
		consider(s, xc, cc);
	}
}

uint16_t scale_exact(const struct block *b, const struct grid *g, float *value)
{
	struct sweep s = { .b = b, .g = g };
	double at_zero = 0;

	for (int i = 0; i < b->n; i++)
		at_zero += (double)b->w[i] * (double)b->x[i] * (double)b->x[i];
	/* a good start cuts the lists short */
	float guess = scale_search(b->x, b->w, b->n, g, 4), first;
	uint16_t half = half_near(b, (double)guess, &first);
	struct scale_sums at = scale_sums(b->x, b->w, b->n, g, first);
	double gain = (double)first * (2 * at.xc - (double)first * at.cc);
	if (gain > 0)
		s = (struct sweep){ b, g, 1, gain, half, first };
	for (s.sign = 1; s.sign >= -1; s.sign -= 2)
		sweep_sign(&s, at_zero);
	*value = s.value;
	return s.half;
}

void scale_encode(const float *x, const float *weight, const struct grid *g, enum effort effort, uint8_t *b)
{
	struct block k;
	float d, inverse;
	uint16_t half;

	block_load(&k, x, weight, 32);
	if (effort == EFFORT_BEST)
		half = scale_exact(&k, g, &d);
	else
		half = half_near(&k, (double)scale_search(k.x, k.w, 32, g, 8), &d);
	inverse = scale_inverse(d);
	store_le(b, 2, half);
	for (int i = 0; i < 16; i++)
		b[2 + i] = (uint8_t)(grid_code(g, k.x[i] * inverse) | grid_code(g, k.x[i + 16] * inverse) << 4);
}

/* ---- scale and minimum ----------------------------------------------------------------------*/

static float affine_near(float x, float top, float inverse, float m)
{
	return whole(clamp((x + m) * inverse, 0, top));
}

float affine_loss(const float *x, const float *w, int n, int top, struct affine a)
{
	float p[LANES] = { 0 }, inverse = scale_inverse(a.d);

	for (int i = 0; i < n; i += LANES)
		for (int l = 0; l < LANES; l++) {
			float v = x[i + l], e = v + a.m - a.d * affine_near(v, (float)top, inverse, a.m);

			p[l] += w[i + l] * (e * e);
		}
	return lanes_sum(p);
}

unsigned affine_code(float x, int top, struct affine a)
{
	return (unsigned)affine_near(x, (float)top, scale_inverse(a.d), a.m);
}

struct affine_sums affine_sums(const float *x, const float *w, int n, int top, struct affine a)
{
	float sw[LANES] = { 0 }, sx[LANES] = { 0 }, sc[LANES] = { 0 }, scc[LANES] = { 0 };
	float sxc[LANES] = { 0 }, inverse = scale_inverse(a.d);

	for (int i = 0; i < n; i += LANES)
		for (int l = 0; l < LANES; l++) {
			float v = x[i + l], c = affine_near(v, (float)top, inverse, a.m), wc = w[i + l] * c;

			sw[l] += w[i + l];
			sx[l] += w[i + l] * v;
			sc[l] += wc;
			scc[l] += wc * c;
			sxc[l] += wc * v;
		}
	return (struct affine_sums){ (double)lanes_sum(sw), (double)lanes_sum(sx), (double)lanes_sum(sc),
				     (double)lanes_sum(scc), (double)lanes_sum(sxc) };
}

/* The best scale and minimum for the codes of the sums. */
static struct affine solve(const struct affine_sums *s, bool below)
{
	double det = s->w * s->cc - s->c * s->c, d = 0, m = 0;

	if (det > 1e-9 * s->w * s->cc) {
		d = (s->w * s->xc - s->x * s->c) / det;
		m = (s->c * s->xc - s->cc * s->x) / det;
	} else if (s->w > 0) {
		m = -s->x / s->w;	/* one code for all */
	}
	if ((below && m < 0) || d < 0) {
		m = 0;
		d = s->cc > 0 && s->xc > 0 ? s->xc / s->cc : 0;
	}
	return (struct affine){ (float)d, (float)m };
}

/* Best scale and minimum for the codes, best codes for those, and so on while the loss falls. */
static float descend(const float *x, const float *w, int n, int top, bool below, struct affine *a)
{
	float loss = affine_loss(x, w, n, top, *a);

	for (int k = 0; k < 4; k++) {
		struct affine_sums s = affine_sums(x, w, n, top, *a);
		struct affine b = solve(&s, below);
		float now = affine_loss(x, w, n, top, b);

		if (!(now < loss))
			break;
		loss = now;
		*a = b;
	}
	return loss;
}

/* The start that is best as it is, among scales from ends that are cut to ends beyond the values,
 * each with the grid at `phases` places between two of its steps; descended from there. */
struct affine affine_search(const float *x, const float *w, int n, int top, bool below, int tries, int phases)
{
	float lo = x[0], hi = x[0], least = INFINITY;
	struct affine best = { 0, 0 };

	for (int i = 1; i < n; i++) {
		lo = x[i] < lo ? x[i] : lo;
		hi = x[i] > hi ? x[i] : hi;
	}
	lo = below && lo > 0 ? 0 : lo;
	if (!(hi > lo))
		return (struct affine){ 0, -lo };
	for (int t = 0; t < tries; t++) {
		float part = ((float)t + 0.5f) / (float)tries;
		float d = (hi - lo) / ((float)top * (0.95f + 0.25f * part));
		struct affine of_scale = { 0, 0 };
		float least_of_scale = INFINITY;

		for (int k = 0; k < phases; k++) {
			float shift = ((float)k + 0.5f) / (float)phases - 0.5f;
			struct affine a = { d, -lo - 0.5f * (hi - lo - d * (float)top) + shift * d };
			a.m = below && a.m < 0 ? 0 : a.m;
			float loss = affine_loss(x, w, n, top, a);
			if (loss < least_of_scale) {
				least_of_scale = loss;
				of_scale = a;
			}
		}
		least_of_scale = descend(x, w, n, top, below, &of_scale);
		if (least_of_scale < least) {
			least = least_of_scale;
			best = of_scale;
		}
	}
	return best;
}
