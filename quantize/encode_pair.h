/* SPDX-License-Identifier: MIT
 *
 * encode_pair.h - part of encode_body.h: scale and minimum, y = d code - m: Q4_1, Q4_K, Q5_K.
 *
 * As in encode_super.h: candidates leave sums, from which the best scale and minimum for their codes
 * follow, and the loss of those codes at any others.
 */

enum { KEPT = 4, MOST_KEPT = 8, MOST_PASSES = 4 };

/* A group as whole numbers, x = low + q unit, and what is kept of the best codes c: sums of c, c c and q c;
 * of 1 and q; all weighted. d, m: the best scale and minimum. side: which end is nearer to zero. part: what
 * the square of a unit counts. */
struct affine_group {
	float low, unit, part, w, q, d, m, c[MOST_KEPT], cc[MOST_KEPT], qc[MOST_KEPT];
	int side;
};
struct affine_kind { int top; bool below; const struct affine_tries *tries; int passes, kept; bool again; };

INLINE int affine_top(int top)
{
	return 32767 / top;	/* of whole weights */
}

/* below: the minimum may not be positive. */
INLINE void load_affine(struct groups *g, int j, const bool weighted, const struct affine_kind *kind, struct affine_group *a)
{
	const float *x = g->x + 32 * j;
	vf lo[PER], hi[PER];
	float units[32], high, inverse;

	UNROLL for (int p = 0; p < PER; p++) {
		vf one = load(x + p * VL), two = load(x + LANES + p * VL);

		hi[p] = more(one, two);
		lo[p] = -less(one, two);
	}
	high = most_of(hi), a->low = -most_of(lo);
	a->side = high <= -a->low;
	a->low = kind->below && a->low > 0 ? 0 : a->low;
	float range = high * 0.25f - a->low * 0.25f;	/* the whole might leave float32 */
	inverse = range > LEAST ? UNITS / range : 0;
	a->unit = range * (4.0f / UNITS);
	UNROLL for (int k = 0; k < 32; k += VL) {
		vf v = (load(x + k) * 0.25f - a->low * 0.25f) * inverse;

		put16(g->q + 32 * j + k, to_int(v));
		store(units + k, v);
	}
	if (weighted)
		load_weights(g, j, 32, units, affine_top(kind->top));
}

/* Sums of 1 and q. */
INLINE void affine_count(const struct groups *g, int j, const bool weighted, int top, struct affine_group *a)
{
	const int16_t *q = (weighted ? g->y : g->q) + 32 * j, *v = g->v + 32 * j;
	int32_t sum = 0, w = 0;

	for (int i = 0; i < 32; i++)
		sum += q[i];
	for (int i = 0; weighted && i < 32; i++)
		w += v[i];
	a->w = weighted ? (float)w : 32;
	a->q = weighted ? (float)sum * ((float)affine_top(top) / WEIGHT_UNITS) : (float)sum;
}

struct affine_sums { vf c[PER], cc[PER], qc[PER]; };

/* Of the codes that 16 scales and offsets make. */
INLINE void affine_sums(const struct groups *g, int j, const bool weighted, int top, const int16_t *scales,
			const int16_t *offsets, struct affine_sums *s)
{
	const int16_t *q = g->q + 32 * j, *y = g->y + 32 * j, *v = g->v + 32 * j;
	vs greatest = pair_of(top), least = pair_of(0), ones = pair_of(1);

	for (int p = 0; p < PER; p++) {
		vs scale = twice(scales_at(scales + p * VL, 1)), offset = twice(scales_at(offsets + p * VL, 1));
		vi c = { 0 }, cc = { 0 }, qc = { 0 };

		UNROLL for (int i = 0; i < 32; i += 2) {
			vs one = pair(q + i), code = sless(smore(sround(sadd(one, offset), scale), least), greatest);
			vs times = weighted ? smul(pair(v + i), code) : code;

			c += sdot(times, ones);
			cc += sdot(times, code);
			qc += sdot(weighted ? pair(y + i) : one, code);
		}
		s->c[p] = to_float(c), s->cc[p] = to_float(cc), s->qc[p] = to_float(qc);
		if (weighted)
			s->qc[p] *= (float)affine_top(top) / WEIGHT_UNITS;
	}
}

