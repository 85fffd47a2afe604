/* SPDX-License-Identifier: MIT
 *
 * product.c - matrices by tokens, cut into pieces that stay near the processor.
 *
 * Few tokens are multiplied straight from the raw rows, at the speed of memory. For more, four rows at
 * a time are decoded into a panel (exactly, so no bit changes) that a block of tokens then shares:
 * the panel fits the first-level cache, the block nearly the second. Tokens are packed in groups, as the inner loop
 * takes them, once for all rows. Rows that are longer than a panel are taken in runs of columns, whose
 * lanes are saved from run to run, so a sum's order is that of one pass: see kernels.h.
 */
#include "runtime/kernels.h"

#include <string.h>

enum { MOST_ROWS = 64, PANEL_BYTES = 32 << 10, BLOCK_FLOATS = 5 << 16, BLOCK_TOKENS = 160, MOST_BLOCK = 256,
       WORTH_PACKING = 128 };	/* rows */

static size_t padded(size_t n) { return (n + UNIT - 1) / UNIT * UNIT; }
static size_t at_most(size_t n, size_t most) { return n < most ? n : most; }

/* Tokens of the next group: as even as can be. */
static unsigned group(size_t left, unsigned most)
{
	size_t groups = (left + most - 1) / most;

	return (unsigned)((left + groups - 1) / groups);
}

/* ---- float32 rows in memory ---- */

static void zero_padded(float to[UNIT], const float *from, size_t n)
{
	memset(to, 0, UNIT * sizeof(float));
	memcpy(to, from, n * sizeof(float));
}

/* Four rows, fewer at the end, by a group of tokens. */
static void four_rows(const struct kernels *k, const struct matmul *m, size_t r, size_t t, unsigned n)
{
	float acc[TILE_TOKENS * TILE_ROWS * LANES], y[TILE_TOKENS * TILE_ROWS];
	float w_end[TILE_ROWS][UNIT], x_end[TILE_TOKENS][UNIT];
	size_t n_rows = at_most(m->rows - r, TILE_ROWS), tail = m->cols % UNIT, whole = m->cols - tail;
	struct tile s = { .n_x = n, .cols = whole, .acc = acc, .first = true };

	for (size_t i = 0; i < TILE_ROWS; i++)	/* the last row stands in for those that are not there */
		s.w[i] = m->w + (r + at_most(i, n_rows - 1)) * m->cols;
	for (size_t i = 0; i < n; i++)
		s.x[i] = m->x + (t + i) * m->x_stride;
	k->tile(&s);
	if (tail) {
		for (size_t i = 0; i < TILE_ROWS; i++) {
			zero_padded(w_end[i], s.w[i] + whole, tail);
			s.w[i] = w_end[i];
		}
		for (size_t i = 0; i < n; i++) {
			zero_padded(x_end[i], s.x[i] + whole, tail);
			s.x[i] = x_end[i];
		}
		s.cols = UNIT;
		s.first = false;
		k->tile(&s);
	}
	k->fold(acc, n, y);
	for (size_t i = 0; i < n; i++)
		memcpy(m->y + (t + i) * m->y_stride + r, y + i * TILE_ROWS, n_rows * sizeof(float));
}

static void matmul_wide(const struct kernels *k, const struct matmul *m)
{
	/* at an odd edge the last row or token stands in for its neighbour as well */
	for (size_t t = 0; t < m->n; t += 2)
		for (size_t r = 0; r < m->rows; r += 2) {
			size_t t1 = at_most(t + 1, m->n - 1), r1 = at_most(r + 1, m->rows - 1);
			const float *w[2] = { m->w + r * m->cols, m->w + r1 * m->cols };
			const float *x[2] = { m->x + t * m->x_stride, m->x + t1 * m->x_stride };
			double y[4];

			k->wide(w, x, m->cols, y);
			m->y[t * m->y_stride + r] = (float)y[0];
			m->y[t1 * m->y_stride + r] = (float)y[1];
			m->y[t * m->y_stride + r1] = (float)y[2];
			m->y[t1 * m->y_stride + r1] = (float)y[3];
		}
}

void matmul_by(const struct kernels *k, const struct matmul *m)
{
	if (m->wide) {
		matmul_wide(k, m);
		return;
	}
	for (size_t from = 0; from < m->rows; from += MOST_ROWS) {
		size_t to = at_most(m->rows, from + MOST_ROWS);

		for (size_t t = 0, n; t < m->n; t += n) {
			n = group(m->n - t, k->tokens);
			for (size_t r = from; r < to; r += TILE_ROWS)
				four_rows(k, m, r, t, (unsigned)n);
		}
	}
}

void ops_matmul(const struct matmul *m)
{
	matmul_by(kernels(), m);
}

