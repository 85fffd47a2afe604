/* SPDX-License-Identifier: MIT
 *
 * pipeline.c - the workers: each takes the next unit of some shard, converts and writes it.
 *
 * A shard is read and converted by one worker at a time (its hash is sequential), the result hashed
 * and written by the same worker while another goes on with the shard. With fewer shards than threads,
 * as of a GGUF, a worker holds on to what it has read and converts it apart from the shard. At most `threads` workers
 * compute at any moment; there are more (four times as many, or two), so that enough compute while
 * others wait for the disk. Which worker makes which unit is left to chance and shows in no byte.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "convert/stream.h"

enum shard_state { SHARD_IDLE, SHARD_BUSY, SHARD_DONE };

struct pipeline {
	struct conversion c;
	const struct pipeline_options *o;
	struct shard_stream *streams;		/* owned; one a shard */
	enum shard_state *state;		/* owned; under lock */
	size_t n_shards, n_done;
	unsigned n_workers, n_running;
	struct unit_sizes sizes;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	sem_t computing;
	const char *now;			/* name of a tensor under way; under lock */
	atomic_ullong bytes_done;
	uint64_t bytes_all;
	struct err err;				/* the first failure; under lock */
};

static uint64_t worker_bytes(const struct unit_sizes *s)
{
	return s->in + s->out + OUTPUT_ALIGN + s->aux + 3 * AUX_TILE + TRANSFER_SCRATCH * sizeof(float) +
	       s->importance + (256 << 10);	/* stack and hash */
}

/* How many of `wanted` workers fit; 0: not one. *bytes is what they take, or what one would. */
static unsigned fitting(const struct plan *p, const struct unit_sizes *s, uint64_t wanted,
			uint64_t max_memory, uint64_t *bytes)
{
	uint64_t fixed = p->ckpt->n_shards * s->carry + p->n_matrices * sizeof *p->matrices;
	uint64_t each = worker_bytes(s), n = wanted;

	for (size_t i = 0; i < p->n_outputs; i++)
		fixed += p->out[i].header.cap +
			 (p->out[i].errors ? p->out[i].n_chunks * sizeof *p->out[i].errors : 0);
	/* half the limit is for what is not counted here: headers, names, the libraries */
	while (n > 1 && fixed + n * each > max_memory / 2)
		n--;
	n = fixed + n * each <= max_memory / 2 ? n : 0;
	*bytes = fixed + (n ? n : 1) * each;
	return (unsigned)n;
}

static bool is_ours(const struct plan *p, size_t shard)
{
	return !p->share || p->share[shard];
}

struct crew { struct unit_sizes sizes; bool apart; unsigned n; uint64_t bytes; };

/* Workers that convert apart hold whole units, which takes memory: only if shards are few and there is
 * room for three, one that reads and two that compute. */
static struct crew muster(const struct plan *p, unsigned threads, uint64_t max_memory)
{
	struct crew c = { .sizes = plan_unit_sizes(p, true) };
	size_t ours = 0;

	for (size_t i = 0; i < p->ckpt->n_shards; i++)
		ours += is_ours(p, i);
	c.apart = ours < threads;
	if (c.apart) {
		c.n = fitting(p, &c.sizes, (uint64_t)threads + 2, max_memory, &c.bytes);
		if (c.n > 2)
			return c;
	}
	c.apart = false;
	c.sizes = plan_unit_sizes(p, false);
	c.n = fitting(p, &c.sizes, 4 * (uint64_t)threads, max_memory, &c.bytes);
	return c;
}

uint64_t pipeline_memory(const struct plan *p, unsigned threads, uint64_t max_memory, unsigned *workers)
{
	struct crew c = muster(p, threads, max_memory);

	*workers = c.n;
	return c.bytes;
}

static void fail(struct pipeline *q, const struct err *e)
{
	pthread_mutex_lock(&q->lock);
	if (q->err.status == OK)
		q->err = *e;
	pthread_cond_broadcast(&q->changed);
	pthread_mutex_unlock(&q->lock);
}

/* An idle shard for this worker, its last one if possible, among the first `threads` that are not
 * done: few files are open to the disk at once. n_shards if there is none. */
static size_t pick(const struct pipeline *q, size_t last)
{
	size_t seen = 0, first = q->n_shards;

	for (size_t i = 0; i < q->n_shards && seen < q->o->threads; i++) {
		if (q->state[i] == SHARD_DONE)
			continue;
		seen++;
		if (q->state[i] == SHARD_IDLE && (first == q->n_shards || i == last))
			first = i;
	}
	return first;
}

