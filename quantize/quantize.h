/* SPDX-License-Identifier: MIT
 *
 * quantize.h - numbers <-> blocks. Pure functions over memory: no file, no name, no allocation,
 * no thread. The scalar code is the specification; a faster path gives the same bits.
 */
#ifndef QUANTIZE_QUANTIZE_H
#define QUANTIZE_QUANTIZE_H

#include "format/model.h"

/* ---- floats.h has the conversions of single numbers ---------------------------------------*/

/* ---- codec.c: GGUF's types ----------------------------------------------------------------*/

bool codec_can_decode(enum dtype t);
bool codec_can_encode(enum dtype t);
/* n elements (a whole number of blocks) to the float32 values that ggml reads there, to the bit (but
 * that MXFP4 keeps negative zeros). t must be decodable. */
void codec_decode(enum dtype t, const uint8_t *blocks, size_t n, float *out);
/* Blocks of small squared error to x[n], a whole number of blocks; x must be finite. weight[n], not
 * negative, multiplies each element's squared error (per block only ratios count; a block of zeros
 * counts as equal ones); NULL for equal weights. t must be encodable. */
enum effort { EFFORT_FAST, EFFORT_BEST };
void codec_encode(enum dtype t, const float *x, const float *weight, size_t n, enum effort effort,
		  uint8_t *blocks);
/* First element of x[n] that is NaN or infinite, or n. */
size_t codec_first_not_finite(const float *x, size_t n);

/* ---- finite.c -----------------------------------------------------------------------------*/

/* First of n elements (a whole number of blocks) that is NaN or infinite or under a scale that is,
 * or n. Blocks are decoded only where their scale is extreme. t must be decodable. */
size_t codec_first_bad(enum dtype t, const uint8_t *blocks, size_t n);

/* ---- packed.c: BF16 that was FP8, in half the memory ---------------------------------------*/

/* Rows (n_rows, cols) of BF16 to DT_E4M3_128, in place, if that holds every one of them to the bit;
 * else false, and they are as they were. */
bool pack_rows(uint8_t *rows, uint64_t n_rows, uint64_t cols);

/* ---- transfer.c: elements of a source matrix to blocks of a target type --------------------*/

enum fault_kind {
	FAULT_NONE,
	FAULT_NAN,		/* a NaN code: FP8 0x7F/0xFF, E8M0 0xFF, float NaN */
	FAULT_INFINITE,
	FAULT_INEXACT,		/* the target of a lossless transfer cannot hold the value */
	FAULT_RANGE,		/* an id outside [0, n_expert) */
	FAULT_DUPLICATE,	/* an id twice in one row */
};
const char *fault_text(enum fault_kind k);
/* Where the first bad element is: row-major index in the matrix. */
struct fault { enum fault_kind kind; uint64_t element; };

/* Elements [e0, e1) of a matrix in memory: weight begins at the byte source_weight_range names,
 * scale at scale number s0 of source_scale_range. */
struct source_run {
	const struct source_layout *l;
	const uint8_t *weight, *scale;
	uint64_t e0, e1, s0;
};
/* Exact values as float32. Stops at the first fault. */
struct fault source_decode(const struct source_run *r, float *out);
/* Whether every value that type can hold comes through unchanged, or is a fault. */
bool transfer_is_exact(const struct source_layout *l, enum dtype target);
/* Writes the target blocks of the run; e0 and e1 are multiples of both blocks, the target's and the
 * source's. Exact pairs (FP4 to MXFP4, FP8 to BF16, a type to itself or a wider one) copy bits and
 * report what does not fit; others decode and encode. scratch: TRANSFER_SCRATCH floats of the caller's. */
enum { TRANSFER_SCRATCH = 16384 };
struct fault transfer(const struct source_run *r, enum dtype target, uint8_t *out, float *scratch);
/* How values are encoded where the target cannot hold them as they are. */
struct encoding {
	enum effort effort;
	const float *importance;	/* (cols) or NULL: of each column's squared error, not negative */
};
/* The same with a say in how; transfer encodes with EFFORT_FAST and equal weights. */
struct fault transfer_as(const struct source_run *r, enum dtype target, const struct encoding *how,
			 uint8_t *out, float *scratch) MUST_USE;
/* Routing table rows: I64 or I32 ids to I32; each in [0, n_expert), no id twice in a row. */
struct fault transfer_ids(const struct source_run *r, uint32_t n_expert, uint8_t *out);

#endif
