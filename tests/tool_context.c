/* SPDX-License-Identifier: MIT
 *
 * tool_context.c - what a longer context costs: time of a decoded token and bytes of the state,
 * beside what the architecture says they should be.
 *
 *	tool_context MODEL THREADS FIRST LAST OUT.svg
 *
 * One session is prefilled to FIRST tokens, twice that, and so on to LAST, by THREADS threads; at each
 * of these 32 tokens are decoded one by one, by one thread: its CPU time hardly depends on what else
 * runs. The work that grows is counted in multiply-adds from the model's dimensions: attention over the
 * window and the picked rows, over rows of 128 tokens, and the indexer's scores of rows of 4 tokens.
 * Two costs of a multiply-add, attention's and the indexer's, and one of all else are fitted by least
 * squares of relative errors.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "runtime/layer.h"
#include "tests/context_plot.h"

enum { DECODED = 32, BATCH = 512 };

static double now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Multiply-adds of a token at position n that depend on n. */
static void count_work(const struct arch *a, uint32_t n, double work[PARTS])
{
	double attend = 2.0 * a->n_head * a->head_dim, index = (double)a->idx_head * a->idx_dim;

	memset(work, 0, PARTS * sizeof *work);
	work[0] = 1;
	for (uint32_t l = 0; l < a->n_layer; l++) {
		uint32_t r = a->ratio[l], rows = rows_visible(n, r);

		work[1] += attend * (n < a->window ? n : a->window);
		if (ratio_overlaps(r)) {
			work[1] += attend * (rows < a->idx_topk ? rows : a->idx_topk);
			work[3] += rows > a->idx_topk ? index * rows : 0;
		} else {
			work[2] += attend * rows;
		}
	}
}

/* Bytes of the pages of an array that are in memory; its ends may share theirs. */
static uint64_t pages_of(const void *p, uint64_t bytes, uintptr_t page)
{
	uintptr_t from = (uintptr_t)p / page * page, to = ((uintptr_t)p + bytes + page - 1) / page * page;
	unsigned char *in = calloc(1, (to - from) / page + 1);
	uint64_t n = 0;

	if (p && in && mincore((void *)from, to - from, in) == 0)
		for (size_t i = 0; i < (to - from) / page; i++)
			n += in[i] & 1;
	free(in);
	return n * page < bytes ? n * page : bytes;
}

static uint64_t resident(const struct kv *kv)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	const struct arch *a = kv->arch;
	uint64_t sum = 0;

	for (uint32_t l = 0; l < a->n_layer; l++) {
		const struct kv_layer *k = &kv->layers[l];
		uint64_t r = a->ratio[l], products = ratio_overlaps(a->ratio[l]) ? 2 * (2 * r - 1) : r - 1;

		sum += pages_of(k->raw, (uint64_t)(a->window - 1) * a->head_dim * sizeof(float), page);
		for (int i = 0; i < 2 && r; i++) {
			uint64_t d = (i ? a->idx_dim : a->head_dim) * sizeof(float);

			sum += pages_of(k->rows[i], kv->n_ctx / r * d, page);
			sum += pages_of(k->up[i], products * d, page) + pages_of(k->gate[i], products * d, page);
			sum += pages_of(k->up_low[i], products * d, page) + pages_of(k->gate_low[i], products * d, page);
		}
	}
	return sum;
}

