/* SPDX-License-Identifier: MIT
 *
 * pool.c - a fixed set of threads and a barrier.
 *
 * Work is split by index, never taken from a queue: which thread computes what depends on nothing
 * but the counts, and no result depends even on that.
 */
#include "runtime/runtime.h"

#include <errno.h>
#include <stdlib.h>

static void *work(void *arg)
{
	struct pool_worker *w = arg;
	struct pool *p = w->pool;
	uint64_t seen = 0;

	pthread_mutex_lock(&p->mutex);
	for (;;) {
		while (!p->quit && p->round == seen)
			pthread_cond_wait(&p->start, &p->mutex);
		if (p->quit)
			break;
		seen = p->round;
		pthread_mutex_unlock(&p->mutex);
		p->task(p->ctx, w->i, p->n);
		pthread_mutex_lock(&p->mutex);
		if (--p->pending == 0)
			pthread_cond_signal(&p->done);
	}
	pthread_mutex_unlock(&p->mutex);
	return NULL;
}

enum status pool_open(struct pool *p, unsigned n_threads, struct err *e)
{
	*p = (struct pool){ .n = n_threads };
	if (p->n < 1)
		p->n = 1;
	if (p->n > POOL_MAX_THREADS)
		p->n = POOL_MAX_THREADS;
	p->workers = mem_new(p->n, sizeof *p->workers, "threads", e);
	if (!p->workers)
		return e->status;
	pthread_mutex_init(&p->mutex, NULL);
	pthread_cond_init(&p->start, NULL);
	pthread_cond_init(&p->done, NULL);
	p->open = true;
	for (unsigned i = 1; i < p->n; i++) {
		struct pool_worker *w = &p->workers[i];

		*w = (struct pool_worker){ .pool = p, .i = i };
		errno = pthread_create(&w->thread, NULL, work, w);
		if (errno) {
			err_errno(e, "cannot start thread %u of %u", i + 1, p->n);
			pool_close(p);
			return e->status;
		}
		p->n_started++;
	}
	return OK;
}

void pool_run(struct pool *p, void (*task)(void *ctx, unsigned i, unsigned n), void *ctx)
{
	if (p->n > 1) {
		pthread_mutex_lock(&p->mutex);
		p->task = task;
		p->ctx = ctx;
		p->pending = p->n - 1;
		p->round++;
		pthread_cond_broadcast(&p->start);
		pthread_mutex_unlock(&p->mutex);
	}
	task(ctx, 0, p->n);
	if (p->n > 1) {
		pthread_mutex_lock(&p->mutex);
		while (p->pending)
			pthread_cond_wait(&p->done, &p->mutex);
		pthread_mutex_unlock(&p->mutex);
	}
}

void pool_close(struct pool *p)
{
	if (!p->open)
		return;
	pthread_mutex_lock(&p->mutex);
	p->quit = true;
	pthread_cond_broadcast(&p->start);
	pthread_mutex_unlock(&p->mutex);
	for (unsigned i = 1; i <= p->n_started; i++)
		pthread_join(p->workers[i].thread, NULL);
	pthread_mutex_destroy(&p->mutex);
	pthread_cond_destroy(&p->start);
	pthread_cond_destroy(&p->done);
	free(p->workers);
	*p = (struct pool){ 0 };
}

void pool_share(size_t n_items, unsigned i, unsigned n, size_t *from, size_t *to)
{
	size_t each = n_items / n, extra = n_items % n;

	*from = each * i + (i < extra ? i : extra);
	*to = *from + each + (i < extra);
}
