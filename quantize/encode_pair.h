/* ---- scale and minimum: y = d code - m --------------------------------------------------------*/

/* Where 16 scales put the ends of a group of values: code = (q + offset) scale / 2^15, rounded; by
 * which end is farther from zero, the upper one first. */
struct ends { int16_t scale[64], offset[64]; };
static const struct ends few_of_15[2] = {
	{ {
	246, 246, 243, 243, 250, 250, 227, 227, 243, 243, 243, 243, 253, 253, 227, 227,
	256, 256, 253, 253, 211, 211, 253, 253, 234, 234, 240, 240, 211, 211, 240, 240,
	}, {
	-27, -27, 27, 27, -79, -79, 115, 115, 0, 0, -27, -27, -104, -104, 144, 144,
	-77, -77, -26, -26, 124, 124, 0, 0, 28, 28, 27, 27, 155, 155, -27, -27,
	} },
	{ {
	246, 246, 243, 243, 250, 250, 227, 227, 243, 243, 243, 243, 253, 253, 227, 227,
	256, 256, 253, 253, 211, 211, 253, 253, 234, 234, 240, 240, 211, 211, 240, 240,
	}, {
	-27, -27, -54, -54, 0, 0, 0, 0, -27, -27, 0, 0, 0, 0, -29, -29,
	-51, -51, -78, -78, 155, 155, -104, -104, 28, 28, -27, -27, 124, 124, 27, 27,
	} },
};
static const struct ends more_of_15[2] = {
	{ {
	246, 246, 243, 243, 243, 243, 227, 227, 243, 243, 243, 243, 253, 253, 227, 227,
	256, 256, 253, 253, 211, 211, 259, 259, 234, 234, 240, 240, 211, 211, 240, 240,
	253, 253, 253, 253, 269, 269, 224, 224, 230, 230, 262, 262, 224, 224, 246, 246,
	202, 202, 272, 272, 246, 246, 237, 237, 250, 250, 237, 237, 278, 278, 214, 214,
	}, {
	-27, -27, 27, 27, -54, -54, 115, 115, 0, 0, -27, -27, -104, -104, 144, 144,
	-77, -77, -26, -26, 124, 124, -25, -25, 28, 28, 27, 27, 155, 155, -27, -27,
	-52, -52, -78, -78, -24, -24, 176, 176, 85, 85, -175, -175, 146, 146, -80, -80,
	130, 130, -169, -169, 27, 27, 0, 0, -26, -26, 83, 83, -118, -118, 245, 245,
	} },
	{ {
	246, 246, 243, 243, 243, 243, 227, 227, 243, 243, 243, 243, 253, 253, 227, 227,
	256, 256, 253, 253, 211, 211, 259, 259, 234, 234, 240, 240, 211, 211, 240, 240,
	253, 253, 253, 253, 269, 269, 224, 224, 230, 230, 262, 262, 224, 224, 246, 246,
	202, 202, 272, 272, 246, 246, 237, 237, 250, 250, 237, 237, 278, 278, 214, 214,
	}, {
	-27, -27, -54, -54, 27, 27, 0, 0, -27, -27, 0, 0, 0, 0, -29, -29,
	-51, -51, -78, -78, 155, 155, -127, -127, 28, 28, -27, -27, 124, 124, 27, 27,
	-52, -52, -26, -26, -195, -195, -29, -29, 0, 0, 0, 0, 0, 0, 27, 27,
	260, 260, -72, -72, -80, -80, 28, 28, -52, -52, -55, -55, -165, -165, 0, 0,
	} },
};
static const struct ends few_of_31[2] = {
	{ {
	496, 496, 488, 488, 500, 500, 496, 496, 464, 464, 476, 476, 448, 448, 480, 480,
	504, 504, 500, 500, 504, 504, 468, 468, 500, 500, 492, 492, 460, 460, 480, 480,
	}, {
	0, 0, 50, 50, 16, 16, -17, -17, 141, 141, 86, 86, 146, 146, 68, 68,
	-16, -16, -33, -33, 0, 0, 123, 123, -16, -16, 17, 17, 89, 89, 51, 51,
	} },
	{ {
	496, 496, 488, 488, 500, 500, 496, 496, 464, 464, 476, 476, 448, 448, 480, 480,
	504, 504, 500, 500, 504, 504, 468, 468, 500, 500, 492, 492, 460, 460, 480, 480,
	}, {
	0, 0, -17, -17, -33, -33, 17, 17, 0, 0, 0, 0, 73, 73, 0, 0,
	-16, -16, 16, 16, -33, -33, 0, 0, 0, 0, 0, 0, 71, 71, 17, 17,
	} },
};
static const struct ends more_of_31[2] = {
	{ {
	496, 496, 480, 480, 496, 496, 496, 496, 464, 464, 476, 476, 448, 448, 488, 488,
	504, 504, 508, 508, 504, 504, 468, 468, 508, 508, 492, 492, 468, 468, 492, 492,
	480, 480, 436, 436, 500, 500, 452, 452, 448, 448, 484, 484, 516, 516, 500, 500,
	480, 480, 520, 520, 500, 500, 464, 464, 484, 484, 464, 464, 500, 500, 436, 436,
	}, {
	0, 0, 68, 68, 17, 17, -17, -17, 141, 141, 86, 86, 146, 146, 50, 50,
	-16, -16, -48, -48, 0, 0, 123, 123, -32, -32, 17, 17, 140, 140, 0, 0,
	51, 51, 150, 150, 16, 16, 127, 127, 91, 91, 68, 68, -32, -32, -33, -33,
	85, 85, -16, -16, 0, 0, 88, 88, 51, 51, 124, 124, -16, -16, 132, 132,
	} },
	{ {
	496, 496, 480, 480, 496, 496, 496, 496, 464, 464, 476, 476, 448, 448, 488, 488,
	504, 504, 508, 508, 504, 504, 468, 468, 508, 508, 492, 492, 468, 468, 492, 492,
	480, 480, 436, 436, 500, 500, 452, 452, 448, 448, 484, 484, 516, 516, 500, 500,
	480, 480, 520, 520, 500, 500, 464, 464, 484, 484, 464, 464, 500, 500, 436, 436,
	}, {
	0, 0, 0, 0, -17, -17, 17, 17, 0, 0, 0, 0, 73, 73, -17, -17,
	-16, -16, 0, 0, -33, -33, 0, 0, -16, -16, 0, 0, -18, -18, 17, 17,
	17, 17, 132, 132, -33, -33, 72, 72, 128, 128, -17, -17, -48, -48, 16, 16,
	-17, -17, -79, -79, -16, -16, 53, 53, 0, 0, 18, 18, 0, 0, 150, 150,
	} },
};
static const float pair_ends_d[64] = {
	63, 63, 63, 63, 61.5f, 61.5f, 61.5f, 61.5f, 60, 60, 60, 60, 58.5f, 58.5f, 58.5f, 58.5f,
	63, 63, 63, 63, 62.25f, 62.25f, 62.25f, 62.25f, 62.25f, 62.25f, 62.25f, 62.25f, 61.5f, 61.5f, 61.5f, 61.5f,
	60.75f, 60.75f, 60.75f, 60.75f, 60.75f, 60.75f, 60.75f, 60.75f, 60, 60, 60, 60, 59.25f, 59.25f, 59.25f, 59.25f,
	59.25f, 59.25f, 59.25f, 59.25f, 58.5f, 58.5f, 58.5f, 58.5f, 57.75f, 57.75f, 57.75f, 57.75f, 57.75f, 57.75f, 57.75f, 57.75f,
};
static const float pair_ends_m[64] = {
	63, 61.5f, 60, 58.5f, 63, 61.5f, 60, 58.5f, 63, 61.5f, 60, 58.5f, 63, 61.5f, 60, 58.5f,
	62.25f, 60.75f, 59.25f, 57.75f, 63, 62.25f, 61.5f, 60.75f, 60, 59.25f, 58.5f, 57.75f, 62.25f, 60.75f, 59.25f, 57.75f,
	63, 62.25f, 61.5f, 60.75f, 60, 59.25f, 58.5f, 57.75f, 62.25f, 60.75f, 59.25f, 57.75f, 63, 62.25f, 61.5f, 60.75f,
	60, 59.25f, 58.5f, 57.75f, 62.25f, 60.75f, 59.25f, 57.75f, 63, 62.25f, 61.5f, 60.75f, 60, 59.25f, 58.5f, 57.75f,
};

