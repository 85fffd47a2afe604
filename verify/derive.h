/* SPDX-License-Identifier: MIT
 *
 * derive.h - a GGUF against the checkpoint that it says it was made of.
 */
#ifndef VERIFY_DERIVE_H
#define VERIFY_DERIVE_H

#include <pthread.h>

#include "format/imatrix.h"
#include "format/model.h"
#include "quantize/quantize.h"
#include "verify/verify.h"

struct derive_options {
	const char *source, *imatrix;	/* imatrix: NULL unless the file was encoded with one */
	uint64_t sample;		/* matrices to look at; 0: all, and the digests of all shards */
	struct verify_options run;
};
struct derived_report {
	pthread_mutex_t lock;
	struct log differences;		/* owned; a line each */
	uint64_t n_files, n_keys, n_matrices, n_all, bytes;	/* looked at; n_all: matrices there are */
};
/* g: of the open file f (a set's: of all files, f being a list of them), whose seal has been verified. OK: everything
 * looked at is what the source gives. ERR_MISMATCH: see the differences. The report is to be closed in every case.
 * Memory: some MB a thread. */
enum status verify_derived(struct derived_report *r, const struct gguf *g, const struct file *f,
			   const struct derive_options *o, struct log *notes, struct err *e) MUST_USE;
void derived_report_close(struct derived_report *r);

/* Private to derive.c: what its steps share. */
struct derive {
	struct derived_report *r;
	const struct gguf *g;
	const struct file *f;
	struct verify_options o;
	struct checkpoint ckpt;
	struct arch arch;		/* the source's */
	enum model_part part;
	struct wants wants;
	enum effort effort;
	struct imatrix *imatrix;
	const struct gguf_tensor **tensors;	/* owned; one a want */
	uint64_t *first;		/* owned; number of each want's first matrix */
	uint32_t *of_want;		/* owned; by number of matrix */
	uint64_t n_tasks, sample, start, done;
};

#endif
