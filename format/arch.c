/* SPDX-License-Identifier: MIT
 *
 * arch.c - hyper-parameters of DeepSeek-V4, from config.json and from a GGUF's deepseek4.* keys.
 *
 * Both readers end in the same check(), so a value that a later file trusts (a divisor, a count,
 * a head size) is positive, bounded and consistent whatever it was read from.
 */
#include "format/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIM_MAX = 1 << 22, COUNT_MAX = 1 << 16, USED_MAX = 256 };

static enum status refuse(struct err *e, const char *path, const char *why, double value)
{
	return err_set(e, ERR_FORMAT, "%s: %s (%g)", path, why, value);
}

static bool power_of_two(uint32_t n)
{
	return n && (n & (n - 1)) == 0;
}

static enum status check_layers(const struct arch *a, const char *path, struct err *e)
{
	bool sparse = false;

	if (a->n_layer == 0 || a->n_layer > ARCH_MAX_LAYERS - 1)
		return refuse(e, path, "the number of layers is not from 1 to 511", a->n_layer);
	if (a->n_ratio < a->n_layer)
		return refuse(e, path, "compress_ratios is shorter than the number of layers", a->n_ratio);
	for (uint32_t i = 0; i < a->n_ratio; i++) {
		sparse |= a->ratio[i] == 4;
		if (a->ratio[i] != 0 && a->ratio[i] != 4 && a->ratio[i] != 128)
			return err_set(e, ERR_UNSUPPORTED, "%s: compress_ratios has %u at layer %u; 0, 4 and 128 "
				       "are known", path, a->ratio[i], i);
	}
	if (sparse && (!a->idx_head || !a->idx_topk || !power_of_two(a->idx_dim) || a->idx_dim < a->n_rot))
		return refuse(e, path, "the indexer of ratio-4 layers needs heads, a top-k and a head size that "
			      "is a power of two", a->idx_dim);
	if (a->n_hash_layer > a->n_layer)
		return refuse(e, path, "more hash-routed layers than layers", a->n_hash_layer);
	return OK;
}

static enum status check(const struct arch *a, const char *path, struct err *e)
{
	if (!a->n_embd || !a->n_vocab || !a->n_head || !a->head_dim || !a->q_lora || !a->o_lora || !a->n_ctx ||
	    !a->n_expert || !a->n_expert_used || !a->n_ff_exp || !a->window)
		return refuse(e, path, "a dimension is zero", 0);
	if (a->n_expert_used > a->n_expert || a->n_expert_used > USED_MAX)
		return refuse(e, path, "more experts used than there are", a->n_expert_used);
	if (a->n_expert_shared != 1)
		return err_set(e, ERR_UNSUPPORTED, "%s: %u shared experts; one is known", path,
			       a->n_expert_shared);
	if (!a->o_groups || a->n_head % a->o_groups)
		return refuse(e, path, "o_groups does not divide the number of heads", a->o_groups);
	if (!a->n_rot || a->n_rot % 2 || a->n_rot > a->head_dim)
		return refuse(e, path, "the rotary dimension is odd, zero or larger than a head", a->n_rot);
	if (a->n_hc == 0 || a->n_hc > 8 || a->hc_iters == 0)
		return refuse(e, path, "hyper-connections need 1 to 8 streams and an iteration", a->n_hc);
	if (!(a->rms_eps > 0) || !(a->hc_eps > 0) || !(a->rope_base > 1) || !(a->rope_base_compressed > 1) ||
	    !(a->routed_scale > 0) || !(a->swiglu_limit >= 0))
		return refuse(e, path, "an epsilon, a rope base or a scale is not positive", a->rms_eps);
	if (a->yarn && (!(a->yarn_factor >= 1) || !(a->yarn_beta_fast > a->yarn_beta_slow) ||
			!(a->yarn_beta_slow > 0) || a->yarn_n_ctx == 0))
		return refuse(e, path, "the yarn parameters make no sense", a->yarn_factor);
	return check_layers(a, path, e);
}

