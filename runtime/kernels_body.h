/* SPDX-License-Identifier: MIT
 *
 * kernels_body.h - the inner loops on vectors of VL floats; included once by each kernels_*.c that
 * has a vector unit, after these, and never by anything else:
 *
 *   SET, VL, SET_TOKENS	the table's name, floats in a vector (4, 8, 16), tokens of a tile
 *   ACC, MIX_HEADS	accumulators that fit the registers of a fused product; heads at a time in a
 *			sum of rows
 *   FEW, FEW_BF16, FEW_MXFP4	the table's few, of other types and of these
 *   vf, vu			VL floats, VL uint32
 *   fused(a, b, c)		a b + c rounded once
 *   less(a, b), more(a, b)	a < b ? a : b, a > b ? a : b
 *   low(v), high(v)		halves of a vf
 *   unpack_f32 .. unpack_mxfp4	UNIT values of a raw row to PARTS vectors
 *   unpack_e4m3		UNIT codes of DT_E4M3_128, not yet scaled
 *   SET_HALVES, words_bf16, words_mxfp4	if panels are halves: a unit's words
 *
 * A sixteen-lane sum is 16 / VL vectors, so whatever VL is, a lane sees the same operations in the
 * same order. Elementwise functions have no order to keep.
 */
#include <string.h>

#include "quantize/floats.h"

#define PARTS (UNIT / VL)		/* vectors in a unit */
#define PER (LANES / VL)		/* vectors that hold the lanes */
#ifdef SMALL_CODE			/* of builds with sanitizers: the same sums, a minute less of the compiler's */
#define INLINE static inline
#define UNROLL
#else
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define PASTE2(a, b) a##b
#define PASTE(a, b) PASTE2(a, b)

typedef float vh __attribute__((vector_size(2 * VL)));		/* half as many floats */
typedef double vd __attribute__((vector_size(4 * VL)));		/* and doubles */
typedef float v4 __attribute__((vector_size(16)));

INLINE vf load(const float *p)
{
	vf v;

	memcpy(&v, p, sizeof v);
	return v;
}

INLINE void store(float *p, vf v)
{
	memcpy(p, &v, sizeof v);
}

INLINE vf splat(float x)
{
	return x - (vf){ 0 };
}

/* n < VL values, zeros after them */
INLINE vf load_n(const float *p, size_t n)
{
	vf v = { 0 };

	if (n >= VL)
		return load(p);
	memcpy(&v, p, n * sizeof(float));
	return v;
}

INLINE void store_n(float *p, vf v, size_t n)
{
	if (n >= VL)
		store(p, v);
	else
		memcpy(p, &v, n * sizeof(float));
}

INLINE vd widen(const float *p)
{
	vh h;

	memcpy(&h, p, sizeof h);
	return __builtin_convertvector(h, vd);
}

/* ---- products ---- */

/* The lanes in groups of VL: each group runs through all columns before the next. */
INLINE void tile_of(const struct tile *s, const unsigned n)
{
	for (size_t off = 0; off < LANES; off += VL) {
		const float *w0 = s->w[0] + off, *w1 = s->w[1] + off, *w2 = s->w[2] + off, *w3 = s->w[3] + off;
		const float *x[TILE_TOKENS];
		vf a[TILE_TOKENS][TILE_ROWS];

		UNROLL for (unsigned t = 0; t < n; t++) {
			x[t] = s->x[t] + off;
			UNROLL for (unsigned r = 0; r < TILE_ROWS; r++)
				a[t][r] = s->first ? (vf){ 0 } : load(s->acc + (t * TILE_ROWS + r) * LANES + off);
		}
		for (size_t c = 0; c < s->cols; c += LANES) {
			vf b0 = load(w0 + c), b1 = load(w1 + c), b2 = load(w2 + c), b3 = load(w3 + c);

			UNROLL for (unsigned t = 0; t < n; t++) {
				vf v = load(x[t] + c);

				a[t][0] = fused(b0, v, a[t][0]);
				a[t][1] = fused(b1, v, a[t][1]);
				a[t][2] = fused(b2, v, a[t][2]);
				a[t][3] = fused(b3, v, a[t][3]);
			}
		}
		UNROLL for (unsigned t = 0; t < n; t++)
			UNROLL for (unsigned r = 0; r < TILE_ROWS; r++)
				store(s->acc + (t * TILE_ROWS + r) * LANES + off, a[t][r]);
	}
}

