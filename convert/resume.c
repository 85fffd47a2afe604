/* SPDX-License-Identifier: MIT
 *
 * resume.c - what an earlier run's journal says, and how much of it still holds.
 *
 * The journal may be cut short, the partial file may have lost what the disk had promised, a shard may
 * have been downloaded again in between: nothing is taken on trust but that a digest that was
 * computed from a converted chunk is that chunk's.
 */
#include "convert/journal_file.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { JOURNAL_LIMIT = 1 << 30, CHECK_STEP = 256 << 10 };

/* A journal in memory, and what was found out about it. */
struct reading {
	char *text;			/* owned */
	size_t n, at;
	const struct plan *p;
	struct claims *c;
	uint8_t *same;			/* owned; 1 for each source file that is still the one of then */
	uint32_t *shard_of_aux;		/* owned */
	struct aux *aux;
	uint8_t *sha256;
	uint32_t clash;			/* number of a shard, of whose scales other digests were known, and 1; 0: none */
};
struct record { enum record_kind kind; const uint8_t *p; size_t n; };

static enum status load(struct reading *r, const struct journal *j, const char *path, struct err *e)
{
	struct file f = FILE_NONE;
	const uint8_t *head;
	enum status st;

	TRY(file_open(&f, AT_FDCWD, path, false, path, e));
	TRY(file_slurp(&f, JOURNAL_LIMIT, &r->text, &r->n, e));
	head = (const uint8_t *)r->text;
	if (r->n < JOURNAL_HEAD || memcmp(head, JOURNAL_MAGIC, 8) != 0 || load_le(head + 40, 4) != journal_crc(head, 40))
		st = err_set(e, ERR_USAGE, "%s: is no journal, or damaged; --force starts anew", path);
	else if (memcmp(head + 8, j->plan_sha256, SHA256_BYTES) != 0)
		st = err_set(e, ERR_USAGE, "%s: an earlier run had other options or another source, or was of another "
			     "version; give the same ones to go on, or --force to start anew", path);
	r->at = JOURNAL_HEAD;
out:
	file_close(&f);
	return st;
}

/* The next whole record; false at the end or where the rest is torn. */
static bool next(struct reading *r, struct record *out)
{
	const uint8_t *p = (const uint8_t *)r->text + r->at;
	uint64_t left = r->n - r->at, n;

	if (left < RECORD_EXTRA)
		return false;
	n = load_le(p + 4, 4);
	if (n > left - RECORD_EXTRA || load_le(p + 8 + n, 4) != journal_crc(p, (size_t)n + 8))
		return false;
	*out = (struct record){ (enum record_kind)load_le(p, 4), p + 8, (size_t)n };
	r->at += (size_t)n + RECORD_EXTRA;
	return true;
}

static void take_file(struct reading *r, const uint8_t *p)
{
	uint64_t i = load_le(p, 4);
	const struct file_id *id;

	if (i >= r->p->ckpt->n_files)
		return;
	id = &r->p->ckpt->files[i].file.id;
	r->same[i] = load_le(p + 4, 8) == id->size && load_le(p + 12, 8) == (uint64_t)id->mtime_ns &&
		     load_le(p + 20, 8) == id->ino;
}

static void take_chunks(struct reading *r, const uint8_t *p, size_t n)
{
	for (; n >= CHUNK_BYTES; n -= CHUNK_BYTES, p += CHUNK_BYTES) {
		uint64_t o = load_le(p, 4), i = load_le(p + 4, 8);
		const struct plan_output *out = &r->p->out[o < r->p->n_outputs ? o : 0];

		if (o >= r->p->n_outputs || i >= out->n_chunks)
			continue;
		memcpy(out->header.buf + out->chunk_sha256_at + SHA256_BYTES * i, p + 12, SHA256_BYTES);
		r->c->chunks[o][i] = 1;
	}
}

