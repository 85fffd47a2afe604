/* SPDX-License-Identifier: MIT
 *
 * ckpt_fill.h - private to make_checkpoint.c: the bytes of one tensor, streamed into a sink.
 *
 * A weight and its scales are written apart but belong together: both are cut from the same
 * values, which are made again for each of the two. In FILL_NOISE mode large matrices are random
 * codes instead, of about the magnitude that real ones have, so that a run stays finite.
 */
#ifndef SAMPLES_CKPT_FILL_H
#define SAMPLES_CKPT_FILL_H

#include "samples/ckpt_text.h"

#include <unistd.h>

enum { SINK_BYTES = 1 << 20 };

/* Where bytes go: a file, and its digest. The first failure sticks. */
struct sink {
	int fd;
	const char *path;		/* borrowed, for messages */
	struct sha256 hash;
	uint64_t n;
	enum status st;
	struct err *e;
};

static inline void sink_put(struct sink *k, const void *p, size_t n)
{
	const uint8_t *q = p;

	if (k->st != OK)
		return;
	sha256_add(&k->hash, p, n);
	k->n += n;
	while (n) {
		ssize_t w = write(k->fd, q, n);
		if (w <= 0) {
			k->st = err_errno(k->e, "%s: cannot write", k->path);
			return;
		}
		q += w;
		n -= (size_t)w;
	}
}

/* A quantized matrix before it is packed: one byte a code, one E8M0 byte a scale. */
struct coded {
	uint8_t *code, *scale;		/* owned; (rows, cols), (scale_rows, scale_cols) */
	uint64_t block_rows, block_cols, scale_rows, scale_cols;
};

/* (rows, cols), owned by the caller. */
static inline float *matrix_values(const struct matrix *m, const struct fit *fit, struct err *e)
{
	size_t n = (size_t)(m->rows * m->cols);
	float *x = mem_new(n, sizeof *x, "a tensor's values", e);
	struct rng r;

	if (!x)
		return NULL;
	rng_start(&r, m->seed);
	if (m->values == VALUES_EMBED || m->values == VALUES_HEAD) {
		memcpy(x, m->values == VALUES_EMBED ? fit->embed : fit->head, n * sizeof *x);
		return x;
	}
	for (size_t i = 0; i < n; i++)
		x[i] = (float)(m->mean + m->sigma * rng_normal(&r));
	for (size_t i = 0; m->values == VALUES_EYE && i < m->rows; i++)
		x[i * m->cols + i] += 1;
	return x;
}

/* sigmoid(-1.1) of each stream in; a write of about gain / 4 out; softmax near the identity. */
static inline void hc_base(float *x, double gain)
{
	for (unsigned i = 0; i < HC; i++) {
		x[i] += -1.1f;
		x[HC + i] += (float)log_of(gain / 4 / (2 - gain / 4));
		x[2 * HC + i * HC + i] += 3;
	}
}

/* ---- quantization ----------------------------------------------------------------------- */

static inline void code_block(struct coded *c, const struct matrix *m, const float *x, uint64_t br,
			      uint64_t bc)
{
	uint64_t r0 = br * c->block_rows, r1 = u64_min(r0 + c->block_rows, m->rows);
	uint64_t c0 = bc * c->block_cols, c1 = u64_min(c0 + c->block_cols, m->cols);
	bool fp8 = m->form == FORM_FP8;
	double amax = 0;
	int e;

	for (uint64_t r = r0; r < r1; r++)
		for (uint64_t k = c0; k < c1; k++)
			amax = fmax(amax, fabs((double)x[r * m->cols + k]));
	e = fit_exponent(amax, fp8 ? 448 : 6);
	c->scale[br * c->scale_cols + bc] = (uint8_t)(127 + e);
	for (uint64_t r = r0; r < r1; r++)
		for (uint64_t k = c0; k < c1; k++) {
			double q = ldexp(x[r * m->cols + k], -e);
			c->code[r * m->cols + k] = fp8 ? fp8_of(q) : fp4_of(q);
		}
}

static inline void plant_fp4(struct coded *c, const struct matrix *m)
{
	static const uint8_t top[6] = { 1, 2, 3, 9, 10, 11 };	/* finite even at 2^127 */

	c->scale[0] = 254;
	for (uint64_t k = 0; k < 32; k++)
		c->code[k] = m->edge == EDGE_FP4_TOP ? top[k % 6] : (uint8_t)(k % 2 * 8);
	if (m->edge == EDGE_FP4_TOP || m->rows < 3)
		return;
	c->scale[c->scale_cols] = 0;
	memset(c->code + 2 * m->cols, 8, 32);
}