static void body_tile(const struct tile *s)
{
	switch (s->n_x) {
	case 1: tile_of(s, 1); break;
	case 2: tile_of(s, 2); break;
	case 3: tile_of(s, 3); break;
#if SET_TOKENS > 3
	case 4: tile_of(s, 4); break;
	case 5: tile_of(s, 5); break;
	case 6: tile_of(s, 6); break;
#endif
	default: break;
	}
}

/* A row's vector of sixteen columns: the first of a unit, or the second. */
INLINE vf panel_vector(const struct panel *p, size_t c, size_t off, unsigned r, const bool halves, const bool second)
{
	const float *w = (const float *)p->w + (halves ? c / 2 : c + (second ? LANES : 0)) * TILE_ROWS;
	vu word = (vu)load(w + r * LANES + off);

	return !halves ? (vf)word : second ? (vf)(word & 0xFFFF0000) : (vf)(word << 16);
}

/* Four rows by n tokens, whose vectors are LANES apart; what there are fewer of stays in registers. */
INLINE void panel_step(const struct panel *p, size_t c, size_t off, const float *x, const bool halves, const bool second,
		       const unsigned n, vf a[][TILE_ROWS])
{
	vf b[TILE_TOKENS];

	if (n > TILE_ROWS || SET_TOKENS > TILE_ROWS) {
		UNROLL for (unsigned r = 0; r < TILE_ROWS; r++)
			b[r] = panel_vector(p, c, off, r, halves, second);
		UNROLL for (unsigned t = 0; t < n; t++) {
			vf v = load(x + t * LANES);

			UNROLL for (unsigned r = 0; r < TILE_ROWS; r++)
				a[t][r] = fused(b[r], v, a[t][r]);
		}
		return;
	}
	UNROLL for (unsigned t = 0; t < n; t++)
		b[t] = load(x + t * LANES);
	UNROLL for (unsigned r = 0; r < TILE_ROWS; r++) {
		vf v = panel_vector(p, c, off, r, halves, second);

		UNROLL for (unsigned t = 0; t < n; t++)
			a[t][r] = fused(v, b[t], a[t][r]);
	}
}

/* Columns [from, to) of VL lanes from off on. */
INLINE void panel_run(const struct panel *p, size_t from, size_t to, size_t off, const unsigned n, const bool halves)
{
	const float *x = p->x + from * n + off;
	bool first = p->first && from == 0;
	vf a[TILE_TOKENS][TILE_ROWS];

	UNROLL for (unsigned t = 0; t < n; t++)
		UNROLL for (unsigned r = 0; r < TILE_ROWS; r++)
			a[t][r] = first ? (vf){ 0 } : load(p->acc + (t * TILE_ROWS + r) * LANES + off);
	for (size_t c = from; c < to; c += UNIT, x += UNIT * n) {
		panel_step(p, c, off, x, halves, false, n, a);
		__asm__("" ::: "memory");	/* words are read twice: there are no registers to keep them */
		panel_step(p, c, off, x + LANES * n, halves, true, n, a);
	}
	UNROLL for (unsigned t = 0; t < n; t++)
		UNROLL for (unsigned r = 0; r < TILE_ROWS; r++)
			store(p->acc + (t * TILE_ROWS + r) * LANES + off, a[t][r]);
}

enum { NEAR = 512 };			/* columns whose tokens stay in the first-level cache */

/* Narrow vectors take the lanes in several turns, which find a run of columns near. */
INLINE void panel_of(const struct panel *p, const unsigned n, const bool halves)
{
	const size_t run = PER > 1 ? NEAR : p->cols;

	for (size_t c = 0; c < p->cols; c += run)
		for (size_t off = 0; off < LANES; off += VL)
			panel_run(p, c, p->cols - c < run ? p->cols : c + run, off, n, halves);
}

