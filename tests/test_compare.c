/* SPDX-License-Identifier: MIT
 *
 * test_compare.c - figures of tensors that differ in known ways, in GGUFs of an architecture that this
 * program does not know: against sums written down here in another form, for any number of threads.
 */
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "quantize/floats.h"
#include "runtime/compare.h"
#include "tests/test.h"

static char dir[] = "/tmp/ingot-compare-XXXXXX";

enum { M = 3, R = 700, C = 256, N = M * R * C };	/* more than one piece a matrix */
static float x[N], y[N];
static uint8_t blocks[N];

static uint32_t hash(uint32_t v)
{
	v = (v ^ v >> 16) * 0x7feb352du;
	v = (v ^ v >> 15) * 0x846ca68bu;
	return v ^ v >> 16;
}

/* ---- files ---- */

struct item { const char *name; enum dtype type; unsigned n_dims; uint64_t shape[3]; const void *data; };

static const char *write_gguf(const char *name, const struct item *items, size_t n)
{
	static char paths[8][300];
	static int next;
	char *path = paths[next++ % 8];
	struct gguf_writer w;
	struct err e;
	uint64_t size, off[8], bytes, rows;
	FILE *f;

	snprintf(path, 300, "%s/%s", dir, name);
	gguf_writer_open(&w, 32);
	gguf_put_str(&w, "general.architecture", STR("otherwise"));
	for (size_t i = 0; i < n; i++)
		off[i] = gguf_put_tensor(&w, items[i].name, items[i].type, items[i].n_dims, items[i].shape);
	CHECK(gguf_writer_finish(&w, &size, &e) == OK);
	f = fopen(path, "wb");
	CHECK(f && ftruncate(fileno(f), (off_t)size) == 0 && fwrite(w.buf, 1, w.len, f) == w.len);
	for (size_t i = 0; f && i < n; i++) {
		rows = 1;
		for (unsigned d = 0; d + 1 < items[i].n_dims; d++)
			rows *= items[i].shape[d];
		CHECK(dtype_bytes(items[i].type, rows, items[i].shape[items[i].n_dims - 1], &bytes));
		CHECK(fseek(f, (long)(w.len + off[i]), SEEK_SET) == 0);
		CHECK(fwrite(items[i].data, 1, (size_t)bytes, f) == bytes);
	}
	if (f)
		CHECK(fclose(f) == 0);
	gguf_writer_close(&w);
	return path;
}

static enum status compared(struct comparison *c, const char *a, const char *b, const char *regex, unsigned threads,
			    struct err *e)
{
	struct compare_options o = { .a = a, .b = b, .tensors = regex, .threads = threads, .max_memory = 1 << 30 };
	struct log notes = { 0 };
	enum status st = compare_open(c, &o, &notes, e);

	log_close(&notes);
	return st == OK ? compare_run(c, &o, e) : st;
}

static bool near(double a, double b)
{
	return fabs(a - b) <= 1e-12 * fabs(b);
}

/* ---- what is shown ---- */

