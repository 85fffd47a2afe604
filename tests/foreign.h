/* SPDX-License-Identifier: MIT
 *
 * foreign.h - a GGUF of an architecture that this program does not run, from integers alone: names as
 * llama.cpp gives them, keys of every type and of no known meaning, tensors of one to four dimensions.
 */
#ifndef TESTS_FOREIGN_H
#define TESTS_FOREIGN_H

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quantize/quantize.h"

struct foreign_tensor {
	const char *name;
	enum dtype type;
	unsigned n_dims;
	uint64_t shape[4];		/* slowest first */
};
static const struct foreign_tensor foreign_tensors[] = {
	{ "token_embd.weight", DT_F16, 2, { 64, 256 } },
	{ "position_embd.weight", DT_F32, 2, { 32, 256 } },
	{ "blk.0.attn_norm.weight", DT_F32, 1, { 256 } },
	{ "blk.0.attn_q_norm.weight", DT_F32, 2, { 2, 128 } },
	{ "blk.0.attn_q.weight", DT_F16, 2, { 256, 256 } },
	{ "blk.0.attn_q.bias", DT_F32, 1, { 256 } },
	{ "blk.0.attn_k.weight", DT_BF16, 2, { 128, 256 } },
	{ "blk.0.attn_odd.weight", DT_F16, 2, { 3, 40 } },
	{ "blk.0.ffn_gate_inp.weight", DT_F32, 2, { 4, 256 } },
	{ "blk.0.ffn_gate_exps.weight", DT_F16, 3, { 4, 104, 256 } },
	{ "blk.0.ffn_down_exps.weight", DT_F16, 3, { 4, 256, 96 } },
	{ "blk.0.ssm_conv1d.weight", DT_F32, 2, { 256, 4 } },
	{ "blk.0.ffn_mystery", DT_F32, 2, { 8, 256 } },
	{ "rope_ids", DT_I32, 1, { 10 } },
	{ "v.kernel.weight", DT_F16, 4, { 4, 3, 2, 32 } },
	{ "output.weight", DT_F32, 2, { 64, 256 } },
};
enum { N_FOREIGN = sizeof foreign_tensors / sizeof *foreign_tensors };

static inline uint64_t foreign_elements(const struct foreign_tensor *t)
{
	uint64_t n = 1;

	for (unsigned d = 0; d < t->n_dims; d++)
		n *= t->shape[d];
	return n;
}

/* Roughly Gaussian: sums of draws of a linear congruential generator, seeded by the name. */
static inline void foreign_values(const struct foreign_tensor *t, float *x)
{
	uint32_t s = 1;

	for (const char *p = t->name; *p; p++)
		s = s * 31 + (unsigned char)*p;
	for (uint64_t i = 0, n = foreign_elements(t); i < n; i++) {
		int32_t sum = 0;

		for (int k = 0; k < 4; k++) {
			s = s * 1664525u + 1013904223u;
			sum += (int32_t)(s >> 16) - 32768;
		}
		x[i] = (float)sum / 65536.0f;
	}
}

/* The tensor's bytes in its type, owned by the caller. */
static inline uint8_t *foreign_bytes(const struct foreign_tensor *t, uint64_t *bytes)
{
	const struct dtype_info *info = dtype_info(t->type);
	uint64_t n = foreign_elements(t);
	float *x = malloc(n * sizeof *x);
	uint8_t *b = calloc(1, *bytes = n / info->block * info->bytes);

	foreign_values(t, x);
	if (t->type == DT_I32)
		for (uint64_t i = 0; i < n; i++)
			store_le(b + 4 * i, 4, (uint64_t)(0x7FC00000 + i));	/* NaNs, were they floats */
	else if (codec_can_encode(t->type))	/* others are all zeros */
		codec_encode(t->type, x, NULL, (size_t)n, EFFORT_FAST, b);
	free(x);
	return b;
}

static inline void foreign_put(struct gguf_writer *w, const char *key, enum gguf_type type, uint64_t v, unsigned bytes)
{
	uint8_t b[8];
	struct gguf_kv kv = { .key = { key, strlen(key) }, .type = type, .elem = type, .count = 1, .data = b,
			      .data_bytes = bytes };

	store_le(b, 8, v);
	gguf_put_kv(w, &kv);
}

static uint64_t foreign_parts = 1;	/* what split.count says */

static inline void foreign_keys(struct gguf_writer *w)
{
	gguf_put_str(w, "general.architecture", STR("llama"));
	gguf_put_str(w, "general.name", STR("a stranger"));
	gguf_put_u32(w, "general.alignment", 64);
	gguf_put_u32(w, "general.file_type", 1);
	gguf_put_str(w, "ingot.recipe", STR("not ours to keep"));
	foreign_put(w, "odd.u8", GGUF_U8, 200, 1);
	foreign_put(w, "odd.i8", GGUF_I8, 0xFE, 1);
	foreign_put(w, "odd.u16", GGUF_U16, 65535, 2);
	foreign_put(w, "odd.i16", GGUF_I16, 0x8000, 2);
	foreign_put(w, "odd.i32", GGUF_I32, 0xFFFFFFFF, 4);
	foreign_put(w, "odd.i64", GGUF_I64, UINT64_MAX, 8);
	foreign_put(w, "odd.f64", GGUF_F64, 0x7FF8000000000001, 8);	/* a NaN with a payload */
	foreign_put(w, "odd key, with a space!", GGUF_BOOL, 1, 1);
	foreign_put(w, "split.count", GGUF_U16, foreign_parts, 2);
	gguf_put_str(w, "odd.str", STR("a\0b\xFF"));
	gguf_put_array(w, "odd.empty", GGUF_I16, NULL, 0);
	gguf_put_array(w, "odd.bools", GGUF_BOOL, "\1\0\1", 3);
	gguf_put_array(w, "odd.halves", GGUF_U16, "\1\2\3\4", 2);
	gguf_put_strings(w, "tokenizer.ggml.tokens", 3);
	gguf_put_item(w, STR("<s>"));
	gguf_put_item(w, STR(""));
	gguf_put_item(w, STR("\xF0\x9F\xA6\x99"));
}

/* Writes the file; change is called on every tensor's bytes first (may be NULL). False: cannot be written. */
static inline bool foreign_write(const char *path, const struct foreign_tensor *list, size_t n,
				 void (*change)(const struct foreign_tensor *t, uint8_t *bytes))
{
	static const uint8_t zeros[64];
	struct gguf_writer w;
	struct err e;
	uint64_t size, bytes;
	FILE *f = fopen(path, "wb");
	bool ok;

	gguf_writer_open(&w, 64);
	foreign_keys(&w);
	for (size_t i = 0; i < n; i++)
		gguf_put_tensor(&w, list[i].name, list[i].type, list[i].n_dims, list[i].shape);
	ok = gguf_writer_finish(&w, &size, &e) == OK && f && fwrite(w.buf, 1, w.len, f) == w.len;
	for (size_t i = 0; i < n && ok; i++) {
		uint8_t *b = foreign_bytes(&list[i], &bytes);
		size_t pad = (64 - bytes % 64) % 64;

		if (change)
			change(&list[i], b);
		ok = fwrite(b, 1, bytes, f) == bytes && fwrite(zeros, 1, pad, f) == pad;
		free(b);
	}
	gguf_writer_close(&w);
	return f && fclose(f) == 0 && ok;
}

#endif
