/* SPDX-License-Identifier: MIT
 *
 * encode_groups.h - part of encode_body.h: groups of values as small whole numbers, what sixteen scales
 * make of them, and codes at one scale.
 */

enum { MOST_GROUPS = 16, UNITS = 2048, WEIGHT_UNITS = 15 };

/* Up to 512 values in groups of 16 or 32. q: value UNITS / most, whole. With weights w: v is w
 * weight_top / heavy, and y is q w WEIGHT_UNITS / heavy, so that neither leaves 16 bits. */
struct groups {
	const float *x, *w;
	float most[MOST_GROUPS], heavy[MOST_GROUPS];
	_Alignas(64) int16_t q[512], y[512], v[512];
};

/* What codes stand for: the whole numbers lo..hi, or the table of IQ4. */
struct grid { int lo, hi; bool iq4; };

/* The largest whole weight whose product with any code has 16 bits. */
INLINE int weight_top(const struct grid grid)
{
	return 32767 / (grid.iq4 ? 127 : -grid.lo);
}

/* Weights of n values by the largest, or NULL for equal ones. */
INLINE const float *relative_weights(const float *w, const int n, float *room)
{
	float inverse = inverse_of(largest(w, n));

	if (!(inverse > 0))
		return NULL;
	UNROLL for (int i = 0; i < n; i += VL)
		store(room + i, load(w + i) * inverse);
	return room;
}

/* y and v of group j from values in units. */
INLINE void load_weights(struct groups *g, int j, const int size, const float *units, int top)
{
	const float *w = g->w + j * size;

	g->heavy[j] = largest(w, size);
	float inverse = inverse_of(g->heavy[j]);
	for (int k = 0; k < size; k += VL) {
		vf one = inverse > 0 ? load(w + k) * inverse : splat(1);

		put16(g->y + j * size + k, to_int(load(units + k) * (one * WEIGHT_UNITS)));
		put16(g->v + j * size + k, to_int(one * (float)top));
	}
}

INLINE void load_group(struct groups *g, int j, const int size, const bool weighted, const struct grid grid)
{
	const float *x = g->x + j * size;
	float units[32];

	g->most[j] = largest(x, size);
	float inverse = g->most[j] > LEAST ? UNITS / g->most[j] : 0;
	UNROLL for (int k = 0; k < size; k += VL) {
		vf v = load(x + k) * inverse;

		put16(g->q + j * size + k, to_int(v));
		if (weighted)
			store(units + k, v);
	}
	if (weighted)
		load_weights(g, j, size, units, weight_top(grid));
}

/* The sign of scales that take the value of the largest magnitude to a grid's far end, the negative one. */
INLINE int far_sign(const struct groups *g, int j, const int size)
{
	const float *x = g->x + j * size;
	vf m[PER];

	UNROLL for (int p = 0; p < PER; p++)
		m[p] = size == 32 ? more(load(x + p * VL), load(x + LANES + p * VL)) : load(x + p * VL);
	return most_of(m) < g->most[j] ? 1 : -1;
}

/* VL scales to try, times sign. */
INLINE vi scales_at(const int16_t *tries, int sign)
{
	vi raw = wide16((const uint8_t *)tries);

	return ((vi)((vu)raw << 16) >> 16) * sign;
}

/* The same number in both halves of each lane. */
INLINE vs twice(vi a)
{
	vi both = (a & 0xFFFF) | (vi)((vu)a << 16);
	vs v;

	memcpy(&v, &both, sizeof v);
	return v;
}

INLINE vs pair_of(int a)
{
	int16_t two[2] = { (int16_t)a, (int16_t)a };

	return pair(two);
}

/* Sums over the codes c that 16 scales make of group j: q c and c c, weighted. */
INLINE void scale_sums(const struct groups *g, int j, const int size, const bool weighted, const struct grid grid,
		       const int16_t *tries, int sign, vf *xc, vf *cc)
{
	const int16_t *q = g->q + j * size, *y = g->y + j * size, *v = g->v + j * size;
	vs least = pair_of(grid.iq4 ? -128 : grid.lo), greatest = pair_of(grid.iq4 ? 127 : grid.hi);

	for (int p = 0; p < PER; p++) {
		vs s = twice(scales_at(tries + p * VL, sign));
		vi sx = { 0 }, sc = { 0 };

		UNROLL for (int i = 0; i < size; i += 2) {
			vs one = pair(q + i), c = sless(smore(sround(one, s), least), greatest);

			if (grid.iq4)
				c = near_iq4(c);
			sx += sdot(weighted ? pair(y + i) : one, c);
			sc += sdot(weighted ? smul(pair(v + i), c) : c, c);
		}
		xc[p] = to_float(sx), cc[p] = to_float(sc);
		if (weighted)
			xc[p] *= (float)weight_top(grid) / WEIGHT_UNITS;
	}
}

/* The scale of largest gain for its codes, in units; which of the 16 it is, and its gain. */
INLINE float best_scale(const vf *xc, const vf *cc, unsigned *which, float *most)
{
	vf gain[PER];
	float d[LANES];

	UNROLL for (int p = 0; p < PER; p++) {
		vf best = xc[p] / more(cc[p], splat(1));

		gain[p] = best * xc[p];
		store(d + p * VL, best);
	}
	*most = most_of(gain);
	*which = first_at(gain, *most) & 15;
	return d[*which];
}

/* ---- real numbers ---- */

INLINE vi iq4_cell(vf v)
{
	return to_int((v + 124) * 0.125f);
}

INLINE vf hold(vf v, float lo, float hi)
{
	return less(more(v, splat(lo)), splat(hi));
}

/* Codes, from 0, of what is nearest to v. */
INLINE vi codes_of(const struct grid grid, vf v)
{
	if (!grid.iq4)
		return to_int(hold(v, (float)grid.lo, (float)grid.hi)) - grid.lo;
	vf at = hold(v, -128, 127);
	vi cell = iq4_cell(at);

	return to_int(look_up32(iq4_code, cell)) + at_least(at, look_up32(iq4_next, cell));
}

/* What those codes stand for. */
INLINE vf nearest(const struct grid grid, vf v)
{
	if (!grid.iq4)
		return to_float(to_int(hold(v, (float)grid.lo, (float)grid.hi)));
	vf at = hold(v, -128, 127);
	vi cell = iq4_cell(at);

	return if_less(at, look_up32(iq4_next, cell), look_up32(iq4_low, cell), look_up32(iq4_high, cell));
}

/* As scale_sums, of the numbers themselves, for scales that they are multiplied with. */
INLINE void real_sums(const float *x, const float *w, const bool weighted, const int size, const struct grid grid,
		      const vf *scale, vf *xc, vf *cc)
{
	UNROLL for (int p = 0; p < PER; p++) {
		vf sx = splat(0), sc = splat(0);

		for (int i = 0; i < size; i++) {
			vf c = nearest(grid, x[i] * scale[p]), wc = weighted ? w[i] * c : c;

			sx += wc * x[i];
			sc += wc * c;
		}
		xc[p] = sx, cc[p] = sc;
	}
}

/* 16 bytes of nibbles: codes of values l and l + 16. */
INLINE void put_nibbles(uint8_t *b, const float *x, const struct grid grid, float inverse)
{
	UNROLL for (int l = 0; l < 16; l += VL)
		put8(b + l, codes_of(grid, load(x + l) * inverse) | codes_of(grid, load(x + l + 16) * inverse) << 4);
}
