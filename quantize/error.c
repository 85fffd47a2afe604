/* SPDX-License-Identifier: MIT
 *
 * error.c - sums over pairs, and how many values a block had no code for.
 *
 * Sums are float64 in index order without contraction: the same bits from every compiler and for
 * every number of threads, as long as runs are cut and merged alike.
 */
#include "quantize/error.h"

#include <math.h>
#include <string.h>

/* ---- pairs ----------------------------------------------------------------------------------*/

static void count_bad(struct error_sums *s, float x, float y)
{
	s->x_nan += isnan(x) != 0;
	s->x_inf += isinf(x) != 0;
	s->y_nan += isnan(y) != 0;
	s->y_inf += isinf(y) != 0;
}

static void add_block(struct error_sums *s, const float *x, const float *y, size_t n, uint64_t at, bool worst)
{
	double xx = 0, dd = 0, ratio;

	for (size_t i = 0; i < n; i++) {
		double a = (double)x[i], b = (double)y[i], d = b - a;

		if (!isfinite(x[i]) || !isfinite(y[i])) {
			count_bad(s, x[i], y[i]);
			continue;
		}
		s->n++;
		s->yy += b * b;
		s->xy += a * b;
		xx += a * a;
		dd += d * d;
		if (fabs(d) > s->max) {
			s->max = fabs(d);
			s->max_at = at + i;
		}
	}
	s->xx += xx;
	s->dd += dd;
	if (!worst || !(dd > 0))
		return;
	ratio = xx > 0 ? dd / xx : (double)INFINITY;
	if (ratio > s->worst) {
		s->worst = ratio;
		s->worst_at = at;
	}
}

void error_add(struct error_sums *s, const float *x, const float *y, size_t n, size_t block, uint64_t at)
{
	size_t step = block ? block : 256;

	for (size_t i = 0; i < n; i += step)
		add_block(s, x + i, y + i, (size_t)u64_min(step, n - i), at + i, block != 0);
}

void error_merge(struct error_sums *s, const struct error_sums *later)
{
	s->n += later->n;
	s->x_nan += later->x_nan;
	s->x_inf += later->x_inf;
	s->y_nan += later->y_nan;
	s->y_inf += later->y_inf;
	s->saturated += later->saturated;
	s->xx += later->xx;
	s->yy += later->yy;
	s->xy += later->xy;
	s->dd += later->dd;
	if (later->max > s->max) {
		s->max = later->max;
		s->max_at = later->max_at;
	}
	if (later->worst > s->worst) {
		s->worst = later->worst;
		s->worst_at = later->worst_at;
	}
}

double error_rms(const struct error_sums *s)
{
	return s->n ? sqrt(s->dd / (double)s->n) : 0;
}

double error_relative(const struct error_sums *s)
{
	return s->dd > 0 ? sqrt(s->dd / s->xx) : 0;
}

double error_cosine(const struct error_sums *s)
{
	if (s->xx == 0 || s->yy == 0)
		return s->xx == s->yy;
	return s->xy / (sqrt(s->xx) * sqrt(s->yy));
}

/* ---- saturation -----------------------------------------------------------------------------*/

/* Where a type keeps its codes (one or two runs of bytes), and what these bytes are where every code
 * is the highest, the one below it, the lowest, the one above it. */
struct codes { uint8_t from[2], n[2], fill[4][2]; };

#define NIBBLES { { 0xFF }, { 0xEE }, { 0x00 }, { 0x11 } }
#define E2M1 { { 0x77 }, { 0x66 }, { 0xFF }, { 0xEE } }
#define FIFTH { { 0xFF, 0xFF }, { 0xFF, 0xEE }, { 0x00, 0x00 }, { 0x00, 0x11 } }

static bool codes_of(enum dtype t, struct codes *c)
{
	static const struct codes table[DT_COUNT] = {
		[DT_Q4_0] = { { 2 }, { 16 }, NIBBLES },
		[DT_Q4_1] = { { 4 }, { 16 }, NIBBLES },
		[DT_Q5_0] = { { 2, 6 }, { 4, 16 }, FIFTH },
		[DT_Q5_1] = { { 4, 8 }, { 4, 16 }, FIFTH },
		[DT_Q8_0] = { { 2 }, { 32 }, { { 0x7F }, { 0x7E }, { 0x80 }, { 0x81 } } },
		[DT_Q2_K] = { { 16 }, { 64 }, { { 0xFF }, { 0xAA }, { 0x00 }, { 0x55 } } },
		[DT_Q3_K] = { { 0, 32 }, { 32, 64 }, { { 0xFF, 0xFF }, { 0xFF, 0xAA }, { 0, 0 }, { 0, 0x55 } } },
		[DT_Q4_K] = { { 16 }, { 128 }, NIBBLES },
		[DT_Q5_K] = { { 16, 48 }, { 32, 128 }, FIFTH },
		[DT_Q6_K] = { { 128, 0 }, { 64, 128 }, FIFTH },
		[DT_IQ4_NL] = { { 2 }, { 16 }, NIBBLES },
		[DT_IQ4_XS] = { { 8 }, { 128 }, NIBBLES },
		[DT_MXFP4] = { { 1 }, { 16 }, E2M1 },
		[DT_NVFP4] = { { 4 }, { 32 }, E2M1 },
	};

	*c = table[t];
	return c->n[0] > 0;
}

/* One block with all its codes replaced, decoded. */
static void decode_filled(enum dtype t, const uint8_t *block, const struct codes *c, unsigned which,
			  float *out)
{
	uint8_t copy[256];

	memcpy(copy, block, dtype_info(t)->bytes);
	for (unsigned k = 0; k < 2; k++)
		memset(copy + c->from[k], c->fill[which][k], c->n[k]);
	codec_decode(t, copy, dtype_info(t)->block, out);
}

uint64_t codec_saturated(enum dtype t, const uint8_t *blocks, size_t n, const float *x)
{
	const struct dtype_info *info = dtype_info(t);
	float edge[4][256];
	struct codes c;
	uint64_t found = 0;

	if (!codes_of(t, &c))
		return 0;
	for (size_t i = 0; i < n; i += info->block, blocks += info->bytes) {
		for (unsigned k = 0; k < 4; k++)
			decode_filled(t, blocks, &c, k, edge[k]);
		for (size_t j = 0; j < info->block; j++) {
			/* a negative scale turns the ends round */
			unsigned top = edge[0][j] < edge[2][j] ? 2 : 0, low = 2 - top;
			float above = edge[top][j] - edge[top + 1][j], below = edge[low + 1][j] - edge[low][j];

			if (above > 0)	/* under a scale of zero nothing is held at all */
				found += x[i + j] > edge[top][j] + above / 2 || x[i + j] < edge[low][j] - below / 2;
		}
	}
	return found;
}