/* Sums in long double, another order: the figures are right to twelve digits. */
static void test_figures(void)
{
	static const struct item a[] = { { "w.weight", DT_F32, 3, { M, R, C }, x } };
	static const struct item b[] = { { "w.weight", DT_F32, 3, { M, R, C }, y } };
	const char *pa, *pb;
	long double xx = 0, yy = 0, xy = 0, dd = 0, worst = 0, row_dd, row_xx;
	uint64_t worst_at = 0;
	struct error_sums first = { 0 };
	struct err e = { 0 };

	for (uint32_t i = 0; i < N; i++) {
		x[i] = (float)(int32_t)hash(i) * 0x1p-31f;
		y[i] = x[i] + (float)(int32_t)hash(i + N) * 0x1p-37f;
	}
	y[2 * R * C + 600 * C + 77] += 3;	/* the largest, in the last matrix */
	for (uint32_t i = N; i-- > 0;) {
		long double u = (long double)x[i], v = (long double)y[i];

		xx += u * u, yy += v * v, xy += u * v, dd += (v - u) * (v - u);
	}
	for (uint32_t r = 0; r < M * R; r++) {
		row_dd = row_xx = 0;
		for (uint32_t i = r * C; i < (r + 1) * C; i++) {
			row_dd += ((long double)y[i] - (long double)x[i]) * ((long double)y[i] - (long double)x[i]);
			row_xx += (long double)x[i] * (long double)x[i];
		}
		if (row_dd / row_xx > worst) {
			worst = row_dd / row_xx;
			worst_at = r;
		}
	}
	pa = write_gguf("a", a, 1);
	pb = write_gguf("b", b, 1);
	for (unsigned threads = 1; threads <= 5; threads += 2) {
		struct comparison c;
		const struct error_sums *s;

		CHECKF(compared(&c, pa, pb, NULL, threads, &e) == OK, "%s", e.msg);
		CHECK(c.n_pairs == 1);
		s = &c.pairs[0].sums;
		CHECK(s->n == N && !pair_equal(&c.pairs[0]));
		CHECK(near(error_rms(s), (double)sqrtl(dd / N)) && near(error_relative(s), (double)sqrtl(dd / xx)));
		CHECK(near(error_cosine(s), (double)(xy / sqrtl(xx * yy))));
		CHECK(s->max_at == 2 * R * C + 600 * C + 77 && s->max > 2.9);
		CHECK(s->worst_at == (2 * R * C + 600 * C + 77) / 32 * 32);
		CHECK(c.pairs[0].worst_row_at == worst_at && near(c.pairs[0].worst_row, (double)sqrtl(worst)));
		if (threads == 1)
			first = *s;
		CHECK(memcmp(&first, s, sizeof first) == 0);
		compare_close(&c);
	}
}

/* One value less than a float's last bit apart is seen; the same values are equal whatever their types. */
static void test_equal(void)
{
	struct item a[2] = { { "w", DT_F32, 2, { 4, C }, x }, { "v", DT_F32, 1, { C }, x } };
	struct item b[2] = { { "w", DT_BF16, 3, { 2, 2, C }, blocks }, { "v", DT_F32, 1, { C }, y } };
	struct comparison c;
	struct err e = { 0 };

	for (uint32_t i = 0; i < 4 * C; i++)
		x[i] = (float)((int32_t)(hash(i) & 255) - 128);
	codec_encode(DT_BF16, x, NULL, 4 * C, EFFORT_FAST, blocks);
	memcpy(y, x, sizeof y);
	y[9] = bits_f32(f32_bits(x[9]) + 1);
	CHECK(compared(&c, write_gguf("a", a, 2), write_gguf("b", b, 2), NULL, 2, &e) == OK);
	CHECK(c.n_pairs == 2 && pair_equal(&c.pairs[0]) && !pair_equal(&c.pairs[1]));
	CHECK(c.pairs[1].sums.max_at == 9 && c.pairs[1].sums.max > 0);
	compare_close(&c);
}

/* What blocks decode to is compared, values that had no code are counted. */
static void test_blocks(void)
{
	struct item a[1] = { { "w", DT_F32, 2, { 2, C }, x } }, b[1] = { { "w", DT_Q8_0, 2, { 2, C }, blocks } };
	struct comparison c;
	struct err e = { 0 };
	float decoded[2 * C];
	double dd = 0;

	for (uint32_t i = 0; i < 2 * C; i++)
		x[i] = (float)(int32_t)hash(i) * 0x1p-31f;
	codec_encode(DT_Q8_0, x, NULL, 2 * C, EFFORT_FAST, blocks);
	x[300] = 50;	/* of which the encoder knew nothing */
	codec_decode(DT_Q8_0, blocks, 2 * C, decoded);
	for (uint32_t i = 0; i < 2 * C; i++)
		dd += ((double)decoded[i] - (double)x[i]) * ((double)decoded[i] - (double)x[i]);
	CHECK(compared(&c, write_gguf("a", a, 1), write_gguf("b", b, 1), NULL, 1, &e) == OK);
	CHECK(near(c.pairs[0].sums.dd, dd) && c.pairs[0].sums.saturated == 1 && c.pairs[0].sums.max_at == 300);
	CHECK(c.pairs[0].worst_row_at == 1);
	compare_close(&c);
}

