/* SPDX-License-Identifier: MIT
 *
 * layer.h - the halves of a layer, private to runtime/. Each reads f->x (or f->stream) and writes
 * f->y; weights are bound by role and layer inside.
 */
#ifndef RUNTIME_LAYER_H
#define RUNTIME_LAYER_H

#include "runtime/runtime.h"

/* ---- round.c: DeepSeek's roundings of activations (engine.official) ---- */

enum { INPUT_BLOCK = 128, KEY_BLOCK = 64, FP4_BLOCK = 32 };	/* values under one scale */
/* Nearest, ties to even; the small formats clamp first. */
float round_bf16(float x);
float round_e4m3(float x);
float round_e2m1(float x);
/* The power of two that brings a block with this largest magnitude into the format's range. */
float round_scale_fp8(float most_abs);
float round_scale_fp4(float most_abs);
void round_bf16_run(float *x, size_t n);
/* Blocks through E4M3, or through E2M1 and then bf16; a last short block stands alone. y may be x. */
void round_fp8(float *y, const float *x, size_t n, size_t block);
void round_fp4(float *y, const float *x, size_t n);

/* What a product does with its activations in the official layout, by the matrix's role alone:
 * quantized = input through E4M3, output to bf16; bf16 = output to bf16; f32 = neither. */
enum product { PRODUCT_F32, PRODUCT_BF16, PRODUCT_QUANTIZED };
enum product product_of(enum role role);

/* What is not rounded is carried in double, or in two floats, where it is kept. low may be NULL. */
static inline double wide_value(const float *high, const float *low, size_t i)
{
	return (double)high[i] + (low ? (double)low[i] : 0);
}

/* These do nothing unless official. A row to bf16; the unrotated channels of a cached row through
 * E4M3. */
void round_row(float *x, size_t n, bool official);
void round_key(float *row, size_t n_plain, bool official);
/* ops_rope; if official in double, to bf16. */
void round_rope(float *x, const double *cos_sin, size_t n_pairs, bool inverse, bool official);
/* A row of the indexer: ops_hadamard; if official in double, to bf16 and through E2M1. wide: scratch
 * of n. */
void round_hadamard(float *row, size_t n, double *wide, bool official);

/* ---- hyper.c: residual streams ---- */

/* One token's mixing numbers from its (2 + n_hc) n_hc products, by Sinkhorn's iteration. comb is
 * row-major (source, destination). */
struct hyper_shape { uint32_t n_hc, iters; double eps; };
void hyper_split(const struct hyper_shape *h, const double *mix, const float *scale, const float *base,
		 double *pre, double *post, double *comb);
enum hyper_half { HYPER_ATTN, HYPER_FFN };
/* stream -> x (mixed and normed), post, comb */
enum status hyper_pre(struct forward *f, enum hyper_half half, uint32_t layer, struct err *e) MUST_USE;
/* y, post, comb, stream -> stream */
enum status hyper_post(struct forward *f, struct err *e) MUST_USE;
/* stream -> x, packed positions [from, to) */
enum status hyper_head(struct forward *f, uint32_t from, uint32_t to, struct err *e) MUST_USE;

/* ---- compressor.c: pooled rows, and which of them a token sees ---- */

/* x -> the rows of the blocks that this batch completes: the main compressor, or the indexer's. */
enum status compress(struct forward *f, uint32_t layer, bool indexer, struct err *e) MUST_USE;
/* x, qa, the indexer's rows -> pick, for the tokens that see more rows than may be picked */
enum status index_pick(struct forward *f, uint32_t layer, struct err *e) MUST_USE;
/* Where they are: (n_seq, n_ctx / ratio, head_dim or idx_dim). */
static inline float *layer_rows(const struct forward *f, uint32_t layer, bool indexer)
{
	if (f->past)
		return f->past->layers[layer].rows[indexer];
	return indexer ? f->idx_rows : f->rows;
}
/* Compressed rows that the token at a position sees. */
static inline uint32_t rows_visible(uint32_t pos, uint32_t ratio) { return ratio ? (pos + 1) / ratio : 0; }
static inline bool ratio_overlaps(uint32_t ratio) { return ratio == 4; }
/* The first position whose products a block needs that is not complete at position pos. */
static inline uint32_t products_from(uint32_t pos, uint32_t ratio)
{
	uint32_t b = pos / ratio;

	return (ratio_overlaps(ratio) && b > 0 ? b - 1 : b) * ratio;
}

/* ---- attention.c, moe.c: x -> y ---- */

enum { INDEX_TILE = 1024 };		/* rows that the indexer scores at a time */
/* Elements that one thread needs of lane->work, ->score and ->ranked. */
struct room { uint64_t work, score, ranked; };
struct room room_for_rows(const struct arch *a, uint32_t n_ctx, uint32_t ratio);
/* May a position see more compressed rows than the indexer may pick? */
static inline bool rows_are_picked(const struct arch *a, uint32_t n_ctx, uint32_t ratio)
{
	return ratio_overlaps(ratio) && n_ctx / ratio > a->idx_topk;
}

enum status attention(struct forward *f, uint32_t layer, struct err *e) MUST_USE;
/* Tokens that are not to be kept go, between the layer's keys and its queries: x, streams, what hyper_pre
 * made of them, ids and angles close up; rows of keys stay. */
void leave_out(struct forward *f);
enum status experts(struct forward *f, uint32_t layer, struct err *e) MUST_USE;

/* Owned float32 copy of a small tensor of exactly n elements. */
float *small_load(struct forward *f, enum role role, uint32_t layer, uint64_t n, struct err *e) MUST_USE;
/* linear() over all tokens and rows of a bound weight. */
enum status linear_all(struct forward *f, enum role role, uint32_t layer, const float *x, size_t x_stride,
		       float *y, size_t n, struct err *e) MUST_USE;
/* The same with low parts, which are written only if official. */
enum status linear_pairs(struct forward *f, enum role role, uint32_t layer, const float *x, size_t x_stride,
			 float *y, float *y_low, size_t n, struct err *e) MUST_USE;
static inline float *if_official(const struct forward *f, float *low) { return f->engine.official ? low : NULL; }

#endif