/* ---- raw rows ---- */

size_t product_rows(size_t cols)
{
	size_t n = TILE_FLOATS / (cols ? padded(cols) : UNIT);

	n = n < TILE_ROWS ? TILE_ROWS : n > MOST_ROWS ? MOST_ROWS : n;
	return n / TILE_ROWS * TILE_ROWS;
}

size_t product_room(size_t cols)
{
	size_t panels = PANEL_BYTES / sizeof(float) + BLOCK_TOKENS * (TILE_ROWS * LANES + MOST_ROWS) + PRODUCT_ALIGN;
	size_t dots = dot_room(cols, TILE_TOKENS);

	return panels > dots ? panels : dots;
}

float *product_aligned(float *p)
{
	return p + -((uintptr_t)p / sizeof *p) % (PRODUCT_ALIGN + 1);
}

/* Straight from the raw rows, a group of tokens after the other. */
static void few_tokens(const struct kernels *k, const struct raw_product *p, float *room)
{
	const struct dtype_info *type = dtype_info(p->type);
	size_t tail = p->cols % UNIT, bytes = type->bytes, block = type->block;
	float x_tail[TILE_TOKENS][UNIT];
	struct dot d = { .type = p->type, .rows = p->rows, .row_bytes = p->cols / block * bytes,
			 .n_rows = p->n_rows, .n_units = p->cols / UNIT, .tail_bytes = tail / block * bytes,
			 .x_tail = x_tail[0], .x_stride = p->x_stride, .y_stride = p->y_stride, .room = room };

	for (size_t t = 0; t < p->n; t += d.n_x) {
		d.n_x = group(p->n - t, k->dot_tokens);
		d.x = p->x + t * p->x_stride;
		d.y = p->y + t * p->y_stride;
		for (size_t i = 0; i < d.n_x && tail; i++)
			zero_padded(x_tail[i], d.x + i * p->x_stride + p->cols - tail, tail);
		k->dot(&d);
	}
}

/* ---- tokens in groups ---- */

bool product_packs(const struct kernels *k, enum dtype type, size_t n_rows, size_t n)
{
	return !k->can_dot(type) || (n > k->few(type) && n_rows >= WORTH_PACKING);
}

size_t product_groups(const struct kernels *k, size_t n)
{
	return (n + k->tokens - 1) / k->tokens;
}

size_t product_packed(size_t n, size_t cols)
{
	return n * padded(cols);
}

/* Tokens [from, to) of group i. */
static void group_of(size_t n, size_t groups, size_t i, size_t *from, size_t *to)
{
	pool_share(n, (unsigned)i, (unsigned)groups, from, to);
}

void product_pack(const struct kernels *k, const struct raw_product *p, size_t group, float *packed)
{
	size_t from, to, n, whole = p->cols / LANES * LANES, wide = padded(p->cols);

	group_of(p->n, product_groups(k, p->n), group, &from, &to);
	n = to - from;
	packed += from * wide;
	for (size_t c = 0; c < wide; c += LANES)
		for (size_t i = 0; i < n; i++) {
			const float *x = p->x + (from + i) * p->x_stride + c;
			float *out = packed + c * n + i * LANES;

			if (c < whole) {
				memcpy(out, x, LANES * sizeof(float));
				continue;
			}
			memset(out, 0, LANES * sizeof(float));
			if (c < p->cols)
				memcpy(out, x, (p->cols - c) * sizeof(float));
		}
}

/* ---- rows in panels ---- */

/* n columns of one row of any type, zeros up to a whole unit, as row r of a panel of float32. */
static void lay_row(enum dtype type, const uint8_t *b, size_t n, size_t r, float *panel)
{
	const struct dtype_info *info = dtype_info(type);
	size_t step = info->block > UNIT ? info->block : UNIT;
	float w[MOST_BLOCK];

	for (size_t c = 0; c < n; c += step) {
		size_t here = at_most(n - c, step);

		memset(w, 0, sizeof w);
		codec_decode(type, b + c / info->block * info->bytes, here, w);
		for (size_t k = 0; k < padded(here); k += LANES)
			memcpy(panel + (c + k) * TILE_ROWS + r * LANES, w + k, LANES * sizeof(float));
	}
}

/* The rest of a unit, or of four rows: zeros where there are none. */
static void odd_unit(const struct kernels *k, enum dtype type, const uint8_t *b, size_t row_bytes, size_t n_rows,
		     size_t bytes, float *panel)
{
	uint8_t raw[TILE_ROWS][4 * UNIT] = { 0 };

	for (size_t r = 0; r < n_rows; r++)
		memcpy(raw[r], b + r * row_bytes, bytes);
	k->decode(type, raw[0], sizeof raw[0], 1, panel);
}