/* Values that are no numbers are counted on their side and left out of the sums. */
/* Each expert's own error: more experts than pieces between two merges, and experts of more than one piece. */
static void test_experts(void)
{
	enum { MANY = 600, ROWS = 5, COLS = 64, EACH = ROWS * COLS };
	static float u[MANY * EACH], v[MANY * EACH];
	static const struct item a[] = { { "blk.0.ffn_up_exps.weight", DT_F32, 3, { MANY, ROWS, COLS }, u },
					 { "blk.0.ffn_down_exps.weight", DT_F32, 3, { M, R, C }, x }, { "w.weight", DT_F32, 3, { M, R, C }, x } };
	static const struct item b[] = { { "blk.0.ffn_up_exps.weight", DT_F32, 3, { MANY, ROWS, COLS }, v },
					 { "blk.0.ffn_down_exps.weight", DT_F32, 3, { M, R, C }, y }, { "w.weight", DT_F32, 3, { M, R, C }, y } };
	const char *pa, *pb;
	struct comparison c;
	struct err e = { 0 };

	for (size_t i = 0; i < MANY * EACH; i++) {
		u[i] = (float)((int)(hash((uint32_t)i) % 2001) - 1000) / 1024;
		v[i] = u[i] * (1 + (float)(i / EACH % 8) / 256);	/* exact */
	}
	v[500 * EACH + 3] = NAN;
	pa = write_gguf("experts-a", a, 3);
	pb = write_gguf("experts-b", b, 3);
	for (unsigned t = 1; t <= 3; t += 2) {
		CHECK(compared(&c, pa, pb, NULL, t, &e) == OK);
		CHECK(c.pairs[0].experts && c.pairs[1].experts && !c.pairs[2].experts);
		for (size_t i = 0; i < MANY && c.pairs[0].experts; i++) {
			double want = i == 500 ? (double)INFINITY : (double)(i % 8) / 256, got = matrix_relative(&c.pairs[0].experts[i]);

			CHECKF(got == want || near(got, want), "expert %zu: %g, expected %g", i, got, want);
		}
		for (size_t i = 0; i < M && c.pairs[1].experts; i++) {
			long double dd = 0;

			for (size_t k = i * R * C; k < (i + 1) * R * C; k++)
				dd += ((long double)y[k] - x[k]) * ((long double)y[k] - x[k]);
			CHECK(near(c.pairs[1].experts[i].dd, (double)dd));
		}
		compare_close(&c);
	}
	unlink(pa);
	unlink(pb);
}

/* Experts that --max-memory has no room for. */
static void test_experts_memory(void)
{
	static const struct item a[] = { { "blk.0.ffn_up_exps.weight", DT_F32, 3, { 80000, 1, 1 }, x } };
	struct compare_options o = { .threads = 1, .max_memory = 4 << 20 };
	struct comparison c;
	struct err e = { 0 };

	o.a = o.b = write_gguf("many", a, 1);
	CHECK(compare_open(&c, &o, NULL, &e) == OK && compare_run(&c, &o, &e) == ERR_NOMEM && strstr(e.msg, "80000 experts"));
	compare_close(&c);
	unlink(o.a);
}

