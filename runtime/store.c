/* SPDX-License-Identifier: MIT
 *
 * store.c - weights in a bounded memory, read ahead of the run by threads of their own.
 *
 * A unit is a matrix, or a run of rows of one that is large. Readers load what the run
 * waits for, else the next unit of the agenda that there is room for. Room is made by dropping the
 * unit that is due last (feed_due); reading ahead never drops what is announced or due sooner than
 * what it reads, the run's demand may drop all but what is held. So a layer that does not fit is
 * still run, a unit at a time, and nobody waits for memory that only he could give back.
 *
 * For a session the readers pack BF16 rows that came from FP8 and give back the half of the buffer that is
 * then free. Room is still made for rows as they are in the file: what they hold is known when they are read.
 */
#include "runtime/store.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BUFFER_SLACK = 3 * DISK_ALIGN };	/* what direct reads add to a buffer */

static uint64_t most(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* ---- shelves: how a model divides into units ---- */

static bool is_table(enum role r) { return r == ROLE_EMBED || r == ROLE_ROUTER_IDS; }

/* Rows of at most `piece` bytes, if it holds two; even, for two FP4 values share a byte. */
static uint64_t piece_rows(uint64_t rows, uint64_t row_bytes, uint64_t piece)
{
	uint64_t n = piece / row_bytes;

	if (n >= rows)
		return rows;
	return n >= 128 ? n / 128 * 128 : n < 2 ? 2 : n & ~(uint64_t)1;
}

static enum status too_large(const struct model *m, struct err *e)
{
	return err_set(e, ERR_UNSUPPORTED, "%s: the sizes of its tensors are beyond counting", m->path);
}

/* The largest row that one of its matrices takes in memory. */
static enum status row_bytes(const struct weight *w, struct shelf *h, uint64_t *bytes, struct err *e)
{
	uint64_t each = w->tensor ? w->n_matrices : 1, n;	/* a GGUF has one type for all */
	bool made;
	enum status st = OK;

	*bytes = 0;
	for (uint64_t k = 0; k < w->n_matrices; k += each) {
		TRY(weight_kept(w, k, 1, &n, &made, e));
		*bytes = most(*bytes, n);
		h->made |= made;
	}
out:
	return st;
}

static enum status add_shelf(struct store *s, size_t i, struct err *e)
{
	const struct model *m = s->m;
	const struct weight *w = &m->weights[i];
	struct shelf *h = &s->shelves[i];
	uint64_t row, n, bytes;
	enum status st;

	*h = (struct shelf){ .first = s->n_units, .experts = role_class(w->want->role) == CLASS_EXPERTS,
			     .layer = w->want->layer == LAYER_NONE ? m->arch.n_layer + 1 : w->want->layer };
	if (is_table(w->want->role))
		return OK;
	TRY(row_bytes(w, h, &row, e));
	h->n_matrices = w->n_matrices;
	h->piece_rows = piece_rows(w->rows, row, s->piece);
	h->n_pieces = u64_div_up(w->rows, h->piece_rows);
	if (!u64_mul(h->n_matrices, h->n_pieces, &n) || !u64_mul(h->piece_rows, row, &bytes) ||
	    !u64_add(bytes, BUFFER_SLACK, &h->bytes) || !u64_mul(n, h->bytes, &bytes) ||
	    !u64_add(s->all, bytes, &s->all) || !u64_add(s->n_units, n, &n) || n > SIZE_MAX)
		return too_large(m, e);
	s->n_units = (size_t)n;
	s->unit = most(s->unit, h->bytes);
	if (h->made)	/* read and then made: the source's rows are no longer than what becomes of them */
		s->scratch = most(s->scratch, h->bytes + BUFFER_SLACK);
out:
	return st;
}

enum status store_new(struct store **out, const struct model *m, uint64_t piece, struct err *e)
{
	struct store *s = mem_new(1, sizeof *s, "the store of weights", e);
	enum status st;

	if (!s)
		return e->status;
	*out = s;
	*s = (struct store){ .m = m, .piece = piece, .n_layers = m->arch.n_layer + 2, .demand = UNIT_NONE, .failed = UNIT_NONE };
	s->time = s->n_layers;
	pthread_mutex_init(&s->mutex, NULL);
	pthread_cond_init(&s->work, NULL);
	pthread_cond_init(&s->done, NULL);
	s->shelves = mem_new(m->wants.n, sizeof *s->shelves, "the store of weights", e);
	if (!s->shelves)
		return e->status;
	for (size_t i = 0; i < m->wants.n; i++)
		TRY(add_shelf(s, i, e));
	s->units = mem_new(s->n_units, sizeof *s->units, "the store of weights", e);
	s->resident = mem_new(s->n_units, sizeof *s->resident, "the store of weights", e);
	if (!s->units || !s->resident)
		return e->status;
	for (size_t i = 0; i < m->wants.n; i++) {
		const struct shelf *h = &s->shelves[i];

		for (uint64_t k = 0; k < h->n_matrices * h->n_pieces; k++)
			s->units[h->first + k] = (struct unit){ .shelf = (uint32_t)i,
				.matrix = (uint32_t)(k / h->n_pieces), .piece = (uint32_t)(k % h->n_pieces) };
	}
out:
	return st;
}

uint64_t store_table_bytes(const struct store *s)
{
	return s->n_units * (sizeof *s->units + 2 * sizeof(size_t)) + s->m->wants.n * sizeof *s->shelves;
}

/* Every reader has a unit in hand while the run holds one. */
uint64_t store_least(const struct model *m)
{
	const struct store *s = m->store;
	uint64_t n, work;

	return u64_mul(STORE_READERS + 1, s->unit, &n) && u64_mul(STORE_READERS, s->scratch, &work) &&
	       u64_add(n, work, &n) ? n : UINT64_MAX;
}

uint64_t store_most(const struct model *m)
{
	const struct store *s = m->store;
	uint64_t n = s->all, work;

	if (!u64_mul(STORE_READERS, s->scratch, &work) || !u64_add(n, work, &n))
		return UINT64_MAX;
	return most(n, store_least(m));
}

/* ---- buffers, all under the mutex ---- */

static void free_spare(struct store *s, size_t i)
{
	pages_free(s->spares[i].p, s->spares[i].cap);
	s->held -= s->spares[i].cap;
	s->spares[i] = s->spares[--s->n_spares];
}

static void drop(struct store *s, size_t unit)
{
	struct unit *u = &s->units[unit];
	size_t last = s->resident[--s->n_resident];

	if (s->n_spares == MAX_SPARES)
		free_spare(s, 0);
	s->spares[s->n_spares++] = (struct buffer){ u->buf, u->cap };
	s->resident[u->place] = last;
	s->units[last].place = u->place;
	u->buf = NULL;
	u->cap = 0;
	u->state = UNIT_ABSENT;
}

/* Is a due later than b? Of one layer's units the last in turn. */
static bool later(const struct store *s, const struct unit *a, const struct unit *b)
{
	uint64_t x = feed_due(s, a), y = feed_due(s, b);

	return x != y ? x > y : a->turn > b->turn;
}

/* The unit in memory that can best be missed, or UNIT_NONE. */
static size_t victim(const struct store *s)
{
	size_t best = UNIT_NONE;

	for (size_t i = 0; i < s->n_resident; i++) {
		size_t unit = s->resident[i];

		if (s->units[unit].pins == 0 && (best == UNIT_NONE || later(s, &s->units[unit], &s->units[best])))
			best = unit;
	}
	return best;
}

/* A buffer that fits, and is not much too large. */
static bool take_spare(struct store *s, size_t bytes, struct buffer *out)
{
	for (size_t i = s->n_spares; i-- > 0;)
		if (s->spares[i].cap >= bytes && s->spares[i].cap - bytes <= bytes / 8) {
			*out = s->spares[i];
			s->spares[i] = s->spares[--s->n_spares];
			return true;
		}
	return false;
}

/* A buffer for unit, whatever must go for it: by force all that is not held. */
static bool make_room(struct store *s, size_t unit, bool force, struct buffer *out)
{
	const struct unit *u = &s->units[unit];
	size_t bytes = (size_t)(s->shelves[u->shelf].bytes & ~(uint64_t)(DISK_ALIGN - 1));

	while (!take_spare(s, bytes, out)) {
		size_t v;

		if (s->held + bytes <= s->budget) {
			*out = (struct buffer){ pages_new(bytes), bytes };
			s->held += out->p ? bytes : 0;
			return out->p != NULL;
		}
		if (s->n_spares) {
			free_spare(s, 0);
			continue;
		}
		v = victim(s);
		if (v == UNIT_NONE || (!force && (s->units[v].wanted >= s->time ||
						  feed_due(s, &s->units[v]) <= feed_due(s, u))))
			return false;
		drop(s, v);
	}
	return true;
}

/* ---- readers ---- */

/* What to load now, with a buffer for it. */
static size_t choose(struct store *s, struct buffer *b)
{
	size_t unit = s->demand;

	if (unit != UNIT_NONE && s->units[unit].state == UNIT_ABSENT) {
		if (make_room(s, unit, true, b))
			return unit;
		s->refused = s->n_loading == 0;
		if (s->refused)
			pthread_cond_broadcast(&s->done);
		s->starved = true;
		return UNIT_NONE;
	}
	while (s->next < s->n_agenda && s->units[s->agenda[s->next]].state != UNIT_ABSENT)
		s->next++;
	if (s->next == s->n_agenda)
		return UNIT_NONE;
	if (!make_room(s, s->agenda[s->next], false, b)) {
		s->starved = true;
		return UNIT_NONE;
	}
	return s->agenda[s->next++];
}

/* Will its rows be made in scratch->made, or be as in the file, in scratch->raw? */
static bool is_made(const struct store *s, const struct unit *u)
{
	uint64_t bytes;
	bool made = false;
	struct err e;

	return s->shelves[u->shelf].made &&
	       weight_kept(&s->m->weights[u->shelf], u->matrix, 1, &bytes, &made, &e) == OK && made;
}

static enum status fetch(const struct store *s, const struct unit *u, struct rows *rows,
			 struct weight_scratch *scratch, struct err *e)
{
	const struct shelf *h = &s->shelves[u->shelf];
	const struct weight *w = &s->m->weights[u->shelf];
	uint64_t r0 = u->piece * h->piece_rows;

	return weight_fetch(w, u->matrix, r0, u64_min(w->rows, r0 + h->piece_rows), rows, scratch, e);
}

/* Rows just read into p (cap): in half the memory, if that is exact, and the rest given back. */
static void pack(const struct store *s, const struct unit *u, struct rows *rows, uint8_t *p, size_t *cap)
{
	const struct shelf *h = &s->shelves[u->shelf];
	const struct weight *w = &s->m->weights[u->shelf];
	uint64_t n_rows = u64_min(w->rows - u->piece * h->piece_rows, h->piece_rows), bytes;
	size_t at = (size_t)(rows->bytes - p), end;

	if (rows->type != DT_BF16 || !dtype_bytes(DT_E4M3_128, n_rows, w->cols, &bytes) ||
	    !pack_rows(p + at, n_rows, w->cols))
		return;
	rows->type = DT_E4M3_128;
	end = (at + (size_t)bytes + DISK_ALIGN - 1) & ~(size_t)(DISK_ALIGN - 1);
	if (end < *cap) {
		pages_free(p + end, *cap - end);
		*cap = end;
	}
}

/* Without the mutex while it reads; the buffer is the unit's, or a spare, afterwards. */
static void load(struct store *s, size_t unit, struct buffer b, struct weight_scratch *scratch)
{
	struct unit *u = &s->units[unit];
	bool made = is_made(s, u), packs = s->packs;
	uint8_t **p = made ? &scratch->made : &scratch->raw;
	size_t *cap = made ? &scratch->made_cap : &scratch->raw_cap;
	struct rows rows = { 0 };
	struct err e;
	enum status st;

	u->state = UNIT_LOADING;
	if (s->n_loading++ == 0)
		s->reading_since = clock_seconds();
	pthread_mutex_unlock(&s->mutex);
	pages_free(*p, *cap);		/* of a unit that was made, where this one is not */
	*p = b.p;
	*cap = b.cap;
	st = fetch(s, u, &rows, scratch, &e);
	if (st == OK && packs)
		pack(s, u, &rows, *p, cap);
	pthread_mutex_lock(&s->mutex);
	if (--s->n_loading == 0)
		s->read_seconds += clock_seconds() - s->reading_since;
	s->held = s->held - b.cap + *cap;	/* it may have grown, or shrunk */
	u->buf = *p;
	u->cap = *cap;
	u->place = (uint32_t)s->n_resident;
	s->resident[s->n_resident++] = unit;
	*p = NULL;
	*cap = 0;
	u->rows = rows;
	u->state = UNIT_READY;
	if (st != OK) {
		drop(s, unit);
		u->state = UNIT_FAILED;
		s->failed = unit;
		s->err = e;
	}
	pthread_cond_broadcast(&s->done);
	if (s->demand != UNIT_NONE || s->starved)
		pthread_cond_broadcast(&s->work);	/* there may be room now */
	s->starved = false;
}

static void *read_units(void *arg)
{
	struct reader *r = arg;
	struct store *s = r->store;

	pthread_mutex_lock(&s->mutex);
	while (!s->quit) {
		struct buffer b;
		size_t unit = choose(s, &b);

		if (unit == UNIT_NONE)
			pthread_cond_wait(&s->work, &s->mutex);
		else
			load(s, unit, b, &r->scratch);
	}
	pthread_mutex_unlock(&s->mutex);
	return NULL;
}

/* ---- start and stop ---- */

/* Empties it; what was counted stays. */
static void stop(struct store *s)
{
	pthread_mutex_lock(&s->mutex);
	s->quit = true;
	pthread_cond_broadcast(&s->work);
	pthread_mutex_unlock(&s->mutex);
	for (unsigned i = 0; i < s->n_started; i++)
		pthread_join(s->readers[i].thread, NULL);
	for (unsigned i = 0; i < STORE_READERS; i++)
		weight_scratch_close(&s->readers[i].scratch);
	while (s->n_resident)
		drop(s, s->resident[0]);
	while (s->n_spares)
		free_spare(s, 0);
	for (size_t i = 0; i < s->n_units && s->units; i++)
		s->units[i].state = UNIT_ABSENT;
	disk_close(&s->disk);
	s->n_started = 0;
	s->n_agenda = s->next = 0;
	s->demand = s->failed = UNIT_NONE;
	s->open = s->quit = false;
}

void store_free(struct store *s)
{
	if (!s)
		return;
	stop(s);
	pthread_mutex_destroy(&s->mutex);
	pthread_cond_destroy(&s->work);
	pthread_cond_destroy(&s->done);
	free(s->shelves);
	free(s->units);
	free(s->resident);
	free(s->agenda);
	free(s);
}

static enum status open_disk(struct store *s, struct err *e)
{
	const struct model *m = s->m;
	size_t n = m->is_gguf ? m->set.n : m->ckpt.n_files;
	const struct file **files = mem_new(n, sizeof *files, "descriptors", e);
	enum status st;

	if (!files)
		return e->status;
	for (size_t i = 0; i < n; i++)
		files[i] = m->is_gguf ? &m->set.files[i] : &m->ckpt.files[i].file;
	st = disk_open(&s->disk, files, n, e);
	free(files);
	return st;
}

enum status store_start(const struct model *m, uint64_t budget, struct err *e)
{
	struct store *s = m->store;
	enum status st;

	if (budget < store_least(m))
		return err_set(e, ERR_NOMEM, "%s: one layer's weights are worked on in no less than %llu bytes of "
			       "memory; there are %llu", m->path, (unsigned long long)store_least(m),
			       (unsigned long long)budget);
	stop(s);
	TRY(open_disk(s, e));
	s->budget = budget - STORE_READERS * s->scratch;
	for (; s->n_started < STORE_READERS; s->n_started++) {
		struct reader *r = &s->readers[s->n_started];

		*r = (struct reader){ .store = s, .scratch = { .disk = &s->disk } };
		if (pthread_create(&r->thread, NULL, read_units, r) != 0) {
			st = err_set(e, ERR_NOMEM, "cannot start a thread");
			goto out;
		}
	}
	s->open = true;
	s->packs = false;
out:
	if (st != OK)
		stop(s);
	return st;
}

void store_pack(const struct model *m)
{
	pthread_mutex_lock(&m->store->mutex);
	m->store->packs = true;
	pthread_mutex_unlock(&m->store->mutex);
}

/* ---- the run's side ---- */

/* Waits for a unit; false if there is no room for it, or it cannot be read. */
static bool wait_for(struct store *s, size_t unit)
{
	const struct unit *u = &s->units[unit];
	double since = clock_seconds();

	s->demand = unit;
	s->refused = false;
	pthread_cond_broadcast(&s->work);
	while (u->state != UNIT_READY && u->state != UNIT_FAILED && !s->refused)
		pthread_cond_wait(&s->done, &s->mutex);
	s->demand = UNIT_NONE;
	s->wait_seconds += clock_seconds() - since;
	return u->state == UNIT_READY;
}

/* Pins a unit. ERR of the read, or OK with *there false where nothing can be held. */
static enum status pin(struct store *s, size_t unit, bool *there, struct err *e)
{
	struct unit *u = &s->units[unit];

	*there = false;
	if (u->state == UNIT_FAILED && s->failed != unit)
		u->state = UNIT_ABSENT;		/* its message was lost to another's: again */
	if (u->state != UNIT_READY && !wait_for(s, unit)) {
		if (u->state != UNIT_FAILED)
			return OK;
		*e = s->err;
		return e->status;
	}
	u->pins++;
	*there = true;
	return OK;
}

enum status weight_hold(struct weight *w, uint64_t matrix, uint64_t r0, uint64_t r1, uint64_t *end,
			struct err *e)
{
	struct store *s = w->model->store;
	const struct shelf *h = &s->shelves[w->want - w->model->wants.w];
	uint64_t piece, from;
	size_t unit;
	bool there;
	enum status st;

	*end = r1;
	w->held.rows.bytes = NULL;
	if (!s->open || h->n_pieces == 0)
		return OK;
	piece = r0 / h->piece_rows;
	from = piece * h->piece_rows;
	unit = h->first + (size_t)(matrix * h->n_pieces + piece);
	pthread_mutex_lock(&s->mutex);
	st = pin(s, unit, &there, e);
	if (there) {
		w->held.unit = unit;
		w->held.matrix = matrix;
		w->held.r0 = from;
		w->held.r1 = u64_min(w->rows, from + h->piece_rows);
		w->held.rows = s->units[unit].rows;
		*end = u64_min(r1, w->held.r1);
		w->held.done = *end == w->held.r1;
	}
	pthread_mutex_unlock(&s->mutex);
	return st;
}

void weight_release(struct weight *w)
{
	struct store *s = w->model->store;
	struct unit *u;

	if (!w->held.rows.bytes)
		return;
	w->held.rows.bytes = NULL;
	pthread_mutex_lock(&s->mutex);
	u = &s->units[w->held.unit];
	u->pins--;
	u->used = s->time;
	u->turn = ++s->turn;
	if (w->held.done)	/* else the rest of its rows comes soon */
		u->wanted = 0;
	if (s->starved)
		pthread_cond_broadcast(&s->work);
	s->starved = false;
	pthread_mutex_unlock(&s->mutex);
}

uint64_t weight_holds(const struct weight *w)
{
	const struct store *s = w->model->store;
	const struct shelf *h = &s->shelves[w->want - w->model->wants.w];

	if (!s->open || h->n_pieces == 0)
		return UINT64_MAX;
	return most(s->budget / 2 / h->bytes, 1);
}

void store_count(struct store *s, uint64_t n)
{
	if (s)
		s->read_bytes += n;
}

void store_stats(const struct model *m, struct store_stats *st)
{
	struct store *s = m->store;

	pthread_mutex_lock(&s->mutex);
	*st = (struct store_stats){ .read_bytes = s->read_bytes, .kept_bytes = s->held, .budget = s->budget,
				    .wait_seconds = s->wait_seconds, .read_seconds = s->read_seconds };
	pthread_mutex_unlock(&s->mutex);
}
