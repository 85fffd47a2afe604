/* SPDX-License-Identifier: MIT
 *
 * measure.c - types tried on a sample of a tensor's values.
 */
#include "convert/measure.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "convert/plan.h"

/* ---- which values ---- */

/* The matrices of a tensor lie one after the other, each row cut into runs; all runs are counted. */
struct extent { uint64_t n_matrices, runs_a_row, n_runs; uint64_t picked; };

static struct extent extent_of(const struct plan *p, const struct plan_tensor *t)
{
	const struct source_layout *l = &p->matrices[t->first_matrix].l;
	struct extent x = { .n_matrices = (t->want.n_dims == 3 ? t->want.shape[0] : 1) * t->parts,
			    .runs_a_row = u64_div_up(l->cols, MEASURE_RUN) };

	x.n_runs = x.n_matrices * l->rows * x.runs_a_row;	/* at most the tensor's elements */
	x.picked = u64_min(x.n_runs, t->class == CLASS_EXPERTS ? MEASURE_EXPERT_RUNS : MEASURE_RUNS);
	return x;
}

/* One in each of `picked` equal stretches, at a place in it that repeats nothing of the shape. */
static uint64_t pick(const struct extent *x, uint64_t k)
{
	uint64_t stretch = x->n_runs / x->picked, rest = x->n_runs % x->picked;
	uint64_t from = k * stretch + u64_min(k, rest), n = stretch + (k < rest);

	return from + (uint32_t)((uint32_t)k * 0x9E3779B9u) % n;
}

/* ---- reading ---- */

struct sampler {
	const struct plan *p;
	const struct measure_options *o;
	const struct measure_job *jobs;
	size_t n_jobs;
	_Atomic size_t next;
	uint64_t total;			/* bytes of values to try */
	atomic_ullong done;
};
struct hand {				/* a thread's */
	struct sampler *s;
	pthread_t thread;
	bool started, shows;		/* progress */
	float x[MEASURE_RUN], y[MEASURE_RUN];
	uint8_t weight[8 * MEASURE_RUN], scale[4 * (MEASURE_RUN + 1)], blocks[4 * MEASURE_RUN];
	float *importance;		/* owned: of a matrix's columns */
	size_t importance_cap;
	size_t failed;			/* number of the job of err */
	struct err err;
};

static enum status read_range(const struct checkpoint *c, const struct st_tensor *t, uint64_t off, uint64_t n,
			      uint8_t *buf, size_t cap, struct err *e)
{
	if (n > cap)
		return err_set(e, ERR_UNSUPPORTED, "tensor %s: a run of values takes more bytes than expected", t->name);
	return file_read(&c->files[t->shard].file, buf, (size_t)n, t->off + off, e);
}

/* Elements [e0, e1) of a matrix, all in one row, into h->x. */
static enum status read_run(struct hand *h, const struct source_matrix *m, uint64_t e0, uint64_t e1)
{
	const struct checkpoint *c = h->s->p->ckpt;
	struct source_run r = { .l = &m->l, .weight = h->weight, .scale = h->scale, .e0 = e0, .e1 = e1 };
	uint64_t b0, b1, s1, width;
	struct fault f;
	enum status st;

	source_weight_range(&m->l, e0, e1, &b0, &b1);
	TRY(read_range(c, m->weight, m->weight_off + b0, b1 - b0, h->weight, sizeof h->weight, &h->err));
	if (m->scale) {
		/* only those of these columns, where a row of blocks has many */
		width = dtype_info(m->l.scale_type)->bytes;
		r.s0 = e0 / m->l.cols / m->l.block_rows * m->l.scale_cols + e0 % m->l.cols / m->l.block_cols;
		s1 = r.s0 + (e1 - 1) % m->l.cols / m->l.block_cols - e0 % m->l.cols / m->l.block_cols + 1;
		TRY(read_range(c, m->scale, m->scale_off + r.s0 * width, (s1 - r.s0) * width, h->scale, sizeof h->scale,
			       &h->err));
	}
	f = source_decode(&r, h->x);
	if (f.kind == FAULT_NONE) {
		f.element = e0 + codec_first_not_finite(h->x, (size_t)(e1 - e0));
		f.kind = f.element < e1 ? FAULT_INFINITE : FAULT_NONE;
	}
	if (f.kind != FAULT_NONE)
		st = err_set(&h->err, ERR_FORMAT, "%s: %s at row %llu, column %llu (tensor %s); download the file again, or "
			     "leave the tensor as it is with --tensor-type REGEX=KEEP", c->files[m->weight->shard].file.path,
			     fault_text(f.kind), (unsigned long long)(f.element / m->l.cols),
			     (unsigned long long)(f.element % m->l.cols), m->weight->name);
out:
	return st;
}

/* ---- types ---- */