static inline void plant_fp8(struct coded *c, const struct matrix *m)
{
	uint64_t last = c->scale_rows * c->scale_cols - 1;
	uint64_t r0 = (c->scale_rows - 1) * c->block_rows, c0 = (c->scale_cols - 1) * c->block_cols;

	for (uint8_t k = 0; k < 16; k++)	/* every subnormal, and -0 */
		c->code[k] = (uint8_t)(k % 8 + (k < 8 ? 0 : 128));
	if (m->edge == EDGE_FP8_CODES)
		return;
	c->scale[0] = 3;
	for (uint64_t r = r0; last && r < m->rows; r++)
		for (uint64_t k = c0; k < m->cols; k++)
			c->code[r * m->cols + k] = (uint8_t)((r + k) % 2 * 128);
	if (last)
		c->scale[last] = 246;
}

static inline void coded_close(struct coded *c)
{
	free(c->code);
	free(c->scale);
	*c = (struct coded){ 0 };
}

static inline enum status matrix_code(struct coded *c, const struct matrix *m, const struct spec *s,
				      struct err *e)
{
	float *x = matrix_values(m, NULL, e);

	*c = (struct coded){
		.block_rows = m->form == FORM_FP8 ? s->fp8_block : 1,
		.block_cols = m->form == FORM_FP8 ? s->fp8_block : 32,
	};
	c->scale_rows = u64_div_up(m->rows, c->block_rows);
	c->scale_cols = u64_div_up(m->cols, c->block_cols);
	c->code = mem_new((size_t)(m->rows * m->cols), 1, "codes", e);
	c->scale = mem_new((size_t)(c->scale_rows * c->scale_cols), 1, "scales", e);
	if (!x || !c->code || !c->scale) {
		free(x);
		return ERR_NOMEM;
	}
	for (uint64_t r = 0; r < c->scale_rows; r++)
		for (uint64_t k = 0; k < c->scale_cols; k++)
			code_block(c, m, x, r, k);
	free(x);
	if (m->edge == EDGE_FP4_SCALES || m->edge == EDGE_FP4_TOP)
		plant_fp4(c, m);
	if (m->edge == EDGE_FP8_CODES || m->edge == EDGE_FP8_SCALES)
		plant_fp8(c, m);
	return OK;
}

/* ---- to bytes --------------------------------------------------------------------------- */

/* BF16 that are exactly the coded values; into out, two bytes an element. */
static inline void decode_bf16(const struct coded *c, const struct matrix *m, uint8_t *out)
{
	for (uint64_t i = 0; i < m->rows * m->cols; i++) {
		uint64_t r = i / m->cols / c->block_rows, k = i % m->cols / c->block_cols;
		double v = m->form == FORM_FP8 ? fp8_value(c->code[i]) : fp4_value(c->code[i]);
		store_le(out + 2 * i, 2, bf16_of(ldexp(v, c->scale[r * c->scale_cols + k] - 127)));
	}
}

static inline enum status put_coded(struct sink *k, const struct tensor *t, const struct matrix *m,
				    const struct spec *s)
{
	struct coded c = { 0 };
	uint64_t n = m->rows * m->cols, n_scales;
	uint8_t *out = mem_new((size_t)n, 4, "a tensor's bytes", k->e);
	enum status st;

	if (!out)
		return ERR_NOMEM;
	TRY(matrix_code(&c, m, s, k->e));
	n_scales = c.scale_rows * c.scale_cols;
	if (t->part == PART_SCALE && t->type == DT_F8_E8M0) {
		sink_put(k, c.scale, (size_t)n_scales);
	} else if (t->part == PART_SCALE) {
		for (uint64_t i = 0; i < n_scales; i++)
			store_le(out + 4 * i, 4, f32_bits((float)ldexp(1, c.scale[i] - 127)));
		sink_put(k, out, (size_t)n_scales * 4);
	} else if (t->type == DT_BF16) {
		decode_bf16(&c, m, out);
		sink_put(k, out, (size_t)n * 2);
	} else if (m->form == FORM_FP8) {
		sink_put(k, c.code, (size_t)n);
	} else {
		for (uint64_t i = 0; i < n / 2; i++)
			out[i] = (uint8_t)(c.code[2 * i] | c.code[2 * i + 1] << 4);
		sink_put(k, out, (size_t)n / 2);
	}
out:
	coded_close(&c);
	free(out);
	return st == OK ? k->st : st;
}