/* Waits for a shard to read from; n_shards when there is nothing left to do. */
static size_t take_shard(struct pipeline *q, size_t last)
{
	size_t s = q->n_shards;

	pthread_mutex_lock(&q->lock);
	while (q->err.status == OK && q->n_done < q->n_shards && !stop_asked(q->o->stop)) {
		s = pick(q, last);
		if (s < q->n_shards) {
			q->state[s] = SHARD_BUSY;
			break;
		}
		pthread_cond_wait(&q->changed, &q->lock);
	}
	pthread_mutex_unlock(&q->lock);
	return s;
}

static void return_shard(struct pipeline *q, size_t s)
{
	pthread_mutex_lock(&q->lock);
	q->state[s] = q->streams[s].done ? SHARD_DONE : SHARD_IDLE;
	q->n_done += q->streams[s].done;
	pthread_cond_broadcast(&q->changed);
	pthread_mutex_unlock(&q->lock);
}

static void note_progress(struct pipeline *q, size_t s, const struct unit *u, uint64_t bytes)
{
	const struct feed *f = u ? &q->c.p->shards[s].feeds[u->feed] : NULL;

	atomic_fetch_add(&q->bytes_done, bytes);
	if (f && f->matrix == 0 && u->chunk == 0) {
		pthread_mutex_lock(&q->lock);
		q->now = q->c.p->out[f->output].tensors[f->tensor].want.name;
		pthread_mutex_unlock(&q->lock);
	}
}

/* One turn of a worker; false when there is no more work or something failed. */
static bool one_unit(struct pipeline *q, struct worker_buffers *b, size_t *last)
{
	struct err e = { 0 };
	struct unit u = { 0 };
	bool have = false;
	size_t s = take_shard(q, *last);
	uint64_t before;
	enum status st;

	if (s == q->n_shards)
		return false;
	*last = s;
	while (sem_wait(&q->computing) != 0)
		;
	before = q->streams[s].pos;
	st = stream_next(&q->streams[s], &q->c, b, &u, &have, &e);
	uint64_t bytes = q->streams[s].pos - before;
	if (st != OK)
		fail(q, &e);	/* before the shard, whose stream may stand in the middle of a unit, is free */
	return_shard(q, s);
	if (st == OK && have && !u.claimed) {
		st = unit_convert(&u, &q->c, (uint32_t)s, b, &e);
		if (st != OK) {
			fail(q, &e);
		} else {
			unit_hash(&u, &q->c, (uint32_t)s, b);
			ledger_keep(&u, &q->c, (uint32_t)s, &b->errors);
		}
	}
	sem_post(&q->computing);
	if (st == OK && !u.claimed) {
		st = have ? unit_write(&u, &q->c, (uint32_t)s, &e)
			  : journal_shard(q->c.journal, (uint32_t)s, q->c.sha256 + SHA256_BYTES * s, &e);
		if (st != OK)
			fail(q, &e);
	}
	note_progress(q, s, have ? &u : NULL, bytes);
	return st == OK;
}

static void buffers_close(struct worker_buffers *b)
{
	free(b->in);
	free(b->out);
	free(b->aux);
	free(b->scratch);
	free(b->importance);
	sha256_close(&b->hash);
}

static enum status buffers_open(struct worker_buffers *b, const struct unit_sizes *s, struct err *e)
{
	void *out = NULL;

	*b = (struct worker_buffers){ .in_bytes = s->in };
	if (posix_memalign(&out, OUTPUT_ALIGN, (size_t)(s->out + OUTPUT_ALIGN)) != 0)
		return err_set(e, ERR_NOMEM, "no memory for a worker's output (%llu bytes)",
			       (unsigned long long)s->out);
	b->out = out;
	b->in = mem_new((size_t)s->in, 1, "a worker's input", e);
	b->aux = mem_new((size_t)s->aux + 3 * AUX_TILE, 1, "a worker's scales", e);
	b->scratch = mem_new(TRANSFER_SCRATCH, sizeof *b->scratch, "a worker's numbers", e);
	b->importance = mem_new((size_t)s->importance, 1, "a worker's importance of columns", e);
	if (!b->in || !b->aux || !b->scratch || !b->importance)
		return e->status;
	return sha256_open(&b->hash, e);
}

static void *worker(void *arg)
{
	struct pipeline *q = arg;
	struct worker_buffers b;
	struct err e;
	size_t last = q->n_shards;

	if (buffers_open(&b, &q->sizes, &e) != OK)
		fail(q, &e);
	else
		while (one_unit(q, &b, &last))
			;
	buffers_close(&b);
	pthread_mutex_lock(&q->lock);
	q->n_running--;
	pthread_cond_broadcast(&q->changed);
	pthread_mutex_unlock(&q->lock);
	return NULL;
}

