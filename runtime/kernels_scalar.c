/* SPDX-License-Identifier: MIT
 *
 * kernels_scalar.c - the specification of the inner loops, in plain C, and what a processor without
 * a known vector unit runs. fmaf rounds once whatever the processor.
 */
#include <math.h>
#include <string.h>

#include "quantize/floats.h"
#include "runtime/kernels.h"

static float tree(const float *lane)
{
	float a[LANES];

	memcpy(a, lane, sizeof a);
	for (size_t step = LANES / 2; step; step /= 2)
		for (size_t k = 0; k < step; k++)
			a[k] += a[k + step];
	return a[0];
}

static double tree_wide(double *a)
{
	for (size_t step = LANES / 2; step; step /= 2)
		for (size_t k = 0; k < step; k++)
			a[k] += a[k + step];
	return a[0];
}

static void lanes_of(float *lane, const float *w, const float *x, size_t cols)
{
	for (size_t c = 0; c < cols; c++)
		lane[c % LANES] = fmaf(w[c], x[c], lane[c % LANES]);
}

static void scalar_tile(const struct tile *s)
{
	if (s->first)
		memset(s->acc, 0, s->n_x * TILE_ROWS * LANES * sizeof(float));
	for (size_t t = 0; t < s->n_x; t++)
		for (size_t r = 0; r < TILE_ROWS; r++)
			lanes_of(s->acc + (t * TILE_ROWS + r) * LANES, s->w[r], s->x[t], s->cols);
}

/* Column c of row r. */
static float panel_value(const struct panel *p, size_t r, size_t c)
{
	const uint32_t *word = p->w;
	const float *value = p->w;
	size_t unit = c / UNIT, at = c % LANES;

	if (!p->halves)
		return value[(c / LANES * TILE_ROWS + r) * LANES + at];
	word += (unit * TILE_ROWS + r) * LANES + at;
	return bits_f32(c % UNIT < LANES ? *word << 16 : *word & 0xFFFF0000);
}

static void scalar_panel(const struct panel *p)
{
	if (p->first)
		memset(p->acc, 0, p->n_x * TILE_ROWS * LANES * sizeof(float));
	for (size_t t = 0; t < p->n_x; t++)
		for (size_t r = 0; r < TILE_ROWS; r++)
			for (size_t c = 0; c < p->cols; c++) {
				float *lane = p->acc + (t * TILE_ROWS + r) * LANES + c % LANES;
				float x = p->x[(c / LANES * p->n_x + t) * LANES + c % LANES];

				*lane = fmaf(panel_value(p, r, c), x, *lane);
			}
}

static void scalar_fold(const float *acc, size_t n, float *out)
{
	for (size_t i = 0; i < n * TILE_ROWS; i++)
		out[i] = tree(acc + i * LANES);
}

static bool scalar_can_dot(enum dtype type)
{
	return type == DT_F32 || type == DT_F16 || type == DT_BF16 || type == DT_Q8_0 ||
	       type == DT_MXFP4 || type == DT_E4M3_128;
}

static size_t scalar_few(enum dtype type)
{
	(void)type;
	return 4;
}

static void scalar_decode(enum dtype type, const uint8_t *b, size_t row_bytes, size_t n_units, void *panel)
{
	const struct dtype_info *info = dtype_info(type);
	size_t step = info->block > UNIT ? info->block / UNIT : 1, bytes = step * UNIT / info->block * info->bytes;
	uint32_t *word = panel;
	float *value = panel, w[E4M3_BLOCK];

	for (size_t u = 0; u < n_units; u += step)
		for (size_t r = 0; r < TILE_ROWS; r++) {
			codec_decode(type, b + r * row_bytes + u / step * bytes, step * UNIT, w);
			for (size_t k = 0; k < LANES && panel_halves(&kernels_scalar, type); k++)
				word[(u * TILE_ROWS + r) * LANES + k] = f32_bits(w[k]) >> 16 |
									f32_bits(w[LANES + k]);
			for (size_t c = 0; c < step * UNIT && !panel_halves(&kernels_scalar, type); c++)
				value[((2 * u + c / LANES) * TILE_ROWS + r) * LANES + c % LANES] = w[c];
		}
}

static void scalar_dot(const struct dot *d)
{
	const struct dtype_info *type = dtype_info(d->type);
	size_t step = type->block > UNIT ? type->block : UNIT, bytes = step / type->block * type->bytes;

	for (size_t r = 0; r < d->n_rows; r++)
		for (size_t t = 0; t < d->n_x; t++) {
			const uint8_t *b = d->rows + r * d->row_bytes;
			uint8_t tail[4 * UNIT] = { 0 };
			float lane[LANES] = { 0 }, w[E4M3_BLOCK];

			for (size_t c = 0; c < d->n_units * UNIT; c += step, b += bytes) {
				codec_decode(d->type, b, step, w);
				lanes_of(lane, w, d->x + t * d->x_stride + c, step);
			}
			if (d->tail_bytes) {
				memcpy(tail, b, d->tail_bytes);
				codec_decode(d->type, tail, UNIT, w);
				lanes_of(lane, w, d->x_tail + t * UNIT, UNIT);
			}
			d->y[t * d->y_stride + r] = tree(lane);
		}
}