INLINE void panel_tokens(const struct panel *p, const bool halves)
{
	switch (p->n_x) {
	case 1: panel_of(p, 1, halves); break;
	case 2: panel_of(p, 2, halves); break;
	case 3: panel_of(p, 3, halves); break;
#if SET_TOKENS > 3
	case 4: panel_of(p, 4, halves); break;
	case 5: panel_of(p, 5, halves); break;
	case 6: panel_of(p, 6, halves); break;
#endif
	default: break;
	}
}

static void body_panel(const struct panel *p)
{
#ifdef SET_HALVES
	if (p->halves) {
		panel_tokens(p, true);
		return;
	}
#endif
	panel_tokens(p, false);
}

INLINE v4 fold_row(const float *lane)
{
	v4 a, b, c, d;

	memcpy(&a, lane, 16), memcpy(&b, lane + 4, 16), memcpy(&c, lane + 8, 16), memcpy(&d, lane + 12, 16);
	return (a + c) + (b + d);
}

INLINE v4 fold_four(const float *acc)
{
	v4 p = fold_row(acc), q = fold_row(acc + LANES), r = fold_row(acc + 2 * LANES),
	   s = fold_row(acc + 3 * LANES);
	v4 t = __builtin_shufflevector(p, q, 0, 1, 4, 5) + __builtin_shufflevector(p, q, 2, 3, 6, 7);
	v4 u = __builtin_shufflevector(r, s, 0, 1, 4, 5) + __builtin_shufflevector(r, s, 2, 3, 6, 7);

	return __builtin_shufflevector(t, u, 0, 2, 4, 6) + __builtin_shufflevector(t, u, 1, 3, 5, 7);
}

static void body_fold(const float *acc, size_t n, float *out)
{
	for (size_t i = 0; i < n; i++) {
		v4 y = fold_four(acc + i * TILE_ROWS * LANES);

		memcpy(out + i * TILE_ROWS, &y, sizeof y);
	}
}

/* ---- products straight from raw rows ---- */

typedef void unpack(const uint8_t *b, vf out[PARTS]);

INLINE void add_unit(const vf *w, const float *x, size_t x_stride, const unsigned n, vf a[][PER])
{
	UNROLL for (unsigned t = 0; t < n; t++)
		UNROLL for (unsigned p = 0; p < PARTS; p++)
			a[t][p % PER] = fused(w[p], load(x + t * x_stride + p * VL), a[t][p % PER]);
}

INLINE void dot_unit(unpack *take, const uint8_t *b, const float *x, size_t x_stride, const unsigned n,
		     vf a[][PER])
{
	vf w[PARTS];

	take(b, w);
	add_unit(w, x, x_stride, n, a);
}

INLINE void unpack_scaled(const uint8_t *b, float scale, vf w[PARTS])
{
	unpack_e4m3(b, w);
	UNROLL for (unsigned p = 0; p < PARTS; p++)
		w[p] *= splat(scale);
}

/* Into the second-level cache. Of the rows that come next as many bytes as are worked on now, from the first
 * to the last as they lie in memory, whatever the order of work is: what fetches ahead by itself likes that. */
INLINE void ask_for(const uint8_t *b, const size_t n)
{
	UNROLL for (size_t i = 0; i < n; i += 64)
		__builtin_prefetch(b + i, 0, 2);
}

/* All columns of n_rows rows from b on by n tokens, onto a */
INLINE void dot_columns(const struct dot *d, unpack *take, const size_t unit, const uint8_t *b,
			const unsigned n_rows, const unsigned n, vf a[][TILE_TOKENS][PER])
{
	const uint8_t *next = b + n_rows * d->row_bytes;

	for (size_t u = 0; u < d->n_units; u++, b += unit, next += n_rows * unit) {
		ask_for(next, n_rows * unit);
		UNROLL for (unsigned k = 0; k < n_rows; k++)
			dot_unit(take, b + k * d->row_bytes, d->x + u * UNIT, d->x_stride, n, a[k]);
	}
	if (d->tail_bytes)
		UNROLL for (unsigned k = 0; k < n_rows; k++) {
			uint8_t tail[4 * UNIT] = { 0 };

			memcpy(tail, b + k * d->row_bytes, d->tail_bytes);
			dot_unit(take, tail, d->x_tail, UNIT, n, a[k]);
		}
}