/* What the candidates of all passes leave. */
struct affine_table {
	float c[MOST_PASSES * LANES], cc[MOST_PASSES * LANES], qc[MOST_PASSES * LANES];
	float d[MOST_PASSES * LANES], m[MOST_PASSES * LANES];
	vf gain[MOST_PASSES][PER];
};

/* The best scales and minimums (not below `floor`), in units, for the codes of 16 candidates; two
 * linear equations. */
INLINE void affine_solve(const struct affine_sums *s, const struct affine_group *a, float floor, int pass,
			 struct affine_table *t)
{
	UNROLL for (int p = 0; p < PER; p++) {
		vf c = s->c[p], cc = s->cc[p], qc = s->qc[p], det = a->w * cc - c * c;
		vf d = (a->w * qc - a->q * c) / more(det, splat(1));
		vf m = (d * c - a->q) / a->w, held = more(m, splat(floor));
		int at = LANES * pass + p * VL;

		d = if_less(m, held, (qc + held * c) / more(cc, splat(1)), d);
		vf gain = d * (2 * qc - d * cc) - held * (held * a->w + 2 * (a->q - d * c));
		t->gain[pass][p] = if_less(d, splat(0), splat(-1e30f), gain);
		store(t->c + at, c), store(t->cc + at, cc), store(t->qc + at, qc);
		store(t->d + at, d), store(t->m + at, held);
	}
}

/* Each lane's scale and minimum as they suit its codes, to find codes with again. */
INLINE void affine_next(const float *d, const float *m, int16_t *scales, int16_t *offsets)
{
	for (int p = 0; p < LANES; p += VL) {
		put16(scales + p, to_int(less(32768 / more(load(d + p), splat(1)), splat(32767))));
		put16(offsets + p, to_int(hold(load(m + p), -4096, 4096)));
	}
}

INLINE void affine_keep(struct affine_table *t, const int tries, const int kept, struct affine_group *a)
{
	for (int k = 0; k < kept; k++) {
		float most = most_of(t->gain[0]);
		int at = 0;

		for (int i = 1; i < tries; i++) {
			float other = most_of(t->gain[i]);

			at = other > most ? i : at;
			most = other > most ? other : most;
		}
		at = (int)(first_at(t->gain[at], most) & 15) + LANES * at;
		a->c[k] = t->c[at], a->cc[k] = t->cc[at], a->qc[k] = t->qc[at];
		if (k == 0)
			a->d = t->d[at] * a->unit, a->m = t->m[at] * a->unit - a->low;
		for (int i = 0; i < tries; i++)
			UNROLL for (int p = 0; p < PER; p++)
				t->gain[i][p] = if_less(t->gain[i][p], splat(most), t->gain[i][p], splat(-INFINITY));
	}
}

/* Tries all candidates and, with `again`, what came of each; keeps the best codes, those first. */
INLINE void affine_search(const struct groups *g, int j, const bool weighted, const struct affine_kind *kind,
			  struct affine_group *a)
{
	float floor = kind->below ? a->low / a->unit : -1e30f;
	int16_t scales[LANES], offsets[LANES];
	const int tries = kind->again ? 2 * kind->passes : kind->passes;
	struct affine_table t;
	struct affine_sums s;

	affine_count(g, j, weighted, kind->top, a);
	for (int i = 0; i < kind->passes; i++) {
		affine_sums(g, j, weighted, kind->top, kind->tries->scale + LANES * i,
			    kind->tries->offset[a->side] + LANES * i, &s);
		affine_solve(&s, a, floor, i, &t);
	}
	for (int i = kind->passes; i < tries; i++) {
		int from = LANES * (i - kind->passes);

		affine_next(t.d + from, t.m + from, scales, offsets);
		affine_sums(g, j, weighted, kind->top, scales, offsets, &s);
		affine_solve(&s, a, floor, i, &t);
	}
	affine_keep(&t, tries, kind->kept, a);
}

/* ---- Q4_K, Q5_K: 8 groups of 32 with scale and minimum in 0..63 each ---- */

enum { PAIR_MOST = 63 };

