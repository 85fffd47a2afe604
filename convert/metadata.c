/* SPDX-License-Identifier: MIT
 *
 * metadata.c - the keys of an output: what the model is, then where the file came from.
 *
 * A checkpoint's keys are made from its config and tokenizer; a GGUF's are copied as they are, whatever
 * they mean, but for those that speak of the file itself (its types, its seal, its sources), which become
 * true of the new file. Nothing depends on the output's path, the time or the machine.
 */
#include "convert/plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- of the file as a whole -----------------------------------------------------------------*/

/* The type that most weights of products have; of stacked experts alone where there are any. */
static enum dtype main_type(const struct plan_output *out)
{
	double n[DT_COUNT] = { 0 };
	bool experts = false;
	int best = DT_NONE;

	for (size_t i = 0; i < out->n_tensors; i++)
		experts |= out->tensors[i].class == CLASS_EXPERTS;
	for (size_t i = 0; i < out->n_tensors; i++) {
		const struct plan_tensor *t = &out->tensors[i];

		if (t->class == (experts ? CLASS_EXPERTS : CLASS_MATRIX))
			n[t->type] += (double)t->bytes / dtype_info(t->type)->bytes * dtype_info(t->type)->block;
	}
	for (int t = 0; t < DT_COUNT; t++)
		if (n[t] > n[best])
			best = t;
	return (enum dtype)best;
}

/* llama.cpp's numbers for general.file_type: informational. */
static uint32_t file_type(const struct plan_output *out)
{
	switch (main_type(out)) {
	case DT_F16: return 1;
	case DT_Q4_0: return 2;
	case DT_Q4_1: return 3;
	case DT_Q8_0: return 7;
	case DT_Q5_0: return 8;
	case DT_Q5_1: return 9;
	case DT_Q2_K: return 10;
	case DT_Q3_K: return 12;
	case DT_Q4_K: return 15;
	case DT_Q5_K: return 17;
	case DT_Q6_K: return 18;
	case DT_IQ4_NL: return 25;
	case DT_IQ4_XS: return 30;
	case DT_BF16: return 32;
	case DT_MXFP4: return 38;
	case DT_NVFP4: return 39;
	default: return 0;
	}
}

/* "256x8.4B": experts and the size of what one token's share would be with one expert, as
 * llama.cpp's converter rounds it. */
static void size_label(const struct plan *p, char *out, size_t cap)
{
	const struct arch *a = &p->arch;
	double total = 0, experts = 0;

	for (size_t i = 0; i < p->out[0].n_tensors; i++) {
		const struct want *w = &p->out[0].tensors[i].want;
		double n = 1;

		if (p->out[0].tensors[i].class == CLASS_IDS)
			continue;
		for (unsigned d = 0; d < w->n_dims; d++)
			n *= (double)w->shape[d];
		total += n;
		if (p->out[0].tensors[i].class == CLASS_EXPERTS)
			experts += n;
	}
	double one = total - experts + experts / a->n_expert;
	const char *unit = one >= 1e12 ? "T" : one >= 1e9 ? "B" : one >= 1e6 ? "M" : "K";
	double v = one / (one >= 1e12 ? 1e12 : one >= 1e9 ? 1e9 : one >= 1e6 ? 1e6 : 1e3);
	unsigned tenths = (unsigned)(v >= 9.5 ? 10 * rint(v) : rint(10 * v));	/* no %.1f: its point is the locale's */

	if (v >= 9.5)
		snprintf(out, cap, "%ux%u%s", a->n_expert, tenths / 10, unit);
	else
		snprintf(out, cap, "%ux%u.%u%s", a->n_expert, tenths / 10, tenths % 10, unit);
}

static const char *model_name(const struct arch *a)
{
	if (a->n_layer == 43 && a->n_embd == 4096 && a->n_expert == 256)
		return "DeepSeek V4 Flash";
	if (a->n_layer == 61 && a->n_embd == 7168 && a->n_expert == 384)
		return "DeepSeek V4 Pro";
	return "DeepSeek V4";
}

static struct str z(const char *s)
{
	return (struct str){ s, strlen(s) };
}