/* The tokens' part of a block by its scale, into the room; false if that is not exact. */
static bool scale_block(const struct dot *d, size_t block, unsigned e)
{
	size_t cols = d->n_units * UNIT, c = block * E4M3_BLOCK;
	vf odd = { 0 };
	float lane[VL], sum = 0;

	if (e < 127)
		return false;	/* low bits may be lost */
	for (unsigned t = 0; t < d->n_x; t++)
		for (size_t i = 0; i < E4M3_BLOCK; i += VL) {
			vf v = load(d->x + t * d->x_stride + c + i) * splat(kernel_scales[e]);

			odd += v - v;	/* zeros, unless one left float32 */
			store(d->room + t * cols + c + i, v);
		}
	store(lane, odd);
	for (unsigned i = 0; i < VL; i++)
		sum += lane[i];
	d->room[d->n_x * cols + block] = sum == 0 ? kernel_scales[e] : 0;
	return sum == 0;
}

/* The same of DT_E4M3_128. A power of two may as well be a factor of x as of w: the product is the same
 * number, and rounded once. So where rows share a scale the tokens are multiplied by it, once. */
INLINE void dot_blocks(const struct dot *d, const uint8_t *b, const unsigned n_rows, const unsigned n,
		       vf a[][TILE_TOKENS][PER])
{
	size_t cols = d->n_units * UNIT;
	const float *have = d->room + n * cols, *x = d->x, *by_scale = d->room;
	const uint8_t *next = b + n_rows * d->row_bytes;

	for (size_t i = 0; i < cols / E4M3_BLOCK; i++, b += E4M3_BYTES, x += E4M3_BLOCK, by_scale += E4M3_BLOCK) {
		unsigned e = b[E4M3_BLOCK], others = 0;

		ask_for(next, n_rows * E4M3_BYTES);
		next += n_rows * E4M3_BYTES;
		UNROLL for (unsigned k = 0; k < n_rows; k++)
			others |= b[k * d->row_bytes + E4M3_BLOCK] ^ e;
		if (others == 0 && (have[i] == kernel_scales[e] || scale_block(d, i, e))) {
			for (size_t c = 0; c < E4M3_BLOCK; c += UNIT)
				UNROLL for (unsigned k = 0; k < n_rows; k++)
					dot_unit(unpack_e4m3, b + k * d->row_bytes + c, by_scale + c, cols, n, a[k]);
			continue;
		}
		for (size_t c = 0; c < E4M3_BLOCK; c += UNIT)
			UNROLL for (unsigned k = 0; k < n_rows; k++) {
				const uint8_t *row = b + k * d->row_bytes;
				vf w[PARTS];

				unpack_scaled(row + c, kernel_scales[row[E4M3_BLOCK]], w);
				add_unit(w, x + c, d->x_stride, n, a[k]);
			}
	}
}

/* n_rows rows from r on by n tokens */
INLINE void dot_rows(const struct dot *d, unpack *take, const size_t unit, size_t r, const unsigned n_rows,
		     const unsigned n)
{
	const uint8_t *b = d->rows + r * d->row_bytes;
	vf a[TILE_ROWS][TILE_TOKENS][PER];
	float lane[TILE_ROWS * LANES] = { 0 };
	v4 y;

	UNROLL for (unsigned k = 0; k < n_rows; k++)
		UNROLL for (unsigned t = 0; t < n; t++)
			UNROLL for (unsigned p = 0; p < PER; p++)
				a[k][t][p] = (vf){ 0 };
	if (take == unpack_e4m3)
		dot_blocks(d, b, n_rows, n, a);
	else
		dot_columns(d, take, unit, b, n_rows, n, a);
	UNROLL for (unsigned t = 0; t < n; t++) {
		UNROLL for (unsigned k = 0; k < n_rows; k++)
			UNROLL for (unsigned p = 0; p < PER; p++)
				store(lane + k * LANES + p * VL, a[k][t][p]);
		y = fold_four(lane);
		memcpy(d->y + t * d->y_stride + r, &y, n_rows * sizeof(float));
	}
}