static void check_names(struct config *c, struct arch *a)
{
	const char *name = config_item_str(c, "architectures", 0), *type = config_str(c, "model_type");

	if (!name)
		name = type ? type : "";
	escape_text(a->torch_name, sizeof a->torch_name, name, strlen(name));
	if (strcmp(name, "DeepseekV4ForCausalLM") == 0 || (type && strcmp(type, "deepseek_v4") == 0 &&
							   !config_has(c, "architectures")))
		return;
	if (strncmp(name, "DeepseekV41", 11) == 0 || (type && strncmp(type, "deepseek_v41", 12) == 0))
		config_fail(c, ERR_UNSUPPORTED, "architecture %s is DeepSeek-V4.1, another graph with other "
			    "tensors; only DeepSeek-V4 (DeepseekV4ForCausalLM) is supported", a->torch_name);
	else
		config_fail(c, ERR_UNSUPPORTED, "architecture '%s' is not supported; only DeepSeek-V4 "
			    "(DeepseekV4ForCausalLM) is", a->torch_name);
}

static void want_word(struct config *c, const char *key, const char *word)
{
	const char *v = config_str(c, key);

	if (config_has(c, key) && (!v || strcmp(v, word) != 0))
		config_fail(c, ERR_UNSUPPORTED, "%s is '%s'; only '%s' is known", key, v ? v : "?", word);
}

static void read_rope(struct config *c, struct arch *a)
{
	a->rope_base = config_float_or(c, "rope_theta", 1, 1e12, 10000);
	a->rope_base_compressed = config_float_or(c, "compress_rope_theta", 1, 1e12, 160000);
	a->yarn = config_has(c, "rope_scaling");
	if (!a->yarn)
		return;
	want_word(c, config_has(c, "rope_scaling.type") ? "rope_scaling.type" : "rope_scaling.rope_type", "yarn");
	a->yarn_factor = config_float(c, "rope_scaling.factor", 1, 1e6);
	a->yarn_n_ctx = config_u32(c, "rope_scaling.original_max_position_embeddings", 1, 1u << 30);
	a->yarn_beta_fast = config_float_or(c, "rope_scaling.beta_fast", 0, 1e6, 32);
	a->yarn_beta_slow = config_float_or(c, "rope_scaling.beta_slow", 0, 1e6, 1);
}

static void read_quantization(struct config *c, struct arch *a)
{
	if (!config_has(c, "quantization_config"))
		return;
	want_word(c, "quantization_config.quant_method", "fp8");
	want_word(c, "quantization_config.fmt", "e4m3");
	if (config_has(c, "quantization_config.weight_block_size")) {
		if (config_count(c, "quantization_config.weight_block_size") != 2)
			config_fail(c, ERR_FORMAT, "quantization_config.weight_block_size must have two numbers");
		a->fp8_block_rows = config_item_u32(c, "quantization_config.weight_block_size", 0, 1, DIM_MAX);
		a->fp8_block_cols = config_item_u32(c, "quantization_config.weight_block_size", 1, 1, DIM_MAX);
	}
}

