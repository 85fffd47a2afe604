/* SPDX-License-Identifier: MIT
 *
 * imatrix.c - reads importance matrices, in either form:
 *
 *	GGUF	general.type "imatrix", imatrix.datasets, imatrix.chunk_count, imatrix.chunk_size; for a
 *		tensor NAME two of F32: NAME.in_sum2 (n_counts, values) sums of squared inputs, and
 *		NAME.counts (n_counts, 1) of how many tokens. A stack of experts has a count for each.
 *	.dat	i32 n, then n times: i32 length, name, i32 calls, i32 n_values, f32 values: means times
 *		calls. Then, if anything, i32 chunks, i32 length, name of the text.
 *
 * The legacy form has neither columns nor counts by expert; an expert that no token reached is all
 * ones in it (times calls), which is how it is told here. Two shapes of llama.cpp's are taken as well:
 * one count for a whole stack, and attn_output_a as one long row of its groups' columns, whose mean it
 * then has.
 *
 * Invariant: nothing is allocated that the file is not long enough for; values are checked when the
 * file is opened, and again when they are read.
 */
#include "format/imatrix_entry.h"

#include <fcntl.h>
#include <float.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEP = 16384, MAX_NAME = 255, LEAST_ENTRY = 4 + 1 + 4 + 4 + 4 };

static int compare_names(struct str a, struct str b)
{
	int c = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);

	return c != 0 ? c : (a.n > b.n) - (a.n < b.n);
}

