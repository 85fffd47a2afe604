/* SPDX-License-Identifier: MIT
 *
 * encode_scale.h - part of encode_body.h: blocks of 32 under one half: Q8_0, Q4_0, IQ4_NL.
 */

/* ---- Q8_0 ---- */

/* What values a beyond 127 d alone lose, and more at any smaller d. */
INLINE float q8_0_cut(const float *a, const float *w, float d)
{
	vf sum[PER] = { 0 };

	for (int i = 0; i < 32; i += LANES)
		UNROLL for (int p = 0; p < PER; p++) {
			vf over = more(load(a + i + p * VL) - 127 * d, splat(0));

			sum[p] += w ? load(w + i + p * VL) * (over * over) : over * over;
		}
	return sum_of(sum);
}

/* What values a lose at each of 16 scales, negative. */
INLINE void q8_0_gains(const float *a, const float *w, const float *d, vf *gain)
{
	UNROLL for (int p = 0; p < PER; p++) {
		vf scale = load(d + p * VL), inverse = 1 / scale;

		gain[p] = splat(0);
		for (int i = 0; i < 32; i++) {
			vf e = a[i] - scale * to_float(to_int(less(a[i] * inverse, splat(127))));

			gain[p] -= w ? w[i] * (e * e) : e * e;
		}
	}
}

/* Halves from 1/8 above the one that takes the largest value to 127, where the loss is beyond what luck
 * of rounding takes back, down to where what is cut off loses more than the best. */
INLINE uint16_t q8_0_scale(const float *x, const float *weight, float most, uint16_t plain)
{
	float a[32], room[32], least = INFINITY, relative = 1 / most, d[LANES];
	const float *w = weight ? relative_weights(weight, 32, room) : NULL;
	int last = plain + plain % 1024 / 8 + 128, best = plain;
	vf gain[PER];

	UNROLL for (int i = 0; i < 32; i += VL)
		store(a + i, fabs_of(load(x + i)) * relative);
	for (int at = last < 0x7BFF ? last : 0x7BFF; at > 0; at -= LANES) {
		for (int t = 0; t < LANES; t++)
			d[t] = from_half((uint16_t)(at > t ? at - t : 1)) * relative;
		if (q8_0_cut(a, w, d[0]) >= least)
			break;
		q8_0_gains(a, w, d, gain);
		float most_gain = most_of(gain);
		if (-most_gain < least) {
			least = -most_gain;
			best = at - (int)(first_at(gain, most_gain) & 15);
		}
	}
	return (uint16_t)(best > 0 ? best : 1);
}

static void to_q8_0(const float *x, const float *weight, size_t n, enum effort effort, uint8_t *b)
{
	for (size_t i = 0; i < n; i += 32, b += 34, x += 32) {
		float most = largest(x, 32), d, inverse;
		uint16_t half = half_near(most / 127.0f, &d);

		if (effort == EFFORT_BEST && most > LEAST) {
			half = q8_0_scale(x, weight ? weight + i : NULL, most, half);
			d = from_half(half);
		}
		put_le16(b, half);
		inverse = d > 0 ? 1.0f / d : 0;
		UNROLL for (int k = 0; k < 32; k += VL)
			put8(b + 2 + k, to_int(hold(load(x + k) * inverse, -127, 127)));
	}
}

/* ---- Q4_0, IQ4_NL: the best of all assignments of codes that a scale can make ---- */

/* A block in units of its largest value and weight, and the best half found. gain: what it takes from
 * the loss at scale 0. */
struct exact { float x[32], w[32], most, relative, gain, d; uint16_t half; };

/* The best halves for the codes of 16 scales. */
INLINE void consider(struct exact *e, const bool weighted, const struct grid grid, const float *scales)
{
	vf s[PER], xc[PER], cc[PER], gain[PER];
	uint16_t half[LANES];
	float d[LANES];

	UNROLL for (int p = 0; p < PER; p++)
		s[p] = load(scales + p * VL);
	real_sums(e->x, e->w, weighted, 32, grid, s, xc, cc);
	UNROLL for (int p = 0; p < PER; p++) {
		vf real = halves_near(half + p * VL, xc[p] / more(cc[p], splat(0x1p-40f)) * e->most);

		store(d + p * VL, real);
		real *= e->relative;
		gain[p] = real * (2 * xc[p] - real * cc[p]);
	}
	float most = most_of(gain);
	if (most > e->gain) {
		unsigned at = first_at(gain, most) & 15;
		e->gain = most;
		e->half = half[at] == 0x8000 ? 0 : half[at];
		e->d = d[at];
	}
}

/* 1 / the scale beneath which values that are cut off alone lose more than the best. */
INLINE float last_scale(const struct exact *e, const bool weighted, const struct grid grid, float sign)
{
	float lower = 1 / (grid.iq4 ? 127.0f : (float)-grid.lo), upper = 1 / (grid.iq4 ? 113.0f : (float)grid.hi);
	float over[32], budget;
	vf sum[PER] = { 0 }, least[PER] = { 0 };

	for (int i = 0; i < 32; i += LANES)
		UNROLL for (int p = 0; p < PER; p++) {
			vf v = load(e->x + i + p * VL);

			sum[p] += weighted ? load(e->w + i + p * VL) * v * v : v * v;
		}
	budget = (sum_of(sum) - e->gain) * 1.00002f + sum_of(sum) * 1e-6f;
	for (int i = 0; i < 32; i++)
		over[i] = fabsf(e->x[i]) - sqrtf(weighted ? budget / (e->w[i] + 0x1p-100f) : budget);
	for (int i = 0; i < 32; i += LANES)
		UNROLL for (int p = 0; p < PER; p++) {
			vf end = if_less(load(e->x + i + p * VL) * sign, splat(0), splat(lower), splat(upper));

			least[p] = more(load(over + i + p * VL) * end, least[p]);
		}
	return 1.0001f / most_of(least);
}

