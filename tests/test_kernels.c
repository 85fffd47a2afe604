/* SPDX-License-Identifier: MIT
 *
 * test_kernels.c - every set of inner loops that this processor runs against the scalar one, bit for
 * bit: lengths 0 to 70 and odd larger ones, unaligned, with inaccessible pages right before and
 * after each operand; and the exponential function against libm.
 */
#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

#include "quantize/floats.h"
#include "runtime/kernels.h"
#include "tests/test.h"

/* ---- operands between guard pages ---- */

enum { OPERANDS = 8, OPERAND_BYTES = 1 << 20 };
static uint8_t *guarded[OPERANDS];
static size_t page;

static void open_guarded(void)
{
	page = (size_t)sysconf(_SC_PAGESIZE);
	for (int i = 0; i < OPERANDS; i++) {
		uint8_t *p = mmap(NULL, OPERAND_BYTES + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED || mprotect(p + page, OPERAND_BYTES, PROT_READ | PROT_WRITE))
			exit(1);
		guarded[i] = p + page;
	}
}

/* n bytes at the end of an operand (the guard page follows), or at its start. */
static void *place(int operand, size_t n, bool at_end)
{
	return guarded[operand] + (at_end ? OPERAND_BYTES - n : 0);
}

static float *floats(int operand, size_t n, bool at_end)
{
	return place(operand, n * sizeof(float), at_end);
}

static uint32_t lcg_state = 1;

static uint32_t bits(void)
{
	return lcg_state = lcg_state * 1664525 + 1013904223;
}

static float noise(void)
{
	return (float)(int32_t)bits() * 0x1p-31f;
}

static void fill(float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = noise() * (bits() % 7 ? 1 : 1000);
}

/* Every set but the scalar one; lengths that are tried. */
#define EACH_SET(k) for (const struct kernels *const *at = kernels_all, *k; (k = *at) != NULL; at++)	\
	if (k != &kernels_scalar && kernels_usable(k))
static const size_t larger[] = { 127, 128, 129, 511, 513, 1000, 1056, 2049 };
enum { N_LENGTHS = 71 + sizeof larger / sizeof *larger };

static size_t length(size_t i)
{
	return i <= 70 ? i : larger[i - 71];
}

static bool same(const void *a, const void *b, size_t n)
{
	return n == 0 || memcmp(a, b, n) == 0;
}

/* ---- products ---- */

static void matmul_case(const struct kernels *k, size_t rows, size_t cols, size_t n, bool wide, bool at_end)
{
	size_t stride = cols + n % 2;
	float *w = floats(0, rows * cols, at_end), *x = floats(1, n * stride, at_end);
	float *y = floats(2, n * rows, at_end), *z = floats(3, n * rows, at_end);
	struct matmul m = { w, rows, cols, x, n, stride, y, rows, wide };

	fill(w, rows * cols);
	fill(x, n * stride);
	matmul_by(k, &m);
	m.y = z;
	matmul_by(&kernels_scalar, &m);
	CHECKF(same(y, z, n * rows * sizeof *y), "%s: %zu x %zu, %zu tokens%s", k->name, rows, cols, n,
	       wide ? ", wide" : "");
}

static void float_products(void)
{
	EACH_SET(k)
		for (size_t i = 0; i < N_LENGTHS; i++)
			for (int wide = 0; wide < 2; wide++) {
				matmul_case(k, 1 + i % 9, length(i), 1 + i % 14, wide, false);
				matmul_case(k, 1 + i * 7 % 70, length(i), 1 + i * 5 % 8, wide, true);
			}
}

/* Codes but NaN's; scales that rows share, or not, and such that leave float32 if tokens are multiplied. */
static void fill_e4m3(uint8_t *b, size_t bytes)
{
	bool shared = bits() >> 31, wild = bits() >> 30 == 0;
	uint32_t e = wild ? (bits() >> 16) % 255 : 235;

	for (size_t i = 0; i < bytes; i++)
		b[i] = (uint8_t)(bits() >> 24 & 0x80) | (uint8_t)((bits() >> 24) % 0x7F);
	for (size_t i = E4M3_BLOCK; i < bytes; i += E4M3_BYTES)
		b[i] = (uint8_t)(shared ? e : wild ? (bits() >> 16) % 255 : e + bits() / (1u << 30));
}

