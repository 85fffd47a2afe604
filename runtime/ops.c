/* SPDX-License-Identifier: MIT
 *
 * ops.c - the arithmetic of the forward pass, on memory.
 *
 * Invariant: the order of every sum depends on lengths alone: kernels.h has it. Products sum in
 * float32 lanes; norms and the sums of softmax are in double. Wide products, whose results are
 * rounded to bf16, have the same lanes in double: a sum that is off by a float32's last place falls
 * on the other side of a rounding boundary often enough to be seen in a perplexity. Formulas:
 * DeepSeek's inference code.
 */
#include "runtime/kernels.h"

#include <math.h>

/* ---- products ---- */

double ops_dot_wide(const float *w, const float *x, size_t n)
{
	return kernels()->dot_wide(w, x, n);
}

void ops_mix(float *out, size_t d, const float *rows, const float *a, size_t n)
{
	kernels()->mix(out, d, d, rows, n, a, n, 1);
}

void ops_mix_heads(float *out, size_t heads, size_t d, const float *rows, const float *a, size_t a_stride,
		   size_t n)
{
	if (n)		/* rows may be NULL where there are none */
		kernels()->mix(out, d, d, rows, n, a, a_stride, heads);
}

/* ---- norms and activations ---- */

double ops_rms_scale(const float *x, size_t n, double eps)
{
	return 1 / sqrt(kernels()->dot_wide(x, x, n) / (double)n + eps);
}

void ops_rms_norm(float *y, const float *x, const float *w, size_t n, double eps)
{
	kernels()->scale(y, x, w, n, ops_rms_scale(x, n, eps));
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
	float most = kernels()->max(z, n);
	double sum = 0;

	for (*top = 0; *top < n && z[*top] != most;)
		++*top;
	if (*top == n)
		*top = 0;	/* nothing but NaN */
	for (size_t i = 0; i < n; i++)
		sum += exp((double)z[i] - (double)z[*top]);
	return log(sum);
}

float ops_exp(float x)
{
	return kernel_exp(x);
}

void ops_softmax(float *x, size_t n, double scale, double sink)
{
	const struct kernels *k = kernels();
	float by = (float)scale, top = k->max(x, n) * by;
	double sum;

	top = top > (float)sink ? top : (float)sink;
	sum = k->exp_sum(x, x, n, by, top) + (double)kernel_exp((float)sink - top);
	k->scale(x, x, NULL, n, 1 / sum);
}

void ops_swiglu(float *gate, const float *up, size_t n, float limit, float weight)
{
	kernels()->swiglu(gate, up, n, limit, weight);
}

void ops_pool(float *out, size_t d, size_t n, const float *const *gate, const float *const *bias,
	      const float *const *value)
{
	kernels()->pool(out, d, n, gate, bias, value);
}

void ops_spread(float *streams, size_t d, size_t n, const float *y, const float *post, const float *comb)
{
	kernels()->spread(streams, d, n, y, post, comb);
}

double ops_log_prob(const float *z, size_t n, size_t target, uint32_t *best)
{
	size_t top;
	double sum = ops_log_sum(z, n, &top);

	*best = (uint32_t)top;
	return (double)z[target] - (double)z[top] - sum;
}
