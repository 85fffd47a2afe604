/* SPDX-License-Identifier: MIT
 *
 * imatrix.h - importance matrices: how much each column of a weight matrix matters, as the mean of its
 * squared inputs over a text. One reader for the two forms there are (docs/calibration.md), and a
 * writer of the newer one.
 */
#ifndef FORMAT_IMATRIX_H
#define FORMAT_IMATRIX_H

#include "format/format.h"

/* ---- imatrix.c, imatrix_read.c -----------------------------------------------------------  */

/* An open importance matrix. Values stay in the file until they are asked for. */
struct imatrix;

/* The GGUF form, or the legacy one (.dat); told by the first bytes. Every value is looked at once:
 * NaN, negative or infinite ones are ERR_FORMAT with their position. NULL in *m on failure. */
enum status imatrix_open(struct imatrix **m, const char *path, struct err *e) MUST_USE;
void imatrix_close(struct imatrix *m);	/* NULL is fine */

/* Importance of the columns of one matrix (expert) of a tensor: cols values, mean squared inputs, not
 * all zero; or *weights NULL: there is no such tensor. A matrix that the text never reached (its
 * count is 0, or all its values are) has the mean over the tensor's others, by tokens; where none was
 * reached, ones. Borrowed until imatrix_close, which is when the memory for it is given back; see
 * imatrix_read. ERR_MISMATCH, naming both sides, where columns or matrices are other than the file's:
 * it was made for another model. Thread-safe. */
enum status imatrix_find(const struct imatrix *m, const char *tensor, uint64_t matrix, uint64_t n_matrices,
			 uint64_t cols, const float **weights, struct err *e) MUST_USE;
/* The same into the caller's memory; nothing is kept but one mean a tensor. *found is false, and
 * weights as it was, where there is no such tensor. */
enum status imatrix_read(const struct imatrix *m, const char *tensor, uint64_t matrix, uint64_t n_matrices,
			 uint64_t cols, float *weights, bool *found, struct err *e) MUST_USE;

struct imatrix_info {
	bool legacy;
	size_t n_tensors;
	uint64_t n_chunks, chunk_tokens;	/* 0 where the file does not say */
	struct str dataset;			/* the first one's name, n = 0 where there is none; borrowed */
	uint64_t n_unreached;			/* matrices whose count is 0 */
};
struct imatrix_info imatrix_info(const struct imatrix *m);
/* Name of tensor i < n_tensors, in order of names; borrowed. */
struct str imatrix_name(const struct imatrix *m, size_t i);

/* ---- imatrix_write.c ---------------------------------------------------------------------- */

struct imatrix_tensor { const char *name; uint64_t n_matrices, cols; };
struct imatrix_head {
	struct str dataset, text_sha256;	/* names the text: file name, digest in hex */
	uint32_t n_chunks, chunk_tokens;
	const struct imatrix_tensor *tensors;	/* borrowed; in the order of the file */
	size_t n_tensors;
	/* Sums of squared inputs of one matrix, into sums (cols), and how many tokens they are of. */
	enum status (*matrix)(void *ctx, size_t tensor, uint64_t matrix, float *sums, float *count,
			      struct err *e);
	void *ctx;
};
/* The GGUF form, in two steps around the work that makes the sums: names and sizes are settled first,
 * and the place on the disk is taken (output.c); then the sums are asked for, and the file gets its
 * name when it is complete. h and what it points to are borrowed until the end. */
struct imatrix_writer {
	const struct imatrix_head *h;
	struct output out;
	uint64_t *off, data_off, size;	/* off owned: of each tensor's sums and counts */
};
#define IMATRIX_WRITER_NONE ((struct imatrix_writer){ .out = OUTPUT_NONE })
enum status imatrix_begin(struct imatrix_writer *w, const char *path, bool force, const struct imatrix_head *h,
			  struct err *e) MUST_USE;
enum status imatrix_end(struct imatrix_writer *w, struct err *e) MUST_USE;
void imatrix_abandon(struct imatrix_writer *w);	/* safe after imatrix_end, and on NONE */

#endif
