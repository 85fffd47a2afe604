/* SPDX-License-Identifier: MIT
 *
 * journal.c - the file of finished chunks. Layout, little-endian:
 *
 *	"INGOTJN1" | SHA-256 of the plan | CRC-32 of the 40 bytes before
 *	records: kind u32 | length u32 | payload | CRC-32 of all of it before
 *
 * A batch of records is written after the outputs were flushed and is flushed itself before the next. The
 * reader (resume.c) stops at the first record that is cut short or fails its CRC.
 */
#include "convert/journal_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

uint32_t journal_crc(const void *p, size_t n)
{
	return (uint32_t)crc32_z(crc32_z(0, NULL, 0), p, n);
}

/* The headers, before any digest is in them, say where every byte goes and what it is made of. */
static enum status hash_plan(struct journal *j, const struct plan *p, struct err *e)
{
	struct sha256 h = { 0 };

	if (sha256_open(&h, e) != OK)
		return e->status;
	sha256_start(&h);
	sha256_add(&h, INGOT_VERSION, sizeof INGOT_VERSION);
	for (size_t i = 0; i < p->n_outputs; i++)
		sha256_add(&h, p->out[i].header.buf, p->out[i].header.len);
	sha256_end(&h, j->plan_sha256);
	sha256_close(&h);
	return OK;
}

enum status journal_new(struct journal **out, const char *path, const struct plan *p, struct aux *aux,
			uint64_t every, struct err *e)
{
	struct journal *j = *out = mem_new(1, sizeof *j, "the journal", e);

	if (!j)
		return e->status;
	*j = (struct journal){ .fd = -1, .aux = aux, .every = every ? every : JOURNAL_EVERY, .flushed_at = clock_seconds() };
	pthread_mutex_init(&j->lock, NULL);
	pthread_mutex_init(&j->flushing, NULL);
	if (!(j->path = path_with(path, ".journal", e)) || !(j->fresh = path_with(path, ".journal.new", e)))
		return e->status;
	return hash_plan(j, p, e);
}

bool journal_exists(const struct journal *j)
{
	return access(j->path, F_OK) == 0;
}

const char *journal_path(const struct journal *j)
{
	return j->path;
}

const uint8_t *journal_plan(const struct journal *j)
{
	return j->plan_sha256;
}

bool journal_started(const struct journal *j)
{
	return j && j->started;
}

bool journal_has_claims(const struct journal *j)
{
	return j->n_claimed > 0;
}

/* ---- records ----------------------------------------------------------------------------*/

/* Room for a record's payload of n bytes in the batch; the CRC is added by seal_record. */
static uint8_t *record(struct journal *j, enum record_kind kind, size_t n, struct err *e)
{
	void *p = j->batch;
	uint8_t *at;

	if (mem_grow(&p, &j->batch_cap, j->batch_n + n + RECORD_EXTRA, 1, "the journal", e) != OK)
		return NULL;
	j->batch = p;
	at = j->batch + j->batch_n;
	store_le(at, 4, kind);
	store_le(at + 4, 4, n);
	j->batch_n += n + RECORD_EXTRA;
	return at + 8;
}

static void seal_record(uint8_t *payload)
{
	size_t n = (size_t)load_le(payload - 4, 4);

	store_le(payload + n, 4, journal_crc(payload - 8, n + 8));
}

static enum status write_batch(struct journal *j, struct err *e)
{
	const uint8_t *p = j->batch;
	size_t n = j->batch_n;

	while (n > 0) {
		ssize_t k = write(j->fd, p, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k == 0)
			errno = EIO;
		if (k <= 0)
			return err_errno(e, "%s: cannot write", j->path);
		p += k;
		n -= (size_t)k;
	}
	j->batch_n = 0;
	return fdatasync(j->fd) == 0 ? OK : err_errno(e, "%s: cannot flush to the disk", j->path);
}

static enum status put_chunks(struct journal *j, const struct plan *p, const struct done_chunk *done, size_t n,
			      struct err *e)
{
	uint8_t *at = record(j, RECORD_CHUNKS, n * CHUNK_BYTES, e);

	if (!at)
		return e->status;
	for (size_t i = 0; i < n; i++) {
		const struct plan_output *out = &p->out[done[i].output];
		uint8_t *to = at + i * CHUNK_BYTES;

		store_le(to, 4, done[i].output);
		store_le(to + 4, 8, done[i].chunk);
		memcpy(to + 12, out->header.buf + out->chunk_sha256_at + SHA256_BYTES * done[i].chunk, SHA256_BYTES);
	}
	seal_record(at);
	return OK;
}