/* Any bits that are finite numbers. */
static void fill_raw(enum dtype type, uint8_t *b, size_t bytes, float *check, size_t n)
{
	size_t step = dtype_info(type)->bytes;

	for (size_t i = 0; i < bytes; i++)
		b[i] = (uint8_t)(bits() >> 24);
	if (type == DT_E4M3_128)
		fill_e4m3(b, bytes), step = bytes + 1;
	for (size_t i = 0; i < bytes; i += step) {	/* exponents away from the largest */
		if (type == DT_F32)
			b[i + 3] = (uint8_t)((b[i + 3] & 0x81) | (bits() % 5 ? 0x3E : bits() >> 24 & 0x5E));
		else if (type == DT_BF16 || type == DT_F16 || type == DT_Q8_0)
			b[i + 1] = (uint8_t)((b[i + 1] & 0x81) | (bits() % 5 ? 0x3A : bits() >> 24 & 0x52));
		else if (bits() % 5)
			b[i] = (uint8_t)(120 + b[i] % 16);
		else
			b[i] = (uint8_t)(b[i] % 4 ? b[i] % 160 : b[i] % 3);
	}
	codec_decode(type, b, n, check);
	CHECK(codec_first_not_finite(check, n) == n);
}

/* Raw rows by any set, on whichever path, are float32 rows by the scalar one. */
static void raw_case(const struct kernels *k, enum dtype type, size_t rows, size_t cols, size_t n, bool at_end)
{
	uint64_t bytes = 0;
	bool fits = dtype_bytes(type, rows, cols, &bytes);
	uint8_t *b = place(0, (size_t)bytes, at_end);
	float *w = floats(4, rows * cols, at_end), *x = floats(1, n * cols, at_end);
	float *y = floats(2, n * rows, at_end), *z = floats(3, n * rows, at_end);
	float *room = floats(5, product_room(cols), at_end);
	float *packed = floats(6, product_packed(n, cols), at_end);
	struct raw_product p = { type, b, rows, cols, x, n, cols, NULL, y, rows };
	struct matmul m = { w, rows, cols, x, n, cols, z, rows, false };

	CHECK(fits && rows <= product_rows(cols));
	if (k->can_dot(type)) {
		fill_raw(type, b, (size_t)bytes, w, rows * cols);
	} else {
		fill(w, rows * cols);
		codec_encode(type, w, NULL, rows * cols, EFFORT_FAST, b);
		codec_decode(type, b, rows * cols, w);
	}
	fill(x, n * cols);
	if (n > k->few(type) || !k->can_dot(type))
		p.packed = packed;
	for (size_t g = 0; p.packed && g < product_groups(k, n); g++)
		product_pack(k, &p, g, packed);
	product_by(k, &p, room);
	matmul_by(&kernels_scalar, &m);
	CHECKF(same(y, z, n * rows * sizeof *y), "%s: %s, %zu x %zu, %zu tokens", k->name, dtype_info(type)->name,
	       rows, cols, n);
}

static size_t three(enum dtype type)
{
	(void)type;
	return 3;
}

static void raw_products(void)
{
	static const enum dtype types[] = { DT_F32, DT_F16, DT_BF16, DT_Q8_0, DT_MXFP4, DT_E4M3_128 };

	for (const struct kernels *const *at = kernels_all, *k; (k = *at) != NULL; at++)
		for (size_t t = 0; t < sizeof types / sizeof *types && kernels_usable(k); t++)
			for (size_t i = 0; i < N_LENGTHS; i++) {
				size_t block = dtype_info(types[t])->block, cols = length(i) / block * block;

				if (block > UNIT)
					cols = (1 + i % 17) * block;
				else if (cols == 0 && i)
					continue;
				struct kernels tiles = *k;	/* whose other path is taken as well */

				tiles.few = three;
				raw_case(&tiles, types[t], 1 + i % 11, cols, 1 + i % 16, i & 1);
				raw_case(k, types[t], 1 + i % 11, cols, 1 + i % 5, true);
				raw_case(k, types[t], 1 + i % 7, cols, i % 2 ? 25 + i % 9 : 1 + i % 24, false);
			}
}

