/* SPDX-License-Identifier: MIT
 *
 * ops.c - the arithmetic of the forward pass, on memory.
 *
 * Invariant: the order of every sum is written here and depends on lengths alone. Products sum in
 * sixteen float32 lanes, so that vector units of four, eight or sixteen floats give the same bits
 * (no fused multiply-add: -ffp-contract=off); norms and softmax sums are in double. Wide products,
 * whose results are rounded to bf16, have the same lanes in double: a sum that is off by a float32's
 * last place falls on the other side of a rounding boundary often enough to be seen in a perplexity.
 * ops_matmul_portable is the specification of ops_matmul. Formulas: DeepSeek's inference code.
 */
#include "runtime/runtime.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 16 };

#define VECTOR(n) float __attribute__((vector_size(4 * (n))))
#define VECTOR_D double __attribute__((vector_size(32)))
#define LOAD(v, p) memcpy(&(v), (p), sizeof(v))

/* ---- products ---- */

/* The columns after the last whole sixteen go to lanes 0, 1, ...; then the tree. */
static inline float fold(float lane[LANES], const float *w, const float *x, size_t from, size_t cols)
{
	VECTOR(4) a, b, c, d;

	for (size_t i = from; i < cols; i++)
		lane[i - from] += w[i] * x[i];
	LOAD(a, lane), LOAD(b, lane + 4), LOAD(c, lane + 8), LOAD(d, lane + 12);
	a = (a + c) + (b + d);
	return (a[0] + a[2]) + (a[1] + a[3]);
}

void ops_matmul_portable(const struct matmul *m)
{
	size_t whole = m->cols - m->cols % LANES;

	for (size_t t = 0; t < m->n; t++)
		for (size_t r = 0; r < m->rows; r++) {
			const float *w = m->w + r * m->cols, *x = m->x + t * m->x_stride;
			float lane[LANES] = { 0 };

			for (size_t c = 0; c < whole; c += LANES)
				for (size_t i = 0; i < LANES; i++)
					lane[i] += w[c + i] * x[c + i];
			m->y[t * m->y_stride + r] = fold(lane, w, x, whole, m->cols);
		}
}

/* Lanes of two rows by two tokens: out[0..3] = w0 x0, w0 x1, w1 x0, w1 x1. */
struct quad { const float *w0, *w1, *x0, *x1; };

static void row_by_two(const float *w, const struct quad *q, size_t whole, float out[2][LANES])
{
	VECTOR(4) a0 = { 0 }, a1 = { 0 }, a2 = { 0 }, a3 = { 0 };
	VECTOR(4) b0 = { 0 }, b1 = { 0 }, b2 = { 0 }, b3 = { 0 };

	for (size_t c = 0; c < whole; c += LANES) {
		VECTOR(4) w0, w1, w2, w3, x;

		LOAD(w0, w + c), LOAD(w1, w + c + 4), LOAD(w2, w + c + 8), LOAD(w3, w + c + 12);
		LOAD(x, q->x0 + c), a0 += w0 * x;
		LOAD(x, q->x0 + c + 4), a1 += w1 * x;
		LOAD(x, q->x0 + c + 8), a2 += w2 * x;
		LOAD(x, q->x0 + c + 12), a3 += w3 * x;
		LOAD(x, q->x1 + c), b0 += w0 * x;
		LOAD(x, q->x1 + c + 4), b1 += w1 * x;
		LOAD(x, q->x1 + c + 8), b2 += w2 * x;
		LOAD(x, q->x1 + c + 12), b3 += w3 * x;
	}
	memcpy(out[0], &a0, 16), memcpy(out[0] + 4, &a1, 16);
	memcpy(out[0] + 8, &a2, 16), memcpy(out[0] + 12, &a3, 16);
	memcpy(out[1], &b0, 16), memcpy(out[1] + 4, &b1, 16);
	memcpy(out[1] + 8, &b2, 16), memcpy(out[1] + 12, &b3, 16);
}

static void quad_16(const struct quad *q, size_t whole, float out[4][LANES])
{
	row_by_two(q->w0, q, whole, out);
	row_by_two(q->w1, q, whole, out + 2);
}