struct pair_super { uint16_t half_d, half_m; float d, m; int scale[8], min[8]; };
/* For 16 pairs of halves: the loss of all groups, and what each takes. */
struct pair_lanes {
	vf d[PER], m[PER], d_inverse[PER], m_inverse[PER], loss[PER];
	int32_t scale[8][LANES], min[8][LANES];
	uint16_t half_d[LANES], half_m[LANES];
};

/* The better of both whole scales next to the target, each with any of the kept codes and the whole
 * minimum that suits those best. */
INLINE void pair_pick(const struct affine_group *a, int j, const int kept, struct pair_lanes *at)
{
	float per = 1 / a->unit, mean = a->unit / a->w, low = a->low * per;

	UNROLL for (int p = 0; p < PER; p++) {
		vf target = a->d * at->d_inverse[p], near = to_float(to_int(hold(target, 0, PAIR_MOST)));
		vf other = hold(near + if_less(near, target, splat(1), splat(-1)), 0, PAIR_MOST);
		vf least = splat(1e30f), best_d = splat(0), best_m = splat(0), m_per = at->m[p] * per;

		for (int o = 0; o < 2; o++) {
			vf n = o ? other : near, d = at->d[p] * n * per;

			for (int k = 0; k < kept; k++) {
				vf e = d * a->c[k] - a->q, wanted = (e * mean - a->low) * at->m_inverse[p];
				vf q = to_float(to_int(hold(wanted, 0, PAIR_MOST))), m = q * m_per + low;
				vf loss = d * (d * a->cc[k] - 2 * a->qc[k]) + m * (m * a->w - 2 * e);

				best_d = if_less(loss, least, n, best_d);
				best_m = if_less(loss, least, q, best_m);
				least = less(loss, least);
			}
		}
		at->loss[p] += least * a->part;
		vi scale = to_int(best_d), min = to_int(best_m);
		memcpy(at->scale[j] + p * VL, &scale, sizeof scale);
		memcpy(at->min[j] + p * VL, &min, sizeof min);
	}
}

/* Pairs number first.. of side x side that take the largest targets to 63 and, by steps, less. */
INLINE void pair_halves(float d, float m, float most, int first, int side, struct pair_lanes *at)
{
	float ends_d[LANES], ends_m[LANES], step = 6.0f / (float)side, relative = 1 / most;

	for (int t = 0; t < LANES; t++) {
		ends_d[t] = PAIR_MOST - step * (float)((first + t) / side);
		ends_m[t] = PAIR_MOST - step * (float)((first + t) % side);
	}
	UNROLL for (int p = 0; p < PER; p++) {
		at->d[p] = halves_near(at->half_d + p * VL, d * most / load(ends_d + p * VL)) * relative;
		at->m[p] = halves_near(at->half_m + p * VL, m * most / load(ends_m + p * VL)) * relative;
		at->d_inverse[p] = inverses(at->d[p]);
		at->m_inverse[p] = inverses(at->m[p]);
		at->loss[p] = splat(0);
	}
}

INLINE void pair_choose(const struct affine_group a[8], const int kept, float most, int side, struct pair_super *out)
{
	float most_d = 0, most_m = 0, least = INFINITY;
	struct pair_lanes at;

	for (int j = 0; j < 8; j++) {
		most_d = a[j].d > most_d ? a[j].d : most_d;
		most_m = a[j].m > most_m ? a[j].m : most_m;
	}
	for (int first = 0; first < side * side; first += LANES) {
		pair_halves(most_d, most_m, most, first, side, &at);
		for (int j = 0; j < 8; j++)
			pair_pick(&a[j], j, kept, &at);
		UNROLL for (int p = 0; p < PER; p++)
			at.loss[p] = -at.loss[p];
		float gain = most_of(at.loss);
		unsigned best = first_at(at.loss, gain) & 15;
		if (!(-gain < least))
			continue;
		least = -gain;
		out->half_d = at.half_d[best], out->half_m = at.half_m[best];
		for (int j = 0; j < 8; j++)
			out->scale[j] = at.scale[j][best], out->min[j] = at.min[j][best];
	}
	out->d = from_half(out->half_d), out->m = from_half(out->half_m);
}

/* Scale and minimum of group j among 16 about those found, by the loss with the nearest codes: where
 * whole scales are small and steps between them large, other codes than those kept may be better. */