/* Several blocks of tokens; rows longer than a panel; types that are decoded to float32 first. */
static void large_products(void)
{
	static const struct { enum dtype type; size_t rows, cols, n; } cases[] = {
		{ DT_MXFP4, 6, 64, 413 }, { DT_BF16, 5, 70, 161 }, { DT_MXFP4, 9, 4096 + 96, 13 },
		{ DT_BF16, 4, 8197, 9 }, { DT_Q8_0, 8, 4096 + 32, 50 }, { DT_F32, 3, 2049, 30 },
		{ DT_Q6_K, 7, 512, 20 }, { DT_Q4_0, 4, 2080, 1 }, { DT_NVFP4, 5, 192, 31 },
	};

	for (const struct kernels *const *at = kernels_all, *k; (k = *at) != NULL; at++)
		for (size_t i = 0; i < sizeof cases / sizeof *cases && kernels_usable(k); i++) {
			struct kernels tiles = *k;

			tiles.few = three;
			raw_case(&tiles, cases[i].type, cases[i].rows, cases[i].cols, cases[i].n, i & 1);
		}
}

/* Column c of row r: see struct panel. */
static float panel_at(const float *p, bool halves, size_t r, size_t c)
{
	uint32_t word;

	if (!halves)
		return p[c / LANES * TILE_ROWS * LANES + r * LANES + c % LANES];
	word = f32_bits(p[c / UNIT * TILE_ROWS * LANES + r * LANES + c % LANES]);
	return bits_f32(c % UNIT < LANES ? word << 16 : word & 0xFFFF0000);
}

/* A decoded value is codec.c's to the last bit, the sign of zero and subnormals included. */
static void decoding(void)
{
	static const enum dtype types[] = { DT_F32, DT_F16, DT_BF16, DT_Q8_0, DT_MXFP4, DT_E4M3_128 };
	enum { UNITS = 300 };

	EACH_SET(k)
		for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
			uint64_t bytes = 0;
			size_t n = TILE_ROWS * UNITS * UNIT;
			bool fits = dtype_bytes(types[t], TILE_ROWS, UNITS * UNIT, &bytes);
			uint8_t *b = place(0, (size_t)bytes, true);
			float *y = floats(1, n, true), *z = floats(2, n, true), *w = floats(3, n, true);

			CHECK(fits);
			fill_raw(types[t], b, (size_t)bytes, w, n);
			k->decode(types[t], b, (size_t)bytes / TILE_ROWS, UNITS, y);
			for (size_t i = 0; i < n; i++)
				z[i] = panel_at(y, panel_halves(k, types[t]), i / (UNITS * UNIT), i % (UNITS * UNIT));
			CHECKF(same(w, z, n * sizeof *w), "%s: %s", k->name, dtype_info(types[t])->name);
		}
}

/* All codes of MXFP4 with all scales, those whose values are subnormal or beyond float32 included. */
static void codes_and_scales(void)
{
	EACH_SET(k)
		for (unsigned e = 0; e < 255; e++) {
			uint8_t *b = place(0, TILE_ROWS * 17, true);
			float *y = floats(1, TILE_ROWS * UNIT, true), z[UNIT];

			for (unsigned r = 0; r < TILE_ROWS; r++) {
				b[17 * r] = (uint8_t)e;
				for (unsigned i = 0; i < 16; i++)
					b[17 * r + 1 + i] = (uint8_t)(i << 4 | ((i + r + e) & 15));
			}
			k->decode(DT_MXFP4, b, 17, 1, y);
			for (unsigned r = 0; r < TILE_ROWS; r++) {
				codec_decode(DT_MXFP4, b + 17 * r, UNIT, z);
				for (unsigned c = 0; c < UNIT; c++)
					CHECKF(f32_bits(panel_at(y, k->halves, r, c)) == f32_bits(z[c]), "%s: scale %u", k->name, e);
			}
		}
}