/* With scales going up from 0, an element's code moves one step where the product passes a midpoint of
 * the grid; between such events codes stand still, and the best half is the one nearest to their best
 * scale. So the codes just beyond each event are all there are. */
INLINE void consider_all(struct exact *e, const bool weighted, const struct grid grid, float sign)
{
	static const float up[2][8] = { { 0.5f, 1.5f, 2.5f, 3.5f, 4.5f, 5.5f, 6.5f, 1e30f },
					{ 7, 19, 31.5f, 45.5f, 61, 79, 101, 1e30f } };
	static const float down[2][8] = { { 0.5f, 1.5f, 2.5f, 3.5f, 4.5f, 5.5f, 6.5f, 7.5f },
					  { 4.5f, 16, 28.5f, 42, 57, 74, 93.5f, 115.5f } };
	float events[32 * 8 + 2 * LANES], last = last_scale(e, weighted, grid, sign);
	unsigned n = 0;

	for (int m = 0; m < 8; m++)
		for (int i = 0; i < 32; i += VL) {
			vf v = load(e->x + i), size = more(fabs_of(v), splat(1e-25f));
			vf mid = if_less(v * sign, splat(0), splat(down[grid.iq4][m]), splat(up[grid.iq4][m]));

			n += keep_below(events + n, mid * 1.000001f / size, last);
		}
	for (unsigned i = 0; i < n + LANES; i++)
		events[i] = i < n ? events[i] * sign : 0;
	for (unsigned i = 0; i < n; i += LANES)
		consider(e, weighted, grid, events + i);
}

/* A better half than d, which is good already: among scales about it, or (thorough) among all. */
INLINE uint16_t scale_refine(const struct groups *g, int j, const bool weighted, const struct grid grid, bool thorough,
			     float *d)
{
	struct exact e = { .most = g->most[j] };
	const float *x = g->x + 32 * j, *w = g->w + 32 * j;
	float w_inverse = weighted ? inverse_of(g->heavy[j]) : 0, near[LANES], from = *d;

	*d = 0;
	if (!(e.most > LEAST) || from == 0)
		return 0;
	e.relative = 1 / e.most;
	UNROLL for (int i = 0; i < 32; i += VL) {
		store(e.x + i, load(x + i) * e.relative);
		if (weighted)
			store(e.w + i, w_inverse > 0 ? load(w + i) * w_inverse : splat(1));
	}
	for (int t = 0; t < LANES; t++)
		near[t] = e.most / from * (1 + (float)(t - 8) * 0.006f);
	consider(&e, weighted, grid, near);
	if (thorough) {
		consider_all(&e, weighted, grid, 1);
		consider_all(&e, weighted, grid, -1);
	}
	*d = e.d;
	return e.half;
}

/* ---- Q4_0, IQ4_NL: 16 blocks at a time ---- */

INLINE float scale_search(const struct groups *g, int j, const bool weighted, const struct grid grid, const int16_t *tries,
			  const int passes)
{
	int sign = far_sign(g, j, 32);
	float most = -1, gain, d = 0;
	unsigned which;

	for (int t = 0; t < passes; t++) {
		vf xc[PER], cc[PER];

		scale_sums(g, j, 32, weighted, grid, tries + LANES * t, sign, xc, cc);
		float at = best_scale(xc, cc, &which, &gain);
		d = gain > most ? at : d;
		most = gain > most ? gain : most;
	}
	return d * (g->most[j] * (1.0f / UNITS));
}

INLINE void scale_encode(const float *x, const float *weight, const bool weighted, bool thorough, const struct grid grid,
			 const int16_t *tries, const int passes, size_t n, uint8_t *b)
{
	struct groups g;
	float d[LANES] = { 0 };
	uint16_t half[LANES];

	for (size_t i = 0; i < n; i += 32 * LANES) {
		int m = n - i < 32 * LANES ? (int)(n - i) / 32 : LANES;

		g.x = x + i;
		g.w = weight + i;
		for (int j = 0; j < m; j++)
			load_group(&g, j, 32, weighted, grid);
		for (int j = 0; j < m; j++)
			d[j] = scale_search(&g, j, weighted, grid, tries, passes);
		if (thorough || (weighted && grid.iq4))	/* whose whole weights have but 8 bits */
			for (int j = 0; j < m; j++)
				half[j] = scale_refine(&g, j, weighted, grid, thorough, &d[j]);
		else
			for (int p = 0; p < LANES; p += VL)
				store(d + p, halves_near(half + p, load(d + p)));
		for (int j = 0; j < m; j++, b += 18) {
			put_le16(b, half[j] == 0x8000 ? 0 : half[j]);
			put_nibbles(b + 2, g.x + j * 32, grid, inverse_of(d[j]));
		}
	}
}

INLINE void q4_0_by(const float *x, const float *w, const bool weighted, bool thorough, size_t n, uint8_t *b)
{
	scale_encode(x, w, weighted, thorough, (struct grid){ -8, 7, false }, tries_q4_0, 1, n, b);
}

INLINE void iq4_nl_by(const float *x, const float *w, const bool weighted, bool thorough, size_t n, uint8_t *b)
{
	scale_encode(x, w, weighted, thorough, (struct grid){ 0, 15, true }, tries_iq4, 2, n, b);
}

BY_WEIGHT(to_q4_0, q4_0_by)
BY_WEIGHT(to_iq4_nl, iq4_nl_by)