/* As many rows at a time as there are registers for, then single ones. */
INLINE void dot_tokens(const struct dot *d, unpack *take, const size_t unit, const unsigned n)
{
	const unsigned fit = ACC / (n * PER), step = fit >= 4 ? 4 : fit >= 2 ? 2 : 1;
	size_t r = 0;

	for (; r + step <= d->n_rows; r += step)
		dot_rows(d, take, unit, r, step, n);
	for (; r < d->n_rows; r++)
		dot_rows(d, take, unit, r, 1, n);
}

INLINE void dot_type(const struct dot *d, unpack *take, const size_t unit)
{
	switch (d->n_x) {
	case 1: dot_tokens(d, take, unit, 1); break;
	case 2: dot_tokens(d, take, unit, 2); break;
	case 3: dot_tokens(d, take, unit, 3); break;
	case 4: dot_tokens(d, take, unit, 4); break;
#if SET_TOKENS > 3
	case 5: dot_tokens(d, take, unit, 5); break;
	case 6: dot_tokens(d, take, unit, 6); break;
#endif
	default: break;
	}
}

enum { F32_UNIT = 4 * UNIT, HALF_UNIT = 2 * UNIT, Q8_0_UNIT = 34, MXFP4_UNIT = 17 };

static bool body_can_dot(enum dtype type)
{
	return type == DT_F32 || type == DT_F16 || type == DT_BF16 || type == DT_Q8_0 ||
	       type == DT_MXFP4 || type == DT_E4M3_128;
}

static void body_dot(const struct dot *d)
{
	switch (d->type) {
	case DT_F32: dot_type(d, unpack_f32, F32_UNIT); break;
	case DT_F16: dot_type(d, unpack_f16, HALF_UNIT); break;
	case DT_BF16: dot_type(d, unpack_bf16, HALF_UNIT); break;
	case DT_Q8_0: dot_type(d, unpack_q8_0, Q8_0_UNIT); break;
	case DT_MXFP4: dot_type(d, unpack_mxfp4, MXFP4_UNIT); break;
	case DT_E4M3_128:
		memset(d->room + d->n_x * d->n_units * UNIT, 0, d->n_units * UNIT / E4M3_BLOCK * sizeof(float));
		dot_type(d, unpack_e4m3, 0);
		break;
	default: break;
	}
}

/* The next rows at this place, into the second-level cache. */
INLINE void prefetch_next(const uint8_t *b, size_t row_bytes)
{
	UNROLL for (unsigned r = 0; r < TILE_ROWS; r++)
		__builtin_prefetch(b + (r + TILE_ROWS) * row_bytes, 0, 2);
}

INLINE void decode_floats(unpack *take, const size_t unit, const uint8_t *b, size_t row_bytes, size_t n_units,
			  float *out)
{
	for (size_t u = 0; u < n_units; u++, b += unit, out += TILE_ROWS * UNIT) {
		prefetch_next(b, row_bytes);
		UNROLL for (unsigned r = 0; r < TILE_ROWS; r++) {
			vf w[PARTS];

			take(b + r * row_bytes, w);
			UNROLL for (unsigned p = 0; p < PARTS; p++)
				store(out + (r + p / PER * TILE_ROWS) * LANES + p % PER * VL, w[p]);
		}
	}
}

/* Blocks of four units; n_units is a whole number of them. */
static void decode_e4m3(const uint8_t *b, size_t row_bytes, size_t n_units, float *out)
{
	for (size_t u = 0; u < n_units; u += E4M3_BLOCK / UNIT, b += E4M3_BYTES)
		for (size_t c = 0; c < E4M3_BLOCK; c += UNIT, out += TILE_ROWS * UNIT) {
			if (c % 64 == 0)
				prefetch_next(b + c, row_bytes);
			UNROLL for (unsigned r = 0; r < TILE_ROWS; r++) {
				const uint8_t *row = b + r * row_bytes;
				vf w[PARTS];

				unpack_scaled(row + c, kernel_scales[row[E4M3_BLOCK]], w);
				UNROLL for (unsigned p = 0; p < PARTS; p++)
					store(out + (r + p / PER * TILE_ROWS) * LANES + p % PER * VL, w[p]);
			}
		}
}