enum { KEPT = 4, MOST_KEPT = 8 };

/* A group as whole numbers, x = low + q unit, and what is kept of the best codes c of the 16: sums of c,
 * c c, q c; of 1 and q; all weighted. */
struct affine_group { float low, unit, part, w, q, d, m, c[MOST_KEPT], cc[MOST_KEPT], qc[MOST_KEPT]; };

INLINE void load_affine(struct groups *g, int j, const bool weighted, const bool below, float v_top, struct affine_group *a, bool *up)
{
	const float *x = g->x + 32 * j;
	vf lo[PER], hi[PER];
	float high, inverse, w_inverse;

	UNROLL for (int p = 0; p < PER; p++) {
		vf one = load(x + p * VL), two = load(x + LANES + p * VL);
		hi[p] = more(one, two);
		lo[p] = -less(one, two);
	}
	high = most_of(hi), a->low = -most_of(lo);
	*up = high > -a->low;
	a->low = below && a->low > 0 ? 0 : a->low;
	g->most[j] = high > -a->low ? high : -a->low;
	float range = high * 0.25f - a->low * 0.25f;	/* the whole might leave float32 */
	inverse = range > 0x1p-60f ? UNITS / range : 0;
	a->unit = range * (4.0f / UNITS);
	UNROLL for (int k = 0; k < 32; k += VL)
		put16(g->q + j * 32 + k, to_int((load(x + k) * 0.25f - a->low * 0.25f) * inverse));
	if (!weighted)
		return;
	g->heavy[j] = largest(g->w + 32 * j, 32);
	w_inverse = inverse_of(g->heavy[j]);
	UNROLL for (int k = 0; k < 32; k += VL) {
		vf w = w_inverse > 0 ? load(g->w + 32 * j + k) * w_inverse : splat(1);

		put16(g->y + j * 32 + k, to_int((load(x + k) * 0.25f - a->low * 0.25f) * inverse * (w * 15)));
		put16(g->v + j * 32 + k, to_int(w * v_top));
	}
}