static void read_dims(struct config *c, struct arch *a)
{
	a->n_layer = config_u32(c, "num_hidden_layers", 1, ARCH_MAX_LAYERS - 1);
	a->n_ctx = config_u32(c, "max_position_embeddings", 1, 1u << 30);
	a->n_vocab = config_u32(c, "vocab_size", 1, DIM_MAX);
	a->n_embd = config_u32(c, "hidden_size", 1, DIM_MAX);
	a->n_head = config_u32(c, "num_attention_heads", 1, COUNT_MAX);
	if (config_u32_or(c, "num_key_value_heads", 1, COUNT_MAX, 1) != 1)
		config_fail(c, ERR_UNSUPPORTED, "num_key_value_heads is not 1");
	a->head_dim = config_u32(c, "head_dim", 1, COUNT_MAX);
	a->n_rot = config_u32(c, "qk_rope_head_dim", 2, COUNT_MAX);
	a->q_lora = config_u32(c, "q_lora_rank", 1, DIM_MAX);
	a->o_groups = config_u32(c, "o_groups", 1, COUNT_MAX);
	a->o_lora = config_u32(c, "o_lora_rank", 1, DIM_MAX);
	a->n_expert = config_u32(c, "n_routed_experts", 1, COUNT_MAX);
	a->n_expert_used = config_u32(c, "num_experts_per_tok", 1, USED_MAX);
	a->n_expert_shared = config_u32_or(c, "n_shared_experts", 0, COUNT_MAX, 1);
	a->n_ff_exp = config_u32(c, "moe_intermediate_size", 1, DIM_MAX);
	a->n_hash_layer = config_u32_or(c, "num_hash_layers", 0, ARCH_MAX_LAYERS, 0);
	a->window = config_u32(c, "sliding_window", 1, 1u << 30);
	a->idx_head = config_u32_or(c, "index_n_heads", 1, COUNT_MAX, 0);
	a->idx_dim = config_u32_or(c, "index_head_dim", 1, COUNT_MAX, 0);
	a->idx_topk = config_u32_or(c, "index_topk", 1, 1u << 30, 0);
	a->n_hc = config_u32(c, "hc_mult", 1, 8);
	a->hc_iters = config_u32(c, "hc_sinkhorn_iters", 1, 1000);
	a->n_mtp = config_u32_or(c, "num_nextn_predict_layers", 0, 64, 0);
	a->bos = config_u32_or(c, "bos_token_id", 0, DIM_MAX, TOKEN_NONE);
	a->eos = config_u32_or(c, "eos_token_id", 0, DIM_MAX, TOKEN_NONE);
}

enum status arch_from_config(struct arch *a, const char *text, size_t n, const char *path,
			     struct log *notes, struct err *e)
{
	struct config c;
	enum status st;

	*a = (struct arch){ 0 };
	TRY(config_open(&c, text, n, path, e));
	check_names(&c, a);
	read_dims(&c, a);
	read_rope(&c, a);
	read_quantization(&c, a);
	want_word(&c, "scoring_func", "sqrtsoftplus");
	want_word(&c, "hidden_act", "silu");
	a->n_ratio = config_count(&c, "compress_ratios");
	if (a->n_ratio > ARCH_MAX_LAYERS)
		config_fail(&c, ERR_UNSUPPORTED, "compress_ratios has more than %d entries", ARCH_MAX_LAYERS);
	for (uint32_t i = 0; i < a->n_ratio && c.err.status == OK; i++)
		a->ratio[i] = config_item_u32(&c, "compress_ratios", i, 0, 1u << 30);
	a->rms_eps = config_float_or(&c, "rms_norm_eps", 1e-30, 1, 1e-6f);
	a->hc_eps = config_float_or(&c, "hc_eps", 1e-30, 1, 1e-6f);
	a->routed_scale = config_float_or(&c, "routed_scaling_factor", 1e-6, 1e6, 1);
	a->swiglu_limit = config_float_or(&c, "swiglu_limit", 0, 1e30, 0);
	a->norm_topk = config_bool_or(&c, "norm_topk_prob", true);
	if (config_bool_or(&c, "tie_word_embeddings", false))
		config_fail(&c, ERR_UNSUPPORTED, "tied embeddings are not known of DeepSeek-V4");
	if (config_has(&c, "auto_map"))
		log_add(notes, "%s: names code to run (auto_map); it is ignored", path);
	TRY(config_close(&c, e));
	return check(a, path, e);
out:
	return st;
}

enum status arch_from_checkpoint(struct arch *a, const struct checkpoint *c, struct log *notes, struct err *e)
{
	const struct source_file *config = checkpoint_file(c, "config.json");
	char *text;
	size_t n;
	enum status st;

	if (!config)
		return err_set(e, ERR_FORMAT, "%s: config.json is missing; finish the download", c->dir.path);
	if (file_slurp(&config->file, CONFIG_LIMIT, &text, &n, e) != OK)
		return e->status;
	st = arch_from_config(a, text, n, config->file.path, notes, e);
	free(text);
	return st;
}