INLINE void pair_polish(const struct groups *g, int j, const bool weighted, int top, float relative, struct pair_super *s)
{
	const float *x = g->x + 32 * j, *w = g->w + 32 * j;
	float w_inverse = weighted ? inverse_of(g->heavy[j]) : 0, scale[LANES], min[LANES];
	vf gain[PER];

	for (int t = 0; t < LANES; t++) {
		int p = s->scale[j] - 1 + t / 4, q = s->min[j] - 1 + t % 4;

		scale[t] = (float)(p < 0 ? 0 : p > PAIR_MOST ? PAIR_MOST : p);
		min[t] = (float)(q < 0 ? 0 : q > PAIR_MOST ? PAIR_MOST : q);
	}
	UNROLL for (int p = 0; p < PER; p++) {
		vf d = load(scale + p * VL) * (s->d * relative), m = load(min + p * VL) * (s->m * relative);
		vf inverse = inverses(d);

		gain[p] = splat(0);
		for (int i = 0; i < 32; i++) {
			vf v = x[i] * relative + m, e = v - d * to_float(to_int(hold(v * inverse, 0, (float)top)));

			gain[p] -= w_inverse > 0 ? w[i] * w_inverse * (e * e) : e * e;
		}
	}
	unsigned t = first_at(gain, most_of(gain)) & 15;
	s->scale[j] = (int)scale[t], s->min[j] = (int)min[t];
}

INLINE void pair_search(struct groups *g, const bool weighted, const struct affine_kind *kind, bool thorough,
			struct pair_super *out)
{
	float most = largest(g->x, 256), w_inverse = 0;
	struct affine_group a[8];

	memset(out, 0, sizeof *out);
	if (!(most > LEAST))
		return;
	if (weighted)
		w_inverse = inverse_of(largest(g->w, 256));
	for (int j = 0; j < 8; j++) {
		load_affine(g, j, weighted, kind, &a[j]);
		a[j].low /= most;
		a[j].unit /= most;
		a[j].unit = a[j].unit > LEAST ? a[j].unit : 1;
		a[j].part = a[j].unit * a[j].unit;
		if (w_inverse > 0)
			a[j].part *= g->heavy[j] * w_inverse;
		affine_search(g, j, weighted, kind, &a[j]);
	}
	pair_choose(a, kind->kept, most, thorough ? 8 : 4, out);
	for (int j = 0; thorough && j < 8; j++)
		pair_polish(g, j, weighted, kind->top, 1 / most, out);
}

INLINE void put_pair_scales(const struct pair_super *s, uint8_t *b)
{
	put_le16(b, s->half_d);
	put_le16(b + 2, s->half_m);
	for (unsigned j = 0; j < 4; j++) {
		b[4 + j] = (uint8_t)(s->scale[j] | (s->scale[j + 4] & 0x30) << 2);
		b[8 + j] = (uint8_t)(s->min[j] | (s->min[j + 4] & 0x30) << 2);
		b[12 + j] = (uint8_t)((s->scale[j + 4] & 15) | (s->min[j + 4] & 15) << 4);
	}
}

INLINE vi affine_codes(const float *x, float m, float inverse, int top)
{
	return to_int(hold((load(x) + m) * inverse, 0, (float)top));
}

/* Nibbles at low; the fifth bits at high, or NULL. */
INLINE void put_pair_codes(const struct pair_super *s, const float *x, const int top, uint8_t *low, uint8_t *high)
{
	float inverse[8], m[8];

	for (int j = 0; j < 8; j++) {
		inverse[j] = inverse_of(s->d * (float)s->scale[j]);
		m[j] = s->m * (float)s->min[j];
	}
	for (int l = 0; l < 32; l += VL) {
		vi fifth = { 0 };

		UNROLL for (int j = 0; j < 8; j += 2) {
			vi one = affine_codes(x + 32 * j + l, m[j], inverse[j], top);
			vi two = affine_codes(x + 32 * j + 32 + l, m[j + 1], inverse[j + 1], top);

			put8(low + 16 * j + l, (one & 15) | (two & 15) << 4);
			fifth |= one >> 4 << j | two >> 4 << (j + 1);
		}
		if (high)
			put8(high + l, fifth);
	}
}

