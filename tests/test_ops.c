/* SPDX-License-Identifier: MIT
 *
 * test_ops.c - arithmetic of the forward pass against figures made by hand, figures published for
 * the architecture, and properties.
 */
#include <math.h>

#include "runtime/kernels.h"
#include "runtime/layer.h"
#include "tests/test.h"

static uint32_t lcg_state = 1;

static float noise(void)
{
	lcg_state = lcg_state * 1664525 + 1013904223;
	return (float)(int32_t)lcg_state / 2147483648.0f;
}

static bool near(double a, double b, double relative)
{
	return fabs(a - b) <= relative * fabs(b) + 1e-300;
}

/* ---- products ---- */

enum { MAX_COLS = 130, MAX_N = 5, MAX_ROWS = 7 };

static void check_product(size_t rows, size_t cols, size_t n)
{
	float w[MAX_ROWS * MAX_COLS], x[MAX_N * (MAX_COLS + 3)], y[2][MAX_N * (MAX_ROWS + 2)];
	struct matmul m = { w, rows, cols, x, n, cols + 3, y[0], rows + 2, false };

	for (size_t i = 0; i < rows * cols; i++)
		w[i] = noise();
	for (size_t i = 0; i < n * (cols + 3); i++)
		x[i] = noise();
	for (size_t i = 0; i < MAX_N * (MAX_ROWS + 2); i++)
		y[0][i] = y[1][i] = 77;
	ops_matmul(&m);
	m.y = y[1];
	matmul_by(&kernels_scalar, &m);
	CHECKF(memcmp(y[0], y[1], sizeof y[0]) == 0, "%zu x %zu, %zu tokens", rows, cols, n);
	for (size_t t = 0; t < n; t++) {
		for (size_t r = 0; r < rows; r++) {
			double sum = 0, size = 0;

			for (size_t c = 0; c < cols; c++) {
				sum += (double)w[r * cols + c] * (double)x[t * (cols + 3) + c];
				size += fabs((double)w[r * cols + c] * (double)x[t * (cols + 3) + c]);
			}
			CHECK(fabs(sum - (double)y[0][t * (rows + 2) + r]) <= 1e-6 * size);
		}
		CHECK(y[0][t * (rows + 2) + rows] == 77 && y[0][t * (rows + 2) + rows + 1] == 77);
	}
}

static void products_are_the_portable_ones_to_the_bit(void)
{
	for (size_t cols = 1; cols <= MAX_COLS; cols += cols < 34 ? 1 : 13)
		for (size_t n = 1; n <= MAX_N; n++)
			check_product(1 + cols % MAX_ROWS, cols, n);
}

static void mixing_adds_rows_in_order(void)
{
	/* 2^24 + 1 rounds back to 2^24 in float32, so only this order gives 0, then 1 */
	float rows[3 * 18], a[3] = { 1, 1, -1 }, out[18];

	for (int c = 0; c < 18; c++) {
		rows[c] = 16777216;
		rows[18 + c] = 1;
		rows[36 + c] = 16777216;
		out[c] = 0;
	}
	ops_mix(out, 18, rows, a, 3);
	for (int c = 0; c < 18; c++)
		CHECK(out[c] == 0);
	ops_mix(out, 18, rows + 18, a, 1);
	for (int c = 0; c < 18; c++)
		CHECK(out[c] == 1);
}

/* What float32 lanes would lose: each lane meets 2^25, then ones, then -2^25. */
static void wide_products_keep_what_float32_loses(void)
{
	enum { COLS = 67 };
	float w[COLS], x[COLS], y = 0;
	struct matmul m = { w, 1, COLS, x, 1, COLS, &y, 1, true };

	for (int i = 0; i < COLS; i++) {
		w[i] = i < 16 ? 0x1p25f : i < 48 ? 1 : i < 64 ? -0x1p25f : 3;
		x[i] = 1;
	}
	ops_matmul(&m);
	CHECKF(y == 41, "%g", (double)y);	/* 32 ones and three threes */
	CHECK(ops_dot_wide(w, x, COLS) == 41);
	CHECK(ops_dot_wide(w, x, 17) == 0x1p29 + 1);
}

/* ---- norms and activations ---- */

static void rms_norm_by_hand(void)
{
	float x[2] = { 3, 4 }, w[2] = { 1, 2 }, y[2], long_x[21];

	ops_rms_norm(y, x, w, 2, 0);
	CHECK(near((double)y[0], 3 / sqrt(12.5), 1e-7) && near((double)y[1], 8 / sqrt(12.5), 1e-7));
	ops_rms_norm(x, x, NULL, 2, 12.5);
	CHECK(near((double)x[0], 0.6, 1e-7) && near((double)x[1], 0.8, 1e-7));
	for (int i = 0; i < 21; i++)
		long_x[i] = (float)i;	/* sum of squares to 20: 2870 */
	CHECK(near(ops_rms_scale(long_x, 21, 0), sqrt(21.0 / 2870), 1e-15));
}

