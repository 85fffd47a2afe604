/* SPDX-License-Identifier: MIT
 *
 * names.c - THE table of the architecture's tensors: what each is called in a GGUF, by DeepSeek
 * and by transformers, its shape, where it occurs and what may become of it.
 *
 * GGUF names are those of llama.cpp's `deepseek4`; note its punctuation (`indexer.proj` has a dot,
 * `indexer_compressor_kv` an underscore, the selection bias ends in `.bias`). A row is the whole
 * truth about a tensor: whoever adds one has told planner, checker and runtime.
 */
#include "format/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define M CLASS_MATRIX
#define S CLASS_SMALL
#define EX CLASS_EXPERTS

const struct row name_table[ROLE_COUNT] = {
	[ROLE_EMBED] = { "token_embd.weight", "embed.weight", "model.embed_tokens.weight",
		M, PLACE_ROOT, DIM_VOCAB, DIM_EMBD },
	[ROLE_OUTPUT] = { "output.weight", "head.weight", "lm_head.weight",
		M, PLACE_ROOT, DIM_VOCAB, DIM_EMBD },
	[ROLE_OUTPUT_NORM] = { "output_norm.weight", "norm.weight", "model.norm.weight",
		S, PLACE_ROOT, DIM_EMBD, DIM_NONE },
	[ROLE_OUTPUT_HC_FN] = { "output_hc_fn.weight", "hc_head_fn", "model.hc_head.hc_fn",
		S, PLACE_ROOT, DIM_HC, DIM_HC_EMBD },
	[ROLE_OUTPUT_HC_BASE] = { "output_hc_base.weight", "hc_head_base", "model.hc_head.hc_base",
		S, PLACE_ROOT, DIM_HC, DIM_NONE },
	[ROLE_OUTPUT_HC_SCALE] = { "output_hc_scale.weight", "hc_head_scale", "model.hc_head.hc_scale",
		S, PLACE_ROOT, DIM_1, DIM_NONE },

	[ROLE_ATTN_NORM] = { "attn_norm.weight", "attn_norm.weight", "input_layernorm.weight",
		S, PLACE_LAYER, DIM_EMBD, DIM_NONE },
	[ROLE_FFN_NORM] = { "ffn_norm.weight", "ffn_norm.weight", "post_attention_layernorm.weight",
		S, PLACE_LAYER, DIM_EMBD, DIM_NONE },
	[ROLE_ATTN_SINKS] = { "attn_sinks.weight", "attn.attn_sink", "self_attn.sinks",
		S, PLACE_LAYER, DIM_HEAD, DIM_NONE },
	[ROLE_ATTN_Q_A] = { "attn_q_a.weight", "attn.wq_a.weight", "self_attn.q_a_proj.weight",
		M, PLACE_LAYER, DIM_Q_LORA, DIM_EMBD },
	[ROLE_ATTN_Q_A_NORM] = { "attn_q_a_norm.weight", "attn.q_norm.weight",
		"self_attn.q_a_norm.weight|self_attn.q_a_layernorm.weight",
		S, PLACE_LAYER, DIM_Q_LORA, DIM_NONE },
	[ROLE_ATTN_Q_B] = { "attn_q_b.weight", "attn.wq_b.weight", "self_attn.q_b_proj.weight",
		M, PLACE_LAYER, DIM_Q, DIM_Q_LORA },
	[ROLE_ATTN_KV] = { "attn_kv.weight", "attn.wkv.weight", "self_attn.kv_proj.weight",
		M, PLACE_LAYER, DIM_HEAD_DIM, DIM_EMBD },
	[ROLE_ATTN_KV_NORM] = { "attn_kv_a_norm.weight", "attn.kv_norm.weight", "self_attn.kv_norm.weight",
		S, PLACE_LAYER, DIM_HEAD_DIM, DIM_NONE },
	[ROLE_ATTN_OUTPUT_A] = { "attn_output_a.weight", "attn.wo_a.weight", "self_attn.o_a_proj.weight",
		M, PLACE_LAYER, DIM_GROUP_OUT, DIM_GROUP_IN },
	[ROLE_ATTN_OUTPUT_B] = { "attn_output_b.weight", "attn.wo_b.weight", "self_attn.o_b_proj.weight",
		M, PLACE_LAYER, DIM_EMBD, DIM_GROUP_OUT },
	[ROLE_HC_ATTN_FN] = { "hc_attn_fn.weight", "hc_attn_fn", "attn_hc.fn",
		S, PLACE_LAYER, DIM_HC_MIX, DIM_HC_EMBD },
	[ROLE_HC_ATTN_BASE] = { "hc_attn_base.weight", "hc_attn_base", "attn_hc.base",
		S, PLACE_LAYER, DIM_HC_MIX, DIM_NONE },
	[ROLE_HC_ATTN_SCALE] = { "hc_attn_scale.weight", "hc_attn_scale", "attn_hc.scale",
		S, PLACE_LAYER, DIM_3, DIM_NONE },
	[ROLE_HC_FFN_FN] = { "hc_ffn_fn.weight", "hc_ffn_fn", "ffn_hc.fn",
		S, PLACE_LAYER, DIM_HC_MIX, DIM_HC_EMBD },
	[ROLE_HC_FFN_BASE] = { "hc_ffn_base.weight", "hc_ffn_base", "ffn_hc.base",
		S, PLACE_LAYER, DIM_HC_MIX, DIM_NONE },
	[ROLE_HC_FFN_SCALE] = { "hc_ffn_scale.weight", "hc_ffn_scale", "ffn_hc.scale",
		S, PLACE_LAYER, DIM_3, DIM_NONE },

	[ROLE_COMP_KV] = { "attn_compressor_kv.weight", "attn.compressor.wkv.weight",
		"self_attn.compressor.kv_proj.weight", M, PLACE_COMPRESSED, DIM_COMP, DIM_EMBD },
	[ROLE_COMP_GATE] = { "attn_compressor_gate.weight", "attn.compressor.wgate.weight",
		"self_attn.compressor.gate_proj.weight", M, PLACE_COMPRESSED, DIM_COMP, DIM_EMBD },
	[ROLE_COMP_APE] = { "attn_compressor_ape.weight", "attn.compressor.ape",
		"self_attn.compressor.position_bias", S, PLACE_COMPRESSED, DIM_RATIO, DIM_COMP },
	[ROLE_COMP_NORM] = { "attn_compressor_norm.weight", "attn.compressor.norm.weight",
		"self_attn.compressor.kv_norm.weight", S, PLACE_COMPRESSED, DIM_HEAD_DIM, DIM_NONE },
	[ROLE_IDX_Q_B] = { "indexer.attn_q_b.weight", "attn.indexer.wq_b.weight",
		"self_attn.compressor.indexer.q_b_proj.weight", M, PLACE_SPARSE, DIM_IDX_Q, DIM_Q_LORA },
	[ROLE_IDX_PROJ] = { "indexer.proj.weight", "attn.indexer.weights_proj.weight",
		"self_attn.compressor.indexer.weights_proj.weight|"
		"self_attn.compressor.indexer.scorer.weights_proj.weight",
		M, PLACE_SPARSE, DIM_IDX_HEAD, DIM_EMBD },
	[ROLE_IDX_COMP_KV] = { "indexer_compressor_kv.weight", "attn.indexer.compressor.wkv.weight",
		"self_attn.compressor.indexer.kv_proj.weight", M, PLACE_SPARSE, DIM_IDX_COMP, DIM_EMBD },
	[ROLE_IDX_COMP_GATE] = { "indexer_compressor_gate.weight", "attn.indexer.compressor.wgate.weight",
		"self_attn.compressor.indexer.gate_proj.weight", M, PLACE_SPARSE, DIM_IDX_COMP, DIM_EMBD },
	[ROLE_IDX_COMP_APE] = { "indexer_compressor_ape.weight", "attn.indexer.compressor.ape",
		"self_attn.compressor.indexer.position_bias", S, PLACE_SPARSE, DIM_RATIO, DIM_IDX_COMP },
	[ROLE_IDX_COMP_NORM] = { "indexer_compressor_norm.weight", "attn.indexer.compressor.norm.weight",
		"self_attn.compressor.indexer.kv_norm.weight", S, PLACE_SPARSE, DIM_IDX_DIM, DIM_NONE },

	[ROLE_ROUTER] = { "ffn_gate_inp.weight", "ffn.gate.weight", "mlp.gate.weight",
		CLASS_ROUTER, PLACE_LAYER, DIM_EXPERT, DIM_EMBD },
	[ROLE_ROUTER_IDS] = { "ffn_gate_tid2eid.weight", "ffn.gate.tid2eid", "mlp.gate.tid2eid",
		CLASS_IDS, PLACE_HASH, DIM_VOCAB, DIM_USED },
	[ROLE_ROUTER_BIAS] = { "exp_probs_b.bias", "ffn.gate.bias", "mlp.gate.e_score_correction_bias",
		S, PLACE_SCORED, DIM_EXPERT, DIM_NONE },
	[ROLE_GATE_EXPS] = { "ffn_gate_exps.weight", "ffn.experts.%e.w1.weight",
		"mlp.experts.gate_up_proj|mlp.experts.%e.gate_proj.weight", EX, PLACE_LAYER, DIM_FF, DIM_EMBD },
	[ROLE_UP_EXPS] = { "ffn_up_exps.weight", "ffn.experts.%e.w3.weight",
		"mlp.experts.gate_up_proj|mlp.experts.%e.up_proj.weight", EX, PLACE_LAYER, DIM_FF, DIM_EMBD },
	[ROLE_DOWN_EXPS] = { "ffn_down_exps.weight", "ffn.experts.%e.w2.weight",
		"mlp.experts.down_proj|mlp.experts.%e.down_proj.weight", EX, PLACE_LAYER, DIM_EMBD, DIM_FF },
	[ROLE_GATE_SHEXP] = { "ffn_gate_shexp.weight", "ffn.shared_experts.w1.weight",
		"mlp.shared_experts.gate_proj.weight", M, PLACE_LAYER, DIM_FF, DIM_EMBD },
	[ROLE_UP_SHEXP] = { "ffn_up_shexp.weight", "ffn.shared_experts.w3.weight",
		"mlp.shared_experts.up_proj.weight", M, PLACE_LAYER, DIM_FF, DIM_EMBD },
	[ROLE_DOWN_SHEXP] = { "ffn_down_shexp.weight", "ffn.shared_experts.w2.weight",
		"mlp.shared_experts.down_proj.weight", M, PLACE_LAYER, DIM_EMBD, DIM_FF },

	[ROLE_MTP_EH_PROJ] = { "nextn.eh_proj.weight", "e_proj.weight|h_proj.weight", NULL,
		M, PLACE_MTP, DIM_EMBD, DIM_EMBD2 },
	[ROLE_MTP_ENORM] = { "nextn.enorm.weight", "enorm.weight", NULL, S, PLACE_MTP, DIM_EMBD, DIM_NONE },
	[ROLE_MTP_HNORM] = { "nextn.hnorm.weight", "hnorm.weight", NULL, S, PLACE_MTP, DIM_EMBD, DIM_NONE },
	[ROLE_MTP_HEAD_NORM] = { "nextn.shared_head_norm.weight", "norm.weight", NULL,
		S, PLACE_MTP, DIM_EMBD, DIM_NONE },
};
#undef M
#undef S
#undef EX

