/* SPDX-License-Identifier: MIT
 *
 * kernels.h - the inner loops, once for each instruction set; private to runtime/.
 *
 * Invariant: every set gives the same bits. Each function's order of operations is written here and
 * in kernels_scalar.c, which is the specification; kernels_body.h is the same for vectors.
 *
 * A product of a row and a vector has sixteen float32 lanes; column c goes to lane c modulo 16, in
 * ascending order, by a fused multiply-add; columns are padded with zeros to a multiple of UNIT;
 * lanes are then added as a tree, 8, 4, 2 and 1 apart. Wide products have the lanes in double.
 */
#ifndef RUNTIME_KERNELS_H
#define RUNTIME_KERNELS_H

#include "runtime/runtime.h"

enum { LANES = 16, UNIT = 32, TILE_ROWS = 4, TILE_TOKENS = 6 };

/* Lanes of TILE_ROWS rows by n_x tokens over cols columns, a multiple of UNIT. acc (n_x, TILE_ROWS,
 * LANES) is written if first, else continued. n_x <= the set's tokens. */
struct tile {
	const float *w[TILE_ROWS], *x[TILE_TOKENS];
	unsigned n_x;
	size_t cols;
	float *acc;
	bool first;
};
/* The same of rows and tokens that are packed. x: sixteen columns of each token in turn, then the next
 * sixteen of each. w: the same of the rows as float32; or as halves, a word for two columns of a UNIT: its upper
 * half, as it is, is column 16 + k, its lower half, moved up, column k, sixteen words a row. */
struct panel {
	const void *w;
	bool halves;
	const float *x;
	unsigned n_x;
	size_t cols;
	float *acc;
	bool first;
};
/* Whole products of n_rows raw rows by n_x <= dot_tokens tokens: y[t * y_stride + r]. The columns
 * are n_units whole UNITs and tail_bytes of each row after them (plain types only), whose tokens'
 * part is x_tail (n_x, UNIT), padded with zeros. DT_E4M3_128 (quantize/packed.c)
 * has no tail, and a room of dot_room floats. */
struct dot {
	enum dtype type;
	const uint8_t *rows;
	size_t row_bytes, n_rows, n_units, tail_bytes;
	const float *x, *x_tail;
	size_t x_stride;
	unsigned n_x;
	float *y;
	size_t y_stride;
	float *room;
};
enum { E4M3_BLOCK = 128, E4M3_BYTES = E4M3_BLOCK + 1 };
/* Floats: of every block of columns the tokens by a scale, and which scale that is. */
static inline size_t dot_room(size_t cols, size_t n_x) { return n_x * cols + cols / E4M3_BLOCK; }
struct kernels {
	const char *name;
	unsigned tokens, dot_tokens;	/* of a tile, of a dot; <= TILE_TOKENS */
	void (*tile)(const struct tile *t);
	void (*panel)(const struct panel *p);
	bool halves;			/* panels are halves where a type allows it: see panel_halves */
	/* Trees of n times four rows' lanes: out[4 i + r] from acc (n, TILE_ROWS, LANES). */
	void (*fold)(const float *acc, size_t n, float *out);
	size_t (*few)(enum dtype type);	/* tokens up to which dot is faster than panels */
	bool (*can_dot)(enum dtype type);	/* the types that dot and decode take */
	void (*dot)(const struct dot *d);
	/* n_units UNITs of four rows, row_bytes apart, to a panel, exactly. */
	void (*decode)(enum dtype type, const uint8_t *b, size_t row_bytes, size_t n_units, void *panel);
	/* One wide product: sixteen double lanes; n any. */
	double (*dot_wide)(const float *w, const float *x, size_t n);
	/* Wide products of two rows by two tokens: w0 x0, w0 x1, w1 x0, w1 x1. */
	void (*wide)(const float *const w[2], const float *const x[2], size_t n, double out[4]);
	/* out[h][c] = fused sum over i of a[h][i] rows[i][c], i ascending, onto what out holds; strides
	 * between h's in floats. */
	void (*mix)(float *out, size_t out_stride, size_t d, const float *rows, size_t n, const float *a,
		    size_t a_stride, size_t heads);
	/* y[c] = (float)(x[c] * s * w[c]) in double; w NULL: 1. y may be x. */
	void (*scale)(float *y, const float *x, const float *w, size_t n, double s);
	float (*max)(const float *x, size_t n);	/* -infinity for none; NaN is passed over */
	/* p[i] = exp(fma(x[i], scale, -top)), p may be x or NULL; returns their sum: sixteen double
	 * lanes by index, ascending, then the tree. */
	double (*exp_sum)(float *p, const float *x, size_t n, float scale, float top);
	/* gate[i] = g / (1 + exp(-g)) * clamp(up[i], -limit, limit) * weight, g = min(gate[i], limit) */
	void (*swiglu)(float *gate, const float *up, size_t n, float limit, float weight);
	/* The softmax-weighted mean over i < n of each channel c < d: gates gate[i][c] + bias[i][c],
	 * values value[i][c]; sums in float32, i ascending. */
	void (*pool)(float *out, size_t d, size_t n, const float *const *gate, const float *const *bias,
		     const float *const *value);
	/* streams (n, d): new[k][c] = post[k] y[c], then fused + comb[j][k] old[j][c], j ascending. */
	void (*spread)(float *streams, size_t d, size_t n, const float *y, const float *post,
		       const float *comb);
};

