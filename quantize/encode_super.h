/* SPDX-License-Identifier: MIT
 *
 * encode_super.h - part of encode_body.h: 256 values, groups under small whole scales of one half:
 * Q6_K, IQ4_XS.
 *
 * Each group's candidates leave sums from which the loss of their codes at any scale follows, so halves,
 * sixteen at a time, and whole scales for each are chosen without looking at values again. A block is in
 * units of its largest value.
 */

enum { MOST_TRIES = 2 * LANES, HALVES = 64 };

/* Whole scales are lo..hi. */
struct super_kind { struct grid grid; int size, lo, hi; };
/* One half, and a scale for each group: what is found. */
struct super { uint16_t half; float d; int scale[16]; };
/* Of each group: sums of its candidates in units, which is best and its scale, what a unit is, and what the
 * square of one counts. */
struct super_sums {
	float xc[16][MOST_TRIES], cc[16][MOST_TRIES], target[16], unit[16], part[16];
	unsigned which[16];
};
/* For 16 halves: the loss of all groups, and the scale of each. */
struct super_lanes { vf d[PER], inverse[PER], loss[PER]; int32_t scale[16][LANES]; uint16_t half[LANES]; };

/* As scale_sums, of the numbers themselves: for IQ4, whose whole weights have but 8 bits. */
INLINE void group_sums(const struct groups *g, int j, const int size, const struct grid grid, const int16_t *tries, int sign,
		       vf *xc, vf *cc)
{
	float x[32], w[32], unit = g->most[j] > LEAST ? UNITS / g->most[j] : 0, w_inverse = inverse_of(g->heavy[j]);
	vf s[PER];

	UNROLL for (int i = 0; i < size; i += VL) {
		store(x + i, load(g->x + j * size + i) * unit);
		store(w + i, w_inverse > 0 ? load(g->w + j * size + i) * w_inverse : splat(1));
	}
	UNROLL for (int p = 0; p < PER; p++)
		s[p] = to_float(scales_at(tries + p * VL, sign)) * 0x1p-15f;
	real_sums(x, w, true, size, grid, s, xc, cc);
}

INLINE void super_try(const struct groups *g, int j, const bool weighted, const struct super_kind kind, const int16_t *tries,
		      const int passes, const bool real, struct super_sums *s)
{
	int sign = far_sign(g, j, kind.size);
	float most = -1, gain;
	unsigned which;

	for (int t = 0; t < passes; t++) {
		vf xc[PER], cc[PER];

		if (weighted && kind.grid.iq4 && real)
			group_sums(g, j, kind.size, kind.grid, tries + LANES * t, sign, xc, cc);
		else
			scale_sums(g, j, kind.size, weighted, kind.grid, tries + LANES * t, sign, xc, cc);
		float d = best_scale(xc, cc, &which, &gain);
		memcpy(s->xc[j] + LANES * t, xc, sizeof xc);
		memcpy(s->cc[j] + LANES * t, cc, sizeof cc);
		if (gain > most) {
			most = gain;
			s->which[j] = which + (unsigned)(LANES * t);
			s->target[j] = d * s->unit[j];
		}
	}
}

/* The better of both whole scales next to the target, with the codes of any of the candidates about the best. */
INLINE void super_pick(const struct super_sums *s, int j, const struct super_kind kind, const int tries, const int window,
		       struct super_lanes *at)
{
	int first = (int)s->which[j] - window / 2;
	float per = 1 / s->unit[j], lo = (float)kind.lo, hi = (float)kind.hi;

	first = first < 0 ? 0 : first > tries - window ? tries - window : first;
	UNROLL for (int p = 0; p < PER; p++) {
		vf target = s->target[j] * at->inverse[p], near = to_float(to_int(hold(target, lo, hi)));
		vf other = hold(near + if_less(near, target, splat(1), splat(-1)), lo, hi);
		vf d = at->d[p] * near * per, e = at->d[p] * other * per, least = splat(0), least_other = splat(0);

		for (int k = first; k < first + window; k++) {
			vf cc = splat(s->cc[j][k]), xc = splat(2 * s->xc[j][k]);

			least = less(d * (d * cc - xc), least);
			least_other = less(e * (e * cc - xc), least_other);
		}
		vi scale = to_int(if_less(least_other, least, other, near));
		memcpy(at->scale[j] + p * VL, &scale, sizeof scale);
		at->loss[p] += less(least, least_other) * s->part[j];
	}
}