uint64_t dim_value(enum dim d, const struct arch *a, uint32_t layer)
{
	uint32_t ratio = layer < a->n_ratio && layer < a->n_layer ? a->ratio[layer] : 0;
	uint64_t overlap = ratio == 4 ? 2 : 1;	/* ratio-4 blocks pool two neighbours */

	switch (d) {
	case DIM_NONE: return 0;
	case DIM_1: return 1;
	case DIM_3: return 3;
	case DIM_EMBD: return a->n_embd;
	case DIM_EMBD2: return 2 * (uint64_t)a->n_embd;
	case DIM_VOCAB: return a->n_vocab;
	case DIM_HEAD: return a->n_head;
	case DIM_HEAD_DIM: return a->head_dim;
	case DIM_Q: return (uint64_t)a->n_head * a->head_dim;
	case DIM_Q_LORA: return a->q_lora;
	case DIM_GROUP_IN: return (uint64_t)a->n_head * a->head_dim / a->o_groups;
	case DIM_GROUP_OUT: return (uint64_t)a->o_groups * a->o_lora;
	case DIM_EXPERT: return a->n_expert;
	case DIM_USED: return a->n_expert_used;
	case DIM_FF: return a->n_ff_exp;
	case DIM_HC: return a->n_hc;
	case DIM_HC_EMBD: return (uint64_t)a->n_hc * a->n_embd;
	case DIM_HC_MIX: return (uint64_t)a->n_hc * (2 + a->n_hc);
	case DIM_COMP: return overlap * a->head_dim;
	case DIM_RATIO: return ratio;
	case DIM_IDX_Q: return (uint64_t)a->idx_head * a->idx_dim;
	case DIM_IDX_HEAD: return a->idx_head;
	case DIM_IDX_COMP: return overlap * a->idx_dim;
	case DIM_IDX_DIM: return a->idx_dim;
	}
	return 0;
}

