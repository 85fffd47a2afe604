/* SPDX-License-Identifier: MIT
 *
 * parallel.c - independent tasks on a few threads, in any order.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "verify/verify.h"

enum { VERIFY_NAME = 256 };	/* bytes of a name that progress shows */
struct crew {
	uint64_t n;
	enum status (*task)(void *, uint64_t, struct verify_worker *, struct err *);
	void *arg;
	const struct verify_options *o;
	atomic_ullong next;
	atomic_bool failed;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned n_running;
	struct err err;		/* the first failure; under lock */
	char now[VERIFY_NAME];	/* what one of them is at; under lock */
};

static void *run(void *p)
{
	struct crew *c = p;
	struct verify_worker w = { .buf = malloc(VERIFY_BUFFER), .crew = c };
	struct err e = { 0 };
	enum status st = w.buf ? sha256_open(&w.hash, &e)
				  : err_set(&e, ERR_NOMEM, "no memory for a thread's buffer; give --threads less");

	while (st == OK && !atomic_load(&c->failed) && !stop_asked(c->o->stop)) {
		uint64_t i = atomic_fetch_add(&c->next, 1);

		if (i >= c->n)
			break;
		st = c->task(c->arg, i, &w, &e);
	}
	sha256_close(&w.hash);
	free(w.buf);
	pthread_mutex_lock(&c->lock);
	if (st != OK && c->err.status == OK)
		c->err = e;
	if (st != OK)
		atomic_store(&c->failed, true);
	c->n_running--;
	pthread_cond_signal(&c->changed);
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

void verify_now(const struct verify_worker *w, struct str what)
{
	struct crew *c = w->crew;
	size_t n = what.n < VERIFY_NAME ? what.n : VERIFY_NAME - 1;

	pthread_mutex_lock(&c->lock);
	memcpy(c->now, what.p, n);
	c->now[n] = 0;
	pthread_mutex_unlock(&c->lock);
}

static void watch(struct crew *c, const uint64_t *bytes_done, uint64_t bytes)
{
	pthread_mutex_lock(&c->lock);
	while (c->n_running > 0) {
		struct timespec t;

		clock_gettime(CLOCK_REALTIME, &t);
		t.tv_nsec += 100000000;
		t.tv_sec += t.tv_nsec / 1000000000;
		t.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&c->changed, &c->lock, &t);
		if (c->o->progress)
			c->o->progress(c->o->arg, __atomic_load_n(bytes_done, __ATOMIC_RELAXED), bytes,
				       c->now[0] ? c->now : NULL);
	}
	pthread_mutex_unlock(&c->lock);
}

enum status verify_parallel(uint64_t n, enum status (*task)(void *arg, uint64_t i, struct verify_worker *w,
							    struct err *e),
			    void *arg, const struct verify_options *o, const uint64_t *bytes_done, uint64_t bytes,
			    struct err *e)
{
	struct crew c = { .n = n, .task = task, .arg = arg, .o = o };
	unsigned started = 0, wanted = (unsigned)u64_min(o->threads, n ? n : 1);
	pthread_t *threads = mem_new(wanted, sizeof *threads, "threads", e);

	if (!threads)
		return e->status;
	pthread_mutex_init(&c.lock, NULL);
	pthread_cond_init(&c.changed, NULL);
	if (o->progress)	/* a rate counts from here */
		o->progress(o->arg, *bytes_done, bytes, NULL);
	for (; started < wanted; started++) {
		pthread_mutex_lock(&c.lock);
		c.n_running++;
		pthread_mutex_unlock(&c.lock);
		if (pthread_create(&threads[started], NULL, run, &c) != 0) {
			pthread_mutex_lock(&c.lock);
			c.n_running--;
			pthread_mutex_unlock(&c.lock);
			break;
		}
	}
	watch(&c, bytes_done, bytes);
	for (unsigned i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	free(threads);
	pthread_mutex_destroy(&c.lock);
	pthread_cond_destroy(&c.changed);
	if (started == 0)
		return err_set(e, ERR_NOMEM, "cannot start a thread; give --threads less, or "
			       "raise the limit of processes (ulimit -u)");
	if ((c.err.status == OK || c.err.status == ERR_STOPPED) && stop_asked(o->stop))
		return err_stopped(e, o->stop, "; nothing was shown");
	if (c.err.status != OK)
		*e = c.err;
	return c.err.status;
}