INLINE void q4_k_by(const float *x, const float *weight, const bool weighted, bool thorough, size_t n, uint8_t *b)
{
	const struct affine_kind few = { 15, true, &tries_of_15, 1, KEPT, false };
	const struct affine_kind more_tries = { 15, true, &tries_of_15_more, 2, MOST_KEPT, true };
	struct groups g;
	struct pair_super s;

	for (size_t i = 0; i < n; i += 256, b += 144) {
		g.x = x + i;
		g.w = weight + i;
		pair_search(&g, weighted, thorough ? &more_tries : &few, thorough, &s);
		put_pair_scales(&s, b);
		put_pair_codes(&s, x + i, 15, b + 16, NULL);
	}
}

INLINE void q5_k_by(const float *x, const float *weight, const bool weighted, bool thorough, size_t n, uint8_t *b)
{
	const struct affine_kind few = { 31, true, &tries_of_31, 1, KEPT, false };
	const struct affine_kind more_tries = { 31, true, &tries_of_31_more, 2, MOST_KEPT, true };
	struct groups g;
	struct pair_super s;

	for (size_t i = 0; i < n; i += 256, b += 176) {
		g.x = x + i;
		g.w = weight + i;
		pair_search(&g, weighted, thorough ? &more_tries : &few, thorough, &s);
		put_pair_scales(&s, b);
		put_pair_codes(&s, x + i, 31, b + 48, b + 16);
	}
}

BY_WEIGHT(to_q4_k, q4_k_by)
BY_WEIGHT(to_q5_k, q5_k_by)

/* ---- Q4_1: 32 values under halves of both ---- */

/* The halves about the best scale, each with its best minimum, by what is lost with the kept codes. */
INLINE void q4_1_halves(const struct affine_group *a, const int kept, uint16_t *half_d, uint16_t *half_m)
{
	float steps[LANES], minimum[LANES], per = 1 / a->unit, m_worth;
	uint16_t d_halves[LANES], m_halves[LANES];
	vf most[PER];

	for (int t = 0; t < LANES; t++)
		steps[t] = 1 + (float)(t - LANES / 2) * 0x1p-11f;
	UNROLL for (int p = 0; p < PER; p++) {
		vf d = halves_near(d_halves + p * VL, a->d * load(steps + p * VL)) * per, best = splat(0);

		most[p] = splat(-INFINITY);
		for (int k = 0; k < kept; k++) {
			vf e = d * a->c[k] - a->q;
			vf at = halves_near(m_halves + p * VL, a->low - e / a->w * a->unit), m = (a->low - at) * per;
			vf gain = d * (2 * a->qc[k] - d * a->cc[k]) - m * (m * a->w - 2 * e);

			best = if_less(most[p], gain, at, best);
			most[p] = more(gain, most[p]);
		}
		store(minimum + p * VL, best);
	}
	unsigned t = first_at(most, most_of(most)) & 15;
	*half_d = d_halves[t];
	*half_m = half_near(minimum[t], &m_worth);
}

INLINE void q4_1_by(const float *x, const float *weight, const bool weighted, bool thorough, size_t n, uint8_t *b)
{
	const struct affine_kind few = { 15, false, &tries_of_15, 1, 1, false };
	const struct affine_kind more_tries = { 15, false, &tries_of_15_more, 2, KEPT, true };
	const struct affine_kind *kind = thorough ? &more_tries : &few;
	struct groups g;

	for (size_t i = 0; i < n; i += 32, b += 20) {
		struct affine_group a = { 0 };
		uint16_t half_d = 0, half_m;
		float m;

		g.x = x + i;
		g.w = weight + i;
		load_affine(&g, 0, weighted, kind, &a);
		half_m = half_near(a.low, &m);
		if (a.unit > LEAST) {
			affine_search(&g, 0, weighted, kind, &a);
			q4_1_halves(&a, kind->kept, &half_d, &half_m);
		}
		put_le16(b, half_d);
		put_le16(b + 2, half_m);
		float inverse = inverse_of(from_half(half_d));
		m = -from_half(half_m);
		UNROLL for (int l = 0; l < 16; l += VL)
			put8(b + 4 + l, affine_codes(g.x + l, m, inverse, 15) |
			     affine_codes(g.x + 16 + l, m, inverse, 15) << 4);
	}
}

BY_WEIGHT(to_q4_1, q4_1_by)