struct affine_sums { vf c[PER], cc[PER], qc[PER]; };

INLINE void affine_sums(const struct groups *g, int j, const bool weighted, int top, const int16_t *scales, const int16_t *offsets,
			struct affine_sums *s)
{
	const int16_t *q = g->q + j * 32, *y = g->y + j * 32, *v = g->v + j * 32;
	int16_t t = (int16_t)top;
	vs greatest = pair((int16_t[2]){ t, t }), least = pair((int16_t[2]){ 0, 0 }), ones = pair((int16_t[2]){ 1, 1 });

	for (int p = 0; p < PER; p++) {
		vs scale = load_pairs(scales + 2 * p * VL), offset = load_pairs(offsets + 2 * p * VL);
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
			s->qc[p] *= (float)(32767 / top) / 15;
	}
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
	a->q = weighted ? (float)sum * ((float)(32767 / top) / 15) : (float)sum;
}

/* Each lane's scale and minimum as they suit its codes, to find codes with again. */
INLINE void affine_next(const float *d, const float *m, int16_t *scales, int16_t *offsets)
{
	for (int p = 0; p < LANES; p += VL) {
		vi s = to_int(less(32768 / more(load(d + p), splat(1)), splat(32767)));
		vi o = to_int(less(more(load(m + p), splat(-4096)), splat(4096)));

		s = s | s << 16, o = (o & 0xFFFF) | o << 16;
		memcpy(scales + 2 * p, &s, sizeof s), memcpy(offsets + 2 * p, &o, sizeof o);
	}
}

enum { MOST_TRIES = 4 * LANES };

/* The best codes of a group, best first, and the best scale and minimum for them. With `again`, each
 * pass is followed by one that begins with what it found. */