/* ---- sums of rows, elementwise ---- */

static void mixing(void)
{
	EACH_SET(k)
		for (size_t i = 0; i < N_LENGTHS; i++) {
			size_t d = length(i), n = i % 6, heads = 1 + i % 18, stride = d + 1, a_stride = n + 2;
			float *rows = floats(0, n * d, true), *a = floats(1, heads * a_stride, true);
			float *y = floats(2, heads * stride, true), *z = floats(3, heads * stride, true);

			fill(rows, n * d);
			fill(a, heads * a_stride);
			fill(y, heads * stride);
			memcpy(z, y, heads * stride * sizeof *y);
			k->mix(y, stride, d, rows, n, a, a_stride, heads);
			kernels_scalar.mix(z, stride, d, rows, n, a, a_stride, heads);
			CHECKF(same(y, z, heads * stride * sizeof *y), "%s: %zu rows of %zu", k->name, n, d);
		}
}

static void spreading(void)
{
	EACH_SET(k)
		for (size_t i = 0; i < N_LENGTHS; i++) {
			size_t d = length(i), n = 1 + i % HYPER_MAX;
			float *s = floats(0, n * d, true), *z = floats(1, n * d, true), *y = floats(2, d, true);
			float *post = floats(3, n, true), *comb = floats(4, n * n, true);

			fill(s, n * d), fill(y, d), fill(post, n), fill(comb, n * n);
			memcpy(z, s, n * d * sizeof *s);
			k->spread(s, d, n, y, post, comb);
			kernels_scalar.spread(z, d, n, y, post, comb);
			CHECKF(same(s, z, n * d * sizeof *s), "%s: %zu streams of %zu", k->name, n, d);
		}
}

static void sums_and_elements(void)
{
	EACH_SET(k)
		for (size_t i = 0; i < N_LENGTHS; i++) {
			size_t n = length(i), bytes = n * sizeof(float);
			float *x = floats(0, n, true), *w = floats(1, n, true);
			float *y = floats(2, n, true), *z = floats(3, n, true);
			double a, b;

			fill(x, n), fill(w, n);
			a = k->dot_wide(w, x, n), b = kernels_scalar.dot_wide(w, x, n);
			CHECKF(same(&a, &b, sizeof a), "%s: wide sum of %zu", k->name, n);
			k->scale(y, x, w, n, 0.3), kernels_scalar.scale(z, x, w, n, 0.3);
			CHECKF(same(y, z, bytes), "%s: scaling %zu", k->name, n);
			k->scale(y, x, NULL, n, 0.3), kernels_scalar.scale(z, x, NULL, n, 0.3);
			CHECKF(same(y, z, bytes), "%s: scaling %zu without weights", k->name, n);
			CHECKF(f32_bits(k->max(x, n)) == f32_bits(kernels_scalar.max(x, n)), "%s: %zu", k->name, n);
			a = k->exp_sum(y, x, n, 0.7f, 2), b = kernels_scalar.exp_sum(z, x, n, 0.7f, 2);
			CHECKF(same(&a, &b, sizeof a) && same(y, z, bytes), "%s: exp of %zu", k->name, n);
			CHECK(k->exp_sum(NULL, x, n, 0.7f, 2) == a || isnan(a));
			memcpy(y, x, bytes), memcpy(z, x, bytes);
			k->swiglu(y, w, n, 10, 0.4f), kernels_scalar.swiglu(z, w, n, 10, 0.4f);
			CHECKF(same(y, z, bytes), "%s: gating %zu", k->name, n);
		}
}