/* Digests of scales that were read then: they have to be the same now. */
static enum status take_tile(struct reading *r, const uint8_t *p, struct err *e)
{
	uint64_t t = load_le(p, 4);
	bool same;

	if (t >= r->p->n_aux || !r->same[r->shard_of_aux[t]])
		return OK;
	if (aux_import(r->aux, (uint32_t)t, load_le(p + 4, 8), p + 12, &same, e) != OK)
		return e->status;
	if (!same)
		r->clash = r->shard_of_aux[t] + 1;
	return OK;
}

static enum status take(struct reading *r, const struct record *x, struct err *e)
{
	if (x->kind == RECORD_TILE && x->n == 12 + SHA256_BYTES)
		return take_tile(r, x->p, e);
	if (x->kind == RECORD_FILE && x->n == 28)
		take_file(r, x->p);
	else if (x->kind == RECORD_CHUNKS)
		take_chunks(r, x->p, x->n);
	else if (x->kind == RECORD_SHARD && x->n == 4 + SHA256_BYTES && load_le(x->p, 4) < r->p->ckpt->n_shards) {
		size_t i = (size_t)load_le(x->p, 4);

		r->c->shards[i] = r->same[i];
		if (r->same[i])
			memcpy(r->sha256 + SHA256_BYTES * i, x->p + 4, SHA256_BYTES);
	}
	return OK;
}

/* ---- what still holds ---------------------------------------------------------------------*/

static bool still_there(const struct reading *r, const struct st_tensor *t)
{
	return !t || r->same[t->shard];
}

static void clear_feed(const struct claims *c, const struct plan *p, const struct feed *f)
{
	const struct plan_tensor *t = &p->out[f->output].tensors[f->tensor];

	memset(c->chunks[f->output] + t->first_chunk + f->matrix * t->chunks.per_matrix, 0, (size_t)t->chunks.per_matrix);
}

/* Chunks made of a file that is not the one of then, or lying in an output that is gone. */
static void drop_changed(struct reading *r, const struct output *outputs, struct log *notes)
{
	const struct plan *p = r->p;

	for (size_t i = 0; i < p->ckpt->n_shards; i++)
		if (!r->same[i])
			log_add(notes, "%s: has changed since; what was made of it is made again", p->ckpt->files[i].file.path);
	for (size_t s = 0; s < p->ckpt->n_shards; s++)
		for (size_t k = 0; k < p->shards[s].n_feeds; k++) {
			const struct feed *f = &p->shards[s].feeds[k];
			const struct plan_tensor *t = &p->out[f->output].tensors[f->tensor];
			const struct source_matrix *m = &p->matrices[t->first_matrix + f->matrix * t->parts];
			bool whole = true;

			for (unsigned part = 0; part < t->parts; part++)
				whole &= still_there(r, m[part].weight) && still_there(r, m[part].scale);
			if (!whole)
				clear_feed(r->c, p, f);
		}
	for (size_t o = 0; o < p->n_outputs; o++)
		if (!r->c->sealed[o] && !outputs[o].kept)
			memset(r->c->chunks[o], 0, (size_t)p->out[o].n_chunks);
}

struct checking {
	const struct plan *p;
	const struct output *outputs;
	struct claims *c;
	const struct pipeline_options *run;
	pthread_t caller;		/* who may show progress */
	atomic_ullong next, lost, bytes;
	atomic_bool failed;
	struct err err;			/* of the first that failed */
};

static const struct plan_tensor *tensor_of(const struct plan_output *out, uint64_t chunk)
{
	size_t lo = 0, hi = out->n_tensors;

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (out->tensors[mid].first_chunk <= chunk)
			lo = mid;
		else
			hi = mid;
	}
	while (out->tensors[lo].chunks.n_chunks == 0)
		lo--;	/* an empty tensor shares its number with the next */
	return &out->tensors[lo];
}