static inline enum status put_ids(struct sink *k, const struct tensor *t, const struct spec *s)
{
	unsigned size = type_bits(t->type) / 8;
	uint64_t used = t->m.cols;
	uint32_t n = s->n_expert - (t->m.edge == EDGE_IDS);	/* the last one is left alone */
	uint8_t *out = mem_new((size_t)t->bytes, 1, "expert ids", k->e);
	struct rng r;

	if (!out)
		return ERR_NOMEM;
	rng_start(&r, t->m.seed);
	for (uint64_t row = 0; row < t->m.rows; row++)
		for (uint64_t i = 0; i < used; i++) {
			uint8_t *at = out + (row * used + i) * size;
			uint64_t j = 0;
			store_le(at, size, rng_below(&r, n));
			while (j < i && memcmp(out + (row * used + j) * size, at, size) != 0)
				j++;
			i -= j < i;		/* seen in this row: draw again */
		}
	sink_put(k, out, (size_t)t->bytes);
	free(out);
	return k->st;
}

static inline enum status put_plain(struct sink *k, const struct tensor *t, const struct spec *s,
				    const struct fit *fit)
{
	static const uint16_t ends[6] = { 0x0001, 0x8001, 0x007F, 0x8000, 0x0080, 0x807F };
	uint64_t n = t->m.rows * t->m.cols, size = type_bits(t->type) / 8;
	float *x = matrix_values(&t->m, fit, k->e);
	uint8_t *out = mem_new((size_t)t->bytes, 1, "a tensor's bytes", k->e);
	/* the padding token's row of the embedding, the first of others */
	uint64_t at = t->m.values == VALUES_EMBED ? 2 * t->m.cols : 0;

	if (!x || !out) {
		free(x);
		free(out);
		return ERR_NOMEM;
	}
	if (t->m.values == VALUES_HC_BASE)
		hc_base(x, s->gain);
	for (uint64_t i = 0; i < n; i++)
		store_le(out + i * size, (unsigned)size,
			 t->type == DT_F32 ? f32_bits(x[i]) : bf16_of(x[i]));
	for (uint64_t i = 0; t->m.edge == EDGE_BF16 && i < 6; i++)
		store_le(out + (at + i) * 2, 2, ends[i]);
	sink_put(k, out, (size_t)t->bytes);
	free(x);
	free(out);
	return k->st;
}

/* E experts, each one or two matrices on top of one another, as exact BF16. */
static inline enum status put_stacked(struct sink *k, const struct tensor *t, const struct spec *s)
{
	enum status st = OK;
	char name[80];

	for (uint32_t x = 0; x < s->n_expert; x++)
		for (int i = 0; i < 2 && t->stack[i]; i++) {
			struct matrix m = t->m;
			snprintf(name, sizeof name, "layers.%u.ffn.experts.%u.%s",
				 t->stack_layer, x, t->stack[i]);
			m.seed = seed_of(s->seed, name);
			m.edge = edge_of(s, name);
			TRY(put_coded(k, t, &m, s));
		}
out:
	return st;
}

static inline enum status put_noise(struct sink *k, const struct tensor *t, uint8_t *buf)
{
	enum noise kind = t->type == DT_BF16 ? NOISE_BF16 :
			  t->m.form == FORM_FP8 ? NOISE_FP8 : NOISE_FP4;
	double rms = kind == NOISE_BF16 ? 1 : kind == NOISE_FP8 ? 98 : 2.93;
	struct rng r;
	int e;

	frexp(t->m.sigma / rms, &e);
	if (t->part == PART_SCALE)
		kind = t->type == DT_F32 ? NOISE_F32_POW2 : NOISE_E8M0;
	rng_start(&r, t->m.seed ^ (t->part == PART_SCALE ? 0x5CA1E : 0));
	for (uint64_t left = t->bytes; left && k->st == OK;) {
		size_t n = (size_t)u64_min(left, SINK_BYTES);
		noise_fill(&r, kind, (unsigned)(126 + e), buf, n);
		sink_put(k, buf, n);
		left -= n;
	}
	return k->st;
}

/* All bytes of t; buf is SINK_BYTES of scratch. */
static inline enum status put_tensor(struct sink *k, const struct tensor *t, const struct spec *s,
				     const struct fit *fit, uint8_t *buf)
{
	if (t->m.values == VALUES_IDS)
		return put_ids(k, t, s);
	if (s->fill == FILL_NOISE && t->n_dims > 1 && (t->type != DT_F32 || t->part == PART_SCALE))
		return put_noise(k, t, buf);
	if (t->stack[0])
		return put_stacked(k, t, s);
	if (t->m.form != FORM_PLAIN)
		return put_coded(k, t, &t->m, s);
	return put_plain(k, t, s, fit);
}

#endif