#if defined(__x86_64__)
__attribute__((target("avx2")))
static void quad_32(const struct quad *q, size_t whole, float out[4][LANES])
{
	VECTOR(8) a0 = { 0 }, a1 = { 0 }, b0 = { 0 }, b1 = { 0 };
	VECTOR(8) d0 = { 0 }, d1 = { 0 }, e0 = { 0 }, e1 = { 0 };
	const float *pw = q->w0, *pv = q->w1, *px = q->x0, *py = q->x1;

	for (size_t c = 0; c < whole; c += LANES) {
		VECTOR(8) w, v, x, y;

		LOAD(w, pw + c), LOAD(v, pv + c), LOAD(x, px + c), LOAD(y, py + c);
		a0 += w * x, b0 += w * y, d0 += v * x, e0 += v * y;
		LOAD(w, pw + c + 8), LOAD(v, pv + c + 8), LOAD(x, px + c + 8), LOAD(y, py + c + 8);
		a1 += w * x, b1 += w * y, d1 += v * x, e1 += v * y;
	}
	memcpy(out[0], &a0, 32), memcpy(out[0] + 8, &a1, 32);
	memcpy(out[1], &b0, 32), memcpy(out[1] + 8, &b1, 32);
	memcpy(out[2], &d0, 32), memcpy(out[2] + 8, &d1, 32);
	memcpy(out[3], &e0, 32), memcpy(out[3] + 8, &e1, 32);
}
static bool have_avx2(void) { return __builtin_cpu_supports("avx2"); }
#else
#define quad_32 quad_16
static bool have_avx2(void) { return false; }
#endif

/* One row by one token, the sixteen lanes in double. */
double ops_dot_wide(const float *w, const float *x, size_t cols)
{
	VECTOR_D s[4] = { { 0 }, { 0 }, { 0 }, { 0 } };
	double tail[LANES] = { 0 };
	size_t whole = cols - cols % LANES;

	for (size_t c = 0; c < whole; c += LANES)
		for (size_t k = 0; k < 4; k++) {
			VECTOR(4) a, b;

			LOAD(a, w + c + 4 * k), LOAD(b, x + c + 4 * k);
			s[k] += __builtin_convertvector(a, VECTOR_D) * __builtin_convertvector(b, VECTOR_D);
		}
	memcpy(tail, s, sizeof tail);
	for (size_t c = whole; c < cols; c++)
		tail[c - whole] += (double)w[c] * (double)x[c];
	for (size_t step = LANES / 2; step; step /= 2)
		for (size_t k = 0; k < step; k++)
			tail[k] += tail[k + step];
	return tail[0];
}

static void matmul_wide(const struct matmul *m)
{
	for (size_t t = 0; t < m->n; t++)
		for (size_t r = 0; r < m->rows; r++)
			m->y[t * m->y_stride + r] = (float)ops_dot_wide(m->w + r * m->cols,
									m->x + t * m->x_stride, m->cols);
}

void ops_matmul(const struct matmul *m)
{
	void (*quad)(const struct quad *q, size_t whole, float out[4][LANES]) =
		have_avx2() ? quad_32 : quad_16;
	size_t whole = m->cols - m->cols % LANES;

	if (m->wide) {
		matmul_wide(m);
		return;
	}
	/* at an odd edge the last row or token stands in for its neighbour as well */
	for (size_t t = 0; t < m->n; t += 2)
		for (size_t r = 0; r < m->rows; r += 2) {
			size_t t1 = t + 1 < m->n ? t + 1 : t, r1 = r + 1 < m->rows ? r + 1 : r;
			struct quad q = { m->w + r * m->cols, m->w + r1 * m->cols,
					  m->x + t * m->x_stride, m->x + t1 * m->x_stride };
			float out[4][LANES], *y0 = m->y + t * m->y_stride, *y1 = m->y + t1 * m->y_stride;

			quad(&q, whole, out);
			y0[r] = fold(out[0], q.w0, q.x0, whole, m->cols);
			y1[r] = fold(out[1], q.w0, q.x1, whole, m->cols);
			y0[r1] = fold(out[2], q.w1, q.x0, whole, m->cols);
			y1[r1] = fold(out[3], q.w1, q.x1, whole, m->cols);
		}
}

void ops_mix(float *out, size_t d, const float *rows, const float *a, size_t n)
{
	size_t c = 0;

	/* sixteen channels at a time stay in registers while the rows pass */
	for (; c + 16 <= d; c += 16) {
		VECTOR(4) s0, s1, s2, s3, r;

		LOAD(s0, out + c), LOAD(s1, out + c + 4), LOAD(s2, out + c + 8), LOAD(s3, out + c + 12);
		for (size_t i = 0; i < n; i++) {
			const float *p = rows + i * d + c;

			LOAD(r, p), s0 += a[i] * r;
			LOAD(r, p + 4), s1 += a[i] * r;
			LOAD(r, p + 8), s2 += a[i] * r;
			LOAD(r, p + 12), s3 += a[i] * r;
		}
		memcpy(out + c, &s0, 16), memcpy(out + c + 4, &s1, 16);
		memcpy(out + c + 8, &s2, 16), memcpy(out + c + 12, &s3, 16);
	}
	for (; c < d; c++)
		for (size_t i = 0; i < n; i++)
			out[c] += a[i] * rows[i * d + c];
}