INLINE void affine_keep(const struct groups *g, int j, const bool weighted, const int top, const int passes, const bool again,
			const int kept, const struct ends *ends, const bool below, struct affine_group *a)
{
	float c[MOST_TRIES], cc[MOST_TRIES], qc[MOST_TRIES], d[MOST_TRIES], m[MOST_TRIES];
	int16_t scales[2 * LANES], offsets[2 * LANES];
	const int tries = again ? 2 * passes : passes;
	vf gain[4][PER], floor = splat(below ? a->low / a->unit : -1e30f);

	for (int t = 0; t < tries; t++) {
		const int16_t *try = ends->scale + 2 * LANES * t, *with = ends->offset + 2 * LANES * t;
		struct affine_sums s;

		if (t >= passes) {
			affine_next(d + LANES * (t - passes), m + LANES * (t - passes), scales, offsets);
			try = scales, with = offsets;
		}
		affine_sums(g, j, weighted, top, try, with, &s);
		UNROLL for (int p = 0; p < PER; p++) {
			int at = LANES * t + p * VL;
			vf det = a->w * s.cc[p] - s.c[p] * s.c[p];
			vf sd = (a->w * s.qc[p] - a->q * s.c[p]) / more(det, splat(1));
			vf sm = (sd * s.c[p] - a->q) / a->w, held = more(sm, floor);

			sd = if_less(sm, held, (s.qc[p] + held * s.c[p]) / more(s.cc[p], splat(1)), sd);
			gain[t][p] = sd * (2 * s.qc[p] - sd * s.cc[p]) - held * (held * a->w + 2 * (a->q - sd * s.c[p]));
			gain[t][p] = if_less(sd, splat(0), splat(-1e30f), gain[t][p]);
			store(c + at, s.c[p]), store(cc + at, s.cc[p]), store(qc + at, s.qc[p]);
			store(d + at, sd), store(m + at, held);
		}
	}
	for (int k = 0; k < kept; k++) {
		float most = most_of(gain[0]);
		int at = 0;

		for (int t = 1; t < tries; t++) {
			float other = most_of(gain[t]);
			at = other > most ? t : at;
			most = other > most ? other : most;
		}
		at = (int)(first_at(gain[at], most) & 15) + LANES * at;
		a->c[k] = c[at], a->cc[k] = cc[at], a->qc[k] = qc[at];
		if (k == 0)
			a->d = d[at] * a->unit, a->m = m[at] * a->unit - a->low;
		for (int t = 0; t < tries; t++)
			UNROLL for (int p = 0; p < PER; p++)
				gain[t][p] = if_less(gain[t][p], splat(most), gain[t][p], splat(-INFINITY));
	}
}

/* One of the pair of scales for each group. */
struct pair_super { uint16_t half_d, half_m; float d, m; int scale[8], min[8]; };
struct pair_lanes { vf d[PER], m[PER], d_inverse[PER], m_inverse[PER], loss[PER]; };

INLINE void pair_pick(const struct affine_group *a, const int kept, struct pair_lanes *at, int32_t *scale, int32_t *min)
{
	float per = 1 / a->unit, mean = a->unit / a->w, low = a->low * per;

	UNROLL for (int p = 0; p < PER; p++) {
		vf target = a->d * at->d_inverse[p], near = to_float(to_int(less(more(target, splat(0)), splat(63))));
		vf other = less(more(near + if_less(near, target, splat(1), splat(-1)), splat(0)), splat(63));
		vf least = splat(1e30f), best_d = splat(0), best_m = splat(0), m_per = at->m[p] * per;

		for (int o = 0; o < 2; o++) {
			vf n = o ? other : near, d = at->d[p] * n * per;

			UNROLL for (int k = 0; k < kept; k++) {
				vf e = d * a->c[k] - a->q;
				vf q = to_float(to_int(less(more((e * mean - a->low) * at->m_inverse[p], splat(0)), splat(63))));
				vf m = q * m_per + low, loss = d * (d * a->cc[k] - 2 * a->qc[k]) + m * (m * a->w - 2 * e);

				best_d = if_less(loss, least, n, best_d);
				best_m = if_less(loss, least, q, best_m);
				least = less(loss, least);
			}
		}
		at->loss[p] += least * a->part;
		vi whole = to_int(best_d);
		memcpy(scale + p * VL, &whole, sizeof whole);
		whole = to_int(best_m);
		memcpy(min + p * VL, &whole, sizeof whole);
	}
}

