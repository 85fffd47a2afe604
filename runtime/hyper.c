/* SPDX-License-Identifier: MIT
 *
 * hyper.c - manifold-constrained hyper-connections: n_hc residual streams in place of one.
 *
 * Before a sub-layer the streams are mixed into its input, after it its output is spread over them
 * and they are mixed with each other by a matrix that Sinkhorn's iteration makes doubly stochastic.
 * comb[j][k] takes stream j (row) to stream k (column): applied, it sums over rows. Order and
 * epsilons follow DeepSeek's inference code: softmax of rows plus epsilon, columns normalised,
 * then iters - 1 times rows and columns.
 */
#include "runtime/layer.h"

#include <math.h>
#include <stdlib.h>

static void normalise_rows(double a[HYPER_MAX][HYPER_MAX], uint32_t n, double eps)
{
	for (uint32_t j = 0; j < n; j++) {
		double sum = 0;

		for (uint32_t k = 0; k < n; k++)
			sum += a[j][k];
		for (uint32_t k = 0; k < n; k++)
			a[j][k] /= sum + eps;
	}
}

static void normalise_columns(double a[HYPER_MAX][HYPER_MAX], uint32_t n, double eps)
{
	for (uint32_t k = 0; k < n; k++) {
		double sum = 0;

		for (uint32_t j = 0; j < n; j++)
			sum += a[j][k];
		for (uint32_t j = 0; j < n; j++)
			a[j][k] /= sum + eps;
	}
}

/* row of n values -> softmax + eps */
static void soften(double *row, uint32_t n, double eps)
{
	double top = row[0], sum = 0;

	for (uint32_t k = 1; k < n; k++)
		top = row[k] > top ? row[k] : top;
	for (uint32_t k = 0; k < n; k++) {
		row[k] = exp(row[k] - top);
		sum += row[k];
	}
	for (uint32_t k = 0; k < n; k++)
		row[k] = row[k] / sum + eps;
}

void hyper_split(const struct hyper_shape *h, const double *mix, const float *scale, const float *base,
		 double *pre, double *post, double *comb)
{
	double a[HYPER_MAX][HYPER_MAX];
	uint32_t n = h->n_hc;

	for (uint32_t j = 0; j < n; j++) {
		double p = mix[j] * (double)scale[0] + (double)base[j];
		double q = mix[n + j] * (double)scale[1] + (double)base[n + j];

		pre[j] = ops_sigmoid(p) + h->eps;
		post[j] = 2 * ops_sigmoid(q);
		for (uint32_t k = 0; k < n; k++) {
			uint32_t i = 2 * n + n * j + k;

			a[j][k] = mix[i] * (double)scale[2] + (double)base[i];
		}
		soften(a[j], n, h->eps);
	}
	normalise_columns(a, n, h->eps);
	for (uint32_t i = 1; i < h->iters; i++) {
		normalise_rows(a, n, h->eps);
		normalise_columns(a, n, h->eps);
	}
	for (uint32_t j = 0; j < n; j++)
		for (uint32_t k = 0; k < n; k++)
			comb[n * j + k] = a[j][k];
}

/* What the tasks below share. */
struct hyper {
	struct forward *f;
	float *scale, *base, *norm;	/* owned */
	uint32_t from, to;		/* positions, for the head */
};

static void close_hyper(struct hyper *h)
{
	free(h->scale);
	free(h->base);
	free(h->norm);
}

/* Numbers of a float32 run are float32 between the steps. */
static void narrow(double *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = (double)(float)x[i];
}

/* out = sum of a[i] rows[i], each channel in double before it is rounded */
static void mix_wide(float *out, size_t d, const float *rows, const double *a, size_t n)
{
	for (size_t c = 0; c < d; c++) {
		double sum = 0;

		for (size_t i = 0; i < n; i++)
			sum += a[i] * (double)rows[i * d + c];
		out[c] = (float)sum;
	}
}

/* x = RMS norm of sum of pre[j] stream[j] */
static void mix_streams(const struct hyper *h, const double *pre, const float *stream, float *x)
{
	const struct arch *a = h->f->arch;
	size_t d = a->n_embd;
	float part[HYPER_MAX];

	for (size_t j = 0; j < a->n_hc; j++)
		part[j] = (float)pre[j];
	for (size_t i = 0; i < d; i++)
		x[i] = 0;
	if (h->f->engine.official)
		mix_wide(x, d, stream, pre, a->n_hc);
	else
		ops_mix(x, d, stream, part, a->n_hc);
	round_row(x, d, h->f->engine.official);
	ops_rms_norm(x, x, h->norm, d, (double)a->rms_eps);
	round_row(x, d, h->f->engine.official);
}

enum { MIX_MAX = (2 + HYPER_MAX) * HYPER_MAX };

static void pre_task(void *ctx, unsigned i, unsigned n)
{
	const struct hyper *h = ctx;
	struct forward *f = h->f;
	const struct arch *a = f->arch;
	struct hyper_shape shape = { a->n_hc, a->hc_iters, (double)a->hc_eps };
	size_t from, to, d = a->n_embd, wide = a->n_hc * d, n_mix = (2 + a->n_hc) * (size_t)a->n_hc;

	pool_share(f->n_tok, i, n, &from, &to);
	for (size_t t = from; t < to; t++) {
		const float *stream = f->stream + t * wide;
		double *post = f->post + t * a->n_hc, *comb = f->comb + t * a->n_hc * a->n_hc;
		double mix[MIX_MAX], pre[HYPER_MAX], s = ops_rms_scale(stream, wide, (double)a->rms_eps);

		for (size_t k = 0; k < n_mix; k++)
			mix[k] = wide_value(f->mix, if_official(f, f->low), t * n_mix + k) * s;
		if (!f->engine.official)
			narrow(mix, n_mix);
		hyper_split(&shape, mix, h->scale, h->base, pre, post, comb);
		if (!f->engine.official) {
			narrow(post, a->n_hc);
			narrow(comb, (size_t)a->n_hc * a->n_hc);
		}
		mix_streams(h, pre, stream, f->x + t * d);
	}
}