static double scalar_dot_wide(const float *w, const float *x, size_t n)
{
	double lane[LANES] = { 0 };

	for (size_t c = 0; c < n; c++)	/* products of two float32 are exact in double */
		lane[c % LANES] += (double)w[c] * (double)x[c];
	return tree_wide(lane);
}

static void scalar_wide(const float *const w[2], const float *const x[2], size_t n, double out[4])
{
	for (int i = 0; i < 4; i++)
		out[i] = scalar_dot_wide(w[i / 2], x[i % 2], n);
}

static void scalar_mix(float *out, size_t out_stride, size_t d, const float *rows, size_t n, const float *a,
		       size_t a_stride, size_t heads)
{
	for (size_t h = 0; h < heads; h++)
		for (size_t i = 0; i < n; i++)
			for (size_t c = 0; c < d; c++) {
				float *o = out + h * out_stride + c;

				*o = fmaf(a[h * a_stride + i], rows[i * d + c], *o);
			}
}

static void scalar_scale(float *y, const float *x, const float *w, size_t n, double s)
{
	for (size_t i = 0; i < n; i++)
		y[i] = (float)((double)x[i] * s * (w ? (double)w[i] : 1));
}

static float scalar_max(const float *x, size_t n)
{
	float top = -INFINITY;

	for (size_t i = 0; i < n; i++)
		top = x[i] > top ? x[i] : top;
	return top + 0.0f;	/* one zero */
}

/* x = n ln 2 + r with |r| <= ln 2 / 2; e^r = 1 + r + r^2 q(r), q of degree 4 with the least largest
 * relative error (3e-9); times 2^n in two steps, so that results below the normal ones round once. */
float kernel_exp(float x)
{
	float a = x > 89.0f ? 89.0f : x, magic = 0x1.8p23f, t, n, r, q;
	uint32_t k, half;

	a = a < -104.0f ? -104.0f : a;
	t = fmaf(a, 0x1.715476p+0f, magic);
	n = t - magic;
	k = f32_bits(t) - f32_bits(magic);
	r = fmaf(n, -0x1.62e430p-1f, a);
	r = fmaf(n, 0x1.05c610p-29f, r);
	q = fmaf(0x1.6a23d0p-10f, r, 0x1.123a20p-7f);
	q = fmaf(q, r, 0x1.5558f2p-5f);
	q = fmaf(q, r, 0x1.555492p-3f);
	q = fmaf(q, r, 0x1.fffffcp-2f);
	q = fmaf(q, r * r, r) + 1.0f;
	half = (k + 256) / 2 - 128;	/* towards minus infinity; k is -151 to 129 */
	return q * bits_f32((half + 127) << 23) * bits_f32((k - half + 127) << 23);
}

static double scalar_exp_sum(float *p, const float *x, size_t n, float scale, float top)
{
	double lane[LANES] = { 0 };

	for (size_t i = 0; i < n; i++) {
		float e = kernel_exp(fmaf(x[i], scale, -top));

		lane[i % LANES] += (double)e;
		if (p)
			p[i] = e;
	}
	return tree_wide(lane);
}

static void scalar_swiglu(float *gate, const float *up, size_t n, float limit, float weight)
{
	for (size_t i = 0; i < n; i++) {
		float g = gate[i] > limit ? limit : gate[i], u = up[i] > limit ? limit : up[i];

		u = u < -limit ? -limit : u;
		gate[i] = g / (1.0f + kernel_exp(-g)) * u * weight;
	}
}

static void scalar_pool(float *out, size_t d, size_t n, const float *const *gate, const float *const *bias,
			const float *const *value)
{
	for (size_t c = 0; c < d; c++) {
		float top = -INFINITY, sum = 0, s = 0;

		for (size_t i = 0; i < n; i++) {
			float g = gate[i][c] + bias[i][c];

			top = g > top ? g : top;
		}
		for (size_t i = 0; i < n; i++) {
			float p = kernel_exp(gate[i][c] + bias[i][c] - top);

			sum += p;
			s = fmaf(p, value[i][c], s);
		}
		out[c] = s / sum;
	}
}

static void scalar_spread(float *streams, size_t d, size_t n, const float *y, const float *post,
			  const float *comb)
{
	for (size_t c = 0; c < d; c++) {
		float old[HYPER_MAX];

		for (size_t j = 0; j < n; j++)
			old[j] = streams[j * d + c];
		for (size_t k = 0; k < n; k++) {
			float sum = post[k] * y[c];

			for (size_t j = 0; j < n; j++)
				sum = fmaf(comb[j * n + k], old[j], sum);
			streams[k * d + c] = sum;
		}
	}
}

const struct kernels kernels_scalar = {
	.name = "scalar", .tokens = TILE_TOKENS, .dot_tokens = TILE_TOKENS, .tile = scalar_tile,
	.panel = scalar_panel, .halves = true, .fold = scalar_fold,
	.few = scalar_few, .can_dot = scalar_can_dot, .dot = scalar_dot, .decode = scalar_decode,
	.dot_wide = scalar_dot_wide, .wide = scalar_wide, .mix = scalar_mix, .scale = scalar_scale,
	.max = scalar_max, .exp_sum = scalar_exp_sum, .swiglu = scalar_swiglu, .pool = scalar_pool,
	.spread = scalar_spread,
};
