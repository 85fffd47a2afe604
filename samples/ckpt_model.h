/* SPDX-License-Identifier: MIT
 *
 * ckpt_model.h - private to make_checkpoint.c: the dimensions of a checkpoint and the list of its
 * tensors, in the order of the model, with names, types, shapes and what their values are.
 *
 * list_build() is the table of a V4 checkpoint in code; every function below it adds one group
 * of rows. Names are DeepSeek's own, which are what is on disk; the other naming, that of the
 * transformers library, is a second column (hf_names) and means BF16 weights without scales.
 * This file shares no table with format/: a generator that had the reader's mistakes would hide
 * them.
 */
#ifndef SAMPLES_CKPT_MODEL_H
#define SAMPLES_CKPT_MODEL_H

#include "format/format.h"
#include "samples/ckpt_numbers.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_LAYERS = 128, HC = 4, HC_MIX = (2 + HC) * HC };

enum fill_mode { FILL_MODEL, FILL_NOISE, FILL_HOLES };
enum extra { EXTRA_NONE, EXTRA_MTP, EXTRA_DSPARK };

/* Everything that options set. */
struct spec {
	uint32_t n_layer, n_embd, n_vocab, n_head, head_dim, n_rot, q_lora, o_groups, o_lora;
	uint32_t n_ff_exp, n_expert, n_expert_used, n_hash, window, idx_head, idx_dim, idx_topk;
	uint32_t markov_rank, fp8_block;
	uint32_t ratio[MAX_LAYERS];
	double routed_scale, gain, ridge;
	uint64_t seed;
	enum fill_mode fill;
	enum extra extra;
	enum dtype fp4_type, ids_type;
	const char *scale_name;
	bool base, transformers, edge, scales_apart;
	uint32_t n_shards;		/* 0: one a layer, as DeepSeek's */
	bool single, cache, records;
};

/* ---- types of numbers ------------------------------------------------------------------- */

static inline const char *type_name(enum dtype t)
{
	switch (t) {
	case DT_F32: return "F32";
	case DT_BF16: return "BF16";
	case DT_I64: return "I64";
	case DT_I32: return "I32";
	case DT_I8: return "I8";
	case DT_U8: return "U8";
	case DT_F4: return "F4";
	case DT_F8_E4M3: return "F8_E4M3";
	case DT_F8_E8M0: return "F8_E8M0";
	default: return NULL;
	}
}

static inline unsigned type_bits(enum dtype t)
{
	switch (t) {
	case DT_I64: return 64;
	case DT_F32:
	case DT_I32: return 32;
	case DT_BF16: return 16;
	case DT_F4: return 4;
	default: return 8;
	}
}

/* ---- the list --------------------------------------------------------------------------- */

/* How a matrix is stored; its .weight and its .scale are two tensors. */
enum form { FORM_PLAIN, FORM_FP8, FORM_FP4 };
enum part { PART_WEIGHT, PART_SCALE };
enum values {
	VALUES_GAUSS,		/* mean `mean`, deviation `sigma` */
	VALUES_EYE,		/* the same around the identity matrix */
	VALUES_HC_BASE,		/* hyper-connection biases: a weak write, streams kept apart */
	VALUES_IDS,		/* distinct expert ids in each row */
	VALUES_EMBED, VALUES_HEAD,	/* of the bigram fit */
};
/* Places where --edge plants codes at the ends of their formats. */
enum edge { EDGE_NONE, EDGE_FP4_SCALES, EDGE_FP4_TOP, EDGE_FP8_CODES, EDGE_FP8_SCALES, EDGE_BF16,
	    EDGE_IDS };

struct matrix {			/* what random values depend on */
	uint64_t seed, rows, cols;
	double mean, sigma;
	enum values values;
	enum form form;
	enum edge edge;
};
struct tensor {
	char name[100];
	struct matrix m;
	enum dtype type;
	enum part part;
	unsigned n_dims;
	uint64_t shape[3], bytes, off;	/* off: in its shard's data */
	uint32_t group;			/* 0 embedding, 1 + layer, then head, then MTP stages */
	uint32_t shard;
	uint32_t stack_layer;		/* for stacked experts */
	const char *stack[2];		/* matrices that stand below one another in each expert */
};
struct list {
	const struct spec *s;		/* borrowed */
	struct tensor *t;		/* owned */
	size_t n, cap;
	uint32_t group, n_groups;
	enum status st;			/* sticky */
	struct err *e;
};

