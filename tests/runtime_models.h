/* SPDX-License-Identifier: MIT
 *
 * runtime_models.h - three tiny models, as checkpoint and as GGUF, from integers alone: the same bytes
 * on every machine. For the tests of the forward pass.
 */
#ifndef TESTS_RUNTIME_MODELS_H
#define TESTS_RUNTIME_MODELS_H

#include <sys/stat.h>
#include <unistd.h>

#include "format/names.h"
#include "runtime/runtime.h"
#include "tests/test.h"

static char dir[200] = "/tmp/ingot-runtime-XXXXXX";

enum { N_IDS = 330 };
struct made { const char *name; uint32_t seed; bool yarn; struct arch a; char ckpt[300], gguf[300]; };

enum { N_MADE = 3, MADE_FP8 = 2 };
static struct made made[N_MADE] = {
	/* the usual shape: every kind of layer, odd widths, fewer picks than rows */
	{ "a", 7, true, { .n_layer = 5, .n_ratio = 6, .ratio = { 4, 128, 0, 4, 128 }, .n_hc = 4, .n_embd = 36,
	  .n_head = 6, .head_dim = 16, .n_rot = 8, .q_lora = 20, .o_groups = 3, .o_lora = 10, .n_expert = 5,
	  .n_expert_used = 2, .n_ff_exp = 22, .n_hash_layer = 1, .window = 12, .idx_head = 3, .idx_dim = 16,
	  .idx_topk = 5, .n_vocab = 50, .swiglu_limit = 0.25f, .hc_iters = 20, .routed_scale = 1.5f }, "", "" },
	/* no hash layers, no clamp, no YaRN, two streams */
	{ "b", 8, false, { .n_layer = 2, .n_ratio = 2, .ratio = { 128, 4 }, .n_hc = 2, .n_embd = 32,
	  .n_head = 2, .head_dim = 32, .n_rot = 16, .q_lora = 16, .o_groups = 1, .o_lora = 16, .n_expert = 4,
	  .n_expert_used = 3, .n_ff_exp = 16, .n_hash_layer = 0, .window = 8, .idx_head = 2, .idx_dim = 32,
	  .idx_topk = 16, .n_vocab = 40, .swiglu_limit = 0, .hc_iters = 3, .routed_scale = 2.5f }, "", "" },
	/* rows of whole blocks of 128, most of whose numbers FP8 holds, so that a store may pack them */
	{ "c", 9, true, { .n_layer = 2, .n_ratio = 2, .ratio = { 4, 0 }, .n_hc = 2, .n_embd = 128,
	  .n_head = 8, .head_dim = 32, .n_rot = 16, .q_lora = 256, .o_groups = 2, .o_lora = 64, .n_expert = 4,
	  .n_expert_used = 2, .n_ff_exp = 128, .n_hash_layer = 1, .window = 8, .idx_head = 2, .idx_dim = 32,
	  .idx_topk = 16, .n_vocab = 40, .swiglu_limit = 2, .hc_iters = 3, .routed_scale = 2.5f }, "", "" },
};

static uint32_t hash(uint32_t x)
{
	x = (x ^ x >> 16) * 0x7feb352du;
	x = (x ^ x >> 15) * 0x846ca68bu;
	return x ^ x >> 16;
}

/* Values are small multiples of 1/64, so BF16 and float32 hold the same numbers. Of the last model FP8 holds
 * those of matrices too (they are tiny, small or -0), but for one kind, and one number of another kind. */
static float value(const struct made *m, const struct want *w, uint64_t i)
{
	uint32_t r = hash(m->seed * 7919 + (uint32_t)w->role * 104729 + (w->layer + 1) * 1299709 + (uint32_t)i);
	float x = (float)((int32_t)(r % 65) - 32) / 64;
	bool norm = w->n_dims == 1 && role_class(w->role) == CLASS_SMALL;

	if (m == &made[MADE_FP8] && w->n_dims > 1 && w->role != ROLE_ATTN_OUTPUT_B)
		x = w->role == ROLE_UP_EXPS && i == 128 * 200 + 77 ? 65.0f / 64 :
		     r % 9 ? (float)((int32_t)(r % 31) - 15) / (r % 5 ? 128 : 4096) : -0.0f;

	switch (w->role) {
	case ROLE_ATTN_SINKS: case ROLE_ROUTER_BIAS: case ROLE_HC_ATTN_BASE: case ROLE_HC_FFN_BASE:
	case ROLE_OUTPUT_HC_BASE: return x;
	case ROLE_HC_ATTN_SCALE: case ROLE_HC_FFN_SCALE: case ROLE_OUTPUT_HC_SCALE: return 0.5f + x / 4;
	case ROLE_EMBED: return 2 * x;
	default: return norm ? 1 + x / 4 : x;
	}
}

static uint32_t table_id(const struct made *m, uint64_t token, uint64_t place)
{
	return (uint32_t)((token + place * (m->a.n_expert - 1)) % m->a.n_expert);
}

static uint32_t id_at(const struct made *m, size_t i)
{
	return hash(m->seed + (uint32_t)i * 31) % m->a.n_vocab;
}