/* Until all workers have gone: shows progress, and passes a signal on to those that wait. */
static void watch(struct pipeline *q)
{
	pthread_mutex_lock(&q->lock);
	while (q->n_running > 0) {
		struct timespec t;
		const char *now = q->now;

		clock_gettime(CLOCK_REALTIME, &t);
		t.tv_nsec += 100000000;
		t.tv_sec += t.tv_nsec / 1000000000;
		t.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&q->changed, &q->lock, &t);
		if (stop_asked(q->o->stop)) {
			if (q->err.status == OK)
				err_stopped(&q->err, q->o->stop, "");
			pthread_cond_broadcast(&q->changed);
		}
		if (q->o->progress) {
			pthread_mutex_unlock(&q->lock);
			q->o->progress(q->o->arg, atomic_load(&q->bytes_done), q->bytes_all, now);
			pthread_mutex_lock(&q->lock);
		}
	}
	pthread_mutex_unlock(&q->lock);
}

static enum status streams_open(struct pipeline *q, struct err *e)
{
	enum status st = OK;

	q->streams = mem_new(q->n_shards, sizeof *q->streams, "the list of shards", e);
	q->state = mem_new(q->n_shards, sizeof *q->state, "the list of shards", e);
	if (!q->streams || !q->state)
		return e->status;
	for (size_t i = 0; i < q->n_shards && st == OK; i++) {
		q->streams[i].shard = (uint32_t)i;
		q->streams[i].carry = mem_new((size_t)q->sizes.carry, 1, "a shard's carry", e);
		if (!q->streams[i].carry)
			return e->status;
		st = sha256_open(&q->streams[i].hash, e);
		if (st == OK)
			st = sha256_open(&q->streams[i].follow.hash, e);
		if (st == OK)
			sha256_start(&q->streams[i].hash);
		if (is_ours(q->c.p, i))
			q->bytes_all += q->c.p->ckpt->files[i].file.id.size;
		if (!is_ours(q->c.p, i) || (q->c.claims->shards && q->c.claims->shards[i])) {
			q->state[i] = SHARD_DONE;
			q->n_done++;
			if (is_ours(q->c.p, i))
				atomic_fetch_add(&q->bytes_done, q->c.p->ckpt->files[i].file.id.size);
		}
	}
	return st;
}

static void pipeline_close(struct pipeline *q)
{
	for (size_t i = 0; q->streams && i < q->n_shards; i++) {
		free(q->streams[i].carry);
		sha256_close(&q->streams[i].hash);
		sha256_close(&q->streams[i].follow.hash);
	}
	free(q->streams);
	free(q->state);
	pthread_mutex_destroy(&q->lock);
	pthread_cond_destroy(&q->changed);
	sem_destroy(&q->computing);
}

enum status pipeline_run(struct plan *p, const struct run_state *r, const struct pipeline_options *o,
			 struct err *e)
{
	struct crew crew = muster(p, o->threads, o->max_memory);
	struct pipeline q = { .c = { .p = p, .outputs = r->outputs, .aux = r->aux, .journal = r->journal,
				     .claims = r->claims, .sha256 = r->sha256, .apart = crew.apart },
			      .o = o, .n_shards = p->ckpt->n_shards, .n_workers = crew.n, .sizes = crew.sizes };
	pthread_t *threads = NULL;
	unsigned started = 0;
	enum status st;

	pthread_mutex_init(&q.lock, NULL);
	pthread_cond_init(&q.changed, NULL);
	sem_init(&q.computing, 0, o->threads);
	TRY(streams_open(&q, e));
	threads = mem_new(q.n_workers, sizeof *threads, "threads", e);
	if (!threads) {
		st = e->status;
		goto out;
	}
	if (o->progress)	/* what an earlier run did, before anything of this one counts */
		o->progress(o->arg, atomic_load(&q.bytes_done), q.bytes_all, NULL);
	q.n_running = q.n_workers;
	for (; started < q.n_workers; started++)
		if (pthread_create(&threads[started], NULL, worker, &q) != 0)
			break;
	if (started < q.n_workers) {
		struct err none;

		err_set(&none, ERR_NOMEM, "cannot start thread %u of %u", started + 1, q.n_workers);
		if (started == 0)
			fail(&q, &none);	/* fewer threads than wished for are enough */
		pthread_mutex_lock(&q.lock);
		q.n_running -= q.n_workers - started;
		pthread_mutex_unlock(&q.lock);
	}
	watch(&q);
	for (unsigned i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	st = q.err.status;
	if (st != OK)
		*e = q.err;
out:
	free(threads);
	pipeline_close(&q);
	return st;
}
