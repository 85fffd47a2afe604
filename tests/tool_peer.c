/* SPDX-License-Identifier: MIT
 *
 * tool_peer.c - IN.gguf OUT.gguf KIND: writes a deepseek4 GGUF as others do, without a seal.
 *
 *	llama	types of llama.cpp's converter: matrices in Q8_0, experts in MXFP4; no vocab_size
 *	ds4	ds4's: F16 where we keep F32, Q8_0 and Q4_K; one more block counted than there is; u64 and u32 keys
 *	ik	the other names of the output's hyper-connections; one clamp for all layers; the older pre-tokenizer's name
 *	group, dense, clamp, mtp, fused, gating, iq2	what is refused
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/model.h"
#include "quantize/quantize.h"

static const char *kind;

static bool is(const char *k) { return strcmp(kind, k) == 0; }

static bool ends(const char *s, const char *tail)
{
	size_t n = strlen(s), k = strlen(tail);

	return n >= k && strcmp(s + n - k, tail) == 0;
}

/* The type that the peer stores the tensor in. */
static enum dtype type_of(const char *name, const struct gguf_tensor *t)
{
	uint32_t layer;
	enum role r = role_by_name(t->name, &layer);
	enum role_class class = role_class(r);

	if (is("iq2") && ends(name, "blk.1.ffn_up_exps.weight"))
		return DT_IQ2_XXS;
	if (is("llama") && class == CLASS_MATRIX && (layer != LAYER_NONE) && !strstr(name, "compressor") && !strstr(name, "proj"))
		return DT_Q8_0;
	if (!is("ds4"))
		return t->dtype;
	if (class == CLASS_EXPERTS)
		return t->shape[t->n_dims - 1] % 256 ? DT_Q8_0 : DT_Q4_K;
	if (strstr(name, "hc_") && ends(name, "fn.weight"))
		return DT_F16;
	if (r == ROLE_EMBED || class == CLASS_ROUTER || strstr(name, "compressor_ape") || strstr(name, "compressor_kv") ||
	    strstr(name, "compressor_gate") || strstr(name, "indexer."))
		return DT_F16;
	return class == CLASS_MATRIX ? DT_Q8_0 : t->dtype;
}

static const char *name_of(const char *name)
{
	if (is("ik") && strncmp(name, "output_hc_", 10) == 0)
		return strstr(name, "_fn.") ? "hc_head_fn.weight" : strstr(name, "_base.") ? "hc_head_base.weight" : "hc_head_scale.weight";
	if (is("mtp") && strcmp(name, "output.weight") == 0)
		return "mtp.0.e_proj.weight";
	if (is("fused") && strcmp(name, "blk.0.ffn_gate_exps.weight") == 0)
		return "blk.0.ffn_gate_up_exps.weight";
	return name;
}

static void put_ints(struct gguf_writer *w, const char *key, const struct gguf_kv *kv, enum gguf_type type, unsigned bytes)
{
	uint8_t b[8 * 64] = { 0 };
	int64_t v = 0;
	uint64_t n = u64_min(kv->count, 64);

	for (uint64_t i = 0; i < n && gguf_array_int(kv, i, &v); i++)
		store_le(b + i * bytes, bytes, (uint64_t)v);
	gguf_put_array(w, key, type, b, n);
}