static void put_general(const struct plan *p, const struct plan_output *out, const struct plan_options *o,
			struct gguf_writer *w)
{
	const struct source_dir *d = &p->ckpt->dir;
	char label[64], url[300];

	size_label(p, label, sizeof label);
	gguf_put_str(w, "general.architecture", STR("deepseek4"));
	gguf_put_str(w, "general.type", STR("model"));
	gguf_put_str(w, "general.name", z(o->name ? o->name : model_name(&p->arch)));
	gguf_put_str(w, "general.size_label", z(label));
	gguf_put_u32(w, "general.quantization_version", 2);
	gguf_put_u32(w, "general.file_type", file_type(out));
	if (d->repo[0]) {
		snprintf(url, sizeof url, "https://huggingface.co/%s", d->repo);
		gguf_put_str(w, "general.source.repo_url", z(url));
	}
	if (d->commit[0])
		gguf_put_str(w, "general.source.revision", z(d->commit));
}

/* ---- copied ---------------------------------------------------------------------------------*/

static bool has_prefix(struct str s, const char *prefix)
{
	size_t n = strlen(prefix);

	return s.n >= n && memcmp(s.p, prefix, n) == 0;
}

static void copy_metadata(const struct plan *p, const struct plan_output *out, const struct plan_options *o,
			  struct gguf_writer *w)
{
	const struct gguf *g = &p->gguf->set.gguf;

	for (size_t i = 0; i < g->n_kv; i++) {
		struct str key = g->kv[i].key;

		if (str_is(key, "general.alignment") || str_is(key, "general.file_type") ||
		    str_is(key, "general.quantization_version") || has_prefix(key, "ingot.") ||
		    has_prefix(key, "split.") || (p->importance && has_prefix(key, "quantize.imatrix.")) ||
		    (o->name && str_is(key, "general.name")))
			continue;
		gguf_put_kv(w, &g->kv[i]);
	}
	if (o->name)
		gguf_put_str(w, "general.name", z(o->name));
	gguf_put_u32(w, "general.quantization_version", 2);
	gguf_put_u32(w, "general.file_type", file_type(out));
}

/* ---- where it came from ---------------------------------------------------------------------*/

/* A key of the input, if it is an array of that type (or a string, where elem is GGUF_STR). */
static const struct gguf_kv *of_type(const struct gguf *g, const char *key, enum gguf_type elem)
{
	const struct gguf_kv *kv = gguf_find(g, key);
	bool array = kv && kv->type == GGUF_ARR && kv->elem == elem;

	return array || (kv && elem == GGUF_STR && kv->type == GGUF_STR) ? kv : NULL;
}

/* Strings of a and b (each may be NULL) as one array. */
static void join_strings(struct gguf_writer *w, const char *key, const struct gguf_kv *a,
			 const struct gguf_kv *b)
{
	const struct gguf_kv *both[2] = { a, b };

	gguf_put_strings(w, key, (a ? a->count : 0) + (b ? b->count : 0));
	for (int k = 0; k < 2; k++) {
		uint64_t at = 0;
		struct str s;

		if (both[k] && both[k]->type == GGUF_STR)
			gguf_put_item(w, (struct str){ (const char *)both[k]->data + 8, both[k]->data_bytes - 8 });
		while (both[k] && gguf_next_str(both[k], &at, &s))
			gguf_put_item(w, s);
	}
}

static void join_numbers(struct gguf_writer *w, const char *key, enum gguf_type elem, const struct gguf_kv *a,
			 const struct gguf_kv *b)
{
	uint64_t na = a ? a->count : 0, nb = b ? b->count : 0;
	size_t at = gguf_put_array(w, key, elem, NULL, na + nb);

	if (w->err.status != OK)
		return;
	if (a)
		memcpy(w->buf + at, a->data, a->data_bytes);
	if (b)
		memcpy(w->buf + at + (a ? a->data_bytes : 0), b->data, b->data_bytes);
}