/* 16 halves that take the largest target near an end of the range, by steps of it / HALVES / 4. */
INLINE void super_halves(float target, float most, float relative, float end, int first, int step, struct super_lanes *at)
{
	float ends[LANES];

	for (int t = 0; t < LANES; t++)
		ends[t] = end * (1 - (float)(first + step * t) / (4 * HALVES));
	UNROLL for (int p = 0; p < PER; p++) {
		at->d[p] = halves_near(at->half + p * VL, target * most / load(ends + p * VL)) * relative;
		at->inverse[p] = inverses(at->d[p]);
		at->loss[p] = splat(0);
	}
}

INLINE void super_choose(const struct super_sums *s, const struct super_kind kind, const int tries, const int window,
			 float most, bool thorough, struct super *out)
{
	int n = 256 / kind.size, step = thorough ? 1 : HALVES / LANES;
	float target = 0, least = 1;
	struct super_lanes at;

	for (int j = 0; j < n; j++)
		target = fabsf(s->target[j]) > fabsf(target) ? s->target[j] : target;
	for (int first = 0; first < (!thorough ? 1 : kind.grid.iq4 ? 2 * HALVES : HALVES); first += LANES) {
		int end = first < HALVES ? kind.lo : kind.hi;

		super_halves(target, most, 1 / most, (float)end, first % HALVES, step, &at);
		for (int j = 0; j < n; j++)
			super_pick(s, j, kind, tries, window, &at);
		UNROLL for (int p = 0; p < PER; p++)
			at.loss[p] = -at.loss[p];
		float gain = most_of(at.loss);
		unsigned best = first_at(at.loss, gain) & 15;
		if (!(-gain < least))
			continue;
		least = -gain;
		out->half = at.half[best] == 0x8000 ? 0 : at.half[best];
		for (int j = 0; j < n; j++)
			out->scale[j] = at.scale[j][best];
	}
	out->d = from_half(out->half);
}

/* What codes take from the loss, and sums from which the best half for them follows. */
struct super_fit { float gain, xc, cc; };

/* The scale of group j among 16 about the one found, by the loss with the nearest codes: where whole scales
 * are small and steps between them large, codes of no candidate may be better. */
INLINE void super_polish_group(const struct groups *g, int j, const bool weighted, const struct super_kind kind,
			       float relative, float part, struct super *s, struct super_fit *fit)
{
	float x[32], w[32], scale[LANES], all_xc[LANES], all_cc[LANES];
	float w_inverse = weighted ? inverse_of(g->heavy[j]) : 0;
	vf d[PER], inverse[PER], xc[PER], cc[PER];

	UNROLL for (int i = 0; i < kind.size; i += VL) {
		store(x + i, load(g->x + j * kind.size + i) * relative);
		if (weighted)
			store(w + i, w_inverse > 0 ? load(g->w + j * kind.size + i) * w_inverse : splat(1));
	}
	for (int t = 0; t < LANES; t++)
		scale[t] = (float)(s->scale[j] - LANES / 2 + t);
	UNROLL for (int p = 0; p < PER; p++) {
		d[p] = hold(load(scale + p * VL), (float)kind.lo, (float)kind.hi);
		store(scale + p * VL, d[p]);
		d[p] *= s->d * relative;
		inverse[p] = inverses(d[p]);
	}
	real_sums(x, w, weighted, kind.size, kind.grid, inverse, xc, cc);
	UNROLL for (int p = 0; p < PER; p++) {
		store(all_xc + p * VL, xc[p]), store(all_cc + p * VL, cc[p]);
		xc[p] = d[p] * (2 * xc[p] - d[p] * cc[p]);
	}
	float most = most_of(xc);
	unsigned t = first_at(xc, most) & 15;
	s->scale[j] = (int)scale[t];
	fit->gain += most * part;
	fit->xc += all_xc[t] * scale[t] * part;
	fit->cc += all_cc[t] * scale[t] * scale[t] * part;
}

INLINE struct super_fit super_polish(const struct groups *g, const bool weighted, const struct super_kind kind, float most,
				     float w_inverse, struct super *s)
{
	struct super_fit fit = { 0, 0, 0 };

	for (int j = 0; j < 256 / kind.size; j++)
		super_polish_group(g, j, weighted, kind, 1 / most, w_inverse > 0 ? g->heavy[j] * w_inverse : 1, s, &fit);
	return fit;
}