/* Bytes of matrix `matrix` (n elements) as the type that tensor has; returns their number. */
static size_t put_tensor(const struct made *m, const struct want *w, enum dtype t, uint64_t n, uint64_t first,
			 uint8_t *out)
{
	unsigned size = dtype_info(t)->bytes;

	for (uint64_t i = 0; i < n; i++) {
		float x = value(m, w, first + i);
		uint32_t bits;

		memcpy(&bits, &x, 4);
		if (role_class(w->role) == CLASS_IDS)
			store_le(out + i * size, size, table_id(m, i / m->a.n_expert_used, i % m->a.n_expert_used));
		else
			store_le(out + i * size, size, t == DT_BF16 ? bits >> 16 : bits);
	}
	return (size_t)n * size;
}

static enum dtype type_of(const struct want *w, bool gguf)
{
	enum role_class c = role_class(w->role);

	if (c == CLASS_IDS)
		return gguf ? DT_I32 : DT_I64;
	return c == CLASS_SMALL ? DT_F32 : DT_BF16;
}

static uint64_t elements(const struct want *w)
{
	uint64_t n = 1;

	for (unsigned d = 0; d < w->n_dims; d++)
		n *= w->shape[d];
	return n;
}

static void write_file(const char *path, const void *a, size_t na, const void *b, size_t nb)
{
	FILE *f = fopen(path, "wb");

	CHECK(f && fwrite(a, 1, na, f) == na && fwrite(b, 1, nb, f) == nb);
	if (f)
		CHECK(fclose(f) == 0);
}

/* "blk.3.x" of the table as DeepSeek names it, expert e */
static void source_name(const struct want *w, uint64_t e, char *out, size_t cap)
{
	const char *p = name_table[w->role].deepseek, *mark = strstr(p, "%e");
	int n = 0;

	if (w->layer != LAYER_NONE)
		n = snprintf(out, cap, "layers.%u.", w->layer);
	if (mark)
		snprintf(out + n, cap - (size_t)n, "%.*s%llu%s", (int)(mark - p), p, (unsigned long long)e, mark + 2);
	else
		snprintf(out + n, cap - (size_t)n, "%s", p);
}

enum { ROOM = 4 << 20 };

