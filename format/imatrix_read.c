/* SPDX-License-Identifier: MIT
 *
 * imatrix_read.c - the importance of one matrix's columns, out of an open importance matrix.
 *
 * Values are divided by the count they are of, so that experts can be compared. Reading a matrix takes
 * a few kilobytes from the file; what has to be kept for the next reader is under one lock.
 */
#include "format/imatrix_entry.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What the caller's tensor is to an entry. */
struct view {
	const struct imatrix *m;
	struct entry *x;
	uint64_t n_matrices, cols;
	uint64_t groups;		/* runs of columns in the file that are one here; usually 1 */
};

static bool is_grouped(const struct view *v)
{
	static const char suffix[] = ".attn_output_a.weight";
	size_t n = sizeof suffix - 1;

	return v->n_matrices == 1 && v->x->n_counts == 1 && v->x->n_values % v->cols == 0 &&
	       v->x->name.n > n && memcmp(v->x->name.p + v->x->name.n - n, suffix, n) == 0;
}

static enum status look(struct view *v, const char *tensor, uint64_t matrix, struct err *e)
{
	const struct entry *x = v->x;
	uint64_t want;

	if (v->cols == 0 || matrix >= v->n_matrices || !u64_mul(v->n_matrices, v->cols, &want))
		return err_set(e, ERR_USAGE, "%s: importance matrix (tensor %s): matrix %" PRIu64 " of %" PRIu64 " with "
			       "%" PRIu64 " columns", v->m->file.path, tensor, matrix, v->n_matrices, v->cols);
	v->groups = is_grouped(v) ? x->n_values / v->cols : 1;
	if (v->groups == 1 && (x->n_values != want || (x->n_counts != 1 && x->n_counts != v->n_matrices)))
		return err_set(e, ERR_MISMATCH, "%s: importance matrix (tensor %s): it has %" PRIu64 " x %" PRIu64
			       " values, the model's tensor %" PRIu64 " x %" PRIu64 " columns; it was made for "
			       "another model", v->m->file.path, tensor, x->n_counts, x->n_values / x->n_counts,
			       v->n_matrices, v->cols);
	return OK;
}

static float count_of(const struct view *v, uint64_t matrix)
{
	return v->x->counts[v->x->n_counts == 1 ? 0 : matrix];
}

/* Means of one matrix, and whether the text reached it. */
static enum status read_means(const struct view *v, uint64_t matrix, float *out, bool *reached, struct err *e)
{
	float count = count_of(v, matrix);
	bool zero = true, one = v->n_matrices > 1 && v->x->n_counts == 1;
	enum status st;

	TRY(imatrix_values(v->m, v->x, matrix * v->cols, (size_t)v->cols, out, e));
	for (uint64_t c = 0; c < v->cols && count > 0; c++) {
		out[c] /= count;
		zero &= out[c] == 0;
		one &= out[c] == 1;
	}
	*reached = count > 0 && !zero && !one;
out:
	return st;
}

/* The mean over groups of columns. */
static enum status read_groups(const struct view *v, float *out, bool *reached, struct err *e)
{
	struct view one = *v;
	float *part = mem_new((size_t)v->cols, sizeof *part, "an importance matrix", e);
	double *sum = mem_new((size_t)v->cols, sizeof *sum, "an importance matrix", e);
	bool some;
	enum status st = part && sum ? OK : ERR_NOMEM;

	*reached = false;
	for (uint64_t g = 0; g < v->groups && st == OK; g++) {
		st = read_means(&one, g, part, &some, e);
		for (uint64_t c = 0; c < v->cols && st == OK && some; c++)
			sum[c] += (double)part[c] / (double)v->groups;
	}
	for (uint64_t c = 0; c < v->cols && st == OK; c++) {
		out[c] = (float)sum[c];
		*reached |= out[c] > 0;
	}
	free(part);
	free(sum);
	return st;
}

/* out: the mean over the matrices that were reached, by tokens; ones if there is none. */
static enum status mean_of_others(const struct view *v, float *out, struct err *e)
{
	double *sum = mem_new((size_t)v->cols, sizeof *sum, "an importance matrix", e), n = 0;
	enum status st = sum ? OK : ERR_NOMEM;
	bool reached, some = false;