/* ---- norms and activations ---- */

double ops_rms_scale(const float *x, size_t n, double eps)
{
	double lane[8] = { 0 };
	size_t i = 0;

	for (; i + 8 <= n; i += 8)
		for (size_t k = 0; k < 8; k++)
			lane[k] += (double)x[i + k] * (double)x[i + k];
	for (size_t k = 0; i < n; i++, k++)
		lane[k] += (double)x[i] * (double)x[i];
	for (size_t step = 4; step; step /= 2)
		for (size_t k = 0; k < step; k++)
			lane[k] += lane[k + step];
	return 1 / sqrt(lane[0] / (double)n + eps);
}

void ops_rms_norm(float *y, const float *x, const float *w, size_t n, double eps)
{
	double s = ops_rms_scale(x, n, eps);

	for (size_t i = 0; i < n; i++)
		y[i] = (float)((double)x[i] * s * (w ? (double)w[i] : 1));
}

double ops_sigmoid(double x)
{
	return 1 / (1 + exp(-x));
}

double ops_softplus(double x)
{
	return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

void ops_hadamard(float *x, size_t n)
{
	float scale = (float)(1 / sqrt((double)n));

	for (size_t h = 1; h < n; h *= 2)
		for (size_t i = 0; i < n; i += 2 * h)
			for (size_t k = i; k < i + h; k++) {
				float a = x[k], b = x[k + h];

				x[k] = a + b;
				x[k + h] = a - b;
			}
	for (size_t i = 0; i < n; i++)
		x[i] *= scale;
}

/* ---- rotary positions ---- */

static double clamp(double x, double low, double high)
{
	return x < low ? low : x > high ? high : x;
}

void ops_rope_freqs(double *freq, const struct arch *a, bool compressed)
{
	double base = (double)(compressed ? a->rope_base_compressed : a->rope_base);
	double n_rot = a->n_rot, low = 0, high = 0;
	bool yarn = compressed && a->yarn;

	if (yarn) {	/* pairs that turn beta times within the original context */
		double n = a->yarn_n_ctx, per = n_rot / (2 * log(base)), turn = 2 * acos(-1);

		low = floor(per * log(n / ((double)a->yarn_beta_fast * turn)));
		high = ceil(per * log(n / ((double)a->yarn_beta_slow * turn)));
		low = low < 0 ? 0 : low;
		high = high > n_rot - 1 ? n_rot - 1 : high;
		if (high == low)
			high += 0.001;
	}
	for (uint32_t i = 0; i < a->n_rot / 2; i++) {
		double f = pow(base, -2.0 * i / n_rot);
		double ramp = yarn ? clamp((i - low) / (high - low), 0, 1) : 0;

		freq[i] = f * (1 - ramp) + (yarn ? f / (double)a->yarn_factor * ramp : 0);
	}
}

void ops_rope_row(double *cos_sin, const double *freq, size_t n_pairs, uint64_t pos)
{
	for (size_t i = 0; i < n_pairs; i++) {
		double angle = (double)pos * freq[i];

		cos_sin[2 * i] = cos(angle);
		cos_sin[2 * i + 1] = sin(angle);
	}
}

void ops_rope(float *x, const double *cos_sin, size_t n_pairs, bool inverse)
{
	for (size_t i = 0; i < n_pairs; i++) {
		float c = (float)cos_sin[2 * i], s = (float)cos_sin[2 * i + 1] * (inverse ? -1 : 1);
		float a = x[2 * i], b = x[2 * i + 1];

		x[2 * i] = a * c - b * s;
		x[2 * i + 1] = a * s + b * c;
	}
}

/* ---- probabilities ---- */

double ops_log_sum(const float *z, size_t n, size_t *top)
{
	double sum = 0;

	*top = 0;
	for (size_t i = 1; i < n; i++)
		if (z[i] > z[*top])
			*top = i;
	for (size_t i = 0; i < n; i++)
		sum += exp((double)z[i] - (double)z[*top]);
	return log(sum);
}

double ops_log_prob(const float *z, size_t n, size_t target, uint32_t *best)
{
	size_t top;
	double sum = ops_log_sum(z, n, &top);

	*best = (uint32_t)top;
	return (double)z[target] - (double)z[top] - sum;
}