enum role_class role_class(enum role r)
{
	return name_table[r].class;
}

enum role role_by_name(struct str name, uint32_t *layer)
{
	uint64_t n = 0;
	size_t i = 4;

	name = peer_own_name(name);
	*layer = LAYER_NONE;
	if (name.n > 5 && memcmp(name.p, "blk.", 4) == 0) {
		for (; i < name.n && name.p[i] >= '0' && name.p[i] <= '9' && n < LAYER_NONE / 10; i++)
			n = 10 * n + (uint64_t)(name.p[i] - '0');
		if (i == 4 || i == name.n || name.p[i] != '.')
			return ROLE_COUNT;
		*layer = (uint32_t)n;
		name = (struct str){ name.p + i + 1, name.n - i - 1 };
	}
	for (int r = 0; r < ROLE_COUNT; r++)
		if ((name_table[r].place == PLACE_ROOT) == (*layer == LAYER_NONE) &&
		    str_is(name, name_table[r].gguf))
			return (enum role)r;
	return ROLE_COUNT;
}

static bool occurs(enum place p, const struct arch *a, uint32_t layer)
{
	bool mtp = layer == a->n_layer;
	uint32_t ratio = mtp ? 0 : a->ratio[layer];
	bool hash = !mtp && layer < a->n_hash_layer;

	switch (p) {
	case PLACE_ROOT: return false;
	case PLACE_LAYER: return true;
	case PLACE_COMPRESSED: return ratio != 0;
	case PLACE_SPARSE: return ratio == 4;
	case PLACE_HASH: return hash;
	case PLACE_SCORED: return !hash;
	case PLACE_MTP: return mtp;
	}
	return false;
}

