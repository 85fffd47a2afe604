/* SPDX-License-Identifier: MIT
 *
 * test_weights.c - rows of tensors as they reach the kernels: the bundled sample, as a checkpoint
 * and as the lossless GGUF made of it here.
 */
#include <unistd.h>

#include "convert/convert.h"
#include "quantize/floats.h"
#include "runtime/runtime.h"
#include "tests/test.h"

#define SAMPLE "samples/v4-tiny"

static char dir[] = "/tmp/ingot-weights-XXXXXX";
static char gguf_path[sizeof dir + 16];

static void make_gguf(void)
{
	struct recipe r = { 0 };
	struct convert_options o = { .source = SAMPLE, .out = gguf_path, .recipe = &r, .no_mtp = true,
				     .run = { .threads = 2, .max_memory = 1 << 28 } };
	struct convert_result result;
	struct log problems = { 0 }, notes = { 0 };
	struct err e = { 0 };

	CHECK(recipe_add_named(&r, "lossless", &e) == OK);
	CHECKF(convert_run(&result, &o, &problems, &notes, &e) == OK, "%s", e.msg);
	convert_close(&result);
	recipe_close(&r);
	log_close(&problems);
	log_close(&notes);
}

/* Norms and the like are BF16 in one and float32 in the other. */
static void same_values(const struct weight *a, const struct weight *b)
{
	struct weight_scratch s = { 0 };
	struct err e = { 0 };
	size_t n = (size_t)a->cols * (size_t)a->rows;
	float *x = mem_new(n, 4, "x", &e), *y = mem_new(n, 4, "y", &e);

	CHECKF(weight_rows(a, 0, 0, a->rows, x, &s, &e) == OK, "%s", e.msg);
	CHECKF(weight_rows(b, 0, 0, b->rows, y, &s, &e) == OK, "%s", e.msg);
	CHECKF(memcmp(x, y, n * sizeof *x) == 0, "%s", a->want->name);
	weight_scratch_close(&s);
	free(x);
	free(y);
}

/* All of one matrix, and some rows of it alone, as blocks. */
static void same_matrix(const struct weight *a, const struct weight *b, uint64_t matrix)
{
	struct weight_scratch s[3] = { { 0 }, { 0 }, { 0 } };
	uint64_t bytes, r0 = a->rows / 3, some;
	struct rows x, y, z;
	struct err e = { 0 };

	CHECKF(weight_raw(a, matrix, 0, a->rows, &x, &s[0], &e) == OK, "%s", e.msg);
	CHECKF(weight_raw(b, matrix, 0, b->rows, &y, &s[1], &e) == OK, "%s", e.msg);
	CHECKF(x.type == y.type, "%s: %s and %s", a->want->name, dtype_info(x.type)->name, dtype_info(y.type)->name);
	CHECK(dtype_bytes(x.type, a->rows, a->cols, &bytes) && dtype_bytes(x.type, r0, a->cols, &some));
	CHECKF(memcmp(x.bytes, y.bytes, bytes) == 0, "%s", a->want->name);
	CHECKF(weight_raw(a, matrix, r0, a->rows, &z, &s[2], &e) == OK, "%s", e.msg);
	CHECKF(z.type == x.type && memcmp(z.bytes, x.bytes + some, bytes - some) == 0, "%s", a->want->name);
	for (int i = 0; i < 3; i++)
		weight_scratch_close(&s[i]);
}

static void a_source_gives_the_blocks_of_its_lossless_file(void)
{
	struct model a, b;
	struct log notes = { 0 };
	struct err e = { 0 };
	size_t n_types[DT_COUNT] = { 0 };

	CHECKF(model_open(&a, SAMPLE, &notes, &e) == OK, "%s", e.msg);
	CHECKF(model_open(&b, gguf_path, &notes, &e) == OK, "%s", e.msg);
	for (size_t i = 0; i < a.wants.n; i++) {
		const struct want *w = &a.wants.w[i];
		struct weight x, y;

		if (role_class(w->role) == CLASS_IDS)
			continue;
		CHECK(weight_bind(&x, &a, w->role, w->layer, &e) == OK);
		CHECK(weight_bind(&y, &b, w->role, w->layer, &e) == OK);
		n_types[y.tensor->dtype]++;
		if (role_class(w->role) == CLASS_SMALL)
			same_values(&x, &y);
		for (uint64_t k = 0; k < x.n_matrices && role_class(w->role) != CLASS_SMALL; k++)
			same_matrix(&x, &y, k);
	}
	CHECK(n_types[DT_F32] && n_types[DT_BF16] && n_types[DT_MXFP4]);
	model_close(&a);
	model_close(&b);
	log_close(&notes);
}

int main(void)
{
	if (!mkdtemp(dir))
		return 1;
	snprintf(gguf_path, sizeof gguf_path, "%s/t.gguf", dir);
	make_gguf();
	RUN(a_source_gives_the_blocks_of_its_lossless_file);
	unlink(gguf_path);
	rmdir(dir);
	return test_done();
}