/* deepseek4.* keys with their place in struct arch; F where the loader needs a float. */
struct key_u32 { const char *key; size_t at; bool required; };
#define AT(field) offsetof(struct arch, field)
static const struct key_u32 u32_keys[] = {
	{ "deepseek4.context_length", AT(n_ctx), true },
	{ "deepseek4.embedding_length", AT(n_embd), true },
	{ "deepseek4.attention.head_count", AT(n_head), true },
	{ "deepseek4.attention.key_length", AT(head_dim), true },
	{ "deepseek4.rope.dimension_count", AT(n_rot), true },
	{ "deepseek4.vocab_size", AT(n_vocab), false },
	{ "deepseek4.expert_count", AT(n_expert), true },
	{ "deepseek4.expert_used_count", AT(n_expert_used), true },
	{ "deepseek4.expert_feed_forward_length", AT(n_ff_exp), true },
	{ "deepseek4.expert_shared_count", AT(n_expert_shared), true },
	{ "deepseek4.attention.q_lora_rank", AT(q_lora), true },
	{ "deepseek4.attention.sliding_window", AT(window), true },
	{ "deepseek4.attention.indexer.head_count", AT(idx_head), true },
	{ "deepseek4.attention.indexer.key_length", AT(idx_dim), true },
	{ "deepseek4.attention.indexer.top_k", AT(idx_topk), true },
	{ "deepseek4.attention.output_group_count", AT(o_groups), true },
	{ "deepseek4.attention.output_lora_rank", AT(o_lora), true },
	{ "deepseek4.hyper_connection.count", AT(n_hc), true },
	{ "deepseek4.hyper_connection.sinkhorn_iterations", AT(hc_iters), true },
	{ "deepseek4.hash_layer_count", AT(n_hash_layer), true },
};
static const struct key_u32 f32_keys[] = {
	{ "deepseek4.attention.layer_norm_rms_epsilon", AT(rms_eps), true },
	{ "deepseek4.rope.freq_base", AT(rope_base), true },
	{ "deepseek4.expert_weights_scale", AT(routed_scale), true },
	{ "deepseek4.attention.compress_rope_freq_base", AT(rope_base_compressed), true },
	{ "deepseek4.hyper_connection.epsilon", AT(hc_eps), true },
};
enum { N_U32 = sizeof u32_keys / sizeof *u32_keys, N_F32 = sizeof f32_keys / sizeof *f32_keys };

static uint32_t *field_u32(struct arch *a, size_t at) { return (uint32_t *)(void *)((char *)a + at); }
static float *field_f32(struct arch *a, size_t at) { return (float *)(void *)((char *)a + at); }

static enum status missing_key(struct err *e, const char *path, const char *key)
{
	return err_set(e, ERR_FORMAT, "%s: metadata key %s is missing or has the wrong type", path, key);
}

static enum status read_table(struct arch *a, const struct gguf *g, const char *path, struct err *e)
{
	for (size_t i = 0; i < N_U32; i++) {
		uint64_t v = 0;
		if (!gguf_u64(g, u32_keys[i].key, &v) && u32_keys[i].required)
			return missing_key(e, path, u32_keys[i].key);
		if (v > 1u << 30)
			return err_set(e, ERR_FORMAT, "%s: %s is %llu", path, u32_keys[i].key,
				       (unsigned long long)v);
		*field_u32(a, u32_keys[i].at) = (uint32_t)v;
	}
	for (size_t i = 0; i < N_F32; i++)
		if (!gguf_f32(g, f32_keys[i].key, field_f32(a, f32_keys[i].at)) && f32_keys[i].required)
			return missing_key(e, path, f32_keys[i].key);
	return OK;
}

static enum status read_gguf_rope(struct arch *a, const struct gguf *g, const char *path, struct err *e)
{
	struct str type = { 0 };
	uint64_t n = 0;

