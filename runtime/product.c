/* SPDX-License-Identifier: MIT
 *
 * product.c - matrices by tokens, cut into pieces that stay near the processor.
 *
 * Tokens are multiplied straight from the raw rows, at the speed of memory where they are few. Where
 * that would decode too often for a set's registers, and for other types, rows are decoded once to
 * float32 (exact, so no bit changes) into a tile that fits the second-level cache, in runs of CHUNK
 * columns; a group of tokens' part of a run stays in the first level while the rows pass. Lanes are
 * saved from run to run, so a sum's order is that of one pass: see kernels.h.
 */
#include "runtime/kernels.h"

#include <string.h>

enum { CHUNK = 512, MOST_ROWS = 64 };

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
	return product_rows(cols) * (padded(cols) + TILE_TOKENS * LANES) + TILE_TOKENS * CHUNK;
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
	/* what product_room gives holds the dot_room of one token less than it has rows for */
	unsigned most = (unsigned)at_most(k->dot_tokens, product_rows(p->cols) - 1);

	for (size_t t = 0; t < p->n; t += d.n_x) {
		d.n_x = group(p->n - t, most);
		d.x = p->x + t * p->x_stride;
		d.y = p->y + t * p->y_stride;
		for (size_t i = 0; i < d.n_x && tail; i++)
			zero_padded(x_tail[i], d.x + i * p->x_stride + p->cols - tail, tail);
		k->dot(&d);
	}
}

/* n <= CHUNK columns of one row, zeros up to a whole unit. */
static void decode_run(const struct kernels *k, enum dtype type, const uint8_t *b, size_t n, float *out)
{
	const struct dtype_info *info = dtype_info(type);
	size_t tail = n % UNIT, whole = n - tail;
	uint8_t end[4 * UNIT] = { 0 };

	if (!k->can_dot(type)) {
		codec_decode(type, b, n, out);
		memset(out + n, 0, (padded(n) - n) * sizeof(float));
		return;
	}
	k->decode(type, b, whole / UNIT, out);
	if (tail) {
		memcpy(end, b + whole / info->block * info->bytes, tail / info->block * info->bytes);
		k->decode(type, end, 1, out + whole);
	}
}

/* The rows as runs: all rows' columns [0, CHUNK), then all rows' [CHUNK, 2 CHUNK)... */
static void decode_tile(const struct kernels *k, const struct raw_product *p, float *tile)
{
	const struct dtype_info *type = dtype_info(p->type);
	size_t row_bytes = p->cols / type->block * type->bytes;

	for (size_t r = 0; r < p->n_rows; r++)
		for (size_t c = 0; c < p->cols; c += CHUNK) {
			size_t n = at_most(p->cols - c, CHUNK);

			decode_run(k, p->type, p->rows + r * row_bytes + c / type->block * type->bytes, n,
				   tile + c * p->n_rows + r * padded(n));
		}
}

/* One run of columns for all rows and a group of tokens whose part of it is packed. */
static void run_of_rows(const struct kernels *k, const float *tile, size_t n_rows, size_t cols, const float *x,
			unsigned n, float *acc, bool first)
{
	struct tile s = { .n_x = n, .cols = cols, .first = first };

	for (size_t i = 0; i < n; i++)
		s.x[i] = x + i * cols;
	for (size_t r = 0; r < n_rows; r += TILE_ROWS) {
		for (size_t i = 0; i < TILE_ROWS; i++)
			s.w[i] = tile + at_most(r + i, n_rows - 1) * cols;
		s.acc = acc + r * n * LANES;
		k->tile(&s);
	}
}

static void group_of_tokens(const struct kernels *k, const struct raw_product *p, const float *tile, size_t t,
			    unsigned n, float *acc, float *pack)
{
	float y[TILE_TOKENS * TILE_ROWS];

	for (size_t c = 0; c < p->cols; c += CHUNK) {
		size_t cols = at_most(p->cols - c, CHUNK), wide = padded(cols);

		for (size_t i = 0; i < n; i++) {
			memcpy(pack + i * wide, p->x + (t + i) * p->x_stride + c, cols * sizeof(float));
			memset(pack + i * wide + cols, 0, (wide - cols) * sizeof(float));
		}
		run_of_rows(k, tile + c * p->n_rows, p->n_rows, wide, pack, n, acc, c == 0);
	}
	for (size_t r = 0; r < p->n_rows; r += TILE_ROWS) {
		k->fold(acc + r * n * LANES, n, y);
		for (size_t i = 0; i < n; i++)
			memcpy(p->y + (t + i) * p->y_stride + r, y + i * TILE_ROWS,
			       at_most(p->n_rows - r, TILE_ROWS) * sizeof(float));
	}
}

void product_by(const struct kernels *k, const struct raw_product *p, float *room)
{
	float *acc = room + product_rows(p->cols) * padded(p->cols);
	float *pack = acc + product_rows(p->cols) * TILE_TOKENS * LANES;

	if (p->n <= k->few && k->can_dot(p->type)) {
		few_tokens(k, p, room);
		return;
	}
	decode_tile(k, p, room);
	for (size_t t = 0, n; t < p->n; t += n) {
		n = group(p->n - t, k->tokens);
		group_of_tokens(k, p, room, t, (unsigned)n, acc, pack);
	}
}