enum status hyper_pre(struct forward *f, enum hyper_half half, uint32_t layer, struct err *e)
{
	static const enum role roles[2][4] = {
		{ ROLE_HC_ATTN_FN, ROLE_HC_ATTN_SCALE, ROLE_HC_ATTN_BASE, ROLE_ATTN_NORM },
		{ ROLE_HC_FFN_FN, ROLE_HC_FFN_SCALE, ROLE_HC_FFN_BASE, ROLE_FFN_NORM },
	};
	const struct arch *a = f->arch;
	size_t n_mix = (2 + a->n_hc) * (size_t)a->n_hc;
	struct hyper h = { .f = f };
	enum status st;

	TRY(linear_pairs(f, roles[half][0], layer, f->stream, (size_t)a->n_hc * a->n_embd, f->mix, f->low,
			 n_mix, e));
	if (!(h.scale = small_load(f, roles[half][1], layer, 3, e)) ||
	    !(h.base = small_load(f, roles[half][2], layer, n_mix, e)) ||
	    !(h.norm = small_load(f, roles[half][3], layer, a->n_embd, e))) {
		st = e->status;
		goto out;
	}
	TRY(engine_run(&f->engine, pre_task, &h, e));
out:
	close_hyper(&h);
	return st;
}

/* own + sum over j of comb[j s] old[j], in double before it is rounded */
static float back_wide(double own, const double *comb, const float *old, size_t s)
{
	for (size_t j = 0; j < s; j++)
		own += comb[j * s] * (double)old[j];
	return round_bf16((float)own);
}

/* new[k] = post[k] y + sum over j of comb[j][k] old[j], one channel at a time */
static void spread_official(float *stream, size_t d, size_t s, const float *y, const double *post,
			    const double *comb)
{
	for (size_t c = 0; c < d; c++) {
		float old[HYPER_MAX];

		for (size_t j = 0; j < s; j++)
			old[j] = stream[j * d + c];
		for (size_t k = 0; k < s; k++)
			stream[k * d + c] = back_wide(post[k] * (double)y[c], comb + k, old, s);
	}
}

static void post_task(void *ctx, unsigned i, unsigned n)
{
	struct forward *f = ctx;
	size_t from, to, d = f->arch->n_embd, s = f->arch->n_hc;

	pool_share(f->n_tok, i, n, &from, &to);
	for (size_t t = from; t < to; t++) {
		float *stream = f->stream + t * s * d, part[HYPER_MAX], whole[HYPER_MAX * HYPER_MAX];
		const double *post = f->post + t * s, *comb = f->comb + t * s * s;

		if (f->engine.official) {
			spread_official(stream, d, s, f->y + t * d, post, comb);
			continue;
		}
		for (size_t k = 0; k < s; k++)
			part[k] = (float)post[k];
		for (size_t k = 0; k < s * s; k++)
			whole[k] = (float)comb[k];
		ops_spread(stream, d, s, f->y + t * d, part, whole);
	}
}

enum status hyper_post(struct forward *f, struct err *e)
{
	return engine_run(&f->engine, post_task, f, e);
}

static void head_task(void *ctx, unsigned i, unsigned n)
{
	const struct hyper *h = ctx;
	struct forward *f = h->f;
	const struct arch *a = f->arch;
	size_t from, to, each = h->to - h->from, d = a->n_embd, wide = a->n_hc * d;

	pool_share(f->n_seq * each, i, n, &from, &to);
	for (size_t row = from; row < to; row++) {
		size_t t = row / each * f->n_new + h->from + row % each;
		const float *stream = f->stream + t * wide;
		double pre[HYPER_MAX], s = ops_rms_scale(stream, wide, (double)a->rms_eps);

		for (size_t j = 0; j < a->n_hc; j++)
			pre[j] = ops_sigmoid(wide_value(f->mix, if_official(f, f->low), t * a->n_hc + j) * s *
					     (double)h->scale[0] + (double)h->base[j]) + (double)a->hc_eps;
		mix_streams(h, pre, stream, f->x + row * d);
	}
}

enum status hyper_head(struct forward *f, uint32_t from, uint32_t to, struct err *e)
{
	const struct arch *a = f->arch;
	bool mtp = f->model->part == PART_MTP;	/* its own norm; the rest has the same roles */
	struct hyper h = { .f = f, .from = from, .to = to };
	enum status st;

	if (from >= to)
		return OK;
	TRY(linear_pairs(f, ROLE_OUTPUT_HC_FN, LAYER_NONE, f->stream, (size_t)a->n_hc * a->n_embd, f->mix,
			 f->low, a->n_hc, e));
	if (!(h.scale = small_load(f, ROLE_OUTPUT_HC_SCALE, LAYER_NONE, 1, e)) ||
	    !(h.base = small_load(f, ROLE_OUTPUT_HC_BASE, LAYER_NONE, a->n_hc, e)) ||
	    !(h.norm = small_load(f, mtp ? ROLE_MTP_HEAD_NORM : ROLE_OUTPUT_NORM, mtp ? a->n_layer : LAYER_NONE,
				  a->n_embd, e))) {
		st = e->status;
		goto out;
	}
	TRY(engine_run(&f->engine, head_task, &h, e));
out:
	close_hyper(&h);
	return st;
}