static void activations(void)
{
	CHECK(near(ops_softplus(0), log(2), 1e-15));
	CHECK(near(ops_softplus(800), 800, 1e-15) && ops_softplus(-800) >= 0);
	CHECK(near(ops_softplus(-30), exp(-30), 1e-12));
	CHECK(ops_sigmoid(0) == 0.5 && ops_sigmoid(-1000) == 0 && ops_sigmoid(1000) == 1);
}

static void hadamard_signs(void)
{
	static const char signs[] = "+-+--+-++-+--+-+";
	float x[128] = { 0 }, sum = 0;

	x[5] = 1;
	ops_hadamard(x, 128);
	for (int i = 0; i < 16; i++)
		CHECK((x[i] > 0) == (signs[i] == '+'));
	for (int i = 0; i < 128; i++) {
		CHECK(near(fabs((double)x[i]), 0.0883883461, 1e-6));
		sum += x[i] * x[i];
	}
	CHECK(near((double)sum, 1, 1e-5));
	ops_hadamard(x, 128);	/* its own inverse */
	for (int i = 0; i < 128; i++)
		CHECK(fabs((double)x[i] - (i == 5)) < 1e-6);
}

/* ---- positions ---- */

static struct arch published(void)
{
	return (struct arch){ .n_rot = 64, .rope_base = 10000, .rope_base_compressed = 160000, .yarn = true,
			      .yarn_factor = 16, .yarn_beta_fast = 32, .yarn_beta_slow = 1,
			      .yarn_n_ctx = 65536 };
}

static void rope_frequencies_are_the_published_ones(void)
{
	static const struct { int i; double f; } compressed[] = {
		{ 0, 1 }, { 1, .687656022 }, { 15, .00363553858 }, { 16, .002265625 },
		{ 20, .000296977778 }, { 24, 1.953125e-05 }, { 25, 5.37231267e-06 }, { 31, 5.68052904e-07 },
	}, plain[] = { { 0, 1 }, { 1, .749894209 }, { 15, .0133352143 }, { 31, .000133352143 } };
	struct arch a = published();
	double f[32];

	ops_rope_freqs(f, &a, true);
	for (size_t k = 0; k < sizeof compressed / sizeof *compressed; k++)
		CHECKF(near(f[compressed[k].i], compressed[k].f, 1e-8), "pair %d: %.12g", compressed[k].i,
		       f[compressed[k].i]);
	ops_rope_freqs(f, &a, false);
	for (size_t k = 0; k < sizeof plain / sizeof *plain; k++)
		CHECKF(near(f[plain[k].i], plain[k].f, 1e-8), "pair %d: %.12g", plain[k].i, f[plain[k].i]);
	a.yarn = false;
	ops_rope_freqs(f, &a, true);
	CHECK(near(f[31], pow(160000, -62.0 / 64), 1e-12));
}

static void rope_turns_adjacent_pairs(void)
{
	double freq[2] = { acos(-1) / 2, acos(-1) };	/* a quarter and a half turn a position */
	double row[4];
	float x[4] = { 1, 2, 3, 4 };

	ops_rope_row(row, freq, 2, 1);
	ops_rope(x, row, 2, false);
	CHECK(near((double)x[0], -2, 1e-6) && near((double)x[1], 1, 1e-6));
	CHECK(near((double)x[2], -3, 1e-6) && near((double)x[3], -4, 1e-6));
	ops_rope(x, row, 2, true);
	for (int i = 0; i < 4; i++)
		CHECK(near((double)x[i], i + 1, 1e-6));
}

/* ---- hyper-connections ---- */

static void sinkhorn_gives_the_published_figures(void)
{
	static const double want_pre[4] = { .2689424, .6224604, .4378245, .5926676 };
	static const double want_post[4] = { 1.274062, .7846737, 1.30271, .8146668 };
	static const double want_comb[16] = {
		.145535, .5132015, .1957274, .1455352, .2891641, .03277833, .3888926, .289164,
		.1142531, .4028909, .3686018, .1142532, .4510468, .05112837, .04677727, .4510466,
	};
	struct hyper_shape h = { 4, 20, 1e-6 };
	float base[24], scale[3] = { .5f, .75f, 1.25f };
	double mix[24], pre[4], post[4], comb[16];

	for (int i = 0; i < 24; i++) {
		mix[i] = (double)((7 * i % 11) - 5) / 4;
		base[i] = (float)((5 * i % 7) - 3) / 8;
	}
	hyper_split(&h, mix, scale, base, pre, post, comb);
	for (int i = 0; i < 4; i++) {
		CHECKF(near(pre[i], want_pre[i], 2e-6), "pre %d: %.8g", i, pre[i]);
		CHECKF(near(post[i], want_post[i], 2e-6), "post %d: %.8g", i, post[i]);
	}
	for (int i = 0; i < 16; i++)
		CHECKF(near(comb[i], want_comb[i], 2e-6), "comb %d: %.8g", i, comb[i]);
}