static void try_type(struct hand *h, enum dtype type, const float *importance, size_t n, uint64_t at,
		     struct measured *m)
{
	codec_encode(type, h->x, importance, n, h->s->o->effort, h->blocks);
	codec_decode(type, h->blocks, n, h->y);
	error_add(&m->sums, h->x, h->y, n, 0, at);
	for (size_t i = 0; i < n; i++) {
		double w = importance ? (double)importance[i] : 1, d = (double)h->y[i] - (double)h->x[i];

		m->dd += w * d * d;
		m->xx += w * (double)h->x[i] * (double)h->x[i];
	}
}

/* The importance of all columns of one matrix, or NULL. */
static enum status find_importance(struct hand *h, const struct plan_tensor *t, uint64_t matrix,
				   const float **importance)
{
	void *p = h->importance;
	bool found;
	enum status st = OK;

	*importance = NULL;
	if (!h->s->o->importance)
		return OK;
	TRY(mem_grow(&p, &h->importance_cap, (size_t)t->want.shape[t->want.n_dims - 1], sizeof(float), "importance",
		     &h->err));
	h->importance = p;
	TRY(importance_read(h->s->o->importance, t, matrix, h->importance, &found, &h->err));
	if (found)
		*importance = h->importance;
out:
	return st;
}

static enum status do_run(struct hand *h, const struct measure_job *j, const struct extent *x, uint64_t number)
{
	const struct plan_tensor *t = j->tensor;
	uint64_t rows = h->s->p->matrices[t->first_matrix].l.rows, row = number / x->runs_a_row;
	uint64_t matrix = row / rows, col = number % x->runs_a_row * MEASURE_RUN;
	const struct source_matrix *m = &h->s->p->matrices[t->first_matrix + matrix];
	uint64_t e0 = row % rows * m->l.cols + col, e1 = e0 + u64_min(MEASURE_RUN, m->l.cols - col);
	const float *importance;
	enum status st;

	TRY(read_run(h, m, e0, e1));
	TRY(find_importance(h, t, matrix / t->parts, &importance));
	if (importance)
		importance += matrix % t->parts * m->l.cols + col;
	for (size_t k = 0; k < j->n_types; k++)
		try_type(h, j->types[k], importance, (size_t)(e1 - e0), matrix * rows * m->l.cols + e0, &j->out[k]);
out:
	return st;
}

static enum status do_job(struct hand *h, const struct measure_job *j)
{
	struct extent x = extent_of(h->s->p, j->tensor);
	enum status st = OK;

	for (size_t k = 0; k < j->n_types; k++)
		j->out[k] = (struct measured){ 0 };
	for (uint64_t k = 0; k < x.picked && st == OK; k++)
		st = do_run(h, j, &x, pick(&x, k));
	return st;
}

static uint64_t job_bytes(const struct sampler *s, size_t i)
{
	return extent_of(s->p, s->jobs[i].tensor).picked * MEASURE_RUN * sizeof(float);
}

static void *work(void *arg)
{
	struct hand *h = arg;
	struct sampler *s = h->s;
	size_t i;

	while ((i = atomic_fetch_add(&s->next, 1)) < s->n_jobs && !stop_asked(s->o->stop)) {
		if (h->shows)
			s->o->progress(s->o->arg, atomic_load(&s->done), s->total, s->jobs[i].tensor->want.name);
		if (do_job(h, &s->jobs[i]) != OK) {
			h->failed = i;
			break;
		}
		atomic_fetch_add(&s->done, job_bytes(s, i));
	}
	return NULL;
}

enum status measure_run(const struct plan *p, const struct measure_job *jobs, size_t n,
			const struct measure_options *o, struct err *e)
{
	struct sampler s = { .p = p, .o = o, .jobs = jobs, .n_jobs = n };
	size_t n_threads = o->threads > 1 ? (size_t)u64_min(o->threads, n ? n : 1) : 1, first = SIZE_MAX;
	struct hand *hands = mem_new(n_threads, sizeof *hands, "threads", e);

	if (!hands)
		return e->status;
	for (size_t i = 0; i < n; i++)
		s.total += job_bytes(&s, i);
	hands[0].shows = o->progress != NULL;
	for (size_t i = 0; i < n_threads; i++) {
		hands[i].s = &s;
		hands[i].failed = SIZE_MAX;
		hands[i].started = i > 0 && pthread_create(&hands[i].thread, NULL, work, &hands[i]) == 0;
	}
	work(&hands[0]);	/* does all where no thread could be started */
	for (size_t i = 0; i < n_threads; i++) {
		if (hands[i].started)
			pthread_join(hands[i].thread, NULL);
		free(hands[i].importance);
		if (hands[i].failed < first) {	/* the earliest tensor's error, whoever met it */
			first = hands[i].failed;
			*e = hands[i].err;
		}
	}
	free(hands);
	if (stop_asked(o->stop))
		return err_stopped(e, o->stop, "");
	return first == SIZE_MAX ? OK : e->status;
}

double measured_relative(const struct measured *m)
{
	return m->dd > 0 ? sqrt(m->dd / m->xx) : 0;
}