/* Columns [c, c + n) of four rows from r on, fewer at the end. */
static void make_panel(const struct kernels *k, const struct raw_product *p, size_t r, size_t c, size_t n,
		       float *panel)
{
	const struct dtype_info *info = dtype_info(p->type);
	size_t row_bytes = p->cols / info->block * info->bytes, rows = at_most(p->n_rows - r, TILE_ROWS), done = 0;
	size_t unit = (size_t)(info->block < UNIT ? UNIT / info->block : 1) * info->bytes;
	const uint8_t *b = p->rows + r * row_bytes + c / info->block * info->bytes;
	size_t words = TILE_ROWS * (panel_halves(k, p->type) ? LANES : UNIT);	/* a unit's, in the panel */

	if (!k->can_dot(p->type) || (info->block > UNIT && rows < TILE_ROWS)) {
		for (size_t i = 0; i < rows; i++)
			lay_row(p->type, b + i * row_bytes, n, i, panel);
		return;
	}
	if (rows == TILE_ROWS) {
		done = n / UNIT;
		k->decode(p->type, b, row_bytes, done, panel);
	}
	for (; done * UNIT < n; done++) {
		size_t bytes = at_most(n - done * UNIT, UNIT) / info->block * info->bytes;

		odd_unit(k, p->type, b + done * unit, row_bytes, rows, bytes, panel + done * words);
	}
}

/* Sums of four rows from r on by n tokens, to where MOST_ROWS of a token are side by side. */
static void fold_sums(const struct kernels *k, const float *acc, size_t r, size_t n, float *sums)
{
	float y[TILE_TOKENS * TILE_ROWS];

	k->fold(acc, n, y);
	for (size_t i = 0; i < n; i++)
		memcpy(sums + i * MOST_ROWS + r, y + i * TILE_ROWS, TILE_ROWS * sizeof(float));
}

/* Four rows by groups [g0, g1) of tokens. */
static void rows_by_block(const struct kernels *k, const struct raw_product *p, size_t r, size_t g0, size_t g1,
			  float *room)
{
	size_t run = (size_t)PANEL_BYTES / TILE_ROWS / (panel_halves(k, p->type) ? 2 : 4), wide = padded(p->cols);
	float *w = product_aligned(room), *acc = w + PANEL_BYTES / sizeof(float);
	float *sums = acc + BLOCK_TOKENS * TILE_ROWS * LANES;
	size_t groups = product_groups(k, p->n), first, t, end;

	group_of(p->n, groups, g0, &first, &end);
	for (size_t c = 0, n; c < wide; c += n) {
		n = at_most(wide - c, run);
		make_panel(k, p, r, c, at_most(p->cols - c, n), w);
		for (size_t g = g0; g < g1; g++) {
			struct panel s = { .w = w, .halves = panel_halves(k, p->type), .cols = n, .acc = acc, .first = c == 0 };

			group_of(p->n, groups, g, &t, &end);
			s.n_x = (unsigned)(end - t);
			s.x = p->packed + t * wide + c * s.n_x;
			if (n < wide)		/* else lanes are done with at once */
				s.acc += (t - first) * TILE_ROWS * LANES;
			k->panel(&s);
			if (c + n == wide)
				fold_sums(k, s.acc, r, s.n_x, sums + (t - first) * MOST_ROWS);
		}
	}
}

/* All rows by a block of tokens; a token's results are written at once, for they are far from another's. */
static void block_of_tokens(const struct kernels *k, const struct raw_product *p, size_t g0, size_t g1, float *room)
{
	size_t groups = product_groups(k, p->n), from, to, end;
	const float *sums = product_aligned(room) + PANEL_BYTES / sizeof(float) + BLOCK_TOKENS * TILE_ROWS * LANES;

	for (size_t r = 0; r < p->n_rows; r += TILE_ROWS)
		rows_by_block(k, p, r, g0, g1, room);
	group_of(p->n, groups, g0, &from, &end);
	group_of(p->n, groups, g1 - 1, &to, &end);
	for (size_t t = from; t < end; t++, sums += MOST_ROWS)
		memcpy(p->y + t * p->y_stride, sums, p->n_rows * sizeof(float));
}

void product_by(const struct kernels *k, const struct raw_product *p, float *room)
{
	size_t groups = product_groups(k, p->n), each, blocks;

	if (!p->packed || p->cols == 0) {
		few_tokens(k, p, room);
		return;
	}
	each = at_most(BLOCK_FLOATS / padded(p->cols), BLOCK_TOKENS) / k->tokens;
	each = each ? each : 1;
	blocks = (groups + each - 1) / each;
	for (size_t b = 0; b < blocks; b++)
		block_of_tokens(k, p, groups * b / blocks, groups * (b + 1) / blocks, room);
}