static const char *const hf_names[][2] = {
	{ "embed.weight", "model.embed_tokens.weight" }, { "head.weight", "lm_head.weight" },
	{ "norm.weight", "model.norm.weight" }, { "hc_head_fn", "model.hc_head.hc_fn" },
	{ "hc_head_base", "model.hc_head.hc_base" }, { "hc_head_scale", "model.hc_head.hc_scale" },
	{ "attn_norm.weight", "input_layernorm.weight" },
	{ "ffn_norm.weight", "post_attention_layernorm.weight" },
	{ "attn.attn_sink", "self_attn.sinks" },
	{ "attn.wq_a.weight", "self_attn.q_a_proj.weight" },
	{ "attn.q_norm.weight", "self_attn.q_a_norm.weight" },
	{ "attn.wq_b.weight", "self_attn.q_b_proj.weight" },
	{ "attn.wkv.weight", "self_attn.kv_proj.weight" },
	{ "attn.kv_norm.weight", "self_attn.kv_norm.weight" },
	{ "attn.wo_a.weight", "self_attn.o_a_proj.weight" },
	{ "attn.wo_b.weight", "self_attn.o_b_proj.weight" },
	{ "attn.compressor.ape", "self_attn.compressor.position_bias" },
	{ "attn.compressor.wkv.weight", "self_attn.compressor.kv_proj.weight" },
	{ "attn.compressor.wgate.weight", "self_attn.compressor.gate_proj.weight" },
	{ "attn.compressor.norm.weight", "self_attn.compressor.kv_norm.weight" },
	{ "attn.indexer.wq_b.weight", "self_attn.compressor.indexer.q_b_proj.weight" },
	{ "attn.indexer.weights_proj.weight", "self_attn.compressor.indexer.weights_proj.weight" },
	{ "attn.indexer.compressor.ape", "self_attn.compressor.indexer.position_bias" },
	{ "attn.indexer.compressor.wkv.weight", "self_attn.compressor.indexer.kv_proj.weight" },
	{ "attn.indexer.compressor.wgate.weight", "self_attn.compressor.indexer.gate_proj.weight" },
	{ "attn.indexer.compressor.norm.weight", "self_attn.compressor.indexer.kv_norm.weight" },
	{ "ffn.gate.weight", "mlp.gate.weight" }, { "ffn.gate.tid2eid", "mlp.gate.tid2eid" },
	{ "ffn.gate.bias", "mlp.gate.e_score_correction_bias" },
	{ "ffn.shared_experts.w1.weight", "mlp.shared_experts.gate_proj.weight" },
	{ "ffn.shared_experts.w2.weight", "mlp.shared_experts.down_proj.weight" },
	{ "ffn.shared_experts.w3.weight", "mlp.shared_experts.up_proj.weight" },
	{ "hc_attn_fn", "attn_hc.fn" }, { "hc_attn_base", "attn_hc.base" },
	{ "hc_attn_scale", "attn_hc.scale" }, { "hc_ffn_fn", "ffn_hc.fn" },
	{ "hc_ffn_base", "ffn_hc.base" }, { "hc_ffn_scale", "ffn_hc.scale" },
};

/* Writes prefix + name in the naming asked for. */
static inline void list_name(struct list *l, char out[100], const char *prefix, const char *name)
{
	const char *hf = NULL;

	for (size_t i = 0; i < sizeof hf_names / sizeof hf_names[0]; i++)
		if (strcmp(hf_names[i][0], name) == 0)
			hf = hf_names[i][1];
	if (l->s->transformers && hf)
		snprintf(out, 100, "%s%s%s", *prefix ? "model." : "", prefix, hf);
	else
		snprintf(out, 100, "%s%s", prefix, name);
}

