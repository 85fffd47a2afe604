/* SPDX-License-Identifier: MIT
 *
 * deep_model.c - a deepseek4 GGUF's hyper-parameters: each in its range, with each other, and against the
 * tensors. All findings are listed, where arch_from_gguf stops at the first.
 */
#include "verify/deep.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/model.h"

enum { MAX_BLOCKS = 512, MAX_COUNT = 65536, MAX_DIM = 1 << 24, MAX_CONTEXT = INT32_MAX };

struct range { const char *key; uint64_t lo, hi; bool optional; };
static const struct range ranges[] = {
	{ "deepseek4.block_count", 1, MAX_BLOCKS, false },
	{ "deepseek4.context_length", 1, MAX_CONTEXT, false },
	{ "deepseek4.embedding_length", 1, MAX_DIM, false },
	{ "deepseek4.attention.head_count", 1, MAX_COUNT, false },
	{ "deepseek4.attention.head_count_kv", 1, 1, true },
	{ "deepseek4.attention.key_length", 1, MAX_COUNT, false },
	{ "deepseek4.attention.q_lora_rank", 1, MAX_DIM, false },
	{ "deepseek4.attention.output_group_count", 1, MAX_COUNT, false },
	{ "deepseek4.attention.output_lora_rank", 1, MAX_DIM, false },
	{ "deepseek4.attention.sliding_window", 1, MAX_CONTEXT, false },
	{ "deepseek4.rope.dimension_count", 2, MAX_COUNT, false },
	{ "deepseek4.expert_count", 1, MAX_COUNT, false },
	{ "deepseek4.expert_used_count", 1, MAX_COUNT, false },
	{ "deepseek4.expert_shared_count", 0, MAX_COUNT, false },
	{ "deepseek4.expert_feed_forward_length", 1, MAX_DIM, false },
	{ "deepseek4.expert_group_count", 0, MAX_COUNT, true },
	{ "deepseek4.hash_layer_count", 0, MAX_BLOCKS, false },
	{ "deepseek4.hyper_connection.count", 1, 8, false },
	{ "deepseek4.hyper_connection.sinkhorn_iterations", 1, 1000, false },
};
static const char *const positive[] = {
	"deepseek4.attention.layer_norm_rms_epsilon", "deepseek4.hyper_connection.epsilon", "deepseek4.rope.freq_base",
	"deepseek4.attention.compress_rope_freq_base", "deepseek4.expert_weights_scale",
};
/* a that must not exceed b */
static const struct { const char *a, *b; } pairs[] = {
	{ "deepseek4.expert_used_count", "deepseek4.expert_count" },
	{ "deepseek4.rope.dimension_count", "deepseek4.attention.key_length" },
	{ "deepseek4.hash_layer_count", "deepseek4.block_count" },
};
/* the first must divide the second */
static const struct { const char *a, *b; } divisors[] = {
	{ "deepseek4.attention.output_group_count", "deepseek4.attention.head_count" },
	{ "deepseek4.expert_group_count", "deepseek4.expert_count" },
};
static const char *const per_layer[] = {
	"deepseek4.attention.compress_ratios", "deepseek4.swiglu_clamp_exp", "deepseek4.swiglu_clamp_shexp",
};

bool deep_is_model(const struct gguf *g)
{
	struct str name;

	return gguf_str(g, "general.architecture", &name) && str_is(name, "deepseek4");
}

static void check_ranges(struct deep_report *r, const struct gguf *g)
{
	for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
		const struct range *k = &ranges[i];
		uint64_t v = 0;

		if (k->optional && !gguf_find(g, k->key))
			continue;
		if (!gguf_u64(g, k->key, &v))
			log_add(&r->bad, "metadata %s: is missing, or no unsigned integer", k->key);
		else if (v < k->lo || v > k->hi)
			log_add(&r->bad, "metadata %s: %llu, values are %llu to %llu", k->key, (unsigned long long)v,
				(unsigned long long)k->lo, (unsigned long long)k->hi);
	}
	for (size_t i = 0; i < sizeof positive / sizeof *positive; i++) {
		float v = 0;

		if (!gguf_f32(g, positive[i], &v))
			log_add(&r->bad, "metadata %s: is missing, or no finite number", positive[i]);
		else if (!(v > 0))
			log_add(&r->bad, "metadata %s: %g is not positive", positive[i], (double)v);
	}
}

static void check_pairs(struct deep_report *r, const struct gguf *g)
{
	uint64_t a, b, blocks = 0, nextn = 0;

	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
		if (gguf_u64(g, pairs[i].a, &a) && gguf_u64(g, pairs[i].b, &b) && a > b)
			log_add(&r->bad, "metadata %s: %llu is more than %s, %llu", pairs[i].a, (unsigned long long)a,
				pairs[i].b, (unsigned long long)b);
	for (size_t i = 0; i < sizeof divisors / sizeof *divisors; i++)
		if (gguf_u64(g, divisors[i].a, &a) && gguf_u64(g, divisors[i].b, &b) && a && b % a != 0)
			log_add(&r->bad, "metadata %s: %llu does not divide %s, %llu", divisors[i].a, (unsigned long long)a,
				divisors[i].b, (unsigned long long)b);
	if (gguf_u64(g, "deepseek4.rope.dimension_count", &a) && a % 2)
		log_add(&r->bad, "metadata deepseek4.rope.dimension_count: %llu is odd", (unsigned long long)a);
	gguf_u64(g, "deepseek4.block_count", &blocks);
	gguf_u64(g, "deepseek4.nextn_predict_layers", &nextn);
	if (gguf_find_tensor(g, "blk.0.attn_norm.weight"))	/* else the block's own entry counts */
		blocks = peer_blocks(g, blocks, nextn);
	for (size_t i = 0; i < sizeof per_layer / sizeof *per_layer; i++) {
		const struct gguf_kv *kv = gguf_find(g, per_layer[i]);

		if (kv && kv->type == GGUF_ARR && kv->count < blocks)
			log_add(&r->bad, "metadata %s: %llu entries for %llu layers", per_layer[i], (unsigned long long)kv->count,
				(unsigned long long)blocks);
	}
}

