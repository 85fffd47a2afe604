/* ---- 256 values: groups under small whole scales of one half -----------------------------------*/

/* ends: what the largest scale may become, 16 for each pass. */
struct super_kind { struct grid grid; int size, lo, hi; };

/* One half, and a scale for each group: what is found. */
struct super { uint16_t half; float d; int scale[16]; };

enum { MOST_PASSES = 2, MOST_SCALES = MOST_PASSES * LANES };
struct super_sums {
	float xc[16][MOST_SCALES], cc[16][MOST_SCALES], target[16], unit[16], part[16];
	unsigned which[16];
};
/* Loss of all groups for 16 halves, and the scale of each group. */
struct super_lanes { vf d[PER], inverse[PER], loss[PER]; int32_t scale[16][LANES]; uint16_t half[LANES]; };

/* Best of both whole scales next to the target, with the codes of any of `window` candidates. */
INLINE void super_pick(const struct super_sums *s, int j, const struct super_kind kind, const int n_scales, const int window,
		       struct super_lanes *at)
{
	int first = (int)s->which[j] - window / 2;
	float per = 1 / s->unit[j];

	first = first < 0 ? 0 : first > n_scales - window ? n_scales - window : first;
	UNROLL for (int p = 0; p < PER; p++) {
		vf target = s->target[j] * at->inverse[p], lo = splat((float)kind.lo), hi = splat((float)kind.hi);
		vf near = to_float(to_int(less(more(target, lo), hi)));
		vf other = less(more(near + if_less(near, target, splat(1), splat(-1)), lo), hi);
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

/* As scale_sums, of the numbers themselves. */
INLINE void group_sums(const struct groups *g, int j, const int size, const struct grid grid, const int16_t *scales, vf *xc, vf *cc)
{
	float x[32], w[32], unit = g->most[j] > 0x1p-60f ? UNITS / g->most[j] : 0, w_inverse = inverse_of(g->heavy[j]);
	vf s[PER];

	UNROLL for (int i = 0; i < size; i += VL) {
		store(x + i, load(g->x + j * size + i) * unit);
		store(w + i, w_inverse > 0 ? load(g->w + j * size + i) * w_inverse : splat(1));
	}
	UNROLL for (int p = 0; p < PER; p++) {
		vi pairs;

		memcpy(&pairs, scales + 2 * p * VL, sizeof pairs);
		s[p] = to_float(pairs >> 16) * 0x1p-15f;
	}
	real_sums(x, w, true, size, grid, s, xc, cc);
	UNROLL for (int p = 0; p < PER; p++)
		xc[p] *= (float)weight_top(grid), cc[p] *= (float)weight_top(grid);
}

INLINE void super_sums(const struct groups *g, const bool weighted, const struct super_kind kind, const int passes,
		       const struct scales *scales, const bool real, float relative, float w_relative, struct super_sums *s)
{
	for (int j = 0; j < 256 / kind.size; j++) {
		const int16_t *try = scales->of[leans_down(g, j, kind.size)];
		float most = -1;

		s->unit[j] = g->most[j] * relative * (1.0f / UNITS);
		s->unit[j] = s->unit[j] > 0x1p-60f ? s->unit[j] : 1;
		for (int t = 0; t < passes; t++) {
			vf xc[PER], cc[PER];
			float gain, d;
			unsigned which;

			if (weighted && kind.grid.iq4 && real)
				group_sums(g, j, kind.size, kind.grid, try + 32 * t, xc, cc);
			else
				scale_sums(g, j, kind.size, weighted, kind.grid, try + 32 * t, xc, cc);
			d = best_scale(xc, cc, &which, &gain);
			memcpy(s->xc[j] + LANES * t, xc, sizeof xc);
			memcpy(s->cc[j] + LANES * t, cc, sizeof cc);
			if (gain > most) {
				most = gain;
				s->which[j] = which + (unsigned)(LANES * t);
				s->target[j] = d * s->unit[j];
			}
		}
		s->part[j] = s->unit[j] * s->unit[j];
		if (weighted)
			s->part[j] *= w_relative > 0 ? g->heavy[j] * w_relative : 1;
	}
}

INLINE void super_search(const struct groups *g, const bool weighted, const struct super_kind kind, const int passes,
			 const struct scales *scales, const float *ends, const int n_ends, struct super *out)
{
	struct super_sums s;
	struct super_lanes at;
	float most = 0, heavy = 0, target = 0, relative, least = 1;

	for (int j = 0; j < 256 / kind.size; j++) {
		most = g->most[j] > most ? g->most[j] : most;
		heavy = weighted && g->heavy[j] > heavy ? g->heavy[j] : heavy;
	}
	memset(out, 0, sizeof *out);
	if (!(most > 0x1p-60f))
		return;
	relative = 1 / most;
	super_sums(g, weighted, kind, passes, scales, n_ends > LANES, relative, weighted ? inverse_of(heavy) : 0, &s);
	for (int j = 0; j < 256 / kind.size; j++)
		target = fabsf(s.target[j]) > fabsf(target) ? s.target[j] : target;
	for (int t = 0; t < n_ends; t += LANES) {
		UNROLL for (int p = 0; p < PER; p++) {
			vf d = target * most / load(ends + t + p * VL);

			at.d[p] = put_halves(at.half + p * VL, less(more(d, splat(-65504)), splat(65504))) * relative;
			at.inverse[p] = inverses(at.d[p]);
			at.loss[p] = splat(0);
		}
		for (int j = 0; j < 256 / kind.size; j++)
			super_pick(&s, j, kind, LANES * passes, passes > 1 ? WIDE_WINDOW : WINDOW, &at);
		UNROLL for (int p = 0; p < PER; p++)
			at.loss[p] = -at.loss[p];
		float gain = most_of(at.loss);
		unsigned best = first_at(at.loss, gain) & 15;
		if (-gain < least) {
			least = -gain;
			out->half = at.half[best] == 0x8000 ? 0 : at.half[best];
			for (int j = 0; j < 256 / kind.size; j++)
				out->scale[j] = at.scale[j][best];
		}
	}
	out->d = from_half(out->half);
}

INLINE void q6_k_by(const float *x, const float *weight, const bool weighted, bool thorough, size_t n, uint8_t *b)
{
	const struct super_kind kind = { { -32, 31, false }, 16, -128, 127 };
	struct groups g;
	struct super s;

	for (size_t i = 0; i < n; i += 256, b += 210) {
		float inverse[16];
		g.x = x + i;
		g.w = weighted ? weight + i : NULL;
		for (int j = 0; j < 16; j++)
			load_group(&g, j, 16, weighted, (float)weight_top(kind.grid));
		super_search(&g, weighted, kind, thorough ? 2 : 1, thorough ? &q6_k_more : &q6_k_few, q6_k_ends, thorough ? 64 : 16, &s);
		put_le16(b + 208, s.half);
		for (int j = 0; j < 16; j++) {
			inverse[j] = inverse_of(s.d * (float)s.scale[j]);
			b[192 + j] = (uint8_t)(int8_t)s.scale[j];
		}
		for (int h = 0; h < 2; h++)
			for (int l = 0; l < 32; l += VL) {
				const float *v = g.x + 128 * h + l;
				vi c[4];
				UNROLL for (int k = 0; k < 4; k++)
					c[k] = codes_of(kind.grid, load(v + 32 * k) * inverse[8 * h + 2 * k + l / 16]);
				put8(b + 64 * h + l, (c[0] & 15) | (c[2] & 15) << 4);
				put8(b + 64 * h + 32 + l, (c[1] & 15) | (c[3] & 15) << 4);
				put8(b + 128 + 32 * h + l, c[0] >> 4 | c[1] >> 4 << 2 | c[2] >> 4 << 4 | c[3] >> 4 << 6);
			}
	}
}
BY_WEIGHT(to_q6_k, q6_k_by)

INLINE void iq4_xs_by(const float *x, const float *weight, const bool weighted, bool thorough, size_t n, uint8_t *b)
{
	const struct super_kind kind = { { 0, 15, true }, 32, -32, 31 };
	struct groups g;
	struct super s;

	for (size_t i = 0; i < n; i += 256, b += 136) {
		g.x = x + i;
		g.w = weighted ? weight + i : NULL;
		for (int j = 0; j < 8; j++)
			load_group(&g, j, 32, weighted, (float)weight_top(kind.grid));
		super_search(&g, weighted, kind, 2, &iq4_scales, iq4_xs_ends, thorough ? 64 : 16, &s);
		put_le16(b, s.half);
		memset(b + 2, 0, 6);
		for (int j = 0; j < 8; j++) {
			float inverse = inverse_of(s.d * (float)s.scale[j]);
			unsigned stored = (unsigned)(s.scale[j] + 32);
			const float *v = g.x + 32 * j;

			UNROLL for (int l = 0; l < 16; l += VL)
				put8(b + 8 + 16 * j + l, codes_of(kind.grid, load(v + l) * inverse) |
				     codes_of(kind.grid, load(v + l + 16) * inverse) << 4);
			b[4 + j / 2] |= (uint8_t)((stored & 15) << j % 2 * 4);
			b[2 + j / 4] |= (uint8_t)(stored >> 4 << j % 4 * 2);
		}
	}
}
BY_WEIGHT(to_iq4_xs, iq4_xs_by)