static enum status put_shard(struct journal *j, uint32_t shard, const uint8_t *sha256, struct err *e)
{
	uint8_t *at = record(j, RECORD_SHARD, 4 + SHA256_BYTES, e);

	if (!at)
		return e->status;
	store_le(at, 4, shard);
	memcpy(at + 4, sha256, SHA256_BYTES);
	seal_record(at);
	return OK;
}

static enum status put_file_id(struct journal *j, uint32_t file, const struct file_id *id, struct err *e)
{
	uint8_t *at = record(j, RECORD_FILE, 4 + 3 * 8, e);

	if (!at)
		return e->status;
	store_le(at, 4, file);
	store_le(at + 4, 8, id->size);
	store_le(at + 12, 8, (uint64_t)id->mtime_ns);
	store_le(at + 20, 8, id->ino);
	seal_record(at);
	return OK;
}


static enum status put_tile(void *arg, uint32_t aux, uint64_t tile, const uint8_t digest[SHA256_BYTES], struct err *e)
{
	struct journal *j = arg;
	uint8_t *at = record(j, RECORD_TILE, 12 + SHA256_BYTES, e);

	if (!at)
		return e->status;
	store_le(at, 4, aux);
	store_le(at + 4, 8, tile);
	memcpy(at + 12, digest, SHA256_BYTES);
	seal_record(at);
	return OK;
}

/* ---- writing -----------------------------------------------------------------------------*/

static enum status put_claims(struct journal *j, const struct plan *p, const struct claims *c, struct err *e)
{
	for (uint32_t o = 0; o < c->n_outputs && c->chunks[o]; o++)
		for (uint64_t i = 0; i < p->out[o].n_chunks; i++)
			if (c->chunks[o][i] && put_chunks(j, p, &(struct done_chunk){ o, i }, 1, e) != OK)
				return e->status;
	return OK;
}

/* The journal's name and, beside it, those of the outputs: made, but not yet for good. */
static enum status sync_names(const struct journal *j, struct err *e)
{
	char dir[4096];
	const char *slash = strrchr(j->path, '/');
	int fd;
	bool good;

	snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - j->path) + 1 : 1, slash ? j->path : ".");
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	good = fd >= 0 && fsync(fd) == 0;
	if (!good)
		err_errno(e, "%s: cannot flush its directory", j->path);
	if (fd >= 0)
		close(fd);
	return good ? OK : e->status;
}

enum status journal_start(struct journal *j, const struct plan *p, const struct claims *c, const uint8_t *sha256,
			  struct err *e)
{
	uint8_t head[JOURNAL_HEAD];
	enum status st;

	j->fd = open(j->fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (j->fd < 0)
		return err_errno(e, "%s: cannot create", j->fresh);
	memcpy(head, JOURNAL_MAGIC, 8);
	memcpy(head + 8, j->plan_sha256, SHA256_BYTES);
	store_le(head + 40, 4, journal_crc(head, 40));
	if (TEMP_FAILURE_RETRY(write(j->fd, head, sizeof head)) != (ssize_t)sizeof head)
		return err_errno(e, "%s: cannot write", j->fresh);
	for (uint32_t i = 0; i < p->ckpt->n_files; i++)
		TRY(put_file_id(j, i, &p->ckpt->files[i].file.id, e));
	TRY(aux_export(j->aux, put_tile, j, e));
	TRY(put_claims(j, p, c, e));
	for (uint32_t i = 0; i < p->ckpt->n_shards && c->shards; i++)
		if (c->shards[i])
			TRY(put_shard(j, i, sha256 + (size_t)SHA256_BYTES * i, e));
	TRY(write_batch(j, e));
	j->n_claimed = c->n_chunks;
	st = rename(j->fresh, j->path) == 0 ? OK : err_errno(e, "%s: cannot take its name", j->path);
	j->started = st == OK;
	if (st == OK)
		st = sync_names(j, e);
out:
	return st;
}

/* What has gathered; the caller holds `flushing`. Data first, then what is said of it. */
static enum status flush(struct journal *j, const struct plan *p, const struct output *outputs, struct err *e)
{
	struct done_chunk *done;
	size_t n, n_shards;
	enum status st = OK;