static void add(struct wants *l, const struct arch *a, enum role r, uint32_t layer, bool mtp)
{
	const struct row *row = &name_table[r];
	struct want *w = &l->w[l->n++];
	unsigned d = 0;

	*w = (struct want){ .role = r, .layer = layer, .mtp = mtp };
	if (layer == LAYER_NONE)
		snprintf(w->name, sizeof w->name, "%s", row->gguf);
	else
		snprintf(w->name, sizeof w->name, "blk.%u.%s", layer, row->gguf);
	if (row->class == CLASS_EXPERTS)
		w->shape[d++] = a->n_expert;
	w->shape[d++] = dim_value(row->rows, a, layer);
	if (row->cols != DIM_NONE)
		w->shape[d++] = dim_value(row->cols, a, layer);
	w->n_dims = d;
}

enum status wants_build(struct wants *l, const struct arch *a, enum model_part part, struct err *e)
{
	uint32_t first = part == PART_MTP ? a->n_layer : 0;
	uint32_t end = part == PART_MTP ? a->n_layer + 1 : a->n_layer;

	*l = (struct wants){ 0 };
	l->w = mem_new((size_t)(end - first + 1) * ROLE_COUNT, sizeof *l->w, "the list of tensors", e);
	if (!l->w)
		return e->status;
	for (int r = 0; r < ROLE_COUNT; r++)
		if (name_table[r].place == PLACE_ROOT)
			add(l, a, (enum role)r, LAYER_NONE, part == PART_MTP);
	for (uint32_t layer = first; layer < end; layer++)
		for (int r = 0; r < ROLE_COUNT; r++)
			if (occurs(name_table[r].place, a, layer))
				add(l, a, (enum role)r, layer, part == PART_MTP);
	return OK;
}

void wants_close(struct wants *l)
{
	free(l->w);
	*l = (struct wants){ 0 };
}

const struct want *wants_find(const struct wants *l, enum role r, uint32_t layer)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->w[i].role == r && l->w[i].layer == layer)
			return &l->w[i];
	return NULL;
}