#ifdef SET_HALVES
typedef void make_words(const uint8_t *b, vu out[PER]);

INLINE void decode_halves(make_words *take, const size_t unit, const uint8_t *b, size_t row_bytes, size_t n_units,
			  float *out)
{
	for (size_t u = 0; u < n_units; u++, b += unit, out += TILE_ROWS * LANES) {
		if (unit >= 64 || u % 3 == 0)	/* once a line, about */
			prefetch_next(b, row_bytes);
		UNROLL for (unsigned r = 0; r < TILE_ROWS; r++) {
			vu w[PER];

			take(b + r * row_bytes, w);
			UNROLL for (unsigned p = 0; p < PER; p++)
				store(out + r * LANES + p * VL, (vf)w[p]);
		}
	}
}

#define DECODE_HALVES(take, words, ...) decode_halves(words, __VA_ARGS__)
#else
#define DECODE_HALVES(take, words, ...) decode_floats(take, __VA_ARGS__)
#endif

static void body_decode(enum dtype type, const uint8_t *b, size_t row_bytes, size_t n_units, void *panel)
{
	switch (type) {
	case DT_F32: decode_floats(unpack_f32, F32_UNIT, b, row_bytes, n_units, panel); break;
	case DT_F16: decode_floats(unpack_f16, HALF_UNIT, b, row_bytes, n_units, panel); break;
	case DT_BF16: DECODE_HALVES(unpack_bf16, words_bf16, HALF_UNIT, b, row_bytes, n_units, panel); break;
	case DT_Q8_0: decode_floats(unpack_q8_0, Q8_0_UNIT, b, row_bytes, n_units, panel); break;
	case DT_MXFP4: DECODE_HALVES(unpack_mxfp4, words_mxfp4, MXFP4_UNIT, b, row_bytes, n_units, panel); break;
	case DT_E4M3_128: decode_e4m3(b, row_bytes, n_units, panel); break;
	default: break;
	}
}

static size_t body_few(enum dtype type)
{
	return type == DT_BF16 ? FEW_BF16 : type == DT_MXFP4 ? FEW_MXFP4 : FEW;
}

/* ---- products whose lanes are double ---- */

enum { HALVES = 2 * LANES / VL };	/* vd that hold the lanes */

/* The columns after the last whole sixteen, and the tree. */
INLINE double fold_wide(double *lane, const float *w, const float *x, size_t from, size_t n)
{
	for (size_t c = from; c < n; c++)
		lane[c - from] += (double)w[c] * (double)x[c];
	for (size_t step = LANES / 2; step; step /= 2)
		for (size_t k = 0; k < step; k++)
			lane[k] += lane[k + step];
	return lane[0];
}

static double body_dot_wide(const float *w, const float *x, size_t n)
{
	vd s[HALVES] = { { 0 } };
	double lane[LANES];
	size_t whole = n - n % LANES;

	for (size_t c = 0; c < whole; c += LANES)
		UNROLL for (size_t k = 0; k < HALVES; k++)
			s[k] += widen(w + c + k * (VL / 2)) * widen(x + c + k * (VL / 2));
	memcpy(lane, s, sizeof lane);
	return fold_wide(lane, w, x, whole, n);
}

static void body_wide(const float *const w[2], const float *const x[2], size_t n, double out[4])
{
	double lane[4][LANES];
	size_t whole = n - n % LANES;

	for (size_t off = 0; off < LANES; off += VL) {
		vd s[4][2] = { { { 0 } } };

		for (size_t c = off; c < whole; c += LANES)
			UNROLL for (size_t k = 0; k < 2; k++) {
				size_t at = c + k * (VL / 2);
				vd w0 = widen(w[0] + at), w1 = widen(w[1] + at);
				vd x0 = widen(x[0] + at), x1 = widen(x[1] + at);

				s[0][k] += w0 * x0;
				s[1][k] += w0 * x1;
				s[2][k] += w1 * x0;
				s[3][k] += w1 * x1;
			}
		UNROLL for (size_t i = 0; i < 4; i++)
			memcpy(lane[i] + off, s[i], sizeof s[i]);
	}
	for (size_t i = 0; i < 4; i++)
		out[i] = fold_wide(lane[i], w[i / 2], x[i % 2], whole, n);
}