	pthread_mutex_lock(&j->lock);
	done = j->done;
	n = j->n_done;
	n_shards = j->n_shards;
	j->done = NULL;
	j->n_done = j->cap_done = 0;
	j->waiting = 0;
	j->flushed_at = clock_seconds();
	pthread_mutex_unlock(&j->lock);
	for (size_t i = 0; i < p->n_outputs && n > 0; i++)
		if (outputs[i].fd >= 0)
			TRY(output_sync(&outputs[i], e));
	TRY(aux_export(j->aux, put_tile, j, e));
	if (n > 0)
		TRY(put_chunks(j, p, done, n, e));
	for (; j->n_shards_put < n_shards; j->n_shards_put++) {
		struct done_shard s;

		pthread_mutex_lock(&j->lock);	/* the list may move */
		s = j->shards[j->n_shards_put];
		pthread_mutex_unlock(&j->lock);
		TRY(put_shard(j, s.shard, s.sha256, e));
	}
	if (j->batch_n > 0)
		TRY(write_batch(j, e));
	j->n_claimed += n;
out:
	j->broken |= st != OK;
	free(done);
	return st;
}

enum status journal_flush(struct journal *j, const struct plan *p, const struct output *outputs, struct err *e)
{
	enum status st;

	pthread_mutex_lock(&j->flushing);
	/* after a failed flush the kernel may have dropped what was to be written: no second try may claim it */
	st = j->broken ? err_set(e, ERR_IO, "%s: an earlier flush failed", j->path) : flush(j, p, outputs, e);
	pthread_mutex_unlock(&j->flushing);
	return st;
}

enum status journal_chunk(struct journal *j, const struct plan *p, const struct output *outputs, uint32_t output,
			  uint64_t chunk, uint64_t bytes, struct err *e)
{
	void *q;
	bool due;

	pthread_mutex_lock(&j->lock);
	q = j->done;
	if (mem_grow(&q, &j->cap_done, j->n_done + 1, sizeof *j->done, "the journal", e) != OK) {
		pthread_mutex_unlock(&j->lock);
		return e->status;
	}
	j->done = q;
	j->done[j->n_done++] = (struct done_chunk){ output, chunk };
	j->waiting += bytes;
	due = j->waiting >= j->every || clock_seconds() - j->flushed_at > JOURNAL_SECONDS;
	pthread_mutex_unlock(&j->lock);
	return due ? journal_flush(j, p, outputs, e) : OK;
}

enum status journal_shard(struct journal *j, uint32_t shard, const uint8_t sha256[SHA256_BYTES], struct err *e)
{
	void *q;
	enum status st;

	pthread_mutex_lock(&j->lock);
	q = j->shards;
	st = mem_grow(&q, &j->cap_shards, j->n_shards + 1, sizeof *j->shards, "the journal", e);
	if (st == OK) {
		j->shards = q;
		j->shards[j->n_shards].shard = shard;
		memcpy(j->shards[j->n_shards++].sha256, sha256, SHA256_BYTES);
	}
	pthread_mutex_unlock(&j->lock);
	return st;
}

enum status journal_sealed(struct journal *j, uint32_t output, const struct plan_output *out, struct err *e)
{
	uint8_t *at = record(j, RECORD_SEALED, 4 + SHA256_BYTES, e);

	if (!at)
		return e->status;
	store_le(at, 4, output);
	memcpy(at + 4, out->header.buf + out->header_sha256_at, SHA256_BYTES);
	seal_record(at);
	return write_batch(j, e);
}

void journal_close(struct journal *j, bool keep)
{
	if (!j)
		return;
	if (j->started && !keep)
		unlink(j->path);
	if (j->fd >= 0 && !j->started)
		unlink(j->fresh);	/* the one that was there stays */
	if (j->fd >= 0)
		close(j->fd);
	pthread_mutex_destroy(&j->lock);
	pthread_mutex_destroy(&j->flushing);
	free(j->path);
	free(j->fresh);
	free(j->batch);
	free(j->done);
	free(j->shards);
	free(j);
}

void claims_close(struct claims *c)
{
	for (size_t i = 0; i < c->n_outputs; i++)
		free(c->chunks[i]);
	free(c->chunks);
	free(c->sealed);
	free(c->shards);
	*c = (struct claims){ 0 };
}