	a->yarn = gguf_str(g, "deepseek4.rope.scaling.type", &type) && str_is(type, "yarn");
	if (!a->yarn)
		return OK;
	if (!gguf_f32(g, "deepseek4.rope.scaling.factor", &a->yarn_factor))
		return missing_key(e, path, "deepseek4.rope.scaling.factor");
	if (!gguf_u64(g, "deepseek4.rope.scaling.original_context_length", &n) || n > 1u << 30)
		return missing_key(e, path, "deepseek4.rope.scaling.original_context_length");
	a->yarn_n_ctx = (uint32_t)n;
	a->yarn_beta_fast = 32;
	a->yarn_beta_slow = 1;
	gguf_f32(g, "deepseek4.rope.scaling.yarn_beta_fast", &a->yarn_beta_fast);
	gguf_f32(g, "deepseek4.rope.scaling.yarn_beta_slow", &a->yarn_beta_slow);
	return OK;
}

/* Arrays with a value a layer; a scalar serves for all. */
static enum status read_gguf_arrays(struct arch *a, const struct gguf *g, const char *path, struct err *e)
{
	const struct gguf_kv *r = gguf_find(g, "deepseek4.attention.compress_ratios");
	const struct gguf_kv *s = gguf_find(g, "deepseek4.swiglu_clamp_exp");
	const struct gguf_kv *shared = gguf_find(g, "deepseek4.swiglu_clamp_shexp");
	double limit = 0, other;
	int64_t v;

	if (!r || r->type != GGUF_ARR || r->count > ARCH_MAX_LAYERS)
		return missing_key(e, path, "deepseek4.attention.compress_ratios");
	a->n_ratio = (uint32_t)r->count;
	for (uint32_t i = 0; i < a->n_ratio; i++) {
		if (!gguf_array_int(r, i, &v) || v < 0 || v > 1 << 30)
			return missing_key(e, path, "deepseek4.attention.compress_ratios");
		a->ratio[i] = (uint32_t)v;
	}
	if (!s)
		return missing_key(e, path, "deepseek4.swiglu_clamp_exp");
	if (s->type != GGUF_ARR)
		return gguf_f32(g, "deepseek4.swiglu_clamp_exp", &a->swiglu_limit) ? OK
			: missing_key(e, path, "deepseek4.swiglu_clamp_exp");
	if (!gguf_array_float(s, 0, &limit))
		return missing_key(e, path, "deepseek4.swiglu_clamp_exp");
	for (uint64_t i = 1; i < s->count; i++)
		if (!gguf_array_float(s, i, &other) || other != limit)
			return err_set(e, ERR_UNSUPPORTED, "%s: deepseek4.swiglu_clamp_exp differs between layers",
				       path);
	a->swiglu_limit = (float)limit;
	for (uint64_t i = 0; shared && gguf_array_float(shared, i, &other); i++)
		if (other != limit)
			return err_set(e, ERR_UNSUPPORTED, "%s: deepseek4.swiglu_clamp_shexp differs from swiglu_clamp_exp", path);
	return OK;
}

enum status arch_from_gguf(struct arch *a, const struct gguf *g, const char *path, struct err *e)
{
	struct str name = { 0 };
	uint64_t blocks, nextn = 0, kv_heads = 1, gating = 4;
	char shown[64];
	enum status st;

