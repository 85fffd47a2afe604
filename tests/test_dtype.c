/* SPDX-License-Identifier: MIT
 *
 * test_dtype.c - the table of number types against golden sizes: ids and whole tensors counted in
 * bits per weight, which is how both formats' own documents state them.
 */
#include "format/format.h"

#include "tests/test.h"

/* bits for `n` elements, as the formats' documents give them */
static const struct { const char *name; int id; bool plain; unsigned n, bits; } golden[] = {
	{ "F64", 28, true, 1, 64 }, { "F32", 0, true, 1, 32 }, { "F16", 1, true, 1, 16 },
	{ "BF16", 30, true, 1, 16 }, { "I64", 27, true, 1, 64 }, { "I32", 26, true, 1, 32 },
	{ "I16", 25, true, 1, 16 }, { "I8", 24, true, 1, 8 }, { "U64", -1, true, 1, 64 },
	{ "U32", -1, true, 1, 32 }, { "U16", -1, true, 1, 16 }, { "U8", -1, true, 1, 8 },
	{ "BOOL", -1, true, 1, 8 }, { "C64", -1, true, 1, 64 }, { "F8_E4M3", -1, true, 1, 8 },
	{ "F8_E5M2", -1, true, 1, 8 }, { "F8_E8M0", -1, true, 1, 8 },
	{ "F8_E4M3FNUZ", -1, true, 1, 8 }, { "F8_E5M2FNUZ", -1, true, 1, 8 },
	{ "F6_E2M3", -1, true, 4, 24 }, { "F6_E3M2", -1, true, 4, 24 }, { "F4", -1, true, 2, 8 },
	{ "Q4_0", 2, false, 32, 144 }, { "Q4_1", 3, false, 32, 160 }, { "Q5_0", 6, false, 32, 176 },
	{ "Q5_1", 7, false, 32, 192 }, { "Q8_0", 8, false, 32, 272 }, { "Q8_1", 9, false, 32, 288 },
	{ "Q2_K", 10, false, 256, 672 }, { "Q3_K", 11, false, 256, 880 },
	{ "Q4_K", 12, false, 256, 1152 }, { "Q5_K", 13, false, 256, 1408 },
	{ "Q6_K", 14, false, 256, 1680 }, { "Q8_K", 15, false, 256, 2336 },
	{ "IQ2_XXS", 16, false, 256, 528 }, { "IQ2_XS", 17, false, 256, 592 },
	{ "IQ3_XXS", 18, false, 256, 784 }, { "IQ1_S", 19, false, 256, 400 },
	{ "IQ4_NL", 20, false, 32, 144 }, { "IQ3_S", 21, false, 256, 880 },
	{ "IQ2_S", 22, false, 256, 656 }, { "IQ4_XS", 23, false, 256, 1088 },
	{ "IQ1_M", 29, false, 256, 448 }, { "TQ1_0", 34, false, 256, 432 },
	{ "TQ2_0", 35, false, 256, 528 }, { "MXFP4", 39, false, 32, 136 },
	{ "NVFP4", 40, false, 64, 288 }, { "Q1_0", 41, false, 128, 144 },
	{ "Q2_0", 42, false, 64, 144 }, { "E4M3_128", -1, false, 128, 1032 },
};
enum { N_GOLDEN = sizeof golden / sizeof golden[0] };

static void test_table_is_golden(void)
{
	CHECK(N_GOLDEN == DT_COUNT - 1);
	for (size_t i = 0; i < N_GOLDEN; i++) {
		enum dtype t = dtype_by_name(golden[i].name, false);
		const struct dtype_info *d = dtype_info(t);
		CHECKF(t != DT_NONE && d, "%s", golden[i].name);
		CHECKF(strcmp(d->name, golden[i].name) == 0, "%s", golden[i].name);
		CHECKF(d->gguf_id == golden[i].id, "%s", golden[i].name);
		CHECKF(d->in_safetensors == golden[i].plain, "%s", golden[i].name);
		CHECKF(d->block == golden[i].n, "%s", golden[i].name);
		CHECKF(d->bytes * 8u == golden[i].bits, "%s", golden[i].name);
	}
	CHECK(dtype_info(DT_NONE) != NULL);
	CHECK(dtype_info(DT_COUNT) == NULL);
}