/* Do a type's values leave the lower half of a float32 empty, and is a panel of them halves with this set? */
static inline bool panel_halves(const struct kernels *k, enum dtype type)
{
	return k->halves && (type == DT_BF16 || type == DT_MXFP4);
}

/* exp by steps that every set shares: within 1 ulp; 0 below -104, infinite above 88.73. */
float kernel_exp(float x);

/* 2^(e - 127), by e: the scales of MXFP4. 255 is in no checked weight. */
extern const float kernel_scales[256];
/* MXFP4's numbers by scale and code. */
extern const float kernel_mxfp4[256][16];

extern const struct kernels kernels_scalar, kernels_avx2, kernels_avx512, kernels_neon;
/* Whether this processor and system can run a set of this build. */
bool kernels_usable(const struct kernels *k);
extern const struct kernels *const kernels_all[];	/* the widest first; NULL ends it */

/* The set in use: what kernels_init chose, else the widest usable one. */
const struct kernels *kernels(void);

/* ---- product.c ---- */

/* y[t * y_stride + r] = sum of raw rows (n_rows, cols) by tokens, cols a whole number of blocks. */
struct raw_product {
	enum dtype type;
	const uint8_t *rows;
	size_t n_rows, cols;
	const float *x; size_t n, x_stride;
	const float *packed;		/* x as product_pack makes it, or NULL: see product_packs */
	float *y; size_t y_stride;
};
/* Rows that are worth multiplying at a time, and the floats of scratch that takes. */
size_t product_rows(size_t cols);
size_t product_room(size_t cols);
/* The first whole line of the cache; floats that this may skip. */
enum { PRODUCT_ALIGN = 15 };
float *product_aligned(float *p);
/* n_rows <= product_rows(cols). The same bits as ops_matmul on decoded rows. */
void product_by(const struct kernels *k, const struct raw_product *p, float *room);
/* Should tokens be packed for this product? They must be where dot does not take the type. */
bool product_packs(const struct kernels *k, enum dtype type, size_t n_rows, size_t n);
/* Groups that n tokens are packed in, each on its own, and where: product_packed floats. */
size_t product_groups(const struct kernels *k, size_t n);
size_t product_packed(size_t n, size_t cols);
void product_pack(const struct kernels *k, const struct raw_product *p, size_t group, float *packed);
void matmul_by(const struct kernels *k, const struct matmul *m);

#endif
