/* ---- Q8_0 ---- */

/* What values beyond 127 d alone lose, and more at any smaller d. */
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

/* Halves from 1/8 above the one that takes the largest value to 127, where the loss is beyond what luck
 * of rounding takes back, down to where what is cut off loses more than the best: sixteen at a time. */
INLINE uint16_t q8_0_scale(const float *x, const float *weight, float most, uint16_t plain)
{
	float a[32], room[32], least = INFINITY, relative = 1 / most, d[LANES];
	const float *w = weight ? relative_weights(weight, 32, room) : NULL;
	int last = plain + plain % 1024 / 8 + 128, best = plain;

	UNROLL for (int i = 0; i < 32; i += VL)
		store(a + i, fabs_of(load(x + i)) * relative);
	for (int at = last < 0x7BFF ? last : 0x7BFF; at > 0; at -= LANES) {
		vf loss[PER];

		for (int t = 0; t < LANES; t++)
			d[t] = from_half((uint16_t)(at > t ? at - t : 1)) * relative;
		if (q8_0_cut(a, w, d[0]) >= least)
			break;
		UNROLL for (int p = 0; p < PER; p++) {
			vf scale = load(d + p * VL), inverse = 1 / scale;

			loss[p] = splat(0);
			for (int i = 0; i < 32; i++) {
				vf e = a[i] - scale * to_float(to_int(less(a[i] * inverse, splat(127))));

				loss[p] -= w ? w[i] * (e * e) : e * e;
			}
		}
		float gain = most_of(loss);
		if (-gain < least) {
			least = -gain;
			best = at - (int)(first_at(loss, gain) & 15);
		}
	}
	return (uint16_t)(best > 0 ? best : 1);
}

static void to_q8_0(const float *x, const float *weight, size_t n, enum effort effort, uint8_t *b)
{
	for (size_t i = 0; i < n; i += 32, b += 34, x += 32) {
		float most = largest(x, 32), d, inverse;
		uint16_t half = half_near(most / 127.0f, &d);

		if (effort == EFFORT_BEST && most > 0x1p-60f) {
			half = weight ? q8_0_scale(x, weight + i, most, half) : q8_0_scale(x, NULL, most, half);
			d = from_half(half);
		}
		put_le16(b, half);
		inverse = d > 0 ? 1.0f / d : 0;
		UNROLL for (int k = 0; k < 32; k += VL)
			put8(b + 2 + k, to_int(less(more(load(x + k) * inverse, splat(-127)), splat(127))));
	}
}

/* ---- Q4_0, IQ4_NL: half and nibbles ---- */

/* A block in units of its largest value and weight, and the best half found. gain: what it takes from the
 * loss at scale 0. */
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
		vf real = xc[p] / more(cc[p], splat(0x1p-40f)) * e->most;

		real = put_halves(half + p * VL, less(more(real, splat(-65504)), splat(65504)));
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

/* With scales going up from 0, an element's code moves one step where the product passes a midpoint of
 * the grid; between such events codes stand still, and the best half is the one nearest to their best
 * scale. So the codes just beyond each event are all there are. Where what is cut off alone loses more
 * than the best, no event is of use any more. */
INLINE void consider_all(struct exact *e, const bool weighted, const struct grid grid, float sign)
{
	static const float up[2][8] = { { 0.5f, 1.5f, 2.5f, 3.5f, 4.5f, 5.5f, 6.5f, 1e30f },
					{ 7, 19, 31.5f, 45.5f, 61, 79, 101, 1e30f } };
	static const float down[2][8] = { { 0.5f, 1.5f, 2.5f, 3.5f, 4.5f, 5.5f, 6.5f, 7.5f },
					  { 4.5f, 16, 28.5f, 42, 57, 74, 93.5f, 115.5f } };
	float events[32 * 8 + 2 * LANES], sxx, top;
	vf sum[PER] = { 0 }, least[PER] = { 0 };
	unsigned n = 0;

	for (int i = 0; i < 32; i += LANES)
		UNROLL for (int p = 0; p < PER; p++) {
			vf v = load(e->x + i + p * VL);
			sum[p] += weighted ? load(e->w + i + p * VL) * v * v : v * v;
		}
	sxx = sum_of(sum);
	float budget = (sxx - e->gain) * 1.00002f + sxx * 1e-6f;
	for (int i = 0; i < 32; i += LANES)
		UNROLL for (int p = 0; p < PER; p++) {
			vf v = load(e->x + i + p * VL) * sign, w = weighted ? more(load(e->w + i + p * VL), splat(0x1p-100f)) : splat(1);
			vf end = if_less(v, splat(0), splat(grid.iq4 ? 1 / 127.0f : 1 / 8.0f), splat(grid.iq4 ? 1 / 113.0f : 1 / 7.0f));
			float root[VL];
			vf room = budget / w;

			memcpy(root, &room, sizeof root);
			for (int k = 0; k < VL; k++)
				root[k] = sqrtf(root[k]);
			least[p] = more((fabs_of(v) - load(root)) * end, least[p]);
		}
	top = 1.0001f / most_of(least);
	for (int m = 0; m < 8; m++)
		for (int i = 0; i < 32; i += VL) {
			vf v = load(e->x + i) * sign;
			vf mid = if_less(v, splat(0), splat(down[grid.iq4][m]), splat(up[grid.iq4][m]));

			n += keep_below(events + n, mid * 1.000001f / more(fabs_of(v), splat(1e-25f)), top);
		}
	for (unsigned i = n; i < n + LANES; i++)
		events[i] = 0;
	for (unsigned i = 0; i < n + LANES; i++)
		events[i] *= sign;
	for (unsigned i = 0; i < n; i += LANES)
		consider(e, weighted, grid, events + i);
}