/* A shard is done only if all that it feeds is. */
static void count(struct claims *c, const struct plan *p)
{
	c->n_chunks = c->bytes = c->n_shards = 0;
	for (size_t s = 0; s < p->ckpt->n_shards; s++) {
		for (size_t k = 0; k < p->shards[s].n_feeds && c->shards[s]; k++) {
			const struct feed *f = &p->shards[s].feeds[k];
			const struct plan_tensor *t = &p->out[f->output].tensors[f->tensor];
			const uint8_t *chunk = c->chunks[f->output] + t->first_chunk + f->matrix * t->chunks.per_matrix;

			for (uint64_t i = 0; i < t->chunks.per_matrix; i++)
				c->shards[s] &= chunk[i];
		}
		c->n_shards += c->shards[s];
	}
	for (size_t o = 0; o < p->n_outputs; o++)
		for (uint64_t i = 0; i < p->out[o].n_chunks; i++)
			if (c->chunks[o][i]) {
				const struct plan_tensor *t = tensor_of(&p->out[o], i);

				c->n_chunks++;
				c->bytes += seal_chunk(&t->chunks, i - t->first_chunk).bytes;
			}
}

/* The chunk as it is on the disk against its digest. */
static enum status holds(const struct plan_output *out, const struct output *o, uint64_t i, struct sha256 *h, uint8_t *buf,
			 bool *same, struct err *e)
{
	const struct plan_tensor *t = tensor_of(out, i);
	struct seal_chunk c = seal_chunk(&t->chunks, i - t->first_chunk);
	struct file f = { .fd = o->fd, .path = o->partial };
	uint8_t digest[SHA256_BYTES];

	seal_leaf_start(h);
	for (uint64_t at = 0, n; at < c.bytes; at += n) {
		n = u64_min(CHECK_STEP, c.bytes - at);
		if (file_read(&f, buf, (size_t)n, t->off + c.off + at, e) != OK)
			return e->status;
		sha256_add(h, buf, (size_t)n);
	}
	sha256_end(h, digest);
	*same = memcmp(digest, out->header.buf + out->chunk_sha256_at + SHA256_BYTES * i, SHA256_BYTES) == 0;
	return OK;
}

static void show(struct checking *k, const struct plan_output *out, uint64_t i)
{
	const struct plan_tensor *t = tensor_of(out, i);
	uint64_t bytes = seal_chunk(&t->chunks, i - t->first_chunk).bytes;

	bytes += atomic_fetch_add(&k->bytes, bytes);
	if (k->run->progress && pthread_equal(pthread_self(), k->caller))
		k->run->progress(k->run->arg, bytes, k->c->bytes, "reading back");
}

static bool is_stopped(const struct checking *k)
{
	return stop_asked(k->run->stop);
}

static enum status check_some(struct checking *k, struct sha256 *h, uint8_t *buf, struct err *e)
{
	while (!is_stopped(k) && !atomic_load(&k->failed)) {
		uint64_t i = atomic_fetch_add(&k->next, 1);
		size_t o = 0;
		bool same = false;

		while (o < k->p->n_outputs && i >= k->p->out[o].n_chunks)
			i -= k->p->out[o++].n_chunks;
		if (o == k->p->n_outputs)
			break;
		if (!k->c->chunks[o][i] || k->c->sealed[o])
			continue;
		if (holds(&k->p->out[o], &k->outputs[o], i, h, buf, &same, e) != OK)
			return e->status;
		if (!same) {
			k->c->chunks[o][i] = 0;
			atomic_fetch_add(&k->lost, 1);
		}
		show(k, &k->p->out[o], i);
	}
	return OK;
}

/* A disk or a machine that fails now says nothing of the chunks. */
static void *check_chunks(void *arg)
{
	struct checking *k = arg;
	struct sha256 h = { 0 };
	struct err e;
	uint8_t *buf = mem_new(CHECK_STEP, 1, "reading back", &e);

	if ((!buf || sha256_open(&h, &e) != OK || check_some(k, &h, buf, &e) != OK) && !atomic_exchange(&k->failed, true))
		k->err = e;
	sha256_close(&h);
	free(buf);
	return NULL;
}