static inline enum edge edge_of(const struct spec *s, const char *native)
{
	char last[64];

	if (!s->edge)
		return EDGE_NONE;
	snprintf(last, sizeof last, "layers.0.ffn.experts.%u.w2", s->n_expert - 1);
	if (strcmp(native, "layers.0.ffn.experts.0.w1") == 0)
		return s->base ? EDGE_FP8_CODES : EDGE_FP4_SCALES;
	if (strcmp(native, last) == 0 && !s->base && s->n_hash > 0)
		return EDGE_FP4_TOP;
	if (strcmp(native, "layers.0.attn.wq_a") == 0)
		return EDGE_FP8_CODES;
	if (strcmp(native, "layers.0.ffn.shared_experts.w1") == 0)
		return EDGE_FP8_SCALES;
	if (strcmp(native, "embed.weight") == 0 || strcmp(native, "layers.0.ffn.gate.weight") == 0)
		return EDGE_BF16;
	return strcmp(native, "layers.0.ffn.gate.tid2eid") == 0 ? EDGE_IDS : EDGE_NONE;
}

/* Appends a tensor; the caller then sets its type and shape. Never NULL: after a failure it is a
 * slot that the next call overwrites. */
static inline struct tensor *list_add(struct list *l, const char *prefix, const char *name)
{
	static _Thread_local struct tensor spare;
	void *p = l->t;
	struct tensor *t;
	char native[100];

	if (l->st == OK && l->n == l->cap)
		l->st = mem_grow(&p, &l->cap, l->n + 1, sizeof *l->t, "the list of tensors", l->e);
	l->t = p;
	t = l->st == OK ? &l->t[l->n++] : &spare;
	*t = (struct tensor){ .group = l->group };
	snprintf(native, sizeof native, "%s%s", prefix, name);
	t->m.seed = seed_of(l->s->seed, native);
	t->m.edge = edge_of(l->s, native);
	return t;
}

static inline void tensor_shape(struct tensor *t, enum dtype type, uint64_t a, uint64_t b)
{
	t->type = type;
	t->n_dims = b ? 2 : 1;
	t->shape[0] = a;
	t->shape[1] = b;
	t->bytes = a * (b ? b : 1) * type_bits(type) / 8;
	if (!t->m.rows) {
		t->m.rows = b ? a : 1;
		t->m.cols = b ? b : a;
	}
}

/* One tensor of plain numbers; b = 0 for a vector. */
static inline struct tensor *list_plain(struct list *l, const char *prefix, const char *name,
					enum dtype type, uint64_t a, uint64_t b, double mean,
					double sigma)
{
	struct tensor *t = list_add(l, prefix, name);

	t->m.mean = mean;
	t->m.sigma = sigma;
	tensor_shape(t, type, a, b);
	list_name(l, t->name, prefix, name);
	return t;
}

static inline void list_norm(struct list *l, const char *prefix, const char *name, uint64_t n)
{
	list_plain(l, prefix, name, DT_BF16, n, 0, 1, 0.05);
}

/* A BF16 matrix of `rows` outputs. */
static inline struct tensor *list_bf16(struct list *l, const char *prefix, const char *name,
				       uint64_t rows, uint64_t cols)
{
	return list_plain(l, prefix, name, DT_BF16, rows, cols, 0, 1 / sqrt((double)cols));
}

/* A quantized matrix: NAME.weight and its scales, or BF16 in the other naming. */
static inline void list_pair(struct list *l, const char *prefix, const char *name, enum form form,
			     uint64_t rows, uint64_t cols, double gain, enum values values)
{
	const struct spec *s = l->s;
	uint64_t br = form == FORM_FP4 ? 1 : s->fp8_block, bc = form == FORM_FP4 ? 32 : br;
	char part[80];

	for (int p = 0; p < (s->transformers ? 1 : 2); p++) {
		struct tensor *t = list_add(l, prefix, name);
		t->part = p ? PART_SCALE : PART_WEIGHT;
		t->m.rows = rows;
		t->m.cols = cols;
		t->m.sigma = gain / sqrt((double)cols);
		t->m.values = values;
		t->m.form = form;
		if (p)
			tensor_shape(t, s->base ? DT_F32 : DT_F8_E8M0, u64_div_up(rows, br),
				     u64_div_up(cols, bc));
		else if (s->transformers)
			tensor_shape(t, DT_BF16, rows, cols);
		else if (form == FORM_FP8)
			tensor_shape(t, DT_F8_E4M3, rows, cols);
		else
			tensor_shape(t, s->fp4_type, rows, s->fp4_type == DT_F4 ? cols : cols / 2);
		snprintf(part, sizeof part, "%s.%s", name, p ? s->scale_name : "weight");
		list_name(l, t->name, prefix, part);
	}
}

