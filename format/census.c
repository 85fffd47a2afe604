/* SPDX-License-Identifier: MIT
 *
 * census.c - what a model weighs: parameters, KV cache and arithmetic per token, from its
 * hyper-parameters alone. The formulas are in docs/sizing.md, with where they come from.
 */
#include "format/model.h"

static uint64_t elements(const struct want *w)
{
	uint64_t n = 1;

	for (unsigned d = 0; d < w->n_dims; d++)
		n *= w->shape[d];
	return n;
}

enum status census_take(struct census *c, const struct arch *a, struct err *e)
{
	struct wants w;
	uint64_t embed = 0;

	*c = (struct census){ 0 };
	if (wants_build(&w, a, PART_TRUNK, e) != OK)
		return e->status;
	for (size_t i = 0; i < w.n; i++) {
		uint64_t n = elements(&w.w[i]);

		if (role_class(w.w[i].role) == CLASS_IDS)
			continue;
		c->total += n;
		c->routed += role_class(w.w[i].role) == CLASS_EXPERTS ? n : 0;
		embed += w.w[i].role == ROLE_EMBED ? n : 0;
	}
	c->n_tensors = w.n;
	wants_close(&w);
	c->active = c->total - c->routed + c->routed / a->n_expert * a->n_expert_used - embed;
	if (wants_build(&w, a, PART_MTP, e) != OK)
		return e->status;
	for (size_t i = 0; i < w.n; i++)
		if (w.w[i].layer != LAYER_NONE || w.w[i].role >= ROLE_OUTPUT_HC_FN)
			c->mtp += elements(&w.w[i]);
	wants_close(&w);
	for (uint32_t i = 0; i < a->n_layer; i++) {
		c->n_window += a->ratio[i] == 0;
		c->n_sparse += a->ratio[i] == 4;
		c->n_heavy += a->ratio[i] == 128;
	}
	return OK;
}

/* FP8 without its rotary part, an E8M0 per 64 and a byte of padding, BF16 for the rotary part. */
static double entry_bytes(const struct arch *a)
{
	double plain = a->head_dim - a->n_rot;

	return plain + plain / 64 + 1 + 2.0 * a->n_rot;
}

double census_kv_bytes(const struct census *c, const struct arch *a, double context)
{
	double entry = entry_bytes(a), index = a->idx_dim / 2.0 + a->idx_dim / 32.0;

	return context * (c->n_sparse * (entry + index) / 4 + c->n_heavy * entry / 128);
}

double census_flops(const struct census *c, const struct arch *a, double context)
{
	double linear = 2.0 * (double)c->active;
	double index = c->n_sparse * 2.0 * a->idx_head * a->idx_dim * (context / 4);
	double rows = c->n_sparse * ((double)a->idx_topk + a->window) +
		      c->n_heavy * (context / 128 + a->window) + (double)c->n_window * a->window;
	double core = a->n_head * 2.0 * (2.0 * a->head_dim) * rows;

	return linear + 0.5 * index + 2 * core;
}

/* DeepSeek-V3.2: 61 layers, 128 heads, latent 512 + 64, an indexer of 64 heads x 128, top 2048. */
double census_v32_kv_bytes(double context)
{
	return context * 61 * (512 + 16 + 128 + 128 + 4);
}

double census_v32_flops(double context)
{
	return 74e9 + 61 * 64 * 128 * 2.0 * context + 2 * (128.0 * (576 + 512) * 2048 * 61 * 2);
}