static void test_not_finite(void)
{
	struct item a[1] = { { "w", DT_F32, 2, { 2, C }, x } }, b[1] = { { "w", DT_F32, 2, { 2, C }, y } };
	struct comparison c;
	struct err e = { 0 };

	for (uint32_t i = 0; i < 2 * C; i++)
		x[i] = y[i] = 1;
	x[0] = NAN;
	y[1] = y[2] = NAN;
	y[3] = INFINITY;
	CHECK(compared(&c, write_gguf("a", a, 1), write_gguf("b", b, 1), NULL, 1, &e) == OK);
	CHECK(c.pairs[0].sums.x_nan == 1 && c.pairs[0].sums.y_nan == 2 && c.pairs[0].sums.y_inf == 1);
	CHECK(c.pairs[0].sums.n == 2 * C - 4 && c.pairs[0].sums.dd == 0 && !pair_equal(&c.pairs[0]));
	compare_close(&c);
}

static void test_pairing(void)
{
	struct item a[4] = { { "one", DT_F32, 1, { 8 }, x }, { "both", DT_F32, 2, { 2, 8 }, x },
			     { "shape", DT_F32, 2, { 2, 8 }, x }, { "whole", DT_I32, 1, { 8 }, blocks } };
	struct item b[4] = { { "shape", DT_F32, 2, { 4, 4 }, x }, { "other", DT_F32, 1, { 8 }, x },
			     { "both", DT_F32, 2, { 2, 8 }, x }, { "whole", DT_I64, 1, { 8 }, blocks } };
	const char *pa, *pb;
	struct comparison c;
	struct err e = { 0 };

	memset(blocks, 0, 64);
	memset(x, 0, 64);
	pa = write_gguf("a", a, 4);
	pb = write_gguf("b", b, 4);
	CHECKF(compared(&c, pa, pb, NULL, 3, &e) == OK, "%s", e.msg);
	CHECK(c.n_pairs == 3 && c.n_only_a == 1 && c.n_only_b == 1 && c.n_other_shape == 1);
	CHECK(str_is(c.only_a[0]->name, "one") && str_is(c.only_b[0]->name, "other"));
	CHECK(pair_equal(&c.pairs[0]) && !c.pairs[1].same_shape && pair_equal(&c.pairs[2]));
	compare_close(&c);
	CHECK(compared(&c, pa, pb, "^(both|one)$", 3, &e) == OK);
	CHECK(c.n_pairs == 1 && c.n_only_a == 1 && c.n_only_b == 0 && c.n_other_shape == 0);
	compare_close(&c);
	CHECK(compared(&c, pa, pb, "nothing", 3, &e) == ERR_USAGE);
	compare_close(&c);
	CHECK(compared(&c, pa, pb, "(", 3, &e) == ERR_USAGE);
	compare_close(&c);
	store_le(blocks, 4, (1 << 24) + 1);	/* a float32 does not hold it */
	pa = write_gguf("a", a + 3, 1);
	CHECK(compared(&c, pa, pa, NULL, 1, &e) == ERR_UNSUPPORTED && strstr(e.msg, "16777217"));
	compare_close(&c);
}

/* Types without a decoder are refused by name before anything is read, unless they are left out. */
static void test_unreadable(void)
{
	struct item a[2] = { { "old", DT_IQ2_XXS, 1, { C }, blocks }, { "w", DT_F32, 1, { 8 }, x } };
	const char *p = write_gguf("a", a, 2);
	struct comparison c;
	struct err e = { 0 };

	CHECK(compared(&c, p, p, NULL, 1, &e) == ERR_UNSUPPORTED && strstr(e.msg, "IQ2_XXS") && strstr(e.msg, "old"));
	compare_close(&c);
	CHECK(compared(&c, p, p, "w", 1, &e) == OK && c.n_pairs == 1);
	compare_close(&c);
}

int main(void)
{
	char path[100];

	if (!mkdtemp(dir))
		return 1;
	RUN(test_figures);
	RUN(test_equal);
	RUN(test_blocks);
	RUN(test_experts);
	RUN(test_experts_memory);
	RUN(test_not_finite);
	RUN(test_pairing);
	RUN(test_unreadable);
	for (const char *name = "ab"; *name; name++) {
		snprintf(path, sizeof path, "%s/%c", dir, *name);
		unlink(path);
	}
	rmdir(dir);
	return test_done();
}
