/* SPDX-License-Identifier: MIT
 *
 * test_codec_decode.c - every decoder gives the float32 values of the reference implementation:
 * digests of what ggml's dequantize_row_* made of the same pseudo-random blocks; and blocks with
 * values that are not finite are found without decoding.
 */
#include <math.h>

#include "quantize/quantize.h"
#include "tests/test.h"

enum { N = 65536 };

/* at, also: high bytes of the halves in a block, -1 if there are none. */
static const struct { enum dtype t; int at, also; const char *values; } types[] = {
	{ DT_Q4_0, 1, 1, "2ff69e8e4f0249955ae1a2c45d26d422edbba1e67f6a0b947cec97deeac8b423" },
	{ DT_Q4_1, 1, 3, "3a00bd769e863a2c4d227d6cfa834dd5408e213167d5be85c84d6ca020a5a3e2" },
	{ DT_Q5_0, 1, 1, "cfe1c4e34d3e2df7df782140dcf7230d54841872edce43d948e144188b390751" },
	{ DT_Q5_1, 1, 3, "fcc9f7733af5e6f654a2b6a6923605ea874c044ad59c1a547c43e5036908c2f3" },
	{ DT_Q8_0, 1, 1, "9b56909310717445d1220a40be45fc36fcedb826c5a0c3e33464bcebac793a1d" },
	{ DT_Q2_K, 81, 83, "7d9dfff40e508f0176d31601d8f1bf108e457444ec4a1809bfeaa28b92ba2c98" },
	{ DT_Q3_K, 109, 109, "f7653741538fdb9155842d3e0566d5c0df46ae7b608398bf046aeb2b1e471c56" },
	{ DT_Q4_K, 1, 3, "e2762127b7df7a96159f936b4512465a0a540a1f78c18cd1f4ef981f4ce8fe94" },
	{ DT_Q5_K, 1, 3, "ce16b44f00fe0004d0351f97b7ae78107bf7bb8084a386511b0e136daa322cce" },
	{ DT_Q6_K, 209, 209, "7856b7c53f95799fafd5aa209d6082196df7387f276fb44d8cdb98e24bde3475" },
	{ DT_IQ4_NL, 1, 1, "eeaca9e1ccbbd6cff486b6e621ec00e996b762150c011a13ff49d2ba005fae7f" },
	{ DT_IQ4_XS, 1, 1, "b04218e313f4749edd0f7402422ea89e3618ecdf6f818a639f9ee3330cfd105e" },
	{ DT_MXFP4, -1, -1, "49e3c95dc1b50cc652185c280416bf343b08244b2f91e1774ff7e3e16e3c8c0b" },
	{ DT_NVFP4, -1, -1, "da10fd8dd503287593e3bdb3ac9830ab895ae57c2d0eee8c7a80282ef35401f0" },
};
enum { N_TYPES = sizeof types / sizeof *types };

/* Blocks from the high bytes of an LCG, with halves below 2 and E8M0 scales below 2. */
static size_t random_blocks(size_t type, uint8_t *b, size_t n)
{
	const struct dtype_info *info = dtype_info(types[type].t);
	size_t bytes = n / info->block * info->bytes;
	uint32_t s = 1;

	for (size_t k = 0; k < bytes; k++) {
		s = s * 1664525u + 1013904223u;
		b[k] = (uint8_t)(s >> 24);
	}
	for (size_t k = 0; k < bytes; k += info->bytes)
		if (types[type].at >= 0) {
			b[k + (size_t)types[type].at] &= 0xBF;
			b[k + (size_t)types[type].also] &= 0xBF;
		} else if (types[type].t == DT_MXFP4) {
			b[k] &= 0x7F;
		}
	return bytes;
}

static void decoders_give_the_reference_values(void)
{
	static uint8_t b[2 * N];
	static float y[N];

	for (size_t i = 0; i < N_TYPES; i++) {
		struct sha256 h = { 0 };
		struct digest d = { .kind = DIGEST_SHA256 };
		struct err e;
		char hex[65];

		random_blocks(i, b, N);
		CHECK(codec_can_decode(types[i].t));
		codec_decode(types[i].t, b, N, y);
		for (int k = 0; types[i].t == DT_MXFP4 && k < N; k++)
			y[k] += 0.0f;		/* the reference drops the sign of a zero */
		CHECK(sha256_open(&h, &e) == OK);
		sha256_start(&h);
		sha256_add(&h, y, sizeof y);
		sha256_end(&h, d.bytes);
		sha256_close(&h);
		digest_text(&d, hex);
		CHECKF(strcmp(hex, types[i].values) == 0, "%s: %s", dtype_info(types[i].t)->name, hex);
	}
}

/* Every half there is as a scale of the middle one of three blocks. */
static void infinite_scales_are_found_undecoded(void)
{
	static uint8_t b[3 * 256 * 2];
	static float y[3 * 256];

	for (size_t i = 0; i < N_TYPES; i++) {
		const struct dtype_info *info = dtype_info(types[i].t);
		size_t n = 3 * info->block;

		random_blocks(i, b, n);
		CHECKF(codec_first_bad(types[i].t, b, n) == n, "%s", info->name);
		for (uint32_t half = 0; half < 65536 && types[i].at >= 0; half += half % 1024 < 3 ? 1 : 57)
			for (int k = 0; k < 2; k++) {
				size_t at = info->bytes + (size_t)(k ? types[i].also : types[i].at) - 1;

				random_blocks(i, b, n);
				store_le(b + at, 2, half);
				codec_decode(types[i].t, b, n, y);
				CHECKF(codec_first_bad(types[i].t, b, n) == codec_first_not_finite(y, n), "%s %x",
				       info->name, half);
			}
	}
}

static void any_nvfp4_block_is_finite(void)
{
	uint8_t b[36];
	float y[64];

	for (unsigned v = 0; v < 256; v++) {
		memset(b, (int)v, sizeof b);
		codec_decode(DT_NVFP4, b, 64, y);
		CHECK(codec_first_not_finite(y, 64) == 64 && codec_first_bad(DT_NVFP4, b, 64) == 64);
	}
}

int main(void)
{
	RUN(decoders_give_the_reference_values);
	RUN(infinite_scales_are_found_undecoded);
	RUN(any_nvfp4_block_is_finite);
	return test_done();
}