static enum status check_all(struct checking *k, struct err *e)
{
	enum { MOST = 64 };
	pthread_t t[MOST];
	unsigned n = 0;

	k->caller = pthread_self();
	count(k->c, k->p);
	while (n + 1 < k->run->threads && n < MOST && pthread_create(&t[n], NULL, check_chunks, k) == 0)
		n++;
	check_chunks(k);
	while (n > 0)
		pthread_join(t[--n], NULL);
	if (is_stopped(k))
		return err_stopped(e, k->run->stop, "");
	if (!atomic_load(&k->failed))
		return OK;
	*e = k->err;
	return e->status;
}

/* The lists of outputs, if they are not there yet. */
static enum status claims_room(struct claims *c, const struct plan *p, struct err *e)
{
	if (c->n_outputs)
		return OK;
	c->chunks = mem_new(p->n_outputs, sizeof *c->chunks, "the list of outputs", e);
	c->sealed = mem_new(p->n_outputs, sizeof *c->sealed, "the list of outputs", e);
	if (!c->chunks || !c->sealed) {
		free(c->chunks);
		free(c->sealed);
		*c = (struct claims){ 0 };
		return e->status;
	}
	c->n_outputs = p->n_outputs;
	return OK;
}

static enum status claims_open(struct claims *c, const struct plan *p, struct err *e)
{
	if (claims_room(c, p, e) != OK)
		return e->status;
	for (size_t o = 0; o < p->n_outputs; o++)
		if (!(c->chunks[o] = mem_new((size_t)p->out[o].n_chunks, 1, "the list of chunks", e)))
			return e->status;
	c->shards = mem_new(p->ckpt->n_shards, 1, "the list of shards", e);
	return c->shards ? OK : e->status;
}

static void reading_close(struct reading *r)
{
	free(r->text);
	free(r->same);
	free(r->shard_of_aux);
}

static enum status reading_open(struct reading *r, struct err *e)
{
	const struct plan *p = r->p;

	r->same = mem_new(p->ckpt->n_files, 1, "the list of files", e);
	r->shard_of_aux = mem_new(p->n_aux, sizeof *r->shard_of_aux, "the list of scales", e);
	if (!r->same || !r->shard_of_aux)
		return e->status;
	for (uint32_t s = 0; s < p->ckpt->n_shards; s++)
		for (size_t i = 0; i < p->ckpt->headers[s].n_tensors; i++)
			if (p->shards[s].use[i] == USE_AUX)
				r->shard_of_aux[p->shards[s].aux[i]] = s;
	return OK;
}

enum status journal_resume(struct journal *j, struct plan *p, const struct output *outputs, uint8_t *sha256,
			   const struct pipeline_options *run, struct claims *c, struct log *notes, struct err *e)
{
	struct reading r = { .p = p, .c = c, .aux = j->aux, .sha256 = sha256 };
	struct checking k = { .p = p, .outputs = outputs, .c = c, .run = run };
	struct record x;
	enum status st;

	TRY(claims_open(c, p, e));
	TRY(reading_open(&r, e));
	TRY(load(&r, j, j->path, e));
	while (next(&r, &x))
		TRY(take(&r, &x, e));
	if (r.at < r.n)
		log_add(notes, "%s: its last %zu bytes are torn and do not count", j->path, r.n - r.at);
	drop_changed(&r, outputs, notes);
	TRY(check_all(&k, e));
	if (k.lost)
		log_add(notes, "%s: %llu chunks are not what it says; they are made again", j->path,
			(unsigned long long)k.lost);
	count(c, p);
out:
	reading_close(&r);
	return st;
}

/* One journal of several; the digests that it has join what is known. */
static enum status take_all(struct reading *r, const struct journal *j, const char *path, struct log *notes, struct err *e)
{
	struct record x;