static void test_ids(void)
{
	unsigned known = 0;

	for (uint32_t id = 0; id < 1000; id++) {
		enum dtype t = dtype_by_gguf_id(id);
		if (t == DT_NONE)
			continue;
		known++;
		CHECK(dtype_info(t)->gguf_id == (int)id);
		CHECK(id <= 42);
	}
	CHECK(known == 35);
	static const uint32_t removed[] = { 4, 5, 31, 32, 33, 36, 37, 38, 43, 0x80000000, UINT32_MAX };
	for (size_t i = 0; i < sizeof removed / sizeof removed[0]; i++)
		CHECKF(dtype_by_gguf_id(removed[i]) == DT_NONE, "id %u", removed[i]);
}

static void test_names(void)
{
	CHECK(dtype_by_name("q4_k", false) == DT_NONE);
	CHECK(dtype_by_name("q4_k", true) == DT_Q4_K);
	CHECK(dtype_by_name("Q4-K", true) == DT_Q4_K);
	CHECK(dtype_by_name("q4k", true) == DT_Q4_K);
	CHECK(dtype_by_name("iq2xxs", true) == DT_IQ2_XXS);
	CHECK(dtype_by_name("f8_e4m3fnuz", true) == DT_F8_E4M3FNUZ);
	CHECK(dtype_by_name("F8_E4M3", false) == DT_F8_E4M3);
	CHECK(dtype_by_name("f32", false) == DT_NONE);
	CHECK(dtype_by_name("bf16", true) == DT_BF16);
	CHECK(dtype_by_name("F3", true) == DT_NONE);
	CHECK(dtype_by_name("F322", true) == DT_NONE);
	CHECK(dtype_by_name("", true) == DT_NONE);
	CHECK(dtype_by_name("_", true) == DT_NONE);
	CHECK(dtype_by_name("", false) == DT_NONE);
	CHECK(dtype_by_name("NONE", true) == DT_NONE);
}

static bool size_is(enum dtype t, uint64_t n_rows, uint64_t row, uint64_t want)
{
	uint64_t n = 99;

	return dtype_bytes(t, n_rows, row, &n) && n == want;
}

static bool no_size(enum dtype t, uint64_t n_rows, uint64_t row)
{
	uint64_t n;

	return !dtype_bytes(t, n_rows, row, &n);
}

static void test_sizes(void)
{
	CHECK(size_is(DT_BF16, 129280, 4096, 1059061760));
	CHECK(size_is(DT_Q4_K, 2, 512, 576));
	CHECK(size_is(DT_MXFP4, 2048, 4096, 4456448));	/* one expert matrix at 4.25 bits */
	CHECK(size_is(DT_C64, 1, 3, 24));
	CHECK(size_is(DT_F32, 0, 7, 0));
	CHECK(size_is(DT_F32, 7, 0, 0));
	CHECK(size_is(DT_Q6_K, 3, 0, 0));
	/* rows of blocks are whole, sub-byte tensors are whole */
	CHECK(no_size(DT_Q8_0, 32, 1));
	CHECK(no_size(DT_Q4_K, 2, 128));
	CHECK(size_is(DT_F4, 2, 3, 3));
	CHECK(no_size(DT_F4, 1, 3));
	CHECK(size_is(DT_F6_E2M3, 2, 2, 3));
	CHECK(no_size(DT_F6_E3M2, 1, 3));
	CHECK(no_size(DT_F6_E3M2, 3, 2));
	CHECK(no_size(DT_NONE, 1, 1));
	CHECK(no_size(DT_COUNT, 1, 1));
}

static void test_overflow(void)
{
	CHECK(no_size(DT_U8, UINT64_C(1) << 32, UINT64_C(1) << 32));
	CHECK(no_size(DT_F32, 1, UINT64_C(1) << 62));
	CHECK(no_size(DT_F64, UINT64_C(1) << 61, 1));
	CHECK(size_is(DT_U8, 1, UINT64_MAX, UINT64_MAX));
	/* 2^63 elements of half a byte: no intermediate product in bits may wrap */
	CHECK(size_is(DT_F4, 1, UINT64_C(1) << 63, UINT64_C(1) << 62));
	CHECK(size_is(DT_Q8_K, 1, UINT64_C(1) << 62, (UINT64_C(1) << 54) * 292));
	CHECK(no_size(DT_Q8_K, 1, UINT64_MAX - 255));
}

int main(void)
{
	RUN(test_table_is_golden);
	RUN(test_ids);
	RUN(test_names);
	RUN(test_sizes);
	RUN(test_overflow);
	return test_done();
}