	*a = (struct arch){ 0 };
	gguf_str(g, "general.architecture", &name);
	if (!str_is(name, "deepseek4"))
		return err_set(e, ERR_UNSUPPORTED, "%s: architecture '%s' is not supported; only deepseek4 is "
			       "(`ingot quantize` and `compare` take any)", path,
			       escape_text(shown, sizeof shown, name.p ? name.p : "", name.n));
	if (!gguf_u64(g, "deepseek4.block_count", &blocks) || blocks >= ARCH_MAX_LAYERS)
		return missing_key(e, path, "deepseek4.block_count");
	gguf_u64(g, "deepseek4.nextn_predict_layers", &nextn);
	blocks = peer_blocks(g, blocks, nextn);
	TRY(peer_check(g, path, e));
	a->n_layer = (uint32_t)blocks;
	a->n_mtp = (uint32_t)nextn;
	TRY(read_table(a, g, path, e));
	TRY(read_gguf_rope(a, g, path, e));
	TRY(read_gguf_arrays(a, g, path, e));
	if (a->n_vocab == 0) {
		const struct gguf_tensor *t = gguf_find_tensor(g, "token_embd.weight");
		a->n_vocab = t && t->n_dims == 2 && t->shape[0] <= DIM_MAX ? (uint32_t)t->shape[0] : 0;
	}
	a->norm_topk = true;
	gguf_bool(g, "deepseek4.expert_weights_norm", &a->norm_topk);
	gguf_u64(g, "deepseek4.attention.head_count_kv", &kv_heads);
	gguf_u64(g, "deepseek4.expert_gating_func", &gating);
	if (kv_heads != 1 || gating != 4)
		return err_set(e, ERR_UNSUPPORTED, "%s: %llu KV heads, gating function %llu; 1 and 4 are known",
			       path, (unsigned long long)kv_heads, (unsigned long long)gating);
	a->bos = a->eos = TOKEN_NONE;
	return check(a, path, e);
out:
	return st;
}

static void put_per_layer(struct gguf_writer *w, const char *key, float v, uint32_t n)
{
	uint8_t bytes[4 * ARCH_MAX_LAYERS];
	uint32_t bits;

	memcpy(&bits, &v, 4);
	for (uint32_t i = 0; i < n; i++)
		store_le(bytes + 4 * i, 4, bits);
	gguf_put_array(w, key, GGUF_F32, bytes, n);
}

void arch_to_gguf(const struct arch *a, bool mtp, struct gguf_writer *w)
{
	uint32_t n_block = a->n_layer + mtp, n_ratio = a->n_ratio > n_block ? a->n_ratio : n_block;
	uint8_t ratios[4 * (ARCH_MAX_LAYERS + 1)];

	for (uint32_t i = 0; i < n_ratio; i++)
		store_le(ratios + 4 * i, 4, i < a->n_ratio ? a->ratio[i] : 0);
	gguf_put_u32(w, "deepseek4.block_count", n_block);
	for (size_t i = 0; i < N_U32; i++)
		gguf_put_u32(w, u32_keys[i].key, *field_u32((struct arch *)(uintptr_t)a, u32_keys[i].at));
	gguf_put_u32(w, "deepseek4.embedding_length_out", a->n_hc * a->n_embd);
	gguf_put_u32(w, "deepseek4.attention.head_count_kv", 1);
	gguf_put_u32(w, "deepseek4.attention.value_length", a->head_dim);
	gguf_put_u32(w, "deepseek4.expert_gating_func", 4);
	gguf_put_bool(w, "deepseek4.expert_weights_norm", a->norm_topk);
	for (size_t i = 0; i < N_F32; i++)
		gguf_put_f32(w, f32_keys[i].key, *field_f32((struct arch *)(uintptr_t)a, f32_keys[i].at));
	if (a->yarn) {
		gguf_put_str(w, "deepseek4.rope.scaling.type", STR("yarn"));
		gguf_put_f32(w, "deepseek4.rope.scaling.factor", a->yarn_factor);
		gguf_put_u32(w, "deepseek4.rope.scaling.original_context_length", a->yarn_n_ctx);
		gguf_put_f32(w, "deepseek4.rope.scaling.yarn_beta_fast", a->yarn_beta_fast);
		gguf_put_f32(w, "deepseek4.rope.scaling.yarn_beta_slow", a->yarn_beta_slow);
	}
	put_per_layer(w, "deepseek4.swiglu_clamp_exp", a->swiglu_limit, n_block);
	put_per_layer(w, "deepseek4.swiglu_clamp_shexp", a->swiglu_limit, n_block);
	gguf_put_array(w, "deepseek4.attention.compress_ratios", GGUF_I32, ratios, n_ratio);
	if (mtp)
		gguf_put_u32(w, "deepseek4.nextn_predict_layers", 1);
}