/* What the formula gives for the room, less the rows that no position has reached. */
static uint64_t reached(const struct kv *kv)
{
	uint64_t sum = kv_bytes(kv->arch, kv->n_ctx);

	for (uint32_t l = 0; l < kv->arch->n_layer; l++) {
		uint32_t r = kv->arch->ratio[l], d = kv->arch->head_dim;

		d += kv->layers[l].rows[1] ? kv->arch->idx_dim : 0;
		if (r)
			sum -= (uint64_t)(kv->n_ctx / r - kv->pos / r) * d * sizeof(float);
	}
	return sum;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static uint32_t id_at(const struct session *s, uint32_t pos)
{
	return (uint32_t)((pos * 2654435761u >> 7) % s->f.arch->n_vocab);
}

/* From wherever s is to n tokens, then DECODED single ones in this thread alone. */
static enum status measure(struct session *s, struct pool *alone, uint32_t n, struct point *p, float *logits,
			   struct err *e)
{
	const struct arch *a = s->f.arch;
	uint32_t ids[BATCH], start = session_pos(s);
	double t = now(CLOCK_MONOTONIC), each[DECODED];
	struct pool *all = s->f.engine.pool;
	enum status st = OK;

	for (uint32_t k = 0; session_pos(s) < n; k = 0) {
		while (k < BATCH && session_pos(s) + k < n) {
			ids[k] = id_at(s, session_pos(s) + k);
			k++;
		}
		TRY(session_eval(s, ids, k, NULL, e));
	}
	p->prefill = (n - start) / (now(CLOCK_MONOTONIC) - t);
	s->f.engine.pool = alone;
	for (int i = 0; i < DECODED; i++) {
		ids[0] = id_at(s, session_pos(s));
		t = now(CLOCK_THREAD_CPUTIME_ID);
		TRY(session_eval(s, ids, 1, logits, e));
		each[i] = (now(CLOCK_THREAD_CPUTIME_ID) - t) * 1e3;
	}
	qsort(each, DECODED, sizeof *each, ascending);
	p->n = n;
	p->ms = each[DECODED / 4];	/* the lower quartile: caches are shared with what else runs */
	count_work(a, n + DECODED / 2, p->work);
	p->kv = reached(&s->kv);
	p->resident = resident(&s->kv);
	p->plain = (uint64_t)session_pos(s) * a->n_layer * a->head_dim * sizeof(float);
out:
	s->f.engine.pool = all;
	return st;
}

/* Solves the 3 x 3 system m x = m[.][3] in place, with pivots. */
static void solve(double m[3][4], double x[3])
{
	for (int c = 0; c < 3; c++) {
		int best = c;

		for (int r = c + 1; r < 3; r++)
			best = fabs(m[r][c]) > fabs(m[best][c]) ? r : best;
		for (int k = 0; k < 4; k++) {
			double t = m[c][k];

			m[c][k] = m[best][k];
			m[best][k] = t;
		}
		for (int r = 0; r < 3; r++)
			for (int k = 3; k >= c && r != c && m[c][c] != 0; k--)
				m[r][k] -= m[r][c] / m[c][c] * m[c][k];
	}
	for (int c = 0; c < 3; c++)
		x[c] = m[c][c] != 0 ? m[c][3] / m[c][c] : 0;
}

/* Least squares of relative errors over the costs that are in use; the others are 0. */
static void fit_used(const struct figure *f, const bool used[3], double x[3])
{
	double m[3][4] = { 0 };

	for (size_t i = 0; i < f->n; i++) {
		const struct point *p = &f->p[i];
		double row[4] = { p->work[0] / p->ms, (p->work[1] + p->work[2]) / p->ms, p->work[3] / p->ms, 1 };

		for (int r = 0; r < 3; r++)
			for (int c = 0; c < 4 && used[r]; c++)
				m[r][c] += c == 3 || used[c] ? row[r] * row[c] : 0;
	}
	solve(m, x);
}

/* A cost below zero is noise around one that is too small to be seen: it is left out. */
static void fit(struct figure *f)
{
	bool used[3] = { true, true, true };
	double x[3];

	fit_used(f, used, x);
	used[1] = x[1] > 0;
	used[2] = x[2] > 0;
	if (!used[1] || !used[2])
		fit_used(f, used, x);
	f->cost[0] = x[0];
	f->cost[1] = f->cost[2] = x[1];
	f->cost[3] = x[2];
}

static void report(const struct figure *f)
{
	double worst = 0;

	printf("%9s %11s %11s %11s %13s %13s %7s\n", "context", "prefill t/s", "decode ms", "fit ms", "state bytes",
	       "in memory", "ratio");
	for (size_t i = 0; i < f->n; i++) {
		const struct point *p = &f->p[i];
		double ms = up_to(f, p, PARTS - 1), ratio = (double)p->resident / (double)p->kv;

		printf("%9u %11.0f %11.3f %11.3f %13llu %13llu %7.3f\n", p->n, p->prefill, p->ms, ms,
		       (unsigned long long)p->kv, (unsigned long long)p->resident, ratio);
		worst = fmax(worst, fabs(ms / p->ms - 1));
	}
	printf("fit: %.3f ms + %.4f ns a multiply-add of attention + %.4f ns one of the indexer; worst error %.1f %%\n",
	       f->cost[0], f->cost[1] * 1e6, f->cost[3] * 1e6, worst * 100);
	printf("state: after %u tokens %.1f %% of the formula's bytes in memory; a row for every token would be "
	       "%.1f times as much\n", f->p[f->n - 1].n,
	       100 * (double)f->p[f->n - 1].resident / (double)f->p[f->n - 1].kv,
	       (double)f->p[f->n - 1].plain / (double)f->p[f->n - 1].kv);
}

static int write_svg(const struct figure *f, const char *path)
{
	FILE *o = fopen(path, "w");

	if (!o)
		return 1;
	draw(o, f);
	return fclose(o) != 0;
}

int main(int argc, char **argv)
{
	struct model m = MODEL_NONE;
	struct log notes = { 0 };
	struct pool pool = { 0 }, alone = { 0 };
	struct session s = { 0 };
	struct point points[MAX_POINTS];
	struct figure f = { points, 0, { 0 } };
	struct err e = { 0 };
	float *logits = NULL;
	enum status st;

	uint32_t first = argc == 6 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;
	uint32_t last = argc == 6 ? (uint32_t)strtoul(argv[4], NULL, 10) : 0;

	if (first == 0 || last / 4 < first || last / first >> MAX_POINTS) {
		fprintf(stderr, "usage: tool_context MODEL THREADS FIRST LAST OUT.svg; LAST is 4 FIRST or more\n");
		return 2;
	}
	TRY(model_open(&m, argv[1], &notes, &e));
	TRY(pool_open(&pool, (unsigned)strtoul(argv[2], NULL, 10), &e));
	TRY(pool_open(&alone, 1, &e));
	TRY(session_open(&s, &m, &pool, last + DECODED, BATCH, UINT64_MAX, false, &e));
	logits = calloc(m.arch.n_vocab, sizeof *logits);
	for (uint32_t n = first; logits && n >= first && n <= last && f.n < MAX_POINTS; n *= 2) {
		TRY(measure(&s, &alone, n, &points[f.n], logits, &e));
		f.n++;
	}
	fit(&f);
	report(&f);
	if (write_svg(&f, argv[5]) != 0)
		st = err_set(&e, ERR_IO, "%s: cannot be written", argv[5]);
out:
	if (st != OK)
		fprintf(stderr, "tool_context: %s\n", e.msg);
	free(logits);
	session_close(&s);
	pool_close(&pool);
	pool_close(&alone);
	model_close(&m);
	log_close(&notes);
	return st != OK;
}