static void write_checkpoint(struct made *m, const struct wants *wants)
{
	char *header = calloc(1, ROOM), path[400], name[200];
	uint8_t *data = calloc(1, ROOM), head[8];
	size_t h = 0, d = 0;

	h += (size_t)snprintf(header + h, ROOM - h, "{");
	for (size_t i = 0; i < wants->n; i++) {
		const struct want *w = &wants->w[i];
		bool stacked = role_class(w->role) == CLASS_EXPERTS;
		uint64_t n_mat = stacked ? w->shape[0] : 1, n = elements(w) / n_mat;

		for (uint64_t e = 0; e < n_mat; e++) {
			size_t bytes = put_tensor(m, w, type_of(w, false), n, e * n, data + d);

			source_name(w, e, name, sizeof name);
			h += (size_t)snprintf(header + h, ROOM - h, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[",
					      h > 1 ? "," : "", name, dtype_info(type_of(w, false))->name);
			for (unsigned k = stacked ? 1 : 0; k < w->n_dims; k++)
				h += (size_t)snprintf(header + h, ROOM - h, "%llu%s", (unsigned long long)w->shape[k],
						      k + 1 < w->n_dims ? "," : "");
			h += (size_t)snprintf(header + h, ROOM - h, "],\"data_offsets\":[%zu,%zu]}", d, d + bytes);
			d += bytes;
		}
	}
	h += (size_t)snprintf(header + h, ROOM - h, "}");
	while (h % 8)
		header[h++] = ' ';
	store_le(head, 8, h);
	memmove(header + 8, header, h);
	memcpy(header, head, 8);
	snprintf(path, sizeof path, "%s/model.safetensors", m->ckpt);
	write_file(path, header, h + 8, data, d);
	free(header);
	free(data);
}

static void write_config(const struct made *m)
{
	const struct arch *a = &m->a;
	char text[4000], path[400], ratios[100] = "";
	size_t n = 0;

	for (uint32_t i = 0; i < a->n_ratio; i++)
		n += (size_t)snprintf(ratios + n, sizeof ratios - n, "%s%u", i ? "," : "", a->ratio[i]);
	n = (size_t)snprintf(text, sizeof text,
		"{\"architectures\":[\"DeepseekV4ForCausalLM\"],\"model_type\":\"deepseek_v4\",\"vocab_size\":%u,"
		"\"hidden_size\":%u,\"num_hidden_layers\":%u,\"num_attention_heads\":%u,\"num_key_value_heads\":1,"
		"\"head_dim\":%u,\"qk_rope_head_dim\":%u,\"q_lora_rank\":%u,\"o_groups\":%u,\"o_lora_rank\":%u,"
		"\"sliding_window\":%u,\"max_position_embeddings\":4096,\"rope_theta\":10000.0,"
		"\"compress_rope_theta\":160000.0,\"compress_ratios\":[%s],\"rms_norm_eps\":1e-6,"
		"\"n_routed_experts\":%u,\"n_shared_experts\":1,\"num_experts_per_tok\":%u,"
		"\"moe_intermediate_size\":%u,\"routed_scaling_factor\":%g,\"norm_topk_prob\":true,"
		"\"scoring_func\":\"sqrtsoftplus\",\"swiglu_limit\":%g,\"num_hash_layers\":%u,"
		"\"index_n_heads\":%u,\"index_head_dim\":%u,\"index_topk\":%u,\"hc_mult\":%u,"
		"\"hc_sinkhorn_iters\":%u,\"hc_eps\":1e-6,\"bos_token_id\":0,\"eos_token_id\":1%s}",
		a->n_vocab, a->n_embd, a->n_layer, a->n_head, a->head_dim, a->n_rot, a->q_lora, a->o_groups,
		a->o_lora, a->window, ratios, a->n_expert, a->n_expert_used, a->n_ff_exp, (double)a->routed_scale,
		(double)a->swiglu_limit, a->n_hash_layer, a->idx_head, a->idx_dim, a->idx_topk, a->n_hc, a->hc_iters,
		m->yarn ? ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":16,\"beta_fast\":32,\"beta_slow\":1,"
			  "\"original_max_position_embeddings\":65536}" : "");
	snprintf(path, sizeof path, "%s/config.json", m->ckpt);
	write_file(path, text, n, "", 0);
}

static void write_ids(const struct made *m)
{
	char path[400], text[N_IDS * 4];
	size_t n = 0;

	for (size_t i = 0; i < N_IDS; i++)
		n += (size_t)snprintf(text + n, sizeof text - n, "%u ", id_at(m, i));
	snprintf(path, sizeof path, "%s/%s.ids", dir, m->name);
	write_file(path, text, n, "", 0);
}

/* The same numbers as a GGUF. poison: a want whose element 3 becomes a NaN, or NULL. */
static inline void write_gguf(const struct made *m, const struct arch *a, const struct wants *wants, const char *path,
		       const char *skip, const char *poison)
{
	struct gguf_writer w;
	struct err e = { 0 };
	uint64_t size = 0;
	uint8_t *data = calloc(1, ROOM);
	size_t d = 0;

	gguf_writer_open(&w, 32);
	gguf_put_str(&w, "general.architecture", STR("deepseek4"));
	gguf_put_u32(&w, "general.alignment", 32);
	arch_to_gguf(a, false, &w);
	for (size_t i = 0; i < wants->n; i++) {
		const struct want *t = &wants->w[i];

		if (skip && strcmp(t->name, skip) == 0)
			continue;
		d = (size_t)gguf_put_tensor(&w, t->name, type_of(t, true), t->n_dims, t->shape);
		if (poison && strcmp(t->name, poison) == 0) {
			put_tensor(m, t, type_of(t, true), elements(t), 0, data + d);
			memset(data + d + 3 * dtype_info(type_of(t, true))->bytes, 0xFF, dtype_info(type_of(t, true))->bytes);
			d += (size_t)elements(t) * dtype_info(type_of(t, true))->bytes;
		} else {
			d += put_tensor(m, t, type_of(t, true), elements(t), 0, data + d);
		}
	}
	CHECKF(gguf_writer_finish(&w, &size, &e) == OK, "%s", e.msg);
	if (size >= w.len)
		write_file(path, w.buf, w.len, data, (size_t)(size - w.len));
	gguf_writer_close(&w);
	free(data);
}

static inline void make_models(void)
{
	struct err e = { 0 };

	for (int i = 0; i < N_MADE; i++) {
		struct made *m = &made[i];
		struct wants wants = { 0 };
		struct model opened;
		struct log notes = { 0 };

		snprintf(m->ckpt, sizeof m->ckpt, "%s/%s", dir, m->name);
		snprintf(m->gguf, sizeof m->gguf, "%s/%s.gguf", dir, m->name);
		CHECK(mkdir(m->ckpt, 0700) == 0);
		write_config(m);
		write_ids(m);
		CHECKF(wants_build(&wants, &m->a, PART_TRUNK, &e) == OK, "%s", e.msg);
		write_checkpoint(m, &wants);
		CHECKF(model_open(&opened, m->ckpt, &notes, &e) == OK, "%s\n%s", e.msg, notes.text);
		write_gguf(m, &opened.arch, &wants, m->gguf, NULL, NULL);
		model_close(&opened);
		wants_close(&wants);
		log_close(&notes);
	}
}

/* Whatever a test left in dir, and dir. */
static inline void remove_all(void)
{
	static const char *const names[] = { "a/model.safetensors", "a/config.json", "a", "a.gguf", "a.ids",
		"b/model.safetensors", "b/config.json", "b", "b.gguf", "b.ids",
		"c/model.safetensors", "c/config.json", "c", "c.gguf", "c.ids", "damaged.gguf", "." };
	char path[400];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		if (unlink(path) != 0)
			rmdir(i + 1 < sizeof names / sizeof *names ? path : dir);
	}
}

#endif