/* d: a good scale to begin with. Returns the best. */
INLINE uint16_t scale_refine(const float *x, const float *weight, const bool weighted, const struct grid grid, float most,
			     bool thorough, float d, float *value)
{
	struct exact e;
	float w_inverse = weighted ? inverse_of(largest(weight, 32)) : 0, near[LANES];

	*value = 0;
	if (!(most > 0x1p-60f) || d == 0)
		return 0;
	e.most = most, e.relative = 1 / most, e.gain = 0, e.half = 0, e.d = 0;
	UNROLL for (int i = 0; i < 32; i += VL) {
		store(e.x + i, load(x + i) * e.relative);
		if (weighted)
			store(e.w + i, w_inverse > 0 ? load(weight + i) * w_inverse : splat(1));
	}
	for (int t = 0; t < LANES; t++)
		near[t] = most / d * (1 + (float)(t - 8) * 0.006f);
	consider(&e, weighted, grid, near);
	if (thorough) {
		consider_all(&e, weighted, grid, 1);
		consider_all(&e, weighted, grid, -1);
	}
	*value = e.d;
	return e.half;
}

INLINE void scale_encode(const float *x, const float *weight, const bool weighted, bool thorough, const struct grid grid,
			 const struct scales *scales, const int passes, size_t n, uint8_t *b)
{
	struct groups g;
	float d[LANES] = { 0 };
	uint16_t half[LANES];
	unsigned which;

	for (size_t i = 0; i < n; i += 512) {
		int m = n - i < 512 ? (int)(n - i) / 32 : 16;
		g.x = x + i;
		g.w = weighted ? weight + i : NULL;
		for (int j = 0; j < m; j++)
			load_group(&g, j, 32, weighted, (float)weight_top(grid));
		for (int j = 0; j < m; j++) {
			const int16_t *try = scales->of[leans_down(&g, j, 32)];
			float most = -1, gain;

			for (int t = 0; t < passes; t++) {
				vf xc[PER], cc[PER];
				float at;

				scale_sums(&g, j, 32, weighted, grid, try + 32 * t, xc, cc);
				at = best_scale(xc, cc, &which, &gain);
				d[j] = gain > most ? at * (g.most[j] * (1.0f / UNITS)) : d[j];
				most = gain > most ? gain : most;
			}
		}
		if (thorough || (weighted && grid.iq4))
			for (int j = 0; j < m; j++)
				half[j] = scale_refine(g.x + 32 * j, g.w + 32 * j, weighted, grid, g.most[j], thorough, d[j], &d[j]);
		else
			for (int p = 0; p < LANES; p += VL)
				store(d + p, put_halves(half + p, less(more(load(d + p), splat(-65504)), splat(65504))));
		for (int j = 0; j < m; j++, b += 18) {
			const float *v = g.x + j * 32;
			float inverse = inverse_of(d[j]);

			put_le16(b, half[j] == 0x8000 ? 0 : half[j]);
			UNROLL for (int l = 0; l < 16; l += VL)
				put8(b + 2 + l, codes_of(grid, load(v + l) * inverse) |
				     codes_of(grid, load(v + l + 16) * inverse) << 4);
		}
	}
}

INLINE void q4_0_by(const float *x, const float *weight, const bool weighted, bool thorough, size_t n, uint8_t *b)
{
	scale_encode(x, weight, weighted, thorough, (struct grid){ -8, 7, false }, &q4_0_scales, 1, n, b);
}
BY_WEIGHT(to_q4_0, q4_0_by)

INLINE void iq4_nl_by(const float *x, const float *weight, const bool weighted, bool thorough, size_t n, uint8_t *b)
{
	scale_encode(x, weight, weighted, thorough, (struct grid){ 0, 15, true }, &iq4_scales, 2, n, b);
}
BY_WEIGHT(to_iq4_nl, iq4_nl_by)
