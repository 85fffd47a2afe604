/* SPDX-License-Identifier: MIT
 *
 * collect.h - sums of the squares of what a model's weights are multiplied with, for an importance
 * matrix (format/imatrix.h).
 */
#ifndef RUNTIME_COLLECT_H
#define RUNTIME_COLLECT_H

#include "format/imatrix.h"
#include "runtime/runtime.h"

/* One input that several matrices may share: gate and up, q_a and kv. */
struct site {
	enum role role;			/* of the matrix it is taken at */
	uint32_t layer;
	uint64_t n_matrices, cols;	/* n_matrices: experts, or 1 */
	uint64_t rows_per_token;	/* for one matrix; more than 1 for wo_a, with a row for each group */
	double *sums;			/* owned: (n_matrices, cols), in the order of the text's tokens */
	uint64_t *rows;			/* owned: (n_matrices), inputs so far */
};
/* A matrix that will get its line in the file. */
struct collected { char name[GGUF_MAX_NAME + 1]; uint32_t site; };

enum { COLLECT_MODELS = 2 };		/* the trunk, and its MTP block */
/* Zeroed = closed. */
struct collector {
	struct pool *pool;		/* borrowed */
	const struct model *models[COLLECT_MODELS];	/* borrowed; [1] may be NULL */
	uint32_t *site_at[COLLECT_MODELS];	/* owned: of each want 1 + site, where it is taken; else 0 */
	struct site *sites;		/* owned */
	struct collected *tensors;	/* owned; by name */
	size_t n_sites, n_tensors;
	uint64_t bytes;			/* of the sums, which stay in memory for the whole run */
};
/* All matrices of m that a recipe may quantize, but for the embedding, of which rows are only looked
 * up; with mtp (or NULL) those of that block as well. */
enum status collector_open(struct collector *c, const struct model *m, const struct model *mtp,
			   struct err *e) MUST_USE;
/* Takes the memory for the sums; pool adds them up. */
enum status collector_start(struct collector *c, struct pool *pool, struct err *e) MUST_USE;
void collector_close(struct collector *c);
/* engine.see: adds the inputs of a product. */
void collector_see(void *ctx, const struct linear *l, const float *x);
/* Adds n rows (n_embd) of what meets the output matrix. */
void collector_output(struct collector *c, const float *x, size_t n);
/* imatrix_head.matrix: sums and tokens of one matrix; ctx is the collector. */
enum status collector_matrix(void *ctx, size_t tensor, uint64_t matrix, float *sums, float *count,
			     struct err *e) MUST_USE;

#endif
