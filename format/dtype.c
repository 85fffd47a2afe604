/* SPDX-License-Identifier: MIT
 *
 * dtype.c - THE table of number types: how they are called, what GGUF's id is, and how many bytes
 * a block of how many elements takes.
 *
 * Invariant: a type is one row here and nowhere else; a size comes from dtype_bytes alone.
 * Spec: the safetensors format for plain types (bits per element: F4 4, F6 6, C64 two floats),
 * ggml's type ids and block structures for the rest. Types below a byte are blocks of the fewest
 * elements that fill whole bytes. GGUF has no unsigned, boolean, complex or FP8 type.
 */
#include "format/format.h"

#include <string.h>

/* Blocks as the sums of their parts: half-precision scales (2 bytes each), then the rest. */
static const struct dtype_info table[DT_COUNT] = {
	[DT_NONE] = { "NONE", -1, false, 1, 0 },
	[DT_F64] = { "F64", 28, true, 1, 8 },
	[DT_F32] = { "F32", 0, true, 1, 4 },
	[DT_F16] = { "F16", 1, true, 1, 2 },
	[DT_BF16] = { "BF16", 30, true, 1, 2 },
	[DT_I64] = { "I64", 27, true, 1, 8 },
	[DT_I32] = { "I32", 26, true, 1, 4 },
	[DT_I16] = { "I16", 25, true, 1, 2 },
	[DT_I8] = { "I8", 24, true, 1, 1 },
	[DT_U64] = { "U64", -1, true, 1, 8 },
	[DT_U32] = { "U32", -1, true, 1, 4 },
	[DT_U16] = { "U16", -1, true, 1, 2 },
	[DT_U8] = { "U8", -1, true, 1, 1 },
	[DT_BOOL] = { "BOOL", -1, true, 1, 1 },
	[DT_C64] = { "C64", -1, true, 1, 8 },
	[DT_F8_E4M3] = { "F8_E4M3", -1, true, 1, 1 },
	[DT_F8_E5M2] = { "F8_E5M2", -1, true, 1, 1 },
	[DT_F8_E8M0] = { "F8_E8M0", -1, true, 1, 1 },
	[DT_F8_E4M3FNUZ] = { "F8_E4M3FNUZ", -1, true, 1, 1 },
	[DT_F8_E5M2FNUZ] = { "F8_E5M2FNUZ", -1, true, 1, 1 },
	[DT_F6_E2M3] = { "F6_E2M3", -1, true, 4, 3 },
	[DT_F6_E3M2] = { "F6_E3M2", -1, true, 4, 3 },
	[DT_F4] = { "F4", -1, true, 2, 1 },

	[DT_Q4_0] = { "Q4_0", 2, false, 32, 2 + 16 },
	[DT_Q4_1] = { "Q4_1", 3, false, 32, 4 + 16 },
	[DT_Q5_0] = { "Q5_0", 6, false, 32, 2 + 4 + 16 },
	[DT_Q5_1] = { "Q5_1", 7, false, 32, 4 + 4 + 16 },
	[DT_Q8_0] = { "Q8_0", 8, false, 32, 2 + 32 },
	[DT_Q8_1] = { "Q8_1", 9, false, 32, 4 + 32 },
	[DT_Q2_K] = { "Q2_K", 10, false, 256, 4 + 16 + 64 },
	[DT_Q3_K] = { "Q3_K", 11, false, 256, 2 + 32 + 64 + 12 },
	[DT_Q4_K] = { "Q4_K", 12, false, 256, 4 + 12 + 128 },
	[DT_Q5_K] = { "Q5_K", 13, false, 256, 4 + 12 + 32 + 128 },
	[DT_Q6_K] = { "Q6_K", 14, false, 256, 2 + 128 + 64 + 16 },
	[DT_Q8_K] = { "Q8_K", 15, false, 256, 4 + 256 + 32 },
	[DT_IQ2_XXS] = { "IQ2_XXS", 16, false, 256, 2 + 64 },
	[DT_IQ2_XS] = { "IQ2_XS", 17, false, 256, 2 + 64 + 8 },
	[DT_IQ3_XXS] = { "IQ3_XXS", 18, false, 256, 2 + 96 },
	[DT_IQ1_S] = { "IQ1_S", 19, false, 256, 2 + 32 + 16 },
	[DT_IQ4_NL] = { "IQ4_NL", 20, false, 32, 2 + 16 },
	[DT_IQ3_S] = { "IQ3_S", 21, false, 256, 2 + 104 + 4 },
	[DT_IQ2_S] = { "IQ2_S", 22, false, 256, 2 + 64 + 16 },
	[DT_IQ4_XS] = { "IQ4_XS", 23, false, 256, 2 + 2 + 4 + 128 },
	[DT_IQ1_M] = { "IQ1_M", 29, false, 256, 32 + 16 + 8 },
	[DT_TQ1_0] = { "TQ1_0", 34, false, 256, 2 + 48 + 4 },
	[DT_TQ2_0] = { "TQ2_0", 35, false, 256, 2 + 64 },
	[DT_MXFP4] = { "MXFP4", 39, false, 32, 1 + 16 },
	[DT_NVFP4] = { "NVFP4", 40, false, 64, 4 + 32 },
	[DT_Q1_0] = { "Q1_0", 41, false, 128, 2 + 16 },
	[DT_Q2_0] = { "Q2_0", 42, false, 64, 2 + 16 },

	[DT_E4M3_128] = { "E4M3_128", -1, false, 128, 128 + 1 },
};

const struct dtype_info *dtype_info(enum dtype t)
{
	return (unsigned)t < DT_COUNT ? &table[t] : NULL;
}

/* The next character that counts, in one case; advances *s past it. */
static int fold_next(const char **s)
{
	while (**s == '-' || **s == '_')
		++*s;
	char c = **s;
	if (c)
		++*s;
	/* not toupper: what it does is the locale's */
	return c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c;
}

static bool same_folded(const char *a, const char *b)
{
	int c;

	do {
		c = fold_next(&a);
		if (c != fold_next(&b))
			return false;
	} while (c);
	return true;
}

enum dtype dtype_by_name(const char *name, bool fold)
{
	for (int t = DT_NONE + 1; t < DT_COUNT; t++)
		if (fold ? same_folded(name, table[t].name) : strcmp(name, table[t].name) == 0)
			return (enum dtype)t;
	return DT_NONE;
}

enum dtype dtype_by_gguf_id(uint32_t id)
{
	for (int t = DT_NONE + 1; t < DT_COUNT; t++)
		if (table[t].gguf_id >= 0 && (uint32_t)table[t].gguf_id == id)
			return (enum dtype)t;
	return DT_NONE;
}

bool dtype_bytes(enum dtype t, uint64_t n_rows, uint64_t row, uint64_t *bytes)
{
	const struct dtype_info *d = dtype_info(t);
	uint64_t n;

	*bytes = 0;
	if (!d || d->bytes == 0 || !u64_mul(n_rows, row, &n))
		return false;
	if ((d->in_safetensors ? n : row) % d->block != 0)
		return false;
	return u64_mul(n / d->block, d->bytes, bytes);
}