/* ---- sums of rows ---- */

/* n_heads outputs over m vectors of channels; part < VL only for a single vector at the end */
INLINE void mix_block(float *out, size_t out_stride, size_t d, const float *rows, size_t n, const float *a,
		      size_t a_stride, const unsigned n_heads, const unsigned m, size_t part)
{
	vf s[8][2];

	UNROLL for (unsigned h = 0; h < n_heads; h++)
		UNROLL for (unsigned k = 0; k < m; k++)
			s[h][k] = load_n(out + h * out_stride + k * VL, part);
	for (size_t i = 0; i < n; i++, rows += d) {
		vf r[2];

		UNROLL for (unsigned k = 0; k < m; k++)
			r[k] = load_n(rows + k * VL, part);
		UNROLL for (unsigned h = 0; h < n_heads; h++) {
			vf b = splat(a[h * a_stride + i]);

			UNROLL for (unsigned k = 0; k < m; k++)
				s[h][k] = fused(b, r[k], s[h][k]);
		}
	}
	UNROLL for (unsigned h = 0; h < n_heads; h++)
		UNROLL for (unsigned k = 0; k < m; k++)
			store_n(out + h * out_stride + k * VL, s[h][k], part);
}

INLINE void mix_heads(float *out, size_t out_stride, size_t d, const float *rows, size_t n, const float *a,
		      size_t a_stride, const unsigned n_heads)
{
	size_t c = 0;

	for (; c + 2 * VL <= d; c += 2 * VL)
		mix_block(out + c, out_stride, d, rows + c, n, a, a_stride, n_heads, 2, VL);
	for (; c < d; c += VL)
		mix_block(out + c, out_stride, d, rows + c, n, a, a_stride, n_heads, 1, d - c);
}

static void body_mix(float *out, size_t out_stride, size_t d, const float *rows, size_t n, const float *a,
		     size_t a_stride, size_t heads)
{
	size_t h = 0;

	for (; h + MIX_HEADS <= heads; h += MIX_HEADS)
		mix_heads(out + h * out_stride, out_stride, d, rows, n, a + h * a_stride, a_stride, MIX_HEADS);
	for (; h < heads; h++)
		mix_heads(out + h * out_stride, out_stride, d, rows, n, a + h * a_stride, a_stride, 1);
}

static void body_spread(float *streams, size_t d, size_t n, const float *y, const float *post,
			const float *comb)
{
	for (size_t c = 0; c < d; c += VL) {
		vf old[HYPER_MAX], in = load_n(y + c, d - c);

		for (size_t j = 0; j < n; j++)
			old[j] = load_n(streams + j * d + c, d - c);
		for (size_t k = 0; k < n; k++) {
			vf sum = post[k] * in;

			for (size_t j = 0; j < n; j++)
				sum = fused(splat(comb[j * n + k]), old[j], sum);
			store_n(streams + k * d + c, sum, d - c);
		}
	}
}

/* ---- elementwise ---- */

static void body_scale(float *y, const float *x, const float *w, size_t n, double s)
{
	size_t c = 0;

	for (; c + VL / 2 <= n; c += VL / 2) {
		vd v = widen(x + c) * s;
		vh h = __builtin_convertvector(w ? v * widen(w + c) : v, vh);

		memcpy(y + c, &h, sizeof h);
	}
	for (; c < n; c++)
		y[c] = (float)((double)x[c] * s * (w ? (double)w[c] : 1));
}

static float body_max(const float *x, size_t n)
{
	vf a = splat(-__builtin_inff()), b = a;
	float lane[VL], top = -__builtin_inff();
	size_t i = 0;

	for (; i + 2 * VL <= n; i += 2 * VL) {
		a = more(load(x + i), a);
		b = more(load(x + i + VL), b);
	}
	store(lane, more(a, b));
	for (size_t k = 0; k < VL; k++)
		top = lane[k] > top ? lane[k] : top;
	for (; i < n; i++)
		top = x[i] > top ? x[i] : top;
	return top + 0.0f;	/* one zero */
}

