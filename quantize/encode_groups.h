/* ---- groups of values as small whole numbers -------------------------------------------------*/

enum { MOST_GROUPS = 16, UNITS = 2048 };

/* Up to 16 groups of `size` (16 or 32) values: x UNITS / most, whole; with weights (wv), the same
 * times w 15 / heavy, and w top / heavy. */
struct groups {
	const float *x, *w;
	float most[MOST_GROUPS], heavy[MOST_GROUPS];
	_Alignas(64) int16_t q[512], y[512], v[512];
};

INLINE float inverse_of(float d)
{
	return fabsf(d) > 0x1p-120f ? 1 / d : 0;
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

INLINE void load_group(struct groups *g, int j, const int size, const bool weighted, float v_top)
{
	const float *x = g->x + j * size;
	float inverse, w_inverse;

	g->most[j] = largest(x, size);
	inverse = g->most[j] > 0x1p-60f ? UNITS / g->most[j] : 0;
	UNROLL for (int k = 0; k < size; k += VL)
		put16(g->q + j * size + k, to_int(load(x + k) * inverse));
	if (!weighted)
		return;
	g->heavy[j] = largest(g->w + j * size, size);
	w_inverse = inverse_of(g->heavy[j]);
	for (int k = 0; k < size; k += VL) {
		vf w = w_inverse > 0 ? load(g->w + j * size + k) * w_inverse : splat(1);

		put16(g->y + j * size + k, to_int(load(x + k) * inverse * (w * 15)));
		put16(g->v + j * size + k, to_int(w * v_top));
	}
}

/* What codes stand for: the whole numbers lo..hi, or the table of IQ4. */
struct grid { int lo, hi; bool iq4; };

INLINE int weight_top(const struct grid grid)
{
	return 32767 / (grid.iq4 ? 127 : -grid.lo);
}

/* Sums over the codes c that 16 scales give (a code is q s / 2^15, rounded): q c and c c. */
INLINE void scale_sums(const struct groups *g, int j, const int size, const bool weighted, const struct grid grid,
		       const int16_t *scales, vf *xc, vf *cc)
{
	const int16_t *q = g->q + j * size, *y = g->y + j * size, *v = g->v + j * size;
	int16_t lo = (int16_t)(grid.iq4 ? -128 : grid.lo), hi = (int16_t)(grid.iq4 ? 127 : grid.hi);
	vs least = pair((int16_t[2]){ lo, lo }), greatest = pair((int16_t[2]){ hi, hi });

	for (int p = 0; p < PER; p++) {
		vs s = load_pairs(scales + 2 * p * VL);
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
			xc[p] *= (float)weight_top(grid) / 15;
	}
}

/* The scale of largest gain in units of q, and which it is. */
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

/* Whether the largest magnitude of a group is a negative value's. */
INLINE bool leans_down(const struct groups *g, int j, const int size)
{
	const float *x = g->x + j * size;
	vf m[PER];

	UNROLL for (int p = 0; p < PER; p++)
		m[p] = size == 32 ? more(load(x + p * VL), load(x + LANES + p * VL)) : load(x + p * VL);
	return most_of(m) < g->most[j];
}

INLINE vi codes_of(const struct grid grid, vf v)
{
	if (!grid.iq4)
		return to_int(less(more(v, splat((float)grid.lo)), splat((float)grid.hi))) - grid.lo;
	vf at = less(more(v, splat(-128)), splat(127));
	vi cell = to_int((at + 124) * 0.125f);

	return to_int(look_up32(iq4_code, cell)) + at_least(at, look_up32(iq4_next, cell));
}

/* The level that is nearest to v. */
INLINE vf nearest(const struct grid grid, vf v)
{
	if (grid.iq4) {
		vf at = less(more(v, splat(-128)), splat(127));
		vi cell = to_int((at + 124) * 0.125f);

		return if_less(at, look_up32(iq4_next, cell), look_up32(iq4_low, cell), look_up32(iq4_high, cell));
	}
	return to_float(to_int(less(more(v, splat((float)grid.lo)), splat((float)grid.hi))));
}

/* As scale_sums, of the numbers themselves, for scales that codes are x times. */
INLINE void real_sums(const float *x, const float *w, const bool weighted, const int size, const struct grid grid, const vf *scale,
		      vf *xc, vf *cc)
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

struct scales { int16_t of[2][64]; };
static const struct scales q4_0_scales = { {
	{
	-100, -100, -109, -109, -114, -114, -118, -118, -123, -123, -125, -125, -128, -128, -132, -132,
	-136, -136, -140, -140, -145, -145, -152, -152, -161, -161, -177, -177, 136, 136, 150, 150,
	}, {
	100, 100, 109, 109, 114, 114, 118, 118, 123, 123, 125, 125, 128, 128, 132, 132,
	136, 136, 140, 140, 145, 145, 152, 152, 161, 161, 177, 177, -136, -136, -150, -150,
	} } };
static const struct scales iq4_scales = { {
	{
	-1357, -1357, -1569, -1569, -1650, -1650, -1731, -1731, -1796, -1796, -1894, -1894, -1943, -1943, -1975, -1975,
	-2008, -2008, -2040, -2040, -2073, -2073, -2105, -2105, -2138, -2138, -2186, -2186, -2235, -2235, -2316, -2316,
	-2414, -2414, -2609, -2609, 1341, 1341, 1455, 1455, 1552, 1552, 1666, 1666, 1731, 1731, 1780, 1780,
	1845, 1845, 1894, 1894, 1943, 1943, 2008, 2008, 2073, 2073, 2154, 2154, 2268, 2268, 2479, 2479,
	}, {
	1357, 1357, 1569, 1569, 1650, 1650, 1731, 1731, 1796, 1796, 1894, 1894, 1943, 1943, 1975, 1975,
	2008, 2008, 2040, 2040, 2073, 2073, 2105, 2105, 2138, 2138, 2186, 2186, 2235, 2235, 2316, 2316,
	2414, 2414, 2609, 2609, -1341, -1341, -1455, -1455, -1552, -1552, -1666, -1666, -1731, -1731, -1780, -1780,
	-1845, -1845, -1894, -1894, -1943, -1943, -2008, -2008, -2073, -2073, -2154, -2154, -2268, -2268, -2479, -2479,
	} } };
static const struct scales q6_k_few = { {
	{
	-415, -415, -429, -429, -436, -436, -448, -448, -460, -460, -465, -465, -477, -477, -483, -483,
	-490, -490, -496, -496, -500, -500, -508, -508, -513, -513, -517, -517, -525, -525, -538, -538,
	}, {
	415, 415, 429, 429, 436, 436, 448, 448, 460, 460, 465, 465, 477, 477, 483, 483,
	490, 490, 496, 496, 500, 500, 508, 508, 513, 513, 517, 517, 525, 525, 538, 538,
	} } };
static const struct scales q6_k_more = { {
	{
	-369, -369, -381, -381, -389, -389, -397, -397, -404, -404, -412, -412, -417, -417, -422, -422,
	-428, -428, -433, -433, -438, -438, -443, -443, -448, -448, -453, -453, -458, -458, -463, -463,
	-468, -468, -476, -476, -481, -481, -486, -486, -492, -492, -494, -494, -497, -497, -502, -502,
	-507, -507, -512, -512, -515, -515, -517, -517, -522, -522, -527, -527, -535, -535, -545, -545,
	}, {
	369, 369, 381, 381, 389, 389, 397, 397, 404, 404, 412, 412, 417, 417, 422, 422,
	428, 428, 433, 433, 438, 438, 443, 443, 448, 448, 453, 453, 458, 458, 463, 463,
	468, 468, 476, 476, 481, 481, 486, 486, 492, 492, 494, 494, 497, 497, 502, 502,
	507, 507, 512, 512, 515, 515, 517, 517, 522, 522, 527, 527, 535, 535, 545, 545,
	} } };
static const float q6_k_ends[64] = {
	-128, -126, -124, -122, -120, -118, -116, -114, -112, -110, -108, -106, -104, -102, -100, -98,
	-127.5f, -127, -126.5f, -125.5f, -125, -124.5f, -123.5f, -123, -122.5f, -121.5f, -121, -120.5f, -119.5f, -119, -118.5f, -117.5f,
	-117, -116.5f, -115.5f, -115, -114.5f, -113.5f, -113, -112.5f, -111.5f, -111, -110.5f, -109.5f, -109, -108.5f, -107.5f, -107,
	-106.5f, -105.5f, -105, -104.5f, -103.5f, -103, -102.5f, -101.5f, -101, -100.5f, -99.5f, -99, -98.5f, -97.5f, -97, -96.5f,
};
static const float iq4_xs_ends[64] = {
	-32, -31.5f, -31, -30.5f, -30, -29.5f, -29, -28.5f, -28, -27.5f, -27, -26.5f, -26, -25.5f, -25, -24.5f,
	-31.875f, -31.75f, -31.625f, -31.375f, -31.25f, -31.125f, -30.875f, -30.75f, -30.625f, -30.375f, -30.25f, -30.125f, -29.875f, -29.75f, -29.625f, -29.375f,
	-29.25f, -29.125f, -28.875f, -28.75f, -28.625f, -28.375f, -28.25f, -28.125f, -27.875f, -27.75f, -27.625f, -27.375f, -27.25f, -27.125f, -26.875f, -26.75f,
	-26.625f, -26.375f, -26.25f, -26.125f, -25.875f, -25.75f, -25.625f, -25.375f, -25.25f, -25.125f, -24.875f, -24.75f, -24.625f, -24.375f, -24.25f, -24.125f,
};

enum { WINDOW = 5, WIDE_WINDOW = 11 };

INLINE vf inverses(vf d)
{
	vf tiny = splat(0x1p-120f), size = fabs_of(d);

	return if_less(size, tiny, splat(0), 1 / if_less(size, tiny, splat(1), d));
}

/* One encoder of the two that `call` is with and without weights. */
#define BY_WEIGHT(name, call) \
	static void name(const float *x, const float *weight, size_t n, enum effort effort, uint8_t *b) \
	{ \
		bool thorough = effort == EFFORT_BEST; \
		if (weight) \
			call(x, weight, true, thorough, n, b); \
		else \
			call(x, NULL, false, thorough, n, b); \
	}