/* What a sealed input said of its own sources, before what it had from those before it. */
static void put_origin(const struct plan *p, struct gguf_writer *w)
{
	static const struct { const char *was, *becomes; enum gguf_type elem; } keys[] = {
		{ "ingot.source.name", "ingot.origin.name", GGUF_STR },
		{ "ingot.source.size", "ingot.origin.size", GGUF_U64 },
		{ "ingot.source.sha256", "ingot.origin.sha256", GGUF_U8 },
		{ "ingot.source.anchor", "ingot.origin.anchor", GGUF_STR },
		{ "ingot.dropped", "ingot.origin.dropped", GGUF_STR },
		{ "ingot.recipe", "ingot.origin.recipe", GGUF_STR },
	};
	const struct gguf *g = &p->gguf->set.gguf;

	for (size_t i = 0; p->gguf->sealed && i < sizeof keys / sizeof *keys; i++) {
		const struct gguf_kv *a = of_type(g, keys[i].was, keys[i].elem);
		const struct gguf_kv *b = of_type(g, keys[i].becomes, keys[i].elem);

		if (keys[i].elem == GGUF_STR)
			join_strings(w, keys[i].becomes, a, b);
		else
			join_numbers(w, keys[i].becomes, keys[i].elem, a, b);
	}
}

/* How values were encoded, where any were. */
static void put_encoding(const struct plan *p, const struct plan_output *out, struct gguf_writer *w)
{
	bool encoded = false;

	for (size_t i = 0; i < out->n_tensors; i++)
		encoded |= out->tensors[i].encoded;
	if (!encoded)
		return;
	gguf_put_str(w, "ingot.effort", p->effort == EFFORT_BEST ? STR("best") : STR("fast"));
	if (!p->importance)
		return;
	gguf_put_str(w, "ingot.imatrix.name", z(p->importance->name));
	gguf_put_array(w, "ingot.imatrix.sha256", GGUF_U8, p->importance->sha256, SHA256_BYTES);
	importance_metadata(p->importance, w);
}

static enum status put_provenance(const struct plan *p, const struct plan_output *whole, struct plan_output *out,
				  const struct plan_options *o, struct gguf_writer *w, struct err *e)
{
	const struct checkpoint *c = p->ckpt;
	uint8_t *sizes = mem_new(c->n_files, 8, "the list of sources", e);
	char *recipe = recipe_text(o->recipe, e);

	if (!sizes || !recipe) {
		free(sizes);
		free(recipe);
		return e->status;
	}
	for (size_t i = 0; i < c->n_files; i++)
		store_le(sizes + 8 * i, 8, c->files[i].file.id.size);
	gguf_put_strings(w, "ingot.source.name", c->n_files);
	for (size_t i = 0; i < c->n_files; i++)
		gguf_put_item(w, z(c->files[i].name));
	gguf_put_array(w, "ingot.source.size", GGUF_U64, sizes, c->n_files);
	out->source_sha256_at = gguf_put_array(w, "ingot.source.sha256", GGUF_U8, NULL,
					       (uint64_t)SHA256_BYTES * c->n_files);
	gguf_put_strings(w, "ingot.source.anchor", c->n_files);
	for (size_t i = 0; i < c->n_files; i++)
		gguf_put_item(w, z(anchor_name(c->files[i].anchor)));
	gguf_put_strings(w, "ingot.dropped", p->n_dropped);
	for (size_t i = 0; i < p->n_dropped; i++)
		gguf_put_item(w, z(p->dropped[i]));
	if (p->gguf)
		put_origin(p, w);
	gguf_put_str(w, "ingot.recipe", z(recipe));
	put_encoding(p, whole, w);
	gguf_put_str(w, "ingot.tool", STR("ingot " INGOT_VERSION));
	free(sizes);
	free(recipe);
	return OK;
}

enum status metadata_put(const struct plan *p, const struct plan_output *whole, struct plan_output *out, const struct vocab *v,
			 const struct plan_options *o, struct gguf_writer *w, struct err *e)
{
	struct str arch = STR("deepseek4");

	if (out->file > 0) {	/* any but the first of a set: the architecture, and where it came from */
		if (!p->gguf || gguf_str(&p->gguf->set.gguf, "general.architecture", &arch))
			gguf_put_str(w, "general.architecture", arch);
	} else if (p->gguf) {
		copy_metadata(p, whole, o, w);
	} else {
		put_general(p, whole, o, w);
		arch_to_gguf(&p->arch, whole->part == PART_MTP, w);
		vocab_to_gguf(v, w);
	}
	return put_provenance(p, whole, out, o, w, e);
}
