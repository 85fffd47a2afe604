/* SPDX-License-Identifier: MIT
 *
 * pool.c - a fixed set of threads and a barrier.
 *
 * Small work is split by index; tiles of rows and tokens' attention, which take long and are not
 * alike, are taken from a counter by whoever is free. No result depends on which thread computes
 * what. One token passes hundreds of barriers that are some tens of microseconds apart, and waking a
 * thread takes as long: who waits looks again and again for that long before it sleeps, unless there
 * are more threads than processors.
 */
#include "runtime/runtime.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

enum { SPIN_NS = 50000, LOOKS = 64 };	/* looks between two readings of the clock */

static void pause_thread(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* There is a round that this worker has not seen, or an end. */
static bool called(struct pool *p, uint64_t seen)
{
	return atomic_load(&p->round) != seen || atomic_load(&p->quit);
}

static bool finished(struct pool *p, uint64_t unused)
{
	(void)unused;
	return atomic_load(&p->pending) == 0;
}

/* Looks for what is waited for; if it is not there after SPIN_NS the caller has to sleep. */
static bool spin(struct pool *p, bool (*there)(struct pool *p, uint64_t seen), uint64_t seen)
{
	int64_t until = p->spins ? now_ns() + SPIN_NS : 0;

	while (p->spins && now_ns() < until)
		for (int i = 0; i < LOOKS; i++) {
			if (there(p, seen))
				return true;
			pause_thread();
		}
	return there(p, seen);
}

static void sleep_until(struct pool *p, pthread_cond_t *cond, bool (*there)(struct pool *p, uint64_t seen),
			uint64_t seen)
{
	pthread_mutex_lock(&p->mutex);
	while (!there(p, seen))
		pthread_cond_wait(cond, &p->mutex);
	pthread_mutex_unlock(&p->mutex);
}

static bool cores_for(unsigned n)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof set, &set) == 0 && (unsigned)CPU_COUNT(&set) >= n;
}

static void *work(void *arg)
{
	struct pool_worker *w = arg;
	struct pool *p = w->pool;

	for (uint64_t seen = 0;; seen++) {
		if (!spin(p, called, seen))
			sleep_until(p, &p->start, called, seen);
		if (atomic_load(&p->quit))
			return NULL;
		p->task(p->ctx, w->i, p->n);
		if (atomic_fetch_sub(&p->pending, 1) > 1)
			continue;
		pthread_mutex_lock(&p->mutex);	/* the caller may be about to sleep */
		pthread_cond_signal(&p->done);
		pthread_mutex_unlock(&p->mutex);
	}
}

enum status pool_open(struct pool *p, unsigned n_threads, struct err *e)
{
	*p = (struct pool){ .n = n_threads };
	if (p->n < 1)
		p->n = 1;
	if (p->n > POOL_MAX_THREADS)
		p->n = POOL_MAX_THREADS;
	p->spins = cores_for(p->n);
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
		atomic_store(&p->pending, p->n - 1);
		atomic_fetch_add(&p->round, 1);
		pthread_cond_broadcast(&p->start);
		pthread_mutex_unlock(&p->mutex);
	}
	task(ctx, 0, p->n);
	if (p->n > 1 && !spin(p, finished, 0))
		sleep_until(p, &p->done, finished, 0);
}

void pool_close(struct pool *p)
{
	if (!p->open)
		return;
	pthread_mutex_lock(&p->mutex);
	atomic_store(&p->quit, true);
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