static inline void list_fp8(struct list *l, const char *prefix, const char *name, uint64_t rows,
			    uint64_t cols, double gain)
{
	list_pair(l, prefix, name, FORM_FP8, rows, cols, gain, VALUES_GAUSS);
}

static inline void list_hc(struct list *l, const char *p, const char *what)
{
	uint64_t width = (uint64_t)HC * l->s->n_embd;
	char name[32];

	snprintf(name, sizeof name, "hc_%s_fn", what);
	list_plain(l, p, name, DT_F32, HC_MIX, width, 0, 1 / sqrt((double)width));
	snprintf(name, sizeof name, "hc_%s_base", what);
	list_plain(l, p, name, DT_F32, HC_MIX, 0, 0, 0.1)->m.values = VALUES_HC_BASE;
	snprintf(name, sizeof name, "hc_%s_scale", what);
	list_plain(l, p, name, DT_F32, 3, 0, 0.3, 0);
}

static inline void list_hc_head(struct list *l, const char *p)
{
	uint64_t width = (uint64_t)HC * l->s->n_embd;

	list_plain(l, p, "hc_head_fn", DT_F32, HC, width, 0, 0.3 / sqrt((double)width));
	list_plain(l, p, "hc_head_base", DT_F32, HC, 0, 0, 0);
	list_plain(l, p, "hc_head_scale", DT_F32, 1, 0, 1, 0);
}

static inline void list_compressor(struct list *l, const char *p, const char *pre, uint32_t ratio,
				   uint32_t dim)
{
	uint64_t width = (ratio == 4 ? 2ull : 1ull) * dim;
	char name[64];

	snprintf(name, sizeof name, "%scompressor.ape", pre);
	list_plain(l, p, name, DT_F32, ratio, width, 0, 0.1);
	snprintf(name, sizeof name, "%scompressor.wkv.weight", pre);
	list_bf16(l, p, name, width, l->s->n_embd);
	snprintf(name, sizeof name, "%scompressor.wgate.weight", pre);
	list_bf16(l, p, name, width, l->s->n_embd);
	snprintf(name, sizeof name, "%scompressor.norm.weight", pre);
	list_norm(l, p, name, dim);
}

static inline void list_attention(struct list *l, const char *p, uint32_t ratio)
{
	const struct spec *s = l->s;
	uint64_t heads = (uint64_t)s->n_head * s->head_dim;
	uint64_t groups = (uint64_t)s->o_groups * s->o_lora;

	list_plain(l, p, "attn.attn_sink", DT_F32, s->n_head, 0, 0, 0.5);
	list_fp8(l, p, "attn.wq_a", s->q_lora, s->n_embd, 1);
	list_norm(l, p, "attn.q_norm.weight", s->q_lora);
	list_fp8(l, p, "attn.wq_b", heads, s->q_lora, 1);
	list_fp8(l, p, "attn.wkv", s->head_dim, s->n_embd, 1);
	list_norm(l, p, "attn.kv_norm.weight", s->head_dim);
	list_fp8(l, p, "attn.wo_a", groups, heads / s->o_groups, 2);
	list_fp8(l, p, "attn.wo_b", s->n_embd, groups, 1);
	if (ratio)
		list_compressor(l, p, "attn.", ratio, s->head_dim);
	if (ratio != 4)
		return;
	list_fp8(l, p, "attn.indexer.wq_b", (uint64_t)s->idx_head * s->idx_dim, s->q_lora, 1);
	list_bf16(l, p, "attn.indexer.weights_proj.weight", s->idx_head, s->n_embd);
	list_compressor(l, p, "attn.indexer.", ratio, s->idx_dim);
}

