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
	size_t at;			/* where its sums (n_matrices, cols) are in those of its layer */
	uint64_t *rows;			/* owned: (n_matrices), inputs so far */
};
/* A matrix that will get its line in the file. */
struct collected { char name[GGUF_MAX_NAME + 1]; uint32_t site; };

enum { COLLECT_MODELS = 2 };		/* the trunk, and its MTP block */
/* Zeroed is NOT closed (a descriptor): start from COLLECTOR_NONE. */
struct collector {
	struct pool *pool;		/* borrowed */
	const struct model *models[COLLECT_MODELS];	/* borrowed; [1] may be NULL */
	uint32_t *site_at[COLLECT_MODELS];	/* owned: of each want 1 + site, where it is taken; else 0 */
	struct site *sites;		/* owned */
	struct collected *tensors;	/* owned; by name */
	size_t n_sites, n_tensors;
	uint32_t n_layers;		/* runs of sites that are in memory together; the output is one */
	uint64_t most;			/* sums of the largest; each has this much room in the scratch file */
	uint64_t bytes;			/* of memory: one layer's sums, and counts */
	struct scratch scratch;		/* all layers' sums, but for the one at work */
	uint32_t layer;			/* ... which is this, if sums is not NULL */
	double *sums;			/* owned (most) */
};
#define COLLECTOR_NONE ((struct collector){ .scratch = SCRATCH_NONE })
/* All matrices of m that a recipe may quantize, but for the embedding, of which rows are only looked
 * up; with mtp (or NULL) those of that block as well. */
enum status collector_open(struct collector *c, const struct model *m, const struct model *mtp,
			   struct err *e) MUST_USE;
/* Takes the memory, and a scratch file beside that path. Before a run, which has to set c->pool. */
enum status collector_start(struct collector *c, const char *beside, struct err *e) MUST_USE;
void collector_close(struct collector *c);
/* engine.see: adds the inputs of a product. */
enum status collector_see(void *ctx, const struct linear *l, const float *x, struct err *e) MUST_USE;
/* Adds n rows (n_embd) of what meets the output matrix. */
enum status collector_output(struct collector *c, const float *x, size_t n, struct err *e) MUST_USE;
/* imatrix_head.matrix: sums and tokens of one matrix; ctx is the collector. */
enum status collector_matrix(void *ctx, size_t tensor, uint64_t matrix, float *sums, float *count,
			     struct err *e) MUST_USE;

#endif