/* Rows of the tables that a token's id is an index into. */
static void check_rows(struct deep_report *r, const struct gguf *g)
{
	static const char *const tables[] = { "token_embd.weight", "output.weight" };

	for (size_t i = 0; i < 2 && r->n_tokens; i++) {
		const struct gguf_tensor *t = gguf_find_tensor(g, tables[i]);

		if (t && t->n_dims == 2 && t->shape[0] != r->n_tokens)
			log_add(r->model ? &r->bad : &r->odd, "tensor %s: %llu rows for %llu tokens; ids past the end read "
				"other memory", tables[i], (unsigned long long)t->shape[0], (unsigned long long)r->n_tokens);
	}
}

/* The same bytes: dimensions of 1 and matrices seen as groups of rows count as what they are. */
static bool fits(const struct want *w, const struct gguf_tensor *t)
{
	uint64_t rows = 1, want_rows = 1;

	for (unsigned d = 0; d + 1 < t->n_dims; d++)
		if (!u64_mul(rows, t->shape[d], &rows))
			return false;
	for (unsigned d = 0; d + 1 < w->n_dims; d++)
		if (!u64_mul(want_rows, w->shape[d], &want_rows))
			return false;
	return t->n_dims && rows == want_rows && t->shape[t->n_dims - 1] == w->shape[w->n_dims - 1] &&
	       (role_class(w->role) != CLASS_EXPERTS || (t->n_dims == 3 && t->shape[0] == w->shape[0]));
}

static void check_tensor(struct deep_report *r, const struct want *w, const struct gguf_tensor *t)
{
	if (!t)
		log_add(&r->bad, "tensor %s: is missing", w->name);
	else if (!fits(w, t))
		log_add(&r->bad, "tensor %s: its shape is not what the metadata demands (%u dimensions, %llu in the fastest, %llu "
			"expected)", w->name, t->n_dims, (unsigned long long)t->shape[t->n_dims - 1],
			(unsigned long long)w->shape[w->n_dims - 1]);
	else if (role_class(w->role) == CLASS_IDS && t->dtype != DT_I32)
		log_add(&r->bad, "tensor %s: a table of expert ids of type %s, I32 is read", w->name, dtype_info(t->dtype)->name);
}

/* The tensors of one part of the model; known: 1 for each of g's that belongs to it. */
static enum status check_part(struct deep_report *r, const struct gguf *g, const struct arch *a, enum model_part part,
			      uint8_t *known, struct err *e)
{
	struct wants wants = { 0 };
	enum status st;

	TRY(wants_build(&wants, a, part, e));
	for (size_t i = 0; i < wants.n; i++) {
		const struct gguf_tensor *t = peer_find_tensor(g, wants.w[i].name);

		check_tensor(r, &wants.w[i], t);
		if (t)
			known[t - g->tensors] = 1;
	}
out:
	wants_close(&wants);
	return st;
}

/* The MTP block: alone in the file, behind the trunk, or counted and not there. */
static enum status check_tensors(struct deep_report *r, const struct gguf *g, const struct arch *a, struct err *e)
{
	bool trunk = gguf_find_tensor(g, "blk.0.attn_norm.weight") != NULL;
	uint8_t *known = mem_new(g->n_tensors, 1, "the list of tensors", e);
	char probe[64];
	enum status st = OK;

	if (!known)
		return e->status;
	snprintf(probe, sizeof probe, "blk.%u.nextn.eh_proj.weight", a->n_layer);
	if (trunk)
		TRY(check_part(r, g, a, PART_TRUNK, known, e));
	if (!trunk || gguf_find_tensor(g, probe))
		TRY(check_part(r, g, a, PART_MTP, known, e));
	else if (a->n_mtp)
		log_add(&r->odd, "metadata deepseek4.nextn_predict_layers: %u, but the file has no such block", a->n_mtp);
	for (size_t i = 0; i < g->n_tensors; i++)
		if (!known[i])
			log_add(&r->bad, "tensor %.*s: the architecture has no such tensor", (int)g->tensors[i].name.n,
				g->tensors[i].name.p);
out:
	free(known);
	return st;
}

enum status deep_model(struct deep_report *r, const struct gguf *g, const char *path, struct err *e)
{
	struct arch a;
	size_t before;

	check_rows(r, g);
	if (!r->model)
		return OK;
	before = r->bad.n_lines;
	check_ranges(r, g);
	check_pairs(r, g);
	if (r->bad.n_lines != before)
		return OK;	/* no shape could be trusted */
	if (arch_from_gguf(&a, g, path, e) != OK) {
		if (e->status != ERR_FORMAT && e->status != ERR_UNSUPPORTED)
			return e->status;
		log_add(&r->bad, "metadata: %s", e->msg + strlen(path) + 2);
		return OK;
	}
	return check_tensors(r, g, &a, e);
}
