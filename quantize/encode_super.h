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

/* 16 halves that take the largest target near the end of the range, by steps of it / HALVES / 4. */
INLINE void super_halves(float target, float most, float relative, float lo, int first, int step, struct super_lanes *at)
{
	float ends[LANES];

	for (int t = 0; t < LANES; t++)
		ends[t] = lo * (1 - (float)(first + step * t) / (4 * HALVES));
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
	for (int first = 0; first < (thorough ? HALVES : 1); first += LANES) {
		super_halves(target, most, 1 / most, (float)kind.lo, first, step, &at);
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
		g.w = weighted ? weight + i : NULL;
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
		g.w = weighted ? weight + i : NULL;
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
