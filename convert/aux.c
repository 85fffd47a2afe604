/* SPDX-License-Identifier: MIT
 *
 * aux.c - tensors read apart from the stream, and the proof that it was the same bytes.
 *
 * A weight is converted from the buffer that was hashed. Its scales may stand anywhere, even in
 * another shard, and are too many to keep (a layer of V4-Pro has 770 MB of them), so they are read
 * again where they are needed. Whichever of the two readings comes first leaves a SHA-256 of each
 * 64 KiB tile; the second must find the same.
 */
#include "convert/convert.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { TILE_UNKNOWN, TILE_KNOWN, TILE_EXPORTED };
struct aux_tensor { uint8_t *digests, *known; };	/* owned; per tile, made at first sight */
struct aux {
	pthread_mutex_t lock;
	struct aux_tensor *t;
	uint64_t *n_tiles;
	uint32_t n;
};

enum status aux_open(struct aux **out, const struct plan *p, struct err *e)
{
	struct aux *a = *out = mem_new(1, sizeof *a, "digests of scales", e);

	if (!a)
		return e->status;
	pthread_mutex_init(&a->lock, NULL);
	a->n = p->n_aux;
	a->t = mem_new(a->n, sizeof *a->t, "digests of scales", e);
	a->n_tiles = mem_new(a->n, sizeof *a->n_tiles, "digests of scales", e);
	if (!a->t || !a->n_tiles)
		return e->status;
	for (size_t s = 0; s < p->ckpt->n_shards; s++)
		for (size_t i = 0; i < p->ckpt->headers[s].n_tensors; i++)
			if (p->shards[s].use[i] == USE_AUX)
				a->n_tiles[p->shards[s].aux[i]] =
					u64_div_up(p->ckpt->headers[s].tensors[i].bytes, AUX_TILE);
	return OK;
}

/* Notes a tile's digest, or compares it with the one there is. Under the lock. */
static enum status note(struct aux *a, uint32_t t, uint64_t tile, const uint8_t *digest, bool *same)
{
	struct aux_tensor *x = &a->t[t];

	if (!x->digests) {
		x->digests = malloc((size_t)a->n_tiles[t] * (SHA256_BYTES + 1));
		x->known = x->digests ? x->digests + a->n_tiles[t] * SHA256_BYTES : NULL;
		if (!x->known)
			return ERR_NOMEM;
		memset(x->known, TILE_UNKNOWN, (size_t)a->n_tiles[t]);
	}
	*same = true;
	if (x->known[tile] != TILE_UNKNOWN) {
		*same = memcmp(x->digests + tile * SHA256_BYTES, digest, SHA256_BYTES) == 0;
	} else {
		memcpy(x->digests + tile * SHA256_BYTES, digest, SHA256_BYTES);
		x->known[tile] = TILE_KNOWN;
	}
	return OK;
}

enum status aux_seen(struct aux *a, uint32_t t, uint64_t tile, const void *p, size_t n,
		     struct sha256 *h, struct err *e)
{
	uint8_t digest[SHA256_BYTES];
	bool same = false;
	enum status st;

	sha256_start(h);
	sha256_add(h, p, n);
	sha256_end(h, digest);
	pthread_mutex_lock(&a->lock);
	st = note(a, t, tile, digest, &same);
	pthread_mutex_unlock(&a->lock);
	if (st != OK)
		return err_set(e, ERR_NOMEM, "no memory for digests of scales");
	return same ? OK : err_set(e, ERR_IO, "changed between two readings; let the writer finish and run "
				   "again");
}

enum status aux_import(struct aux *a, uint32_t t, uint64_t tile, const uint8_t digest[SHA256_BYTES], bool *same, struct err *e)
{
	*same = false;
	if (t >= a->n || tile >= a->n_tiles[t])
		return OK;
	return note(a, t, tile, digest, same) == OK ? OK : err_set(e, ERR_NOMEM, "no memory for digests of scales");
}

enum status aux_export(struct aux *a, enum status (*put)(void *arg, uint32_t t, uint64_t tile,
							 const uint8_t digest[SHA256_BYTES], struct err *e),
		       void *arg, struct err *e)
{
	enum status st = OK;

	pthread_mutex_lock(&a->lock);
	for (uint32_t t = 0; t < a->n && st == OK; t++)
		for (uint64_t i = 0; a->t[t].known && i < a->n_tiles[t] && st == OK; i++)
			if (a->t[t].known[i] == TILE_KNOWN) {
				st = put(arg, t, i, a->t[t].digests + i * SHA256_BYTES, e);
				a->t[t].known[i] = TILE_EXPORTED;
			}
	pthread_mutex_unlock(&a->lock);
	return st;
}

enum status aux_read(struct aux *a, const struct checkpoint *c, const struct plan *p,
		     const struct st_tensor *t, uint64_t b0, uint64_t b1, uint8_t *buf,
		     const uint8_t **at, struct sha256 *h, struct err *e)
{
	uint32_t number = p->shards[t->shard].aux[t - c->headers[t->shard].tensors];
	uint64_t first = b0 / AUX_TILE * AUX_TILE, off = first;

	for (; off < b1; off += AUX_TILE) {
		size_t n = (size_t)u64_min(AUX_TILE, t->bytes - off);
		uint8_t *to = buf + (off - first);

		if (file_read(&c->files[t->shard].file, to, n, t->off + off, e) != OK)
			return e->status;
		if (aux_seen(a, number, off / AUX_TILE, to, n, h, e) != OK)
			return err_wrap(e, "%s: tensor %s, bytes %llu..%llu", c->files[t->shard].file.path,
					t->name, (unsigned long long)(t->off + off),
					(unsigned long long)(t->off + off + n));
	}
	*at = buf + (b0 - first);
	return OK;
}

void aux_close(struct aux *a)
{
	if (!a)
		return;
	for (uint32_t i = 0; a->t && i < a->n; i++)
		free(a->t[i].digests);
	pthread_mutex_destroy(&a->lock);
	free(a->t);
	free(a->n_tiles);
	free(a);
}