/* Experts of the other naming: two stacked tensors. */
static inline void list_stacked(struct list *l, uint32_t layer)
{
	const struct spec *s = l->s;
	static const char *const names[2] = { "gate_up_proj", "down_proj" };

	for (int i = 0; i < 2; i++) {
		struct tensor *t = list_add(l, "", names[i]);
		snprintf(t->name, sizeof t->name, "model.layers.%u.mlp.experts.%s", layer,
			 names[i]);
		t->m.rows = i ? s->n_embd : s->n_ff_exp;
		t->m.cols = i ? s->n_ff_exp : s->n_embd;
		t->m.sigma = 1.4 / sqrt((double)t->m.cols);
		t->m.form = s->base ? FORM_FP8 : FORM_FP4;
		t->stack[0] = i ? "w2" : "w1";
		t->stack[1] = i ? NULL : "w3";
		t->stack_layer = layer;
		t->type = DT_BF16;
		t->n_dims = 3;
		t->shape[0] = s->n_expert;
		t->shape[1] = t->m.rows * (i ? 1 : 2);
		t->shape[2] = t->m.cols;
		t->bytes = t->shape[0] * t->shape[1] * t->shape[2] * 2;
	}
}

static inline void list_ffn(struct list *l, const char *p, uint32_t layer, bool hashed)
{
	const struct spec *s = l->s;
	enum form form = s->base ? FORM_FP8 : FORM_FP4;
	char name[64];

	list_bf16(l, p, "ffn.gate.weight", s->n_expert, s->n_embd);
	if (hashed)
		list_plain(l, p, "ffn.gate.tid2eid", s->ids_type, s->n_vocab, s->n_expert_used, 0,
			   0)->m.values = VALUES_IDS;
	else
		list_plain(l, p, "ffn.gate.bias", DT_F32, s->n_expert, 0, 0, 0.05);
	if (s->transformers)
		list_stacked(l, layer);
	for (uint32_t x = 0; x < s->n_expert && !s->transformers; x++)
		for (int w = 1; w <= 3; w++) {
			snprintf(name, sizeof name, "ffn.experts.%u.w%d", x, w);
			list_pair(l, p, name, form, w == 2 ? s->n_embd : s->n_ff_exp,
				  w == 2 ? s->n_ff_exp : s->n_embd, 1.4, VALUES_GAUSS);
		}
	list_fp8(l, p, "ffn.shared_experts.w1", s->n_ff_exp, s->n_embd, 1.4);
	list_fp8(l, p, "ffn.shared_experts.w2", s->n_embd, s->n_ff_exp, 1.4);
	list_fp8(l, p, "ffn.shared_experts.w3", s->n_ff_exp, s->n_embd, 1.4);
}

static inline void list_layer(struct list *l, const char *p, uint32_t layer, uint32_t ratio,
			      bool hashed)
{
	list_hc(l, p, "attn");
	list_norm(l, p, "attn_norm.weight", l->s->n_embd);
	list_hc(l, p, "ffn");
	list_norm(l, p, "ffn_norm.weight", l->s->n_embd);
	list_attention(l, p, ratio);
	list_ffn(l, p, layer, hashed);
}

/* The block that predicts one token further. Its e_proj is near the identity, so that with the
 * shared head it is a bigram model too. */
static inline void list_mtp(struct list *l)
{
	uint32_t d = l->s->n_embd;

	list_layer(l, "mtp.0.", 0, 0, false);
	list_pair(l, "mtp.0.", "e_proj", FORM_FP8, d, d, 0.1, VALUES_EYE);
	list_fp8(l, "mtp.0.", "h_proj", d, d, 0.1);
	list_norm(l, "mtp.0.", "enorm.weight", d);
	list_norm(l, "mtp.0.", "hnorm.weight", d);
	list_norm(l, "mtp.0.", "norm.weight", d);
	list_hc_head(l, "mtp.0.");
	l->group++;
}

