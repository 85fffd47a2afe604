/* SPDX-License-Identifier: MIT
 *
 * encode_fp4.h - part of encode_body.h: FP4 E2M1 codes under scales of a byte. All scales that can be best
 * are tried: MXFP4's few one after another, lanes being values; NVFP4's as lanes.
 */

/* Nearest magnitude of E2M1 to a >= 0, ties to the even code, before it is held to 6: below 2 steps are
 * 1/2, and adding 2^22 times the power of two beneath a leaves no bits for less. That power is at most 8:
 * what is larger stays above 6 as it is. */
INLINE vf near_e2m1(vf a)
{
	vf big = as_float((as_int(less(more(a, splat(1)), splat(8))) & 0x7F800000) + (22 << 23));

	return a + big - big;
}

/* Code of magnitude r for value x. */
INLINE vi code_e2m1(vf r, vf x)
{
	vi c = imore(iless(to_int(2 * r), isplat(1)), (as_int(r) >> 22) - 252);

	return c | ((as_int(x) >> 28) & 8 & -iless(c, isplat(1)));
}

/* Values a (magnitudes) of 32, w or NULL: loss at scale d of 1 / inverse, none above top. */
INLINE float e2m1_loss(const float *a, const float *w, float d, float inverse, float top)
{
	vf sum[PER] = { 0 };

	for (int i = 0; i < 32; i += LANES)
		UNROLL for (int p = 0; p < PER; p++) {
			vf v = load(a + i + p * VL), e = v - d * less(near_e2m1(v * inverse), splat(top));

			sum[p] += w ? load(w + i + p * VL) * (e * e) : e * e;
		}
	return sum_of(sum);
}

/* What values beyond the grid alone lose at scale d, and more at any smaller one. */
INLINE float e2m1_cut(const float *a, const float *w, const int n, float d)
{
	vf sum[PER] = { 0 };

	for (int i = 0; i < n; i += LANES)
		UNROLL for (int p = 0; p < PER; p++) {
			vf over = more(load(a + i + p * VL) - 6 * d, splat(0));

			sum[p] += w ? load(w + i + p * VL) * (over * over) : over * over;
		}
	return sum_of(sum);
}

/* MXFP4. In units of the power of two beneath the largest magnitude m, 1 <= m < 2, the scale is 1/2 or 1/4
 * or less: at 1 all values are below twice the scale, where a doubled grid has only some of the same
 * numbers; so has that of 1/2 beside 1/4's if no value goes to its 4. Under 1/4 what is cut off soon loses
 * more than the best. */
INLINE unsigned mxfp4_scale(const float *x, const float *weight, float most)
{
	float a[32], room[32], least, loss;
	const float *w = weight ? relative_weights(weight, 32, room) : NULL;
	int e = (int)((uint32_t)f32_bits(most) >> 23), best;

	e = e < 2 ? 2 : e;
	float unit = e > 253 ? 0x1p-127f : bits_f32((uint32_t)(254 - e) << 23);
	UNROLL for (int i = 0; i < 32; i += VL)
		store(a + i, fabs_of(load(x + i)) * unit);
	best = e - 2;
	least = e2m1_loss(a, w, 0.25f, 4, 6);
	if (most * unit > 1.75f) {
		loss = e2m1_loss(a, w, 0.5f, 2, e == 254 ? 3 : 6);
		if (loss <= least)
			least = loss, best = e - 1;
	}
	float d = 0.125f;
	for (int at = e - 3; at >= 0; at--, d *= 0.5f) {
		if (e2m1_cut(a, w, 32, d) >= least)
			break;
		loss = e2m1_loss(a, w, d, 1 / d, 6);
		if (loss < least)
			least = loss, best = at;
	}
	return (unsigned)best;
}