/* Then the best half for those codes, and so on while that helps. */
INLINE void super_improve(const struct groups *g, const bool weighted, const struct super_kind kind, float most,
			  float w_inverse, struct super *s)
{
	struct super_fit fit = super_polish(g, weighted, kind, most, w_inverse, s);

	for (int round = 0; round < (kind.grid.iq4 ? 2 : 0); round++) {	/* Q6_K gains too little by it */
		struct super next = *s;

		next.half = half_near(fit.cc > 0 ? fit.xc / fit.cc * most : 0, &next.d);
		if (next.half == s->half)
			break;
		struct super_fit now = super_polish(g, weighted, kind, most, w_inverse, &next);
		if (!(now.gain > fit.gain))
			break;
		fit = now;
		*s = next;
	}
}

INLINE void super_search(struct groups *g, const bool weighted, const struct super_kind kind, const int16_t *tries,
			 const int passes, const int window, bool thorough, struct super *out)
{
	int n = 256 / kind.size;
	float most, w_inverse = 0;
	struct super_sums s;

	memset(out, 0, sizeof *out);
	for (int j = 0; j < n; j++)
		load_group(g, j, kind.size, weighted, kind.grid);
	most = largest(g->x, 256);
	if (!(most > LEAST))
		return;
	if (weighted)
		w_inverse = inverse_of(largest(g->w, 256));
	for (int j = 0; j < n; j++) {
		s.unit[j] = g->most[j] / most * (1.0f / UNITS);
		s.unit[j] = s.unit[j] > LEAST ? s.unit[j] : 1;
		s.part[j] = s.unit[j] * s.unit[j];
		if (w_inverse > 0)
			s.part[j] *= g->heavy[j] * w_inverse;
		super_try(g, j, weighted, kind, tries, passes, thorough, &s);
	}
	super_choose(&s, kind, LANES * passes, window, most, thorough, out);
	if (thorough)
		super_improve(g, weighted, kind, most, w_inverse, out);
}

/* ---- the types ---- */

INLINE void put_q6_k(const struct super *s, const float *x, uint8_t *b)
{
	const struct grid grid = { -32, 31, false };
	float inverse[16];

	put_le16(b + 208, s->half);
	for (int j = 0; j < 16; j++) {
		inverse[j] = inverse_of(s->d * (float)s->scale[j]);
		b[192 + j] = (uint8_t)(int8_t)s->scale[j];
	}
	for (int h = 0; h < 2; h++)
		for (int l = 0; l < 32; l += VL) {
			vi c[4];

			UNROLL for (int k = 0; k < 4; k++)
				c[k] = codes_of(grid, load(x + 128 * h + 32 * k + l) * inverse[8 * h + 2 * k + l / 16]);
			put8(b + 64 * h + l, (c[0] & 15) | (c[2] & 15) << 4);
			put8(b + 64 * h + 32 + l, (c[1] & 15) | (c[3] & 15) << 4);
			put8(b + 128 + 32 * h + l, c[0] >> 4 | c[1] >> 4 << 2 | c[2] >> 4 << 4 | c[3] >> 4 << 6);
		}
}

INLINE void q6_k_by(const float *x, const float *weight, const bool weighted, bool thorough, size_t n, uint8_t *b)
{
	const struct super_kind kind = { { -32, 31, false }, 16, -128, 127 };
	struct groups g;
	struct super s;

	for (size_t i = 0; i < n; i += 256, b += 210) {
		g.x = x + i;
		g.w = weight + i;
		if (thorough)
			super_search(&g, weighted, kind, tries_q6_k_more, 2, 11, true, &s);
		else
			super_search(&g, weighted, kind, tries_q6_k, 1, 5, false, &s);
		put_q6_k(&s, x + i, b);
	}
}

INLINE void iq4_xs_by(const float *x, const float *weight, const bool weighted, bool thorough, size_t n, uint8_t *b)
{
	const struct super_kind kind = { { 0, 15, true }, 32, -32, 31 };
	struct groups g;
	struct super s;

	for (size_t i = 0; i < n; i += 256, b += 136) {
		g.x = x + i;
		g.w = weight + i;
		super_search(&g, weighted, kind, tries_iq4, 2, 11, thorough, &s);
		put_le16(b, s.half);
		memset(b + 2, 0, 6);
		for (int j = 0; j < 8; j++) {
			unsigned stored = (unsigned)(s.scale[j] + 32);

			put_nibbles(b + 8 + 16 * j, g.x + 32 * j, kind.grid, inverse_of(s.d * (float)s.scale[j]));
			b[4 + j / 2] |= (uint8_t)((stored & 15) << j % 2 * 4);
			b[2 + j / 4] |= (uint8_t)(stored >> 4 << j % 4 * 2);
		}
	}
}

BY_WEIGHT(to_q6_k, q6_k_by)
BY_WEIGHT(to_iq4_xs, iq4_xs_by)