	free(r->text);
	r->text = NULL;
	if (load(r, j, path, e) != OK)
		return e->status;
	while (next(r, &x))
		/* where they read their files matters only to themselves */
		if (x.kind != RECORD_FILE && take(r, &x, e) != OK)
			return e->status;
	if (r->at < r->n)
		log_add(notes, "%s: its last %zu bytes are torn and do not count", path, r->n - r->at);
	if (r->clash)
		return err_set(e, ERR_MISMATCH, "%s: %s was another file for this part than for others (scales differ); make the "
			       "sources the same, remove the parts' journals and run them again", path,
			       r->p->ckpt->files[r->clash - 1].file.path);
	return OK;
}

/* What the parts read against what is expected here. */
static enum status check_shards(const struct reading *r, struct err *e)
{
	const struct checkpoint *c = r->p->ckpt;

	for (size_t i = 0; i < c->n_shards; i++) {
		struct digest read = { .kind = DIGEST_SHA256 };
		char have[65], want[65];

		memcpy(read.bytes, r->sha256 + SHA256_BYTES * i, SHA256_BYTES);
		if (r->c->shards[i] && c->files[i].expected.kind == DIGEST_SHA256 && !digest_eq(&read, &c->files[i].expected))
			return err_set(e, ERR_MISMATCH, "%s: the part that converted it read SHA-256 %s, expected is %s (%s); "
				       "run that part again with the right file", c->files[i].file.path, digest_text(&read, have),
				       digest_text(&c->files[i].expected, want), anchor_name(c->files[i].anchor));
	}
	return OK;
}

enum status journal_merge(struct journal *j, struct plan *p, char *const *paths, size_t n, const struct output *outputs,
			  uint8_t *sha256, const struct pipeline_options *run, struct claims *c, bool *damaged,
			  struct log *notes, struct err *e)
{
	struct reading r = { .p = p, .c = c, .aux = j->aux, .sha256 = sha256 };
	struct checking k = { .p = p, .outputs = outputs, .c = c, .run = run };
	enum status st;

	*damaged = false;
	TRY(claims_open(c, p, e));
	TRY(reading_open(&r, e));
	memset(r.same, 1, p->ckpt->n_files);
	for (size_t i = 0; i < n; i++)
		if (access(paths[i], F_OK) == 0)
			TRY(take_all(&r, j, paths[i], notes, e));
	TRY(check_shards(&r, e));
	drop_changed(&r, outputs, notes);	/* of outputs that are gone */
	TRY(check_all(&k, e));
	*damaged = k.lost > 0;
	if (k.lost)
		log_add(notes, "%llu chunks are not what the parts' journals say", (unsigned long long)k.lost);
	count(c, p);
out:
	reading_close(&r);
	return st;
}

bool journal_is_sealed(const char *path, const struct plan_output *out, const uint8_t *digest)
{
	struct file f = FILE_NONE;
	uint8_t have[SHA256_BYTES];
	struct err e;
	bool same = file_open(&f, AT_FDCWD, path, false, path, &e) == OK && f.id.size == out->file_size &&
		    file_read(&f, have, sizeof have, out->header_sha256_at, &e) == OK &&
		    memcmp(have, digest, sizeof have) == 0;

	file_close(&f);
	return same;
}

enum status journal_find_sealed(const struct journal *j, const struct plan *p, char *const *paths, struct claims *c,
				struct err *e)
{
	struct reading r = { 0 };
	struct record x;
	enum status st;

	TRY(claims_room(c, p, e));
	TRY(load(&r, j, j->path, e));
	while (next(&r, &x))
		if (x.kind == RECORD_SEALED && x.n == 4 + SHA256_BYTES && load_le(x.p, 4) < p->n_outputs) {
			size_t o = (size_t)load_le(x.p, 4);

			c->sealed[o] = journal_is_sealed(paths[o], &p->out[o], x.p + 4);
		}
out:
	reading_close(&r);
	return st;
}
