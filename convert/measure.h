/* SPDX-License-Identifier: MIT
 *
 * measure.h - what a type does to a tensor, told by a sample of its values before anything is
 * converted.
 *
 * Runs of up to MEASURE_RUN values, spread over all rows of all matrices of a tensor, are read,
 * encoded and decoded. Which ones depends on the shape alone, and one thread does a tensor: the same
 * figures for any number of threads.
 */
#ifndef CONVERT_MEASURE_H
#define CONVERT_MEASURE_H

#include "convert/convert.h"
#include "quantize/error.h"

enum { MEASURE_RUN = 1024, MEASURE_RUNS = 16, MEASURE_EXPERT_RUNS = 32 };

struct measured {
	struct error_sums sums;		/* over the sample, without importance */
	double dd, xx;			/* the same squares, times the importance of their columns */
};
/* One tensor in several types. */
struct measure_job {
	const struct plan_tensor *tensor;
	const enum dtype *types;	/* borrowed; all that their rows divide into */
	size_t n_types;
	struct measured *out;		/* borrowed; one a type */
};
struct measure_options {
	enum effort effort;
	const struct importance *importance;	/* NULL: columns count alike */
	unsigned threads;
	volatile int *stop;
	/* NULL or called from the calling thread; bytes of values tried, as float32 */
	void (*progress)(void *arg, uint64_t done, uint64_t total, const char *tensor);
	void *arg;
};
/* ERR_FORMAT with the place of a value that is not finite. */
enum status measure_run(const struct plan *p, const struct measure_job *jobs, size_t n,
			const struct measure_options *o, struct err *e) MUST_USE;
/* Expected relative error: with importance, of the product with inputs like the calibration text's. */
double measured_relative(const struct measured *m);

#endif