INLINE void pair_search(struct groups *g, const bool weighted, const int top, bool thorough, const struct ends ends[2],
			struct pair_super *out)
{
	struct affine_group a[8];
	struct pair_lanes at;
	float most = 0, heavy = 0, relative, w_relative = 0, most_d = 0, most_m = 0, least = INFINITY;
	int32_t scale[8][LANES], min[8][LANES];
	uint16_t half_d[LANES], half_m[LANES];
	bool up[8];

	for (int j = 0; j < 8; j++) {
		load_affine(g, j, weighted, true, (float)(32767 / top), &a[j], &up[j]);
		most = g->most[j] > most ? g->most[j] : most;
		if (weighted)
			heavy = g->heavy[j] > heavy ? g->heavy[j] : heavy;
	}
	memset(out, 0, sizeof *out);
	if (!(most > 0x1p-60f))
		return;
	relative = 1 / most;
	w_relative = inverse_of(heavy);
	for (int j = 0; j < 8; j++) {
		a[j].low *= relative;
		a[j].unit *= relative;
		a[j].unit = a[j].unit > 0x1p-60f ? a[j].unit : 1;
		a[j].part = a[j].unit * a[j].unit;
		affine_count(g, j, weighted, top, &a[j]);
		if (weighted)
			a[j].part *= w_relative > 0 ? g->heavy[j] * w_relative : 1;
		affine_keep(g, j, weighted, top, thorough ? 2 : 1, thorough, thorough ? MOST_KEPT : KEPT, &ends[!up[j]], true, &a[j]);
		most_d = a[j].d > most_d ? a[j].d : most_d;
		most_m = a[j].m > most_m ? a[j].m : most_m;
	}
	for (int t = 0; t < (thorough ? 64 : 16); t += LANES) {
		UNROLL for (int p = 0; p < PER; p++) {
			vf d = less(most_d * most / load(pair_ends_d + t + p * VL), splat(65504));
			vf m = less(most_m * most / load(pair_ends_m + t + p * VL), splat(65504));

			at.d[p] = put_halves(half_d + p * VL, d) * relative;
			at.m[p] = put_halves(half_m + p * VL, m) * relative;
			at.d_inverse[p] = inverses(at.d[p]);
			at.m_inverse[p] = inverses(at.m[p]);
			at.loss[p] = splat(0);
		}
		for (int j = 0; j < 8; j++)
			pair_pick(&a[j], thorough ? MOST_KEPT : KEPT, &at, scale[j], min[j]);
		UNROLL for (int p = 0; p < PER; p++)
			at.loss[p] = -at.loss[p];
		float gain = most_of(at.loss);
		unsigned best = first_at(at.loss, gain) & 15;
		if (-gain < least) {
			least = -gain;
			out->half_d = half_d[best], out->half_m = half_m[best];
			for (int j = 0; j < 8; j++)
				out->scale[j] = scale[j][best], out->min[j] = min[j][best];
		}
	}
	out->d = from_half(out->half_d), out->m = from_half(out->half_m);
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

INLINE void pair_by(const float *x, const float *weight, const bool weighted, bool thorough, const int top, size_t n, uint8_t *b)
{
	struct groups g;
	struct pair_super s;

	for (size_t i = 0; i < n; i += 256, b += top == 15 ? 144 : 176) {
		uint8_t *low = b + (top == 15 ? 16 : 48);
		float inverse[8], m[8];

		g.x = x + i;
		g.w = weighted ? weight + i : NULL;
		pair_search(&g, weighted, top, thorough, top == 15 ? thorough ? more_of_15 : few_of_15 : thorough ? more_of_31 : few_of_31, &s);
		put_pair_scales(&s, b);
		for (int j = 0; j < 8; j++) {
			inverse[j] = inverse_of(s.d * (float)s.scale[j]);
			m[j] = s.m * (float)s.min[j];
		}
		for (int l = 0; l < 32; l += VL) {
			vi high = { 0 };

			UNROLL for (int j = 0; j < 8; j += 2) {
				vi c0 = to_int(less(more((load(g.x + 32 * j + l) + m[j]) * inverse[j], splat(0)), splat((float)top)));
				vi c1 = to_int(less(more((load(g.x + 32 * j + 32 + l) + m[j + 1]) * inverse[j + 1], splat(0)), splat((float)top)));

				put8(low + 16 * j + l, (c0 & 15) | (c1 & 15) << 4);
				high |= c0 >> 4 << j | c1 >> 4 << (j + 1);
			}
			if (top > 15)
				put8(b + 16 + l, high);
		}
	}
}
INLINE void q4_k_by(const float *x, const float *weight, const bool weighted, bool thorough, size_t n, uint8_t *b)
{
	pair_by(x, weight, weighted, thorough, 15, n, b);
}
BY_WEIGHT(to_q4_k, q4_k_by)

INLINE void q5_k_by(const float *x, const float *weight, const bool weighted, bool thorough, size_t n, uint8_t *b)
{
	pair_by(x, weight, weighted, thorough, 31, n, b);
}
BY_WEIGHT(to_q5_k, q5_k_by)

/* The halves about the best scale, each with its best minimum, by what is lost with the kept codes. */
INLINE void q4_1_halves(const struct affine_group *a, const int kept, uint16_t *half_d, uint16_t *half_m)
{
	vf loss[PER], per = splat(1 / a->unit);
	uint16_t hd[LANES], hm[LANES];
	float steps[LANES];

	for (int t = 0; t < LANES; t++)
		steps[t] = 1 + (float)(t - 8) * 0x1p-11f;
	UNROLL for (int p = 0; p < PER; p++) {
		vf d = less(a->d * load(steps + p * VL), splat(65504));

		d = put_halves(hd + p * VL, d) * per;
		loss[p] = splat(-INFINITY);
		for (int k = 0; k < kept; k++) {
			vf e = d * a->c[k] - a->q, m = e / a->w * a->unit - a->low;
			uint16_t h[VL];

			m = put_halves(h, less(more(-m, splat(-65504)), splat(65504)));
			m = (a->low - m) * per;
			vf gain = d * (2 * a->qc[k] - d * a->cc[k]) - m * (m * a->w - 2 * e);
			for (int l = 0; l < VL; l++) {
				float one[VL], best[VL];
				memcpy(one, &gain, sizeof one), memcpy(best, &loss[p], sizeof best);
				if (one[l] > best[l])
					hm[p * VL + l] = h[l];
			}
			loss[p] = more(gain, loss[p]);
		}
	}
	unsigned t = first_at(loss, most_of(loss)) & 15;
	*half_d = hd[t], *half_m = hm[t] == 0x8000 ? 0 : hm[t];
}

INLINE void q4_1_by(const float *x, const float *weight, const bool weighted, bool thorough, size_t n, uint8_t *b)
{
	struct groups g;

	for (size_t i = 0; i < n; i += 32, b += 20) {
		struct affine_group a = { 0 };
		uint16_t half_d, half_m;
		bool up;
		float d, m, inverse;

		g.x = x + i;
		g.w = weighted ? weight + i : NULL;
		load_affine(&g, 0, weighted, false, 32767 / 15, &a, &up);
		if (a.unit > 0x1p-60f) {
			affine_count(&g, 0, weighted, 15, &a);
			affine_keep(&g, 0, weighted, 15, thorough ? 2 : 1, thorough, KEPT, thorough ? &more_of_15[!up] : &few_of_15[!up], false, &a);
			q4_1_halves(&a, thorough ? KEPT : 1, &half_d, &half_m);
		} else {
			half_d = 0, half_m = half_near(a.low, &m);
		}
		d = from_half(half_d), m = from_half(half_m);
		put_le16(b, half_d);
		put_le16(b + 2, half_m);
		inverse = inverse_of(d);
		UNROLL for (int l = 0; l < 16; l += VL) {
			vi lo = to_int(less(more((load(g.x + l) - m) * inverse, splat(0)), splat(15)));
			vi hi = to_int(less(more((load(g.x + 16 + l) - m) * inverse, splat(0)), splat(15)));

			put8(b + 4 + l, lo | hi << 4);
		}
	}
}
BY_WEIGHT(to_q4_1, q4_1_by)