static void to_mxfp4(const float *x, const float *weight, size_t n, enum effort effort, uint8_t *b)
{
	(void)effort;
	for (size_t i = 0; i < n; i += 32, b += 17) {
		const float *v = x + i;
		float most = largest(v, 32), inverse, top;
		unsigned e = most > 0 ? weight ? mxfp4_scale(v, weight + i, most) : mxfp4_scale(v, NULL, most) : 0;

		b[0] = (uint8_t)e;
		inverse = e == 254 ? 0x1p-127f : bits_f32((254 - e) << 23);
		top = e == 253 ? 3 : 6;	/* more would leave float32 */
		UNROLL for (int l = 0; l < 16; l += VL) {
			vf low = load(v + l), high = load(v + l + 16);
			vf r = less(near_e2m1(fabs_of(low) * inverse), splat(top));
			vf s = less(near_e2m1(fabs_of(high) * inverse), splat(top));

			put8(b + 1 + l, code_e2m1(r, low) | code_e2m1(s, high) << 4);
		}
	}
}

/* ---- NVFP4 ---- */

/* The scales from 0x7E down to 1, and that on. */
#define NV1(c) ((c) > 7 ? (float)(8 + ((c) & 7)) * (float)(1 << ((c) >> 3)) * 0x1p-10f : (float)(c) * 0x1p-9f)
#define NV(i) NV1((i) < 126 ? 126 - (i) : 1)
#define NV4(i) NV(i), NV(i + 1), NV(i + 2), NV(i + 3)
#define NV16(i) NV4(i), NV4(i + 4), NV4(i + 8), NV4(i + 12)
static const float nvfp4_scales[160] = { NV16(0), NV16(16), NV16(32), NV16(48), NV16(64),
					 NV16(80), NV16(96), NV16(112), NV16(128), NV16(144) };

/* From the first scale d that can be best, downwards: half of a larger one has all its numbers that are
 * needed. Sixteen at a time. */
INLINE unsigned nvfp4_scale(const float *x, const float *weight, float most)
{
	float a[16], room[16], least = INFINITY, relative = 1 / most;
	const float *w = weight ? relative_weights(weight, 16, room) : NULL;
	float from = most > 0.25f ? most * (1 / 1.75f) : most;
	int first, best = 126;

	first = from >= 448 ? 0x7E : from >= 0x1p-6f ? (int)(f32_bits(from) >> 20) - 960 : (int)(from * 512);
	first = first > 0x7E ? 0x7E : first < 1 ? 1 : first;
	UNROLL for (int i = 0; i < 16; i += VL)
		store(a + i, fabs_of(load(x + i)) * relative);
	for (int at = 126 - first; at < 126; at += LANES) {
		vf loss[PER];

		if (e2m1_cut(a, w, 16, nvfp4_scales[at] * relative) >= least)
			break;
		UNROLL for (int p = 0; p < PER; p++) {
			vf d = load(nvfp4_scales + at + p * VL) * relative, inverse = 1 / d;

			loss[p] = splat(0);
			for (int i = 0; i < 16; i++) {
				vf e = a[i] - d * less(near_e2m1(a[i] * inverse), splat(6));

				loss[p] -= w ? w[i] * (e * e) : e * e;
			}
		}
		float gain = most_of(loss);
		if (-gain < least) {
			least = -gain;
			best = at + (int)(first_at(loss, gain) & 15);
		}
	}
	return best < 126 ? (unsigned)(126 - best) : 1;
}

static void to_nvfp4(const float *x, const float *weight, size_t n, enum effort effort, uint8_t *b)
{
	(void)effort;
	for (size_t i = 0; i < n; i += 64, b += 36)
		for (size_t s = 0; s < 4; s++) {
			const float *v = x + i + 16 * s, *w = weight ? weight + i + 16 * s : NULL;
			float most = largest(v, 16), inverse = 0;
			uint8_t c[16];

			b[s] = 0;
			if (most > 0x1p-20f) {	/* else under half of the least scale */
				b[s] = (uint8_t)(w ? nvfp4_scale(v, w, most) : nvfp4_scale(v, NULL, most));
				inverse = 1 / nvfp4_scales[126 - b[s]];
			}
			UNROLL for (int l = 0; l < 16; l += VL) {
				vf one = load(v + l);
				put8(c + l, code_e2m1(less(near_e2m1(fabs_of(one) * inverse), splat(6)), one));
			}
			for (size_t k = 0; k < 8; k++)
				b[4 + 8 * s + k] = (uint8_t)(c[k] | c[k + 8] << 4);
		}
}
