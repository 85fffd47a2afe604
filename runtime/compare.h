/* SPDX-License-Identifier: MIT
 *
 * compare.h - tensors of two models, value by value: how far they are apart, and where.
 *
 * Any GGUF, of whatever architecture, and any checkpoint of this one. Tensors are paired by their
 * names in a GGUF. Figures are summed row by row and then in the order of pieces whose size depends on
 * the shape alone, so they are the same for every number of threads.
 */
#ifndef RUNTIME_COMPARE_H
#define RUNTIME_COMPARE_H

#include "quantize/error.h"
#include "runtime/runtime.h"

/* ---- tensors.c: a model as a list of tensors with values ------------------------------------*/

struct tensor {
	struct str name;		/* in a GGUF */
	const char *type;		/* a GGUF type's name, or FP8 or FP4 of a checkpoint */
	enum dtype blocks;		/* the type where the file holds a GGUF's blocks, else DT_NONE */
	uint64_t n_matrices, rows, cols;	/* vectors are one row */
	uint64_t bytes;			/* in the file, scales included */
	const struct gguf_tensor *gguf;	/* borrowed; NULL for a checkpoint's */
	const struct weight *weight;	/* borrowed; NULL for a GGUF's */
};
/* Zeroed is NOT closed (descriptors): start from TENSORS_NONE. Not to be moved while open. */
struct tensors {
	char *path;			/* owned */
	bool is_gguf;
	struct gguf_set set;		/* a GGUF's files */
	struct model model;		/* a checkpoint */
	struct tensor *v;		/* owned; in the order of the file */
	const struct tensor **by_name;	/* owned */
	size_t n;
};
#define TENSORS_NONE ((struct tensors){ .model = MODEL_NONE })
/* part: which of a checkpoint's; ignored for a GGUF, which has what it has. */
enum status tensors_open(struct tensors *l, const char *path, enum model_part part, const struct source_options *source,
			 struct log *notes, struct err *e) MUST_USE;
const struct tensor *tensors_find(const struct tensors *l, struct str name);
bool tensors_are_mtp(const struct tensors *l);	/* a GGUF with an MTP block alone */
void tensors_close(struct tensors *l);
bool tensor_readable(const struct tensor *t);
/* Buffers of a reader; zeroed = empty; one thread at a time. */
struct tensor_scratch { struct weight_scratch weight; uint8_t *raw; size_t cap; };
void tensor_scratch_close(struct tensor_scratch *s);
/* Rows [r0, r1) of matrix, unchecked: NaN where a code stands for no number. *blocks points at what they
 * were decoded from, until the scratch is used again; NULL where that are no blocks of t->blocks. */
enum status tensor_values(const struct tensors *l, const struct tensor *t, uint64_t matrix, uint64_t r0,
			  uint64_t r1, float *out, const uint8_t **blocks, struct tensor_scratch *s,
			  struct err *e) MUST_USE;

/* ---- compare.c -------------------------------------------------------------------------------*/

/* Sums over one matrix of a stacked tensor: one expert. */
struct matrix_error { double xx, dd; uint64_t odd; };	/* odd: pairs with a value that is not finite */
double matrix_relative(const struct matrix_error *m);	/* error_relative of it; infinite where a pair is odd */
/* A tensor that both have. a and b describe the same rows, though one may see them as several matrices. */
struct pair {
	const struct tensor *a, *b;
	bool same_shape;		/* else nothing below is known */
	uint64_t n_matrices, rows, cols;	/* what positions are counted in */
	struct error_sums sums;		/* a is the source, b what became of it */
	double worst_row;		/* the largest relative error of a row */
	uint64_t worst_row_at;		/* counted over all matrices */
	struct matrix_error *experts;	/* owned: (n_matrices), of stacked experts alone; else NULL */
};
/* A tensor's relative error; infinite where a value is not finite, -1 where shapes differ. */
double pair_relative(const struct pair *p);
struct comparison {
	struct tensors a, b;
	struct pair *pairs;		/* owned; in a's order */
	size_t n_pairs;
	const struct tensor **only_a, **only_b;	/* owned */
	size_t n_only_a, n_only_b, n_other_shape;
};
struct compare_options {
	const char *a, *b;
	const char *tensors;		/* regular expression that names match, or NULL: all */
	bool mtp;			/* of checkpoints the MTP block instead of the trunk */
	const struct source_options *source;	/* for checkpoints; may be NULL */
	unsigned threads;
	uint64_t max_memory;
	volatile int *stop;
	void (*progress)(void *arg, uint64_t done, uint64_t total, const char *tensor);	/* bytes of b */
	void *arg;
};
/* Opens both and pairs their tensors. c is to be closed whatever is returned. ERR_UNSUPPORTED where a
 * type that is needed cannot be decoded. */
enum status compare_open(struct comparison *c, const struct compare_options *o, struct log *notes,
			 struct err *e) MUST_USE;
enum status compare_run(struct comparison *c, const struct compare_options *o, struct err *e) MUST_USE;
bool pair_equal(const struct pair *p);	/* every value is finite and the same on both sides */
void compare_close(struct comparison *c);

#endif