static void sinkhorn_balances_any_number_of_streams(void)
{
	for (uint32_t n = 1; n <= HYPER_MAX; n++) {
		struct hyper_shape h = { n, 50, 1e-6 };
		float base[80] = { 0 }, scale[3] = { 1, 1, 1 };
		double mix[80], pre[8], post[8], comb[64];

		for (int i = 0; i < 80; i++)
			mix[i] = (double)noise();
		hyper_split(&h, mix, scale, base, pre, post, comb);
		for (uint32_t j = 0; j < n; j++) {
			double row = 0, column = 0;

			for (uint32_t k = 0; k < n; k++) {
				row += comb[j * n + k];
				column += comb[k * n + j];
			}
			CHECKF(fabs(row - 1) < 1e-4 && fabs(column - 1) < 1e-4, "%u streams: %g %g", n, row,
			       column);
		}
	}
}

/* ---- choices and probabilities ---- */

static void top_k_prefers_low_indexes(void)
{
	double s[8] = { 2, 5, 5, 1, 5, 2, (double)NAN, -1 };
	uint64_t scratch[8];
	uint32_t out[8] = { 0 };

	ops_top_k(s, 8, 2, scratch, out);
	CHECK(out[0] == 1 && out[1] == 2);
	ops_top_k(s, 8, 4, scratch, out);
	CHECK(out[0] == 0 && out[1] == 1 && out[2] == 2 && out[3] == 4);
	ops_top_k(s, 8, 7, scratch, out);	/* the NaN is what stays behind */
	CHECK(out[5] == 5 && out[6] == 7);
	ops_top_k(s, 3, 8, scratch, out);
	CHECK(out[0] == 0 && out[1] == 1 && out[2] == 2);
	ops_top_k(s, 8, 0, scratch, out);
}

static void log_probability_by_hand(void)
{
	float z[4], flat[3] = { 7, 7, 7 }, far[3] = { 0, 30000, 0 };
	uint32_t best;

	for (int i = 0; i < 4; i++)
		z[i] = (float)log(i + 1);
	for (size_t i = 0; i < 4; i++)
		CHECK(fabs(ops_log_prob(z, 4, i, &best) - log((double)(i + 1) / 10)) < 1e-6);
	CHECK(best == 3);
	CHECK(near(ops_log_prob(flat, 3, 2, &best), -log(3), 1e-15) && best == 0);
	CHECK(ops_log_prob(far, 3, 1, &best) == 0 && ops_log_prob(far, 3, 0, &best) == -30000);
}

/* ---- threads ---- */

struct tally { size_t n; unsigned char hit[1000]; };

static void hit(void *ctx, unsigned i, unsigned n)
{
	struct tally *t = ctx;
	size_t from, to;

	pool_share(t->n, i, n, &from, &to);
	for (size_t k = from; k < to; k++)
		t->hit[k]++;
}

static void pool_covers_every_item_once(void)
{
	static const size_t sizes[] = { 0, 1, 2, 7, 999, 1000 };
	struct err e = { 0 };

	for (unsigned n = 1; n <= 9; n += 2) {
		struct pool p = { 0 };

		CHECK(pool_open(&p, n, &e) == OK);
		for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
			struct tally t = { .n = sizes[k] };

			for (int round = 0; round < 20; round++)
				pool_run(&p, hit, &t);
			for (size_t i = 0; i < 1000; i++)
				CHECK(t.hit[i] == (i < sizes[k] ? 20 : 0));
		}
		pool_close(&p);
		pool_close(&p);
	}
}

int main(void)
{
	RUN(products_are_the_portable_ones_to_the_bit);
	RUN(mixing_adds_rows_in_order);
	RUN(rms_norm_by_hand);
	RUN(wide_products_keep_what_float32_loses);
	RUN(activations);
	RUN(hadamard_signs);
	RUN(rope_frequencies_are_the_published_ones);
	RUN(rope_turns_adjacent_pairs);
	RUN(sinkhorn_gives_the_published_figures);
	RUN(sinkhorn_balances_any_number_of_streams);
	RUN(top_k_prefers_low_indexes);
	RUN(log_probability_by_hand);
	RUN(pool_covers_every_item_once);
	return test_done();
}