static int compare_entries(const void *a, const void *b)
{
	return compare_names(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

struct entry *imatrix_entry(const struct imatrix *m, const char *name)
{
	const struct entry key = { .name = { name, strlen(name) } };

	return m->n ? bsearch(&key, m->entries, m->n, sizeof key, compare_entries) : NULL;
}

/* ---- values ----------------------------------------------------------------------------- */

enum status imatrix_values(const struct imatrix *m, const struct entry *x, uint64_t first, size_t n, float *out,
			   struct err *e)
{
	enum status st = file_read(&m->file, out, n * sizeof *out, x->off + first * sizeof *out, e);

	for (size_t i = 0; i < n && st == OK; i++)
		if (!(out[i] >= 0 && out[i] <= FLT_MAX))
			st = err_set(e, ERR_FORMAT, "%s: importance matrix (tensor %.*s, bytes %" PRIu64 "..%" PRIu64
				     "): value %" PRIu64 " is %g; sums of squares are finite and not negative, make "
				     "it again", m->file.path, NAME(x), x->off + (first + i) * 4,
				     x->off + (first + i) * 4 + 4, first + i, (double)out[i]);
	return st;
}

/* All of an entry's, by way of buf (STEP). */
static enum status check_values(const struct imatrix *m, const struct entry *x, float *buf, struct err *e)
{
	enum status st = OK;

	for (uint64_t at = 0; at < x->n_values && st == OK; at += STEP)
		st = imatrix_values(m, x, at, (size_t)u64_min(STEP, x->n_values - at), buf, e);
	return st;
}

static enum status check_counts(struct imatrix *m, const struct entry *x, struct err *e)
{
	for (uint64_t i = 0; i < x->n_counts; i++) {
		if (!(x->counts[i] == 0 || (x->counts[i] >= 1 && x->counts[i] <= FLT_MAX)))
			return err_set(e, ERR_FORMAT, "%s: importance matrix (tensor %.*s): count %" PRIu64 " is %g; "
				       "counts of tokens are 0 or more", m->file.path, NAME(x), i,
				       (double)x->counts[i]);
		m->info.n_unreached += !m->info.legacy && x->counts[i] == 0;
	}
	return OK;
}

static enum status check_entries(struct imatrix *m, float *buf, struct err *e)
{
	enum status st = OK;

	for (size_t i = 0; i < m->n; i++) {
		if (i > 0 && compare_entries(&m->entries[i - 1], &m->entries[i]) == 0)
			return err_set(e, ERR_FORMAT, "%s: importance matrix (tensor %.*s): it is there twice",
				       m->file.path, NAME(&m->entries[i]));
		TRY(check_counts(m, &m->entries[i], e));
		TRY(check_values(m, &m->entries[i], buf, e));
	}
out:
	return st;
}

/* Puts the entries in order, and looks at all that they hold. */
static enum status finish(struct imatrix *m, struct err *e)
{
	float *buf;
	enum status st;

	if (m->n == 0)
		return err_set(e, ERR_FORMAT, "%s: no importance matrix in it; llama-imatrix and `ingot calibrate` make "
			       "such files", m->file.path);
	qsort(m->entries, m->n, sizeof *m->entries, compare_entries);
	m->info.n_tensors = m->n;
	buf = mem_new(STEP, sizeof *buf, "values of an importance matrix", e);
	st = buf ? check_entries(m, buf, e) : e->status;
	free(buf);
	return st;
}

/* Room for one more, zeroed. It counts once m->n is raised. */
static struct entry *next_entry(struct imatrix *m, struct err *e)
{
	void *p = m->entries;

	if (mem_grow(&p, &m->cap, m->n + 1, sizeof *m->entries, "tensors of an importance matrix", e) != OK)
		return NULL;
	m->entries = p;
	m->entries[m->n] = (struct entry){ 0 };
	return &m->entries[m->n];
}

/* ---- the GGUF form ----------------------------------------------------------------------- */

static bool cut_suffix(struct str s, const char *suffix, struct str *stem)
{
	size_t n = strlen(suffix);

	if (s.n <= n || memcmp(s.p + s.n - n, suffix, n) != 0)
		return false;
	*stem = (struct str){ s.p, s.n - n };
	return true;
}

static uint64_t n_elements(const struct gguf_tensor *t) { return t->bytes / sizeof(float); }

/* The sums of one tensor, with the counts that belong to them. */
static enum status take_sums(struct imatrix *m, const struct gguf_tensor *sums, struct str name, struct err *e)
{
	char counts_name[GGUF_MAX_NAME + 1];
	const struct gguf_tensor *counts;
	struct entry *x = next_entry(m, e);

	if (!x)
		return e->status;
	snprintf(counts_name, sizeof counts_name, "%.*s.counts", (int)name.n, name.p);
	counts = gguf_find_tensor(&m->gguf, counts_name);
	x->name = name;
	if (!counts || counts->dtype != DT_F32 || sums->dtype != DT_F32)
		return err_set(e, ERR_FORMAT, "%s: importance matrix (tensor %.*s): %s; it has sums and counts, both "
			       "of F32", m->file.path, NAME(x), counts ? "its type is another" : "no counts");
	x->off = sums->off;
	x->n_values = n_elements(sums);
	x->n_counts = n_elements(counts);
	if (x->n_values % x->n_counts != 0)
		return err_set(e, ERR_FORMAT, "%s: importance matrix (tensor %.*s): %" PRIu64 " values and %" PRIu64
			       " counts do not go together", m->file.path, NAME(x), x->n_values, x->n_counts);
	x->counts = mem_new((size_t)x->n_counts, sizeof *x->counts, "counts of an importance matrix", e);
	if (!x->counts)
		return e->status;
	m->n++;
	return file_read(&m->file, x->counts, (size_t)counts->bytes, counts->off, e);
}

static void take_keys(struct imatrix *m)
{
	const struct gguf_kv *list = gguf_find(&m->gguf, "imatrix.datasets");
	uint64_t at = 0;

	(void)!gguf_u64(&m->gguf, "imatrix.chunk_count", &m->info.n_chunks);
	(void)!gguf_u64(&m->gguf, "imatrix.chunk_size", &m->info.chunk_tokens);
	if (list)
		(void)!gguf_next_str(list, &at, &m->info.dataset);
}

static enum status open_gguf(struct imatrix *m, struct err *e)
{
	struct str type, name;
	enum status st;

	TRY(gguf_read(&m->gguf, &m->file, NULL, e));
	if (gguf_str(&m->gguf, "general.type", &type) && !str_is(type, "imatrix"))
		return err_set(e, ERR_FORMAT, "%s: general.type is %.*s; an importance matrix has imatrix there",
			       m->file.path, (int)u64_min(type.n, 80), type.p);
	for (size_t i = 0; i < m->gguf.n_tensors; i++) {
		const struct gguf_tensor *t = &m->gguf.tensors[i];

		if (cut_suffix(t->name, ".in_sum2", &name)) {
			TRY(take_sums(m, t, name, e));
			continue;
		}
		char sums[GGUF_MAX_NAME + 16];

		if (!cut_suffix(t->name, ".counts", &name))
			continue;
		snprintf(sums, sizeof sums, "%.*s.in_sum2", (int)name.n, name.p);
		if (!gguf_find_tensor(&m->gguf, sums))
			return err_set(e, ERR_FORMAT, "%s: importance matrix (tensor %.*s): counts without sums",
				       m->file.path, (int)name.n, name.p);
	}
	take_keys(m);
out:
	return st;
}

/* ---- the legacy form ---------------------------------------------------------------------- */

struct place { struct imatrix *m; uint64_t pos; struct err *e; };

static enum status cut_short(const struct place *p)
{
	return err_set(p->e, ERR_FORMAT, "%s: importance matrix, legacy form (byte %" PRIu64 "): cut short or damaged, "
		       "or another kind of file", p->m->file.path, p->pos);
}

/* A number that is not negative. */
static enum status take_i32(struct place *p, uint32_t *v)
{
	uint8_t b[4];
	enum status st;

	if (p->m->file.id.size - p->pos < sizeof b)
		return cut_short(p);
	TRY(file_read(&p->m->file, b, sizeof b, p->pos, p->e));
	*v = (uint32_t)load_le(b, 4);
	if (*v > INT32_MAX)
		return cut_short(p);
	p->pos += sizeof b;
out:
	return st;
}

/* A name of least..MAX_NAME bytes; owned by the caller. */
static enum status take_name(struct place *p, uint32_t least, char **name, uint32_t *n)
{
	enum status st;

	TRY(take_i32(p, n));
	if (*n < least || *n > p->m->file.id.size - p->pos || (least && *n > MAX_NAME))
		return cut_short(p);
	*n = (uint32_t)u64_min(*n, GGUF_MAX_KEY);
	if (!(*name = mem_new((size_t)*n + 1, 1, "a name", p->e)))
		return p->e->status;
	TRY(file_read(&p->m->file, *name, *n, p->pos, p->e));
	p->pos += *n;
	if (memchr(*name, 0, *n))
		return cut_short(p);
out:
	return st;
}

static enum status take_entry(struct place *p)
{
	struct entry *x = next_entry(p->m, p->e);
	uint32_t n, calls, n_values;
	enum status st;

	if (!x)
		return p->e->status;
	p->m->n++;
	TRY(take_name(p, 1, &x->owned_name, &n));
	x->name = (struct str){ x->owned_name, n };
	TRY(take_i32(p, &calls));
	TRY(take_i32(p, &n_values));
	x->off = p->pos;
	x->n_values = n_values;
	if (n_values == 0 || n_values > (p->m->file.id.size - p->pos) / sizeof(float))
		return cut_short(p);
	p->pos += n_values * sizeof(float);
	if (!(x->counts = mem_new(1, sizeof *x->counts, "a count", p->e)))
		return p->e->status;
	x->n_counts = 1;
	x->counts[0] = calls ? (float)calls : 1;
out:
	return st;
}

static enum status open_legacy(struct imatrix *m, struct err *e)
{
	struct place p = { m, 0, e };
	uint32_t n, chunks;
	enum status st;

	m->info.legacy = true;
	TRY(take_i32(&p, &n));
	if (n == 0 || n > m->file.id.size / LEAST_ENTRY || n > GGUF_MAX_TENSORS)
		return cut_short(&p);
	for (uint32_t i = 0; i < n; i++)
		TRY(take_entry(&p));
	if (p.pos == m->file.id.size)
		return OK;
	TRY(take_i32(&p, &chunks));
	m->info.n_chunks = chunks;
	if (p.pos == m->file.id.size)
		return OK;
	TRY(take_name(&p, 0, &m->dataset, &n));
	m->info.dataset = (struct str){ m->dataset, n };
	if (p.pos != m->file.id.size)
		st = cut_short(&p);
out:
	return st;
}

/* ---- opening it ---------------------------------------------------------------------------- */

static enum status open_lock(struct imatrix *m, struct err *e)
{
	m->lock = mem_new(1, sizeof *m->lock, "a lock", e);
	if (m->lock && pthread_mutex_init(m->lock, NULL) != 0) {
		free(m->lock);
		m->lock = NULL;
		return err_set(e, ERR_NOMEM, "no memory for a lock");
	}
	return m->lock ? OK : e->status;
}

enum status imatrix_open(struct imatrix **out, const char *path, struct err *e)
{
	struct imatrix *m = mem_new(1, sizeof *m, "an importance matrix", e);
	char magic[4] = { 0 };
	enum status st;

	*out = NULL;
	if (!m)
		return e->status;
	m->file = FILE_NONE;
	TRY(open_lock(m, e));
	TRY(file_open(&m->file, AT_FDCWD, path, true, path, e));
	TRY(file_read(&m->file, magic, (size_t)u64_min(sizeof magic, m->file.id.size), 0, e));
	if (memcmp(magic, "GGUF", sizeof magic) == 0)
		TRY(open_gguf(m, e));
	else
		TRY(open_legacy(m, e));
	TRY(finish(m, e));
	*out = m;
	return OK;
out:
	imatrix_close(m);
	return st;
}

static void close_entry(struct entry *x)
{
	for (uint64_t i = 0; x->kept && i < x->n_values / x->cols; i++)
		free(x->kept[i].w);
	free(x->kept);
	free(x->mean);
	free(x->counts);
	free(x->owned_name);
}

void imatrix_close(struct imatrix *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n; i++)
		close_entry(&m->entries[i]);
	free(m->entries);
	free(m->dataset);
	gguf_close(&m->gguf);
	file_close(&m->file);
	if (m->lock)
		pthread_mutex_destroy(m->lock);
	free(m->lock);
	free(m);
}

struct imatrix_info imatrix_info(const struct imatrix *m) { return m->info; }
struct str imatrix_name(const struct imatrix *m, size_t i) { return m->entries[i].name; }
