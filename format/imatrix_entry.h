/* SPDX-License-Identifier: MIT
 *
 * imatrix_entry.h - an open importance matrix from inside; for imatrix.c and imatrix_read.c alone.
 */
#ifndef FORMAT_IMATRIX_ENTRY_H
#define FORMAT_IMATRIX_ENTRY_H

#include <pthread.h>

#include "format/imatrix.h"

struct kept { float *w; };		/* one matrix's weights, once asked for */
struct entry {
	struct str name;
	char *owned_name;		/* legacy: what name points to */
	uint64_t off, n_values;		/* of the file */
	float *counts;			/* owned (n_counts); legacy: one, the number of calls */
	uint64_t n_counts;
	/* filled in under the lock, for this many columns */
	uint64_t cols;
	float *mean;			/* owned (cols): stands in for matrices that were not reached */
	struct kept *kept;		/* owned (n_values / cols) */
};
struct imatrix {
	struct file file;
	struct gguf gguf;
	struct imatrix_info info;
	char *dataset;			/* owned; legacy */
	struct entry *entries;		/* owned; by name */
	size_t n, cap;
	pthread_mutex_t *lock;		/* owned */
};
#define NAME(x) (int)u64_min((x)->name.n, 120), (x)->name.p	/* for "%.*s" */

struct entry *imatrix_entry(const struct imatrix *m, const char *name);	/* or NULL */
/* n values from value number `first` of an entry on, each finite and not negative. */
enum status imatrix_values(const struct imatrix *m, const struct entry *x, uint64_t first, size_t n, float *out,
			   struct err *e) MUST_USE;

#endif