	for (uint64_t i = 0; i < v->n_matrices && v->groups == 1 && st == OK; i++) {
		st = read_means(v, i, out, &reached, e);
		if (st != OK || !reached)
			continue;
		n += (double)count_of(v, i);
		for (uint64_t c = 0; c < v->cols; c++)
			sum[c] += (double)out[c] * (double)count_of(v, i);
	}
	for (uint64_t c = 0; c < v->cols && st == OK; c++) {
		out[c] = n > 0 ? (float)(sum[c] / n) : 0;
		some |= out[c] > 0;
	}
	for (uint64_t c = 0; c < v->cols && st == OK && !some; c++)
		out[c] = 1;
	free(sum);
	return st;
}

/* One shape an entry: what is kept for it has that. Called under the lock. */
static enum status set_shape(const struct view *v, const char *tensor, struct err *e)
{
	if (v->x->cols == 0)
		v->x->cols = v->cols;
	if (v->x->cols != v->cols)
		return err_set(e, ERR_MISMATCH, "%s: importance matrix (tensor %s): asked for %" PRIu64 " columns after %"
			       PRIu64, v->m->file.path, tensor, v->cols, v->x->cols);
	return OK;
}

/* The stand-in, made once. Called under the lock. */
static enum status stand_in(const struct view *v, float *out, struct err *e)
{
	float *mean = v->x->mean;
	enum status st = OK;

	if (!mean) {
		mean = mem_new((size_t)v->cols, sizeof *mean, "an importance matrix", e);
		st = mean ? mean_of_others(v, mean, e) : ERR_NOMEM;
		if (st != OK) {
			free(mean);
			return st;
		}
		v->x->mean = mean;
	}
	memcpy(out, mean, (size_t)v->cols * sizeof *out);
	return st;
}

/* Called under the lock. */
static enum status read_matrix(const struct view *v, uint64_t matrix, float *out, struct err *e)
{
	bool reached;
	enum status st;

	if (v->groups == 1)
		TRY(read_means(v, matrix, out, &reached, e));
	else
		TRY(read_groups(v, out, &reached, e));
	if (!reached)
		TRY(stand_in(v, out, e));
out:
	return st;
}

enum status imatrix_read(const struct imatrix *m, const char *tensor, uint64_t matrix, uint64_t n_matrices,
			 uint64_t cols, float *weights, bool *found, struct err *e)
{
	struct view v = { .m = m, .x = imatrix_entry(m, tensor), .n_matrices = n_matrices, .cols = cols };
	enum status st;

	*found = v.x != NULL;
	if (!v.x)
		return OK;
	TRY(look(&v, tensor, matrix, e));
	pthread_mutex_lock(m->lock);
	st = set_shape(&v, tensor, e);
	if (st == OK)
		st = read_matrix(&v, matrix, weights, e);
	pthread_mutex_unlock(m->lock);
out:
	return st;
}

/* The same, kept. Called under the lock. */
static enum status keep_matrix(const struct view *v, uint64_t matrix, const float **weights, struct err *e)
{
	struct entry *x = v->x;
	float *w;
	enum status st;

	if (!x->kept)
		x->kept = mem_new((size_t)(x->n_values / x->cols), sizeof *x->kept, "an importance matrix", e);
	if (!x->kept)
		return e->status;
	if (!x->kept[matrix].w) {
		w = mem_new((size_t)v->cols, sizeof *w, "an importance matrix", e);
		st = w ? read_matrix(v, matrix, w, e) : e->status;
		if (st != OK) {
			free(w);
			return st;
		}
		x->kept[matrix].w = w;
	}
	*weights = x->kept[matrix].w;
	return OK;
}

enum status imatrix_find(const struct imatrix *m, const char *tensor, uint64_t matrix, uint64_t n_matrices,
			 uint64_t cols, const float **weights, struct err *e)
{
	struct view v = { .m = m, .x = imatrix_entry(m, tensor), .n_matrices = n_matrices, .cols = cols };
	enum status st;

	*weights = NULL;
	if (!v.x)
		return OK;
	TRY(look(&v, tensor, matrix, e));
	pthread_mutex_lock(m->lock);
	st = set_shape(&v, tensor, e);
	if (st == OK)
		st = keep_matrix(&v, matrix, weights, e);
	pthread_mutex_unlock(m->lock);
out:
	return st;
}