static void pooling(void)
{
	enum { N = 8 };

	EACH_SET(k)
		for (size_t i = 0; i < N_LENGTHS; i++) {
			size_t d = length(i), n = 1 + i % N;
			float *gate = floats(0, n * d, true), *value = floats(1, n * d, true);
			float *y = floats(2, d, true), *z = floats(3, d, true);
			const float *g[N], *b[N], *v[N];

			fill(gate, n * d), fill(value, n * d);
			for (size_t j = 0; j < n; j++)
				g[j] = gate + j * d, v[j] = value + j * d, b[j] = value + (n - 1 - j) * d;
			k->pool(y, d, n, g, b, v);
			kernels_scalar.pool(z, d, n, g, b, v);
			CHECKF(same(y, z, d * sizeof *y), "%s: %zu of %zu", k->name, n, d);
		}
}

/* ---- the exponential function ---- */

static void exp_against_libm(void)
{
	double worst = 0;

	for (uint32_t u = 0; u < 0x42D20000; u += 3301)	/* magnitudes up to 105, both signs */
		for (int sign = 0; sign < 2; sign++) {
			float x = bits_f32(u | (uint32_t)sign << 31), y = kernel_exp(x);
			double exact = exp((double)x), ulp;

			if (exact > 3.4e38) {
				CHECKF(y > 3.3e38f, "%a", (double)x);
				continue;
			}
			ulp = exact < 0x1p-126 ? 0x1p-149 : ldexp(1, ilogb(exact) - 23);
			worst = fmax(worst, fabs((double)y - exact) / ulp);
		}
	CHECKF(worst < 1, "%g ulp", worst);
	CHECK(kernel_exp(0) == 1 && kernel_exp(-0.0f) == 1 && kernel_exp(-INFINITY) == 0);
	CHECK(isinf(kernel_exp(INFINITY)) && isnan(kernel_exp(NAN)) && kernel_exp(-104) == 0);
	CHECK(kernel_exp(-103.5f) == 0x1p-149f && isinf(kernel_exp(89)) && kernel_exp(88.72f) < INFINITY);
}

static void exp_of_every_set(void)
{
	enum { N = 4096 };

	EACH_SET(k)
		for (uint32_t from = 0; from < 0x100000; from += 64) {
			float x[N], y[N], z[N];

			for (uint32_t i = 0; i < N; i += 64)	/* the upper bits pass through all values */
				for (uint32_t j = 0; j < 64; j++)
					x[i + j] = bits_f32((from * 64 + i) << 6 | j * 2654435761u >> 26);
			if (from % 4096)
				continue;
			k->exp_sum(y, x, N, 1, 0), kernels_scalar.exp_sum(z, x, N, 1, 0);
			for (uint32_t i = 0; i < N; i++)
				CHECKF(f32_bits(y[i]) == f32_bits(z[i]) || (isnan(y[i]) && isnan(z[i])), "%s: %a",
				       k->name, (double)x[i]);
		}
}

static void forcing_a_set(void)
{
	struct err e;

	for (size_t i = 0; kernels_all[i]; i++) {
		setenv("INGOT_KERNELS", kernels_all[i]->name, 1);
		CHECK(kernels_usable(kernels_all[i]) ? kernels_init(&e) == OK && kernels() == kernels_all[i] :
						       kernels_init(&e) == ERR_USAGE);
	}
	setenv("INGOT_KERNELS", "mmx", 1);
	CHECK(kernels_init(&e) == ERR_USAGE && strstr(e.msg, "mmx") && kernels() == &kernels_scalar);
	unsetenv("INGOT_KERNELS");
}

int main(void)
{
	open_guarded();
	RUN(float_products);
	RUN(raw_products);
	RUN(large_products);
	RUN(decoding);
	RUN(codes_and_scales);
	RUN(mixing);
	RUN(spreading);
	RUN(sums_and_elements);
	RUN(pooling);
	RUN(exp_against_libm);
	RUN(exp_of_every_set);
	RUN(forcing_a_set);
	return test_done();
}