/* A key of the input in the peer's form. */
static void put_key(struct gguf_writer *w, const struct gguf *g, const struct gguf_kv *kv)
{
	char key[128];
	uint64_t v = 0;

	snprintf(key, sizeof key, "%.*s", (int)kv->key.n, kv->key.p);
	if (strncmp(key, "ingot.", 6) == 0 || ((is("llama") || is("ik")) && strcmp(key, "deepseek4.vocab_size") == 0))
		return;
	if (is("ds4") && strcmp(key, "deepseek4.block_count") == 0 && gguf_u64(g, key, &v)) {
		gguf_put_u64(w, key, v + 1);
		gguf_put_u32(w, "deepseek4.nextn_predict_layers", 1);
		gguf_put_u32(w, "deepseek4.expert_group_count", 0);
	} else if (is("ds4") && strcmp(key, "deepseek4.attention.compress_ratios") == 0) {
		put_ints(w, key, kv, GGUF_U32, 4);
	} else if (is("ds4") && strcmp(key, "deepseek4.context_length") == 0 && gguf_u64(g, key, &v)) {
		gguf_put_u64(w, key, v);
	} else if (is("ik") && strcmp(key, "deepseek4.swiglu_clamp_exp") == 0) {
		double clamp = 0;

		gguf_array_float(kv, 0, &clamp);
		gguf_put_f32(w, key, (float)clamp);
	} else if (is("ik") && strcmp(key, "tokenizer.ggml.pre") == 0) {
		gguf_put_str(w, key, STR("deepseek-v3"));
	} else if (is("gating") && strcmp(key, "deepseek4.expert_gating_func") == 0) {
		gguf_put_u32(w, key, 2);
	} else if (is("clamp") && strcmp(key, "deepseek4.swiglu_clamp_shexp") == 0) {
		size_t at = gguf_put_array(w, key, GGUF_F32, kv->data, kv->count);

		w->buf[at + 3] ^= 0x40;	/* another exponent */
	} else {
		gguf_put_kv(w, kv);
	}
}

/* The tensor's bytes in that type. */
static uint8_t *recode(const struct gguf_tensor *t, const struct file *f, enum dtype type, uint64_t *bytes)
{
	const struct dtype_info *from = dtype_info(t->dtype), *to = dtype_info(type);
	uint64_t n = t->bytes / from->bytes * from->block;
	uint8_t *raw = malloc(t->bytes), *out = calloc(1, *bytes = n / to->block * to->bytes);
	float *x = malloc(n * sizeof *x);
	struct err e;

	if (!raw || !out || !x || file_read(f, raw, (size_t)t->bytes, t->off, &e) != OK)
		exit(1);
	if (type == t->dtype) {
		memcpy(out, raw, t->bytes);
	} else if (type != DT_IQ2_XXS) {
		codec_decode(t->dtype, raw, (size_t)n, x);
		codec_encode(type, x, NULL, (size_t)n, EFFORT_FAST, out);
	}
	free(raw);
	free(x);
	return out;
}

static void put_header(struct gguf_writer *w, const struct gguf *g)
{
	gguf_writer_open(w, 32);
	for (size_t i = 0; i < g->n_kv; i++)
		put_key(w, g, &g->kv[i]);
	if (is("group"))
		gguf_put_u32(w, "deepseek4.expert_group_count", 2);
	if (is("dense"))
		gguf_put_u32(w, "deepseek4.leading_dense_block_count", 1);
	for (size_t i = 0; i < g->n_tensors; i++) {
		char name[GGUF_MAX_NAME + 1];

		snprintf(name, sizeof name, "%.*s", (int)g->tensors[i].name.n, g->tensors[i].name.p);
		gguf_put_tensor(w, name_of(name), type_of(name, &g->tensors[i]), g->tensors[i].n_dims, g->tensors[i].shape);
	}
}

int main(int argc, char **argv)
{
	static const uint8_t zeros[32];
	struct gguf_set s;
	struct gguf_writer w;
	struct err e;
	uint64_t size, bytes;
	FILE *out;

	if (argc != 4 || gguf_set_open(&s, argv[1], NULL, &e) != OK || !(out = fopen(argv[2], "wb"))) {
		fprintf(stderr, "usage: tool_peer IN.gguf OUT.gguf KIND\n");
		return 1;
	}
	kind = argv[3];
	put_header(&w, &s.gguf);
	if (gguf_writer_finish(&w, &size, &e) != OK || fwrite(w.buf, 1, w.len, out) != w.len)
		return 1;
	for (size_t i = 0; i < s.gguf.n_tensors; i++) {
		const struct gguf_tensor *t = &s.gguf.tensors[i];
		char name[GGUF_MAX_NAME + 1];

		snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
		uint8_t *b = recode(t, &s.files[t->file], type_of(name, t), &bytes);

		if (fwrite(b, 1, bytes, out) != bytes || fwrite(zeros, 1, (32 - bytes % 32) % 32, out) != (32 - bytes % 32) % 32)
			return 1;
		free(b);
	}
	gguf_writer_close(&w);
	gguf_set_close(&s);
	return fclose(out) != 0;
}