/* kernel_exp, on vectors */
INLINE vf exp_of(vf x)
{
	vf a = more(splat(-104.0f), less(splat(89.0f), x)), magic = splat(0x1.8p23f), r, q;
	vf t = fused(a, splat(0x1.715476p+0f), magic), n = t - magic;
	vu k = (vu)t - (vu)magic, half;

	r = fused(n, splat(-0x1.62e430p-1f), a);
	r = fused(n, splat(0x1.05c610p-29f), r);
	q = fused(splat(0x1.6a23d0p-10f), r, splat(0x1.123a20p-7f));
	q = fused(q, r, splat(0x1.5558f2p-5f));
	q = fused(q, r, splat(0x1.555492p-3f));
	q = fused(q, r, splat(0x1.fffffcp-2f));
	q = fused(q, r * r, r) + splat(1.0f);
	half = ((k + 256) >> 1) - 128;
	return q * (vf)((half + 127) << 23) * (vf)((k - half + 127) << 23);
}

static double body_exp_sum(float *p, const float *x, size_t n, float scale, float top)
{
	vd s[HALVES] = { { 0 } };
	vf by = splat(scale), less_top = splat(-top);
	double lane[LANES];
	size_t i = 0;

	for (; i + LANES <= n; i += LANES)
		UNROLL for (size_t k = 0; k < PER; k++) {
			vf e = exp_of(fused(load(x + i + k * VL), by, less_top));

			s[2 * k] += __builtin_convertvector(low(e), vd);
			s[2 * k + 1] += __builtin_convertvector(high(e), vd);
			if (p)
				store(p + i + k * VL, e);
		}
	memcpy(lane, s, sizeof lane);
	for (; i < n; i++) {
		float e = kernel_exp(__builtin_fmaf(x[i], scale, -top));

		lane[i % LANES] += (double)e;
		if (p)
			p[i] = e;
	}
	for (size_t step = LANES / 2; step; step /= 2)
		for (size_t k = 0; k < step; k++)
			lane[k] += lane[k + step];
	return lane[0];
}

static void body_swiglu(float *gate, const float *up, size_t n, float limit, float weight)
{
	for (size_t i = 0; i < n; i += VL) {
		vf g = less(splat(limit), load_n(gate + i, n - i));
		vf u = more(splat(-limit), less(splat(limit), load_n(up + i, n - i)));

		store_n(gate + i, g / (splat(1.0f) + exp_of(-g)) * u * splat(weight), n - i);
	}
}

static void body_pool(float *out, size_t d, size_t n, const float *const *gate, const float *const *bias,
		      const float *const *value)
{
	for (size_t c = 0; c < d; c += VL) {
		vf top = splat(-__builtin_inff()), sum = { 0 }, s = { 0 };

		for (size_t i = 0; i < n; i++)
			top = more(load_n(gate[i] + c, d - c) + load_n(bias[i] + c, d - c), top);
		for (size_t i = 0; i < n; i++) {
			vf p = exp_of(load_n(gate[i] + c, d - c) + load_n(bias[i] + c, d - c) - top);

			sum += p;
			s = fused(p, load_n(value[i] + c, d - c), s);
		}
		store_n(out + c, s / sum, d - c);
	}
}

const struct kernels PASTE(kernels_, SET) = {
	.name = SET_NAME, .tokens = SET_TOKENS, .dot_tokens = SET_TOKENS > 3 ? 5 : 4, .tile = body_tile,
	.panel = body_panel,
#ifdef SET_HALVES
	.halves = true,
#endif
	.fold = body_fold, .few = body_few, .can_dot = body_can_dot, .dot = body_dot,
	.decode = body_decode, .dot_wide = body_dot_wide, .wide = body_wide, .mix = body_mix,
	.scale = body_scale, .max = body_max, .exp_sum = body_exp_sum, .swiglu = body_swiglu,
	.pool = body_pool, .spread = body_spread,
};