/* The three stages of the draft module that later repositories carry instead of MTP. */
static inline void list_dspark(struct list *l)
{
	const struct spec *s = l->s;
	uint32_t d = s->n_embd;

	for (uint32_t i = 0; i < 3; i++) {
		char p[16];
		snprintf(p, sizeof p, "mtp.%u.", i);
		list_layer(l, p, 0, 0, false);
		if (i == 0) {
			list_fp8(l, p, "main_proj", d, 3ull * d, 1);
			list_norm(l, p, "main_norm.weight", d);
		}
		if (i == 2) {
			list_norm(l, p, "norm.weight", d);
			list_hc_head(l, p);
			list_bf16(l, p, "markov_head.markov_w1.weight", s->n_vocab, s->markov_rank);
			list_bf16(l, p, "markov_head.markov_w2.weight", s->n_vocab, s->markov_rank);
			list_bf16(l, p, "confidence_head.proj.weight", 1, d + s->markov_rank);
		}
		l->group++;
	}
}

/* Place of a type in a shard. */
static inline unsigned type_rank(enum dtype t)
{
	static const enum dtype order[] = { DT_I64, DT_F32, DT_I32, DT_BF16, DT_F8_E8M0, DT_F8_E4M3,
					    DT_I8, DT_U8, DT_F4 };
	unsigned i = 0;

	while (i < sizeof order / sizeof order[0] - 1 && order[i] != t)
		i++;
	return i;
}

static inline int by_place(const void *a, const void *b)
{
	const struct tensor *x = a, *y = b;
	unsigned p = type_rank(x->type), q = type_rank(y->type);

	if (x->shard != y->shard)
		return x->shard < y->shard ? -1 : 1;
	if (p != q)
		return p < q ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* Deals the tensors out to shards and puts each shard into the order in which safetensors'
 * own writer has it: by type, widest first, which keeps every tensor aligned, then by name. With
 * it the shards of Flash-0731 come out at their published sizes to the byte. */
static inline void list_place(struct list *l, uint32_t n_shards)
{
	uint64_t off = 0;

	for (size_t i = 0; i < l->n; i++) {
		struct tensor *t = &l->t[i];
		t->shard = n_shards ? (uint32_t)(i * n_shards / l->n) : t->group;
		if (l->s->scales_apart && t->part == PART_SCALE)
			t->shard = (t->shard + 1) % (n_shards ? n_shards : l->n_groups);
	}
	qsort(l->t, l->n, sizeof *l->t, by_place);
	for (size_t i = 0; i < l->n; i++) {
		if (i && l->t[i].shard != l->t[i - 1].shard)
			off = 0;
		l->t[i].off = off;
		off += l->t[i].bytes;
	}
}

/* Every tensor of the checkpoint. The list is closed by free(l->t). */
static inline enum status list_build(struct list *l, const struct spec *s, struct err *e)
{
	*l = (struct list){ .s = s, .e = e };
	list_plain(l, "", "embed.weight", DT_BF16, s->n_vocab, s->n_embd, 0, 1)
		->m.values = VALUES_EMBED;
	for (uint32_t i = 0; i < s->n_layer; i++) {
		char p[24];
		snprintf(p, sizeof p, "layers.%u.", i);
		l->group++;
		list_layer(l, p, i, s->ratio[i], i < s->n_hash);
	}
	l->group++;
	list_plain(l, "", "norm.weight", DT_BF16, s->n_embd, 0, 1, 0);
	list_plain(l, "", "head.weight", DT_BF16, s->n_vocab, s->n_embd, 0,
		   1 / sqrt((double)s->n_embd))->m.values = VALUES_HEAD;
	list_hc_head(l, "");
	l->group++;
	if (s->extra == EXTRA_MTP)
		list_mtp(l);
	if (s->extra == EXTRA_DSPARK)
		list_dspark(l);
	l->n_groups = l->group;
	if (l->st == OK)
		list_place(l, s->single ? 1 : s->n_shards);
	return l->st;
}

#endif
